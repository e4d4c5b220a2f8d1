"""`report`, `diff` and `history` on saved files, through the command line."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from detrbench.cli import main
from detrbench.reports.report import Report
from tests.render.sample import REPORT

_TIMED, _TOLD, *_REST = REPORT.rows
SOUND = dataclasses.replace(
    REPORT,
    rows=(
        dataclasses.replace(_TIMED, metrics=_TIMED.metrics | {"latency_samples": 2}),
        dataclasses.replace(
            _TOLD,
            metrics={
                key: value for key, value in _TOLD.metrics.items() if key != "latency_samples"
            },
        ),
        *_REST,
    ),
    comparisons=(),
)
"""What a renderer must show, as far as a file may say it."""

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    SOUND.save(tmp_path / "run.json")
    return tmp_path / "run.json"


@pytest.mark.parametrize("format", ["table", "markdown", "csv", "latex", "json"])
def test_a_saved_report_is_rendered_again(saved: Path, capsys: Capture, format: str) -> None:
    assert main(["report", str(saved), "--to", format]) == 0
    assert "rtdetr-l" in capsys.readouterr().out


def test_json_is_the_report_itself(saved: Path, capsys: Capture) -> None:
    assert main(["report", str(saved), "--to", "json"]) == 0
    assert Report.from_json(capsys.readouterr().out) == SOUND


def test_the_suffix_chooses_the_format(saved: Path, tmp_path: Path) -> None:
    target = tmp_path / "table.tex"
    assert main(["report", str(saved), "-o", str(target), "--by", "stage"]) == 0
    assert r"\toprule" in target.read_text(encoding="utf-8")


def test_chinese_headers(saved: Path, capsys: Capture) -> None:
    assert main(["report", str(saved), "--to", "markdown", "--lang", "zh"]) == 0
    assert "| 模型 | 参数量 (M) |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["report", "nowhere.json"], "cannot be read"),
        (["report", "RUN", "--to", "word"], "--to: unknown value 'word'"),
        (["report", "RUN", "--lang", "fr"], "unknown language"),
        (["report", "RUN", "--by", "layer"], "cannot break a model down"),
        (["diff", "RUN", "nowhere.json"], "cannot be read"),
        (["history", "nowhere"], "not a folder"),
    ],
)
def test_bad_input_is_said(saved: Path, capsys: Capture, arguments: list[str], said: str) -> None:
    words = [str(saved) if word == "RUN" else word for word in arguments]
    assert main(words) == 2
    assert said in capsys.readouterr().err


def test_diff_of_a_report_with_itself(saved: Path, capsys: Capture) -> None:
    assert main(["diff", str(saved), str(saved)]) == 0
    assert "every value is the same" in " ".join(capsys.readouterr().out.split())


def test_history_of_a_folder(saved: Path, capsys: Capture) -> None:
    assert main(["history", str(saved.parent), "--metric", "params", "--format", "csv"]) == 0
    assert "32970476" in capsys.readouterr().out
