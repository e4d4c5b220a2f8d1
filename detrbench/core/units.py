"""The only place where a number is rounded or a prefix chosen, and where printed numbers are read.

One decimal in tables, full precision everywhere else. Prefixes are fixed per unit, so that every
row of a column, and every table, can be compared at a glance: M parameters, GFLOPs, MB (10^6
bytes), ms.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from detrbench.core.errors import UsageError, shorten

Number = int | float


@dataclass(frozen=True)
class Unit:
    """How values stored in one base unit are printed.

    Attributes:
        shown: the unit in a column header, with its prefix; "" for plain counts.
        factor: base units in one shown unit.
        digits: decimals printed.
        suffix: what a file's column name must end with to carry the base unit.
        replaces: the word of a title that `shown` stands for, as GFLOPs does for FLOPs.
    """

    shown: str
    factor: float
    digits: int = 1
    suffix: str = ""
    replaces: str | None = None


UNITS: dict[str, Unit] = {
    "parameter": Unit("M", 1e6),
    "FLOP": Unit("GFLOPs", 1e9, replaces="FLOPs"),
    "MAC": Unit("GMACs", 1e9, replaces="MACs"),
    "element": Unit("M", 1e6, suffix="elements"),
    "B": Unit("MB", 1e6, suffix="bytes"),
    "s": Unit("ms", 1e-3, suffix="s"),
    "FLOP/B": Unit("", 1.0, suffix="flop_per_byte"),
    "count": Unit("", 1.0, digits=0),
    "image/s": Unit("", 1.0),
    "part": Unit("%", 0.01),  # of one, as a percentage
    "FLOP/s": Unit("GFLOP/s", 1e9, suffix="flop_per_s"),
    "B/s": Unit("GB/s", 1e9, suffix="bytes_per_s"),
    "J": Unit("J", 1.0, digits=2, suffix="j"),
    "fine s": Unit("us", 1e-6, digits=2),  # what a clock costs
    "short s": Unit("ms", 1e-3, digits=3),  # what a stack of ten blocks takes
    "long s": Unit("s", 1.0),  # what a process takes
    # Finer, for tables whose reader checks one count against another.
    "fine parameter": Unit("M", 1e6, digits=3),
    "fine FLOP": Unit("GFLOPs", 1e9, digits=3),
    "fine MAC": Unit("M", 1e6, digits=2),
}

_PREFIXES = {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12}
_PRINTED = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?) ?([kKMGBT]?)(FLOPs|MACs)?", re.ASCII)
_SEPARATED = re.compile(r"[0-9]{1,3}(?:,[0-9]{3}){1,5}", re.ASCII)
# As millions or billions no model could have so much.
_IN_FULL = re.compile(r"[0-9]{6,18}", re.ASCII)
MAX_SIDE = 16_384
"""Pixels; an image of so many by so many has 3.2 GB in float32."""

_IMAGE_SIZE = re.compile(r"([0-9]{1,5})(?:[xX]([0-9]{1,5}))?", re.ASCII)


def header(title: str, unit: str) -> str:
    """A column header with its unit: "Params (M)", "GFLOPs (thop)", "Latency (ms)"."""
    how = UNITS[unit]
    if how.replaces and how.replaces in title:
        return title.replace(how.replaces, how.shown)
    return f"{title} ({how.shown})" if how.shown else title


def column_name(key: str, unit: str) -> str:
    """A metric's column name in files, where its base unit must be readable from the name."""
    suffix = UNITS[unit].suffix
    return key if not suffix or key.endswith(f"_{suffix}") else f"{key}_{suffix}"


def show(value: Number, unit: str) -> str:
    """A value in base units as a table prints it, without the unit: 32808131 -> "32.8"."""
    how = UNITS[unit]
    return f"{value / how.factor:,.{how.digits}f}"


def show_range(low: Number, high: Number, unit: str) -> str:
    """Two values in base units as an interval: "[11.4-11.9]"."""
    return f"[{show(low, unit)}-{show(high, unit)}]"


def show_ticks(values: Sequence[Number], unit: str) -> list[str]:
    """Evenly spaced marks of an axis, as many decimals as tell neighbours apart: "2.25", "2.50"."""
    factor = UNITS[unit].factor
    step = abs(values[1] - values[0]) / factor if len(values) > 1 else 0
    digits = next((n for n in range(9) if math.isclose(round(step, n), step, rel_tol=1e-6)), 9)
    return [f"{value / factor:,.{digits}f}" for value in values]


def show_quantity(value: Number, unit: str) -> str:
    """A value with its unit, for sentences: "32.8M", "108.0 GFLOPs", "11.6 ms"."""
    shown = UNITS[unit].shown
    gap = "" if len(shown) < 2 else " "
    return f"{show(value, unit)}{gap}{shown}"


def show_number(value: Number) -> str:
    """A number of no known unit, to four digits: 3.271484375 -> "3.271"."""
    return f"{value:.4g}"


def show_count(value: int) -> str:
    """An exact count with thousands separators: 32970476 -> "32,970,476"."""
    return f"{value:,d}"


def show_either(names: Iterable[str]) -> str:
    """Such as "a, b or c"."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def show_many(count: int, thing: str, things: str | None = None) -> str:
    """How many of a thing, for sentences: "1 round", "6 rounds", "2 processes"."""
    return f"{show_count(count)} {thing if count == 1 else things or thing + 's'}"


def show_change(ratio: float) -> str:
    """A ratio to a reference as a signed percentage: 0.912 -> "-8.8%", 1 -> "0.0%"."""
    percent = f"{(ratio - 1) * 100:+,.1f}%"
    return percent if percent.strip("+-0.%") else "0.0%"


def show_share(part: Number, whole: Number) -> str:
    """The share of a whole: "43.7%"; of nothing, no share can be given and "" is returned."""
    return f"{part / whole:.1%}" if whole else ""


def show_part(part: Number) -> str:
    """A part of one as a percentage without idle digits: 0.02 -> "2%", 0.9983 -> "99.83%"."""
    return f"{part:.4%}".removesuffix("%").rstrip("0").rstrip(".") + "%"


def parse_part(text: str, *, where: str | None = None) -> float:
    """Read a part of one: "2%" or "0.02".

    Raises:
        UsageError: it is neither, or not between 0 and 1.
    """
    digits = text.strip().removesuffix("%")
    try:
        value = float(digits) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        value = math.nan
    if not 0 < value < 1:
        raise UsageError(
            f"{text!r} is not a share between 0 and 100%", where=where, hint="write it like 2%"
        )
    return value


def show_size(value: Number) -> str:
    """A size of memory, in GB (10^9 bytes), for sentences about a machine."""
    return f"{value / 1e9:,.1f} GB"


def ratio(value: Number, reference: Number) -> float | None:
    """`value / reference`, or None where no such ratio exists."""
    return value / reference if reference else None


@dataclass(frozen=True)
class Printed:
    """A number as somebody printed it; its digits say how exact it is.

    Attributes:
        digits: the number alone, as printed: "32.8".
        factor: base units in one printed unit, 1e6.
        unit: "FLOPs" or "MACs", where that was printed.
    """

    digits: str
    factor: float
    unit: str = ""

    @property
    def value(self) -> float:
        """What was printed, in base units."""
        return float(self.digits) * self.factor

    def matches(self, value: Number) -> bool:
        """Whether `value` (base units) prints as exactly these digits."""
        decimals = len(self.digits.partition(".")[2])
        return f"{value / self.factor:.{decimals}f}" == self.digits


def parse_printed(
    text: str, *, factor: float = 1.0, where: str | None = None, in_full: bool = False
) -> Printed:
    """Read a printed number such as "32.8M", "108.0" or "32,970,476".

    Args:
        text: digits, at most one point, an optional prefix (k, M, G or B, T).
        factor: base units per printed unit where no prefix is given: 1e9 for a column of GFLOPs.
        where: the flag or file the text is from, for the message.
        in_full: whether a whole number of six digits and more is in base units: 32970476.

    Raises:
        UsageError: it is not such a number.
    """
    text = text.strip()
    if _SEPARATED.fullmatch(text) or (in_full and _IN_FULL.fullmatch(text)):
        return Printed(str(int(text.replace(",", ""))), 1.0)
    match = _PRINTED.fullmatch(text)
    if match is None:
        raise UsageError(
            f"{text!r} is not a printed number", where=where, hint="write it like 32.8M or 108.0"
        )
    digits, prefix, unit = match.groups()
    return Printed(digits, _PREFIXES[prefix] if prefix else factor, unit or "")


def show_imgsz(size: tuple[int, int]) -> str:
    """An image size (height, width) as reports write it: "480x640"."""
    return f"{size[0]}x{size[1]}"


def parse_imgsz(text: str) -> tuple[int, int]:
    """Read an image size: one number for a square, or HEIGHTxWIDTH, in pixels.

    Raises:
        UsageError: it is neither, or a side is not from 1 to MAX_SIDE.
    """
    match = _IMAGE_SIZE.fullmatch(text.strip())
    height = int(match[1]) if match else 0
    width = int(match[2] or match[1]) if match else 0
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise UsageError(
            f"{shorten(text)!r} is not an image size of 1 to {MAX_SIDE} pixels a side",
            hint="write one number of pixels or HEIGHTxWIDTH, such as 640 or 480x640",
        )
    return height, width


def is_finite(value: object) -> bool:
    """Whether `value` is a number that can be written to a file; bool is not a number here."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond every float
        return False


def printed_factor(unit: str) -> float:
    """Base units in one printed unit, as `parse_printed` wants it for a column of that unit."""
    return UNITS[unit].factor


_NEVER_S = 3600.0 * 24 * 365 * 100


def show_eta(seconds: float) -> str:
    """A time to wait, in whole seconds and minutes: 95.2 -> "1 min 36 s"."""
    minutes, rest = divmod(math.ceil(min(max(seconds, 0.0), _NEVER_S)), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
