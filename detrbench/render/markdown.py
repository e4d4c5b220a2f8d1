"""GitHub-flavoured Markdown."""

from __future__ import annotations

import re

from detrbench.render.layout import Document, Table

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&$])")


def render(document: Document) -> str:
    """The tables as pipe tables, each with its caption above and its notes beneath."""
    return "\n".join(_text(table) for table in document.tables)


def _text(table: Table) -> str:
    rules = ["---:" if column.align == "right" else "---" for column in table.columns]
    rows = [_row(line.texts("&emsp;", _quote)) for line in table.lines]
    paragraphs = [
        _quote(table.caption),
        "\n".join([_row([_quote(c.title) for c in table.columns]), _row(rules), *rows]),
        "\n".join(f"- {_quote(note)}" for note in table.notes),
    ]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _quote(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
