"""Several reports as one: rows of the same model joined, and nothing that does not compare."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from detrbench.core.errors import UsageError
from detrbench.machine.environment import Environment
from detrbench.reports.metrics import METRICS
from detrbench.reports.report import Report, Result, setting_differences, value_differences


def merge(reports: Mapping[str, Report]) -> Report:
    """The rows of all `reports` under one head; a model counted in one and timed in another is one.

    Two measured reports must be of the same environment. What was only counted is the same on every
    machine, and takes the environment of what was measured.

    Args:
        reports: the file each is from -> the report, in the order of the rows wanted.

    Raises:
        UsageError: environments or settings do not compare, with the keys and both values; or two
            reports have different values of the same thing.
    """
    if not reports:
        raise UsageError("there is no report to merge", hint="Name a run.json.")
    (first_name, merged), *others = reports.items()
    for name, report in others:
        _check_environments((first_name, merged), (name, report))
        _check_settings((first_name, merged), (name, report))
        merged = _added(merged, report, name)
    return merged


def join(counted: Result, timed: Result) -> Result:
    """One row out of what was counted and what was timed of the same model.

    Where both have a key, the timed one has the last word; the status is the worse of the two. The
    case is that of whichever says on what it ran.
    """
    both = timed, counted
    worse = next((row for row in both if row.status not in ("ok", "partial")), None)
    worse = worse or (timed if timed.status != "ok" else counted)
    values = counted.metrics | {
        key: value
        for key, value in timed.metrics.items()
        if value is not None or key not in counted.metrics
    }
    missing = counted.missing | timed.missing
    run = next((row for row in (timed, counted) if "device" in row.settings), timed)
    return dataclasses.replace(
        counted,
        model=timed.model,
        settings=counted.settings | timed.settings,
        metrics=values,
        status=worse.status,
        reason=worse.reason,
        missing={key: why for key, why in missing.items() if values.get(key) is None},
        samples=counted.samples | timed.samples,
        parts={by: _joined_parts(by, counted, timed) for by in {**counted.parts, **timed.parts}},
        published=[
            {**figure, "ours": {**figure.get("ours", {}), **_measured_likewise(figure, timed)}}
            for figure in counted.published or timed.published
        ],
        notes=tuple(dict.fromkeys(counted.notes + timed.notes)),
        case=run.case or timed.case or counted.case,
    )


def closest(
    here: Sequence[Result],
    there: Sequence[Result],
    distance: Callable[[Result, Result], tuple[int, ...] | None],
) -> dict[int, int]:
    """Which row of `there` each of `here` is compared with, by their places: the nearest pairs
    first, and no row with two.

    Args:
        distance: of two rows; `None` where they do not compare at all.
    """
    pairs = sorted(
        (away, index, place)
        for index, one in enumerate(here)
        for place, other in enumerate(there)
        if (away := distance(one, other)) is not None
    )
    found: dict[int, int] = {}
    for _, index, place in pairs:
        if index not in found and place not in found.values():
            found[index] = place
    return found


def machine_differences(here: Report, there: Report) -> dict[str, tuple[Any, Any]]:
    """Fact -> (here, there), of what differs between two measured reports' machines."""
    one, other = (Environment.from_dict(report.environment) for report in (here, there))
    return one.differences(other)


def shown_differences(here: Report, there: Report) -> dict[str, tuple[Any, Any]]:
    """The same of what differs between them and is held against no comparison."""
    one, other = (Environment.from_dict(report.environment) for report in (here, there))
    return one.unjudged(other)


def is_measured(report: Report) -> bool:
    """Whether the report holds times, which belong to a machine, beside counts, which do not."""
    return any(
        value is not None and key in METRICS and METRICS[key].measured
        for row in report.rows
        for key, value in row.metrics.items()
    )


def in_words(differences: Mapping[str, tuple[Any, Any]]) -> str:
    """Such as "imgsz (640x640, 320x320), batch (1, 8)"."""
    return ", ".join(
        f"{name} ({here}, {there})" for name, (here, there) in sorted(differences.items())
    )


def _check_environments(one: tuple[str, Report], other: tuple[str, Report]) -> None:
    differing = machine_differences(one[1], other[1])
    if differing and is_measured(one[1]) and is_measured(other[1]):
        raise UsageError(
            f"its environment is not that of {one[0]}: {in_words(differing)}",
            where=other[0],
            hint="Times of different environments do not stand in one table; see what differs "
            f"with: detrbench diff {one[0]} {other[0]}",
        )


def _check_settings(one: tuple[str, Report], other: tuple[str, Report]) -> None:
    """Every setting of one of the reports must be there in the other."""
    here, there = ([row.settings for row in report.rows] for _, report in (one, other))
    strange = [each for each in there if not any(_compares(each, known) for known in here)]
    if not strange or all(any(_compares(each, known) for known in there) for each in here):
        return
    nearest = min(here, key=lambda known: len(setting_differences(known, strange[0])))
    differing = in_words(setting_differences(nearest, strange[0]))
    raise UsageError(
        f"its settings are not those of {one[0]}: {differing}",
        where=other[0],
        hint="Measure both under the same settings.",
    )


def _compares(here: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    return not setting_differences(here, there)


def _added(merged: Report, report: Report, name: str) -> Report:
    rows: list[Result] = []
    for known in merged.rows:
        same = [row for row in report.rows if _same(known, row)]
        for row in same:
            _check_values(known, row, name)
        # Of several, each is a row: what was counted once was timed in several ways.
        rows.extend([join(known, row) for row in same] or [known])
    rows.extend(row for row in report.rows if not any(_same(one, row) for one in merged.rows))
    measured = report if is_measured(report) and not is_measured(merged) else merged
    return dataclasses.replace(
        merged,
        rows=tuple(rows),
        environment=measured.environment,
        comparisons=(*merged.comparisons, *report.comparisons),
        title=_one_after_the_other(merged.title, report.title),
        command=_one_after_the_other(merged.command, report.command),
        created=_one_after_the_other(merged.created, report.created),
        detrbench_version=_one_after_the_other(merged.detrbench_version, report.detrbench_version),
    )


def _same(row: Result, other: Result) -> bool:
    return row.model == other.model and _compares(row.settings, other.settings)


def _check_values(row: Result, other: Result, name: str) -> None:
    """What both have must be the same: a model that was timed twice has two medians."""
    for key, (value, again) in value_differences(row, other).items():
        raise UsageError(
            f"{row.model} with the same settings is in an earlier report with other values, such "
            f"as {key} {value} and {again}",
            where=name,
            hint="Two runs of the same thing are compared, not merged: detrbench diff.",
        )


def _one_after_the_other(here: str, there: str) -> str:
    return "; ".join(dict.fromkeys(text for text in (here, there) if text))


def _joined_parts(by: str, counted: Result, timed: Result) -> list[dict[str, Any]]:
    """Parts of the same name joined, in the order of whichever has more of them."""
    here, there = (
        {part["part"]: part for part in row.parts.get(by, ())} for row in (counted, timed)
    )
    longer = max(here, there, key=len)
    return [here.get(name, {}) | there.get(name, {}) for name in {**longer, **here, **there}]


def _measured_likewise(figure: Mapping[str, Any], timed: Result) -> dict[str, Any]:
    """Our measured values of what the figure printed; counts have been made at its own settings."""
    return {
        one.key: timed.metrics[one.key]
        for one in METRICS.values()
        if one.measured and one.published_as and figure.get(one.published_as) is not None
        if timed.metrics.get(one.key) is not None
    }
