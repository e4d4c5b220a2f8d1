"""A folder full of files that are called as whatever we import: none of them is run."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import detrbench
from detrbench.core import processes

PACKAGE = Path(detrbench.__file__).parent
TINY = """nc: 2
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [8, 3, 2]]
head:
  - [[2, 3, 4], 1, RTDETRDecoder, [nc, 8, 20, 4, 4, 1, 16]]
"""


def imported() -> set[str]:
    """The first name of every import in the package."""
    found = {"detrbench", "runpy", "site", "sitecustomize"}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                found.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize(
    "command",
    [
        ["profile", "tiny.yaml", "--imgsz", "64"],
        ["latency", "tiny.yaml", "--imgsz", "64", "--processes", "1", "--rounds", "6"],
    ],
    ids=["profile", "latency"],
)
def test_nothing_of_the_current_folder_is_run(command: list[str], tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "bin"
    here.mkdir()
    there.mkdir()
    names = imported()
    assert {"yaml", "torch", "json", "typer", "random", "signal"} <= names
    for name in names:
        (here / f"{name}.py").write_text("open('EXECUTED', 'a').write(__name__)\n")
    (here / "tiny.yaml").write_text(TINY)
    script = there / "detrbench"
    script.write_text("from detrbench.__main__ import run\nrun()\n")
    done = subprocess.run(
        [sys.executable, str(script), *command],
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "tiny.yaml" in done.stdout, done.stderr
    assert done.returncode in (0, 4), done.stderr
    assert not (here / "EXECUTED").exists()


def test_isolated_forgets_what_pythonpath_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = str(PACKAGE.parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), home]))
    monkeypatch.setattr(sys, "path", [str(tmp_path), home, "lib"])
    processes.forget_pythonpath()
    assert sys.path == [home, "lib"]
    assert processes.environment()["PYTHONPATH"] == home
