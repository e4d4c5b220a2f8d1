"""What a run leaves on disk while it goes, and in which folder: one file per process.

    request.json           what was asked, and the plan once the pilot has made one
    process-01.json        an Outcome, with every sample
    process-02.part.jsonl  the journal of a process that has not ended; gone when it has

Files are whole or not there. A killed process leaves its journal, a killed parent the files of the
processes before; the report can be made from either.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from detrbench.core.errors import UsageError
from detrbench.core.files import UNREADABLE, make_folder, read_text, write_atomically
from detrbench.core.reading import check_fields
from detrbench.core.units import show_many
from detrbench.machine.environment import Environment
from detrbench.machine.validity import Entry
from detrbench.timing.journal import read_journal
from detrbench.timing.plan import Budget, RunPlan
from detrbench.timing.process import Measurement, Request
from detrbench.timing.rounds import OUT_OF_TIME, OnProgress, Progress

_Part = TypeVar("_Part")

_OWN_DEATHS = tuple(f"killed by SIG{name}" for name in ("SEGV", "BUS", "FPE", "ILL", "ABRT"))


@dataclass(frozen=True)
class Outcome:
    """What became of one process.

    Attributes:
        index: 1 for the first.
        status: "ok", "failed", "interrupted", or "cut" by the end of its time.
        reason: why it is not "ok".
        took_s: from its start to its end, as its parent saw it.
        at: the model it was making ready or warming when it ended, or died of in a timed round;
            `None` where no model is known to be the cause.
        measurement: what it measured; `None` if it did not come to tell.
        rounds: of a process that did not, from its journal: model -> channel -> seconds.
    """

    index: int
    status: str = "ok"
    reason: str | None = None
    took_s: float = 0.0
    at: str | None = None
    measurement: Measurement | None = None
    rounds: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    @classmethod
    def of(cls, index: int, measurement: Measurement, took_s: float) -> Outcome:
        """Of a process that came to tell: interrupted, or cut, if one of its cases was."""
        ended = next((one for one in measurement.series if one.status == "interrupted"), None)
        if ended is None:
            return cls(index, took_s=took_s, measurement=measurement)
        status = "cut" if str(ended.reason).startswith(OUT_OF_TIME) else "interrupted"
        return cls(index, status, ended.reason, took_s, measurement=measurement)


def process_path(folder: Path, index: int) -> Path:
    """Where process `index` leaves its outcome."""
    return folder / f"process-{index:02d}.json"


def journal_path(folder: Path, index: int) -> Path:
    """Where process `index` writes while it measures."""
    return folder / f"process-{index:02d}.part.jsonl"


def save_outcome(folder: Path, outcome: Outcome) -> None:
    """Put `outcome` on disk, whole, before anything else is done; its journal may then go."""
    text = json.dumps(dataclasses.asdict(outcome))  # every sample in full precision
    write_atomically(process_path(folder, outcome.index), text)
    journal_path(folder, outcome.index).unlink(missing_ok=True)


def measured(folder: Path) -> bool:
    """Whether anything was, in `folder` or in one of its folders; nothing is read for that."""
    return any(folder.rglob("process-*"))


@contextmanager
def run_folder(named: str | Path | None, command: str) -> Iterator[Path]:
    """The folder that was named, or a temporary one that tells whose it is by its name.

    What was refused before anything was measured leaves no new folder behind: nothing in it would
    be worth going on with.
    """
    new = named is None or not Path(named).exists()
    folder = Path(tempfile.mkdtemp(prefix=f"detrbench-{command}-") if named is None else named)
    make_folder(folder)
    try:
        yield folder
    except UsageError:
        if new and not measured(folder):
            shutil.rmtree(folder)
        raise


def naming(
    folder: Path, announce: Callable[[str], None] | None, progress: OnProgress | None
) -> OnProgress | None:
    """`progress`, which says where the samples are before anything else.

    Not said before a worker has a word: it may refuse the request. Not later: a run that is killed
    cannot say it any more.
    """
    if announce is None:
        return progress
    said = False

    def told(one: Progress) -> None:
        nonlocal said
        if not said:
            said = True
            announce(f"every process's samples are kept in {folder}")
        if progress is not None:
            progress(one)

    return told


def load_outcome(path: Path) -> Outcome:
    """What `save_outcome` has put there."""

    def parse(text: str) -> Outcome:
        plain = json.loads(text)
        measured = plain["measurement"]
        outcome = Outcome(**{**plain, "measurement": measured and Measurement.from_dict(measured)})
        _check_outcome(outcome)
        return outcome

    return _read(path, parse)


def _check_outcome(outcome: Outcome) -> None:
    """Raises TypeError or ValueError where it is none that a process can have left."""
    check_fields(outcome)
    if outcome.status == "ok" and outcome.reason is not None:
        raise ValueError("it is ok, and has a reason why it is not")
    measured = outcome.measurement
    if measured is not None and len(measured.subjects) != len(measured.series):
        raise ValueError(f"{len(measured.series)} series of {len(measured.subjects)} subjects")
    if measured is not None:
        check_fields(Environment.from_dict(measured.environment))
        if measured.ledger is not None:
            check_fields(Entry(**measured.ledger))
    series = () if measured is None else measured.series
    channels = [*(one.samples for one in series), *outcome.rounds.values()]
    for name, samples in ((name, each[name]) for each in channels for name in each):
        if not all(0 < sample < math.inf for sample in samples):
            raise ValueError(f"a sample of {name} is no time")


def load_outcomes(folder: Path) -> tuple[Outcome, ...]:
    """Every process of the run in `folder`, also one that only its journal tells of."""
    outcomes = map(load_outcome, folder.glob("process-*.json"))
    found = {outcome.index: outcome for outcome in outcomes}
    for path in folder.glob("process-*.part.jsonl"):
        number = path.name.removeprefix("process-").removesuffix(".part.jsonl")
        if number.isdecimal():
            index = int(number)
            found.setdefault(index, from_journal(folder, index, "the run was killed"))
    return tuple(found[index] for index in sorted(found))


def request_path(folder: Path) -> Path:
    """Where a run leaves what is asked of it."""
    return folder / "request.json"


@dataclass(frozen=True)
class End:
    """How a run ended, or where it was when that was last said.

    Attributes:
        alpha: of its intervals.
        startup_s: that it took beside its processes, such as what a fork server imports.
    """

    alpha: float
    startup_s: float = 0.0


def save_request(
    folder: Path, request: Request, budget: Budget, plan: RunPlan | None, end: End | None = None
) -> None:
    """Put on disk what is asked, so that another process can go on."""
    plain = {
        "request": dataclasses.asdict(request),
        "budget": dataclasses.asdict(budget),
        "plan": plan and dataclasses.asdict(plan),
        "end": end and dataclasses.asdict(end),
    }
    write_atomically(request_path(folder), json.dumps(plain, indent=1) + "\n")


def load_request(folder: Path) -> tuple[Request, Budget, RunPlan | None]:
    """What was asked of the run in `folder`, and its plan, if it came so far.

    Raises:
        UsageError: it is not the folder of a run.
    """
    path = request_path(folder)
    if not path.is_file():
        raise UsageError(
            f"{folder} is not the folder of a run: it has no request.json",
            hint="Give the folder that the run named on stderr.",
        )

    def parse(text: str) -> tuple[Request, Budget, RunPlan | None]:
        plain = json.loads(text)
        plan = plain["plan"]
        made = (
            Request.from_dict(plain["request"]),
            Budget(**plain["budget"]),
            None if plan is None else RunPlan(**plan),
        )
        for each in made:
            if each is not None:
                check_fields(each)
        return made

    return _read(path, parse)


def load_end(folder: Path) -> End | None:
    """How the run in `folder` ended; `None` where it was killed before it could tell."""

    def parse(text: str) -> End | None:
        plain = json.loads(text).get("end")
        if plain is None:
            return None
        end = End(**plain)
        check_fields(end)
        if not 0 < end.alpha < 1:
            raise ValueError(f"alpha is {end.alpha}")
        return end

    return _read(request_path(folder), parse)


def _read(path: Path, parse: Callable[[str], _Part]) -> _Part:
    try:
        return parse(read_text(path))
    except (OSError, *UNREADABLE) as error:
        raise UsageError(
            f"cannot be read as part of a run: {type(error).__name__}: {error}",
            where=str(path),
            hint="Move it away to go on without it.",
        ) from error


def from_journal(folder: Path, index: int, reason: str, took_s: float = 0.0) -> Outcome:
    """The outcome of a process that ended without one, as far as its journal tells."""
    told = read_journal(journal_path(folder, index))
    done = max((len(c) for model in told.rounds.values() for c in model.values()), default=0)
    how_far = (
        f"while {told.at} was made ready" if told.at else f"after {show_many(done, 'timed round')}"
    )
    at = told.at
    if told.during is not None and _is_own_death(reason):
        at, how_far = told.during, f"while {told.during} ran, {how_far}"
    return Outcome(index, "failed", f"{reason} {how_far}", took_s, at, rounds=told.rounds)


def _is_own_death(reason: str) -> bool:
    """Whether it died of what it did itself, and nobody ended it."""
    return reason in _OWN_DEATHS
