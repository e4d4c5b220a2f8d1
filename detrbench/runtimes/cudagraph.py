"""CUDA graphs: all launches of a forward pass recorded once and replayed as one.

Small detectors are bound by launches, over a thousand a pass; a replay costs the host one.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor, nn

from detrbench.core.errors import DetrbenchError
from detrbench.reports.case import Execution
from detrbench.runtimes.agreement import given, observed
from detrbench.runtimes.devices import Device
from detrbench.runtimes.eager import Eager, ModelStep

WARM_UPS = 3  # as torch's notes on CUDA graphs do: libraries choose and allocate before the capture


class CudaGraph(Eager):
    """Eager's kernels, replayed; compared with eager.

    Args:
        cuda: torch.cuda, or what plays it.
    """

    name = "cudagraph"

    def __init__(
        self, device: Device, execution: Execution | None = None, cuda: Any = torch.cuda
    ) -> None:
        super().__init__(device, execution)
        self._cuda = cuda

    def prepare(self, model: nn.Module, images: Tensor) -> ModelStep:
        """The step that replays the graph of `model`; its outputs are the same tensors every time.
        Raises as `Runtime.prepare`, and if the model cannot be captured."""
        super().prepare(model, images)
        placed = self.place(images)
        began = time.perf_counter()
        with torch.inference_mode():
            graph, (outputs, selected), pool_bytes = self._capture(model, placed)
            graph.replay()
            self._cuda.synchronize()
            capture_s = time.perf_counter() - began
            self.compare(outputs, given(model, placed, selected), "replayed")
        self.prepared["capture_s"] = capture_s
        self.prepared["resident_bytes"] += pool_bytes

        def replay() -> object:
            graph.replay()
            return outputs

        return ModelStep(replay, self.device.clock)

    def _capture(
        self, model: nn.Module, images: Tensor
    ) -> tuple[Any, tuple[object, Tensor | None], int]:
        """The graph, the tensors that it writes, and the bytes of the pool that it keeps."""
        cuda, call = self._cuda, observed(model)
        try:
            stream = cuda.Stream()
            stream.wait_stream(cuda.current_stream())
            with cuda.stream(stream):
                for _ in range(WARM_UPS):
                    call(images)
            cuda.current_stream().wait_stream(stream)
            cuda.synchronize()
            before = cuda.memory_allocated()
            cuda.reset_peak_memory_stats()
            graph = cuda.CUDAGraph()
            with cuda.graph(graph):
                outputs = call(images)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise DetrbenchError(
                f"the model cannot be captured: {str(error).strip().splitlines()[0]}",
                hint="Something in it waits for the device or depends on values: use another "
                "--runtime.",
            ) from error
        return graph, outputs, max(0, cuda.max_memory_allocated() - before)
