"""What a step takes beside time: memory at its peak, and energy. Both apart from all samples."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from detrbench.machine.devices import parse_device
from detrbench.machine.nvml import Gpu, open_gpu

ENERGY_SECONDS = 1.0
"""How long a step is repeated between two readings of the energy counter, which moves in steps of
up to a tenth of a second."""

PEAKS = ("peak_allocated_bytes", "peak_reserved_bytes", "peak_rss_growth_bytes")
"""Metric keys of memory.

- allocated: of a CUDA device: what stays between calls (weights, images, a graph's pool) and the
  most that a call allocates on top.
- reserved: what torch's allocator held of the device at that moment, for the whole process: all its
  models, and what it keeps in stock.
- rss_growth: on the processor: how far a call raised the process's resident memory over where it
  was before.
"""

Told = float | str
"""A value, or the reason why it is not known."""


def peak_memory(
    call: Callable[[], object], device: str = "cpu", resident_bytes: float = 0
) -> dict[str, Told]:
    """The `PEAKS` of one `call`, which ought to have run before: first calls load and choose.

    Args:
        resident_bytes: as `Runtime.prepared` tells them; only CUDA's figure includes them.
    """
    if parse_device(device)[0] == "cuda":
        import torch

        return cuda_peak(call, int(resident_bytes), torch.cuda)
    return rss_peak(call)


def cuda_peak(call: Callable[[], object], resident_bytes: int, cuda: Any) -> dict[str, Told]:
    """`peak_memory` on torch.cuda, or on what plays it."""
    cuda.synchronize()
    cuda.reset_peak_memory_stats()
    before = cuda.memory_allocated()
    result = call()
    cuda.synchronize()
    del result
    allocated_bytes = resident_bytes + cuda.max_memory_allocated() - before
    told = (allocated_bytes, cuda.max_memory_reserved(), "the model is on the GPU")
    return dict(zip(PEAKS, told, strict=True))


def rss_peak(call: Callable[[], object], process: Path = Path("/proc/self")) -> dict[str, Told]:
    """`peak_memory` on the processor, by the kernel's high-water mark of this process."""
    allocated, reserved, rss_growth = PEAKS
    on_host: dict[str, Told] = dict.fromkeys((allocated, reserved), "there is no CUDA device")
    try:
        # proc(5): 5 resets the high-water mark to what is resident now.
        (process / "clear_refs").write_text("5")
        before = _status_bytes(process, "VmRSS")
    except OSError as error:
        why = f"this system has no high-water mark that can be reset: {error}"
        return on_host | {rss_growth: why}
    call()
    return on_host | {rss_growth: max(0, _status_bytes(process, "VmHWM") - before)}


def _status_bytes(process: Path, name: str) -> int:
    for line in (process / "status").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024  # "  123456 kB"
    raise OSError(f"{process / 'status'} has no {name}")


def energy_per_image(
    call: Callable[[], object], batch: int, device: str, seconds: float = ENERGY_SECONDS
) -> Told:
    """Joules of the whole GPU per image, its idle power included: `call` is repeated for `seconds`
    between two readings of NVML's energy counter."""
    kind, index = parse_device(device)
    if kind != "cuda":
        return "energy is read from NVML, which knows CUDA devices only"
    gpu = open_gpu(index or 0)
    if isinstance(gpu, str):
        return gpu
    import torch

    return metered(call, batch, gpu, torch.cuda.synchronize, seconds)


def metered(
    call: Callable[[], object],
    batch: int,
    meter: Gpu,
    synchronize: Callable[[], object],
    seconds: float,
    now: Callable[[], float] = time.monotonic,
) -> Told:
    """`energy_per_image` with a counter, a device and a clock of your own."""
    synchronize()
    before, began, calls = meter.energy_j(), now(), 0
    if before is None:
        return "this GPU does not count its energy"
    while now() - began < seconds:
        call()
        synchronize()
        calls += 1
    after = meter.energy_j()
    if after is None or not calls or after <= before:
        return "the GPU's energy counter did not move"
    return (after - before) / (calls * batch)
