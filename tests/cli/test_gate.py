"""`detrbench gate` as it is typed: flags, files, environment, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from detrbench.cli import main
from detrbench.machine.environment import Environment
from detrbench.reports.report import Report
from detrbench.timing.resolution import Resolution, remember
from tests.compare.gates import run


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, with a baseline and a run that is slower and has a kernel more."""
    now = run(0.9)
    now["rows"][1]["metrics"]["kernels"] += 1
    for name, plain in (("base.json", run()), ("run.json", now)):
        (tmp_path / name).write_text(json.dumps(plain))
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


USAGE: dict[str, tuple[list[str], list[str]]] = {
    "nothing to check against": (["run.json"], ["--baseline", "--max-params"]),
    "two reports": (["run.json", "base.json"], ["2 reports", "--baseline"]),
    "increase of nothing": (
        ["run.json", "--max-params", "1M", "--max-latency-increase", "5%"], ["--baseline"]
    ),
    "no share": (["run.json", "--baseline", "base.json", "--max-latency-increase", "x"],
                 ["--max-latency-increase", "'x'"]),
    "no assignment": (["run.json", "--max", "params"], ["--max", "'params'", "METRIC="]),
    "unknown metric": (["run.json", "--max", "gflop=1"], ["--max", "'gflop'"]),
    "unknown increase": (["run.json", "--max-increase", "kernel=1%"], ["'kernel'", "kernels?"]),
    "no number": (["run.json", "--max-params", "many"], ["params=many", "'many'"]),
    "no policy": (["run.json", "--policy", "none.yaml"], ["--policy", "none.yaml"]),
    "format": (["run.json", "--max-params", "1M", "--format", "xml"], ["--format"]),
    "junit folder": (["run.json", "--max-params", "1M", "--junit", "no/x.xml"], ["--junit", "no"]),
    "bencher folder": (["run.json", "--max-params", "1M", "--bencher", "."], ["--bencher"]),
    "models without rev": (["run.json", "--max-params", "1M", "--batch", "2"], ["--batch"]),
    "model without a limit": (["run.json", "--baseline", "base.json", "--model", "mine"],
                              ["--model", "--max-params"]),
    "new of nothing": (["run.json", "--max-params", "1M", "--new", "m"], ["--new", "--baseline"]),
    "reference of nothing": (
        ["run.json", "--max-params", "1M", "--max-reference-increase", "5%"], ["--baseline"]
    ),
    "reference with rev": (["m.yaml", "--rev", "HEAD", "--max-reference-increase", "5%"],
                           ["--max-reference-increase"]),
    "rev and baseline": (["m.yaml", "--rev", "HEAD", "--baseline", "base.json"], ["--baseline"]),
    "a name with rev": (["rtdetr-l", "--rev", "HEAD"], ["rtdetr-l: there is no", "files"]),
    "no such callable": (["no.py:build", "--rev", "HEAD"], ["no.py:build: there is no such file"]),
    "no such module": (["no_such:build", "--rev", "HEAD"], ["there is no module no_such"]),
    "no such setting": (["m.yaml@bach=2", "--rev", "HEAD"], ["unknown setting 'bach'", "batch"]),
}  # fmt: skip


@pytest.mark.parametrize("name", USAGE)
def test_a_wrong_request_exits_2_before_anything_is_read(
    name: str, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "run.json").write_text("not even read")
    arguments, words = USAGE[name]
    assert main(["gate", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    for word in words:
        assert word in captured.err


def test_the_exit_code_is_the_process_s(files: Path) -> None:
    command = [sys.executable, "-m", "detrbench", "gate", "run.json", "--baseline", "base.json"]
    codes = {(): 1, ("--counts-only", "--max-increase", "kernels=1%"): 0}
    for flags, code in codes.items():
        done = subprocess.run([*command, *flags], capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert done.stderr == ""


def test_neither_torch_nor_pandas_is_imported(files: Path) -> None:
    code = (
        "import sys; from detrbench.cli import main\n"
        "assert main(['gate', 'run.json', '--baseline', 'base.json']) == 1\n"
        "assert not {'torch', 'pandas', 'numpy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


CALLABLE = """
from torch import nn
from helper import CHANNELS
print("a word on stdout")
def build():
    return nn.Conv2d(3, CHANNELS, 1, bias=False)
"""


@pytest.fixture
def repository(files: Path) -> Path:
    """Here, with `nets/my.py:build`, whose helper has changed since the last commit."""
    (files / "nets").mkdir()
    (files / "nets" / "__init__.py").touch()
    (files / "nets" / "my.py").write_text(CALLABLE)
    (files / "nets" / "helper.py").write_text("CHANNELS = 8\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q", "-b", "main"], ["add", "nets"], ["commit", "-q", "-m", "old"]):
        subprocess.run([*git, *words], check=True)
    (files / "nets" / "helper.py").write_text("CHANNELS = 16\n")
    return files


def test_a_callable_is_gated_against_its_past_and_the_parent_needs_no_torch(
    repository: Path,
) -> None:
    arguments = [
        "gate", "--rev", "main", "nets/my.py:build@batch=2", "--imgsz", "64", "--counts-only",
        "--format", "json", "--run", "kept.json",
    ]  # fmt: skip
    code = (
        f"import sys; from detrbench.cli import main; assert main({arguments!r}) == 1\n"
        "assert not {'torch', 'pandas', 'numpy'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)  # which nothing that the file printed disturbs
    (params,) = [each for each in found["checks"] if each["metric"] == "params"]
    assert (params["baseline"], params["value"]) == (3 * 8, 3 * 16)
    assert (params["model"], params["settings"]["batch"]) == ("nets/my.py:build", 2)
    kept = Report.load(repository / "kept.json")
    assert [row.model for row in kept.rows] == ["nets/my.py:build@main", "nets/my.py:build"]


def test_a_module_of_a_package_is_to_be_named_by_its_file(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gate", "--rev", "main", "nets.my:build"]) == 2
    said = capsys.readouterr().err
    assert "nets.my:build: a package cannot be imported twice" in said
    assert "nets/my.py:build" in said


def test_json_holds_every_check_and_the_policy(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--max-latency-increase", "3%", "--max-increase", "kernels=any"]
    assert main(["gate", "run.json", "--baseline", "base.json", *flags, "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["outcome"], found["exit_code"]) == ("REGRESSION", 1)
    assert found["policy"] == {
        "max_latency_increase": 0.03, "max_increase": {"kernels": "any"}, "max": {},
        "max_reference_increase": "any", "models": [],
    }  # fmt: skip
    (latency,) = [each for each in found["checks"] if each["metric"] == "latency_median_s"]
    assert latency["ratio"] == pytest.approx(1.125)
    assert latency["interval"]["low"] > 1.03
    assert latency["reference"] == "ref"


def test_flags_override_the_policy_s_file(files: Path) -> None:
    (files / "policy.yaml").write_text(
        "max_latency_increase: 50%\nmax_increase: {kernels: 10%}\nmax: {params: 20M}\n"
    )
    arguments = ["gate", "run.json", "--baseline", "base.json", "--policy", "policy.yaml"]
    assert main(arguments) == 1  # the parameters
    assert main([*arguments, "--max-params", "33M"]) == 0
    assert main([*arguments, "--max-params", "33M", "--max-latency-increase", "5%"]) == 1
    assert main([*arguments, "--max-params", "33M", "--max-increase", "kernels=0"]) == 1


def test_absolute_limits_need_no_baseline(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gate", "run.json", "--max-params", "33M"]) == 0
    assert main(["gate", "run.json", "--max-gflops", "65"]) == 1
    assert "109,536,153,600 is more than 65,000,000,000" in capsys.readouterr().out


ARTICLE = str(Path("reports/2026-11-24-amd-epyc-2cpu-article/run.json").resolve())


@pytest.mark.parametrize(
    ("flags", "code", "word"),
    [
        (["--model", "shufflev2", "--max-params", "20M", "--max-gflops", "65"], 0, "PASS"),
        (["--baseline", ARTICLE, "--max-increase", "kernels=5%"], 0, "PASS"),
        (["--max-params", "20M"], 1, "LIMIT EXCEEDED"),
        (["--model", "shufflev2", "--max-gflops", "62"], 1, "62,839,392,000"),
    ],
)
def test_the_readme_s_examples_on_the_report_of_its_demo(
    flags: list[str], code: int, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gate", ARTICLE, *flags]) == code
    said = " ".join(capsys.readouterr().out.split())
    assert word in said
    if "--max-gflops" in flags:
        assert "FLOPs (thop)" in said, "what its table shows"


def test_every_output_of_one_call(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--junit", "j.xml", "--benchmark-json", "b.json", "--bencher", "m.json", "-o", "g.md"]
    assert main(["gate", "run.json", "--baseline", "base.json", *flags]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    for name in ("j.xml", "b.json", "m.json", "g.md"):
        assert f"wrote {name}" in captured.err
    assert ElementTree.parse(files / "j.xml").findall(".//failure")
    assert len(json.loads((files / "b.json").read_text())) == 14 + 2
    assert len(json.loads((files / "m.json").read_text())) == 2
    assert (files / "g.md").read_text().startswith("REGRESSION: ")


def test_an_unreadable_report_still_has_its_outputs(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "run.json").write_text("{")
    flags = ["--junit", "j.xml", "--bencher", "m.json"]
    assert main(["gate", "run.json", "--baseline", "base.json", *flags]) == 4
    error = ElementTree.parse(files / "j.xml").find(".//error")
    assert error is not None
    assert "not JSON" in error.attrib["message"]
    assert not (files / "m.json").exists()
    assert "not written, for there is no report: m.json" in capsys.readouterr().err


def test_on_github_the_summary_grows_and_annotations_disturb_no_data(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "summary.md").write_text("before\n\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(files / "summary.md"))
    assert main(["gate", "run.json", "--baseline", "base.json", "--format", "json"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["exit_code"] == 1
    commands = [line for line in captured.err.splitlines() if line.startswith("::error ")]
    assert len(commands) == 2  # the latency and the kernels
    summary = (files / "summary.md").read_text()
    assert summary.startswith("before\n\n## detrbench gate\n\nREGRESSION: ")
    assert "| mine | Kernels | 742 | 743 | +0.1% | +0% | REGRESSION" in summary


def _with_machine(files: Path, **facts: Any) -> None:
    machine = {**Environment.read().to_dict(), **facts}
    for name in ("base.json", "run.json"):
        (files / name).write_text(json.dumps(run(machine=machine)))


def test_this_machine_s_self_check_counts_only_for_its_own_reports(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coarse = Resolution(0.02, 0.01, 9.0, 120.0, 0.3, "rtdetr-l", "320x320", "2026-01-02")
    remember(coarse, "cpu")
    arguments = ["gate", "run.json", "--baseline", "base.json"]
    _with_machine(files)
    assert main(arguments) == 3
    assert "below what this machine resolves: 30.0%" in " ".join(capsys.readouterr().out.split())
    _with_machine(files, processor="another")
    assert main(arguments) == 0


def test_a_flag_that_would_be_ignored_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run.json"
    file.write_text(json.dumps(run()))
    policy = tmp_path / "policy.yaml"
    policy.write_text("max: {params: 1M}\n")
    gate = ["gate", str(file), "--baseline", str(file)]
    for more, said in (
        (["--policy", str(policy), "--policy", str(policy)], "--policy: 2 are given"),
        (["--counts-only", "--max-reference-increase", "5%"], "means nothing with --counts-only"),
        (["--counts-only", "--max-latency-increase", "5%"], "means nothing with --counts-only"),
        (["-o", str(file)], "it is read, or written to, by another flag"),
        (["--junit", str(tmp_path / "x"), "--bencher", str(tmp_path / "x")], "by another flag"),
    ):
        assert main([*gate, *more]) == 2
        assert said in " ".join(capsys.readouterr().err.split())
