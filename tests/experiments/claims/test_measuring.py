"""The suite `claims`, with parts that nobody measures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from detrbench.cli import main
from detrbench.experiments.claims.rules import V1, V2
from detrbench.reports.report import Report, Result
from tests.experiments.claims.reports import CPU, CUDA, report


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> dict[str, Report]:
    """What each part of the suite would find; a part that is asked for says so in `asked`."""
    rows = (Result("n", "n", {**CPU, "guideline": "G1", "experiment": "x1", "network": "1:1"}, {}),)
    found = {
        "article": report({V2: 0.6}),
        "rivals": report({V2: 0.6, V1: 0.7}),
        "guidelines": replace(report({V2: 1.1}), rows=rows, comparisons=()),
    }

    def run(suite: Any, *, output: Path, **_: Any) -> Report:
        assert {case.execution.device for case in suite.cases} == {"cpu"}
        output.mkdir(parents=True, exist_ok=True)
        found[suite.name].save(output / "run.json")
        return found[suite.name]

    def guidelines(*, device: str, folder: Path, **_: Any) -> Report:
        folder.mkdir(parents=True)
        return found["guidelines"]

    monkeypatch.setattr("detrbench.experiments.suites.run", run)
    monkeypatch.setattr("detrbench.experiments.claims.measuring.measure_guidelines", guidelines)
    return found


def run_claims(folder: Path, *more: str) -> int:
    return main(["run", "claims", "-o", str(folder), *more])


def test_the_suite_measures_each_part_once_and_rules(
    measured: dict[str, Report],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    assert run_claims(tmp_path) == 0
    printed = capsys.readouterr()
    for file in ("claims.md", "rivals/run.json", "guidelines/table.md"):
        assert f"wrote {tmp_path}/{file}" in printed.err
    assert "notes.txt" not in printed.err  # what lies deeper is not of this run
    assert (tmp_path / "guidelines" / "table.md").is_file()
    assert not (tmp_path / "guidelines" / "processes").exists()
    rulings = json.loads((tmp_path / "claims.json").read_text())
    assert len(rulings["claims"]) == 6
    assert len(rulings["evidence"]) == 3
    assert "takes less time" in (tmp_path / "claims.md").read_text()

    monkeypatch.setattr("detrbench.experiments.suites.run", None)  # not called again
    monkeypatch.setattr("detrbench.experiments.claims.measuring.measure_guidelines", None)
    assert run_claims(tmp_path) == 0
    again = capsys.readouterr()
    assert again.out == printed.out
    assert "rivals: kept" in again.err


def test_an_interrupted_suite_rules_on_what_it_has_and_goes_on(
    measured: dict[str, Report], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = measured["rivals"]
    cut = tuple(replace(row, status="interrupted", reason="Ctrl-C") for row in whole.rows)
    measured["rivals"] = Report(cut)
    assert run_claims(tmp_path) == 130
    assert not (tmp_path / "guidelines").exists()
    rulings = json.loads((tmp_path / "claims.json").read_text())["claims"]
    assert rulings[1]["verdict"] == "supported in part"
    assert {part["verdict"] for part in rulings[0]["parts"]} == {"not measured"}

    measured["rivals"] = whole
    capsys.readouterr()
    assert run_claims(tmp_path) == 0
    told = capsys.readouterr().err
    assert "article: kept" in told
    assert "rivals: kept" not in told


def test_parts_of_another_device_are_not_taken_for_this_one(
    measured: dict[str, Report], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "article").mkdir()
    report({V2: 0.6}, settings=CUDA).save(tmp_path / "article" / "run.json")
    assert run_claims(tmp_path) == 2
    told = capsys.readouterr().err
    for word in ("article/run.json", "cuda:0", "-o"):
        assert word in told
