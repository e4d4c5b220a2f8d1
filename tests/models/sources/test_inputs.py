"""A module as a function of images alone, whatever else it takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import detrbench
from detrbench.core.errors import UsageError
from detrbench.models.sources.built import described
from detrbench.reports.case import Execution
from detrbench.runtimes import open_runtime


class Named(nn.Module):
    """Takes images by name, behind something else."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 1, bias=False)

    def forward(self, input_ids: Any = None, pixel_values: Any = None) -> dict[str, Tensor]:
        assert input_ids is None or isinstance(input_ids, Tensor)
        return {"features": self.layer(pixel_values)}


class First(Named):
    def forward(self, pixel_values: Tensor, mask: Any = None) -> dict[str, Tensor]:
        return {"features": self.layer(pixel_values * (1 if mask is None else mask))}


class OfDict(Named):
    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:  # type: ignore[override]
        return {"features": self.layer(batch["image"]), "sizes": batch["meta"][0]}


class Several(Named):
    def forward(self, ids: Tensor, images: Tensor, how: str, *, twice: bool) -> object:  # type: ignore[override]
        assert how == "plain"
        return self.layer(images), ids, twice


IMAGES = torch.ones(2, 3, 4, 6)
IDS = torch.arange(3)

CALLS: list[tuple[Callable[[], nn.Module], object, str]] = [
    (First, IMAGES, "images"),
    (First, (IMAGES,), "a tuple of one"),
    (First, {"pixel_values": IMAGES}, "by name"),
    (First, {"pixel_values": IMAGES, "mask": torch.ones(2, 1, 4, 6)}, "two by name"),
    (Named, {"input_ids": IDS, "pixel_values": IMAGES}, "ids first"),
    (OfDict, {"image": IMAGES, "meta": [torch.ones(2), "a"]}, "a dict as the one input"),
    (OfDict, ({"image": IMAGES, "meta": [torch.ones(2), None]},), "a dict at its place"),
    (Several, {"ids": IDS, "images": IMAGES, "how": "plain", "twice": True}, "not only tensors"),
]


@pytest.mark.parametrize(("make", "inputs", "what"), CALLS, ids=[what for *_, what in CALLS])
def test_an_example_says_how_a_module_is_called(
    make: Callable[[], nn.Module], inputs: object, what: str
) -> None:
    module = make()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    made = described((module, inputs), "mine")
    assert made.images is IMAGES
    made.check_image_size((4, 6), 2)
    with pytest.raises(UsageError, match="--imgsz 4x6 --batch 2"):
        made.check_image_size((4, 4), 2)
    found = made.module(IMAGES)
    features = found["features"] if isinstance(found, dict) else found[0]
    assert torch.equal(features, module.layer(IMAGES))  # type: ignore[operator]
    assert module.state_dict().keys() == before.keys()


def test_what_stays_is_moved_and_cast_with_the_module() -> None:
    made = described((First(), {"pixel_values": IMAGES, "mask": torch.ones(2, 1, 4, 6)}), "mine")
    assert made.module.double()(IMAGES.double())["features"].dtype == torch.float64


def test_images_are_handed_over_by_name_where_they_are_not_first() -> None:
    module = Named()
    assert torch.equal(
        described(module, "mine").module(IMAGES)["features"],
        module(pixel_values=IMAGES)["features"],
    )
    first = First()
    assert described(first, "mine").module is first


@pytest.mark.parametrize("inputs", [1, (), {}, torch.ones(3), {"x": [torch.ones(3, 4, 4)]}, "x"])
def test_an_example_without_images_is_refused(inputs: object) -> None:
    with pytest.raises(UsageError, match=r"^mine: among its example inputs there are no images"):
        described((First(), inputs), "mine")


def test_stages_are_found_below_what_hands_over_the_images() -> None:
    module = Named()
    module.detrbench_stages = {"layer": "backbone"}  # type: ignore[assignment]
    assert described(module, "mine").module.detrbench_stages == {"module.layer": "backbone"}


def test_the_library_counts_pairs() -> None:
    """One image of 4x6 pixels by a 1x1 convolution of 3 to 4 channels: 288 MACs."""
    pair = Named(), {"input_ids": IDS, "pixel_values": IMAGES[:1]}
    for models in (pair, [pair], (pair, First())):
        row = detrbench.profile(models, imgsz=(4, 6)).rows[0]  # type: ignore[arg-type]
        assert (row.model, row.metrics["macs"]) == ("Named", 288)


@dataclasses.dataclass
class Answer:
    features: Tensor


class Answers(Named):
    def forward(self, images: Tensor) -> Answer:  # type: ignore[override]
        return Answer(self.layer(images))


def test_what_returns_a_dataclass_can_be_executed() -> None:
    step = open_runtime(Execution((4, 6))).prepare(described(Answers(), "mine").module, IMAGES)
    step.verify(step())
