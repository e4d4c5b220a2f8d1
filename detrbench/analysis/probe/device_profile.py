"""A device's ceilings as a file that can be carried to a machine without that device.

The format's history:
    1: the first.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from detrbench.analysis.probe.ceilings import Ceilings
from detrbench.core.errors import UsageError
from detrbench.core.files import write_atomically
from detrbench.core.version import __version__
from detrbench.machine import state
from detrbench.machine.environment import Environment
from detrbench.machine.threads import allowed_threads
from detrbench.reports.case import Execution
from detrbench.reports.report import json_text
from detrbench.timing.rounds import OnProgress
from detrbench.timing.stop_rules import Plan

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
    detrbench_version: str = __version__
    profile_version: int = PROFILE_VERSION

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as it stands in a file."""
        names = ("profile_version", "detrbench_version", "created", "settings", "environment")
        plain: dict[str, Any] = {name: getattr(self, name) for name in names}
        return {**plain, "rounds": self.rounds, **self.ceilings.to_dict(), "learned": self.learned}

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
            return cls(
                settings=dict(plain["settings"]),
                environment=dict(plain["environment"]),
                ceilings=Ceilings.from_dict(plain),
                rounds=int(plain["rounds"]),
                created=str(plain["created"]),
                learned=plain.get("learned"),
                detrbench_version=str(plain["detrbench_version"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"not a whole device profile: {type(error).__name__}: {error}",
                where=where,
                hint="Make a new one with: detrbench probe -o device.json",
            ) from error

    @classmethod
    def load(cls, path: Path | str) -> DeviceProfile:
        """Read a saved profile. Raises UsageError where there is none that can be read."""
        try:
            plain = json.loads(Path(path).read_text(encoding="utf-8"))
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
    progress: OnProgress | None = None,
) -> DeviceProfile:
    """Measure what a device can do at best, every probe once a round.

    Args:
        execution: which device, in which number format and layout, with how many threads.

    Raises:
        UsageError: a device that is not there, or settings that it cannot have.
        DetrbenchError: a ceiling could not be found.
        KeyboardInterrupt: half a profile is none.
    """
    import torch

    from detrbench.analysis.probe.probes import Bench, ceilings
    from detrbench.runtimes import check_execution
    from detrbench.runtimes.devices import open_device
    from detrbench.runtimes.eager import Eager
    from detrbench.timing.rounds import measure_steps

    started = time.monotonic()
    asked = check_execution(_with_threads(execution))
    threads_before = torch.get_num_threads()
    runtime = Eager(open_device(asked.device), asked)
    try:
        runtime.activate()  # before the first operator, which starts the pool of threads
        environment = Environment.read(asked.device).to_dict()
        bench = Bench(runtime)
        probes = bench.probes()
        plan = Plan(budget_s=budget_s)
        steps = [probe.step for probe in probes]
        serieses = measure_steps(steps, plan, started=started, progress=progress)
        if any(series.status == "interrupted" for series in serieses):
            raise KeyboardInterrupt
        # Of an image with more than one channel: one alone has no layout.
        settings = dict(runtime.settings(torch.zeros(1, 3, 2, 2)))
    finally:
        runtime.close()
        torch.set_num_threads(threads_before)
    return DeviceProfile(
        settings={key: value for key, value in settings.items() if key != "runtime"},
        environment=environment,
        ceilings=ceilings(probes, serieses, bench.cache_bytes),
        rounds=max(len(series.latency_s) for series in serieses),
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
    )


def keep(profile: DeviceProfile) -> Path:
    """Remember `profile` for this machine; the file it is in. Raises UsageError where that cannot
    be written."""
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
