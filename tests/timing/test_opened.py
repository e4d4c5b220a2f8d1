"""Samples of different runtimes in one process wait for each other's threads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from detrbench.timing.opened import wait_until_asleep


class Process:
    """One whose threads use the processor for so long, whenever somebody sleeps."""

    def __init__(self, spins_s: float) -> None:
        self.spins_s, self.slept_s = spins_s, 0.0

    def cpu_s(self) -> float:
        return min(self.slept_s, self.spins_s)

    def sleep(self, seconds: float) -> None:
        self.slept_s += seconds


@pytest.mark.parametrize(("spins_s", "waits_s"), [(0.0, 0.002), (0.01, 0.012), (9.0, 0.25)])
def test_it_waits_as_long_as_threads_spin_and_no_longer_than_a_quarter_of_a_second(
    spins_s: float, waits_s: float
) -> None:
    process = Process(spins_s)
    wait_until_asleep(process.cpu_s, process.sleep)
    assert process.slept_s == pytest.approx(waits_s, abs=0.0021)


def test_little_work_is_none() -> None:
    """Such as reading the clock itself."""
    readings: Iterator[float] = iter([0.0, 0.0001])
    slept: list[float] = []
    wait_until_asleep(lambda: next(readings), slept.append)
    assert len(slept) == 1
