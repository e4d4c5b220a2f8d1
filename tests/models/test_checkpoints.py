"""Weights of others for a whole detector, read as data and reported where they do not fit."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from detrbench import build
from detrbench.core.errors import UsageError
from detrbench.models.checkpoints import load_weights
from detrbench.models.detector import Detector
from detrbench.models.model import Model
from detrbench.models.sources import build_model, resolve
from detrbench.models.tensors import read_tensors


@pytest.fixture(scope="module")
def source() -> Detector:
    return build("shufflev2-x0.5", nc=3, seed=1)


def saved(tmp_path: Path, content: object, name: str = "weights.pt") -> Path:
    torch.save(content, tmp_path / name)
    return tmp_path / name


def equal(one: Detector, other: Detector) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return all(torch.equal(mine[key], theirs[key]) for key in mine)


@pytest.mark.parametrize("wrap", ["plain", "ema", "parallel", "husk", "averaged"])
def test_a_model_s_own_names_in_every_wrapping(tmp_path: Path, source: Detector, wrap: str) -> None:
    state = source.state_dict()
    content: object = {
        "plain": state,
        "ema": {"ema": {"module": state, "updates": 3}, "last_epoch": 71},
        "parallel": {"state_dict": {f"module.{key}": each for key, each in state.items()}},
        "husk": {"epoch": -1, "ema": None, "model": source, "train_args": {"imgsz": 64}},
        "averaged": {"ema": source, "model": nn.Conv2d(1, 1, 1)},
    }[wrap]
    target = build("shufflev2-x0.5", nc=3)
    assert not equal(source, target)
    assert load_weights(target, saved(tmp_path, content)) == ()
    assert equal(source, target)


def test_half_precision_becomes_the_model_s_own(tmp_path: Path, source: Detector) -> None:
    target = build("shufflev2-x0.5", nc=3)
    halved = {
        key: t.half() if t.is_floating_point() else t for key, t in source.state_dict().items()
    }
    assert load_weights(target, saved(tmp_path, halved)) == ()
    assert {each.dtype for each in target.parameters()} == {torch.float32}


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch ran",)


def test_no_code_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for content in ({"a": torch.zeros(1), "b": Evil()}, Evil()):
        with suppress(UsageError):  # the one has a tensor, the other none
            assert read_tensors(saved(tmp_path, content)).keys() == {"a"}
    assert not (tmp_path / "ran").exists()


def test_what_does_not_fit_is_reported(tmp_path: Path, source: Detector) -> None:
    state = dict(source.state_dict())
    del state["model.0.0.weight"]
    state["optimizer.lr"] = torch.zeros(1)
    target = build("shufflev2-x0.5", nc=4)
    absent, unlike, unused = load_weights(target, saved(tmp_path, state))
    assert absent == "1 tensors are not in the weights, and random: model.0.0.weight"
    assert re.match(r"\d+ tensors have another shape in the weights, and are random: ", unlike)
    assert "denoising_class_embed" in unlike
    assert unused == "1 entries of the weights were not used: optimizer.lr"


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ({"fc.weight": torch.zeros(2)}, r"nothing in it belongs to shufflev2-x0\.5: .*fc\.weight"),
        ({"epoch": 3}, "it holds no tensors with names"),
        (b"text", "it cannot be read as weights|it holds no tensors"),
    ],
)
def test_a_file_of_something_else(tmp_path: Path, content: object, part: str) -> None:
    with pytest.raises(UsageError, match=part):
        load_weights(build("shufflev2-x0.5", nc=3), saved(tmp_path, content))


# --- official names ---

# The names of lyuwenyu/RT-DETR's modules, in the order of rtdetr-l's rows that have parameters.
NECK = {
    10: "encoder.input_proj.2", 11: "encoder.encoder.0.layers.0", 12: "encoder.lateral_convs.0",
    14: "encoder.input_proj.1", 16: "encoder.fpn_blocks.0", 17: "encoder.lateral_convs.1",
    19: "encoder.input_proj.0", 21: "encoder.fpn_blocks.1", 22: "encoder.downsample_convs.0",
    24: "encoder.pan_blocks.0", 25: "encoder.downsample_convs.1", 27: "encoder.pan_blocks.1",
}  # fmt: skip

HGNET = {
    0: "backbone.stem", 1: "backbone.stages.0.blocks.0",
    2: "backbone.stages.1.downsample", 3: "backbone.stages.1.blocks.0",
    4: "backbone.stages.2.downsample", 5: "backbone.stages.2.blocks.0",
    6: "backbone.stages.2.blocks.1", 7: "backbone.stages.2.blocks.2",
    8: "backbone.stages.3.downsample", 9: "backbone.stages.3.blocks.0",
}  # fmt: skip


def official(key: str) -> str:
    """What official RT-DETR with HGNetv2 calls a tensor of rtdetr-l."""
    _, number, name = key.split(".", 2)
    row = int(number)
    if row == 28:
        name = re.sub(r"^(input_proj\.\d)\.0\.", r"\1.conv.", name)
        name = re.sub(r"^(input_proj\.\d)\.1\.", r"\1.norm.", name)
        return f"decoder.{name}"
    if row == 11:
        name = name.replace("ma.", "self_attn.").replace("fc", "linear")
        return f"{NECK[row]}.{name}"
    if row in (10, 14, 19):
        return f"{NECK[row]}.{name.replace('conv.', '0.').replace('bn.', '1.')}"
    if row in NECK:
        name = re.sub(r"^cv(\d)\.", r"conv\1.", re.sub(r"^m\.", "bottlenecks.", name))
        return f"{NECK[row]}.{name.replace('bn.', 'norm.')}"
    name = re.sub(r"^m\.", "layers.", name)
    name = re.sub(r"^sc\.", "aggregation.0.", re.sub(r"^ec\.", "aggregation.1.", name))
    return f"{HGNET[row]}.{name}"


def test_official_names_find_their_rows(tmp_path: Path) -> None:
    theirs: dict[str, Tensor] = {}
    source = build("rtdetr-l", nc=3, seed=1)
    theirs = {official(key): each for key, each in source.state_dict().items()}
    assert "encoder.fpn_blocks.0.bottlenecks.2.conv1.norm.weight" in theirs
    assert "encoder.input_proj.1.0.weight" in theirs
    assert "decoder.input_proj.0.norm.running_var" in theirs
    assert "backbone.stages.2.blocks.1.layers.5.conv2.conv.weight" in theirs
    theirs["decoder.anchors"] = torch.zeros(1, 5, 4)
    target = build("rtdetr-l", nc=3)
    notes = load_weights(target, saved(tmp_path, {"ema": {"module": theirs}}, "rtdetr.pth"))
    assert notes == ("1 entries of the weights were not used: decoder.anchors",)
    assert equal(source, target)


# --- the setting ---


def test_weights_are_a_setting_of_a_model_file(tmp_path: Path, source: Detector) -> None:
    path = saved(tmp_path, source.state_dict())
    asked = Model("mine", "shufflev2-x0.5", nc=3, weights=str(path))
    assert [Path(file.path).name for file in resolve(asked).files] == [
        "shufflev2-x0.5.yaml",
        "weights.pt",
    ]
    made = build_model(asked, "meta")  # they are looked at, so it is not of shapes alone
    assert made.notes == ()
    assert made.detector is not None
    assert equal(source, made.detector)
    with pytest.raises(UsageError, match="--weights: absent is not a file"):
        resolve(Model("mine", "shufflev2-x0.5", weights="absent"))
