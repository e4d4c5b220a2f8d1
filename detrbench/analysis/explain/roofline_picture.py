"""The roofline of a Report that `detrbench explain` made: its parts under the ceilings measured.

Both axes are logarithmic. They are drawn as powers on linear ones, so that all pictures share the
same helpers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from detrbench.analysis.probe.ceilings import LIMITS
from detrbench.core.units import header, show_number, show_quantity, show_share
from detrbench.render.drawing import (
    PALETTE,
    TEXT,
    Label,
    draw_legend,
    legend_height,
    mark_of,
    name_points,
    stack_panels,
    style,
    svg_text,
)
from detrbench.render.layout import row_label
from detrbench.reports.report import Report, Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROOFLINE_CAPTION = (
    "A mark is a part, larger where more of the time is; the roof is what this device was measured "
    "to do at best, in the same rounds."
)

MOST_LABELS = 4
"""Names beside the marks of each model: of the parts that take longest."""

_FLAT = {"convolution": "convolutions", "matmul": "matrix products"}
_SLOPED = {"memory": "memory", "cache": "cache"}


class _Mark(NamedTuple):
    """One part of a model: FLOPs per byte, FLOP/s as measured, and its share of the time."""

    name: str
    intensity: float
    rate: float
    share: float
    limit: str

    @property
    def place(self) -> tuple[float, float]:
        return math.log10(self.intensity), math.log10(self.rate)

    @property
    def size(self) -> float:
        """Its diameter: its area is as its share of the time."""
        return 3.0 + 9.0 * math.sqrt(self.share)


def roofline(report: Report) -> str | None:
    """FLOP/s that each part reached over its FLOPs per byte, a mark per part, larger where more of
    the time is; the measured ceilings above. None where the report holds no explanation."""
    kept = report.explanation
    if kept is None:
        return None
    rows = {row_label(row, report.rows): _marks(row, kept["by"]) for row in report.rows}
    marks = [mark for each in rows.values() for mark in each]
    if not marks:
        return None
    ceilings = {one["name"]: float(one["value"]) for one in kept["ceilings"]}
    with style():
        figure, (panel,) = stack_panels(
            [230.0], left=46, label=True, title=8, above=legend_height(list(rows))
        )
        _draw_frame(panel, marks, ceilings)
        for index, each in enumerate(rows.values()):
            _draw_marks(panel, each, *mark_of(index))
        largest = [mark for each in rows.values() for mark in _largest(each)]
        largest.sort(
            key=lambda mark: -mark.share
        )  # where there is no room for all, these come first
        labels = [Label(mark.name, mark.place, mark.size) for mark in largest]
        name_points(panel, labels, fontsize=TEXT - 1, all_of_them=False)
        draw_legend(figure, list(rows), [mark_of(index) for index in range(len(rows))])
        words = [f"{name}: {'; '.join(_told(each))}." for name, each in rows.items()]
        told = ", ".join(
            f"{word} {show_quantity(ceilings[name], 'FLOP/s')}" for name, word in _FLAT.items()
        )
        return svg_text(
            figure, "roofline", f"Roofline by {kept['by']}", f"Ceilings: {told}. {' '.join(words)}"
        )


def _marks(row: Result, by: str) -> list[_Mark]:
    """Parts with FLOPs; the others have no place under a roof of FLOP/s."""
    parts = row.parts.get(by, [])
    whole = sum(part.get("latency_median_s") or 0 for part in parts)
    return [
        _Mark(
            part["part"],
            part["flops"] / part["traffic_eager_bytes"],
            part["flops"] / part["latency_median_s"],
            part["latency_median_s"] / whole,
            LIMITS.get(part.get("limit") or "", ""),
        )
        for part in parts
        if part.get("flops") and part.get("traffic_eager_bytes") and part.get("latency_median_s")
    ]


def _largest(marks: Sequence[_Mark]) -> list[_Mark]:
    return sorted(marks, key=lambda mark: -mark.share)[:MOST_LABELS]


def _draw_frame(panel: Axes, marks: Sequence[_Mark], ceilings: Mapping[str, float]) -> None:
    """Axes wide enough for the marks and for where the roofs meet, and the roofs."""
    top = max(ceilings[name] for name in _FLAT)
    ridges = [top / ceilings[name] for name in _SLOPED]
    left = math.log10(min(*(mark.intensity for mark in marks), *ridges)) - 0.3
    right = math.log10(max(*(mark.intensity for mark in marks), *ridges)) + 0.3
    low = math.log10(min(mark.rate for mark in marks)) - 0.3
    high = math.log10(max(top, *(mark.rate for mark in marks))) + 0.3
    panel.set_xlim(left, right)
    panel.set_ylim(low, high)
    for name, word in _SLOPED.items():
        bandwidth = math.log10(ceilings[name])
        ends = [left, math.log10(top) - bandwidth]
        line = "-" if name == "memory" else (0, (4, 3))
        panel.plot(
            ends, [bandwidth + x for x in ends],
            color=PALETTE["soft"], linewidth=1.0, linestyle=line,
        )  # fmt: skip
        # On the line where it leaves the picture at the bottom, or at the left.
        x = max(left, low - bandwidth) + 0.06
        panel.annotate(
            word, (x, bandwidth + x), xytext=(5, 1), textcoords="offset points",
            color=PALETTE["soft"], fontsize=TEXT - 1, va="bottom", rotation=0,
        )  # fmt: skip
    for name, word in _FLAT.items():
        y = math.log10(ceilings[name])
        start = y - max(math.log10(ceilings[each]) for each in _SLOPED)
        panel.plot([start, right], [y, y], color=PALETTE["soft"], linewidth=1.0)
        panel.annotate(
            word, (right, y), xytext=(-2, 2 if ceilings[name] == top else -2),
            textcoords="offset points", color=PALETTE["soft"], fontsize=TEXT - 1, ha="right",
            va="bottom" if ceilings[name] == top else "top",
        )  # fmt: skip
    panel.grid(visible=True, axis="both")
    _decades(panel, "x", left, right, 1.0)
    _decades(panel, "y", low, high, 1e9)
    panel.set_xlabel("FLOPs per byte")
    panel.set_ylabel(header("Reached", "FLOP/s"))


def _decades(panel: Axes, axis: str, low: float, high: float, factor: float) -> None:
    """Marks at 1, 2 and 5 of every power of ten, or at the powers alone where there are many."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    steps = (1, 2, 5) if high - low < 2.5 else (1,)
    values = [step * 10.0**power for power in powers for step in steps]
    shown = [value for value in values if low <= math.log10(value) <= high]
    places, labels = map(math.log10, shown), [show_number(value / factor) for value in shown]
    set_ticks = panel.set_xticks if axis == "x" else panel.set_yticks
    set_ticks(list(places), labels)


def _draw_marks(panel: Axes, marks: Sequence[_Mark], marker: str, colour: str) -> None:
    for mark in marks:
        panel.plot(
            [mark.place[0]], [mark.place[1]], marker=marker, markersize=mark.size,
            color=PALETTE[colour], markeredgecolor=PALETTE["page"], markeredgewidth=0.6,
            clip_on=False, zorder=3,
        )  # fmt: skip


def _told(marks: Sequence[_Mark]) -> Iterator[str]:
    for mark in _largest(marks):
        limit = f", bound by {mark.limit}" if mark.limit else ""
        yield (
            f"{mark.name} reaches {show_quantity(mark.rate, 'FLOP/s')} at "
            f"{show_number(mark.intensity)} FLOPs per byte, {show_share(mark.share, 1)} of the "
            f"time{limit}"
        )
