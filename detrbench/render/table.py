"""Aligned columns for a terminal."""

from __future__ import annotations

import io
import textwrap

from detrbench.render.layout import Document, Table

WIDTH = 100
"""Columns of text a table is made for; one that needs more takes it, for a number is never cut."""

PROSE = 36
"""Longer texts are wrapped at this width."""


def render(document: Document) -> str:
    """The tables as aligned text, each with its caption above and its notes beneath."""
    return "\n".join(_text(table) for table in document.tables)


def _text(table: Table) -> str:
    drawn = "\n".join(line.rstrip() for line in _grid(table).splitlines()).strip("\n")
    notes = "\n".join(textwrap.fill(note, WIDTH, subsequent_indent="    ") for note in table.notes)
    paragraphs = (textwrap.fill(table.caption, WIDTH), drawn, notes)
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"


def _grid(table: Table) -> str:
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    rows = [line.texts("  ") for line in table.lines]
    cells = [list(column) for column in zip(*rows, strict=True)] or [[]] * len(table.columns)
    longest = [max(map(cell_len, column), default=0) for column in cells]
    headers = [column.title for column in table.columns]
    natural = [max(pair) for pair in zip(longest, map(cell_len, headers), strict=True)]
    wrapped = [
        max(min(length, PROSE), *map(cell_len, header.split()))
        for length, header in zip(longest, headers, strict=True)
    ]
    gaps = 2 * (len(headers) - 1)
    widths = natural if sum(natural) + gaps <= WIDTH else wrapped
    wide = sum(widths) + gaps
    # The box itself draws one space between columns; padding adds the second where it fits.
    gap = (0, 1 if wide <= WIDTH else 0, 0, 0)
    drawn = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=gap)
    for column, width in zip(table.columns, widths, strict=True):
        # Text objects throughout: in plain strings rich would read "[1]" as markup.
        # A word wider than its column goes on beneath, rather than lose its end.
        drawn.add_column(Text(column.title), justify=column.align, width=width, overflow="fold")
    for row in rows:
        drawn.add_row(*map(Text, row))
    page = io.StringIO()
    Console(file=page, width=wide, color_system=None, legacy_windows=False).print(drawn)
    return page.getvalue()
