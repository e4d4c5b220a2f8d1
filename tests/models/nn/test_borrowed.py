"""Backbones from torchvision: the same layers, and weights only from a file."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
import torchvision

from detrbench.core.errors import DetrbenchWarning, SpecError, UsageError
from detrbench.models.builder import build
from detrbench.models.nn.borrowed import TorchVision
from tests.models.filling import fill, image

# With split, output 0 is the image and output i that of layer i - 1.
MOBILENET = """nc: 2
backbone:
  - [-1, 1, TorchVision, [512, mobilenet_v3_small, None, True, 2, True]]
  - [0, 1, Index, [24, 4]]
  - [0, 1, Index, [48, 9]]
  - [0, 1, Index, [96, 12]]
head:
  - [[1, 2, 3], 1, RTDETRDecoder, [nc, 32, 20, 4, 4, 1, 64]]
"""


def write(path: Path, text: str) -> Path:
    file = path / "borrowed.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_outputs_and_weights_are_torchvisions(tmp_path: Path) -> None:
    theirs = torchvision.models.mobilenet_v3_small(weights=None).eval()
    theirs.load_state_dict(fill(theirs.state_dict()))
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    with pytest.warns(DetrbenchWarning, match=r"not used: classifier\.0\.weight"):
        ours = build(write(tmp_path, MOBILENET), backbone_weights=tmp_path / "weights.pth")
    x = image(1, 64, 96)
    with torch.inference_mode():
        outputs = ours.model[0](x)
        assert outputs[0] is x
        for layer, got in zip(theirs.features, outputs[1:], strict=False):
            x = layer(x)
            torch.testing.assert_close(got, x, rtol=0, atol=0)
        assert ours(image(1, 64, 96)).boxes.shape == (1, 20, 4)
    assert ours.stride == 32


def test_index_states_the_width_it_takes(tmp_path: Path) -> None:
    text = MOBILENET.replace("Index, [48, 9]", "Index, [40, 9]")
    with pytest.raises(SpecError, match=r"row 2 .*states 40 .*\(1, 48, 40, 40\)\s+write 48"):
        build(write(tmp_path, text), device="meta")


def test_index_out_of_range(tmp_path: Path) -> None:
    text = MOBILENET.replace("Index, [96, 12]", "Index, [96, 99]")
    with pytest.raises(SpecError, match=r"row 3 .*Index.*out of range"):
        build(write(tmp_path, text), device="meta")


def test_weights_named_by_the_file_are_not_downloaded_but_spoken_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("a download")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    text = MOBILENET.replace("None, True, 2", "DEFAULT, True, 2")
    with pytest.warns(DetrbenchWarning, match=r"random weights in place of 'DEFAULT'") as said:
        build(write(tmp_path, text))
    assert len([w for w in said if w.category is DetrbenchWarning]) == 1


def test_no_weights_named_nothing_said(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DetrbenchWarning)
        build(write(tmp_path, MOBILENET), device="meta")


def test_unknown_name_suggests_a_known_one(tmp_path: Path) -> None:
    text = MOBILENET.replace("mobilenet_v3_small", "mobilenet_v3_tiny")
    with pytest.raises(SpecError, match=r"no model 'mobilenet_v3_tiny'; did you mean"):
        build(write(tmp_path, text), device="meta")


def test_layers_are_truncated_from_the_end() -> None:
    whole = torchvision.models.resnet18(weights=None)
    block = TorchVision(3, 512, "resnet18", None, True, 2)
    assert list(block.weight_prefixes) == [
        "conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4",
    ]  # fmt: skip
    x = torch.zeros(1, 3, 64, 64)
    assert block(x).shape == (1, 512, 2, 2)
    counted = sum(p.numel() for p in block.parameters())
    assert counted == sum(p.numel() for p in whole.parameters()) - 513 * 1000


def test_whole_models_stay_whole(tmp_path: Path) -> None:
    block = TorchVision(3, 1000, "mobilenet_v3_small", None, False)
    assert block.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 1000)
    with pytest.raises(ValueError, match="unwrap"):
        TorchVision(3, 1000, "mobilenet_v3_small", None, False, 2, True)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    other = torchvision.models.mobilenet_v3_large(weights=None)
    torch.save(other.state_dict(), tmp_path / "large.pth")
    with pytest.raises(UsageError, match="another shape"):
        build(write(tmp_path, MOBILENET), backbone_weights=tmp_path / "large.pth")
