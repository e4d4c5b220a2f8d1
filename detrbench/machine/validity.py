"""The validity ledger: what happened around the samples that no sample shows.

Everything is read from outside the samples and costs none of their time. What a machine does not
offer is None, never 0. Which of it matters, and how much, is decided by `conditions`, a pure
function of an entry.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from detrbench.machine.devices import parse_device
from detrbench.machine.nvml import Gpu, Reading, open_gpu
from detrbench.machine.system import load_average, own_cpus, text
from detrbench.machine.threads import group_folders

# Where a share becomes worth a sentence, and where it takes the meaning from a comparison.
# Interleaved pairs share their minute's neighbours, so only gross contention is beyond repair.
FOREIGN_NOTED = 0.05  # of all processors' time
WAITED_NOTED, WAITED_INVALID = 0.05, 0.50  # of the time that we wanted a processor
THROTTLED_INVALID = 0.05  # of the elapsed time
SWITCHES_NOTED = 50.0  # per second; the scheduler's own tick is 100 to 1000
CLOCK_INVALID = 0.75  # of the highest seen; nvbench discards samples below this share of default


@dataclass(frozen=True)
class Entry:
    """What was seen from `start` to `stop`; None where the machine does not tell.

    Attributes:
        load: runnable processes, the minute's average as it began.
        cpus: processors that this process may run on.
        own_cpu_s: their time that this process used, all threads together.
        foreign_cpu_s: their time that anybody else used, a hypervisor's stolen time included.
        waited_s: this process's threads were ready to run, and others did.
        throttled_periods: periods in which its group's CPU quota ran out.
        throttled_s: seconds for which it stood still then.
        involuntary_switches: how often a processor was taken from it.
        governor: of the processors' frequencies; several in alphabetical order.
        turbo: whether they may go beyond their base frequency.
        sm_clock_low_mhz, sm_clock_high_mhz: of the GPU's multiprocessors, seen while there is work,
            so not as it began.
        temperature_c, power_w: highest seen.
        gpu_throttle_reasons: NVML's, all that were seen.
        gpu_other_processes: most other processes with a context on the GPU.
        gpu_unknown: why nothing is known of the GPU, where one was used.
    """

    load: float | None = None
    cpus: int | None = None
    own_cpu_s: float | None = None
    foreign_cpu_s: float | None = None
    waited_s: float | None = None
    throttled_periods: int | None = None
    throttled_s: float | None = None
    involuntary_switches: int | None = None
    governor: str | None = None
    turbo: bool | None = None
    sm_clock_low_mhz: int | None = None
    sm_clock_high_mhz: int | None = None
    temperature_c: int | None = None
    power_w: float | None = None
    gpu_throttle_reasons: list[str] | None = None
    gpu_other_processes: int | None = None
    gpu_unknown: str | None = None


@dataclass(frozen=True)
class Condition:
    """One cause of doubt.

    Attributes:
        cause: a short name to add up by.
        text: what happened, with its size.
        hint: the next thing to do.
        count: events, where they can be counted.
        invalidates: whether a comparison made from these samples has no meaning.
        lasting: it is how the machine is set up, so that waiting changes nothing.
        share: of the time, where it has one; the larger the worse.
    """

    cause: str
    text: str
    hint: str
    count: int = 1
    invalidates: bool = False
    lasting: bool = False
    share: float = 0.0


# --- judging ----------------------------------------------------------------------------------


def conditions(entry: Entry, elapsed_s: float) -> tuple[Condition, ...]:
    """What in `entry`, of samples that took `elapsed_s`, matters to who reads them."""
    return (*_host_complaints(entry, elapsed_s), *_gpu_complaints(entry))


def _host_complaints(entry: Entry, elapsed_s: float) -> Iterator[Condition]:
    if entry.throttled_periods and entry.throttled_s is not None:
        yield Condition(
            "throttled",
            f"the CPU quota ran out in {entry.throttled_periods} periods, for "
            f"{entry.throttled_s:.2f} s",
            "Give fewer --threads, or the container more processors.",
            count=entry.throttled_periods,
            invalidates=entry.throttled_s > THROTTLED_INVALID * elapsed_s,
        )
    waited = _share(entry.waited_s, (entry.waited_s or 0) + (entry.own_cpu_s or 0))
    if waited > WAITED_NOTED:
        yield Condition(
            "contended",
            f"this process waited {waited:.0%} of the time that it wanted a processor",
            "Stop other work (`top` shows it), or give fewer --threads.",
            invalidates=waited > WAITED_INVALID,
            share=waited,
        )
    foreign = _share(entry.foreign_cpu_s, (entry.cpus or 0) * elapsed_s)
    if foreign > FOREIGN_NOTED:
        yield Condition(
            "foreign work",
            f"others used {foreign:.0%} of the {entry.cpus} processors' time",
            "Stop other work (`top` shows it), or measure later.",
            share=foreign,
        )
    switches = entry.involuntary_switches or 0
    if _share(switches, elapsed_s) > SWITCHES_NOTED:
        yield Condition(
            "preempted",
            f"the processor was taken away {switches} times",
            "Stop other work, or pin this process to processors of its own (`taskset`).",
            count=switches,
        )
    if entry.governor not in (None, "performance"):
        yield Condition(
            "governor",
            f"the frequency governor is {entry.governor}: the clock follows the load",
            "Run `sudo cpupower frequency-set --governor performance`.",
            lasting=True,
        )


def _gpu_complaints(entry: Entry) -> Iterator[Condition]:
    reasons = entry.gpu_throttle_reasons or ()
    slowed = [reason for reason in reasons if reason in _BEYOND_REPAIR]
    if slowed:
        hot = "" if entry.temperature_c is None else f" at {entry.temperature_c} degrees C"
        yield Condition(
            "gpu slowdown",
            f"the GPU slowed itself down{hot}: {', '.join(slowed)}",
            "Let it cool down, and look after its cooling and its power supply.",
            count=len(slowed),
            invalidates=True,
        )
    if "software power cap" in reasons:
        yield Condition(
            "gpu power cap",
            "the GPU ran at its power limit, which lowers its clock",
            "Compare only with runs under the same limit (`nvidia-smi -q -d POWER`).",
            lasting=True,
        )
    low, high = entry.sm_clock_low_mhz, entry.sm_clock_high_mhz
    if low is not None and high and low < CLOCK_INVALID * high:
        yield Condition(
            "gpu clock",
            f"the GPU's clock moved between {low} and {high} MHz",
            "Measure longer, so that it settles, or on a GPU that is not shared.",
            invalidates=True,
        )
    if entry.gpu_other_processes:
        yield Condition(
            "gpu shared",
            f"{entry.gpu_other_processes} other processes have the GPU open",
            "Stop them (`nvidia-smi` shows them).",
            count=entry.gpu_other_processes,
        )
    if entry.gpu_unknown:
        yield Condition(
            "gpu unknown",
            f"clocks, temperature and power are not known: {entry.gpu_unknown}",
            "Make the driver's libnvidia-ml.so.1 visible to this process.",
            lasting=True,
        )


_BEYOND_REPAIR = (
    "hardware slowdown",
    "software thermal slowdown",
    "hardware thermal slowdown",
    "hardware power brake",
)


def _share(part: float | None, whole: float) -> float:
    return 0.0 if part is None or not whole else part / whole


# --- reading ----------------------------------------------------------------------------------


class Counters(NamedTuple):
    """What only grows, at one moment, by its names in an `Entry`; `busy_s` is everybody's."""

    own_cpu_s: float
    busy_s: float | None
    waited_s: float | None
    throttled_periods: int | None
    throttled_s: float | None
    involuntary_switches: int | None


def read_counters(root: Path = Path("/"), cpus: Iterable[int] | None = None) -> Counters:
    """This process's and this machine's counters; without `cpus`, of all that it may run on."""
    periods, throttled_s = _throttled(root)
    return Counters(
        own_cpu_s=time.process_time(),
        busy_s=_busy_s(root / "proc/stat", own_cpus() if cpus is None else set(cpus)),
        waited_s=_waited_s(root / "proc/self/task"),
        throttled_periods=periods,
        throttled_s=throttled_s,
        involuntary_switches=_involuntary_switches(),
    )


class Ledger:
    """Kept while samples are taken; a second `start` begins a new entry. `gpu` is looked at too, or
    says why it cannot be, where one is used."""

    def __init__(
        self,
        gpu: Gpu | str | None = None,
        *,
        read: Callable[[], Counters] = read_counters,
        root: Path = Path("/"),
    ) -> None:
        self._gpu = None if isinstance(gpu, str) else gpu
        self._gpu_unknown = gpu if isinstance(gpu, str) else None
        self._read, self._root = read, root
        self._before: Counters | None = None
        self._load: float | None = None
        self._seen: list[Reading] = []

    def start(self) -> None:
        self._seen = []
        self._load = load_average()
        self._before = self._read()

    def look(self) -> None:
        """Between samples: what has no counter (a GPU's clock, its temperature) is seen only when
        looked at. About a millisecond with a GPU, nothing without."""
        if self._gpu is not None:
            self._seen.append(self._gpu.read())

    def stop(self) -> Entry:
        if self._before is None:
            raise RuntimeError("a ledger is started before it is stopped")
        self.look()  # first, while the clock is still the work's
        ends = zip(Counters._fields, self._before, self._read(), strict=True)
        grown = {name: _grown(before, after) for name, before, after in ends}
        busy_s = grown.pop("busy_s")
        return Entry(
            load=self._load,
            cpus=len(own_cpus()),
            # The kernel counts others in ticks of 10 ms, us in nanoseconds.
            foreign_cpu_s=None if busy_s is None else max(0.0, busy_s - grown["own_cpu_s"]),
            governor=read_governor(self._root),
            turbo=read_turbo(self._root),
            gpu_unknown=self._gpu_unknown,
            **grown,
            **_of_gpu(self._seen),
        )


def open_ledger(device: str = "cpu") -> Ledger:
    """The ledger of this process on `device`; never raises for what the machine does not offer."""
    kind, index = parse_device(device)
    return Ledger(open_gpu(index or 0)) if kind == "cuda" else Ledger()


def _of_gpu(seen: Sequence[Reading]) -> dict[str, Any]:
    """The part of an entry that is of the GPU."""
    clocks = [each.sm_clock_mhz for each in seen if each.sm_clock_mhz is not None]
    reasons = [each.throttle_reasons for each in seen if each.throttle_reasons is not None]
    return {
        "sm_clock_low_mhz": min(clocks, default=None),
        "sm_clock_high_mhz": max(clocks, default=None),
        "temperature_c": _most(each.temperature_c for each in seen),
        "power_w": _most(each.power_w for each in seen),
        "gpu_throttle_reasons": list(dict.fromkeys(sum(reasons, ()))) if reasons else None,
        "gpu_other_processes": _most(each.other_processes for each in seen),
    }


def _most(values: Iterable[Any]) -> Any:
    return max((value for value in values if value is not None), default=None)


def _grown(before: Any, after: Any) -> Any:
    """A thread that ended takes its counters along: then it cannot have been less than nothing."""
    return None if before is None or after is None else max(after - before, 0)


def _busy_s(stat: Path, cpus: set[int]) -> float | None:
    """Seconds that `cpus` were not idle: user, nice, system, irq, softirq and steal of proc(5)."""
    names = {f"cpu{index}" for index in cpus}
    ticks = [
        sum(map(int, fields[1:4] + fields[6:9]))
        for fields in map(str.split, text(stat).splitlines())
        if fields and fields[0] in names
    ]
    return sum(ticks) / os.sysconf("SC_CLK_TCK") if ticks else None


def _waited_s(tasks: Path) -> float | None:
    """Seconds on a run queue, of all threads: the second number of /proc/self/task/*/schedstat."""
    waits = [
        int(line.split()[1])
        for path in tasks.glob("*/schedstat")
        for line in text(path).splitlines()
        if len(line.split()) == 3
    ]
    return sum(waits) * 1e-9 if waits else None


def _throttled(root: Path) -> tuple[int, float] | tuple[None, None]:
    """Periods and seconds in which the quota of this process's control group had run out.

    A quota may be set on any group above; the one that held us up longest counts.
    """
    found = []
    for folder in group_folders(root):
        lines = text(folder / "cpu.stat").splitlines()
        stat = dict(line.split(maxsplit=1) for line in lines if " " in line.strip())
        if "throttled_usec" in stat:  # cgroup v2
            found.append((int(stat["nr_throttled"]), int(stat["throttled_usec"]) * 1e-6))
        elif "throttled_time" in stat:  # v1, nanoseconds
            found.append((int(stat["nr_throttled"]), int(stat["throttled_time"]) * 1e-9))
    return max(found, key=lambda one: one[1], default=(None, None))


def _involuntary_switches() -> int | None:
    try:
        import resource
    except ImportError:  # Windows has none
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def read_governor(root: Path = Path("/")) -> str | None:
    """The frequency governor of the processors, or the different ones that they have."""
    policies = (root / "sys/devices/system/cpu/cpufreq").glob("policy*/scaling_governor")
    found = sorted({line for path in policies for line in text(path).splitlines() if line})
    return ", ".join(found) or None


def read_turbo(root: Path = Path("/")) -> bool | None:
    """Whether the processors may go beyond their base frequency."""
    folder = root / "sys/devices/system/cpu"
    for path, on in (("intel_pstate/no_turbo", "0"), ("cpufreq/boost", "1")):
        told = text(folder / path).strip()
        if told:
            return told == on
    return None
