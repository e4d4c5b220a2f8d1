"""Folding in the user's modules: what is foldable, what is not, and that outputs stay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from detrbench.core.errors import SpecError, UsageError
from detrbench.counting.profiling import profile
from detrbench.models.builder import build
from detrbench.models.folding import run_to_fold, unfolded
from detrbench.models.sources.built import Built

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
    for module, path in ((own, ""), (nn.Sequential(own), "0")):
        _, foldable = run_to_fold(module, torch.rand(1, 4, 8, 8))
        assert foldable is not None
        assert (foldable.pairs, foldable.own) == ({}, (path,))


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


REP = """
from torch import nn

class Rep(nn.Module):
    def __init__(self, c1, c2):
        super().__init__()
        self.a, self.b = nn.Conv2d(c1, c2, 1), nn.Conv2d(c1, c2, 1)

    def forward(self, x):
        return self.a(x) + self.b(x) if hasattr(self, "b") else self.a(x)

    def switch_to_deploy(self):
        merged = nn.Conv2d(self.a.in_channels, self.a.out_channels, 1)
        merged.weight.data = self.a.weight.data + self.b.weight.data * GAIN
        merged.bias.data = self.a.bias.data + self.b.bias.data
        self.a = merged
        del self.b

class Outer(Rep):
    def __init__(self, c1, c2):
        super().__init__(c1, c2)
        self.inner = Rep(c2, c2)

    def forward(self, x):
        return self.inner(super().forward(x))

    def switch_to_deploy(self):
        super().switch_to_deploy()
        self.inner.switch_to_deploy()
"""


def with_reps(root: Path, gain: float) -> tuple[Path, Path]:
    """A detector with a block that switches to deploy, and one with another inside."""
    from tests.models.test_builder import TINY, write

    text = TINY.replace("[3, 1, Conv, [32, 1, 1]]", "[3, 1, Outer, [32]]")
    text = text.replace("[2, 1, Conv, [32, 1, 1]]", "[2, 2, Rep, [32]]")
    (root / "own.py").write_text(f"GAIN = {gain}\n{REP}", encoding="utf-8")
    return write(root, text), root / "own.py"


def test_what_switches_to_deploy_does_so_once_and_computes_the_same(tmp_path: Path) -> None:
    file, blocks = with_reps(tmp_path, 1.0)
    detector = build(file, blocks=blocks)
    x, y = torch.rand(1, 16, 8, 8), torch.rand(1, 24, 8, 8)
    with torch.no_grad():
        before = detector.model[5](x), detector.model[6](y)
        detector.fuse().fuse()
        after = detector.model[5](x), detector.model[6](y)
    torch.testing.assert_close(after, before)
    assert not any(name.split(".")[-2] == "b" for name in detector.state_dict())
    assert detector.deployed == ("Rep in model.5", "Rep in model.5", "Outer in model.6")


def test_a_row_says_what_switched_to_deploy(tmp_path: Path) -> None:
    file, blocks = with_reps(tmp_path, 1.0)
    report = profile([file, f"{file}@fused=false"], blocks=str(blocks), imgsz=64, fuse=True)
    fused, built = report.rows
    assert "fused by switch_to_deploy: 2 Rep in model.5, Outer in model.6" in fused.notes
    # One of two convolutions, 16 > 32, 32 > 32, 24 > 32 and 32 > 32 again, and 4 of each parameter
    # that a batch norm of ours had beside its convolution's.
    of_rep = 16 * 32 + 32 * 32 + 24 * 32 + 32 * 32 + 4 * 32
    assert built.metrics["params"] - fused.metrics["params"] - of_norms(file, blocks) == of_rep


def of_norms(file: Path, blocks: Path) -> int:
    """Parameters that folding takes out of our own blocks: a weight of each batch norm."""
    detector = build(file, blocks=blocks, device="meta")
    left = detector.spec.rows[-1].index
    paths = [path for path in unfolded(detector) if not path.startswith(f"model.{left}.")]
    return sum(detector.get_submodule(path).weight.numel() for path in paths)


def test_what_switches_to_something_else_is_refused_with_its_row(tmp_path: Path) -> None:
    file, blocks = with_reps(tmp_path, 2.0)
    with pytest.raises(SpecError, match=r"row 5 .*Rep\)[\s\S]*not the same afterwards"):
        build(file, blocks=blocks).fuse()


def test_a_layer_that_is_called_fuse_folds_nothing() -> None:
    class Joins(Pair):
        def __init__(self) -> None:
            super().__init__(lambda self, x: self.fuse(self.norm(self.conv(x))))
            self.fuse = nn.Conv2d(4, 4, 1)

    _, foldable = run_to_fold(Joins(), torch.rand(1, 4, 8, 8))
    assert foldable is not None
    assert (foldable.pairs, foldable.own) == ({"conv": "norm"}, ())


class Folds(nn.Module):
    """Has a `fuse` of its own, which `makes` something of it."""

    def __init__(self, makes: Callable[[Any], Any], size: int | None = None) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.pair = Pair(lambda self, x: self.norm(self.conv(x)))
        self.makes, self.size = makes, size

    def forward(self, images: Tensor) -> Tensor:
        assert self.size in (None, images.shape[-1])
        found: Tensor = self.pair(self.stem(images))
        return found

    def fuse(self) -> Any:
        return self.makes(self)


def folded(self: Folds, factor: float = 1.0) -> Folds:
    self.pair.conv = torch.nn.utils.fuse_conv_bn_eval(self.pair.conv, self.pair.norm)
    self.pair.norm = nn.Identity()  # type: ignore[assignment]
    with torch.no_grad():
        assert self.pair.conv.bias is not None
        self.pair.conv.bias *= factor
    return self


def otherwise(self: Folds) -> nn.Module:
    return folded(self, factor=2.0)


def in_place(self: Folds) -> None:
    folded(self)


@pytest.mark.parametrize("makes", [folded, in_place])
def test_a_modules_own_fuse_is_let_do_and_compared(makes: Callable[[Any], Any]) -> None:
    module = Folds(makes).eval()
    images = torch.rand(1, 3, 16, 16)
    before = module(images)
    built = Built(module, "net").fused()
    torch.testing.assert_close(built.module(images), before, rtol=1e-4, atol=1e-4)
    assert built.notes == ()
    assert not unfolded(built.module)


def test_a_modules_own_fuse_that_makes_something_else_of_it_is_refused() -> None:
    with pytest.raises(UsageError, match="what it computes is not the same afterwards"):
        Built(Folds(otherwise), "net").fused()
    # Of shapes alone, that does not show: nothing is computed there.
    with torch.device("meta"):
        counted = Folds(otherwise)
    assert not unfolded(Built(counted, "net").fused().module)


def test_a_modules_own_fuse_is_compared_with_images_that_it_takes_or_that_is_said() -> None:
    assert Built(Folds(folded, size=96), "net").fused((96, 96)).notes == ()
    (note,) = Built(Folds(otherwise, size=96), "net").fused((64, 64)).notes
    assert note == "what its `fuse` makes of it was not compared: it takes no such images"
    example = torch.rand(1, 3, 32, 32)
    assert Built(Folds(folded, size=32), "net", images=example).fused().notes == ()
