"""What every runtime promises: the outputs of eager PyTorch in evaluation, and verified ones."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.util import find_spec

import pytest
import torch
from torch import Tensor, nn

from detrbench.core.errors import DetrbenchError
from detrbench.models.nn.detections import Detections
from detrbench.reports.case import Execution
from detrbench.runtimes import NEEDS, ONLY_ON, RUNTIMES, Runtime, open_runtime
from detrbench.runtimes.clocks import sampling_overhead
from detrbench.runtimes.images import natural_images
from tests.runtimes.small import SmallDetector

TOLERANCE = 1e-4
TOYS = {"sleep": "tests.runtimes.toy:Sleep"}

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
COMPILER = pytest.mark.skipif(
    shutil.which("g++") is None, reason="torch.compile needs g++ for the processor"
)
INSTALLED = {
    name: pytest.mark.skipif(
        any(find_spec(each) is None for each in needs),
        reason=f'pip install "detrbench[{name}]"',
    )
    for name, needs in NEEDS.items()
}


def machines() -> Iterator[object]:
    """Every runtime on every kind of device that it has."""
    for name in RUNTIMES:
        if "cpu" in ONLY_ON.get(name, ("cpu",)):
            marks = [COMPILER] if name == "compile" else []
            marks += [INSTALLED[name]] if name in INSTALLED else []
            yield pytest.param((name, "cpu"), id=f"{name}-cpu", marks=marks)
        if "cuda" in ONLY_ON.get(name, ("cuda",)):
            yield pytest.param((name, "cuda"), id=f"{name}-cuda", marks=[CUDA, pytest.mark.cuda])
    for name in TOYS:
        yield pytest.param((name, "cpu"), id=f"{name}-cpu")


class Small(nn.Module):
    """Behaves differently in training, in both ways a module can: batch statistics and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))

    def forward(self, images: Tensor) -> dict[str, list[Tensor]]:
        features = self.layers(images)
        return {"features": [features, features.mean((2, 3))]}


class Spoiled(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images, torch.stack((images.sum(), images.sum() * float("inf")))


class Silent(nn.Module):
    def forward(self, images: Tensor) -> None:
        return None


@pytest.fixture(params=machines())
def runtime(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    """One runtime, which a line in the table is all that is needed for."""
    name, device = request.param
    monkeypatch.setenv(
        "XDG_CACHE_HOME", str(request.getfixturevalue("tmp_path_factory").getbasetemp())
    )
    for toy, place in TOYS.items():
        monkeypatch.setitem(RUNTIMES, toy, place)
    opened = open_runtime(Execution(runtime=name, device=device, threads=1))
    opened.activate()
    yield opened
    opened.close()


def test_outputs_are_those_of_eager_evaluation(runtime: Runtime) -> None:
    torch.manual_seed(0)
    model, images = Small().eval(), natural_images(2, 8, 10)
    with torch.no_grad():
        expected = model(images)["features"]
    model.train()
    step = runtime.prepare(model, images)
    output = step()
    assert isinstance(output, dict)
    tolerance = max(TOLERANCE, runtime.prepared.get("tolerance", 0.0))
    for ours, theirs in zip(output["features"], expected, strict=True):
        torch.testing.assert_close(ours.cpu().clone(), theirs, rtol=tolerance, atol=tolerance)


def test_a_detector_gives_detections(runtime: Runtime) -> None:
    """Also where what is compiled or captured returns the selected queries beside them."""
    step = runtime.prepare(SmallDetector(), natural_images(1, 8, 8))
    assert isinstance(step(), Detections)
    prepared = runtime.prepared
    assert prepared.get("agreement", 0.0) <= prepared.get("tolerance", 0.0)
    assert prepared["build_s"] > 0
    assert prepared["resident_bytes"] >= 3 * 8 * 8 * 4


def test_steps_can_be_timed_again_and_again(runtime: Runtime) -> None:
    """By a clock that takes any call: for an empty one it reads what measuring itself costs."""
    step = runtime.prepare(Small(), natural_images(1, 64, 64))
    step.verify(step())
    assert step.clock.name
    assert step.clock.channels[0] == "latency_s"
    readings = []
    for _ in range(5):
        runtime.activate()
        reading = step.clock.time(step)
        assert len(reading) == len(step.clock.channels)
        readings.append(reading[0])
    assert min(readings) > 0
    assert 0 <= sampling_overhead(step.clock, samples=20) < 0.1
    behind = []
    for _ in range(5):
        for _ in range(20):
            step()  # may return before a device has finished
        behind.append(step.clock.time(step)[0])
    assert min(behind) < 10 * max(readings), "what nobody waited for is billed to the next sample"


def test_two_models_prepared_one_after_the_other_stay_apart(runtime: Runtime) -> None:
    steps = []
    for filling in (1.0, 2.0):
        model = nn.Conv2d(3, 1, 1, bias=False)
        nn.init.constant_(model.weight, filling)
        steps.append(runtime.prepare(model, natural_images(1, 8, 8)))
    first, second = (step() for step in steps)
    assert isinstance(first, Tensor)
    assert isinstance(second, Tensor)
    torch.testing.assert_close(first * 2, second, rtol=1e-2, atol=1e-2)


def _prepare_and_verify(runtime: Runtime, model: nn.Module) -> None:
    step = runtime.prepare(model, natural_images(1, 8, 8))
    step.verify(step())


def test_outputs_that_are_not_finite_are_refused(runtime: Runtime) -> None:
    with pytest.raises(DetrbenchError, match=r"output 1 \(2\) has 1 value"):
        _prepare_and_verify(runtime, Spoiled())


def test_outputs_without_a_tensor_are_refused(runtime: Runtime) -> None:
    with pytest.raises(DetrbenchError, match="no tensor"):
        _prepare_and_verify(runtime, Silent())


def test_settings_are_read_back(runtime: Runtime) -> None:
    settings = runtime.settings(natural_images(1, 8, 8))
    assert settings["device"] in ("cpu", "cuda:0")
    assert settings["dtype"] == "float32"
    assert settings["memory_format"] == "contiguous"
    assert settings["threads"] == 1
    assert settings["runtime"] in RUNTIMES
