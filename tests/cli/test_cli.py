"""The command line: what it prints where, its exit codes, and what it does not import."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detrbench import __version__
from detrbench.cli import main, options, output
from detrbench.cli.output import ProgressLine, _progress_text
from detrbench.core.errors import DetrbenchError, DetrbenchWarning, UsageError
from detrbench.core.processes import environment
from detrbench.models.model import Model
from detrbench.reports.case import Case, Execution
from detrbench.reports.report import Report, Result
from detrbench.timing.rounds import Progress

OK_ROW = Result(
    "rtdetr-l",
    "RT-DETR-L",
    {"imgsz": "640x640", "batch": 1, "nc": 80, "fused": False, "convention": "core"},
    {"params": 32_970_476, "flops": 109_536_153_600},
)
FAILED_ROW = Result("shufflev2", "x", OK_ROW.settings, {}, status="failed", reason="out of memory")


class Fake:
    """Stands for a library function: remembers how it was called, and gives a Report or raises."""

    def __init__(self, result: Report | BaseException) -> None:
        self.result, self.models, self.options = result, [], {}

    def __call__(self, models: Any, **options: Any) -> Report:
        self.models, self.options = models, options
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


def install_profile(monkeypatch: pytest.MonkeyPatch, function: Callable[..., Report]) -> None:
    """Put `function` in the place of the library's `profile`, without importing torch."""
    module = types.ModuleType("detrbench.counting.profiling")
    vars(module)["profile"] = function
    monkeypatch.setitem(sys.modules, "detrbench.counting.profiling", module)


@pytest.fixture
def fake_profile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Report | BaseException], Fake]:
    def install(result: Report | BaseException) -> Fake:
        fake = Fake(result)
        install_profile(monkeypatch, fake)
        return fake

    return install


def run_process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "detrbench", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


# --- usage errors -------------------------------------------------------------------------------

USAGE: dict[str, tuple[list[str], list[str]]] = {
    "no such command": (["profil"], ["profil", "profile"]),
    "no such option": (["profile", "rtdetr-l", "--imgs", "640"], ["--imgs", "--imgsz"]),
    "no model": (["profile"], ["MODEL"]),
    "unknown model": (["profile", "rtdetr-1"], ["rtdetr-1", "rtdetr-l"]),
    "no such file": (["profile", "./none.yaml"], ["none.yaml", "check the path"]),
    "model twice": (["profile", "rtdetr-l", "rtdetr-l"], ["rtdetr-l", "twice"]),
    "imgsz 0": (["profile", "rtdetr-l", "--imgsz", "0"], ["--imgsz", "480x640"]),
    "imgsz 100": (["latency", "--imgsz", "100"], ["rtdetr-l", "100x100", "96x96"]),
    "imgsz behind @": (["profile", "rtdetr-l@imgsz=32x48"], ["rtdetr-l", "32x48", "32x64"]),
    "no parameters": (["reconcile", "rtdetr-l", "--params", "0M"], ["--params", "above 0"]),
    "imgsz text": (["latency", "--imgsz", "big"], ["--imgsz", "'big'", "480x640"]),
    "batch 0": (["profile", "rtdetr-l", "--batch", "0"], ["--batch"]),
    "batch text": (["latency", "--batch", "x"], ["--batch"]),
    "nc 0": (["profile", "rtdetr-l", "--nc", "0"], ["--nc"]),
    "margin": (["latency", "--margin", "big"], ["--margin", "'big'", "2%"]),
    "margin 0": (["latency", "--margin", "0%"], ["--margin", "2%"]),
    "target": (["latency", "--target-ci", "200%"], ["--target-ci", "2%"]),
    "budget 0": (["latency", "--budget", "0"], ["--budget", "more than 0"]),
    "budget of a self-check": (["selfcheck", "--budget", "0"], ["--budget", "more than 0"]),
    "budget nan": (["latency", "--budget", "nan"], ["--budget", "more than 0"]),
    "presets": (["latency", "--quick", "--thorough"], ["--quick", "--thorough", "Choose"]),
    "processes 0": (["latency", "--processes", "0"], ["--processes"]),
    "runtime": (["latency", "--runtime", "eagre"], ["eagre", "eager?"]),
    "runtime device": (["latency", "--runtime", "cudagraph"], ["cudagraph", "--device cuda"]),
    "dtype": (["latency", "--dtype", "float8"], ["float8", "float16"]),
    "layout": (["latency", "--memory-format", "nhwc"], ["nhwc", "channels_last"]),
    "cold l2": (["latency", "--cold-l2"], ["cold_l2", "--device cuda"]),
    "tf32": (["latency", "--no-tf32"], ["tf32", "--device cuda"]),
    "resume": (["latency", "--resume", "none"], ["none", "request.json"]),
    "selfcheck model": (["selfcheck", "rtdetr-1"], ["rtdetr-1", "rtdetr-l"]),
    "threads twice": (["lint", "rtdetr-l", "--batch", "1,8"], ["--batch", "one of them"]),
    "setting": (["latency", "rtdetr-l@thread=1"], ["rtdetr-l@thread=1", "threads"]),
    "setting's value": (["latency", "rtdetr-l@threads=x"], ["rtdetr-l@threads=x", "'x'"]),
    "no setting": (["latency", "rtdetr-l@=1"], ["rtdetr-l@=1"]),
    "runtime behind @": (["latency", "rtdetr-l@runtime=eagre"], ["eagre", "eager?"]),
    "same case": (["latency", "rtdetr-l", "rtdetr-l@batch=1"], ["same", "name=copy"]),
    "callable": (["profile", "./none.py:build"], ["none.py", "no such file"]),
    "threads 0": (["latency", "--threads", "0"], ["--threads"]),
    "convention": (["profile", "rtdetr-l", "--convention", "thopp"], ["--convention", "thop?"]),
    "by": (["profile", "rtdetr-l", "--by", "stages"], ["--by", "stage?"]),
    "format": (["profile", "rtdetr-l", "--format", "makdown"], ["--format", "markdown?"]),
    "models format": (["models", "--format", "word"], ["--format", "csv"]),
    "run format": (["run", "article", "--format", "jsn"], ["--format", "json?"]),
    "device": (["latency", "--device", "gpu"], ["--device", "cuda:N"]),
    "second processor": (["selfcheck", "--device", "cpu:1"], ["cpu:1", "one device"]),
    "classes": (["profile", "rtdetr-l", "--nc", "2000000"], ["2000000", "1000000"]),
    "device index": (["latency", "--device", "cuda:x"], ["--device", "cuda:N"]),
    "run device": (["run", "article", "--device", "tpu"], ["--device", "cuda:N"]),
    "blocks": (["profile", "rtdetr-l", "--blocks", "none.py"], ["--blocks", "none.py"]),
    "weights": (["latency", "--backbone-weights", "none.pt"], ["--backbone-weights", "none.pt"]),
    "no folder": (["profile", "rtdetr-l", "-o", "none/x.md"], ["-o", "none", "Create"]),
    "folder": (["profile", "rtdetr-l", "-o", "."], ["-o", "folder"]),
    "unknown suite": (["run", "artcle"], ["artcle", "article"]),
    "nothing": ([], ["Usage"]),
}


@pytest.mark.parametrize("name", USAGE)
def test_usage_errors_exit_2_and_name_the_flag_and_the_cure(
    name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, words = USAGE[name]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    for word in words:
        assert word in captured.err + (captured.out if name == "nothing" else "")
    if name != "nothing":
        assert captured.out == ""
    assert "Traceback" not in captured.err


_CONTENT = ("imgsz 100", "imgsz behind @", "second processor", "classes")
_TYPED = ("no parameters", "unknown model", "imgsz 0", "convention", "device", "format")
LIGHT = (
    [["--help"], ["--version"], ["models"], ["models", "--format", "json"]]
    + [USAGE[name][0] for name in (*_TYPED, *_CONTENT)]
    + [["profile", "--help"], ["latency", "--help"], ["run", "--help"]]
)


def test_help_models_and_argument_errors_import_neither_torch_nor_pandas() -> None:
    code = (
        "import contextlib, io, sys; from detrbench.cli import main\n"
        f"for arguments in {LIGHT!r}:\n"
        "    with contextlib.redirect_stdout(io.StringIO()):\n"
        "        main(arguments)\n"
        "    for heavy in ('torch', 'pandas', 'numpy', 'torchvision', 'fvcore', 'thop'):\n"
        "        assert heavy not in sys.modules, (arguments, heavy)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL)


def test_help_imports_no_renderer_and_no_yaml() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "detrbench", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = set(re.findall(r"\| +(\S+)$", done.stderr, re.MULTILINE))
    assert "typer" in imported
    assert not imported & {"torch", "pandas", "yaml", "rich.table", "rich.console"}


def test_help_states_the_exit_codes_and_examples() -> None:
    done = run_process("--help")
    assert done.returncode == 0
    for word in ("Exit codes:", "130", "detrbench profile rtdetr-l", "latency", "models", "run"):
        assert word in done.stdout
    for command in ("profile", "latency", "run"):
        assert "Examples:" in run_process(command, "--help").stdout


def test_version() -> None:
    done = run_process("--version")
    assert (done.returncode, done.stdout) == (0, f"detrbench {__version__}\n")


# --- results ------------------------------------------------------------------------------------


def test_profile_hands_the_options_on(
    fake_profile: Callable[..., Fake], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    blocks = tmp_path / "b.py"
    blocks.touch()
    fake = fake_profile(Report((OK_ROW,)))
    arguments = ["rtdetr-l", "shufflev2", "--imgsz", "480x640", "--batch", "3", "--nc", "1"]
    assert (
        main(["profile", *arguments, "--fuse", "--convention", "thop", "--blocks", str(blocks)])
        == 0
    )
    assert [case.name for case in fake.models] == ["rtdetr-l", "shufflev2"]
    assert {case.execution for case in fake.models} == {Execution((480, 640), 3, fused=True)}
    assert [(case.model.nc, case.model.blocks) for case in fake.models] == [(1, str(blocks))] * 2
    assert fake.options == {"by": None, "convention": "thop"}
    captured = capsys.readouterr()
    assert "rtdetr-l" in captured.out
    assert captured.err == ""


def test_a_failed_row_is_printed_and_exits_4(
    fake_profile: Callable[..., Fake], capsys: pytest.CaptureFixture[str]
) -> None:
    fake_profile(Report((OK_ROW, FAILED_ROW)))
    assert main(["profile", "rtdetr-l", "--by", "stage"]) == 4
    assert "out of memory" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UsageError("cuda is not there", hint="Use cpu."), 2, ["cuda is not there", "Use cpu."]),
        (DetrbenchError("it broke", where="x.yaml, row 7"), 4, ["x.yaml, row 7: it broke"]),
        (KeyboardInterrupt(), 130, ["interrupted"]),
        (RuntimeError("surprise"), 70, ["RuntimeError: surprise", "report", "DETRBENCH_DEBUG=1"]),
    ],
)
def test_errors_become_a_message_and_an_exit_code(
    error: BaseException, code: int, words: list[str],
    fake_profile: Callable[..., Fake], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.delenv("DETRBENCH_DEBUG", raising=False)
    fake_profile(error)
    assert main(["profile", "rtdetr-l"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    for word in words:
        assert word in captured.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_end_is_ctrl_c(
    number: signal.Signals, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*arguments: object, **options: object) -> Report:
        os.kill(os.getpid(), number)
        time.sleep(60)
        raise AssertionError("went on")

    install_profile(monkeypatch, ended)
    before = signal.getsignal(number)
    assert main(["profile", "rtdetr-l"]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(
    ("closed", "code", "said"),
    [(">&-", 2, "stdout is closed"), ("2>&-", 0, ""), ("<&-", 0, "")],
)
def test_a_stream_that_is_closed(closed: str, code: int, said: str) -> None:
    line = f"{sys.executable} -m detrbench --version {closed}"
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, check=False, env=environment()
    )
    assert done.returncode == code
    assert said in done.stderr
    assert ("detrbench" in done.stdout) == (code == 0)


def test_debugging_shows_the_traceback(
    fake_profile: Callable[..., Fake], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("DETRBENCH_DEBUG", "1")
    fake_profile(RuntimeError("surprise"))
    assert main(["profile", "rtdetr-l"]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_warnings_of_ours_are_notes_on_stderr_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def profile(models: Any, **options: Any) -> Report:
        for _ in range(2):
            warnings.warn("no scale given, using the first: l", DetrbenchWarning, stacklevel=1)
        return Report((OK_ROW,))

    install_profile(monkeypatch, profile)
    assert main(["profile", "rtdetr-l"]) == 0
    captured = capsys.readouterr()
    assert captured.err == "note: no scale given, using the first: l\n"
    assert "note" not in captured.out


@pytest.mark.parametrize(
    ("name", "flags", "start"),
    [("a.md", [], "image 640"), ("a.csv", [], "model,"), ("a.json", [], "{"), ("a", [], "image"),
     ("a.md", ["--format", "json"], "{")],
)  # fmt: skip
def test_output_goes_to_a_file_in_its_suffix_s_format(
    name: str, flags: list[str], start: str, tmp_path: Path,
    fake_profile: Callable[..., Fake], capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    fake_profile(Report((OK_ROW,)))
    file = tmp_path / name
    assert main(["profile", "rtdetr-l", "-o", str(file), *flags]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"wrote {file}\n"
    assert file.read_text(encoding="utf-8").startswith(start)


def test_the_command_line_is_kept_without_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/alice")
    monkeypatch.setattr(sys, "argv", ["x", "profile", "/home/alice/a b.yaml", "-o/home/alice/x"])
    assert options.command_line() == "detrbench profile '~/a b.yaml' -o~/x"


# --- models -------------------------------------------------------------------------------------


def test_models_in_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    assert "32,970,476" in capsys.readouterr().out
    assert main(["models", "--format", "markdown"]) == 0
    assert "| rtdetr-l | " in capsys.readouterr().out
    assert main(["models", "--format", "csv"]) == 0
    assert capsys.readouterr().out.startswith("model,title,params_nc80,origin\n")
    assert main(["models", "--format", "json"]) == 0
    listed = {one["model"]: one for one in json.loads(capsys.readouterr().out)}
    assert listed["rtdetr-l"]["params_nc80"] == 32_970_476
    assert "shufflev2" in listed


# --- latency and run ----------------------------------------------------------------------------


def test_latency_takes_the_article_s_pair_by_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = Fake(Report((OK_ROW, FAILED_ROW)))
    monkeypatch.setattr("detrbench.timing.measuring.latency", fake)
    assert main(["latency", "--threads", "2", "--device", "cuda:1"]) == 4
    executed = Execution(device="cuda:1", threads=2)
    assert [(case.name, case.execution) for case in fake.models] == [
        ("rtdetr-l", executed),
        ("shufflev2", executed),
    ]
    assert {case.model for case in fake.models} == {
        Model(name, name, files=case.model.files)
        for name, case in zip(("rtdetr-l", "shufflev2"), fake.models, strict=True)
    }
    progress = fake.options.pop("progress")
    assert isinstance(progress, ProgressLine)
    assert fake.options.pop("announce") == progress.say
    assert fake.options == {
        "budget_s": None, "processes": None, "rounds": None, "target": None, "margin": 0.02,
        "early": True, "folder": None,
    }  # fmt: skip


def test_how_a_model_is_executed_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(Report((OK_ROW,)))
    monkeypatch.setattr("detrbench.timing.measuring.latency", fake)
    monkeypatch.setattr("detrbench.runtimes.devices.check_present", lambda text: None)
    flags = ["--device", "cuda", "--dtype", "float16", "--memory-format", "channels_last"]
    switches = ["--no-tf32", "--cudnn-benchmark", "--cold-l2", "--runtime", "cudagraph"]
    assert main(["latency", *flags, *switches]) == 0
    assert {case.execution for case in fake.models} == {
        Execution(
            device="cuda", runtime="cudagraph", dtype="float16", memory_format="channels_last",
            tf32=False, cudnn_benchmark=True, cold_l2=True,
        )
    }  # fmt: skip


def names(cases: list[Case]) -> list[str]:
    return [case.name for case in cases]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["rtdetr-l", "rtdetr-l@runtime=compile"], ["rtdetr-l", "rtdetr-l@runtime=compile"]),
        (
            ["rtdetr-l", "shufflev2", "--batch", "1,8"],
            ["rtdetr-l@batch=1", "shufflev2@batch=1", "rtdetr-l@batch=8", "shufflev2@batch=8"],
        ),
        (
            ["rtdetr-l", "--runtime", "eager,compile", "--dtype", "float32,bfloat16"],
            [
                "rtdetr-l@runtime=eager,dtype=float32", "rtdetr-l@runtime=eager,dtype=bfloat16",
                "rtdetr-l@runtime=compile,dtype=float32",
                "rtdetr-l@runtime=compile,dtype=bfloat16",
            ],
        ),
        (
            ["rtdetr-l@threads=1", "shufflev2", "--threads", "1,2"],
            ["rtdetr-l@threads=1", "shufflev2@threads=1", "shufflev2@threads=2"],
        ),
    ],
)  # fmt: skip
def test_settings_make_cases(
    arguments: list[str], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Fake(Report((OK_ROW,)))
    monkeypatch.setattr("detrbench.timing.measuring.latency", fake)
    assert main(["latency", *arguments]) == 0
    assert names(fake.models) == expected


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--quick"], {"budget_s": 60.0, "early": True}),
        (["--thorough"], {"budget_s": 600.0, "early": False}),
        (["--thorough", "--budget", "90"], {"budget_s": 90.0, "early": False}),
        (["--processes", "7"], {"budget_s": None, "processes": 7}),
        (["--processes", "7", "--budget", "50"], {"budget_s": 50.0, "processes": 7}),
        (["--target-ci", "1%", "--margin", "0.05"], {"target": 0.01, "margin": 0.05}),
    ],
)
def test_latency_s_time_and_precision(
    flags: list[str], expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Fake(Report((OK_ROW,)))
    monkeypatch.setattr("detrbench.timing.measuring.latency", fake)
    assert main(["latency", *flags]) == 0
    given = {name: fake.options[name] for name in expected}
    # A budget counts from the first keystroke, a moment ago.
    assert given == {name: within_a_second(value) for name, value in expected.items()}


def within_a_second(value: Any) -> Any:
    return pytest.approx(value, abs=1.0) if type(value) is float else value


@pytest.mark.parametrize(
    ("flags", "left_s"), [(["--budget", "50"], 46.0), (["--quick"], 56.0), (["--budget", "3"], 0.1)]
)
def test_a_budget_counts_from_the_first_keystroke(
    flags: list[str], left_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left is something, however long the start took: it may still be gone on with."""
    fake = Fake(Report((OK_ROW,)))
    monkeypatch.setattr("detrbench.timing.measuring.latency", fake)
    monkeypatch.setattr("detrbench.cli.budgets.age_s", lambda: 4.0)
    monkeypatch.setattr(sys, "argv", ["detrbench", "latency", *flags])
    assert main() == 0
    assert fake.options["budget_s"] == pytest.approx(left_s, abs=1.0)


def test_a_resumed_run_is_what_its_folder_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = Fake(Report((OK_ROW,)))
    monkeypatch.setattr("detrbench.timing.measuring.resume_latency", fake)
    assert main(["latency", "--resume", "here", "--format", "csv"]) == 0
    assert (fake.models, fake.options["budget_s"]) == (Path("here"), None)
    assert main(["latency", "--resume", "here", "--budget", "60"]) == 0
    assert fake.options["budget_s"] == pytest.approx(60, abs=1.0)
    assert main(["latency", "--resume", "here", "--budget", "0"]) == 2
    assert "leave no time" in capsys.readouterr().err
    assert main(["latency", "rtdetr-l", "--resume", "here", "--margin", "1%"]) == 2
    assert "margin, models cannot be given again" in capsys.readouterr().err


def test_an_interrupted_latency_prints_what_it_has_and_exits_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = Result("rtdetr-l", "x", OK_ROW.settings, OK_ROW.metrics, "interrupted", "Ctrl-C")
    monkeypatch.setattr("detrbench.timing.measuring.latency", Fake(Report((row,))))
    assert main(["latency"]) == 130
    captured = capsys.readouterr()
    assert "Ctrl-C" in captured.out
    assert "interrupted" in captured.err


def test_run_prints_the_table_and_the_paths(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def run(suite: Any, *, budget_s: Any, output: Path, progress: Any, announce: Any) -> Report:
        assert suite.name == "article"
        assert budget_s is None
        assert {case.execution.device for case in suite.cases} == {"cuda:0"}
        output.mkdir()
        Report((OK_ROW,)).save(output / "run.json")
        return Report((OK_ROW,))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("detrbench.experiments.suites.run", run)
    assert main(["run", "article", "--device", "cuda:0", "-o", "here"]) == 0
    captured = capsys.readouterr()
    assert "rtdetr-l" in captured.out
    assert captured.err.endswith("wrote here/run.json\n")


def test_run_refuses_a_file_for_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x").touch()
    assert main(["run", "article", "-o", str(tmp_path / "x")]) == 2
    assert "Name a folder" in capsys.readouterr().err


def test_progress_is_one_line_per_phase_where_nobody_watches(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = ProgressLine()
    for done in range(3):
        line(Progress("timing", done, 3, 10.0))
    line.close()
    assert capsys.readouterr().err == "timing ...\n"
    assert _progress_text(Progress("timing", 1, 4, 61.0)) == (
        "timing  [######..................]  25.0%  about 1 min 1 s left"
    )
    assert _progress_text(Progress("pilot", 13.6, 13.1)) == f"pilot  [{'#' * 24}]  100.0%"


def test_a_phase_that_goes_on_for_long_is_told_again_where_nobody_watches(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([100.0, 105.0, 109.5, 112.0])  # a line, a look, a line again, a look
    monkeypatch.setattr(output.time, "monotonic", lambda: next(times))
    line = ProgressLine()
    for done in range(4):
        line(Progress("timing", done, 4, 10.0))
    assert capsys.readouterr().err == (
        f"timing ...\n{_progress_text(Progress('timing', 2, 4, 10.0))}\n"
    )


@pytest.mark.parametrize("terminal", [True, False])
def test_how_long_something_has_been_silent_is_told(
    terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "_SILENT_S", 0.01)
    monkeypatch.setattr(output, "_NEWS_S", 0.0)
    told = threading.Event()
    said: list[str] = []
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    write = sys.stderr.write

    def see(text: str) -> int:
        said.append(text)
        if ", for " in text:
            told.set()
        return write(text)

    monkeypatch.setattr(sys.stderr, "write", see)
    with ProgressLine() as line:
        line(Progress("building", 0.0, None))
        assert told.wait(30), said
    assert "starting" in said[0]
    assert any("building, for 0 s" in text for text in said)
    before = len(said)
    time.sleep(0.05)
    assert len(said) == before, "what is over is silent"


# --- pipes and streams --------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
@pytest.mark.parametrize("arguments", ["models --format json", "--help"])
def test_a_reader_that_goes_away_is_no_error(arguments: str) -> None:
    command = f"{sys.executable} -m detrbench {arguments} | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_a_terminal_without_unicode_gets_question_marks_not_a_failure() -> None:
    done = run_process("models", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "32,970,476" in done.stdout
