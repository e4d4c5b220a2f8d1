"""What a step takes beside time: memory at its peak, and energy. Both apart from all samples."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from detrbench.machine.devices import parse_device
from detrbench.machine.nvml import open_gpu

ENERGY_SECONDS = 1.0
"""How long a step is repeated between two readings of the energy counter, which moves in steps of
up to a tenth of a second."""


@dataclass(frozen=True)
class Peak:
    """Memory of one step; None, and the reason in `missing`, where it is not known.

    Attributes:
        allocated_bytes: of a CUDA device: what stays between calls (weights, images, a graph's
            pool) and the most that a call allocates on top.
        reserved_bytes: what torch's allocator held of the device at that moment, for the whole
            process: all its models, and what it keeps in stock.
        rss_growth_bytes: on the processor: how far a call raised the process's resident memory
            over where it was before.
    """

    allocated_bytes: int | None = None
    reserved_bytes: int | None = None
    rss_growth_bytes: int | None = None
    missing: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Energy:
    """Joules of the whole GPU per image, its idle power included; or why they are not known."""

    joules_per_image: float | None = None
    reason: str | None = None


class Metered(Protocol):
    """A device's energy counter."""

    def energy_j(self) -> float | None: ...


def peak_memory(call: Callable[[], object], device: str = "cpu", resident_bytes: float = 0) -> Peak:
    """The peak of one `call`, which ought to have run before: first calls load and choose.

    Args:
        resident_bytes: as `Runtime.prepared` tells them; only CUDA's figure includes them.
    """
    if parse_device(device)[0] == "cuda":
        import torch

        return cuda_peak(call, int(resident_bytes), torch.cuda)
    return rss_peak(call)


def cuda_peak(call: Callable[[], object], resident_bytes: int, cuda: Any) -> Peak:
    """`peak_memory` on torch.cuda, or on what plays it."""
    cuda.synchronize()
    cuda.reset_peak_memory_stats()
    before = cuda.memory_allocated()
    result = call()
    cuda.synchronize()
    del result
    return Peak(
        allocated_bytes=resident_bytes + cuda.max_memory_allocated() - before,
        reserved_bytes=cuda.max_memory_reserved(),
        missing={"rss_growth_bytes": "the model is on the GPU"},
    )


def rss_peak(call: Callable[[], object], process: Path = Path("/proc/self")) -> Peak:
    """`peak_memory` on the processor, by the kernel's high-water mark of this process."""
    on_host = dict.fromkeys(("allocated_bytes", "reserved_bytes"), "there is no CUDA device")
    try:
        # proc(5): 5 resets the high-water mark to what is resident now.
        (process / "clear_refs").write_text("5")
        before = _status_bytes(process, "VmRSS")
    except OSError as error:
        why = f"this system has no high-water mark that can be reset: {error}"
        return Peak(missing={**on_host, "rss_growth_bytes": why})
    call()
    growth = _status_bytes(process, "VmHWM") - before
    return Peak(rss_growth_bytes=max(0, growth), missing=on_host)


def _status_bytes(process: Path, name: str) -> int:
    for line in (process / "status").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024  # "  123456 kB"
    raise OSError(f"{process / 'status'} has no {name}")


def energy_per_image(
    call: Callable[[], object],
    batch: int,
    device: str = "cpu",
    seconds: float = ENERGY_SECONDS,
) -> Energy:
    """Repeat `call` for `seconds` and read NVML's energy counter before and after."""
    kind, index = parse_device(device)
    if kind != "cuda":
        return Energy(reason="energy is read from NVML, which knows CUDA devices only")
    gpu, why_none = open_gpu(index or 0)
    if gpu is None:
        return Energy(reason=why_none)
    import torch

    return metered(call, batch, gpu, torch.cuda.synchronize, seconds)


def metered(
    call: Callable[[], object],
    batch: int,
    meter: Metered,
    synchronize: Callable[[], object],
    seconds: float = ENERGY_SECONDS,
    now: Callable[[], float] = time.monotonic,
) -> Energy:
    """`energy_per_image` with a counter, a device and a clock of your own."""
    synchronize()
    before, began, calls = meter.energy_j(), now(), 0
    if before is None:
        return Energy(reason="this GPU does not count its energy")
    while now() - began < seconds:
        call()
        synchronize()
        calls += 1
    after = meter.energy_j()
    if after is None or not calls or after <= before:
        return Energy(reason="the GPU's energy counter did not move")
    return Energy((after - before) / (calls * batch))
