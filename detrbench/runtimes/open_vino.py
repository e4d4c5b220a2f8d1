"""OpenVINO on the processor: the exported graph, compiled for one stream of single calls."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor

from detrbench.core.errors import DetrbenchError, first_line
from detrbench.runtimes.exported import Exported, Run

PRECISIONS = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}
"""Of ours, as OpenVINO calls them."""

PRODUCTS = frozenset(
    ("Convolution", "GroupConvolution", "Deconvolution", "FullyConnected", "MatMul")
)
"""Kernels that do most of the work, whose precision is what a row says."""


class OpenVino(Exported):
    """One stream, tuned for the latency of single calls, in the precision that was asked for: left
    to itself it takes bfloat16 where the processor has it. The graph, its inputs and its outputs
    are float32 in any case; inputs and outputs are tensors that stay."""

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
        self.prepared |= _products(compiled, precision)
        return _requested(openvino, compiled, images)


def _products(compiled: Any, precision: str) -> dict[str, float]:
    """How many kernels are products, all in the precision asked for. Raises DetrbenchError where
    one of them is not."""
    found: Counter[str] = Counter()
    for op in compiled.get_runtime_model().get_ordered_ops():
        info = op.get_rt_info()
        if "runtimePrecision" in info and _text(info["layerType"]) in PRODUCTS:
            found[_text(info["runtimePrecision"])] += 1
    if others := found.keys() - {precision}:
        told = ", ".join(f"{found[other]} in {other}" for other in sorted(others))
        raise DetrbenchError(
            f"OpenVINO was asked for {precision}, and would run {told} of its convolutions and "
            "matrix products",
            hint="Leave --dtype out, or give one that this processor computes in.",
        )
    return {f"products_{precision}": found[precision]}


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
