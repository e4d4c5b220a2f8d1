"""Ceilings: found on the real machine, kept and carried, and what follows from them by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from detrbench.analysis.probe.ceilings import KINDS, Ceiling, Ceilings, Work, work_of
from detrbench.analysis.probe.device_profile import DeviceProfile, keep, kept, probe_device
from detrbench.cli import main
from detrbench.core.errors import DetrbenchError, UsageError
from detrbench.machine.caches import cache_from_sweep, last_level_bytes
from detrbench.machine.threads import allowed_threads
from detrbench.runtimes.clocks import WallClock
from detrbench.runtimes.options import Options
from detrbench.timing.session import Series

VALUES = {"convolution": 100e9, "matmul": 50e9, "memory": 10e9, "cache": 40e9, "dispatch": 1e-6}
CEILINGS = Ceilings(
    {name: Ceiling(name, value, 0.9 * value, 1.1 * value) for name, value in VALUES.items()},
    cache_bytes=32 * 2**20,
)
SETTINGS = {
    "device": "cpu",
    "dtype": "float32",
    "memory_format": "contiguous",
    "threads": allowed_threads(),
}
PROFILE = DeviceProfile(SETTINGS, {"processor": "x"}, CEILINGS, 12, "2026-01-02T03:04:05+00:00")


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


# --- floors --------------------------------------------------------------------------------------


def test_a_floor_is_the_largest_of_three() -> None:
    work = Work(
        conv_flops=100_000_000,
        product_flops=100_000_000,
        nbytes=20_000_000,
        kernels=500,
        working_set_bytes=64 * 2**20,
    )
    floor = CEILINGS.floor(work)
    assert (floor.compute, floor.memory, floor.dispatch) == pytest.approx((3e-3, 2e-3, 0.5e-3))
    assert (floor.seconds, floor.limit, floor.in_cache) == (floor.compute, "compute", False)
    assert work.intensity == 10.0


def test_what_fits_the_cache_is_held_against_its_bandwidth() -> None:
    small = CEILINGS.floor(Work(nbytes=20_000_000, working_set_bytes=32 * 2**20))
    large = CEILINGS.floor(Work(nbytes=20_000_000, working_set_bytes=32 * 2**20 + 1))
    assert (small.memory, small.in_cache) == (pytest.approx(0.5e-3), True)
    assert (large.memory, large.in_cache) == (pytest.approx(2e-3), False)


def test_each_limit_can_bind() -> None:
    assert CEILINGS.floor(Work(conv_flops=10**9)).limit == "compute"
    assert CEILINGS.floor(Work(nbytes=10**9)).limit == "memory"
    assert CEILINGS.floor(Work(kernels=1000, nbytes=1000)).limit == "dispatch"


def test_the_work_of_a_traced_module_by_hand() -> None:
    from torch import nn

    from detrbench import trace

    block = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU())
    traced = trace(block, imgsz=10, channels=8)
    work = work_of(traced, traced.ops)
    assert work.conv_flops == 2 * 100 * 8 * 16 * 9
    assert work.product_flops == 0
    assert work.kernels == 2
    weights, here, there = 4 * (8 * 16 * 9 + 16), 4 * 8 * 100, 4 * 16 * 100
    assert work.nbytes == weights + here + there + 2 * there
    # The image, the convolution's output and relu's are alive together.
    assert work.working_set_bytes == weights + here + 2 * there


# --- caches --------------------------------------------------------------------------------------


def a_cache(root: Path, index: int, level: int, size: str, kind: str = "Unified") -> None:
    folder = root / f"sys/devices/system/cpu/cpu0/cache/index{index}"
    folder.mkdir(parents=True)
    for name, text in (("level", str(level)), ("size", size), ("type", kind)):
        (folder / name).write_text(f"{text}\n")


def test_the_last_level_is_the_highest_that_holds_data(tmp_path: Path) -> None:
    a_cache(tmp_path, 0, 1, "32K", "Data")
    a_cache(tmp_path, 1, 4, "64K", "Instruction")
    a_cache(tmp_path, 2, 2, "1024K")
    a_cache(tmp_path, 3, 3, "32M")
    assert last_level_bytes(tmp_path) == 32 * 2**20


def test_a_system_that_does_not_say_is_swept(tmp_path: Path) -> None:
    assert last_level_bytes(tmp_path) is None
    assert cache_from_sweep({1: 100.0, 2: 90.0, 4: 80.0, 8: 30.0, 16: 20.0, 32: 20.0}) == 4
    assert cache_from_sweep({1: 24.0, 2: 22.0, 4: 20.0}) == 1, "no step, so nothing fits a cache"


# --- probes --------------------------------------------------------------------------------------


def test_the_best_of_the_probes_is_the_ceiling_with_its_quartiles() -> None:
    from detrbench.analysis.probe.probes import Probe, ceilings

    class Idle:
        clock = WallClock()

        def __call__(self) -> object:
            return None

        def verify(self, outcome: object) -> None:
            return None

    def series(*seconds: float) -> Series:
        return Series(samples={"latency_s": list(seconds)})

    probes = [
        Probe("convolution", "slow", 100, Idle()),
        Probe("convolution", "fast", 100, Idle()),
        Probe("convolution", "broken", 100, Idle()),
        *(Probe(name, name, 100, Idle()) for name in ("matmul", "memory", "cache")),
        Probe("dispatch", "tiny", 100, Idle()),
    ]
    samples = [
        series(4, 4),
        series(1, 2, 4),
        Series(status="failed", reason="no kernel"),
        *(series(1.0) for _ in range(3)),
        # Of a device whose clock tells the host's time from its own.
        Series(samples={"latency_s": [1.0], "wall_s": [1.1], "enqueue_s": [0.5]}),
    ]
    found = ceilings(probes, samples, 7)
    best = found.each["convolution"]
    assert (best.source, best.low, best.value, best.high) == ("fast", 37.5, 50.0, 75.0)
    assert found["dispatch"] == 0.01
    assert found.each["dispatch"].source == "tiny, enqueued in 5,000.00 us"
    assert found.cache_bytes == 7
    samples[-1] = Series(status="failed", reason="out of luck")
    with pytest.raises(DetrbenchError, match="launching one operator: out of luck"):
        ceilings(probes, samples, 7)


def test_this_machine_has_ceilings() -> None:
    found = probe_device(threads=1, budget_s=0.2)
    assert list(found.ceilings.each) == list(KINDS)
    for one in found.ceilings.each.values():
        assert 0 < one.low <= one.value <= one.high
        assert one.source
    # Nothing that computes does so at less than 0.1 GFLOP/s, streams at less than 0.1 GB/s or
    # launches in less than ten nanoseconds.
    assert found.ceilings["convolution"] > 1e8
    assert found.ceilings["memory"] > 1e8
    assert 1e-8 < found.ceilings["dispatch"] < 1e-2
    assert found.settings["threads"] == 1
    assert found.settings["memory_format"] == "contiguous"


# --- profiles ------------------------------------------------------------------------------------


def test_a_profile_survives_the_journey(tmp_path: Path) -> None:
    PROFILE.save(tmp_path / "device.json")
    assert DeviceProfile.load(tmp_path / "device.json") == PROFILE


def test_a_profile_is_remembered_for_its_settings_alone() -> None:
    assert kept() is None
    path = keep(PROFILE)
    assert path.name == "probe.json"
    assert kept() == PROFILE
    assert kept("cuda") is None
    assert kept(options=Options(dtype="bfloat16")) is None
    assert kept(threads=allowed_threads() + 1) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"profile_version": None}, "not a device profile"),
        ({"profile_version": 99}, "reads up to 1"),
        ({"ceilings": []}, "no ceiling for"),
        ({"settings": None}, "not a whole device profile"),
        ({"cache_bytes": "much"}, "not a whole device profile"),
    ],
)
def test_what_is_no_profile_is_refused(
    change: dict[str, object], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "device.json"
    path.write_text(json.dumps(PROFILE.to_dict() | change))
    with pytest.raises(UsageError, match=said):
        DeviceProfile.load(path)


def test_a_file_that_is_not_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(UsageError, match="cannot be read"):
        DeviceProfile.load(tmp_path / "x.json")
    with pytest.raises(UsageError, match="cannot be read"):
        DeviceProfile.load(tmp_path / "absent.json")


def test_probe_prints_a_line_per_ceiling(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(
        "detrbench.analysis.probe.device_profile.probe_device", lambda *_, **__: PROFILE
    )
    assert main(["probe"]) == 0
    told = capsys.readouterr()
    assert "convolutions" in told.out
    assert "100.0 [90.0-110.0]" in told.out
    assert "12 rounds" in told.out
    assert "remembered in" in told.err
    assert main(["probe", "-o", str(tmp_path / "device.json")]) == 0
    assert DeviceProfile.load(tmp_path / "device.json") == PROFILE
    assert main(["probe", "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "name,value,low,high,source,unit"


def test_probe_refuses_what_cannot_be(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", "--budget", "0"]) == 2
    assert main(["probe", "--device", "gpu"]) == 2
    assert main(["probe", "--dtype", "float8"]) == 2
    assert "Traceback" not in capsys.readouterr().err
