"""A published table, read from CSV: which settings print each row, and whether one way of counting
can have printed them all."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from detrbench.core.errors import UsageError, shorten
from detrbench.core.files import check_ordinary
from detrbench.core.units import Printed, parse_printed, printed_factor
from detrbench.reports.case import Case

if TYPE_CHECKING:
    from detrbench.counting.reconcile import Match, Search

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "model": ("model", "models", "name", "method", "methods", "network", "detector"),
    "params": ("params", "param", "parameters", "parameter"),
    "gflops": ("gflops", "gflop", "flops", "gmacs", "macs"),
    "latency": ("latency", "latencyms", "time", "inferencetime", "speed"),
}
"""Column -> how people head it, its letters alone; a unit may follow in brackets or after a /."""

_HEADER = re.compile(r"([^(\[/]*)(?:[(\[/]\s*([A-Za-z]*).*)?", re.DOTALL)
_FACTORS = {"k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9, "t": 1e12}
_UNITS = {"params": "parameter", "gflops": "FLOP"}
_NOTHING = ("", "-", "–", "—", "n/a", "N/A")
_MOST_BYTES = 1_000_000
"""A published table is one of a page or two."""


class _Column(NamedTuple):
    """Where a column stands, its header as written, and base units in one unit of it, if said."""

    at: int
    header: str
    factor: float | None


@dataclass(frozen=True)
class PublishedRow:
    """One line of a published table.

    Attributes:
        line: in the file, from 1.
        texts: column -> what was printed, without what was not.
        params, gflops: in base units; None where they were not printed.
    """

    line: int
    model: str
    texts: Mapping[str, str]
    params: Printed | None
    gflops: Printed | None


def read_table(path: Path) -> tuple[PublishedRow, ...]:
    """The rows of a CSV file with commas, semicolons or tabs. Raises UsageError with file, row and
    column where it cannot be read."""
    try:
        check_ordinary(path)
        if path.stat().st_size > _MOST_BYTES:
            raise UsageError("no published table is so large", where=str(path), hint=_FORM)
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        said = f"cannot be read: {error}"
        raise UsageError(said, where=str(path), hint="Save it as CSV in UTF-8.") from error
    first = text.partition("\n")[0]
    if not any(map(first.count, ",;\t")) and any(map(first.count, "|&")):
        kind = "Markdown" if "|" in first else "LaTeX"
        raise UsageError(f"is a table in {kind}, not CSV", where=f"{path}, row 1", hint=_FORM)
    reader = csv.reader(text.splitlines(), delimiter=max(",;\t", key=first.count), strict=True)
    try:
        lines = [(reader.line_num, cells) for cells in reader if any(map(str.strip, cells))]
    except csv.Error as error:
        where = f"{path}, row {reader.line_num}"
        raise UsageError(f"is not CSV: {error}", where=where, hint=_FORM) from error
    if len(lines) < 2:
        raise UsageError("holds no row beneath a header", where=str(path), hint=_FORM)
    (_, header), *rows = lines
    columns = _columns(header, path)
    return tuple(_row(line, cells, len(header), columns, path) for line, cells in rows)


_FORM = "Write a header such as `model,params,GFLOPs,latency`, and beneath it a row for each model."


def _columns(header: Sequence[str], path: Path) -> dict[str, _Column]:
    found: dict[str, _Column] = {}
    for at, text in enumerate(header):
        match = _HEADER.fullmatch(text)
        name, unit = match.groups() if match else (text, None)
        letters = re.sub(r"[^a-z]", "", name.lower())
        key = next((key for key, names in COLUMNS.items() if letters in names), None)
        if key in found:
            said = f"both {found[key].header!r} and {text!r} are {key}"
            raise UsageError(said, where=f"{path}, row 1", hint="Leave one of them out.")
        if key is not None:
            found[key] = _Column(at, text.strip(), _FACTORS.get((unit or "")[:1].lower()))
    if "model" not in found or not found.keys() & _UNITS.keys():
        names = "; ".join(f"{key}: {', '.join(names)}" for key, names in COLUMNS.items())
        said = "there must be a column of models, and one of parameters or of GFLOPs"
        raise UsageError(said, where=f"{path}, row 1", hint=f"They may be called {names}.")
    return found


def _row(
    line: int, cells: Sequence[str], width: int, columns: Mapping[str, _Column], path: Path
) -> PublishedRow:
    if len(cells) != width:
        said = f"it has {len(cells)} cells, the header {width}"
        hint = 'Put a number with a comma in quotes: "20,184,464".'
        raise UsageError(said, where=f"{path}, row {line}", hint=hint)
    texts = {key: cells[one.at].strip() for key, one in columns.items()}
    texts = {key: text for key, text in texts.items() if text not in _NOTHING}
    if "model" not in texts:
        where = place(path, line, columns["model"].header)
        raise UsageError("no model is named", where=where, hint="Give its name or its file.")
    figures = {}
    for key, text in texts.items():
        if key != "model":
            figures[key] = _figure(key, text, columns[key], place(path, line, columns[key].header))
    if not figures.keys() & _UNITS.keys():
        hint = "Leave the row out."
        said = "neither parameters nor GFLOPs are printed"
        raise UsageError(said, where=f"{path}, row {line}", hint=hint)
    return PublishedRow(line, texts["model"], texts, figures.get("params"), figures.get("gflops"))


def place(path: Path, line: int, column: str) -> str:
    """A cell, as messages name it."""
    return f"{path}, row {line}, column {shorten(column)!r}"


def _figure(key: str, text: str, column: _Column, where: str) -> Printed:
    if key not in _UNITS:  # a time: read so that it is one, and shown as it was printed
        return parse_printed(re.sub(r" ?ms$", "", text), where=where)
    usual = printed_factor(_UNITS[key])
    in_full = column.factor is None
    printed = parse_printed(text, factor=column.factor or usual, where=where, in_full=in_full)
    if not printed.value:
        raise UsageError("no detector has 0 of these", where=where, hint="Leave the cell empty.")
    return printed


# --- ways of counting ----------------------------------------------------------------------------


class Way(NamedTuple):
    """Settings that print a row; `None` where what was printed does not depend on one."""

    fused: bool
    imgsz: int | None
    convention: str | None
    doubled: bool | None
    nc_low: int | None
    nc_high: int | None

    @classmethod
    def of(cls, match: Match, counted: bool) -> Way:
        """Of a match; `counted` says whether FLOPs were among the figures."""
        one, classes = match.settings, (match.nc_low, match.nc_high)
        if not counted:
            return cls(one.fused, None, None, None, *classes)
        return cls(one.fused, one.imgsz, one.convention, one.doubled, *classes)

    def meet(self, other: Way) -> Way | None:
        """What both allow; None for nothing."""
        pairs = zip(self[:4], other[:4], strict=True)
        if any(one != two and None not in (one, two) for one, two in pairs):
            return None
        told = self if other.imgsz is None else other
        # A model with classes of its own says nothing of those of others.
        lows = [way.nc_low for way in (self, other) if way.nc_low is not None]
        highs = [way.nc_high for way in (self, other) if way.nc_high is not None]
        if not lows or not highs:
            return told._replace(nc_low=None, nc_high=None)
        low, high = max(lows), min(highs)
        return told._replace(nc_low=low, nc_high=high) if low <= high else None


def meeting(ways: Iterable[Way], others: Iterable[Way]) -> tuple[Way, ...]:
    """All that one of `ways` and one of `others` allow."""
    met = (one.meet(two) for one, two in product(ways, others))
    return tuple(dict.fromkeys(way for way in met if way is not None))


@dataclass(frozen=True)
class ExplainedRow:
    """A row and what was found for it."""

    row: PublishedRow
    found: Search

    @property
    def ways(self) -> tuple[Way, ...]:
        """That print exactly its digits."""
        counted = self.row.gflops is not None
        return tuple(Way.of(match, counted) for match in self.found.matches)


@dataclass(frozen=True)
class ExplainedTable:
    """All rows, what prints each, and what prints all."""

    path: Path
    rows: tuple[ExplainedRow, ...]

    @property
    def explained(self) -> tuple[ExplainedRow, ...]:
        """The rows that something prints."""
        return tuple(one for one in self.rows if one.ways)

    @property
    def common(self) -> tuple[Way, ...]:
        """Ways that print all of them; none where they cannot have been counted alike."""
        first, *others = (one.ways for one in self.explained) if self.explained else ((),)
        for ways in others:
            first = meeting(first, ways)
        return tuple(first)

    @property
    def apart(self) -> Iterator[tuple[ExplainedRow, ExplainedRow]]:
        """Pairs of rows that no one way prints."""
        for one, two in combinations(self.explained, 2):
            if not meeting(one.ways, two.ways):
                yield one, two


Asked = tuple[PublishedRow, Case]


def read_cases(path: Path, case_of: Callable[[str], Case]) -> tuple[Asked, ...]:
    """The rows of a file with their models.

    Args:
        case_of: a model by its name; raises UsageError for none.

    Raises:
        UsageError: as `read_table`, and for a model that cannot be used.
    """
    return tuple((row, _case(row, case_of, path)) for row in read_table(path))


def _case(row: PublishedRow, case_of: Callable[[str], Case], path: Path) -> Case:
    try:
        return case_of(row.model)
    except UsageError as error:
        said = f"{error.where}: {error.what}" if error.where else error.what
        where = place(path, row.line, "model")
        raise UsageError(said, where=where, hint=error.hint) from error


def explain_table(
    path: Path,
    asked: Sequence[Asked],
    progress: Callable[[str, str], None] = lambda text, phase: None,
) -> ExplainedTable:
    """Search the settings of every row."""
    from detrbench.counting.reconcile import search

    found = []
    for row, case in asked:
        progress(f"row {row.line}: {row.model}", f"searching settings of {row.model}")
        found.append(ExplainedRow(row, search(case, row.params, row.gflops)))
    return ExplainedTable(path, tuple(found))
