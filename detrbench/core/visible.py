"""Strings that came from outside (names, keys, paths, reasons), made safe to print."""

from __future__ import annotations

import json
import re
import unicodedata

_WITHOUT_INK = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
"""Unicode's categories of what moves a cursor, turns the direction of text or breaks a line."""

# What begins a command to a GitHub runner: "::error::" at the start of a line, where wrapping may
# put it, and "##[error]" anywhere.
_COMMAND = re.compile(r":(?=:)|#(?=#\[)")


def visible(text: str, lines: bool = False) -> str:
    r"""`text` with every control character as an escape that can be seen, such as \x1b or \n, and
    with nothing in it that a workflow log takes for a command.

    Args:
        lines: line breaks stay, for what is more than one line.
    """
    if not text.isascii() or not text.isprintable():
        text = "".join(_shown(each) if each != "\n" or not lines else each for each in text)
    return _COMMAND.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def visible_json(text: str) -> str:
    r"""JSON text with such characters as JSON's own escapes, so that what is read back is the same:
    \u202e, and \u0023#[error]."""
    text = text.replace("##[", r"\u0023#[").replace("\x7f", r"\u007f")
    if text.isascii():  # JSON itself escapes the others
        return text
    return "".join(
        each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1] for each in text
    )


def _shown(character: str) -> str:
    if unicodedata.category(character) not in _WITHOUT_INK:
        return character
    return character.encode("unicode_escape").decode()
