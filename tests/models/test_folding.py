"""Folding in the user's modules: what is foldable, what is not, and that outputs stay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from detrbench.counting.profiling import profile
from detrbench.models.builder import build
from detrbench.models.folding import run_to_fold, unfolded

FORKS = Path(__file__).parents[1] / "data" / "forks"

Forward = Callable[[Any, Tensor], Tensor]


class Pair(nn.Module):
    """A convolution and a normalisation with statistics, put together by `how`."""

    def __init__(self, how: Forward) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.how = how
        with torch.no_grad():
            for tensor in (self.norm.weight, self.norm.bias, self.norm.running_mean):
                tensor.copy_(torch.linspace(0.5, 2.0, 4))
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.how(self, x)


def test_a_normalisation_is_folded_into_the_convolution_that_feeds_it() -> None:
    pair = Pair(lambda self, x: self.norm(self.conv(x)).relu() + x).double()
    images = torch.rand(2, 4, 8, 8, dtype=torch.float64)
    before = pair(images)
    _, foldable = run_to_fold(pair, images)
    assert foldable is not None
    assert foldable.pairs == {"conv": "norm"}
    foldable.fold(pair)
    assert unfolded(pair) == []
    assert pair.conv.bias is not None
    torch.testing.assert_close(pair(images), before, rtol=1e-12, atol=1e-12)
    foldable.fold(pair)  # again: nothing
    torch.testing.assert_close(pair(images), before, rtol=1e-12, atol=1e-12)


NOT_FOLDABLE: dict[str, Forward] = {
    "somebody else reads the convolution": lambda self, x: self.norm(y := self.conv(x)) + y,
    "it is returned": lambda self, x: (self.norm(y := self.conv(x)), y),  # type: ignore[return-value]
    "through a view": lambda self, x: self.norm((y := self.conv(x)).view(y.shape)),
    "something stands between": lambda self, x: self.norm(self.conv(x).relu()),
    "the other way round": lambda self, x: self.conv(self.norm(x)),
    "twice": lambda self, x: self.norm(self.conv(self.norm(self.conv(x)))),
    "its weight is used elsewhere": lambda self, x: (
        self.norm(self.conv(x)) * self.norm.weight.sum()
    ),
}


@pytest.mark.parametrize("how", NOT_FOLDABLE.values(), ids=NOT_FOLDABLE.keys())
def test_what_is_not_foldable_is_left(how: Forward) -> None:
    assert run_to_fold(Pair(how), torch.rand(1, 4, 8, 8))[1] is None


def test_a_class_of_its_own_and_what_somebody_hooks_are_left() -> None:
    class Standardised(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x - x.mean())

    pair = Pair(lambda self, x: self.norm(self.conv(x)))
    pair.conv.register_forward_hook(lambda module, inputs, output: None)
    assert run_to_fold(pair, torch.rand(1, 4, 8, 8))[1] is None
    pair.conv = Standardised(4, 4, 1)
    assert run_to_fold(pair, torch.rand(1, 4, 8, 8))[1] is None


@pytest.mark.parametrize(
    "how",
    [
        lambda self, x: self.norm(self.conv(x)) * (2.0 if hasattr(self.norm, "eps") else 1.0),
        lambda self, x: self.norm(self.conv(x)) * self.norm.eps,
    ],
    ids=["other outputs", "cannot run"],
)
def test_what_computes_something_else_when_folded_is_put_back(how: Forward) -> None:
    pair = Pair(how)
    _, foldable = run_to_fold(pair, torch.rand(1, 4, 8, 8))
    assert foldable is not None
    foldable.fold(pair)
    assert unfolded(pair) == ["norm"]
    assert pair.conv.bias is None


def test_what_folds_by_itself_is_left_to_it() -> None:
    class Own(Pair):
        def fuse(self) -> None: ...

    own = Own(lambda self, x: self.norm(self.conv(x)))
    assert run_to_fold(own, torch.rand(1, 4, 8, 8))[1] is None
    assert run_to_fold(nn.Sequential(own), torch.rand(1, 4, 8, 8))[1] is None


def test_a_forks_blocks_are_folded_like_ours_and_what_is_left_is_said() -> None:
    """ResNet18-vd: 3 convolutions of the stem, 16 of the units, 4 of their shortcuts; the decoder
    keeps the 3 that project its maps."""
    file, blocks = FORKS / "rtdetr-r18.yaml", FORKS / "blocks.py"
    report = profile([file], blocks=str(blocks), nc=1, fuse=True)
    (row,) = report.rows
    assert row.metrics["kernels"] == 363
    assert row.metrics["flops_thop"] == 56_938_035_200  # printed as 56.9 G
    said = "fusing left 3 batch norms as they were, in model.26 (3)"
    assert said in row.notes
    assert said in report.records()[0]["notes"]


def test_a_fused_detector_computes_the_same(tmp_path: Path) -> None:
    from tests.models.test_builder import TINY, write

    text = TINY.replace("Conv, [8, 3, 2]", "ConvNormLayer, [8, 3, 2]")
    detector = build(write(tmp_path, text), blocks=FORKS / "blocks.py").double()
    with torch.no_grad():
        for path in unfolded(detector):
            norm: Any = detector.get_submodule(path)
            norm.running_mean.uniform_(-0.1, 0.1)
            norm.running_var.uniform_(0.5, 2.0)
        images = torch.rand(1, 3, 64, 64, dtype=torch.float64)
        before = detector(images)
        after = detector.fuse()(images)
    assert [path for path in unfolded(detector) if path.startswith(("model.0", "model.1"))] == []
    torch.testing.assert_close(after.boxes, before.boxes, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(after.scores, before.scores, rtol=1e-9, atol=1e-9)
