"""Devices: what each is called, whether it is there, how it is timed, which flags it obeys."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakSet

from detrbench.core.errors import UsageError
from detrbench.core.units import show_many, show_size
from detrbench.machine.devices import parse_device
from detrbench.machine.environment import memory_bytes
from detrbench.machine.system import text as read_text
from detrbench.runtimes.clocks import Clock, CudaClock, WallClock

if TYPE_CHECKING:
    from detrbench.reports.case import Execution

# As triton's do_bench: larger than any L2 cache there is, so that nothing of before is left in it.
FLUSH_BYTES = 256 * 2**20

_PIXEL_BYTES = 3 * 4  # of an image in float32, before anything is made of it

_Switches = tuple[bool, ...]  # TF32 in convolutions, TF32 in products, cuDNN's autotuner


class Device:
    """A device that is there, without any switches. `name` is as torch spells it."""

    name: str
    clock: Clock

    def flags(self) -> dict[str, Any]:
        """Process-wide switches that change how fast, or how exactly, this device computes."""
        return {}

    def configure(self, execution: Execution) -> None:
        """Take and set the switches that `execution` asks for, checked by `check_execution` before.

        Raises:
            UsageError: this very device cannot compute so.
        """

    def activate(self) -> None:
        """Set them again: another device object of this process may have been active since."""

    def restore(self) -> None:
        """The switches as they were before the first `configure`: whoever is still to be run
        activates its own."""


class Cpu(Device):
    """The host's processor."""

    name = "cpu"

    def __init__(self, index: int | None = None) -> None:
        if index not in (None, 0):
            raise UsageError(
                f"there is no device cpu:{index}", hint="The processor is one device: cpu."
            )
        self.clock = WallClock()


class Cuda(Device):
    """One NVIDIA GPU, the process's current device from here on."""

    # As torch had the process's switches before anything here set them, which is what "not asked"
    # means, and those that have set them and not put them back.
    _before: ClassVar[_Switches | None] = None
    _configured: ClassVar[WeakSet[Cuda]] = WeakSet()

    def __init__(self, index: int | None = None) -> None:
        wanted = f"cuda:{index or 0}"
        check_present(wanted)
        import torch

        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not found:
            raise _no_gpu(wanted, torch.__version__, torch.version.cuda)
        if (index or 0) >= found:
            there = ", ".join(f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(found))
            raise UsageError(f"there is no device {wanted}", hint=f"There is: {there}.")
        torch.cuda.set_device(index or 0)
        self.name = wanted
        self.clock = _cuda_clock()
        self._cold = False
        self._wanted: _Switches | None = None

    def flags(self) -> dict[str, Any]:
        """TF32 (float32 products with 10-bit mantissas) and the convolution autotuner."""
        import torch

        return {
            "tf32_conv": _tf32(getattr(torch.backends.cudnn, "conv", None), torch.backends.cudnn),
            "tf32_matmul": _tf32(torch.backends.cuda.matmul, torch.backends.cuda.matmul),
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
            "cold_l2": self._cold,
        }

    def configure(self, execution: Execution) -> None:
        import torch

        if execution.dtype == "bfloat16" and not torch.cuda.is_bf16_supported(
            including_emulation=False
        ):
            name = torch.cuda.get_device_name(self.name)
            raise UsageError(
                f"{name} has no bfloat16 units, torch would emulate them",
                hint="Give --dtype float16.",
            )
        if Cuda._before is None:
            Cuda._before = self._switches()
        Cuda._configured.add(self)
        asked = (execution.tf32, execution.tf32, execution.cudnn_benchmark)
        self._wanted = tuple(
            usual if one is None else one for one, usual in zip(asked, Cuda._before, strict=True)
        )
        self.activate()
        self._cold = execution.cold_l2
        if self._cold:
            flush = torch.empty(FLUSH_BYTES, dtype=torch.int8, device=self.name).zero_
            self.clock = _cuda_clock(before=flush)

    def activate(self) -> None:
        if self._wanted is not None:
            self._switch(self._wanted)

    def restore(self) -> None:
        if Cuda._before is not None and self in Cuda._configured:
            self._switch(Cuda._before)
            self._wanted = None
            Cuda._configured.discard(self)
            if not Cuda._configured:
                Cuda._before = None

    def _switches(self) -> _Switches:
        flags = self.flags()
        return flags["tf32_conv"], flags["tf32_matmul"], flags["cudnn_benchmark"]

    def _switch(self, wanted: _Switches) -> None:
        """By the names that every torch has: from the newer ones on, reading these would raise."""
        import torch

        if self._switches() != wanted:
            conv, matmul, benchmark = wanted
            torch.backends.cudnn.allow_tf32 = conv
            torch.backends.cuda.matmul.allow_tf32 = matmul
            torch.backends.cudnn.benchmark = benchmark


def _cuda_clock(before: Callable[[], object] | None = None) -> CudaClock:
    import torch

    event = partial(torch.cuda.Event, enable_timing=True)
    return CudaClock(event, torch.cuda.synchronize, before=before)


def _no_gpu(wanted: str, version: str, cuda: str | None) -> UsageError:
    why = f"torch {version}, built with CUDA {cuda}, finds no usable GPU or driver"
    if cuda is None:
        why = f"torch {version} was built without CUDA"
    return UsageError(f"{wanted} was asked for, but {why}", hint="Use --device cpu.")


def check_machine(execution: Execution) -> None:
    """Raises UsageError for what this machine certainly cannot execute: its device is not there, or
    it has fewer processors than threads, or less memory than the images need; no torch is needed.
    """
    check_present(execution.device)
    check_threads(execution.threads)
    needed = execution.batch * prod(execution.imgsz) * _PIXEL_BYTES
    there = memory_bytes()
    if there is not None and needed > there:
        raise UsageError(
            f"the images alone need {show_size(needed)}, and this machine has {show_size(there)}",
            where="--batch",
            hint="Give fewer or smaller images.",
        )


def check_threads(count: int | None) -> None:
    """Raises UsageError for more threads than there are processors."""
    there = os.cpu_count() or 1
    if count is not None and count > there:
        raise UsageError(
            f"{count} threads are more than the {show_many(there, 'processor')} of this machine",
            where="--threads",
            hint=f"Give 1 to {there}.",
        )


def check_present(text: str) -> None:
    """Raises UsageError for a device that is certainly not there; of what only torch can tell,
    nothing is said, and it is not imported."""
    kind, index = parse_device(text)
    if kind == "cpu":
        Cpu(index)
    elif "torch" not in sys.modules:
        build = _torch_build()
        of_others = build.get("hip") or build.get("rocm")  # these GPUs are called cuda as well
        without = "cuda" in build and build["cuda"] is None and not of_others
        if without or (build.get("cuda") and not _has_driver()):
            raise _no_gpu(f"cuda:{index or 0}", str(build.get("__version__")), build["cuda"])


def _torch_build() -> dict[str, str | None]:
    """What the installed torch was built with, as its own file has it; empty where that is not
    to be read."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return {}
    lines = read_text(Path(spec.origin).with_name("version.py"))
    found = re.findall(r"^(\w+)(?:: [^=]+)? = (None|'[^']*')$", lines, re.MULTILINE)
    return {name: None if value == "None" else value.strip("'") for name, value in found}


def _has_driver() -> bool:
    """Whether the driver's library is there, without which torch finds no GPU; elsewhere than on
    Linux it is for torch to say."""
    if sys.platform != "linux":
        return True
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def open_device(text: str) -> Device:
    """The device called `text`.

    Raises:
        UsageError: an unknown name, or a device that is not there, with what torch was built with.
    """
    kind, index = parse_device(text)
    return Cuda(index) if kind == "cuda" else Cpu(index)


def _tf32(modern: Any, legacy: Any) -> bool:
    """Whether float32 products may use TF32.

    torch >= 2.9 has a second switch, and reading the old one beside it raises once it was used.
    """
    precision = getattr(modern, "fp32_precision", "none")
    return bool(legacy.allow_tf32) if precision == "none" else precision == "tf32"
