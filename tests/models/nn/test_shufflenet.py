"""Our ShuffleNetV2 beside torchvision's, on the same values."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
import torchvision

from detrbench.core.errors import DetrbenchWarning, UsageError
from detrbench.models.builder import build
from detrbench.models.catalog import find_model
from detrbench.models.detector import Detector
from detrbench.models.nn.shufflenet import ShuffleV2Unit, SqueezeExcite
from tests.models.filling import fill, image, uniform

MODELS = {
    "shufflev2-x0.5": "shufflenet_v2_x0_5",
    "shufflev2": "shufflenet_v2_x1_0",
    "shufflev2-x1.5": "shufflenet_v2_x1_5",
    "shufflev2-x2.0": "shufflenet_v2_x2_0",
}


def torchvision_model(name: str) -> torch.nn.Module:
    model: torch.nn.Module = torchvision.models.get_model(name, weights=None)
    model.load_state_dict(fill(model.state_dict()))
    return model.eval()


@pytest.mark.parametrize("name", MODELS)
def test_backbone_is_torchvisions(name: str, tmp_path: Path) -> None:
    """With the weights read from a file of torchvision's, as `--backbone-weights` does."""
    theirs = torchvision_model(MODELS[name])
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    with pytest.warns(DetrbenchWarning, match=r"8 entries were not used: conv5\.0\.weight"):
        ours = build(name, backbone_weights=tmp_path / "weights.pth")
    theirs.double(), ours.double()
    x = image(2, 64, 96).double()
    with torch.inference_mode():
        expected = theirs.maxpool(theirs.conv1(x))
        for row in range(4):
            if row:
                expected = getattr(theirs, f"stage{row + 1}")(expected)
            x = ours.model[row](x)
            torch.testing.assert_close(x, expected, rtol=1e-12, atol=1e-12)


def test_backbone_gets_all_or_nothing(tmp_path: Path) -> None:
    """Weights of another width are refused by name, and the model keeps what it had."""
    torch.save(torchvision_model("shufflenet_v2_x0_5").state_dict(), tmp_path / "half.pth")
    with pytest.raises(UsageError, match=r"model\.1\.0\.branch1\.2\.weight is \(58, 24, 1, 1\)"):
        build("shufflev2", backbone_weights=tmp_path / "half.pth")


def test_squeeze_excite_weights_are_missed_by_name(tmp_path: Path) -> None:
    torch.save(torchvision_model("shufflenet_v2_x1_0").state_dict(), tmp_path / "plain.pth")
    mapping = "  backbone_weights: {conv1: 0, stage2: 1, stage3: 2, stage4: 3}\n"
    text = find_model("shufflev2-se").read_text(encoding="utf-8")
    (tmp_path / "mapped.yaml").write_text(text + mapping, encoding="utf-8")
    with pytest.raises(UsageError, match=r"64 tensors are missing: model\.1\.0\.branch2\.8\."):
        build(tmp_path / "mapped.yaml", backbone_weights=tmp_path / "plain.pth")


def test_unit_interleaves_what_it_keeps_with_what_it_computes() -> None:
    unit = ShuffleV2Unit(8, 8, 1).eval()
    x = uniform("x", (1, 8, 4, 4))
    with torch.no_grad():
        y = unit(x)
        assert torch.equal(y[:, 0::2], x[:, :4])
        assert torch.equal(y[:, 1::2], unit.branch2(x[:, 4:]))


def test_squeeze_excite_by_hand() -> None:
    """Two channels with means 1 and 3, one inner value, gates by the sigmoid."""
    block = SqueezeExcite(2)
    with torch.no_grad():
        block.squeeze.weight.copy_(torch.tensor([2.0, 1.0]).view(1, 2, 1, 1))
        block.squeeze.bias.fill_(-1.0)  # inner: 2 * 1 + 1 * 3 - 1 = 4
        block.excite.weight.copy_(torch.tensor([0.5, -0.25]).view(2, 1, 1, 1))
        block.excite.bias.copy_(torch.tensor([0.0, 1.0]))  # 2 and 0 before the sigmoid
        x = torch.tensor([[[[0.0, 2.0]], [[3.0, 3.0]]]])
        y = block(x)
    gate = torch.tensor([2.0, 0.0]).sigmoid()
    torch.testing.assert_close(y, x * gate.view(1, 2, 1, 1))


@pytest.mark.parametrize(("c1", "c2", "stride"), [(8, 12, 1), (8, 7, 2)])
def test_widths_that_a_unit_cannot_have(c1: int, c2: int, stride: int) -> None:
    with pytest.raises(ValueError, match="width"):
        ShuffleV2Unit(c1, c2, stride)


def test_own_weights_come_back(tmp_path: Path) -> None:
    """A state_dict of a whole detector fills the backbone, and the rest is said to be unused."""
    source = build("shufflev2-x0.5", nc=2, seed=1)
    torch.save({"state_dict": source.state_dict()}, tmp_path / "own.pth")
    with pytest.warns(DetrbenchWarning, match=r"not used: model\.4\.conv\.weight"):
        target = build("shufflev2-x0.5", nc=5, seed=2, backbone_weights=tmp_path / "own.pth")
    assert _same(source, target, backbone=True)
    assert not _same(source, target, backbone=False)


def test_loading_a_complete_backbone_alone_says_nothing(tmp_path: Path) -> None:
    source = build("shufflev2-x0.5", nc=2, seed=1)
    backbone = {k: v for k, v in source.state_dict().items() if int(k.split(".")[1]) < 4}
    torch.save(backbone, tmp_path / "backbone.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("error", DetrbenchWarning)
        build("shufflev2-x0.5", backbone_weights=tmp_path / "backbone.pth")


def _same(a: Detector, b: Detector, *, backbone: bool) -> bool:
    rows = range(4) if backbone else range(4, 22)
    pairs = [
        (x, y)
        for row in rows
        for x, y in zip(a.model[row].parameters(), b.model[row].parameters(), strict=True)
    ]
    return all(torch.equal(x, y) for x, y in pairs)
