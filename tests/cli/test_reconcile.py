"""`detrbench reconcile`: its answer, its formats and its exit codes."""

from __future__ import annotations

import csv
import functools
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from detrbench.cli import main
from detrbench.counting import reconcile
from detrbench.counting.conventions import CONVENTIONS
from detrbench.render import FORMATS
from tests.counting.once import counted_once


@pytest.fixture(autouse=True)
def one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others only take time; tests/counting/test_reconcile.py tells two apart."""
    monkeypatch.setattr(reconcile, "SIZES", (640,))


@pytest.fixture(autouse=True, scope="module")
def each_case_is_counted_once() -> Iterator[None]:
    """A search asks for the same few cases again and again, and its answer is tested elsewhere."""
    with counted_once(reconcile):
        yield


def answer_to(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main(["reconcile", *arguments, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


# --- searching ---


def test_the_answer_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reconcile", "rtdetr-l", "--params", "32.8M", "--gflops", "108.0"]) == 0
    captured = capsys.readouterr()
    assert (
        "rtdetr-l prints exactly 32.8M parameters and 108.0 GFLOPs when unfused, nc from 1 to 14, "
        "image 640x640, counted as thop does (2 FLOPs per MAC)."
    ) in " ".join(captured.out.split())
    assert captured.err == "starting ...\nsearching settings ...\n"


def test_what_was_found_as_json_and_csv(capsys: pytest.CaptureFixture[str]) -> None:
    """A class adds 4,454,400 FLOPs to 62,839,392,000: the third is the last that prints 62.8."""
    figures = ["shufflev2", "--params", "19.3M", "--gflops", "62.8"]
    found = answer_to(capsys, *figures)
    assert found["exact"] is True
    (settings,) = found["settings"]
    assert (settings["params_low"], settings["flops_low"]) == (19_321_543, 62_839_392_000)
    assert settings["flops_high"] == 62_839_392_000 + 2 * 4_454_400
    assert main(["reconcile", *figures, "--format", "csv"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    read = (row["nc_low"], row["nc_high"], row["imgsz"], row["convention"], row["flops_per_mac"])
    assert read == ("1", "3", "640", "thop", "2")


def test_what_comes_closest(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer_to(capsys, "shufflev2", "--params", "19.2M", "--gflops", "62.9")
    assert found["exact"] is False
    assert "the closest is off by 0.6%" in found["answer"]
    assert len(found["settings"]) == 1


def test_parameters_alone_say_nothing_of_image_and_convention(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = answer_to(capsys, "shufflev2", "--params", "19.3M")
    assert found["exact"] is True
    assert "unfused, nc from 1 to 14" in found["answer"]
    assert "counted as" not in found["answer"]
    assert "image" not in found["answer"]


@pytest.mark.parametrize("params", ["19,321,543", "19321543"])
def test_parameters_in_full_are_those_of_one_class_count(
    params: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer_to(capsys, "shufflev2", "--params", params)
    assert [(one["nc_low"], one["nc_high"]) for one in found["settings"]] == [(1, 1)]
    assert found["exact"] is True


def test_a_published_table_is_explained_row_by_row(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Of the first row, 1 to 3 classes print its GFLOPs; of the second, only 2 its parameters."""
    file = tmp_path / "paper.csv"
    file.write_text('model,Params,GFLOPs,Latency\nshufflev2,19.3M,62.8,10.5\n'
                    'shufflev2,"19,323,598",,\n')  # fmt: skip
    found = answer_to(capsys, "--table", str(file))
    first, second = found["rows"]
    assert (first["row"], first["latency"], first["exact"]) == (2, "10.5", True)
    (settings,) = first["settings"]
    assert (settings["nc_low"], settings["nc_high"], settings["convention"]) == (1, 3, "thop")
    assert [(one["nc_low"], one["nc_high"]) for one in second["settings"]] == [(2, 2)]
    (common,) = found["common"]
    assert (common["convention"], common["nc_low"], common["nc_high"]) == ("thop", 2, 2)
    assert found["apart"] == []


# --- components ---


def test_components_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    data = answer_to(capsys, "shufflev2-x0.5", "--imgsz", "64", "--nc", "3", "--fuse")
    assert data["settings"] == {"imgsz": "64x64", "batch": 1, "nc": 3, "fused": True}
    assert len(data["counters"]) + len(data["missing"]) == 3
    assert all(counter["residual_flops"] == 0 for counter in data["counters"].values())
    assert data["counters"]["torch"]["counter"] == f"torch {torch.__version__}"
    core = sum(booked.get("core", 0) for booked in data["components_macs"].values())
    assert 2 * core == data["counters"]["torch"]["flops"]


def test_components_as_csv_and_text(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = functools.cache(reconcile.reconcile)
    monkeypatch.setattr(reconcile, "reconcile", lambda case, progress: once(case))
    command = ["reconcile", "shufflev2-x0.5", "--imgsz", "64x96"]
    file = tmp_path / "components.csv"
    assert main([*command, "-o", str(file)]) == 0
    assert capsys.readouterr().out == ""
    rows = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))
    columns = ["component", *(f"{name}_macs" for name in CONVENTIONS), "status", "reason"]
    assert list(rows[0]) == columns
    assert rows[0]["component"] == "convolutions"
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "image 64x96, batch 1, nc=80, unfused" in " ".join(text.split())
    for row in rows:
        assert row["component"] in text
    assert "residual, MACs" in text


def test_a_counter_that_the_components_miss_is_named_and_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = reconcile.run_counter

    def differs(name: str, *arguments: Any) -> Any:
        counted = run(name, *arguments)
        return replace(counted, flops=counted.flops + 2000) if name == "torch" else counted

    monkeypatch.setattr(reconcile, "run_counter", differs)
    command = ["reconcile", "shufflev2-x0.5", "--imgsz", "64"]
    for format in ("table", "csv", "json"):
        assert main([*command, "--format", format]) == 4
        said = " ".join(capsys.readouterr().out.split())
        assert "counts 2,000 FLOPs more than the components add up to" in said


def test_a_counter_that_is_missing_is_named_with_the_cure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*arguments: Any) -> Any:
        raise reconcile.CounterMissing("thop is not installed", hint="pip install it")

    monkeypatch.setitem(reconcile.COUNTERS, "thop", gone)  # type: ignore[arg-type]
    data = answer_to(capsys, "shufflev2-x0.5", "--imgsz", "64")
    assert "thop" not in data["counters"]
    assert data["missing"] == {"thop": "thop is not installed\n  pip install it"}


# --- usage ---

WRONG: dict[str, tuple[list[str], list[str]]] = {
    "parameters and classes": (["--params", "32.8M", "--nc", "1"], ["--nc", "leave them out"]),
    "FLOPs and fusing": (["--gflops", "108.0", "--fuse"], ["--fuse"]),
    "FLOPs and a size": (["--gflops", "108.0", "--imgsz", "320"], ["--imgsz"]),
    "no number": (["--gflops", "many"], ["--gflops", "'many'", "108.0"]),
    "no parameters": (["--params", "-3M"], ["--params"]),
    "no size": (["--imgsz", "0"], ["--imgsz"]),
    "no such format": (["--format", "jsn"], ["--format", "json?"]),
    "no such blocks": (["--blocks", "none.py"], ["--blocks", "none.py"]),
    "a model and a table": (["--table", __file__], ["--table", "alone"]),
    "not a multiple of the stride": (["--imgsz", "650"], ["650", "32"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_exit_2_and_name_the_flag(
    name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, words = WRONG[name]
    assert main(["reconcile", "rtdetr-l", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    for word in words:
        assert word in captured.err


def test_a_table_that_cannot_be_read_is_said_with_its_place(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "paper.csv"
    file.write_text("model,params\nrtdetr-1,3\n")
    assert main(["reconcile", "--table", str(file)]) == 2
    assert f"{file}, row 2, column 'model': there is no model" in capsys.readouterr().err
    assert main(["reconcile", "--table", str(tmp_path / "none.csv")]) == 2
    assert "--table: " in capsys.readouterr().err
    assert main(["reconcile"]) == 2
    assert "no model is named" in capsys.readouterr().err


def test_an_unknown_model_suggests_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reconcile", "rtdetr-1"]) == 2
    assert "rtdetr-l" in capsys.readouterr().err


@pytest.mark.parametrize("figure", ["0.0", "0M"])
@pytest.mark.parametrize("flag", ["--params", "--gflops"])
def test_nothing_can_be_found_for_zero(
    flag: str, figure: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reconcile", "shufflev2-x0.5", flag, figure]) == 2
    assert flag in capsys.readouterr().err


# --- what is not counted ---

UNKNOWN = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 80, 1)

    def forward(self, x):
        return self.b(torch.special.i0e(self.a(x)))
"""


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("way", ["components", "search", "table", "lint"])
def test_what_is_not_counted_is_said_in_every_format(
    way: str, format: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "net.py").write_text(UNKNOWN, encoding="utf-8")
    net = f"{tmp_path}/net.py:Net"
    (tmp_path / "paper.csv").write_text(f"model,params\n{net},944\n", encoding="utf-8")
    command = {
        "components": ["reconcile", net, "--imgsz", "64"],
        "search": ["reconcile", net, "--params", "0.000944M"],
        "table": ["reconcile", "--table", str(tmp_path / "paper.csv")],
        "lint": ["lint", net, "--imgsz", "64"],
    }[way]
    assert main([*command, "--format", format]) == 4
    told = " ".join(capsys.readouterr().out.split())
    assert "partial" in told
    assert "special" in told
    assert "1 of 3 kernels" in told
    if (way, format) == ("search", "table"):
        assert "net.py:Net (partial: not all of it is counted) prints exactly" in told
        assert "when unfused." in told
        assert "Tried: its own classes, unfused alone, every" in told
