"""`detrbench guidelines`: what it measures, lays out and refuses."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from detrbench.cli import main
from detrbench.experiments.guidelines import measuring
from detrbench.experiments.guidelines.rules import findings
from detrbench.reports.report import Report
from detrbench.timing.plan import Budget


def test_the_command_measures_for_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # One process that ends by itself, however long it takes on a busy machine.
    monkeypatch.setattr(measuring, "Budget", partial(Budget, processes=1, rounds=4))
    code = main(
        ["guidelines", "g1", "--threads", "1", "--budget", "90", "--folder", str(tmp_path / "kept"),
         "-o", str(tmp_path / "run.json")]
    )  # fmt: skip
    assert code == 0
    report = Report.load(tmp_path / "run.json")
    assert len(report.rows) == 12
    assert all(row.metrics["latency_median_s"] for row in report.rows)
    assert report.command.startswith("detrbench")
    (found,) = findings(report)
    assert found.guideline.name == "G1"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["G5"], ["unknown guideline 'G5'", "G4"]),
        (["--device", "gpu"], ["--device", "cuda:N"]),
        (["--widths", "amd"], ["--widths", "arm"]),
        (["--budget", "0"], ["--budget", "more than 0"]),
        (["--margin", "0"], ["--margin", "2%"]),
        (["--batch", "0"], ["--batch"]),
        (["--from", "none.json"], ["none.json", "cannot be read"]),
        (["G1", "--from", "none.json"], ["--from", "names cannot be given again"]),
        (["--format", "tabel"], ["--format", "table?"]),
    ],
)
def test_usage_errors(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["guidelines", *arguments]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words), said


def test_a_report_of_something_else_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Report(title="Latency").save(tmp_path / "run.json")
    assert main(["guidelines", "--from", str(tmp_path / "run.json")]) == 2
    assert "no rows of the guidelines' experiments" in capsys.readouterr().err
