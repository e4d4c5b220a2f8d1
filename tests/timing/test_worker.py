"""Real workers on small models: the whole way once, and kill -9 to the worker and to the parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from detrbench.models.catalog import find_model
from detrbench.reports.parse_cases import make_cases
from detrbench.reports.report import Report
from detrbench.timing.measuring import measure_latency, resume_latency
from detrbench.timing.process import Request
from detrbench.timing.records import load_outcomes
from detrbench.timing.rounds import Progress
from detrbench.timing.stop_rules import Plan
from detrbench.timing.supervisor import run_worker
from tests.timing.processes import children, descendants, ends

SMALL: dict[str, Any] = {"nc": 1, "imgsz": (64, 64), "threads": 1}
MODEL = "shufflev2-x0.5"


def test_two_processes_for_real(tmp_path: Path) -> None:
    told: list[Progress] = []
    said: list[str] = []
    report = measure_latency(
        [MODEL], **SMALL, budget_s=None, processes=2, rounds=2,
        folder=tmp_path, progress=told.append, announce=said.append,
    )  # fmt: skip
    (row,) = report.rows
    assert (row.status, row.metrics["latency_processes"]) == ("ok", 2)
    assert [len(samples) for samples in row.samples["latency_s"]] == [2, 2]
    assert row.metrics["latency_samples"] == 4
    assert report.environment["threads"] == 1
    assert Report.from_json(report.to_json()) == report
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "process-01.json", "process-02.json", "request.json",
    ]  # fmt: skip
    assert told[0].phase == "pilot"
    assert any(sentence.startswith("plan: 2 processes of 2 rounds") for sentence in said)
    again = resume_latency(tmp_path)
    assert again.rows[0].samples["latency_s"] == row.samples["latency_s"]


def test_kill_9_to_a_worker_loses_nothing_it_had_measured(tmp_path: Path) -> None:
    """The parent learns the worker's number from the system, as a person with `ps` would."""
    rounds = 0

    def kill(progress: Progress) -> None:
        nonlocal rounds
        if progress.phase == "timing":
            rounds += 1
        if rounds == 3:
            for child in children(os.getpid()):
                os.kill(child, signal.SIGKILL)

    cases = make_cases([MODEL], {key: [value] for key, value in SMALL.items()})
    request = Request(cases, plan=Plan(budget_s=None, rounds=500))
    outcome = run_worker(request, tmp_path, 1, progress=kill)
    assert outcome.status == "failed"
    assert str(outcome.reason).startswith("killed by SIGKILL")
    assert len(outcome.rounds[MODEL]["latency_s"]) >= 3
    assert load_outcomes(tmp_path) == (outcome,)


PARENT = """
import sys
from pathlib import Path
from detrbench.timing.measuring import measure_latency
measure_latency([{model!r}], nc=1, imgsz=(64, 64), threads=1, budget_s=None, processes=2,
                rounds={rounds}, folder=Path(sys.argv[1]),
                progress=lambda progress: print(progress.phase, flush=True))
"""


def test_kill_9_to_the_parent_leaves_all_and_another_goes_on(tmp_path: Path) -> None:
    text = PARENT.format(model=MODEL, rounds=4)
    parent = subprocess.Popen(
        [sys.executable, "-c", text, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    for line in parent.stdout:
        if line.startswith("process 2"):
            break
    server_and_worker = descendants(parent.pid)
    parent.kill()
    parent.wait()
    assert len(server_and_worker) == 2
    assert all(ends(each) for each in server_and_worker)

    first, second = load_outcomes(tmp_path)
    assert first.status == "ok"
    assert second.status in ("interrupted", "ok")  # it noticed, or had just come to its end
    report = resume_latency(tmp_path)
    assert report.rows[0].status == "ok"
    assert len(report.rows[0].samples["latency_s"]) >= 2
    assert report.rows[0].samples["latency_s"][0] == first.measurement.series[0].latency_s  # type: ignore[union-attr]


ORPHAN = """
import subprocess, sys
code = "import time, detrbench.core.processes as it; it.end_with_parent(); print(flush=True); "
command = [sys.executable, "-c", code + "time.sleep(1000)"]
worker = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
worker.stdout.readline()
print(worker.pid, flush=True)
worker.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a worker notices by its pipe")
def test_a_worker_in_a_long_call_ends_with_its_parent() -> None:
    """It has nothing to say, so a broken pipe would not tell it."""
    with subprocess.Popen([sys.executable, "-c", ORPHAN], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
    assert ends(worker)


DEADLY = """
import os, signal
from torch import nn

class Deadly(nn.Upsample):
    width_arg = None

    def __init__(self, c1, *arguments):
        super().__init__(*arguments)
        self.out_channels = c1

    def forward(self, x):
        if x.device.type != "meta":  # not when it is only checked
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)
"""


def test_a_model_that_its_process_dies_of_is_a_row_and_the_others_have_numbers(
    tmp_path: Path,
) -> None:
    blocks, bad = tmp_path / "blocks.py", tmp_path / "bad.yaml"
    blocks.write_text(DEADLY)
    bad.write_text(find_model(MODEL).read_text().replace("nn.Upsample", "Deadly", 1))
    report = measure_latency(
        [MODEL, bad], **SMALL, blocks=blocks, budget_s=None, processes=1, rounds=2, folder=tmp_path
    )
    good, dead = report.rows
    assert (good.status, good.metrics["latency_processes"]) == ("ok", 1)
    assert (dead.status, dead.metrics["latency_median_s"]) == ("failed", None)
    assert dead.reason == f"killed by SIGKILL while {bad} was made ready"
    assert report.comparisons[0].verdict == "INVALID"
    assert report.exit_code == 4
