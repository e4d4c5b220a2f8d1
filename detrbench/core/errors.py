"""Errors a user can act on: what is wrong, where it is, and the hint; the exit code lives here."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable
from typing import Any

from detrbench.core.visible import visible


class DetrbenchError(Exception):
    """Something detrbench could not do.

    Args:
        what: the fact, in one sentence.
        where: the file and row, the flag, or the row of the report.
        hint: the next thing for the reader to do.
    """

    exit_code = 4

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        self.what, self.where, self.hint = what, where, hint
        super().__init__(what, where, hint)

    def __reduce__(self) -> tuple[Any, ...]:
        """How another process makes it again."""
        return functools.partial(type(self), where=self.where, hint=self.hint), (self.what,)

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        hint = f"\n  {self.hint}" if self.hint else ""
        return visible(f"{place}{self.what}{hint}", lines=True)


class TimeIsUp(KeyboardInterrupt):
    """A budget is over, in the middle of something: it ends as by Ctrl-C, with what there is."""


class UsageError(DetrbenchError):
    """The request cannot be carried out as given: arguments, files, or a device that is absent."""

    exit_code = 2


class SpecError(UsageError):
    """A model or suite file that cannot be read as what it claims to be."""


class DetrbenchWarning(UserWarning):
    """Said aloud and carried on with: an assumption, or something skipped."""


def nearest(word: str, known: Iterable[str]) -> str:
    """A sentence suggesting the known names closest to `word`, or listing them all when few."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"known: {', '.join(names)}." if names else "none are known."


def near(word: str, known: Iterable[str]) -> str:
    """A sentence suggesting the known names that `word` is a slip of; empty where none is near."""
    names = {name.lower(): name for name in sorted(known)}
    found = difflib.get_close_matches(word.lower(), names, n=3, cutoff=0.8)
    close = [names[each] for each in found]
    return f"did you mean {' or '.join(close)}?" if close else ""


def first_line(error: BaseException) -> str:
    """Of what an error says; empty where it says nothing, or cannot: its text is others' code."""
    try:
        return next(iter(str(error).strip().splitlines()), "")
    except Exception:
        return ""


def told(error: BaseException) -> str:
    """Which error it is, and the first line of what it says."""
    return f"{type(error).__name__}: {first_line(error)}".removesuffix(": ")


def in_one_line(error: DetrbenchError) -> str:
    """Where, what and the hint, as a row of a report has them for its reason."""
    place = f"{error.where}: " if error.where else ""
    what = next(iter(error.what.strip().splitlines()), "")
    hint = " ".join(line.strip() for line in (error.hint or "").splitlines())
    return f"{place}{what.removesuffix('.')}. {hint}" if hint else f"{place}{what}"


def shorten(text: str, limit: int = 60) -> str:
    """Text that fits into a message."""
    return text if len(text) <= limit else text[: limit - 3] + "..."
