"""The time a command was given: from the first keystroke, and kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import overload

from detrbench.core.alarms import alarm
from detrbench.core.errors import DetrbenchError, TimeIsUp, UsageError
from detrbench.core.processes import age_s

_OVERTIME, _OVERTIME_S = 0.03, 0.5
"""Share of the budget, and seconds, that a phase may take to see by itself that it is over."""

_began = time.monotonic()


def begin(own_process: bool) -> None:
    """A command begins; with its process, if that is of its own. On a busy machine it takes Python
    seconds to come so far."""
    global _began
    _began = time.monotonic() - (age_s() if own_process else 0.0)


MOST_S = 604_800.0
"""A week."""


def check_budget(seconds: float | None) -> None:
    """Refuse a budget that leaves no time, or never ends; NaN is one as well."""
    if seconds is not None and not 0 < seconds <= MOST_S:
        what = "never end" if seconds > 0 else "leave no time"
        raise UsageError(
            f"{seconds:g} seconds {what}",
            where="--budget",
            hint=f"Give more than 0, and up to {MOST_S:.0f}, a week.",
        )


@overload
def left_of(seconds: float) -> float: ...
@overload
def left_of(seconds: float | None) -> float | None: ...
def left_of(seconds: float | None) -> float | None:
    """Of a budget, what is left of it now; never nothing, and `None` where there is none."""
    return None if seconds is None else max(seconds - (time.monotonic() - _began), 0.1)


@contextmanager
def outside() -> Iterator[None]:
    """What is done inside is of no budget."""
    global _began
    began = time.monotonic()
    try:
        yield
    finally:
        _began += time.monotonic() - began


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Inside, whatever does not see the end of the budget by itself is interrupted shortly after
    it, as `alarm` does it.

    Raises:
        DetrbenchError: there was nothing to tell by then.
    """
    over_s = left_of(seconds) + _OVERTIME * seconds + _OVERTIME_S
    try:
        with alarm(over_s):
            yield
    except TimeIsUp as late:
        raise DetrbenchError(
            "the budget was over before there was anything to tell", hint="Raise --budget."
        ) from late
