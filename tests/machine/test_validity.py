from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import pytest

from detrbench.machine.nvml import Reading
from detrbench.machine.validity import (
    Counters,
    Entry,
    Ledger,
    conditions,
    open_ledger,
    read_counters,
    read_governor,
    read_turbo,
)


def write(root: Path, **files: str) -> Path:
    """Files under `root`, named by their path with __ for /."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


# --- reading ----------------------------------------------------------------------------------

# user nice system idle iowait irq softirq steal guest guest_nice, in hundredths of a second
STAT = """\
cpu  9999 0 0 0 0 0 0 0 0 0
cpu0 100 20 30 5000 7 1 2 40 100 20
cpu1 200 0 0 5000 0 0 0 0 0 0
cpu12 400 0 0 5000 0 0 0 0 0 0
intr 12345
"""


@pytest.mark.parametrize(("cpus", "busy_s"), [({0}, 1.93), ({0, 1}, 3.93), ({12}, 4.0)])
def test_busy_time_is_of_our_processors_and_without_idling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpus: set[int], busy_s: float
) -> None:
    """100 + 20 + 30 + 1 + 2 + 40: guests are in user time already, waiting for disks is idle."""
    monkeypatch.setattr("os.sysconf", lambda name: 100)
    assert read_counters(write(tmp_path, proc__stat=STAT), cpus).busy_s == pytest.approx(busy_s)


def test_waiting_is_summed_over_threads(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        proc__self__task__1__schedstat="5000000000 1500000000 77\n",
        proc__self__task__2__schedstat="1 500000000 1\n",
    )
    assert read_counters(root).waited_s == pytest.approx(2.0)


def test_throttling_of_the_group_that_held_us_up_longest(tmp_path: Path) -> None:
    root = write(tmp_path, proc__self__cgroup="0::/outer/inner\n")
    for group, periods, usec in (("outer/inner", 3, 10_000), ("outer", 9, 2_500_000), ("", 0, 0)):
        path = root / "sys/fs/cgroup" / group / "cpu.stat"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"usage_usec 5\nnr_throttled {periods}\nthrottled_usec {usec}\n")
    counters = read_counters(root)
    assert (counters.throttled_periods, counters.throttled_s) == (9, 2.5)


def test_throttling_of_the_older_control_groups(tmp_path: Path) -> None:
    root = write(tmp_path, proc__self__cgroup="2:cpu,cpuacct:/job\n")
    stat = root / "sys/fs/cgroup/cpu/job/cpu.stat"
    stat.parent.mkdir(parents=True)
    stat.write_text("nr_periods 10\nnr_throttled 4\nthrottled_time 500000000\n")
    counters = read_counters(root)
    assert (counters.throttled_periods, counters.throttled_s) == (4, 0.5)


def test_a_machine_that_tells_nothing_is_unknown_not_zero(tmp_path: Path) -> None:
    counters = read_counters(tmp_path)
    assert (counters.busy_s, counters.waited_s, counters.throttled_s) == (None, None, None)
    assert read_governor(tmp_path) is None
    assert read_turbo(tmp_path) is None


def test_governors_are_named_once_each(tmp_path: Path) -> None:
    folder = tmp_path / "sys/devices/system/cpu/cpufreq"
    for number, governor in enumerate(("powersave", "performance", "powersave")):
        (folder / f"policy{number}").mkdir(parents=True)
        (folder / f"policy{number}" / "scaling_governor").write_text(f"{governor}\n")
    assert read_governor(tmp_path) == "performance, powersave"


@pytest.mark.parametrize(
    ("file", "text", "turbo"),
    [
        ("intel_pstate/no_turbo", "0\n", True),
        ("intel_pstate/no_turbo", "1\n", False),
        ("cpufreq/boost", "1\n", True),
        ("cpufreq/boost", "0\n", False),
    ],
)
def test_turbo(tmp_path: Path, file: str, text: str, turbo: bool) -> None:
    path = tmp_path / "sys/devices/system/cpu" / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert read_turbo(tmp_path) is turbo


# --- entries ----------------------------------------------------------------------------------


def test_an_entry_is_what_grew(tmp_path: Path) -> None:
    moments = iter(
        [
            Counters(1.0, 10.0, 0.5, 3, 1.0, 7),
            Counters(5.0, 20.0, 0.75, 5, 1.5, 17),
        ]
    )
    ledger = Ledger(read=lambda: next(moments), root=tmp_path)
    ledger.start()
    ledger.look()
    entry = ledger.stop()
    assert (entry.own_cpu_s, entry.foreign_cpu_s) == (4.0, 6.0)
    assert (entry.waited_s, entry.throttled_periods, entry.throttled_s) == (0.25, 2, 0.5)
    assert (entry.involuntary_switches, entry.governor) == (10, None)


def test_what_is_unknown_at_either_end_stays_unknown(tmp_path: Path) -> None:
    moments = iter(
        [Counters(1.0, None, None, None, None, None), Counters(2.0, 9.0, 1.0, 1, 1.0, 1)]
    )
    ledger = Ledger(read=lambda: next(moments), root=tmp_path)
    ledger.start()
    entry = ledger.stop()
    assert entry.own_cpu_s == 1.0
    assert entry.foreign_cpu_s is entry.waited_s is entry.throttled_s is None
    assert conditions(entry, 1.0) == ()


def test_coarse_ticks_make_nobody_use_less_than_nothing(tmp_path: Path) -> None:
    moments = iter(
        [Counters(0.0, 0.0, 2.0, None, None, 0), Counters(0.015, 0.01, 1.0, None, None, 0)]
    )
    ledger = Ledger(read=lambda: next(moments), root=tmp_path)
    ledger.start()
    entry = ledger.stop()
    assert entry.foreign_cpu_s == 0
    assert entry.waited_s == 0, "a thread that ended took its counters along"


def test_a_ledger_is_started_first() -> None:
    with pytest.raises(RuntimeError, match="started"):
        open_ledger().stop()


def test_entries_survive_json() -> None:
    entry = Entry(load=0.5, cpus=2, gpu_throttle_reasons=["idle"], turbo=False)
    assert Entry(**json.loads(json.dumps(dataclasses.asdict(entry)))) == entry


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="needs Linux's /proc")
def test_this_process_sees_its_own_work() -> None:
    ledger = open_ledger("cpu")
    ledger.start()
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    entry = ledger.stop()
    assert entry.own_cpu_s is not None
    assert 0.05 <= entry.own_cpu_s < 5
    assert entry.foreign_cpu_s is not None
    assert entry.cpus


class FakeGpu:
    def __init__(self, *readings: Reading) -> None:
        self._readings = iter(readings)

    def read(self) -> Reading:
        return next(self._readings)


def gpu_entry(*readings: Reading, why_none: str = "") -> Entry:
    ledger = Ledger(FakeGpu(*readings) if readings else why_none)  # type: ignore[arg-type]
    ledger.start()
    for _ in readings[1:]:
        ledger.look()
    return ledger.stop()


def test_a_gpu_is_remembered_at_its_worst() -> None:
    entry = gpu_entry(
        Reading(1900, 50, 300.0, ("idle",), 0),
        Reading(1000, 80, 200.0, ("software power cap",), 2),
        Reading(None, None, None, None, None),
        Reading(1500, 70, 350.0, ("software power cap",), 1),
    )
    assert (entry.sm_clock_low_mhz, entry.sm_clock_high_mhz) == (1000, 1900)
    assert (entry.temperature_c, entry.power_w) == (80, 350.0)
    assert entry.gpu_throttle_reasons == ["idle", "software power cap"]
    assert entry.gpu_other_processes == 2


def test_a_gpu_that_cannot_be_read_says_why() -> None:
    entry = gpu_entry(why_none="no NVML")
    assert entry.sm_clock_low_mhz is entry.power_w is entry.gpu_throttle_reasons is None
    (complaint,) = (each for each in conditions(entry, 1.0) if each.cause == "gpu unknown")
    assert "no NVML" in complaint.text
    assert not complaint.invalidates


# --- judging ----------------------------------------------------------------------------------


def causes(entry: Entry, elapsed_s: float = 10.0) -> dict[str, bool]:
    """Cause -> whether it invalidates."""
    return {each.cause: each.invalidates for each in conditions(entry, elapsed_s)}


QUIET = Entry(
    load=0.1,
    cpus=2,
    own_cpu_s=20.0,
    foreign_cpu_s=0.9,
    waited_s=0.5,
    throttled_periods=0,
    throttled_s=0.0,
    involuntary_switches=500,
    governor="performance",
    turbo=True,
    sm_clock_low_mhz=1700,
    sm_clock_high_mhz=1900,
    temperature_c=60,
    power_w=200.0,
    gpu_throttle_reasons=["idle", "application clocks"],
    gpu_other_processes=0,
)


def test_a_quiet_machine_has_nothing_to_complain_of() -> None:
    assert causes(QUIET) == {}
    assert causes(Entry()) == {}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"throttled_periods": 3, "throttled_s": 0.4}, {"throttled": False}),
        ({"throttled_periods": 30, "throttled_s": 0.6}, {"throttled": True}),
        ({"waited_s": 1.5}, {"contended": False}),  # 1.5 of 21.5 s
        ({"waited_s": 21.0}, {"contended": True}),  # longer than it ran
        ({"foreign_cpu_s": 1.1}, {"foreign work": False}),  # of 2 x 10 s
        ({"involuntary_switches": 501}, {"preempted": False}),
        ({"governor": "powersave"}, {"governor": False}),
        ({"gpu_throttle_reasons": ["hardware slowdown"]}, {"gpu slowdown": True}),
        ({"gpu_throttle_reasons": ["software thermal slowdown"]}, {"gpu slowdown": True}),
        ({"gpu_throttle_reasons": ["software power cap"]}, {"gpu power cap": False}),
        ({"sm_clock_low_mhz": 1424}, {"gpu clock": True}),  # under 75 % of 1900
        ({"sm_clock_low_mhz": 1426}, {}),
        ({"gpu_other_processes": 2}, {"gpu shared": False}),
    ],
)
def test_every_cause(change: dict[str, object], expected: dict[str, bool]) -> None:
    assert causes(dataclasses.replace(QUIET, **change)) == expected  # type: ignore[arg-type]


def test_complaints_count_and_say_what_to_do() -> None:
    entry = dataclasses.replace(QUIET, throttled_periods=30, throttled_s=0.6)
    (complaint,) = conditions(entry, 10.0)
    assert complaint.count == 30
    assert complaint.text == "the CPU quota ran out in 30 periods, for 0.60 s"
    assert complaint.hint.startswith("Give fewer --threads")
