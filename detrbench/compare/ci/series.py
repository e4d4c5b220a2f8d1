"""A report's figures for services that draw them over time.

- github-action-benchmark, tool "customSmallerIsBetter": a list of name, unit, value, range, extra.
- Bencher Metric Format (https://bencher.dev/docs/reference/bencher-metric-format): benchmark ->
  measure -> value, lower_value, upper_value.

Both know a series by its name alone, so a name holds every setting: a figure at another image size
is another series. A figure that is missing is left out, for neither knows of any reason.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from detrbench.core.units import UNITS, printed_factor, show_range
from detrbench.machine.environment import Environment
from detrbench.render.layout import interval_of, summary_metrics
from detrbench.reports.metrics import Metric
from detrbench.reports.report import Report, json_text
from detrbench.reports.settings import settings_text


def smaller_is_better(report: Report) -> str:
    """The figures of which less is better, in the units people read."""
    machine = Environment.from_dict(report.environment).one_line()
    entries = [
        {
            "name": f"{benchmark}: {one.title}",
            "unit": UNITS[one.unit].shown or one.title.lower(),
            "value": value / printed_factor(one.unit),
            **({} if ends is None else {"range": show_range(*ends, one.unit)}),
            "extra": machine,
        }
        for benchmark, one, value, ends in _figures(report)
    ]
    return json_text(entries)


def bencher(report: Report) -> str:
    """The figures in base units, under their keys."""
    benchmarks: dict[str, dict[str, dict[str, float]]] = {}
    for benchmark, one, value, ends in _figures(report):
        interval = {} if ends is None else {"lower_value": ends[0], "upper_value": ends[1]}
        benchmarks.setdefault(benchmark, {})[one.key] = {"value": value, **interval}
    return json_text(benchmarks)


def _figures(report: Report) -> Iterator[tuple[str, Metric, float, tuple[float, float] | None]]:
    """Benchmark, metric and value of what a table shows of every whole row, with its interval."""
    for row in report.rows:
        for one in summary_metrics((row,)) if row.status == "ok" else ():
            value = row.metrics.get(one.key)
            if value is not None and one.better == "lower":
                # The first spread is the interval; others, such as quartiles, are none.
                ends = interval_of(row, dataclasses.replace(one, spread=one.spread[:1]))
                yield f"{row.model} ({settings_text(row.settings)})", one, value, ends
