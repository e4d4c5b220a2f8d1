"""The pictures of a Report, drawn by matplotlib: each a pure function of the report to SVG text.

A picture that the report has no values for is None. Each says in words what it shows, for a reader
who does not see it, and none names a metric: which are drawn is data in `reports.metrics`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from detrbench.core.stats import median, quantile
from detrbench.core.units import header, show, show_change, show_quantity, show_share
from detrbench.render.drawing import (
    LETTER,
    PALETTE,
    SERIES,
    TEXT,
    Label,
    draw_legend,
    inner_size,
    legend_height,
    mark_of,
    name_points,
    percent_ticks,
    put_title,
    share_range,
    shortened,
    stack_panels,
    style,
    svg_text,
    unit_ticks,
)
from detrbench.render.layout import (
    MEASURED,
    baseline_label,
    comparison_of,
    difference,
    interval_of,
    interval_text,
    part_metrics,
    reference_label,
    row_label,
    side_label,
    summary_metrics,
)
from detrbench.reports.comparison import Comparison
from detrbench.reports.metrics import METRICS, Metric
from detrbench.reports.order import headline
from detrbench.reports.report import Report, Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PARTS = 7

_MEMORY = tuple(one for one in METRICS.values() if one.unit in ("element", "B"))


# --- every model against the first -------------------------------------------------------------


def verdicts(report: Report) -> str | None:
    """Every measured pair: each process's ratio, the interval, and the margin it is judged by."""
    pairs = [pair for pair in named_pairs(report) if pair.ratio]
    if not pairs:
        return None
    with style():
        figure, panels = stack_panels([24.0] * len(pairs), left=10, label=True)
        for pair, panel in zip(pairs, panels, strict=True):
            _draw_pair(panel, pair, side_label(pair.case, report))
        share_range(panels, pad=0.08)
        percent_ticks(panels[-1].xaxis)
        baselines = ", ".join(dict.fromkeys(baseline_label(pair, report) for pair in pairs))
        panels[-1].set_xlabel(f"Latency against {shortened(baselines, 40)}")
        words = " ".join(_pair_words(pair, side_label(pair.case, report)) for pair in pairs)
        return svg_text(figure, "verdicts", "Verdicts", words)


def named_pairs(report: Report) -> list[Comparison]:
    """The comparisons to show that say what they are of; a file may hold others."""
    return [pair for pair in headline(report) if pair.model and pair.baseline.model]


def _draw_pair(panel: Axes, pair: Comparison, title: str) -> None:
    """One comparison: the processes' ratios above, the interval with its middle below."""
    margin, low, high = pair.margin, pair.ci_low, pair.ci_high
    if margin:
        panel.axvspan(1 / (1 + margin) - 1, margin, color=PALETTE["shade"], linewidth=0)
    panel.axvline(0, color=PALETTE["soft"], linewidth=0.8)
    processes = [math.expm1(each) for each in pair.process_log_ratios]
    panel.plot(
        processes,
        [0.7] * len(processes),
        linestyle="none",
        marker="o",
        markersize=4,
        markerfacecolor="none",
        markeredgecolor=PALETTE["1"],
        markeredgewidth=0.9,
    )
    if low is not None and high is not None:
        panel.plot([low - 1, high - 1], [0.28] * 2, color=PALETTE["ink"], linewidth=2)
    panel.plot([(pair.ratio or 1) - 1], [0.28], marker="D", markersize=5, color=PALETTE["ink"])
    panel.set_ylim(0, 1)
    panel.set_yticks([])
    put_title(panel, title, pair.verdict or "")


def _pair_words(pair: Comparison, label: str) -> str:
    between = f", {interval_text(pair)}" if interval_text(pair) else ""
    verdict = f": {pair.verdict}" if pair.verdict else ""
    return f"{label} {show_change(pair.ratio or 1)}{between}{verdict}."


def savings(report: Report) -> str | None:
    """Every count and every measured value of each model, as a change against its reference."""
    shown = [one for one in summary_metrics(report.rows) if report.rows[0].metrics.get(one.key)]
    references = [report.reference(row) for row in report.rows]
    models = []
    for index, (row, reference) in enumerate(zip(report.rows, references, strict=True)):
        if reference is not None and row.status == reference.status == "ok":
            changes = [_change(one, row, reference, report) for one in shown]
            models.append(_Changes(row_label(row, report.rows), mark_of(index), changes))
    if len(shown) < 2 or not models:  # a single change is the verdicts' picture
        return None
    labels = [reference_label(one, report.rows) for one in references if one is not None]
    against = f"Change against {', '.join(dict.fromkeys(labels))}"
    titles = [one.title for one in shown]
    with style():
        figure = _draw_savings(titles, models, against)
        words = " ".join(model.words(titles) for model in models)
        return svg_text(figure, "savings", against, words)


def _draw_savings(titles: Sequence[str], models: Sequence[_Changes], label: str) -> Figure:
    alone, names = len(models) == 1, [model.name for model in models]
    figure, (panel,) = stack_panels(
        [17.0 * len(titles)],
        left=12 + LETTER * max(map(len, titles)),
        label=True,
        above=0.0 if alone else legend_height(names) - 14.0,
    )
    gap = min(0.16, 0.6 / len(models))
    for index, model in enumerate(models):
        _draw_changes(panel, model, gap * (index - (len(models) - 1) / 2), in_figures=alone)
    panel.axvline(0, color=PALETTE["soft"], linewidth=0.8)
    panel.set_ylim(len(titles) - 0.5, -0.5)
    panel.set_yticks(range(len(titles)), list(titles))
    share_range([panel], pad=0.3 if alone else 0.06)  # figures stand beside the marks
    percent_ticks(panel.xaxis)
    panel.set_xlabel(shortened(label, 50))
    if alone:
        put_title(panel, names[0])
    else:
        draw_legend(figure, names, [model.mark for model in models])
    return figure


class _Changes(NamedTuple):
    """A model against the first: its name, its marker and colour, a change per metric."""

    name: str
    mark: tuple[str, str]
    changes: list[_Change | None]

    def words(self, titles: Sequence[str]) -> str:
        told = [
            f"{title} {show_change(1 + change.middle)}"
            for title, change in zip(titles, self.changes, strict=True)
            if change is not None
        ]
        return f"{self.name}: {', '.join(told)}."


class _Change(NamedTuple):
    """A relative difference, and its interval where it was measured in pairs."""

    middle: float
    low: float | None = None
    high: float | None = None


def _change(one: Metric, row: Result, reference: Result, report: Report) -> _Change | None:
    change = difference(row, reference, one, report)
    pair = comparison_of(row, report) if one.spread else None
    ends = (None, None) if pair is None else (pair.ci_low, pair.ci_high)
    low, high = (None if end is None else end - 1 for end in ends)
    return None if change is None else _Change(change - 1, low, high)


def _draw_changes(panel: Axes, model: _Changes, shift: float, in_figures: bool) -> None:
    """One model's mark on every line, `shift` beneath its middle; in figures also written out."""
    marker, colour = model.mark[0], PALETTE[model.mark[1]]
    for place, change in enumerate(model.changes):
        if change is None:
            continue
        y = place + shift
        if in_figures:
            panel.plot([0, change.middle], [y, y], color=PALETTE["grid"], linewidth=3)
            side = 1 if change.middle > 0 else -1
            outermost = (change.high if side > 0 else change.low) or change.middle
            panel.annotate(
                show_change(1 + change.middle), (outermost, y),
                xytext=(7 * side, 0), textcoords="offset points",
                ha="left" if side > 0 else "right", va="center",
            )  # fmt: skip
        if change.low is not None and change.high is not None:
            panel.plot([change.low, change.high], [y, y], color=colour, linewidth=1.4)
        panel.plot([change.middle], [y], marker=marker, markersize=5, color=colour)


# --- latency -----------------------------------------------------------------------------------


def samples(report: Report, rows: Sequence[Result] | None = None, place: int = 1) -> str | None:
    """Every timed forward pass of every model, process by process.

    Args:
        rows: those of one workload, whose times an axis can show; all, if `None`.
        place: the picture's among several on a page.
    """
    rows = [row for row in (report.rows if rows is None else rows) if any(_processes(row))]
    if not rows:
        return None
    lowest = min(min(each) for row in rows for each in _processes(row) if each)
    view = max(_view(row) for row in rows)
    pad = 0.03 * ((view - lowest) or view)
    with style():
        heights = [11.0 * len(_processes(row)) for row in rows]
        figure, panels = stack_panels(heights, left=30, label=True)
        for row, panel in zip(rows, panels, strict=True):
            panel.set_xlim(lowest - pad, view + pad)
            _draw_processes(panel, _processes(row), view)
            _draw_median(panel, row)
            put_title(panel, row_label(row, report.rows), _beyond(_processes(row), view))
            unit_ticks(panel.xaxis, "s")
            panel.tick_params(labelbottom=panel is panels[-1])
        panels[-1].set_xlabel(header(MEASURED[0].title, "s"))
        words = [_samples_words(row, report) for row in rows]
        name = "samples" if place == 1 else f"samples-{place}"
        return svg_text(figure, name, "Every sample, by process", " ".join(words))


def _processes(row: Result) -> list[list[float]]:
    """Seconds of each process's timed rounds, in the order taken."""
    held = row.samples.get("latency_s") or ()
    return [list(each) for each in held if isinstance(each, Sequence)]


def _view(row: Result) -> float:
    """Where the axis may end, and far outliers stand: they would press all others into a line."""
    every = [sample for each in _processes(row) for sample in each]
    return min(max(every), 1.25 * quantile(every, 0.98))


def _draw_processes(panel: Axes, processes: Sequence[Sequence[float]], view: float) -> None:
    """A band per process: its samples downwards in the order taken, and its median."""
    for place, each in enumerate(processes):
        if place % 2 == 0:
            panel.axhspan(place - 0.5, place + 0.5, color=PALETTE["band"], linewidth=0, zorder=0.8)
        if not each:
            continue
        step = 0.8 / len(each)
        tops = [place - 0.4 + step * order for order in range(len(each))]
        dash = max(0.16, step)
        # One path with gaps instead of a mark per sample: a tenth of the text for thousands.
        inside = [(x, y) for x, y in zip(each, tops, strict=True) if x <= view]
        panel.plot(
            [x for x, _ in inside for x in (x, x, float("nan"))],
            [y for _, top in inside for y in (top, top + dash, float("nan"))],
            color=PALETTE["1"],
            linewidth=1.3,
        )
        outside = [y for x, y in zip(each, tops, strict=True) if x > view]
        panel.plot(
            [view] * len(outside), outside, linestyle="none", marker=">", markersize=4,
            markerfacecolor="none", markeredgecolor=PALETTE["2"], clip_on=False,
        )  # fmt: skip
        middle = median(each)
        panel.plot([middle] * 2, [place - 0.45, place + 0.45], color=PALETTE["2"], linewidth=2)
    panel.set_ylim(len(processes) - 0.5, -0.5)
    numbers = range(0, len(processes), 1 + len(processes) // 25)
    panel.set_yticks(list(numbers), [str(place + 1) for place in numbers])


def _draw_median(panel: Axes, row: Result) -> None:
    """The median over processes, dashed, and its interval, shaded."""
    for one in MEASURED:
        value, interval = row.metrics.get(one.key), interval_of(row, one)
        if value is None:
            continue
        panel.axvline(value, color=PALETTE["ink"], linewidth=0.9, linestyle=(0, (4, 3)))
        if interval is not None:
            panel.axvspan(*interval, color=PALETTE["shade"], linewidth=0, zorder=0.9)


def _beyond(processes: Sequence[Sequence[float]], view: float) -> str:
    outside = [sample for each in processes for sample in each if sample > view]
    if not outside:
        return ""
    return f"{len(outside)} beyond the axis, up to {show_quantity(max(outside), 's')}"


def _samples_words(row: Result, report: Report) -> str:
    processes = [each for each in _processes(row) if each]
    every = [sample for each in processes for sample in each]
    medians = [median(each) for each in processes]
    return (
        f"{row_label(row, report.rows)}: {len(every)} samples in {len(processes)} processes, from "
        f"{show_quantity(min(every), 's')} to {show_quantity(max(every), 's')}; the processes' "
        f"medians from {show_quantity(min(medians), 's')} to {show_quantity(max(medians), 's')}."
    )


# --- FLOPs against latency ---------------------------------------------------------------------


def cost(report: Report) -> str | None:
    """Latency with its interval over FLOPs, and where latency would be if FLOPs decided it."""
    held = {key for row in report.rows for key, value in row.metrics.items() if value is not None}
    flops = (one for one in summary_metrics(report.rows) if one.convention and one.key in held)
    across, up = next(flops, None), MEASURED[0]
    if across is None:
        return None
    points = [
        _Point(row_label(row, report.rows), mark_of(index), x, y, interval_of(row, up), row)
        for index, row in enumerate(report.rows)
        if (x := row.metrics.get(across.key)) and (y := row.metrics.get(up.key))
    ]
    if len(points) < 2:
        return None
    with style():
        figure, (panel,) = stack_panels([210.0], left=46, label=True, title=8)
        right = 1.12 * max(point.x for point in points)
        top = 1.12 * max(point.interval[1] if point.interval else point.y for point in points)
        panel.set_xlim(0, right)
        panel.set_ylim(0, top)
        first = points[0]
        panel.plot(
            [0, right], [0, right * first.y / first.x],
            color=PALETTE["soft"], linewidth=0.9, linestyle=(0, (4, 3)),
        )  # fmt: skip
        for point in points:
            _draw_point(panel, point)
        labels = [Label(one.name, (one.x, one.y), 6.0, one.interval) for one in points]
        name_points(panel, labels, most=30)
        unit_ticks(panel.xaxis, across.unit)
        unit_ticks(panel.yaxis, up.unit)
        panel.set_xlabel(header(across.title, across.unit))
        panel.set_ylabel(header(up.title, up.unit))
        words = [f"{first.words(across, up)}. Against it:"]
        for one in points[1:]:
            known = (difference(one.row, first.row, metric, report) for metric in (across, up))
            changes = " and ".join(show_change(each) for each in known if each is not None)
            words.append(f"{one.words(across, up)}, {changes}.")
        return svg_text(figure, "cost", "FLOPs against latency", " ".join(words))


class _Point(NamedTuple):
    """A model in the plane of two metrics, with the second one's interval."""

    name: str
    mark: tuple[str, str]
    x: float
    y: float
    interval: tuple[float, float] | None
    row: Result

    def words(self, across: Metric, up: Metric) -> str:
        values = f"{show_quantity(self.x, across.unit)}, {show_quantity(self.y, up.unit)}"
        return f"{self.name}: {values}"


def _draw_point(panel: Axes, point: _Point) -> None:
    marker, colour = point.mark[0], PALETTE[point.mark[1]]
    if point.interval:
        ends = [point.x] * 2, list(point.interval)
        panel.plot(*ends, marker="_", markersize=7, color=colour, linewidth=1.4)
    panel.plot([point.x], [point.y], marker=marker, markersize=6, color=colour)


# --- bars --------------------------------------------------------------------------------------


def memory(report: Report) -> str | None:
    """Elements and bytes that each model touches, moves and holds."""
    panels = {}
    for one in _MEMORY:
        bars = [
            _Bar(row_label(row, report.rows), (value,))
            for row in report.rows
            if (value := row.metrics.get(one.key)) is not None
        ]
        if any(bar.values[0] for bar in bars):
            panels[one] = bars
    return _bars("memory", "Memory", panels) if panels else None


def parts(report: Report, by: str) -> str | None:
    """Every additive metric of each model, split into its stages, modules or operators."""
    rows = [row for row in report.rows if row.parts.get(by)]
    if not rows:
        return None
    shown = part_metrics(rows, by)
    names = _largest_parts(rows, shown, by)
    panels = {one: _part_bars(rows, report, one, names, by) for one in shown}
    return _bars(f"parts-{by}", f"By {by}", panels, names)


class _Bar(NamedTuple):
    """A model's bar: its name, and the values it is put together from."""

    name: str
    values: tuple[float, ...]


def _largest_parts(rows: Sequence[Result], shown: Sequence[Metric], by: str) -> list[str]:
    """The parts worth a colour by their largest share, in the model's order, then all others."""
    shares: dict[str, float] = {}
    for row in rows:
        for one in shown:
            whole = sum(part.get(one.key) or 0 for part in row.parts[by])
            for part in row.parts[by]:
                share = (part.get(one.key) or 0) / whole if whole else 0
                shares[part["part"]] = max(share, shares.get(part["part"], 0.0))
    if len(shares) <= MOST_PARTS + 1:
        return list(shares)
    kept = sorted(shares, key=lambda name: shares[name], reverse=True)[:MOST_PARTS]
    return [*(name for name in shares if name in kept), f"{len(shares) - len(kept)} others"]


def _part_bars(
    rows: Sequence[Result], report: Report, one: Metric, names: Sequence[str], by: str
) -> list[_Bar]:
    bars = []
    for row in rows:
        values = dict.fromkeys(names, 0.0)
        for part in row.parts[by]:
            name = part["part"] if part["part"] in values else names[-1]
            values[name] += part.get(one.key) or 0
        bars.append(_Bar(row_label(row, report.rows), tuple(values.values())))
    return bars


def _bars(
    name: str, title: str, panels: Mapping[Metric, Sequence[_Bar]], parts: Sequence[str] = ()
) -> str:
    """Horizontal bars, a panel per metric, with each bar's total at its end."""
    with style():
        longest = max(len(shortened(bar.name)) for bars in panels.values() for bar in bars)
        heights = [15.0 * len(bars) for bars in panels.values()]
        figure, axes = stack_panels(
            heights, left=12 + LETTER * longest, below=4, above=legend_height(parts)
        )
        for (one, bars), panel in zip(panels.items(), axes, strict=True):
            _draw_bars(panel, bars, one.unit, parts)
            put_title(panel, header(one.title, one.unit))
        draw_legend(figure, parts, [("s", colour) for colour in SERIES])
        words = [_bars_words(one, bars, parts) for one, bars in panels.items()]
        return svg_text(figure, name, title, " ".join(words))


def _draw_bars(panel: Axes, bars: Sequence[_Bar], unit: str, parts: Sequence[str]) -> None:
    longest = max(sum(bar.values) for bar in bars) or 1.0
    room = 3 + max(len(show(sum(bar.values), unit)) for bar in bars)
    wide, _ = inner_size(panel)
    end = longest * wide / (wide - LETTER * room)
    for place, bar in enumerate(bars):
        start = 0.0
        for index, value in enumerate(bar.values):
            if not value:
                continue
            panel.barh(
                place, value, left=start, height=0.72,
                color=PALETTE[SERIES[index % 8]], edgecolor=PALETTE["page"], linewidth=0.8,
            )  # fmt: skip
            if parts and LETTER * len(parts[index]) + 4 < wide * value / end:
                panel.text(
                    start + value / 2, place, parts[index],
                    color=PALETTE["on"], ha="center", va="center_baseline", fontsize=TEXT - 1,
                )  # fmt: skip
            start += value
        panel.annotate(
            show(start, unit), (start, place),
            xytext=(4, 0), textcoords="offset points", va="center_baseline",
        )  # fmt: skip
    panel.set_xlim(0, end)
    panel.set_ylim(len(bars) - 0.5, -0.5)
    panel.set_yticks(range(len(bars)), [shortened(bar.name) for bar in bars])
    panel.set_xticks([])
    panel.grid(visible=False)


def _bars_words(one: Metric, bars: Sequence[_Bar], parts: Sequence[str]) -> str:
    told = []
    for bar in bars:
        whole = sum(bar.values)
        shares = ", ".join(
            f"{name} {share}"
            for name, value in zip(parts, bar.values, strict=False)
            if value and (share := show_share(value, whole))
        )
        told.append(f"{bar.name} {show(whole, one.unit)}" + (f" ({shares})" if shares else ""))
    return f"{header(one.title, one.unit)}: {'; '.join(told)}."
