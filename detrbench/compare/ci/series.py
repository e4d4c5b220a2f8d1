"""A report's figures for services that draw them over time.

- github-action-benchmark, tool "customSmallerIsBetter": a list of name, unit, value, range, extra.
- Bencher Metric Format (https://bencher.dev/docs/reference/bencher-metric-format): benchmark ->
  measure -> value, lower_value, upper_value.

Both know a series by its name alone, so a name holds every setting: a figure at another image size
is another series. A figure that is missing is left out, for neither knows of any reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from detrbench.core.units import UNITS, printed_factor, show_range
from detrbench.machine.environment import Environment
from detrbench.reports.metrics import METRICS, Metric
from detrbench.reports.report import Report, Result, json_text
from detrbench.reports.settings import settings_text


@dataclass(frozen=True)
class _Figure:
    row: Result
    metric: Metric
    value: float
    ends: tuple[float, float] | None

    @property
    def benchmark(self) -> str:
        return f"{self.row.model} ({settings_text(self.row.settings)})"


def smaller_is_better(report: Report) -> str:
    """The figures of which less is better, in the units people read."""
    machine = Environment.from_dict(report.environment).one_line()
    return json_text([_entry(figure, machine) for figure in _figures(report)])


def bencher(report: Report) -> str:
    """The figures in base units, under their keys."""
    benchmarks: dict[str, dict[str, dict[str, float]]] = {}
    for figure in _figures(report):
        low, high = figure.ends or (None, None)
        measure = {"value": figure.value, "lower_value": low, "upper_value": high}
        known = {name: value for name, value in measure.items() if value is not None}
        benchmarks.setdefault(figure.benchmark, {})[figure.metric.key] = known
    return json_text(benchmarks)


def _entry(figure: _Figure, machine: str) -> dict[str, Any]:
    unit = figure.metric.unit
    entry: dict[str, Any] = {
        "name": f"{figure.benchmark}: {figure.metric.title}",
        "unit": UNITS[unit].shown or figure.metric.title.lower(),
        "value": figure.value / printed_factor(unit),
    }
    if figure.ends is not None:
        entry["range"] = show_range(*figure.ends, unit)
    return entry | {"extra": machine}


def _figures(report: Report) -> Iterator[_Figure]:
    """What a table shows of every whole row, with its interval where it has one."""
    for row in report.rows:
        conventions = {None, row.settings.get("convention", "core")}
        for one in METRICS.values() if row.status == "ok" else ():
            value = row.metrics.get(one.key)
            if value is None or not one.summary or one.better != "lower":
                continue
            if one.convention in conventions:
                yield _Figure(row, one, value, _ends(row, one))


def _ends(row: Result, one: Metric) -> tuple[float, float] | None:
    for spread in one.spread[:1]:  # the first is the interval; others, such as quartiles, are none
        low, high = row.metrics.get(spread.low), row.metrics.get(spread.high)
        if low is not None and high is not None:
            return low, high
    return None
