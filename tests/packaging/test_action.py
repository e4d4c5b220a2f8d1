"""action.yml: what it is made of, and its own steps run here, as GitHub's runner would run them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from detrbench.models.catalog import find_model
from tests.actions import ACTION, ROOT, Job, told_until_one_fails, with_defaults

WORKFLOW = yaml.safe_load(
    (ROOT / ".github" / "workflows" / "detrbench-example.yml").read_text(encoding="utf-8")
)
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
SCRIPTS = [step for step in STEPS if "run" in step]


# --- what it is made of --------------------------------------------------------------------------


@pytest.mark.parametrize("step", SCRIPTS, ids=lambda step: step["name"])
def test_no_input_stands_inside_a_script(step: dict[str, Any]) -> None:
    """Its text would be run; through the environment it is only text."""
    assert "${{" not in step["run"]
    assert step["shell"] == "bash"


@pytest.mark.parametrize("step", SCRIPTS, ids=lambda step: step["name"])
def test_a_script_uses_what_it_is_given_and_nothing_else(step: dict[str, Any]) -> None:
    given = set(step.get("env", {}))
    used = set(re.findall(r"\$\{?([A-Z_]+)", step["run"]))
    runner = {"GITHUB_ACTION_PATH", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "RUNNER_TEMP"}
    read_by_detrbench = {"XDG_STATE_HOME"}
    assert used - runner - read_by_detrbench == given - read_by_detrbench


def test_every_input_is_described_and_used() -> None:
    text = json.dumps(ACTION["runs"])
    for name, known in ACTION["inputs"].items():
        assert known["description"].endswith(".")
        assert known.get("required") or "default" in known
        assert f"inputs.{name}" in text


def test_every_output_is_one_of_a_step() -> None:
    ids = {step["id"] for step in STEPS if "id" in step}
    for known in ACTION["outputs"].values():
        match = re.fullmatch(r"\$\{\{ steps\.(\w+)\.outputs\.[\w-]+ \}\}", known["value"])
        assert match is not None
        assert match[1] in ids


def test_the_example_workflow_uses_this_action_as_it_is() -> None:
    assert "pull_request" in WORKFLOW[True]  # YAML 1.1 reads the key `on` so
    assert WORKFLOW["permissions"] == {"contents": "read"}
    checkout, use, _ = WORKFLOW["jobs"]["detrbench"]["steps"]
    assert checkout["with"]["fetch-depth"] == 0  # without it there is no base revision
    assert use["uses"] == "./"
    assert set(use["with"]) <= set(ACTION["inputs"])
    for model in use["with"]["models"].split():
        assert (ROOT / model).is_file()


@pytest.mark.parametrize("step", SCRIPTS, ids=lambda step: step["name"])
def test_scripts_are_bash(step: dict[str, Any]) -> None:
    done = subprocess.run(["bash", "-n"], input=step["run"], text=True, capture_output=True)
    assert done.stderr == ""


# --- its steps, on models that are small ---------------------------------------------------------


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with a small model, in a folder with a space."""
    folder = tmp_path / "my checkout"
    (folder / "models").mkdir(parents=True)
    shutil.copy(find_model("shufflev2-x0.5"), folder / "models" / "mine.yaml")
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message=base")
    return folder


@pytest.fixture
def job(checkout: Path, tmp_path: Path) -> Job:
    folder = tmp_path / "runner"
    folder.mkdir()
    return Job(checkout, folder, str(Path(sys.executable).parent))


INPUTS = {"models": "models/mine.yaml", "rev": "main", "imgsz": "64"}


def until_it_fails(job: Job, inputs: dict[str, str]) -> dict[str, tuple[int, str]]:
    """Step -> exit code and everything it printed, up to the first that fails."""
    return {
        name: (done.returncode, done.stdout + done.stderr)
        for name, done in told_until_one_fails(job, inputs)
    }


def step_called(name: str) -> dict[str, Any]:
    (step,) = [step for step in SCRIPTS if step["name"] == name]
    return step


def grow(checkout: Path) -> None:
    """One more block in the neck's last row."""
    path = checkout / "models" / "mine.yaml"
    text = path.read_text(encoding="utf-8")
    row = [line for line in text.splitlines() if "RepC3" in line][-1]
    path.write_text(text.replace(row, row.replace(", 3, RepC3", ", 4, RepC3")), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != text


def test_a_change_that_costs_nothing_passes_and_the_reviewer_sees_it(
    job: Job, checkout: Path
) -> None:
    readme = checkout / "models" / "mine.yaml"
    readme.write_text(readme.read_text(encoding="utf-8") + "# a remark\n", encoding="utf-8")
    inputs = with_defaults(**INPUTS, **{"max-latency-increase": ""})
    told = until_it_fails(job, inputs)
    assert {name: code for name, (code, _) in told.items()} == {
        "Install detrbench": 0, "Profile": 0, "Gate on counts": 0,
    }  # fmt: skip
    assert "## detrbench profile" in job.summary
    assert "## detrbench gate" in job.summary
    assert "PASS: within the limits" in job.summary
    assert "| models/mine.yaml | Params |" in job.summary
    reports = Path(job.outputs("profile")["reports"])
    assert {file.name for file in reports.iterdir()} == {"profile.json", "counts.xml"}


def test_a_larger_model_fails_on_its_own_file(job: Job, checkout: Path) -> None:
    grow(checkout)
    (job.folder / "detrbench").mkdir()
    done = job.run(step_called("Gate on counts"), with_defaults(**INPUTS))
    assert done.returncode == 1
    assert "::error file=models/mine.yaml,title=detrbench REGRESSION%3A Params" in done.stderr
    assert "REGRESSION" in job.summary
    suite = ElementTree.parse(job.folder / "detrbench" / "counts.xml").find("testsuite")
    assert suite is not None
    assert int(suite.attrib["failures"]) > 0


def test_a_callable_is_gated_like_a_model_file(job: Job, checkout: Path) -> None:
    file = checkout / "models" / "mine.py"
    text = "from torch import nn\n\ndef build():\n    return nn.Conv2d(3, {}, 1)\n"
    file.write_text(text.format(8), encoding="utf-8")
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "--message=a callable")
    file.write_text(text.format(16), encoding="utf-8")
    (job.folder / "detrbench").mkdir()
    inputs = with_defaults(**{**INPUTS, "models": "models/mine.py:build"})
    done = job.run(step_called("Gate on counts"), inputs)
    assert done.returncode == 1
    assert "::error file=models/mine.py,title=detrbench REGRESSION%3A Params" in done.stderr


def test_a_revision_that_is_not_there_is_said(job: Job) -> None:
    (job.folder / "detrbench").mkdir()
    inputs = with_defaults(**{**INPUTS, "rev": "nowhere"})
    done = job.run(step_called("Gate on counts"), inputs)
    assert done.returncode == 2
    assert "there is no revision 'nowhere'" in done.stderr


WRONG = {
    "no revision": ({"rev": ""}, "set the input rev"),
    "neither": ({"inconclusive": "maybe"}, "neither warn nor fail"),
    "no such model": ({"models": "models/none.yaml"}, "none.yaml"),
    "a flag for a model": ({"models": "--blocks=evil.py"}, "--blocks=evil.py"),
    "a command for a size": ({"imgsz": "64; touch pwned $(touch pwned)"}, "image size"),
    "a command for a model": ({"models": "$(touch pwned)`touch pwned`"}, "touch"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_inputs_fail_and_are_only_text(name: str, job: Job, checkout: Path) -> None:
    change, words = WRONG[name]
    told = until_it_fails(job, with_defaults(**{**INPUTS, **change}))
    code, said = list(told.values())[-1]
    assert code == 2
    assert words in said
    assert not list(checkout.rglob("pwned"))
    assert list(told)[-1] == "Profile"


# --- the steps that take time, with a detrbench that takes none ----------------------------------


@pytest.fixture
def stub(job: Job, tmp_path: Path) -> Job:
    """The job with a `detrbench` that writes its arguments down, and ends as the test says."""
    bin = tmp_path / "bin"
    bin.mkdir()
    file = bin / "detrbench"
    file.write_text(
        '#!/usr/bin/env bash\nprintf "%s\\n" "$@" > "$RUNNER_TEMP/arguments"\n'
        'echo "$XDG_STATE_HOME" > "$RUNNER_TEMP/state-home"\n'
        "if [[ $1 == selfcheck && -e $RUNNER_TEMP/remembers ]]; then\n"
        '  mkdir -p "$XDG_STATE_HOME/detrbench"; touch "$XDG_STATE_HOME/detrbench/selfcheck.json"\n'
        'fi\nexit "$(cat "$RUNNER_TEMP/code")"\n'
    )
    (job.folder / "remembers").touch()
    file.chmod(0o755)
    return Job(job.checkout, job.folder, str(bin))


@pytest.mark.parametrize(
    ("code", "inconclusive", "ends"),
    [(0, "warn", 0), (1, "warn", 1), (3, "warn", 0), (3, "fail", 3), (4, "warn", 4), (2, "warn", 2),
     (130, "warn", 130)],
)  # fmt: skip
def test_only_what_is_undecided_may_be_let_through(
    code: int, inconclusive: str, ends: int, stub: Job
) -> None:
    (stub.folder / "code").write_text(str(code))
    step = step_called("Gate on latency")
    inputs = with_defaults(**INPUTS, inconclusive=inconclusive)
    assert stub.run(step, inputs).returncode == ends
    assert stub.outputs("latency") == {"exit-code": str(code)}


def test_the_latency_gate_is_asked_what_the_inputs_say(stub: Job) -> None:
    (stub.folder / "code").write_text("0")
    inputs = with_defaults(
        models="a.yaml\n  my*.yaml\n", rev="origin/main", imgsz="320x480", blocks="my blocks.py",
        policy="p q.yaml", budget="45", **{"max-latency-increase": "3%"},
    )  # fmt: skip
    stub.run(step_called("Gate on latency"), inputs)
    reports = stub.folder / "detrbench"
    assert (stub.folder / "arguments").read_text().splitlines() == [
        "gate", "--rev", "origin/main", "--max-latency-increase", "3%", "--imgsz", "320x480",
        "--budget", "45", "--blocks", "my blocks.py", "--policy", "p q.yaml",
        "--run", f"{reports}/run.json", "--junit", f"{reports}/latency.xml", "--",
        "a.yaml", "my*.yaml",
    ]  # fmt: skip


def test_the_gate_on_counts_is_asked_what_the_inputs_say(stub: Job) -> None:
    (stub.folder / "code").write_text("0")
    inputs = with_defaults(**INPUTS, blocks="my blocks.py", policy="p q.yaml")
    stub.run(step_called("Gate on counts"), inputs)
    assert (stub.folder / "arguments").read_text().splitlines() == [
        "gate", "--rev", "main", "--counts-only", "--imgsz", "64", "--blocks", "my blocks.py",
        "--policy", "p q.yaml", "--junit", f"{stub.folder}/detrbench/counts.xml", "--",
        "models/mine.yaml",
    ]  # fmt: skip


def test_the_self_check_is_shown_and_remembered_for_the_gate(stub: Job) -> None:
    (stub.folder / "code").write_text("0")
    inputs = with_defaults(**INPUTS)
    assert stub.run(step_called("Self-check"), inputs).returncode == 0
    assert (stub.folder / "arguments").read_text().splitlines() == [
        "selfcheck", "--imgsz", "320", "--budget", "300", "--format", "markdown", "--", "rtdetr-l",
    ]  # fmt: skip
    assert "## detrbench selfcheck" in stub.summary
    stub.run(step_called("Gate on latency"), inputs)
    assert (stub.folder / "state-home").read_text() == f"{stub.folder / 'detrbench-state'}\n"


def test_a_self_check_that_is_skipped_leaves_this_machine_s_own(stub: Job) -> None:
    (stub.folder / "code").write_text("0")
    inputs = with_defaults(**INPUTS, **{"selfcheck-budget": "0"})
    assert stub.run(step_called("Self-check"), inputs).returncode == 0
    assert not (stub.folder / "arguments").exists()
    assert stub.wants(step_called("Gate on latency"), inputs)
    stub.run(step_called("Gate on latency"), inputs)
    assert (stub.folder / "state-home").read_text() == "\n"  # as good as none: XDG's own rule


@pytest.mark.parametrize(
    ("code", "remembers", "inconclusive", "ends"),
    [(0, True, "warn", 0), (0, False, "warn", 0), (0, False, "fail", 4), (4, False, "warn", 0),
     (4, False, "fail", 4), (2, False, "warn", 2)],
)  # fmt: skip
def test_a_self_check_without_an_end_leaves_latency_undecided(
    code: int, remembers: bool, inconclusive: str, ends: int, stub: Job
) -> None:
    """It failed, or had too few processes to remember anything."""
    (stub.folder / "code").write_text(str(code))
    if not remembers:
        (stub.folder / "remembers").unlink()
    step, inputs = step_called("Self-check"), with_defaults(**INPUTS, inconclusive=inconclusive)
    done = stub.run(step, inputs)  # tee does not hide how it ended
    assert done.returncode == ends
    assert ("::warning" in done.stdout) == (ends == 0 and not remembers)
    assert stub.wants(step_called("Gate on latency"), inputs) == remembers


def test_without_a_limit_on_latency_nothing_is_timed(stub: Job) -> None:
    (stub.folder / "code").write_text("0")
    for limit, timed in (("", False), ("5%", True)):
        told = until_it_fails(stub, with_defaults(**INPUTS, **{"max-latency-increase": limit}))
        assert ("Self-check" in told) == ("Gate on latency" in told) == timed


@pytest.mark.parametrize("there", [True, False])
def test_what_is_installed_is_left_alone(there: bool, tmp_path: Path, job: Job) -> None:
    """Only where no detrbench is on the PATH, the action's own is installed."""
    bin = tmp_path / "bin"
    bin.mkdir()
    for name in ["python", *(["detrbench"] if there else [])]:
        (bin / name).write_text('#!/bin/sh\necho "$0 $*" >> "$RUNNER_TEMP/calls"\n')
        (bin / name).chmod(0o755)
    for tool in ("bash", "sh"):
        (bin / tool).symlink_to(str(shutil.which(tool)))
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", SCRIPTS[0]["run"]],
        env={"PATH": str(bin), "RUNNER_TEMP": str(tmp_path), "GITHUB_ACTION_PATH": "/the action"},
        check=False,
    )
    assert done.returncode == 0
    calls = tmp_path / "calls"
    installed = calls.read_text() if calls.exists() else ""
    assert ("-m pip install --quiet /the action" in installed) == (not there)
