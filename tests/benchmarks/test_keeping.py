"""What the experiments share: a file that says how to go on with it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.benchmarks.scripts import load


@pytest.fixture
def keeping(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("keeping", monkeypatch)


def run(keeping: ModuleType, monkeypatch: pytest.MonkeyPatch, *typed: object) -> dict[str, Any]:
    """An experiment of `--trials` numbers at `--imgsz`; what it keeps in the end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--trials", type=int, default=1)
    monkeypatch.setattr(sys, "argv", ["experiment", *map(str, typed)])
    asked = keeping.arguments(parser)

    def experiment(asked: argparse.Namespace, kept: dict[str, Any]) -> None:
        kept["trials"] += [asked.imgsz] * (asked.trials - len(kept["trials"]))
        keeping.save(asked, kept)

    keeping.go_on(asked, {"trials": []}, experiment, lambda kept: "done", ("trials",))
    kept: dict[str, Any] = json.loads(asked.output.read_text())
    return kept


def test_a_file_is_gone_on_with_as_it_was_asked_for(
    keeping: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "raw.json"
    assert run(keeping, monkeypatch, "-o", file, "--imgsz", 64)["trials"] == [64]
    assert run(keeping, monkeypatch, "--resume", file)["trials"] == [64]
    assert run(keeping, monkeypatch, "--resume", file, "--trials", 3)["trials"] == [64] * 3
    again = run(keeping, monkeypatch, "--resume", file)
    assert (again["trials"], again["numbers"]) == ([64] * 3, {"trials": 3})
    with pytest.raises(SystemExit, match="other settings"):
        run(keeping, monkeypatch, "--resume", file, "--imgsz", 32)


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ([], "one of the arguments -o/--output --resume is required"),
        (["-o", "a.json", "--resume", "b.json"], "not allowed with"),
        (["--resume", "missing.json"], "No such file"),
    ],
)
def test_what_cannot_be_gone_on_with_is_said(
    keeping: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    typed: list[str],
    told: str,
) -> None:
    with pytest.raises(SystemExit):
        run(keeping, monkeypatch, *typed)
    assert told in capsys.readouterr().err
