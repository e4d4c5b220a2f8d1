"""The rounds of an explanation on disk, so that another process can add more of them.

explain.json    what was asked, and what each session of rounds has read
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detrbench.core.errors import UsageError
from detrbench.core.files import read_kept, write_atomically
from detrbench.core.reading import check_fields
from detrbench.counting.tracing import Grouping
from detrbench.machine.circumstances import Watched
from detrbench.models.sources import check_unchanged
from detrbench.timing.process import Request
from detrbench.timing.rounds import Series

_FILE = "explain.json"


@dataclass(frozen=True)
class Session:
    """One process's rounds.

    Attributes:
        series: of the models, their parts and the probes, in that order.
        readings: of each model's operators, by name, for every round of its series.
        entry, timed_s: what its ledger says.
    """

    series: tuple[Series, ...]
    readings: tuple[list[Mapping[str, float]], ...] = ()
    entry: dict[str, Any] | None = None
    timed_s: float = 0.0

    @property
    def watched(self) -> Watched:
        return self.entry, self.timed_s

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Session:
        series = tuple(Series(**each) for each in plain["series"])
        return cls(series, tuple(plain["readings"]), plain["entry"], plain["timed_s"])


@dataclass(frozen=True)
class Kept:
    """All sessions of one explanation."""

    request: Request
    by: Grouping
    sessions: tuple[Session, ...] = field(default=())

    def save(self, folder: Path) -> None:
        """The file in `folder` is the old one or the whole new one."""
        write_atomically(folder / _FILE, json.dumps(dataclasses.asdict(self)) + "\n")


def load(folder: Path) -> Kept:
    """What `Kept.save` has left in `folder`. Raises UsageError where there is no such thing."""

    def parse(text: str) -> Kept:
        plain = json.loads(text)
        sessions = tuple(map(Session.from_dict, plain["sessions"]))
        kept = Kept(Request.from_dict(plain["request"]), plain["by"], sessions)
        check_fields(kept)
        return kept

    hint = "Give the folder that `detrbench explain --folder` wrote."
    return read_kept(folder / _FILE, parse, what="explanation", hint=hint)


def earlier(folder: Path, request: Request, by: Grouping) -> tuple[Session, ...]:
    """The sessions in `folder`, if there are any. Raises UsageError where they are of something
    else, or a file of a model has changed."""
    if not (folder / _FILE).exists():
        return ()
    kept = load(folder)
    if (kept.request.cases, kept.by) != (request.cases, by):
        raise UsageError(
            "holds rounds of other models or settings",
            where=str(folder),
            hint="Name another folder, or go on with those: --resume.",
        )
    check_unchanged((case.model for case in request.cases), str(folder))
    return kept.sessions


def pooled(sessions: Sequence[Session]) -> Session:
    """All sessions as one: what was timed in the same round stays at the same place.

    Raises:
        UsageError: they are of other parts, as after a change of a model.
    """
    last = sessions[-1]
    if any(len(each.series) != len(last.series) for each in sessions):
        raise UsageError(
            "the rounds before are of other parts", hint="Explain anew, in another folder."
        )
    columns = zip(*(each.series for each in sessions), strict=True)
    readings = zip(*(each.readings for each in sessions), strict=True)
    return dataclasses.replace(
        last,
        series=tuple(map(_joined, columns)),
        readings=tuple([one for part in parts for one in part] for parts in readings),
    )


def _joined(serieses: Sequence[Series]) -> Series:
    last = serieses[-1]
    samples = {
        channel: [one for each in serieses for one in each.samples.get(channel, [])]
        for channel in last.samples
    }
    return dataclasses.replace(last, samples=samples)
