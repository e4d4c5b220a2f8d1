from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

import pytest

from detrbench.machine.usage import (
    Told,
    cuda_peak,
    energy_per_image,
    metered,
    peak_memory,
    rss_peak,
)


class FakeCuda:
    """torch.cuda's counters: another model has 1000 bytes, a call takes 300 for a while."""

    def __init__(self) -> None:
        self.now, self.peak = 1000, 9000  # the peak is of long ago
        self.log: list[str] = []

    def call(self) -> None:
        self.log.append("call")
        self.peak = max(self.peak, self.now + 300)

    def synchronize(self) -> None:
        self.log.append("synchronize")

    def reset_peak_memory_stats(self) -> None:
        self.peak = self.now

    def memory_allocated(self) -> int:
        return self.now

    def max_memory_allocated(self) -> int:
        return self.peak

    def max_memory_reserved(self) -> int:
        return 4096


def test_a_peak_on_cuda_is_of_this_model_alone() -> None:
    cuda = FakeCuda()
    peak = cuda_peak(cuda.call, 200, cuda)
    assert peak == {
        "peak_allocated_bytes": 200 + 300,
        "peak_reserved_bytes": 4096,
        "peak_rss_growth_bytes": "the model is on the GPU",
    }
    assert cuda.log == ["synchronize", "call", "synchronize"]


def status(process: Path, rss_kb: int, peak_kb: int) -> None:
    process.mkdir(exist_ok=True)
    (process / "clear_refs").write_text("")
    (process / "status").write_text(f"Name:\tx\nVmHWM:\t{peak_kb} kB\nVmRSS:\t  {rss_kb} kB\n")


def test_a_peak_on_the_processor_is_the_high_water_over_what_was_there(tmp_path: Path) -> None:
    process = tmp_path / "self"
    status(process, rss_kb=100, peak_kb=100)

    def call() -> None:
        assert (process / "clear_refs").read_text() == "5", "the old high water is gone"
        status(process, rss_kb=150, peak_kb=400)

    assert rss_peak(call, process) == {
        "peak_allocated_bytes": "there is no CUDA device",
        "peak_reserved_bytes": "there is no CUDA device",
        "peak_rss_growth_bytes": 300 * 1024,
    }


def test_a_system_without_a_high_water_mark_says_so(tmp_path: Path) -> None:
    peak = rss_peak(lambda: None, tmp_path / "absent")
    assert "clear_refs" in str(peak["peak_rss_growth_bytes"])


def test_what_a_call_raises_is_not_taken_for_a_missing_mark(tmp_path: Path) -> None:
    status(tmp_path / "self", 1, 1)

    def call() -> None:
        raise OSError("the model's own")

    with pytest.raises(OSError, match="the model's own"):
        rss_peak(call, tmp_path / "self")


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
def test_a_real_allocation_is_seen() -> None:
    size = 64 * 2**20

    def call() -> None:
        # Straight from the kernel: the allocator may hand out what an earlier test gave back.
        with mmap.mmap(-1, size) as fresh:
            for page in range(0, size, mmap.PAGESIZE):
                fresh[page] = 1

    growth = peak_memory(call)["peak_rss_growth_bytes"]
    assert not isinstance(growth, str), growth
    assert 0.9 * size < growth < 2 * size


class Meter:
    def __init__(self, *joules: float | None) -> None:
        self._joules = iter(joules)

    def energy_j(self) -> float | None:
        return next(self._joules)


def ticking(step: float = 0.25) -> Iterator[float]:
    now = 0.0
    while True:
        yield now
        now += step


def measure(meter: Meter) -> Told:
    clock = ticking()
    return metered(lambda: None, 2, meter, lambda: None, seconds=1.0, now=lambda: next(clock))


def test_energy_is_per_image() -> None:
    """Three calls of two images within a second."""
    assert measure(Meter(100.0, 112.0)) == 2.0


@pytest.mark.parametrize(
    ("joules", "reason"),
    [((None,), "does not count"), ((5.0, 5.0), "did not move"), ((5.0, None), "did not move")],
)
def test_energy_that_is_not_known_has_a_reason(
    joules: tuple[float | None, ...], reason: str
) -> None:
    assert reason in str(measure(Meter(*joules)))


def test_the_processor_has_no_nvml() -> None:
    assert "CUDA devices only" in str(energy_per_image(lambda: None, 1, "cpu"))
