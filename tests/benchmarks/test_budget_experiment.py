"""The budgets' experiment: command lines, what was heard and when, and the table."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from detrbench.experiments.suites import load_suite
from tests.benchmarks.scripts import load


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("budget_experiment", monkeypatch)


def wanted(**changed: Any) -> Namespace:
    usual = {
        "models": ["rtdetr-l", "shufflev2"],
        "imgsz": 64,
        "threads": None,
        "seed": 0,
        "commands": ["latency", "probe"],
        "budgets": [10.0, 20.0],
        "repeats": 2,
    }
    return Namespace(**{**usual, **changed})


def test_every_command_gets_its_command_line(script: ModuleType, tmp_path: Path) -> None:
    lines = {
        command: " ".join(script.words_of(wanted(threads=1), command, tmp_path))
        for command in script.COMMANDS
    }
    folder = str(tmp_path)
    assert {name: line.replace(folder, "F") for name, line in lines.items()} == {
        "latency": "latency rtdetr-l shufflev2 --imgsz 64 --threads 1",
        "run": "run F/pair.yaml -o F/run",
        "gate": "gate --rev HEAD F/rtdetr-l.yaml --imgsz 64 --threads 1",
        "guidelines": "guidelines G1 --threads 1",
        "selfcheck": "selfcheck shufflev2 --imgsz 64 --threads 1",
        "explain": "explain rtdetr-l shufflev2 --imgsz 64 --threads 1",
        "probe": "probe --threads 1",
    }
    assert (tmp_path / ".git").is_dir()
    suite = load_suite(tmp_path / "pair.yaml")
    assert {case.execution.imgsz for case in suite.cases} == {(64, 64)}
    assert {case.execution.threads for case in suite.cases} == {1}


def test_what_is_missing_is_drawn_for_each_repeat_and_stays_so(script: ModuleType) -> None:
    everything = script.missing(wanted(), {"runs": []})
    assert len(everything) == len(set(everything)) == 8
    done = {"runs": [{**one._asdict(), "seconds": 1.5 * one.budget_s} for one in everything[:3]]}
    assert script.missing(wanted(), done) == everything[3:]
    left_s = 1.5 * sum(one.budget_s for one in everything[3:])
    assert script.seconds_left(wanted(), done) == pytest.approx(left_s)


def test_a_line_drawn_again_is_nothing_new(script: ModuleType) -> None:
    heard = script.Heard(100.0)
    heard.say("\r\x1b[K", 101.0)
    heard.say("\r\x1b[Kpilot  12 s left", 103.0)
    heard.say("\r\x1b[Kpilot  12 s left", 108.0)
    heard.say("\r\x1b[Kpilot  2 s left", 113.0)
    heard.end(115.0)
    assert (heard.first_s, heard.longest_s) == (3.0, 10.0)


def test_the_last_lines_are_those_with_words(script: ModuleType) -> None:
    text = "\r\x1b[Ka\r\x1b[Kb\r\x1b[K\r\n\r\nError: no budget\r\n"
    assert script.last_lines(text, 2) == ["b", "Error: no budget"]


def test_who_says_nothing_is_silent_to_the_end(script: ModuleType) -> None:
    heard = script.Heard(100.0)
    heard.end(107.0)
    assert (heard.first_s, heard.longest_s) == (None, 7.0)


@pytest.mark.skipif(os.name == "nt", reason="there are no such terminals")
def test_a_run_sees_a_terminal_and_a_state_of_its_own(script: ModuleType, tmp_path: Path) -> None:
    code = (
        "import os, sys; print('data'); print(sys.stderr.isatty(), "
        "os.environ['XDG_STATE_HOME'], file=sys.stderr); sys.exit(3)"
    )
    told = script.watched([sys.executable, "-c", code], tmp_path, limit_s=60.0)
    assert told["exit_code"] == 3
    assert told["said"] == [f"True {tmp_path / 'state'}"]
    assert 0 < told["first_progress_s"] <= told["seconds"]
    assert (tmp_path / "stdout").read_text() == "data\n"


@pytest.mark.skipif(os.name == "nt", reason="there are no such terminals")
def test_a_run_that_does_not_end_is_ended(script: ModuleType, tmp_path: Path) -> None:
    waits = [sys.executable, "-c", "import time; time.sleep(600)"]
    told = script.watched(waits, tmp_path, limit_s=0.2)
    assert told["exit_code"] is None


def test_runs_are_kept_told_and_gone_on_with(
    script: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    commands: list[Sequence[str]] = []

    def watched(command: Sequence[str], folder: Path, limit_s: float) -> dict[str, Any]:
        commands.append(command)
        if len(commands) == 2:
            raise KeyboardInterrupt
        budget_s = float(command[command.index("--budget") + 1])
        return {
            "seconds": 1.1 * budget_s,
            "exit_code": 4 if budget_s < 15 else 0,
            "first_progress_s": 0.5,
            "longest_silence_s": 2.0,
            "said": ["too short"],
        }

    def run(*arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", ["experiment", *map(str, arguments)])
        assert script.main() == 0

    monkeypatch.setattr(script, "watched", watched)
    file = tmp_path / "budgets.json"
    run("-o", file, "--commands", "probe", "--budgets", 10, 20, "--busy", 0)
    assert len(json.loads(file.read_text())["runs"]) == 1
    run("--resume", file)
    assert len(json.loads(file.read_text())["runs"]) == 2
    printed = capsys.readouterr().out
    assert "| probe | 10 | 11.0 | +10.0% | 4 | 0.5 | 2.0 |" in printed
    assert "| probe | 20 | 22.0 | +10.0% | 0 | 0.5 | 2.0 |" in printed
    assert "probe in 10 s ended with: too short" in printed


def test_an_unknown_command_is_refused(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["experiment", "-o", "a.json", "--commands", "profile"])
    with pytest.raises(SystemExit):
        script.main()


def test_nothing_measured_is_said(script: ModuleType) -> None:
    assert script.summary({"settings": {}, "runs": []}) == "nothing was measured yet"
