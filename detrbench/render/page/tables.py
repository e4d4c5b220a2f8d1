"""Tables for who wants to check: every way of counting, the machine, and what each process saw."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from detrbench.core.units import header, show, show_number, show_size
from detrbench.machine.environment import JUDGED
from detrbench.machine.validity import Entry
from detrbench.render.layout import (
    Column,
    Line,
    Marks,
    Table,
    cell_text,
    columns,
    deviation_text,
    ours_line,
    published_note,
    row_label,
    value_column,
)
from detrbench.reports.metrics import METRICS, Metric
from detrbench.reports.report import Report, Result

_PRINTED = tuple(one for one in METRICS.values() if one.published_as and not one.measured)


def reconciled(report: Report) -> Table | None:
    """Parameters and FLOPs by every convention, at each row's settings and at those of published
    figures, with the deviation of each; `None` where nothing was counted."""
    shown = [one for one in _PRINTED if any(one.key in row.metrics for row in report.rows)]
    if not shown:
        return None
    marks = Marks()
    lines = [line for row in report.rows for line in _reconciled_lines(row, report, shown, marks)]
    return Table(
        "Which way of counting prints which figures. 1 MAC = 2 FLOPs.",
        (Column("Model", "left"), *map(value_column, shown)),
        tuple(lines),
        (*marks.notes, *(f"{one.title}: {one.explanation}" for one in shown)),
    )


def _reconciled_lines(
    row: Result, report: Report, shown: Sequence[Metric], marks: Marks
) -> Iterator[Line]:
    # In finer units, for a reader who checks one count against another.
    fine = [dataclasses.replace(one, unit=f"fine {one.unit}") for one in shown]
    yield Line(row_label(row, report.rows), tuple(cell_text(row, one, marks) for one in fine))
    for figure in row.published:
        printed = [figure.get(one.published_as or "") or "" for one in shown]
        if not any(printed):
            continue
        mark = marks.mark(published_note(figure))
        convention = (figure.get("settings") or {}).get("convention")
        told = [
            text if one.convention in {None, convention} else ""
            for one, text in zip(shown, printed, strict=True)
        ]
        yield Line(f"published {mark}", tuple(told), level=1)
        ours: Mapping[str, Any] = figure.get("ours") or {}
        both = zip(fine, printed, strict=True)
        values = [ours.get(one.key) if text else None for one, text in both]
        yield ours_line(fine, values, mark)
        pairs = zip(fine, values, strict=True)
        deviations = [deviation_text(figure, one, value) for one, value in pairs]
        yield Line("deviation", tuple(deviations), level=1)


def environment(report: Report) -> Table | None:
    """Every fact that the report holds of its machine, and whether two runs that differ in it may
    be compared."""
    told = _facts(report.environment, JUDGED)
    lines = tuple(Line(name, (text, "yes" if same else "no")) for name, text, same in told)
    head = columns("lll", "Fact", "Value", "Same in runs that compare")
    return Table("What ran it.", head, lines) if lines else None


def _facts(
    environment: Mapping[str, Any], judged: Collection[str]
) -> Iterator[tuple[str, str, bool]]:
    for name, value in environment.items():
        if isinstance(value, Mapping):
            yield from _facts(value, value.keys() if name in judged else ())
        elif name.endswith("_bytes") and isinstance(value, int | float):
            yield _worded(name.removesuffix("_bytes")), show_size(value), name in judged
        elif value is not None:
            yield _worded(name), _plain(value), name in judged


def _worded(name: str) -> str:
    return name.replace("_", " ")


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return show_number(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def processes(report: Report) -> Table | None:
    """How each process went and what its ledger saw; `None` where nothing was timed.

    Models that were timed in the same processes stand together.
    """
    runs: dict[str, tuple[list[str], list[dict[str, str]]]] = {}
    for row in report.rows:
        if facts := _process_facts(row):
            runs.setdefault(repr(facts), ([], facts))[0].append(row_label(row, report.rows))
    names = {name: None for _, facts in runs.values() for each in facts for name in each}
    if not names:
        return None
    lines = []
    for models, facts in runs.values():
        lines.append(Line(", ".join(models), ("",) * len(names)))
        lines += [
            Line(f"process {number}", tuple(each.get(name, "") for name in names), level=1)
            for number, each in enumerate(facts, 1)
        ]
    shown = (Column("Models, process", "left"), *map(Column, names))
    return Table("What happened around the samples, process by process.", shown, tuple(lines))


def _process_facts(row: Result) -> list[dict[str, str]]:
    """What is known of each process that `row` was timed in: a column's title -> its text."""
    held = {name: row.samples.get(name) or () for name in ("process_status", "process_s", "ledger")}
    return [
        {
            **({"status": str(status)} if status is not None else {}),
            **({header("took", "long s"): show(took_s, "long s")} if took_s is not None else {}),
            **dict(_ledger_facts(entry or {})),
        }
        for status, took_s, entry in zip_longest(*held.values())
    ]


_UNITS = {"_s": "s", "_mhz": "MHz", "_c": "°C", "_w": "W"}


def _ledger_facts(entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What was seen, in the ledger's order."""
    for name in (each.name for each in dataclasses.fields(Entry)):
        value = entry.get(name)
        if value is None:
            continue
        ending = next((ending for ending in _UNITS if name.endswith(ending)), "")
        unit = f" ({_UNITS[ending]})" if ending else ""
        shown = show(value, "long s") if ending == "_s" else _plain(value)
        yield f"{_worded(name.removesuffix(ending))}{unit}", shown
