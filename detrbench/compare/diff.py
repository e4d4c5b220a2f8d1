"""What changed between two reports: values, settings, environment. A description, not a verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from detrbench.core.units import header, ratio, show_change
from detrbench.render.layout import Column, Document, Line, Table, value_text
from detrbench.reports.merge import is_measured, machine_differences
from detrbench.reports.metrics import METRICS, Metric
from detrbench.reports.report import Report, Result, metric_keys, missing_value, setting_differences


@dataclass(frozen=True)
class _Pair:
    """A row of each report, the same model's; `None` where one of them has it not."""

    label: str
    one: Result | None
    other: Result | None


def difference(here: Report, there: Report, names: tuple[str, str] = ("A", "B")) -> Document:
    """Every value that differs between `here` and `there`, and what makes them hard to compare.

    Rows are matched by model; of several rows of one model, those with the same settings first.

    Args:
        names: what the two are called.
    """
    pairs = _pairs(here, there)
    measured = is_measured(here) and is_measured(there)
    tables = [_values(pairs, names, measured)]
    for table in (_settings(pairs, names), _environment(here, there, names)):
        if table is not None:
            tables.append(table)
    records = list(_records(pairs))
    data = {
        "a": names[0],
        "b": names[1],
        "values": records,
        "settings": _setting_records(pairs),
        "environment": {
            fact: {"a": one, "b": other}
            for fact, (one, other) in machine_differences(here, there).items()
        },
    }
    return Document(tuple(tables), records, data)


def _pairs(here: Report, there: Report) -> list[_Pair]:
    found = _matched(here, there)
    pairs = []
    for index, one in enumerate(here.rows):
        other = there.rows[found[index]] if index in found else None
        pairs.append(_Pair(here.label(one), one, other))
    new = [row for index, row in enumerate(there.rows) if index not in found.values()]
    return [*pairs, *(_Pair(there.label(row), None, row) for row in new)]


def _matched(here: Report, there: Report) -> dict[int, int]:
    """Which row of `there` each row of `here` is compared with, by their places."""
    alike = sorted(
        (len(setting_differences(one.settings, other.settings)), index, place)
        for index, one in enumerate(here.rows)
        for place, other in enumerate(there.rows)
        if one.model == other.model
    )
    found: dict[int, int] = {}
    for _, index, place in alike:
        if index not in found and place not in found.values():
            found[index] = place
    return found


def _changed(one: Result, other: Result) -> list[str]:
    keys = metric_keys((one, other))
    return [key for key in keys if one.metrics.get(key) != other.metrics.get(key)]


def _values(pairs: list[_Pair], names: tuple[str, str], measured: bool) -> Table:
    lines = [line for pair in pairs for line in _value_lines(pair)]
    caption = f"From {names[0]} to {names[1]}"
    notes = []
    if measured and lines:
        notes.append(
            "Times of two runs differ also where nothing changed: a verdict takes both models in "
            "one run (detrbench latency), or a reference model in both runs (detrbench gate)."
        )
    return Table(
        caption=f"{caption}." if lines else f"{caption}: every value is the same.",
        columns=(Column("Model", "left"), Column("A"), Column("B"), Column("Change")),
        lines=tuple(lines),
        notes=tuple(notes),
    )


def _value_lines(pair: _Pair) -> Iterator[Line]:
    one, other = pair.one, pair.other
    if one is None or other is None:
        told = ("absent", "there", "") if one is None else ("there", "absent", "")
        yield Line(pair.label, told)
        return
    changed = [METRICS[key] for key in _changed(one, other) if key in METRICS]
    shown = [each for each in changed if not _is_end(each)]
    if not shown and one.status == other.status:
        return
    same = one.status == other.status
    yield Line(pair.label, ("", "", "") if same else _statuses(one, other))
    for each in shown:
        yield Line(
            header(each.title, each.unit),
            (_text(one, each), _text(other, each), _change(one, other, each)),
            level=1,
        )


def _is_end(one: Metric) -> bool:
    """Whether it is the end of another metric's interval, and stands beside that."""
    return any(one.key in (each.low, each.high) for of in METRICS.values() for each in of.spread)


def _statuses(one: Result, other: Result) -> tuple[str, str, str]:
    return (one.status, other.status, one.reason or other.reason or "")


def _text(row: Result, one: Metric) -> str:
    return value_text(row, one) or f"n/a: {missing_value(row, one.key)}"


def _change(one: Result, other: Result, shown: Metric) -> str:
    before, after = one.metrics.get(shown.key), other.metrics.get(shown.key)
    change = None if before is None or after is None else ratio(after, before)
    return "" if change is None else show_change(change)


def _settings(pairs: list[_Pair], names: tuple[str, str]) -> Table | None:
    lines = [
        Line(model, (setting, str(values["a"]), str(values["b"])))
        for model, found in _setting_records(pairs).items()
        for setting, values in found.items()
    ]
    if not lines:
        return None
    columns = (Column("Model", "left"), *(Column(name, "left") for name in ("Setting", "A", "B")))
    return Table("Settings that differ: these values are of different things.", columns,
                 tuple(lines))  # fmt: skip


def _setting_records(pairs: list[_Pair]) -> dict[str, dict[str, dict[str, Any]]]:
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for pair in pairs:
        if pair.one is None or pair.other is None:
            continue
        differing = setting_differences(pair.one.settings, pair.other.settings, unsaid=True)
        if differing:
            found[pair.label] = {key: {"a": a, "b": b} for key, (a, b) in differing.items()}
    return found


def _environment(here: Report, there: Report, names: tuple[str, str]) -> Table | None:
    differing = machine_differences(here, there)
    if not differing:
        return None
    return Table(
        "Environments that differ.",
        (Column("Fact", "left"), Column("A", "left"), Column("B", "left")),
        tuple(Line(fact, (_said(one), _said(other))) for fact, (one, other) in differing.items()),
    )


def _said(value: Any) -> str:
    return "unknown" if value is None else str(value)


def _records(pairs: list[_Pair]) -> Iterator[Mapping[str, Any]]:
    for pair in pairs:
        one, other = pair.one, pair.other
        if one is None or other is None:
            continue
        for key in _changed(one, other):
            before, after = one.metrics.get(key), other.metrics.get(key)
            yield {
                "model": pair.label,
                "metric": key,
                "a": before,
                "b": after,
                "ratio": None if before is None or after is None else ratio(after, before),
            }
