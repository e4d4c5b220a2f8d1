"""Runtimes: ways to execute a model. Each owns its clock; nobody else asks "is this CUDA?".

Importing this package imports no torch, so that a wrong name or device is said at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from detrbench.core.errors import UsageError, nearest
from detrbench.core.units import show_either
from detrbench.machine.devices import parse_device
from detrbench.reports.case import check_values
from detrbench.reports.settings import SETTINGS
from detrbench.runtimes.clocks import Step
from detrbench.runtimes.devices import open_device

if TYPE_CHECKING:
    from torch import Tensor, nn

    from detrbench.reports.case import Case, Execution

# One line per runtime: name -> "module:Class", imported when asked for.
RUNTIMES: dict[str, str] = {
    "eager": "detrbench.runtimes.eager:Eager",
    "compile": "detrbench.runtimes.compile:Compile",
    "cudagraph": "detrbench.runtimes.cudagraph:CudaGraph",
    "onnxruntime": "detrbench.runtimes.onnx_runtime:OnnxRuntime",
    "openvino": "detrbench.runtimes.open_vino:OpenVino",
}

# Those that do not run on every kind of device, and the kinds they run on.
ONLY_ON: dict[str, tuple[str, ...]] = {
    "cudagraph": ("cuda",),
    "onnxruntime": ("cpu",),
    "openvino": ("cpu",),
}

# What those that execute an exported graph need beside torch, each an extra of this package by the
# runtime's name; and the values of settings that they take.
NEEDS: dict[str, tuple[str, ...]] = {
    "onnxruntime": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("onnx", "onnxscript", "openvino"),
}
_OF_TORCH: dict[str, tuple[str, ...]] = {"dtype": ("float32", "float16", "bfloat16")}
TAKES: dict[str, dict[str, tuple[str, ...]]] = {
    "eager": _OF_TORCH,
    "compile": _OF_TORCH,
    "cudagraph": _OF_TORCH,
    "onnxruntime": {"dtype": ("float32", "int8"), "memory_format": ("contiguous",)},
    "openvino": {"memory_format": ("contiguous",)},
}

# What they need for int8 beside that, of the extra that is called so.
NEEDS_FOR_INT8: dict[str, tuple[str, ...]] = {"openvino": ("nncf",)}


PARTS = ("preprocess", "backbone", "neck", "decoder", "postprocess")
"""The stages that a detector is timed in; see `stages`."""


class Runtime(Protocol):
    """Turns a model and an image batch into a step that can be timed.

    A class is constructed with a `Device` and an `Execution`. Whatever making the step costs
    (moving, compiling, capturing) belongs into `prepare`, so that no sample pays for it.
    """

    def activate(self) -> None:
        """Put the process's own switches (threads, TF32, autotuning) where this execution wants
        them. Called before every call of a step, outside of its sample: other cases run between."""

    def prepare(self, model: nn.Module, images: Tensor) -> Step:
        """The step that runs `model` on `images` (B, 3, H, W), in evaluation mode. Takes the model
        over: it is moved and cast in place.

        Raises:
            DetrbenchError: its outputs are not those of eager, given the same selected queries, or
                it cannot run so at all.
        """

    @property
    def prepared(self) -> Mapping[str, float]:
        """Of the last `prepare`: `build_s`, `compile_s` or `capture_s` where it did so;
        `resident_bytes` of weights, images and graph; `agreement`, the largest deviation relative
        to an output's largest value, and its `tolerance`, where there was something to compare."""

    def settings(self, images: Tensor) -> Mapping[str, Any]:
        """What a row's key must say: device, dtype, memory_format, threads, runtime, flags."""

    identity: str
    """Of the files that the model comes from, where somebody says so: what is kept of it between
    processes is kept by this."""

    def close(self) -> None:
        """Put process-wide switches back; for a process that goes on to other work."""


def check_execution(execution: Execution, *, where: str | None = None) -> Execution:
    """`execution`, if there is such a runtime and it can have all of that on such a device. Whether
    the device is there is not asked, and no torch is imported.

    Raises:
        UsageError: there is none, or it cannot; `where` says which case it is.
    """
    check_values(execution)
    device, runtime = execution.device, execution.runtime
    kind, _ = parse_device(device)
    if runtime not in RUNTIMES:
        hint = nearest(runtime, RUNTIMES)
        raise UsageError(f"unknown runtime {runtime!r}", where=where, hint=hint)
    kinds = ONLY_ON.get(runtime, (kind,))
    if kind not in kinds:
        able = " or ".join(other for other in RUNTIMES if other not in ONLY_ON)
        hint = f"Give --device {kinds[0]}, or take {able}."
        raise UsageError(f"the runtime {runtime} does not run on {device}", where=where, hint=hint)
    _check_installed(execution, where)
    _check_taken(execution, where)
    for key, one in SETTINGS.items():
        if one.of != "execution" or getattr(execution, key) == one.default:
            continue
        if one.devices is not None and kind not in one.devices:
            what = f"{key} is a setting of {' and '.join(one.devices)} devices, not of {device}"
            hint = f"Leave it out, or give --device {one.devices[0]}."
            raise UsageError(what, where=where, hint=hint)
        if one.runtimes is not None and runtime not in one.runtimes:
            hint = f"Leave {one.flag} out, or give --runtime {one.runtimes[0]}."
            raise UsageError(f"the runtime {runtime} knows no {key}", where=where, hint=hint)
    return execution


def check_runs(case: Case) -> None:
    """Raises UsageError where the case's runtime executes no model of its kind."""
    from detrbench.models.sources.onnx import is_graph

    runtime = case.execution.runtime
    if is_graph(case.model.reference) and runtime not in NEEDS:
        raise UsageError(
            f"the runtime {runtime} does not execute an ONNX graph",
            where=case.name,
            hint=f"Give --runtime {' or '.join(NEEDS)}, or the module that it was made from.",
        )
    if is_graph(case.model.reference) and case.execution.dtype == "int8":
        raise UsageError(
            "an ONNX graph is executed as it is, and int8 is made of a module's",
            where=case.name,
            hint="Leave --dtype out, or give the module that it was made from.",
        )


def _check_installed(execution: Execution, where: str | None) -> None:
    """Raises UsageError where the runtime, or what makes its graphs, is not there."""
    runtime = execution.runtime
    extras = {runtime: NEEDS.get(runtime, ())}
    if execution.dtype == "int8":
        extras["int8"] = NEEDS_FOR_INT8.get(runtime, ())
    missing = {
        extra: lacking
        for extra, names in extras.items()
        if (lacking := [name for name in names if find_spec(name) is None])
    }
    if missing:
        names = ", ".join(itertools.chain(*missing.values()))
        raise UsageError(
            f"the runtime {runtime} needs {names}, not installed here",
            where=where,
            hint=f'pip install "detrbench[{",".join(missing)}]"',
        )


def _check_taken(execution: Execution, where: str | None) -> None:
    """Raises UsageError where the runtime does not take the value of a setting."""
    kind, _ = parse_device(execution.device)
    for key, values in TAKES.get(execution.runtime, {}).items():
        value = getattr(execution, key)
        if value not in values:
            able = [
                name
                for name in RUNTIMES
                if value in TAKES[name].get(key, (value,)) and kind in ONLY_ON.get(name, (kind,))
            ]
            other = f", or give --runtime {show_either(able)}" if able else ""
            raise UsageError(
                f"the runtime {execution.runtime} takes {show_either(values)} here, and "
                f"{value} is asked for",
                where=where,
                hint=f"Leave {SETTINGS[key].flag} out{other}.",
            )


def open_runtime(execution: Execution) -> Runtime:
    """The runtime that carries out `execution`, with its device.

    Raises:
        UsageError: as `check_execution`, or a device that is not there.
    """
    module, class_name = RUNTIMES[check_execution(execution).runtime].split(":")
    make = getattr(import_module(module), class_name)
    runtime: Runtime = make(open_device(execution.device), execution)
    return runtime
