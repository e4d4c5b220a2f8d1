"""ONNX Runtime on the processor: the exported graph, fused and planned when it is loaded."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from detrbench.core.errors import DetrbenchError, first_line
from detrbench.runtimes.exported import Exported, Run

PROVIDER = "CPUExecutionProvider"


class OnnxRuntime(Exported):
    """Sequential execution with all of its graph optimisations; inputs and outputs are bound to
    tensors that stay, so that a call allocates and copies none of them. Its threads spin for a
    while after a call, as they do by default."""

    name = "onnxruntime"
    distribution = "onnxruntime"

    def load(self, file: str, images: Tensor) -> Run:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads(), 1
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(file, options, providers=[PROVIDER])
        except Exception as error:
            raise DetrbenchError(
                f"ONNX Runtime does not take its graph: {first_line(error)}",
                hint="Time it with --runtime eager.",
            ) from error
        if session.get_providers() != [PROVIDER]:
            raise DetrbenchError(f"it would run on {', '.join(session.get_providers())}")
        return _bound(session, images)


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
