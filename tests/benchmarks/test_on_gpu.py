"""benchmarks/on_gpu.sh, with an interpreter that only writes down what it was asked to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from detrbench.reports.report import Report, Result

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "on_gpu.sh"

# $REPORT is copied to where -o points; $BROKEN is a part of a command that fails.
INTERPRETER = """#!/usr/bin/env bash
if [[ $1 == - ]]; then exec {python} "$@"; fi
if [[ $1 == -c ]]; then exit "${{NO_DEVICE:-0}}"; fi
echo "$*" >>"$CALLS"
if [[ -n $BROKEN && "$*" == *"$BROKEN"* ]]; then echo "it broke"; exit 4; fi
while (($#)); do
    if [[ $1 == -o ]]; then cp "$REPORT" "$2"; fi
    shift
done
"""

pytestmark = pytest.mark.skipif(
    os.name == "nt" or shutil.which("timeout") is None, reason="needs bash and coreutils' timeout"
)


class Rehearsal:
    def __init__(self, root: Path) -> None:
        self.folder, self.calls_file = root / "made" / "reports", root / "calls"
        interpreter = root / "python"
        interpreter.write_text(INTERPRETER.format(python=sys.executable))
        interpreter.chmod(0o755)
        report = root / "report.json"
        row = Result("m", "m", {"imgsz": "64x64"}, {})
        Report(rows=(row,), detrbench_version="0").save(report)
        self._environment = {
            "PYTHON": str(interpreter),
            "CALLS": str(self.calls_file),
            "REPORT": str(report),
            "BROKEN": "",
        }

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(SCRIPT), *(arguments or (str(self.folder),))],
            env={**os.environ, **self._environment, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    @property
    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []

    @property
    def steps(self) -> str:
        return (self.folder / "steps.log").read_text()


@pytest.fixture
def rehearsal(tmp_path: Path) -> Rehearsal:
    return Rehearsal(tmp_path)


def test_every_setting_gets_a_report_and_a_log(rehearsal: Rehearsal) -> None:
    done = rehearsal.run()
    names = {path.stem for path in rehearsal.folder.glob("*.json")}
    settings = {
        f"{cache}-{dtype}-{runtime}-b{batch}"
        for cache in ("warm", "cold")
        for dtype in ("float32", "float16")
        for runtime in ("eager", "cudagraph", "compile")
        for batch in (1, 8)
    }
    assert settings <= names
    assert names - settings == {
        *(f"stages-{dtype}-b1" for dtype in ("float32", "float16")),
        *(f"verdict-float16-{runtime}-b1" for runtime in ("eager", "cudagraph", "compile")),
    }
    assert all((rehearsal.folder / f"{name}.log").exists() for name in names)
    summary = (rehearsal.folder / "summary.md").read_text()
    assert summary.count("## ") == len(names), done.stderr
    assert (rehearsal.folder / "tests.log").exists()


def test_what_is_asked_of_detrbench(rehearsal: Rehearsal) -> None:
    rehearsal.run(MODELS="a b", IMGSZ="320", DEVICE="cuda:1")
    calls = rehearsal.calls
    assert calls[0].startswith("-m pytest -q -m cuda")
    ahead = [call for call in calls if "--rounds 1 " in call]
    assert len(ahead) == 8, "each model, dtype and batch is compiled ahead"
    timed = [call for call in calls if " -o " in call]
    assert all(
        call.startswith("-m detrbench latency a b --device cuda:1 --imgsz 320") for call in timed
    )
    assert calls.index(timed[0]) > max(map(calls.index, ahead)), "nothing is timed meanwhile"
    assert sum("--cold-l2" in call for call in timed) == 12
    assert sum("--stages" in call for call in timed) == 2


def test_a_step_that_fails_is_said_and_the_others_go_on(rehearsal: Rehearsal) -> None:
    done = rehearsal.run(BROKEN="--runtime compile --dtype float16 --batch 8 --processes 1 ")
    assert done.returncode == 1
    assert "exit code 4: warm-float16-compile-b8 (it broke)" in rehearsal.steps
    assert "done: verdict-float16-compile-b1" in rehearsal.steps


def test_time_that_is_over_leaves_steps_out_and_says_so(rehearsal: Rehearsal) -> None:
    rehearsal.run(LIMIT="10")
    assert "left out, the time is over: warm-float32-eager-b1" in rehearsal.steps
    assert "left out, the time is over: verdict-float16-compile-b1" in rehearsal.steps
    assert not list(rehearsal.folder.glob("*.json"))


def test_without_a_device_there_is_nothing_to_do(rehearsal: Rehearsal) -> None:
    assert rehearsal.run(NO_DEVICE="1").returncode == 2
    assert rehearsal.calls == []


def test_a_folder_must_be_named(rehearsal: Rehearsal) -> None:
    done = rehearsal.run(str(rehearsal.folder), "another")
    assert done.returncode == 2
    assert "benchmarks/on_gpu.sh FOLDER" in done.stderr
