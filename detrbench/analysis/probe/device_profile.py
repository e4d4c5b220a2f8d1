"""A device's ceilings as a file that can be carried to a machine without that device.

The format's history:
    1: the first.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detrbench.analysis.probe.ceilings import Ceilings
from detrbench.core.errors import DetrbenchError, UsageError
from detrbench.core.files import UNREADABLE, read_text, write_atomically
from detrbench.core.reading import check_fields
from detrbench.core.version import __version__
from detrbench.machine import state
from detrbench.machine.circumstances import Circumstances, circumstances_from, circumstances_of
from detrbench.machine.environment import Environment
from detrbench.machine.threads import allowed_threads
from detrbench.machine.validity import Entry
from detrbench.reports.case import Execution
from detrbench.reports.report import json_text
from detrbench.timing.rounds import OnProgress
from detrbench.timing.stop_rules import Plan

if TYPE_CHECKING:
    from detrbench.analysis.probe.probes import Bench, Probe
    from detrbench.runtimes.eager import Eager

PROFILE_VERSION = 1
_NAME = "probe"


@dataclass(frozen=True)
class DeviceProfile:
    """What is known of a device in one number format, layout and number of threads."""

    settings: dict[str, Any]  # device, dtype, memory_format, threads and the device's switches
    environment: dict[str, Any]  # of the machine that was measured
    ceilings: Ceilings
    rounds: int  # how many times every probe ran
    created: str
    learned: dict[str, Any] | None = None  # by `detrbench predict --learn`; None before
    learned_under: dict[str, Any] = field(default_factory=dict)  # by runtime, of those but eager
    ledger: dict[str, Any] | None = None  # a `machine.validity.Entry` of the rounds, as plain data
    timed_s: float = 0.0  # what they took
    circumstances: Circumstances | None = None  # None of an older version, which kept no ledger
    detrbench_version: str = __version__
    profile_version: int = PROFILE_VERSION

    def lesson_of(self, runtime: str) -> dict[str, Any] | None:
        """What was learned of a runtime, as plain data; `None` before."""
        return self.learned if runtime == "eager" else self.learned_under.get(runtime)

    def with_lesson(self, runtime: str, learned: dict[str, Any]) -> DeviceProfile:
        """The same with what was learned of a runtime."""
        if runtime == "eager":
            return replace(self, learned=learned)
        return replace(self, learned_under={**self.learned_under, runtime: learned})

    @property
    def quiet(self) -> bool:
        """Whether nothing is known against the ceilings, and it would be."""
        return self.circumstances is not None and self.doubt is None

    @property
    def doubt(self) -> str | None:
        """How the ceilings were measured, such as "on a busy machine (foreign work)"; `None`
        where nothing is known against them."""
        return self.seen.disturbed

    @property
    def caution(self) -> str | None:
        """What whoever uses the ceilings must know; `None` of a quiet machine's."""
        if self.doubt is not None:
            return f"ceilings measured {self.doubt}: what it did then, not what it can do"
        if self.circumstances is None:
            return "whether the machine was quiet while its ceilings were measured was not kept"
        return None

    @property
    def seen(self) -> Circumstances:
        """The circumstances, and what the ceilings themselves say of them."""
        return (self.circumstances or Circumstances()).with_more(self.ceilings.doubts())

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as it stands in a file."""
        names = ("profile_version", "detrbench_version", "created", "settings", "environment")
        plain: dict[str, Any] = {name: getattr(self, name) for name in names}
        return {
            **plain,
            "rounds": self.rounds,
            "timed_s": self.timed_s,
            "ledger": self.ledger,
            "circumstances": self.circumstances and self.circumstances.to_list(),
            **self.ceilings.to_dict(),
            "learned": self.learned,
            **({"learned_under": self.learned_under} if self.learned_under else {}),
        }

    @classmethod
    def from_dict(cls, plain: Any, where: str) -> DeviceProfile:
        """From what `to_dict` made. Raises UsageError for anything else, or a newer version's."""
        version = plain.get("profile_version") if isinstance(plain, dict) else None
        if not isinstance(version, int):
            raise UsageError(
                "not a device profile: it has no profile_version",
                where=where,
                hint="Make one with: detrbench probe -o device.json",
            )
        if version > PROFILE_VERSION:
            raise UsageError(
                f"profile_version {version}, and this detrbench reads up to {PROFILE_VERSION}",
                where=where,
                hint="Update detrbench: pip install --upgrade detrbench",
            )
        try:
            made = cls(
                settings=dict(plain["settings"]),
                environment=dict(plain["environment"]),
                ceilings=Ceilings.from_dict(plain),
                rounds=int(plain["rounds"]),
                created=str(plain["created"]),
                learned=plain.get("learned"),
                learned_under=dict(plain.get("learned_under", {})),
                ledger=plain.get("ledger"),
                timed_s=float(plain.get("timed_s", 0.0)),
                circumstances=circumstances_from(plain.get("circumstances")),
                detrbench_version=str(plain["detrbench_version"]),
            )
            made._check()
        except UNREADABLE as error:
            raise UsageError(
                f"not a whole device profile: {type(error).__name__}: {error}",
                where=where,
                hint="Make a new one with: detrbench probe -o device.json",
            ) from error
        return made

    def _check(self) -> None:
        """Raises KeyError, TypeError or ValueError where a field holds something else."""
        check_fields(self)
        check_fields(Environment.from_dict(self.environment))
        if self.ledger is not None:
            check_fields(Entry(**self.ledger))
        asked = ("device", "dtype", "memory_format", "threads")
        plain = {key: self.settings[key] for key in asked}
        check_fields(Execution(**plain))

    @classmethod
    def load(cls, path: Path | str) -> DeviceProfile:
        """Read a saved profile. Raises UsageError where there is none that can be read."""
        try:
            plain = json.loads(read_text(path))
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot be read: {error}", where=str(path)) from error
        return cls.from_dict(plain, str(path))

    def save(self, path: Path | str) -> None:
        """Write it as JSON; the file is either the old one or the whole new one."""
        write_atomically(path, json_text(self.to_dict()))


def probe_device(
    execution: Execution | None = None,
    *,
    budget_s: float = 20.0,
    deadline: float | None = None,
    progress: OnProgress | None = None,
    announce: Callable[[str], None] | None = None,
    now: Callable[[], float] = time.monotonic,
    wait: Callable[[float], None] = time.sleep,
) -> DeviceProfile:
    """Measure what a device can do at best, every probe once a round.

    Half of the budget is for that. Where the machine was disturbed meanwhile, the rest goes into a
    second trial after a pause, and the quieter of the two is what counts.

    Args:
        execution: which device, in which number format and layout, with how many threads.
        deadline: when all must be over, on the monotonic clock, whatever the least of rounds.
        announce: is told of a second trial.
        now: seconds of a monotonic clock, for the budget.
        wait: pauses for so many seconds.

    Raises:
        UsageError: a device that is not there, or settings that it cannot have.
        DetrbenchError: a ceiling could not be found.
        KeyboardInterrupt: half a profile is none.
    """
    import torch

    from detrbench.analysis.probe.probes import Bench
    from detrbench.runtimes import check_execution
    from detrbench.runtimes.devices import open_device
    from detrbench.runtimes.eager import Eager

    started = now()
    asked = check_execution(_with_threads(execution))
    threads_before = torch.get_num_threads()
    runtime = Eager(open_device(asked.device), asked)
    try:
        runtime.activate()  # before the first operator, which starts the pool of threads
        environment = Environment.read(asked.device).to_dict()
        bench = Bench(runtime)
        # Of an image with more than one channel: one alone has no layout.
        settings = dict(runtime.settings(torch.zeros(1, 3, 2, 2)))
        settings.pop("runtime")
        trial = partial(_trial, settings, environment, runtime, bench, bench.probes(), deadline)
        tell = announce or (lambda text: None)
        # Rounds are slow on a busy machine: two must do, so that a second trial has time.
        first = trial(Plan(budget_s=budget_s / 2, least_rounds=2), started, progress)
        if first.doubt is None:
            return first
        pause_s = PAUSE * budget_s
        left_s = started + budget_s - now() - pause_s
        if left_s <= 0:
            tell(f"measured {first.doubt}; a longer --budget has time for a second trial")
            return first
        tell(f"measured {first.doubt}: once more, and the quieter counts")
        wait(pause_s)
        try:
            second = trial(Plan(budget_s=left_s, least_rounds=2), now(), progress)
        except DetrbenchError:  # it came to no ceiling in time
            return first
        except KeyboardInterrupt:  # by the end of the time, or by somebody
            if deadline is None or now() < deadline:
                raise
            return first
        return min(first, second, key=lambda each: each.seen.severity)
    finally:
        runtime.close()
        torch.set_num_threads(threads_before)


PAUSE = 0.05
"""Of the budget, before a second trial: what disturbed the first may be over."""


def _trial(
    settings: dict[str, Any],
    environment: dict[str, Any],
    runtime: Eager,
    bench: Bench,
    probes: Sequence[Probe],
    deadline: float | None,
    plan: Plan,
    started: float,
    progress: OnProgress | None,
) -> DeviceProfile:
    """A profile of one session of rounds, with the ledger of that."""
    from detrbench.analysis.probe.probes import ceilings
    from detrbench.timing.opened import Ready, Watch
    from detrbench.timing.rounds import OUT_OF_TIME, measure_steps

    ready = [Ready(probe.source, probe.step, runtime) for probe in probes]
    watch = Watch(ready, settings["device"])
    steps = [one.step for one in ready]
    serieses = measure_steps(
        steps, plan, started=started, deadline=deadline, progress=progress, observer=watch
    )
    ended = [series.reason or "" for series in serieses if series.status == "interrupted"]
    if any(reason.startswith(OUT_OF_TIME) for reason in ended):
        raise DetrbenchError(f"{ended[0]} of every probe", hint="Raise --budget.")
    if ended:
        raise KeyboardInterrupt
    return DeviceProfile(
        settings=settings,
        environment=environment,
        ceilings=ceilings(probes, serieses, bench.cache_bytes),
        rounds=max(len(series.latency_s) for series in serieses),
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        ledger=watch.entry,
        timed_s=watch.timed_s,
        circumstances=circumstances_of([(watch.entry, watch.timed_s)]),
    )


def remember(profile: DeviceProfile) -> str:
    """Keep a new `profile` for this machine, unless its circumstances forbid that; and say which.
    Raises UsageError where it cannot be written."""
    device, detail = str(profile.settings["device"]), _detail(profile.settings)
    return state.remember_quieter(_NAME, device, profile.to_dict(), profile.seen, detail)


def keep(profile: DeviceProfile) -> Path:
    """Keep `profile` as it is for this machine; the file it is in. Raises UsageError where that
    cannot be written."""
    device = str(profile.settings["device"])
    return state.remember(_NAME, device, profile.to_dict(), _detail(profile.settings))


def kept(execution: Execution | None = None) -> DeviceProfile | None:
    """What was last found of a device in these settings on this machine; `None` if nothing was."""
    asked = _with_threads(execution)
    entry = state.remembered(_NAME, asked.device, _detail(dataclasses.asdict(asked)))
    if entry is None:
        return None
    try:
        return DeviceProfile.from_dict(entry, "the remembered profile")
    except UsageError:  # of another version: as good as none
        return None


def _with_threads(execution: Execution | None) -> Execution:
    asked = execution or Execution()
    threads = allowed_threads() if asked.threads is None else asked.threads
    return dataclasses.replace(asked, threads=threads)


def _detail(settings: Mapping[str, Any]) -> str:
    return f"{settings['dtype']} {settings['memory_format']} {settings['threads']} threads"
