"""OpenVINO on the processor: the exported graph, compiled for one stream of single calls."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from detrbench.core.errors import DetrbenchError, first_line
from detrbench.runtimes.exported import Exported, Run

PRECISIONS = {"float32": "f32"}
"""Of ours, as OpenVINO calls them."""

_ROUNDED = {"f16", "bf16", "i8", "u8", "i4", "u4"}
"""Of a kernel, if nobody asked for it."""


class OpenVino(Exported):
    """One stream, tuned for the latency of single calls, in the precision that was asked for: left
    to itself it takes bfloat16 where the processor has it. Inputs and outputs are its own tensors,
    which stay."""

    name = "openvino"
    distribution = "openvino"

    def load(self, file: str, images: Tensor) -> Run:
        import openvino

        precision = PRECISIONS[self.execution.dtype]
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": self.threads(),
            "INFERENCE_PRECISION_HINT": precision,
        }
        try:
            compiled = openvino.Core().compile_model(file, "CPU", options)
        except Exception as error:
            raise DetrbenchError(
                f"OpenVINO does not take its graph: {first_line(error)}",
                hint="Time it with --runtime eager.",
            ) from error
        _check_precision(compiled, precision)
        return _requested(openvino, compiled, images)


def _check_precision(compiled: Any, precision: str) -> None:
    """Raises DetrbenchError where a kernel computes with fewer bits than were asked for."""
    rounded: dict[str, int] = {}
    for op in compiled.get_runtime_model().get_ordered_ops():
        info = op.get_rt_info()
        if "runtimePrecision" in info and "layerType" in info:
            found = _text(info["runtimePrecision"])
            if found in _ROUNDED and _text(info["layerType"]) not in ("Input", "Output", "Const"):
                rounded[found] = rounded.get(found, 0) + 1
    rounded.pop("u8", None)  # booleans, which compute nothing
    if rounded:
        told = ", ".join(f"{count} in {name}" for name, count in rounded.items())
        raise DetrbenchError(f"asked for {precision}, OpenVINO would run kernels otherwise: {told}")


def _text(value: Any) -> str:
    return str(value.astype(str)) if hasattr(value, "astype") else str(value)


def _requested(openvino: Any, compiled: Any, images: Tensor) -> Run:
    request = compiled.create_infer_request()
    request.set_input_tensor(openvino.Tensor(images.numpy(), shared_memory=True))
    request.infer()
    outputs = [
        torch.from_numpy(request.get_output_tensor(index).data)
        for index in range(len(compiled.outputs))
    ]

    def run() -> list[Tensor]:
        request.infer()
        return outputs

    # The request knows addresses alone.
    run.images = images  # type: ignore[attr-defined]
    return run
