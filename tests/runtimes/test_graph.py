"""Models as graphs: what they are kept by, and how their outputs come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from detrbench.models.nn.detections import Detections
from detrbench.runtimes.graph import Outputs, graph_key

IMAGES = torch.zeros(1, 3, 8, 8)


def net(seed: int = 0, kernel: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, kernel, padding=kernel // 2), nn.BatchNorm2d(4)).eval()


def test_a_graph_is_kept_by_code_weights_images_and_files() -> None:
    usual = graph_key(net(), IMAGES, "files")
    assert graph_key(net(), IMAGES.clone(), "files") == usual
    others = [
        graph_key(net(seed=1), IMAGES, "files"),
        graph_key(net(kernel=5), IMAGES, "files"),
        graph_key(net(), torch.zeros(2, 3, 8, 8), "files"),
        graph_key(net(), IMAGES.double(), "files"),
        graph_key(net(), IMAGES, "other files"),
    ]
    changed = net()
    changed[1].running_mean[0] = 1  # type: ignore[index, union-attr]
    others.append(graph_key(changed, IMAGES, "files"))
    assert len({usual, *others}) == 7


@dataclass
class Found:
    boxes: Tensor
    more: list[Tensor]


A, B, C = (torch.full((1,), float(number)) for number in range(3))


@pytest.mark.parametrize(
    ("example", "arranged"),
    [
        (A, B),
        ((A, B), (B, C)),
        ({"a": [A, B]}, {"a": [B, C]}),
        (Detections(A, B), Detections(B, C)),
        (Found(A, [B]), (B, C)),  # an object of theirs is not made anew
        ({"a": A, "not one": 3}, (B,)),
    ],
)
def test_outputs_come_back_as_the_model_returns_them(example: Any, arranged: Any) -> None:
    outputs = Outputs(example, selects=True)
    given = [B, C][: 1 if arranged in ((B,),) or arranged is B else 2]
    queries = torch.tensor([[7]], dtype=torch.int32)
    found = outputs.arranged([*given, queries])
    assert type(found) is type(arranged)
    assert str(found) == str(arranged)
    selected = outputs.selected([*given, queries])
    assert selected is not None
    assert (selected.dtype, selected.tolist()) == (torch.int64, [[7]])
    assert Outputs(example, selects=False).selected(given) is None
