"""Capture and replay, on a torch.cuda in which they are played on the processor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from detrbench.core.errors import DetrbenchError
from detrbench.runtimes.cudagraph import WARM_UPS, CudaGraph
from detrbench.runtimes.devices import Cpu
from detrbench.runtimes.images import natural_images
from tests.runtimes.small import SmallDetector

POOL_BYTES = 1000


class FakeCuda:
    """Logs what a capture does; a pass of a model during it counts as one launch of the graph."""

    def __init__(self, replayed: Any = None) -> None:
        self.log: list[str] = []
        self._replayed = replayed
        self._peak = 0

    def Stream(self) -> FakeStream:  # torch's name
        return FakeStream(self, "side")

    def current_stream(self) -> FakeStream:
        return FakeStream(self, "main")

    @contextmanager
    def stream(self, stream: FakeStream) -> Iterator[None]:
        self.log.append(f"on {stream.name}")
        yield
        self.log.append("off")

    def CUDAGraph(self) -> FakeGraph:  # torch's name
        return FakeGraph(self, self._replayed)

    @contextmanager
    def graph(self, graph: FakeGraph) -> Iterator[None]:
        self.log.append("capture")
        yield
        self.log.append("captured")
        self._peak += POOL_BYTES

    def synchronize(self) -> None:
        self.log.append("synchronize")

    def memory_allocated(self) -> int:
        return 500

    def reset_peak_memory_stats(self) -> None:
        self._peak = 500

    def max_memory_allocated(self) -> int:
        return self._peak


class FakeStream:
    def __init__(self, cuda: FakeCuda, name: str) -> None:
        self._cuda, self.name = cuda, name

    def wait_stream(self, other: FakeStream) -> None:
        self._cuda.log.append(f"{self.name} waits for {other.name}")


class FakeGraph:
    def __init__(self, cuda: FakeCuda, replayed: Any) -> None:
        self._cuda, self._replayed = cuda, replayed

    def replay(self) -> None:
        self._cuda.log.append("replay")
        if self._replayed is not None:
            self._replayed()


class Logged(nn.Module):
    def __init__(self, cuda: FakeCuda) -> None:
        super().__init__()
        self._log = cuda.log
        self.output = torch.zeros(1)

    def forward(self, images: Tensor) -> Tensor:
        self._log.append("pass")
        self.output = images * 2
        return self.output


def test_a_capture_is_warmed_up_on_a_side_stream_and_replayed_once_before_it_counts() -> None:
    cuda = FakeCuda()
    runtime = CudaGraph(Cpu(), cuda=cuda)
    step = runtime.prepare(Logged(cuda), natural_images(1, 8, 8))
    assert cuda.log == [
        "side waits for main",
        "on side",
        *["pass"] * WARM_UPS,
        "off",
        "main waits for side",
        "synchronize",
        "capture",
        "pass",
        "captured",
        "replay",
        "synchronize",
        "pass",  # eager's, to compare with
    ]
    cuda.log.clear()
    step()
    assert cuda.log == ["replay"], "a sample is one replay and nothing else"


def test_what_a_capture_costs_is_told_apart() -> None:
    cuda = FakeCuda()
    runtime = CudaGraph(Cpu(), cuda=cuda)
    images = natural_images(1, 8, 8)
    runtime.prepare(Logged(cuda), images)
    assert runtime.prepared["capture_s"] > 0
    assert runtime.prepared["agreement"] == 0
    assert runtime.prepared["resident_bytes"] == images.numel() * 4 + POOL_BYTES
    assert runtime.settings(images)["runtime"] == "cudagraph"


def test_a_replay_that_computes_something_else_is_refused() -> None:
    cuda = FakeCuda()
    model = Logged(cuda)
    cuda._replayed = lambda: model.output.mul_(1.5)
    with pytest.raises(DetrbenchError, match=r"^replayed: outputs deviate by 0\.5"):
        CudaGraph(Cpu(), cuda=cuda).prepare(model, natural_images(1, 8, 8))


def test_queries_that_change_places_are_no_deviation() -> None:
    images = natural_images(1, 8, 8)
    runtime = CudaGraph(Cpu(), cuda=FakeCuda())
    runtime.prepare(SmallDetector(swap=True), images)
    assert runtime.prepared["agreement"] == 0
    with pytest.raises(DetrbenchError, match="deviate"):
        runtime.prepare(SmallDetector(flaw=0.01), images)


class WaitsForDevice(nn.Module):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def forward(self, images: Tensor) -> Tensor:
        if WaitsForDevice.calls >= 1 + WARM_UPS:
            raise self._error
        WaitsForDevice.calls += 1
        return images

    calls = 0


def test_a_model_that_cannot_be_captured_says_why() -> None:
    WaitsForDevice.calls = 1
    error = RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")
    with pytest.raises(DetrbenchError, match=r"captured: .*is capturing\n.*another --runtime"):
        CudaGraph(Cpu(), cuda=FakeCuda()).prepare(WaitsForDevice(error), natural_images(1, 8, 8))
