"""What changed between two reports: values, settings, environment. A description, not a verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from detrbench.core.units import header, ratio, show_change
from detrbench.render.layout import Column, Document, Line, Table, value_text
from detrbench.reports.merge import is_measured, machine_differences
from detrbench.reports.metrics import METRICS, Metric
from detrbench.reports.report import Report, Result, metric_keys, missing_value, setting_differences

Pair = tuple[Result | None, Result | None]


def difference(here: Report, there: Report, names: tuple[str, str] = ("A", "B")) -> Document:
    """Every value that differs between `here` and `there`, and what makes them hard to compare.

    Rows are matched by model, and by settings where a model has several rows.

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


def _pairs(here: Report, there: Report) -> list[Pair]:
    left = list(there.rows)
    found: list[Pair] = []
    for row in here.rows:
        alike = [other for other in left if other.model == row.model]
        partner = min(
            alike, key=lambda other: len(setting_differences(row.settings, other.settings)),
            default=None,
        )  # fmt: skip
        if partner is not None:
            left.remove(partner)
        found.append((row, partner))
    return [*found, *((None, row) for row in left)]


def _changed(one: Result, other: Result) -> list[str]:
    keys = metric_keys((one, other))
    return [key for key in keys if one.metrics.get(key) != other.metrics.get(key)]


def _values(pairs: list[Pair], names: tuple[str, str], measured: bool) -> Table:
    lines = [line for pair in pairs for line in _value_lines(*pair)]
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


def _value_lines(one: Result | None, other: Result | None) -> Iterator[Line]:
    row = one or other
    assert row is not None
    if one is None or other is None:
        yield Line(row.model, ("absent", "there", "") if one is None else ("there", "absent", ""))
        return
    changed = [METRICS[key] for key in _changed(one, other) if key in METRICS]
    shown = [each for each in changed if not _is_end(each)]
    if not shown and one.status == other.status:
        return
    yield Line(row.model, ("", "", "") if one.status == other.status else _statuses(one, other))
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


def _settings(pairs: list[Pair], names: tuple[str, str]) -> Table | None:
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


def _setting_records(pairs: list[Pair]) -> dict[str, dict[str, dict[str, Any]]]:
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for one, other in pairs:
        if one is None or other is None:
            continue
        differing = setting_differences(one.settings, other.settings, unsaid=True)
        if differing:
            found[one.model] = {key: {"a": a, "b": b} for key, (a, b) in differing.items()}
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


def _records(pairs: list[Pair]) -> Iterator[Mapping[str, Any]]:
    for one, other in pairs:
        row = one or other
        assert row is not None
        if one is None or other is None:
            continue
        for key in _changed(one, other):
            before, after = one.metrics.get(key), other.metrics.get(key)
            both = before is not None and after is not None
            yield {
                "model": row.model,
                "metric": key,
                "a": before,
                "b": after,
                "ratio": ratio(after, before) if both else None,  # type: ignore[arg-type]
            }
