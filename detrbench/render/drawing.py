"""What all pictures share: one look, panels one beneath the other, and matplotlib's SVG made ours.

Every colour is one of PALETTE and is written as `var(--plot-NAME, COLOUR)`: a page sets the
properties to fit its light and its dark side, and a picture by itself shows the colours given here.
The same figure gives the same bytes with the same matplotlib.
"""

from __future__ import annotations

import html
import io
import itertools
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from detrbench.core.units import show_part, show_ticks
from detrbench.core.visible import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

PALETTE: dict[str, str] = {
    "ink": "#1b1f24", "soft": "#57606a", "grid": "#d8dee4", "band": "#f3f5f7", "shade": "#cfe2f5",
    "page": "#ffffff", "on": "#fefefe",  # text on a series' colour
    "1": "#0b62a4", "2": "#b5480b", "3": "#0a7a5a", "4": "#8e4a9e",
    "5": "#80620a", "6": "#4a6274", "7": "#b0305c", "8": "#5a5fc7",
}  # fmt: skip
SERIES = ("1", "2", "3", "4", "5", "6", "7", "8")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

WIDTH = 350.0  # points, as all lengths here; narrow, so that its text can be read on a phone
TEXT = 9.5
LETTER = 5.7  # a character of such text, on the wide side
LONGEST = 22  # characters of a name beside a bar


def mark_of(index: int) -> tuple[str, str]:
    """The marker and the colour in PALETTE of row `index`; told apart without seeing colours."""
    return MARKERS[index % len(MARKERS)], SERIES[(index + index // len(MARKERS)) % len(SERIES)]


def shortened(name: str, most: int = LONGEST) -> str:
    """A name that fits, its middle left out: both ends of a path tell more."""
    if len(name) <= most:
        return name
    head = (most - 1) // 2
    return f"{name[:head]}…{name[head + 1 - most :]}"


@contextmanager
def style() -> Iterator[None]:
    """matplotlib as shipped, whatever the user's own settings say, and our few changes to it."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        # Widths are estimated with matplotlib's own font; a reader's shows every character.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        matplotlib.rcdefaults()
        ink, soft, grid = PALETTE["ink"], PALETTE["soft"], PALETTE["grid"]
        matplotlib.rc("font", family=["DejaVu Sans"], size=TEXT)
        matplotlib.rc("text", color=ink, parse_math=False)
        matplotlib.rc("figure", facecolor="none")
        matplotlib.rc("axes", edgecolor=grid, facecolor="none", labelcolor=soft)
        matplotlib.rc("axes", grid=True, axisbelow=True)
        matplotlib.rc("axes.grid", axis="x")
        matplotlib.rc("axes.spines", top=False, right=False, left=False)
        matplotlib.rc("grid", color=grid, linewidth=0.6)
        matplotlib.rc("xtick", color=grid, labelcolor=soft)
        matplotlib.rc("ytick", color=grid, labelcolor=ink)
        matplotlib.rc("ytick.major", size=0)
        matplotlib.rc("path", simplify=False)
        matplotlib.rc("svg", fonttype="none")
        yield


def stack_panels(
    heights: Sequence[float],
    *,
    left: float,
    label: bool = False,
    above: float = 0.0,
    below: float = 16.0,
    title: float = 19.0,
) -> tuple[Figure, list[Axes]]:
    """Panels of these heights one beneath the other.

    Args:
        left: room for names beside the panels.
        label: whether the lowest panel's axis has a label, and tick labels above it.
        above: room at the top, for a legend.
        below: room beneath the lowest panel.
        title: room above every panel, for `put_title`.
    """
    from matplotlib.figure import Figure

    bottom = below + (18.0 if label else 0.0)
    tall = above + sum(heights) + title * len(heights) + bottom
    figure = Figure(figsize=(WIDTH / 72, tall / 72), dpi=72)
    panels, top = [], tall - above
    for height in heights:
        top -= title + height
        box = (left / WIDTH, top / tall, (WIDTH - left - 10) / WIDTH, height / tall)
        panels.append(figure.add_axes(box))
    return figure, panels


def inner_size(panel: Axes) -> tuple[float, float]:
    """Width and height of a panel, in points."""
    figure = panel.get_figure(root=True)
    assert figure is not None
    box = panel.get_position()
    wide, tall = figure.get_size_inches() * 72
    return box.width * wide, box.height * tall


def put_title(panel: Axes, text: str, aside: str = "") -> None:
    """A title above a panel, shortened to fit, and something less important at its right."""
    room = max(int(inner_size(panel)[0] / LETTER) - len(aside) - 2, 12)
    panel.set_title(shortened(text, room), loc="left", fontsize=TEXT, fontweight="bold", pad=4)
    if aside:
        panel.set_title(aside, loc="right", fontsize=TEXT, color=PALETTE["soft"], pad=4)


def share_range(panels: Sequence[Axes], pad: float) -> None:
    """The same axis for all panels: all that is drawn and 0, `pad` of it on either side."""
    drawn = [panel.dataLim.intervalx for panel in panels]
    low = min(0.0, *(low for low, _ in drawn))
    high = max(0.0, *(high for _, high in drawn))
    room = pad * ((high - low) or 1.0)
    for panel in panels:
        panel.set_xlim(low - room, high + room)
        panel.tick_params(labelbottom=panel is panels[-1])


def unit_ticks(axis: Axis, unit: str) -> None:
    """Marks of values in base units, as the unit is shown."""
    _tick_labels(axis, lambda values: show_ticks(values, unit))


def percent_ticks(axis: Axis) -> None:
    """Marks in percent of parts of one."""
    # What a locator calls 0 may be -1e-17.
    _tick_labels(axis, lambda values: [show_part(round(value, 9) + 0.0) for value in values])


def _tick_labels(axis: Axis, shown: Callable[[Sequence[float]], list[str]]) -> None:
    from matplotlib.ticker import Formatter, MaxNLocator

    class Shown(Formatter):
        def __call__(self, x: float, pos: int | None = None) -> str:
            return shown([x])[0]

        def format_ticks(self, values: Sequence[float]) -> list[str]:
            return shown([float(value) for value in values])

    axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(Shown())


def _legend_columns(names: Sequence[str]) -> int:
    longest = max((len(shortened(name, 40)) for name in names), default=1)
    return max(1, min(4, int((WIDTH - 20) / (LETTER * longest + 26))))


def legend_height(names: Sequence[str]) -> float:
    """What `draw_legend` needs above the panels."""
    return 14.0 * -(-len(names) // _legend_columns(names)) + (4 if names else 0)


def draw_legend(figure: Figure, names: Sequence[str], marks: Sequence[tuple[str, str]]) -> None:
    """A mark and a name each, in columns along the top."""
    from matplotlib.lines import Line2D

    wide, tall = figure.get_size_inches() * 72
    columns = _legend_columns(names)
    step = (WIDTH - 20) / columns
    for index, (name, (marker, colour)) in enumerate(zip(names, marks, strict=False)):
        x = 10 + step * (index % columns)
        y = tall - 10 - 14.0 * (index // columns)
        place = [(x + 4) / wide], [y / tall]
        figure.add_artist(
            Line2D(*place, marker=marker, markersize=6, linestyle="none", color=PALETTE[colour])
        )
        figure.text((x + 13) / wide, y / tall, shortened(name, 40), va="center_baseline")


# --- names beside points -----------------------------------------------------------------------


class Label(NamedTuple):
    """The name of a point of a panel's data, of the diameter of its mark, in points, and of the
    upright bar through it, if it has one."""

    name: str
    place: tuple[float, float]
    size: float
    bar: tuple[float, float] | None = None


def name_points(
    panel: Axes,
    labels: Sequence[Label],
    *,
    most: int = LONGEST,
    fontsize: float = TEXT,
    all_of_them: bool = True,
) -> None:
    """A name beside every point, in this order, at the first place where it covers nothing.

    Args:
        most: characters of a name.
        all_of_them: one without such a place stands beside its point all the same.
    """
    from matplotlib.transforms import Bbox

    (left, right), (low, high) = panel.get_xlim(), panel.get_ylim()
    wide, tall = inner_size(panel)
    taken = []
    at = []
    for label in labels:
        x = wide * (label.place[0] - left) / (right - left)
        y, *bar = (
            tall * (each - low) / (high - low) for each in (label.place[1], *(label.bar or ()))
        )
        at.append((x, y))
        reach = label.size / 2 + 2
        taken.append(Bbox.from_extents(x - reach, y - reach, x + reach, y + reach))
        if bar:
            taken.append(Bbox.from_extents(x - 3, bar[0], x + 3, bar[1]))
    for (x, y), label in zip(at, labels, strict=True):
        name, gap = shortened(label.name, most), label.size / 2 + 5
        free = free_place(x, y, LETTER * len(name), gap, taken, (wide, tall), all_of_them)
        if free is None:
            continue
        box, place = free
        taken.append(box)
        line = {"color": PALETTE["soft"], "linewidth": 0.6, "shrinkA": 1, "shrinkB": 4}
        panel.annotate(
            name,
            label.place,
            xytext=place,
            textcoords="offset points",
            fontsize=fontsize,
            ha="left" if place[0] > 0 else "right",
            va="center",
            zorder=4,
            arrowprops={"arrowstyle": "-", **line} if abs(place[1]) > 1 else None,
        )


def free_place(
    x: float,
    y: float,
    width: float,
    gap: float,
    taken: Sequence[Bbox],
    room: tuple[float, float],
    always: bool = True,
) -> tuple[Bbox, tuple[float, float]] | None:
    """The nearest place beside (x, y), up or down, that meets nothing taken; or else the first if
    it is to be one `always`. All in points, of which `room` is the width and the height."""
    from matplotlib.transforms import Bbox

    boxes: dict[tuple[float, float], Bbox] = {}
    for step, up, side in itertools.product(range(12), (7.0, -7.0), (1, -1)):
        start, middle = x + gap * side - (width if side < 0 else 0), y + step * up
        box = Bbox.from_extents(start, middle - 6, start + width, middle + 6)
        boxes[gap * side, step * up] = box
    free = (
        place
        for place, box in boxes.items()
        if min(box.p0) >= 0 and box.x1 <= room[0] and box.y1 <= room[1]
        if not any(box.fully_overlaps(other) for other in taken)
    )
    place = next(free, (gap, 0.0) if always else None)
    return None if place is None else (boxes[place], place)


# --- from matplotlib's SVG to ours -------------------------------------------------------------

_TAG = re.compile(r"<[^>]*>")  # inside a tag, matplotlib writes "<" and ">" as entities
_TEXT = re.compile(r">([^<]+)<")
_FONTS = re.compile(r"'DejaVu Sans'(?:, [^;\"]*)?")
_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_DASH = re.compile(r"M ([\d.]+) ([\d.]+) \nL \1 ([\d.]+) \n")
_ID = re.compile(r' id="([^"]*)"')
_REFERENCE = re.compile(r'(url\(#|xlink:href="#)([^)"]*)')
_NAMED = {colour: f"var(--plot-{name}, {colour})" for name, colour in PALETTE.items()}
_COLOUR = re.compile("|".join(_NAMED))


def svg_text(figure: Figure, name: str, title: str, description: str) -> str:
    """The figure as one <svg> element that scales, says what it shows, and shares no id with
    another picture of the page."""
    import matplotlib

    name = f"plot-{name}"  # what else has ids on a page has other names
    matplotlib.rcParams["svg.hashsalt"] = name
    page = io.StringIO()
    figure.savefig(page, format="svg", metadata={"Date": None})
    whole = page.getvalue()
    drawn = whole[whole.index("</metadata>") + len("</metadata>") : whole.rindex("</svg>")]
    # The style sheet would be the whole page's; what it says stands on the element itself.
    body = re.sub(r"<style.*?</style>", "", drawn, count=1, flags=re.DOTALL)
    used = {found[2] for tag in _TAG.findall(body) for found in _REFERENCE.finditer(tag)}
    body = _TAG.sub(lambda tag: _own_tag(tag[0], name, used), body)
    body = _TEXT.sub(lambda text: f">{visible(text[1], lines=True)}<", body)
    wide, tall = figure.get_size_inches() * 72
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {wide:g} {tall:g}" role="img" aria-labelledby="{name}-title {name}-desc" '
        f'stroke-linejoin="round" stroke-linecap="butt">'
        f'<title id="{name}-title">{html.escape(visible(title))}</title>'
        f'<desc id="{name}-desc">{html.escape(visible(description))}</desc>{body.strip()}</svg>'
    )


def _own_tag(tag: str, name: str, used: set[str]) -> str:
    """One tag with our colours and fonts, shorter numbers, and such ids as something refers to."""
    tag = _ID.sub(lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", tag)
    tag = _REFERENCE.sub(rf"\g<1>{name}-\g<2>", tag)
    tag = _NUMBER.sub(lambda number: f"{float(number[0]):.2f}", tag)
    tag = _DASH.sub(r"M\1 \2V\3", tag)  # of which there are as many as samples
    tag = _FONTS.sub("var(--plot-font, sans-serif)", tag)
    return _COLOUR.sub(lambda colour: _NAMED[colour[0]], tag)
