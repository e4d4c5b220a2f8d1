"""Folders of transformers: what is said without it, and that all nine families are counted."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from detrbench import trace
from detrbench.core.errors import UsageError
from detrbench.models.model import Model
from detrbench.models.sources import build_model, huggingface, resolve, source_of
from detrbench.models.sources.huggingface import FAMILIES, HuggingFace

_RESNET = {"embedding_size": 8, "hidden_sizes": [16, 16, 16, 32], "depths": [1, 1, 1, 1]}
_LAYERS = {
    f"{part}_{key}": value
    for part in ("encoder", "decoder")
    for key, value in (("layers", 2), ("attention_heads", 2), ("ffn_dim", 16))
}
_DETR = {
    **_LAYERS,
    "d_model": 16,
    "num_queries": 5,
    "use_timm_backbone": False,
    "backbone": None,
    "backbone_config": {"model_type": "resnet", **_RESNET, "out_features": ["stage4"]},
}
_MAPS = ["stage2", "stage3", "stage4"]
_RT = {
    **_LAYERS,
    "d_model": 16,
    "num_queries": 5,
    "encoder_layers": 1,
    "encoder_in_channels": [16, 16, 32],
    "encoder_hidden_dim": 16,
    "decoder_in_channels": [16, 16, 16],
    "backbone_config": {"model_type": "rt_detr_resnet", **_RESNET, "out_features": _MAPS},
}
_DINO = {
    "model_type": "rf_detr_dinov2",
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 56,
    "patch_size": 14,
    "num_windows": 2,
    "out_indices": [1, 2],
}

SMALL: Mapping[str, tuple[dict[str, Any], int]] = {
    "rt_detr": (_RT, 64),
    "rt_detr_v2": (_RT, 64),
    "d_fine": (_RT, 64),
    "rf_detr": ({"backbone_config": _DINO, "d_model": 16, "num_queries": 5, **_LAYERS}, 56),
    "detr": (_DETR, 64),
    "conditional_detr": (_DETR, 64),
    "dab-detr": ({**_DETR, "hidden_size": 16}, 64),
    "deformable_detr": (
        {
            **_DETR,
            "d_model": 32,  # in 32 groups, at the least
            "backbone_config": {"model_type": "resnet", **_RESNET, "out_features": _MAPS},
        },
        96,
    ),
    "yolos": (
        {
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 16,
            "image_size": [32, 32],
            "num_detection_tokens": 5,
        },
        32,
    ),
}
"""A configuration of each family that is built in a moment, and an image size."""


def folder(tmp_path: Path, **config: object) -> str:
    (tmp_path / "config.json").write_text(json.dumps(config))
    return str(tmp_path)


def model(reference: str, **values: Any) -> Model:
    return Model("hf", reference, **values)


# --- without transformers ---


def test_a_folder_or_its_configuration_is_claimed(tmp_path: Path) -> None:
    reference = folder(tmp_path, model_type="rt_detr")
    assert isinstance(source_of(reference), HuggingFace)
    assert isinstance(source_of(f"{reference}/config.json"), HuggingFace)
    assert not source_of(reference).runs_code(model(reference))


@pytest.mark.parametrize(
    ("config", "part"),
    [
        ({"model_type": "bert"}, r"a bert is not one of the detectors .*\n.*\./FILE\.py:NAME"),
        ({"model_type": "rt_detr_v3"}, r"a rt_detr_v3 is not .*\n.*did you mean rt_detr_v2"),
        ({"d_model": 256}, "it names no model_type"),
        ({"model_type": "detr", "auto_map": {"AutoModel": "x.Y"}}, "code beside it .auto_map."),
        (
            {"model_type": "detr", "use_timm_backbone": True, "backbone": "resnet50"},
            r"its backbone resnet50 is timm's, which is not installed\n  pip install timm",
        ),
        (
            {"model_type": "detr", "backbone_config": {"model_type": "timm_backbone"}},
            r"timm's, which is not installed",
        ),
        (
            {"model_type": "detr", "backbone": "microsoft/resnet-50"},
            r"resnet-50 is described elsewhere, and nothing is fetched\n.*save_pretrained",
        ),
        (
            {"model_type": "rt_detr"},
            r'transformers, which is not installed\n  pip install "detrbench\[transformers\]"',
        ),
    ],
)
def test_what_is_said_before_anything_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], part: str
) -> None:
    monkeypatch.setattr(huggingface, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=part):
        resolve(model(folder(tmp_path, **config)))


@pytest.mark.parametrize("text", ["{", "[1]", '{"a": ' + "[" * 100_000, " " * (2**20 + 1)])
def test_a_configuration_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UsageError, match=r"it is not JSON|no configuration of transformers"):
        resolve(model(str(tmp_path)))


def test_what_a_folder_cannot_have(tmp_path: Path) -> None:
    reference = folder(tmp_path, model_type="rt_detr")
    with pytest.raises(UsageError, match="takes no backbone_weights: its weights lie beside"):
        resolve(model(reference, backbone_weights="any"))


# --- with it ---


@pytest.fixture
def transformers() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("transformers", reason="transformers is not installed")


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_family_is_counted_as_torch_counts_it(
    tmp_path: Path, transformers: Any, kind: str
) -> None:
    """The one gap: FlopCounterMode has no formula for the products with a vector of D-FINE's
    integral, of 33 bins for each of 4 sides, 5 queries and 2 layers."""
    config, size = SMALL[kind]
    asked = model(folder(tmp_path, model_type=kind, **config), nc=7)
    counted = trace(build_model(asked, "meta").module, size)
    made = build_model(asked)
    assert made.nc == 7
    assert made.notes == ("the weights are random: beside config.json there are none",)
    made.module.requires_grad_(False)
    images = torch.rand(1, 3, size, size)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as theirs:
        made.module(images)
    gap = 2 * 33 * 4 * 5 * 2 if kind == "d_fine" else 0
    assert counted.flops == theirs.get_total_flops() + gap
    assert counted.params == sum(each.numel() for each in made.module.parameters())
    assert not counted.uncounted
    parts = counted.by("stage")
    assert parts["backbone"].flops > 0
    assert parts["decoder"].flops > 0
    assert sum(part.flops for part in parts.values()) == counted.flops


def test_weights_beside_the_configuration_are_loaded(tmp_path: Path, transformers: Any) -> None:
    config, size = SMALL["yolos"]
    first = build_model(model(folder(tmp_path, model_type="yolos", **config), nc=3, seed=5)).module
    assert not {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"} & os.environ.keys()
    first.save_pretrained(tmp_path)  # type: ignore[operator]
    again = build_model(model(str(tmp_path)))
    assert again.notes == ()
    assert again.nc == 3
    for key, value in first.state_dict().items():
        assert torch.equal(value, again.module.state_dict()[key]), key
    images = torch.rand(1, 3, size, size)
    with torch.no_grad():
        assert torch.equal(first(images).logits, again.module(images).logits)
    assert len(resolve(model(str(tmp_path))).files) == 2
    other = build_model(model(str(tmp_path), nc=9))
    assert [note[:45] for note in other.notes] == ["2 tensors have another shape in the file of w"]


def test_what_transformers_refuses_is_said(tmp_path: Path, transformers: Any) -> None:
    config = SMALL["deformable_detr"][0] | {"d_model": 16}
    with pytest.raises(UsageError, match=r"config\.json: transformers cannot build it: "):
        build_model(model(folder(tmp_path, model_type="deformable_detr", **config)), "meta")
