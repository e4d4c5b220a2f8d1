"""What changed between two reports: values, settings, environment. A description, not a verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from detrbench.core.units import header, show_change
from detrbench.render.layout import Document, Line, Table, change_of, columns, value_text
from detrbench.reports.merge import closest, is_measured, machine_differences, shown_differences
from detrbench.reports.metrics import METRICS, Metric, metric
from detrbench.reports.report import Report, Result, metric_keys, missing_value, setting_differences

_Pair: TypeAlias = "tuple[str, Result | None, Result | None]"
"""What to call a row, and that of each report, the same model's; `None` where one has it not."""

_ENDS = {
    end for one in METRICS.values() for spread in one.spread for end in (spread.low, spread.high)
}
"""The ends of other metrics' intervals, which stand beside those."""


def difference(here: Report, there: Report, names: tuple[str, str] = ("A", "B")) -> Document:
    """Every value that differs between `here` and `there`, and what makes them hard to compare.

    Rows are matched by model; of several rows of one model, those with the same settings first.

    Args:
        names: what the two are called.
    """
    pairs = _pairs(here, there)
    both = [(label, one, other) for label, one, other in pairs if one and other]
    records = [
        {
            "model": label,
            "metric": key,
            "a": one.metrics.get(key),
            "b": other.metrics.get(key),
            "ratio": change_of(other, one, metric(key)),
        }
        for label, one, other in both
        for key in _changed(one, other)
    ]
    settings = {
        label: differing
        for label, one, other in both
        if (differing := setting_differences(one.settings, other.settings, unsaid=True))
    }
    facts, shown = machine_differences(here, there), shown_differences(here, there)
    tables = [_values(pairs, names, measured=is_measured(here) and is_measured(there))]
    if settings:
        tables.append(_settings(settings))
    if facts or shown:
        tables.append(_environment(facts, shown))
    data = {
        "a": names[0],
        "b": names[1],
        "values": records,
        "settings": {label: _by_name(differing) for label, differing in settings.items()},
        "environment": _by_name(facts),
        "environment_shown": _by_name(shown),
    }
    return Document(tuple(tables), records, data)


def _pairs(here: Report, there: Report) -> list[_Pair]:
    found = closest(here.rows, there.rows, _distance)
    pairs: list[_Pair] = [
        (here.label(one), one, there.rows[found[index]] if index in found else None)
        for index, one in enumerate(here.rows)
    ]
    new = [row for index, row in enumerate(there.rows) if index not in found.values()]
    return [*pairs, *((there.label(row), None, row) for row in new)]


def _distance(one: Result, other: Result) -> tuple[int] | None:
    """Of rows of one model: in how many settings they differ."""
    same = one.model == other.model
    return (len(setting_differences(one.settings, other.settings)),) if same else None


def _changed(one: Result, other: Result) -> list[str]:
    keys = metric_keys((one, other))
    return [key for key in keys if one.metrics.get(key) != other.metrics.get(key)]


def _by_name(differing: Mapping[str, tuple[Any, Any]]) -> dict[str, dict[str, Any]]:
    return {name: {"a": one, "b": other} for name, (one, other) in differing.items()}


def _values(pairs: list[_Pair], names: tuple[str, str], measured: bool) -> Table:
    lines = [line for pair in pairs for line in _value_lines(*pair)]
    note = (
        "Times of two runs differ also where nothing changed: a verdict takes both models in "
        "one run (detrbench latency), or a reference model in both runs (detrbench gate)."
    )
    return Table(
        caption=f"From {names[0]} to {names[1]}{'' if lines else ': every value is the same'}.",
        columns=columns("lrrr", "Model", "A", "B", "Change"),
        lines=tuple(lines),
        notes=(note,) if measured and lines else (),
    )


def _value_lines(label: str, one: Result | None, other: Result | None) -> Iterator[Line]:
    if one is None or other is None:
        yield Line(label, ("absent", "there", "") if one is None else ("there", "absent", ""))
        return
    shown = [METRICS[key] for key in _changed(one, other) if key in METRICS and key not in _ENDS]
    same = one.status == other.status
    if not shown and same:
        return
    statuses = (one.status, other.status, one.reason or other.reason or "")
    yield Line(label, ("", "", "") if same else statuses)
    for each in shown:
        change = change_of(other, one, each)
        grown = "" if change is None else show_change(change)
        cells = (_text(one, each), _text(other, each), grown)
        yield Line(header(each.title, each.unit), cells, level=1)


def _text(row: Result, one: Metric) -> str:
    return value_text(row, one) or f"n/a: {missing_value(row, one.key)}"


def _settings(settings: Mapping[str, Mapping[str, tuple[Any, Any]]]) -> Table:
    return Table(
        "Settings that differ: these values are of different things.",
        columns("llll", "Model", "Setting", "A", "B"),
        tuple(
            Line(label, (setting, str(one), str(other)))
            for label, differing in settings.items()
            for setting, (one, other) in differing.items()
        ),
    )


def _environment(
    facts: Mapping[str, tuple[Any, Any]], shown: Mapping[str, tuple[Any, Any]]
) -> Table:
    lines = [
        Line(fact, (*("unknown" if value is None else str(value) for value in values), judged))
        for judged, found in (("may move it", facts), ("no", shown))
        for fact, values in found.items()
    ]
    titles = ("Fact", "A", "B", "Judged")
    caption = "Environments that differ." if facts else "Environments that compare, and differ in:"
    return Table(caption, columns("llll", *titles), tuple(lines))
