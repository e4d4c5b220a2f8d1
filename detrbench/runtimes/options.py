"""How a model is to be executed: number format, memory layout, and switches that change the speed.

Imports no torch, so that a wrong one is said at once.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from detrbench.core.errors import UsageError, nearest
from detrbench.machine.devices import parse_device

DTYPES = ("float32", "float16", "bfloat16")
MEMORY_FORMATS = ("contiguous", "channels_last")


@dataclass(frozen=True)
class Options:
    """What a runtime is asked for beside its name and its device.

    Attributes:
        dtype: of weights and images, one of `DTYPES`. Nothing is autocast.
        memory_format: of convolution weights and images, one of `MEMORY_FORMATS`.
        tf32: whether float32 products on CUDA may round their factors to 10 bits, in convolutions
            and in matrix products alike; `None` leaves torch's defaults, which are mixed.
        cudnn_benchmark: whether cuDNN tries its algorithms out; `None` leaves torch's default.
        cold_l2: whether the L2 cache of a CUDA device is flushed before every sample.
    """

    dtype: str = "float32"
    memory_format: str = "contiguous"
    tf32: bool | None = None
    cudnn_benchmark: bool | None = None
    cold_l2: bool = False


def check_options(options: Options, device: str = "cpu") -> Options:
    """`options`, if `device` ("cpu", "cuda" or "cuda:N") can have them; it is not asked whether it
    is there.

    Raises:
        UsageError: an unknown dtype, layout or device, or a switch that only CUDA has.
    """
    kind, _ = parse_device(device)
    check_choice("dtype", options.dtype, DTYPES)
    check_choice("memory format", options.memory_format, MEMORY_FORMATS)
    for asked, what in (
        (options.tf32 is not None, "TF32"),
        (options.cudnn_benchmark is not None, "cudnn.benchmark"),
        (options.cold_l2, "a cold L2 cache"),
    ):
        if asked and kind != "cuda":
            raise UsageError(
                f"{what} is a setting of CUDA devices, not of {device}",
                hint="Leave it out, or give --device cuda.",
            )
    return options


def check_choice(what: str, value: str, known: Collection[str]) -> str:
    """`value`, if it is one of `known`.

    Raises:
        UsageError: it is not.
    """
    if value not in known:
        raise UsageError(
            f"unknown {what} {value!r}",
            hint=f"There are {', '.join(known)}. {nearest(value, known)}",
        )
    return value
