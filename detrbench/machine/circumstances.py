"""What the ledgers of one measurement say together: judged once, and said everywhere alike.

A measurement is of one process or of several. Each cause of doubt is noted once, with how many of
them it touched. What passes (other work, heat) disturbed the measurement, so that another hour may
tell more; what lasts (a governor) is how the machine is, and only noted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from detrbench.core.reading import check_fields
from detrbench.machine.validity import Condition, Entry, conditions

Watched = tuple[Mapping[str, Any] | None, float]
"""A ledger's entry as plain data, `None` where nothing was timed, and the seconds that it is of."""


@dataclass(frozen=True)
class Noted:
    """One cause of doubt in a measurement.

    Attributes:
        cause: a short name.
        text: what happened where it was worst, with its size.
        hint: the next thing to do.
        lasting: it is how the machine is set up, and disturbs nothing.
        touched: in how many processes it was seen.
        invalidating: in how many of them it takes the meaning from a comparison.
        processes: of how many.
    """

    cause: str
    text: str
    hint: str
    lasting: bool = False
    touched: int = 1
    invalidating: int = 0
    processes: int = 1

    @property
    def note(self) -> str:
        """What was seen, and the next thing to do."""
        return f"{self.said(self.touched)}. {self.hint}"

    @property
    def spoils(self) -> bool:
        """Whether it takes the meaning from half of the processes or more."""
        return self.invalidating > 0 and 2 * self.invalidating >= self.processes

    def said(self, times: int) -> str:
        """What was seen in so many processes; of one alone it goes without saying."""
        where = f" in {times} of {self.processes} processes" if self.processes > 1 else ""
        return f"{self.cause}{where}: {self.text}"


@dataclass(frozen=True)
class Circumstances:
    """All that was noted of a measurement; nothing on a quiet machine."""

    noted: tuple[Noted, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(one.note for one in self.noted)

    @property
    def in_short(self) -> str:
        """All of it without hints, for one field of a record; "" for a quiet machine."""
        return "; ".join(one.said(one.touched) for one in self.noted)

    @property
    def disturbances(self) -> tuple[str, ...]:
        """The causes that are not the machine's own, and may be gone in another hour."""
        return tuple(one.cause for one in self.noted if not one.lasting)

    @property
    def spoilt(self) -> tuple[str, ...]:
        """What takes the meaning from the whole measurement."""
        return tuple(one.said(one.invalidating) for one in self.noted if one.spoils)

    @property
    def disturbed(self) -> str | None:
        """In a few words, such as "on a busy machine (foreign work)"; `None` on a quiet one."""
        if not self.disturbances:
            return None
        busy = any(cause in BUSY for cause in self.disturbances)
        return f"on a {'busy' if busy else 'disturbed'} machine ({', '.join(self.disturbances)})"

    @property
    def severity(self) -> tuple[int, int, int]:
        """The less of two measurements, the more it is to be trusted."""
        passing = [one for one in self.noted if not one.lasting]
        invalidating = sum(one.invalidating for one in passing)
        return invalidating, len(passing), sum(one.touched for one in passing)

    def with_more(self, noted: Iterable[Noted]) -> Circumstances:
        """These and what else is to be noted, each once."""
        return Circumstances(tuple(dict.fromkeys((*self.noted, *noted))))

    def to_list(self) -> list[dict[str, Any]]:
        """Plain data, for a file."""
        return [dataclasses.asdict(one) for one in self.noted]


BUSY = ("contended", "foreign work", "preempted", "gpu shared")
"""Causes that are other work."""


def circumstances_of(watched: Iterable[Watched]) -> Circumstances:
    """What the ledgers of a measurement's processes have to say, each cause once."""
    by_cause: dict[str, list[Condition]] = {}
    processes = 0
    for entry, elapsed_s in watched:
        processes += 1
        if entry is not None:
            for one in conditions(Entry(**entry), elapsed_s):
                by_cause.setdefault(one.cause, []).append(one)
    return Circumstances(tuple(_noted(found, processes) for found in by_cause.values()))


def _noted(found: list[Condition], processes: int) -> Noted:
    worst = max(found, key=lambda one: (one.invalidates, one.count, one.share))
    return Noted(
        worst.cause,
        worst.text,
        worst.hint,
        worst.lasting,
        touched=len(found),
        invalidating=sum(one.invalidates for one in found),
        processes=processes,
    )


def circumstances_from(plain: Any) -> Circumstances | None:
    """From what `Circumstances.to_list` made; `None` where nobody kept any, or it is no such
    thing."""
    try:
        made = Circumstances(tuple(Noted(**one) for one in plain))
        check_fields(made)
    except TypeError:
        return None
    return made


def watched_in(samples: Mapping[str, Any]) -> list[Watched]:
    """The ledgers that a report's row holds in its samples, of every process that has one; none
    where these do not say how long each was kept."""
    pairs = zip(samples.get("ledger") or (), samples.get("timed_s") or (), strict=False)
    return [(entry, seconds) for entry, seconds in pairs if seconds is not None]
