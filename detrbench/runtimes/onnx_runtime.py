"""ONNX Runtime on the processor: the exported graph, fused and planned when it is loaded."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detrbench.core.errors import DetrbenchError, first_line
from detrbench.runtimes.exported import INT8, Exported, Run
from detrbench.runtimes.graph import INPUT
from detrbench.runtimes.int8 import Batches

PROVIDER = "CPUExecutionProvider"

PRODUCTS = {
    "int8": (
        "QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger",
        "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QAttention",
    ),
    "f32": (
        "Conv", "FusedConv", "NhwcFusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul",
        "FusedMatMul", "Attention", "MultiHeadAttention",
    ),
}  # fmt: skip
"""Operators of its planned graphs that do most of the work, by the precision they compute in."""


class OnnxRuntime(Exported):
    """Sequential execution with all of its graph optimisations; inputs and outputs are bound to
    tensors that stay, so that a call allocates and copies none of them. Its threads spin for a
    while after a call, as they do by default."""

    name = "onnxruntime"
    distribution = "onnxruntime"
    quantised_file, quantisers = "model.onnx", ("onnxruntime", "onnx")

    def load(self, file: str, images: Tensor) -> Run:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads(), 1
        options.log_severity_level = 4
        with tempfile.TemporaryDirectory(prefix="detrbench-onnxruntime-") as folder:
            planned = Path(folder) / "planned.onnx"
            if self.execution.dtype == INT8 or _is_quantised(file):
                options.optimized_model_filepath = str(planned)
            try:
                session = onnxruntime.InferenceSession(file, options, providers=[PROVIDER])
            except Exception as error:
                raise DetrbenchError(
                    f"ONNX Runtime does not take its graph: {first_line(error)}",
                    hint="Time it with --runtime eager.",
                ) from error
            if planned.exists():
                self.note_products(_products(_operators(planned)))
        if session.get_providers() != [PROVIDER]:
            raise DetrbenchError(f"it would run on {', '.join(session.get_providers())}")
        return _bound(session, images)

    def quantise(self, graph: str, batches: Batches, file: Path) -> None:
        import onnx
        import onnxruntime
        from onnxruntime.quantization import QuantType, quantize_static

        # Batch norms have to be folded first: behind quantised convolutions they would stay.
        folded = file.with_name("folded.onnx")
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(folded)
        options.log_severity_level = 4
        # With its weights inside, which else would be looked for beside the new file.
        whole = onnx.load(graph).SerializeToString()
        onnxruntime.InferenceSession(whole, options, providers=[PROVIDER])
        quantize_static(
            str(folded), str(file), _reader(batches), per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
        folded.unlink()


def _reader(batches: Batches) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Any] | None:
            batch = next(batches, None)
            return None if batch is None else {INPUT: batch}

    return Reader()


def _operators(file: str | Path) -> Counter[str]:
    import onnx

    return Counter(node.op_type for node in onnx.load(file, load_external_data=False).graph.node)


def _is_quantised(file: str) -> bool:
    """Whether a graph, which may be anybody's, computes in integers somewhere."""
    return any("Linear" in kind or "Integer" in kind for kind in _operators(file))


def _products(operators: Counter[str]) -> dict[str, float]:
    """How many convolutions and matrix products run in int8, and how many do not."""
    found = {
        f"products_{precision}": sum(operators[kind] for kind in kinds)
        for precision, kinds in PRODUCTS.items()
    }
    return {precision: count for precision, count in found.items() if count}


def _bound(session: Any, images: Tensor) -> Run:
    name = session.get_inputs()[0].name
    first = session.run(None, {name: images.numpy()})
    outputs = [torch.from_numpy(each.copy()) for each in first]
    binding = session.io_binding()
    _bind(binding.bind_input, name, images)
    for told, tensor in zip(session.get_outputs(), outputs, strict=True):
        _bind(binding.bind_output, told.name, tensor)

    def run() -> list[Tensor]:
        session.run_with_iobinding(binding)
        return outputs

    # The binding knows addresses alone.
    run.images = images  # type: ignore[attr-defined]
    return run


def _bind(bind: Any, name: str, tensor: Tensor) -> None:
    kind = tensor.numpy().dtype.type
    bind(name, "cpu", 0, kind, tuple(tensor.shape), tensor.data_ptr())
