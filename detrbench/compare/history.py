"""One metric over saved runs. What was measured elsewhere, or otherwise, starts a table of its own.

A line through runs of two machines, or of two image sizes, shows the machines and not the model:
so runs are grouped by what must be equal, and a change is given only within a group.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detrbench.core.errors import UsageError, nearest
from detrbench.core.units import header, show_change
from detrbench.machine.environment import Environment
from detrbench.render.layout import Column, Document, Line, Table, change_of, columns, value_text
from detrbench.reports.metrics import METRICS, Metric
from detrbench.reports.report import Report, ReportError, Result, missing_value
from detrbench.reports.settings import settings_text


@dataclass(frozen=True)
class _Entry:
    """One run's value of one model."""

    file: str
    report: Report
    row: Result

    @property
    def environment(self) -> Environment:
        return Environment.from_dict(self.report.environment)

    @property
    def settings(self) -> dict[str, Any]:
        return {name: value for name, value in self.row.settings.items() if name != "convention"}


def collect(folder: Path) -> tuple[dict[str, Report], list[str]]:
    """Every saved report below `folder` by its path in it, and why other JSON files are none.

    Raises:
        UsageError: no such folder, or no report in it.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", hint="Name the folder that holds your runs.")
    found: dict[str, Report] = {}
    left_out: list[str] = []
    for file in sorted(folder.rglob("*.json")):
        name = file.relative_to(folder).as_posix()
        try:
            found[name] = Report.load(file)
        except ReportError as error:
            left_out.append(f"{name} is left out: {error.what}")
    if not found:
        hint = "Make one: detrbench run article."
        why = f": {'; '.join(left_out)}" if left_out else ""
        raise UsageError(f"no saved report is below {folder}{why}", hint=hint)
    return found, left_out


def history(
    reports: Mapping[str, Report],
    metric: str = "latency_median_s",
    models: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Document:
    """A table for every group of runs that compare, oldest first; one column per model.

    Args:
        reports: the file each is from -> the report.
        metric: a key of `detrbench.reports.metrics.METRICS`.
        models: only these.
        notes: to stand beneath the last table.

    Raises:
        UsageError: an unknown metric, or no run has a row to show.
    """
    if metric not in METRICS:
        hint = nearest(metric, METRICS)
        raise UsageError(f"unknown metric {metric!r}", where="--metric", hint=hint)
    shown = METRICS[metric]
    entries = [
        _Entry(file, report, row)
        for file, report in reports.items()
        for row in report.rows
        if metric in row.metrics and (not models or row.model in models)
    ]
    if not entries:
        of = f" of {', '.join(models)}" if models else ""
        raise UsageError(f"no saved run has {metric}{of}", hint="Choose another --metric or model.")
    groups: list[list[_Entry]] = []
    for entry in sorted(entries, key=lambda each: (each.report.created, each.file)):
        alike = next((group for group in groups if _compares(group[0], entry, shown)), None)
        if alike is None:
            groups.append(alike := [])
        alike.append(entry)
    tables = [_table(group, shown) for group in groups]
    if len(tables) > 1:
        apart = "Runs of different environments or settings stand apart: no change is drawn "
        notes = (f"{apart}between them.", *notes)
    tables[-1] = dataclasses.replace(tables[-1], notes=tuple(notes))
    records = [
        {
            "group": number,
            "created": entry.report.created,
            "run": entry.file,
            "model": entry.row.model,
            metric: entry.row.metrics[metric],
            "machine": entry.environment.one_line(),
            "settings": settings_text(entry.settings),
        }
        for number, group in enumerate(groups, 1)
        for entry in group
    ]
    return Document(tuple(tables), records, records)


def _compares(first: _Entry, entry: _Entry, shown: Metric) -> bool:
    """Whether two runs may stand in one table; a count belongs to no machine."""
    apart = shown.measured and first.environment.differences(entry.environment)
    return first.settings == entry.settings and not apart


def _table(group: list[_Entry], shown: Metric) -> Table:
    models = list(dict.fromkeys(entry.row.model for entry in group))
    lines: list[Line] = []
    before: dict[str, Result] = {}
    for file, run in itertools.groupby(group, lambda entry: entry.file):
        of_run = {entry.row.model: entry for entry in run}
        texts = [_text(of_run.get(model), shown, before.get(model)) for model in models]
        report = next(iter(of_run.values())).report
        date = report.created.partition("+")[0].replace("T", " ") or "no date"
        lines.append(Line(date, (file.removesuffix("/run.json"), *texts)))
        held = {model: entry.row for model, entry in of_run.items()}
        before |= {model: row for model, row in held.items() if row.metrics[shown.key] is not None}
    machine = group[0].environment.one_line()
    where = f": {machine}" if shown.measured and machine else ""
    return Table(
        caption=f"{header(shown.title, shown.unit)}{where}; {settings_text(group[0].settings)}.",
        columns=(*columns("ll", "Date", "Run"), *map(Column, models)),
        lines=tuple(lines),
    )


def _text(entry: _Entry | None, shown: Metric, before: Result | None) -> str:
    """Such as "11.6 [11.4-11.9] +1.2%", the change since the run above."""
    if entry is None:
        return ""
    text = value_text(entry.row, shown)
    if text is None:
        return f"n/a: {missing_value(entry.row, shown.key)}"
    change = None if before is None else change_of(entry.row, before, shown)
    return text if change is None else f"{text} {show_change(change)}"
