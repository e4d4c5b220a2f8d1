"""ONNX Runtime on the processor: the exported graph, fused and planned when it is loaded."""

from __future__ import annotations

import bisect
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detrbench.core.errors import DetrbenchError, first_line
from detrbench.runtimes.exported import INT8, Exported, Kernel, Kernels, Run
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
        with tempfile.TemporaryDirectory(prefix="detrbench-onnxruntime-") as folder:
            planned = Path(folder) / "planned.onnx"
            options = self._options()
            if self.execution.dtype == INT8 or _is_quantised(file):
                options.optimized_model_filepath = str(planned)
            session = _session(file, options)
            if planned.exists():
                self.note_products(_products(_operators(planned)))
        return _bound(session, images)

    def profile(self, file: str, images: Tensor) -> tuple[Run, Callable[[], list[Kernels]]]:
        import onnx

        folder = tempfile.TemporaryDirectory(prefix="detrbench-onnxruntime-")
        planned = Path(folder.name) / "planned.onnx"
        options = self._options()
        options.optimized_model_filepath = str(planned)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder.name) / "profile")
        session = _session(file, options)
        nodes = onnx.load(planned, load_external_data=False).graph.node
        outputs = {node.name: tuple(node.output) for node in nodes}
        run = _bound(session, images)

        def read() -> list[Kernels]:
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
            folder.cleanup()
            _, *calls = _calls(events, outputs)  # the first was to learn the outputs' shapes
            return calls

        return run, read

    def _options(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads(), 1
        options.log_severity_level = 4
        return options

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


def _session(file: str, options: Any) -> Any:
    """Raises DetrbenchError where it does not take the graph, or would run it elsewhere."""
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(file, options, providers=[PROVIDER])
    except Exception as error:
        raise DetrbenchError(
            f"ONNX Runtime does not take its graph: {first_line(error)}",
            hint="Time it with --runtime eager.",
        ) from error
    if session.get_providers() != [PROVIDER]:
        raise DetrbenchError(f"it would run on {', '.join(session.get_providers())}")
    return session


def _calls(
    events: Sequence[Mapping[str, Any]], outputs: Mapping[str, tuple[str, ...]]
) -> list[Kernels]:
    """A profile's kernels call by call. A fused kernel is called as one of its nodes with more
    behind a stroke, or gives out what the last of them did; in blocks of channels there is an
    ending more."""
    calls = [each for each in events if each.get("name") == "model_run"]
    ends = [call["ts"] + call["dur"] for call in calls]
    found: list[Kernels] = [[] for _ in calls]
    for event in events:
        name = event.get("name", "").removesuffix(_KERNEL)
        if event.get("cat") == "Node" and name != event["name"]:
            index = bisect.bisect_left(ends, event["ts"])
            names = (name, *outputs.get(name, ()), name.split("/")[0], name.removesuffix(_BLOCKED))
            if index < len(found):
                product = any(event["args"]["op_name"] in kinds for kinds in PRODUCTS.values())
                found[index].append(Kernel(names, product, event["dur"] / 1e6))
    return found


_KERNEL, _BLOCKED = "_kernel_time", "_nchwc"


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
