"""OpenVINO on the processor: the exported graph, compiled for one stream of single calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detrbench.core.errors import DetrbenchError, first_line
from detrbench.runtimes.exported import INT8, PRECISIONS, Exported, Kernel, Kernels, Run
from detrbench.runtimes.int8 import Batches

INTEGERS = frozenset(("i8", "u8"))

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
    quantised_file, quantisers = "model.xml", ("openvino", "nncf")

    def load(self, file: str, images: Tensor) -> Run:
        compiled = self._compiled(file)
        self.note_products(_products(compiled))
        return _requested(compiled, images)[0]

    def profile(self, file: str, images: Tensor) -> tuple[Run, Callable[[], list[Kernels]]]:
        compiled = self._compiled(file, PERF_COUNT=True)
        names = {
            op.get_friendly_name(): _original_names(op)
            for op in compiled.get_runtime_model().get_ordered_ops()
        }
        infer, request = _requested(compiled, images)
        calls: list[Kernels] = []

        def run() -> list[Tensor]:
            outputs = infer()
            calls.append(
                [
                    Kernel(
                        names.get(kernel.node_name, ()),
                        kernel.node_type in PRODUCTS,
                        kernel.real_time.total_seconds(),
                    )
                    for kernel in request.get_profiling_info()
                ]
            )
            return outputs

        return run, lambda: calls

    def _compiled(self, file: str, **more: Any) -> Any:
        import openvino

        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": self.threads(),
            "INFERENCE_PRECISION_HINT": PRECISIONS[self.execution.dtype],
            **more,
        }
        try:
            return openvino.Core().compile_model(file, "CPU", options)
        except Exception as error:
            raise DetrbenchError(
                f"OpenVINO does not take its graph: {first_line(error)}",
                hint="Time it with --runtime eager.",
            ) from error

    def quantise(self, graph: str, batches: Batches, file: Path) -> None:
        import nncf
        import openvino

        model, data = openvino.Core().read_model(graph), list(batches)
        made = nncf.quantize(model, nncf.Dataset(data), subset_size=len(data))
        openvino.save_model(made, str(file), compress_to_fp16=False)


def _products(compiled: Any) -> dict[str, float]:
    """How many kernels are products, by the precision they run in."""
    found: Counter[str] = Counter()
    for op in compiled.get_runtime_model().get_ordered_ops():
        info = op.get_rt_info()
        if "runtimePrecision" in info and _text(info["layerType"]) in PRODUCTS:
            told = _text(info["runtimePrecision"])
            found[f"products_{INT8 if told in INTEGERS else told}"] += 1
    return dict(found)


def _text(value: Any) -> str:
    return str(value.astype(str)) if hasattr(value, "astype") else str(value)


def _original_names(op: Any) -> tuple[str, ...]:
    """Of the layers that a kernel was made of, and of those that they were split from."""
    layers = _text(op.get_rt_info()["originalLayersNames"]).split(",")
    return tuple(name for layer in layers if layer for name in (layer, layer.split("/")[0]))


def _requested(compiled: Any, images: Tensor) -> tuple[Run, Any]:
    """What infers, and the request that it does so with."""
    import openvino

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
    return run, request
