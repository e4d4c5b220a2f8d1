"""NVML's calls, on a library that answers what a test says."""

from __future__ import annotations

import ctypes
import os
from typing import Any

import pytest

from detrbench.machine.nvml import Gpu, Reading, open_by_uuid

NOT_SUPPORTED, NOT_FOUND, INSUFFICIENT_SIZE = 3, 6, 7


class FakeLibrary:
    """Getters answer numbers; those without one do not exist, like in an old driver."""

    def __init__(self, pids: list[int] | int | None = None, **answers: int | None) -> None:
        self._answers, self._pids = answers, pids
        self.asked: list[tuple[str, tuple[int, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        if name not in self._answers:
            raise AttributeError(name)

        def getter(handle: object, *arguments: Any) -> int:
            *numbers, into = arguments
            self.asked.append((name, tuple(numbers)))
            answer = self._answers[name]
            if answer is None:
                return NOT_SUPPORTED
            into._obj.value = answer
            return 0

        return getter

    def nvmlInit_v2(self) -> int:
        return 0

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes, into: Any) -> int:
        if uuid != b"GPU-1":
            return NOT_FOUND
        into._obj.value = 7
        return 0

    def nvmlDeviceGetComputeRunningProcesses_v3(self, handle: Any, count: Any, infos: Any) -> int:
        if self._pids is None:
            return NOT_SUPPORTED
        if isinstance(self._pids, int):
            count._obj.value = self._pids
            return INSUFFICIENT_SIZE
        count._obj.value = len(self._pids)
        for index, pid in enumerate(self._pids):
            infos[index].pid = pid
        return 0


def reading(library: FakeLibrary) -> Reading:
    return Gpu(library, ctypes.c_void_p(7)).read()


def test_a_reading_has_base_units_and_names() -> None:
    library = FakeLibrary(
        nvmlDeviceGetClockInfo=1410,
        nvmlDeviceGetTemperature=61,
        nvmlDeviceGetPowerUsage=250_500,
        nvmlDeviceGetCurrentClocksThrottleReasons=0x44,
        pids=[os.getpid(), 1, 2],
    )
    assert reading(library) == Reading(
        1410, 61, 250.5, ("software power cap", "hardware thermal slowdown"), 2
    )
    assert ("nvmlDeviceGetClockInfo", (1,)) in library.asked, "the multiprocessors' clock"


def test_what_a_gpu_or_a_driver_does_not_tell_is_none() -> None:
    silent = FakeLibrary(nvmlDeviceGetClockInfo=None, nvmlDeviceGetTemperature=None)
    assert reading(silent) == Reading()
    assert Gpu(silent, None).energy_j() is None


def test_nothing_slows_it_down_is_not_unknown() -> None:
    assert reading(FakeLibrary(nvmlDeviceGetCurrentClocksThrottleReasons=0)).throttle_reasons == ()


@pytest.mark.parametrize(
    ("pids", "others"),
    [
        ([], 0),
        ([os.getpid()], 0),
        ([99_999_999], 0),  # in a container: we have a context, under a number that is not ours
        ([99_999_998, 99_999_999], 1),
        (80, 79),  # more than there was room for
    ],
)
def test_other_processes_are_counted(pids: list[int] | int, others: int) -> None:
    assert reading(FakeLibrary(pids=pids)).other_processes == others


def test_energy_is_in_joules() -> None:
    gpu = Gpu(FakeLibrary(nvmlDeviceGetTotalEnergyConsumption=12_345), None)
    assert gpu.energy_j() == pytest.approx(12.345)


def test_a_gpu_is_found_by_its_uuid() -> None:
    assert isinstance(open_by_uuid("GPU-1", FakeLibrary), Gpu)


def test_a_gpu_that_is_not_found_says_why() -> None:
    assert open_by_uuid("GPU-2", FakeLibrary) == "NVML does not find GPU-2 (status 6)"


def test_a_driver_without_nvml_says_why() -> None:
    def load() -> object:
        raise OSError("libnvidia-ml.so.1: cannot open shared object file")

    assert "libnvidia-ml.so.1" in str(open_by_uuid("GPU-1", load))


def test_a_driver_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeLibrary, "nvmlInit_v2", lambda self: 9)
    assert open_by_uuid("GPU-1", FakeLibrary) == "NVML does not start (status 9)"
