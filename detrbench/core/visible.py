"""Strings that came from outside (names, keys, paths, reasons), made safe to print."""

from __future__ import annotations

import re
import unicodedata

_WITHOUT_INK = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
"""Unicode's categories of what moves a cursor, turns the direction of text or breaks a line."""

LONGEST_WORD = 36
"""Characters of a word that no column is too narrow for: wrapping breaks longer ones anywhere."""

# What begins a command to a GitHub runner: "##[error]" anywhere, and "::error::" at the start of a
# line, behind blanks or not; "c10::Half" begins none, unless wrapping breaks it.
_ANYWHERE = re.compile(r"#(?=#\[)")
_WORD = re.compile(r"\S+")
_COLON = re.compile(r":(?=:)")


def visible(text: str, lines: bool = False) -> str:
    r"""`text` with every control character as an escape that can be seen, such as \x1b or \n, and
    with nothing in it that a workflow log takes for a command.

    Args:
        lines: line breaks stay, for what is more than one line.
    """
    if not text.isascii() or not text.isprintable():
        text = "".join(_shown(each) if each != "\n" or not lines else each for each in text)
    text = _ANYWHERE.sub(_escaped, text)
    return _WORD.sub(_harmless, text) if "::" in text else text


def _harmless(word: re.Match[str]) -> str:
    text = word[0]
    whole = text.isascii() and len(text) <= LONGEST_WORD
    return text if whole and not text.startswith("::") else _COLON.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return f"\\x{ord(found[0]):02x}"


def _shown(character: str) -> str:
    if unicodedata.category(character) not in _WITHOUT_INK:
        return character
    return character.encode("unicode_escape").decode()
