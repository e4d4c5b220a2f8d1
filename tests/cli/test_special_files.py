"""Pipes, devices, folders and files of the system in place of each file that a command takes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from detrbench.cli import main

COMMANDS = (
    "profile {}",
    "latency {}",
    "profile rtdetr-l --blocks {}",
    "profile rtdetr-l --weights {}",
    "profile rtdetr-l --backbone-weights {}",
    "report {}",
    "gate {} --baseline {}",
    "diff {} {}",
    "claims --rivals {}",
    "lint rtdetr-l --times {}",
    "guidelines --from {}",
    "reconcile --table {}",
    "predict rtdetr-l --device-profile {}",
    "run {}",
)


def special(kind: str, folder: Path) -> str:
    if kind == "pipe":
        os.mkfifo(folder / "pipe")
        return str(folder / "pipe")
    return {"device": "/dev/zero", "folder": str(folder), "of the system": "/proc/self/status"}[
        kind
    ]


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "of the system"])
@pytest.mark.parametrize("command", COMMANDS)
def test_it_is_refused_before_it_is_read(
    command: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = command.replace("{}", special(kind, tmp_path)).split()
    assert main(words) in (2, 4)
    said = "".join(capsys.readouterr())
    assert "error: " in said or said.startswith("INVALID: ")


@pytest.mark.parametrize("command", ["latency", "run", "explain", "selfcheck", "guidelines"])
def test_a_pipe_in_a_folder_to_go_on_with(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("request.json", "suite.json", "asked.json", "session.json", "selfcheck.json"):
        os.mkfifo(tmp_path / name)
    assert main([command, "--resume", str(tmp_path)]) in (2, 4)
    assert "error: " in capsys.readouterr().err


def test_a_pipe_among_saved_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "run.json")
    assert main(["history", str(tmp_path)]) == 2
    assert "no saved report is below" in capsys.readouterr().err
