"""ResNet-D as the forks have it: what their summaries print, and what a row may not say."""

from __future__ import annotations

from pathlib import Path

import pytest

from detrbench import profile
from detrbench.core.errors import SpecError
from detrbench.models.builder import build
from detrbench.models.catalog import find_model
from detrbench.models.yaml_spec import load_model_spec
from detrbench.reports.report import Result


def counted(reference: str, **asked: object) -> Result:
    return profile([reference], **asked).rows[0]  # type: ignore[arg-type]


def variant(folder: Path, model: str, **changed: str) -> str:
    """The path of a copy of `model` with other words in it."""
    text = find_model(model).read_text(encoding="utf-8").partition("detrbench:")[0]
    for old, new in changed.items():
        assert old in text
        text = text.replace(old, new)
    path = folder / "variant.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("name", "params", "gflops", "flops"),
    [
        ("rtdetr-r18", 20_184_464, 58.6, 59_347_865_600),
        ("rtdetr-r34", 31_441_668, 90.6, 91_454_566_400),
    ],
)
def test_the_forks_own_summaries(name: str, params: int, gflops: float, flops: int) -> None:
    values = counted(name).metrics
    assert values["params"] == params
    assert values["flops"] == flops
    assert round(values["flops_thop"] / 1e9, 1) == gflops  # type: ignore[operator]


def test_r18_fused() -> None:
    fused = counted("rtdetr-r18", nc=1, fuse=True).metrics
    assert (fused["params"], fused["kernels"]) == (19_873_044, 363)
    assert round(fused["flops_thop"] / 1e9, 1) == 56.9  # type: ignore[operator]


def test_r50_of_the_forks(tmp_path: Path) -> None:
    """Bottlenecks under the neck and decoder of rtdetr-l: their summary says 42,944,620."""
    words = {"BasicBlock, 2, 2": "BottleNeck, 3, 2", "BasicBlock, 2, 3": "BottleNeck, 4, 3"}
    words |= {"BasicBlock, 2, 4": "BottleNeck, 6, 4", "BasicBlock, 2, 5": "BottleNeck, 3, 5"}
    words |= {"[256, 0.5]": "[256]", "[nc, 256, 300, 4, 8, 3]": "[nc]"}
    path = variant(tmp_path, "rtdetr-r18", **words)
    detector = build(path, device="meta")
    assert sum(parameter.numel() for parameter in detector.parameters()) == 42_944_620


def test_only_rows_of_the_forks_bring_their_embedding() -> None:
    """It knows a class more, of 256 numbers, that only training reads."""
    rows = {name: build(name, device="meta").model[-1] for name in ("rtdetr-r18", "rtdetr-l")}
    sizes = {name: row.denoising_class_embed.num_embeddings for name, row in rows.items()}
    assert sizes == {"rtdetr-r18": 81, "rtdetr-l": 80}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("None, False, ", "None, ", "`bias` is 'relu'; it is True or False, and an activation"),
        ('"relu"', '"rleu"', "there is no activation 'rleu'; did you mean relu or"),
        ("BasicBlock", "BasicBlok", "there is no kind of block 'BasicBlok'; did you mean BasicBl"),
        ("BasicBlock, 2, 2", "BasicBlock, 2, 1", "the stage is 1, not a number from 2 to 5"),
        ("BasicBlock, 2, 2", "BasicBlock, 0, 2", "the number of blocks is 0, not 1 or more"),
        ('2, "relu"]]  # 4', '2, "relu", e]]  # 4', "there is no variant 'e'; known: a, b, c, d."),
    ],
)
def test_what_a_row_may_not_say(old: str, new: str, said: str, tmp_path: Path) -> None:
    path = variant(tmp_path, "rtdetr-r18", **{old: new})
    load_model_spec(path)
    with pytest.raises(SpecError, match=r"row [04]") as caught:
        build(path, device="meta")
    assert said in str(caught.value)
