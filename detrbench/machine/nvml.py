"""What the NVIDIA driver says of a GPU: clocks, temperature, power, energy, throttling, neighbours.

Bound by ctypes to libnvidia-ml, which comes with every driver, so that none of this needs another
package. Names and numbers are those of nvml.h. Nothing is ever set or reset here.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_SUCCESS, _INSUFFICIENT_SIZE, _FUNCTION_NOT_FOUND = 0, 7, 13
_CLOCK_SM, _GPU_CHIP = 1, 0

THROTTLE_REASONS = {  # nvmlClocksThrottleReason*
    0x001: "idle",
    0x002: "application clocks",
    0x004: "software power cap",
    0x008: "hardware slowdown",
    0x010: "sync boost",
    0x020: "software thermal slowdown",
    0x040: "hardware thermal slowdown",
    0x080: "hardware power brake",
    0x100: "display clocks",
}


@dataclass(frozen=True)
class Reading:
    """A GPU at one moment; None where it does not tell."""

    sm_clock_mhz: int | None = None
    temperature_c: int | None = None
    power_w: float | None = None
    throttle_reasons: tuple[str, ...] | None = None
    other_processes: int | None = None


class _ProcessInfo(ctypes.Structure):  # nvmlProcessInfo_t, version 3
    _fields_ = (
        ("pid", ctypes.c_uint),
        ("used_memory", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    )


class Gpu:
    """One GPU: an nvmlDevice_t of libnvidia-ml, which was initialised."""

    def __init__(self, library: Any, handle: Any) -> None:
        self._library, self._handle = library, handle

    def read(self) -> Reading:
        milliwatts = self._number("nvmlDeviceGetPowerUsage", ctypes.c_uint())
        return Reading(
            sm_clock_mhz=self._number("nvmlDeviceGetClockInfo", ctypes.c_uint(), _CLOCK_SM),
            temperature_c=self._number("nvmlDeviceGetTemperature", ctypes.c_uint(), _GPU_CHIP),
            power_w=None if milliwatts is None else milliwatts * 1e-3,
            throttle_reasons=self._throttle_reasons(),
            other_processes=self._other_processes(),
        )

    def energy_j(self) -> float | None:
        """Joules since the driver was loaded; GPUs older than Volta do not count them."""
        millijoules = self._number("nvmlDeviceGetTotalEnergyConsumption", ctypes.c_ulonglong())
        return None if millijoules is None else millijoules * 1e-3

    def _throttle_reasons(self) -> tuple[str, ...] | None:
        bits = self._number("nvmlDeviceGetCurrentClocksThrottleReasons", ctypes.c_ulonglong())
        if bits is None:
            return None
        return tuple(name for bit, name in THROTTLE_REASONS.items() if bits & bit)

    def _other_processes(self) -> int | None:
        """Compute processes that are not this one.

        In a container the driver may number processes as the host does, and ours is not found by
        its number. It has a context, so one of them is ours.
        """
        room = 64
        count, infos = ctypes.c_uint(room), (_ProcessInfo * room)()
        name = "nvmlDeviceGetComputeRunningProcesses_v3"
        status = self._call(name, ctypes.byref(count), infos)
        if status == _INSUFFICIENT_SIZE:
            return count.value - 1
        if status != _SUCCESS:
            return None
        pids = [infos[index].pid for index in range(count.value)]
        others = [pid for pid in pids if pid != os.getpid()]
        return len(others) if len(others) < len(pids) else max(0, len(pids) - 1)

    def _number(self, name: str, into: Any, *arguments: int) -> int | None:
        """What an NVML getter answers, or None where it is unknown or not supported."""
        status = self._call(name, *arguments, ctypes.byref(into))
        return int(into.value) if status == _SUCCESS else None

    def _call(self, name: str, *arguments: Any) -> int:
        """The status of a call; old drivers lack some functions."""
        function = getattr(self._library, name, None)
        return int(function(self._handle, *arguments)) if function else _FUNCTION_NOT_FOUND


def open_gpu(index: int) -> Gpu | str:
    """torch's GPU `index`, or why NVML does not show it."""
    import torch

    # By its UUID, because CUDA_VISIBLE_DEVICES renumbers torch's GPUs and not NVML's.
    uuid = getattr(torch.cuda.get_device_properties(index), "uuid", None)
    if uuid is None:
        return f"torch {torch.__version__} does not tell a GPU's UUID"
    library = "nvml.dll" if os.name == "nt" else "libnvidia-ml.so.1"
    return open_by_uuid(f"GPU-{uuid}", lambda: ctypes.CDLL(library))


def open_by_uuid(uuid: str, load: Callable[[], Any]) -> Gpu | str:
    """The GPU called `uuid` in the library that `load` loads, or why there is none."""
    try:
        library = load()
    except OSError as error:
        return f"NVML cannot be loaded: {error}"
    status = library.nvmlInit_v2()
    if status != _SUCCESS:
        return f"NVML does not start (status {status})"
    handle = ctypes.c_void_p()
    status = library.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(handle))
    if status != _SUCCESS:
        return f"NVML does not find {uuid} (status {status})"
    return Gpu(library, handle)
