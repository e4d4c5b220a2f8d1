"""What every runtime promises: the outputs of eager PyTorch in evaluation, and verified ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from detrbench.errors import DetrbenchError
from detrbench.runtimes import RUNTIMES, Runtime, open_runtime
from detrbench.runtimes.images import natural_images

TOLERANCE = 1e-4


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
        return images, images.sum() * torch.tensor([1.0, float("inf")])


class Silent(nn.Module):
    def forward(self, images: Tensor) -> None:
        return None


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return open_runtime(request.param, "cpu")


def test_outputs_are_those_of_eager_evaluation(runtime: Runtime) -> None:
    torch.manual_seed(0)
    model, images = Small().eval(), natural_images(2, 8, 10)
    with torch.no_grad():
        expected = model(images)["features"]
    model.train()
    output = runtime.prepare(model, images)()
    assert isinstance(output, dict)
    for ours, theirs in zip(output["features"], expected, strict=True):
        torch.testing.assert_close(ours.clone(), theirs, rtol=TOLERANCE, atol=TOLERANCE)


def test_steps_can_be_timed_again_and_again(runtime: Runtime) -> None:
    step = runtime.prepare(Small(), natural_images(1, 8, 8))
    step.verify()
    for _ in range(3):
        reading = step.clock.time(step)
        assert len(reading) == len(step.clock.channels)
        assert reading[0] > 0
    assert step.clock.channels[0] == "latency_s"


def test_outputs_that_are_not_finite_are_refused(runtime: Runtime) -> None:
    step = runtime.prepare(Spoiled(), natural_images(1, 8, 8))
    with pytest.raises(DetrbenchError, match=r"output 1 \(2\) has 1 value"):
        step.verify()


def test_outputs_without_a_tensor_are_refused(runtime: Runtime) -> None:
    step = runtime.prepare(Silent(), natural_images(1, 8, 8))
    with pytest.raises(DetrbenchError, match="no tensor"):
        step.verify()


def test_settings_are_read_back(runtime: Runtime) -> None:
    settings = runtime.settings(natural_images(1, 8, 8))
    assert settings["device"] == "cpu"
    assert settings["dtype"] == "float32"
    assert settings["memory_format"] == "contiguous"
    assert settings["threads"] == torch.get_num_threads()
    assert settings["runtime"] in RUNTIMES
