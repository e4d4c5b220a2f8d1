"""Suites: what a file may say, what a run does step by step, and what it leaves."""

from __future__ import annotations

import dataclasses
import json
import signal
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from detrbench.core.errors import DetrbenchError, SpecError, TimeIsUp, UsageError
from detrbench.counting import profiling
from detrbench.experiments import suites
from detrbench.experiments.suites import (
    Suite,
    free_folder,
    load_suite,
    on_device,
    resume,
    run,
    with_setting,
)
from detrbench.machine.environment import Environment
from detrbench.models.model import File, Model
from detrbench.models.sources import huggingface, ultralytics
from detrbench.reports.case import Case, Execution
from detrbench.reports.comparison import Comparison, Side
from detrbench.reports.parse_cases import make_cases
from detrbench.reports.report import Report, Result
from detrbench.timing.plan import Budget
from detrbench.timing.records import save_outcome, save_request
from detrbench.timing.rounds import Progress
from detrbench.timing.rows import METRIC_KEYS
from tests.timing.runs import case, run_of, taken

# --- reading ----------------------------------------------------------------------------------


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def names(suite: Suite) -> list[str]:
    return [each.name for each in suite.cases]


def test_the_article_suite_is_the_pair_at_the_articles_settings() -> None:
    suite = load_suite("article")
    assert names(suite) == ["rtdetr-l", "shufflev2"]
    assert {each.model.nc for each in suite.cases} == {1}
    assert {each.execution for each in suite.cases} == {
        Execution(imgsz=(640, 640), batch=1, fused=False, device="cpu")
    }
    assert suite.convention == "thop"
    assert suite.seconds is None  # what a verdict takes, on whatever machine `make demo` runs


def test_what_a_suite_leaves_out_has_defaults(tmp_path: Path) -> None:
    path = write(tmp_path, "models: rtdetr-l\n")
    assert load_suite(path) == Suite("mine", "mine", make_cases(["rtdetr-l"]))


def test_lists_are_every_combination_in_the_order_written(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "models: [rtdetr-l]\nsettings: {imgsz: [320, 480x640], batch: [1, 8], fuse: true}\n"
        "limits: {seconds: 12.5, rounds: 7}\n",
    )
    suite = load_suite(path)
    assert [(each.execution.imgsz, each.execution.batch) for each in suite.cases] == [
        ((320, 320), 1),
        ((320, 320), 8),
        ((480, 640), 1),
        ((480, 640), 8),
    ]
    assert all(each.execution.fused for each in suite.cases)
    assert (suite.seconds, suite.rounds) == (12.5, 7)


def test_a_model_beside_the_suite_is_found_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "my-variant.yaml").write_text("")
    suite = load_suite(write(tmp_path, "models: [./my-variant.yaml, rtdetr-l]\n"))
    assert names(suite) == [str(tmp_path / "my-variant.yaml"), "rtdetr-l"]
    assert suite.cases[0].model.reference == str(tmp_path / "my-variant.yaml")


def test_a_model_may_have_settings_of_its_own(tmp_path: Path) -> None:
    suite = load_suite(
        write(
            tmp_path,
            "models: [rtdetr-l, rtdetr-l@runtime=compile, 'rtdetr-l@threads=1,name=alone']\n"
            "settings: {threads: [2, 4]}\n",
        )
    )
    assert [(each.name, each.model.name, each.execution.threads) for each in suite.cases] == [
        ("rtdetr-l@threads=2", "rtdetr-l", 2),
        ("rtdetr-l@runtime=compile,threads=2", "rtdetr-l", 2),
        ("rtdetr-l@threads=1,name=alone", "alone", 1),
        ("rtdetr-l@threads=4", "rtdetr-l", 4),
        ("rtdetr-l@runtime=compile,threads=4", "rtdetr-l", 4),
    ]
    assert [each.execution.runtime for each in suite.cases] == [
        "eager", "compile", "eager", "eager", "compile",
    ]  # fmt: skip


def test_files_of_every_kind_start_at_the_suite(tmp_path: Path) -> None:
    for name in ("mine.py", "my-blocks.py", "others.py"):
        (tmp_path / name).write_text("def build():\n    pass\n")
    (tmp_path / "weights.pth").write_bytes(b"")
    path = write(
        tmp_path,
        "models: ['./mine.py:build', 'rtdetr-l@blocks=./others.py']\nsettings: {nc: 3}\n",
    )
    built, other = load_suite(path).cases
    assert (built.name, built.model.reference) == (f"{tmp_path}/mine.py:build",) * 2
    assert [file.path for file in built.model.files] == [f"{tmp_path}/mine.py"]
    assert other.model.blocks == f"{tmp_path}/others.py"
    path = write(
        tmp_path,
        "models: rtdetr-l\n"
        "settings: {blocks: ./my-blocks.py, backbone_weights: weights.pth, seed: [0, 7]}\n",
    )
    first, second = (each.model for each in load_suite(path).cases)
    assert first.blocks == f"{tmp_path}/my-blocks.py"
    assert first.backbone_weights == f"{tmp_path}/weights.pth"
    assert (first.seed, second.seed) == (0, 7)
    assert len(first.files) == 3


def test_folders_and_what_others_build_start_at_the_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for source in (huggingface, ultralytics):
        monkeypatch.setattr(source, "find_spec", lambda name: name)
    for folder in ("detr", "shufflev2", "blocks"):
        (tmp_path / folder).mkdir()
    (tmp_path / "detr" / "config.json").write_text('{"model_type": "detr"}')
    (tmp_path / "blocks" / "parts.py").write_text("")
    (tmp_path / "fork.yaml").write_text("")
    path = write(tmp_path, "models: [detr, 'ultralytics:fork.yaml', shufflev2]\n")
    assert [case.model.reference for case in load_suite(path).cases] == [
        f"{tmp_path}/detr", f"ultralytics:{tmp_path}/fork.yaml", "shufflev2",
    ]  # fmt: skip
    path = write(tmp_path, "models: ['rtdetr-l@blocks=blocks']\nsettings: {blocks: ./blocks}\n")
    (case,) = load_suite(path).cases
    assert case.model.blocks == f"{tmp_path}/blocks"


@pytest.mark.parametrize("spelling", ["fuse", "fused"])
def test_both_spellings_of_fused_are_understood(tmp_path: Path, spelling: str) -> None:
    suite = load_suite(write(tmp_path, f"models: rtdetr-l\nsettings: {{{spelling}: true}}\n"))
    assert suite.cases[0].execution.fused


@pytest.mark.parametrize(
    ("text", "line", "what", "hint"),
    [
        ("model: [a]\n", 1, "unknown key `model`", "did you mean models"),
        ("title: x\n", None, "no models", "models: \\["),
        ("- a\n", 1, "a list stands where a mapping", "title, models"),
        ("models: []\n", 1, "the list is empty", "at least one"),
        ("models: [a,\n  3]\n", 2, "'3' stands where a text", "quotes"),
        ("models: [a, a]\n", 1, "a stands here twice", "once"),
        ("models: [rtdetr-l,\n  rtdetr]\n", 2, "no model called 'rtdetr'", "rtdetr-l"),
        ("models: [rtdetr-l,\n  rtdetr-l@]\n", 2, "no model called 'rtdetr-l@'", "rtdetr-l"),
        ("models: [rtdetr-l,\n  rtdetr-l@batch=]\n", 2, "'batch=' is not KEY=VALUE", "Write"),
        ("models: [rtdetr-l,\n  rtdetr-l@batch=0]\n", 2, "'0' is not a whole", "1 to"),
        ("models: [rtdetr-l,\n  rtdetr-l@imsz=0]\n", 2, "unknown setting 'imsz'", "imgsz"),
        ("models: [rtdetr-l,\n  rtdetr-l@runtime=x]\n", 2, "unknown runtime 'x'", "eager"),
        ("models: [rtdetr-l,\n  ./no.py:build]\n", 2, "no such file", "Check the path"),
        ("models: [rtdetr-l, rtdetr-l@batch=1]\n", 1, "is the same as rtdetr-l", "name=copy"),
        ("models: [a]\nsettings: {imgs: 640}\n", 2, "unknown setting 'imgs'", "imgsz"),
        ("models: [a]\nsettings: {extra_work: 1}\n", 2, "unknown setting 'extra_work'", ""),
        ("models: [a]\nsettings:\n  nc: 0\n", 3, "'0' is not a whole number", "1 to"),
        ("models: [a]\nsettings:\n  batch: true\n", 3, "'true' is not a whole", "1 to"),
        ("models: [a]\nsettings:\n  batch: [1,\n   x]\n", 4, "'x' is not a whole", "1 to"),
        ("models: [a]\nsettings:\n  batch:\n", 3, "nothing stands where a value", "one value"),
        ("models: [a]\nsettings:\n  batch: [[1]]\n", 3, "a list stands where a value", "one value"),
        ("models: [a]\nsettings:\n  fuse: maybe\n", 3, "neither true nor false", "true or false"),
        ("models: [a]\nsettings:\n  fuse: true\n  fused: true\n", 4, "fused is given twi", "once"),
        ("models: [a]\nsettings:\n  name: x\n", 3, "a name is of one model", "@name="),
        ("models: [a]\nsettings:\n  blocks: no.py\n", 3, "no.py is not a file", "Check the path"),
        ("models: [a]\nsettings:\n  imgsz: 640x\n", 3, "not an image size", "HEIGHTxWIDTH"),
        ("models: [a]\nsettings:\n  device: gpu\n", 3, "unknown device 'gpu'", "cuda:N"),
        ("models: [a]\nsettings:\n  runtime: onnx\n", 3, "unknown runtime 'onnx'", "eager"),
        ("models: [a]\nsettings:\n  dtype: half\n", 3, "unknown dtype 'half'", "float16"),
        ("models: [a]\nsettings: 640\n", 2, "'640' stands where a mapping", "imgsz: 640"),
        ("models: [a]\nconvention: thob\n", 2, "unknown convention 'thob'", "did you mean thop"),
        ("models: [a]\nlimits:\n  seconds: 0\n", 3, "not a positive number", "more than 0"),
        ("models: [a]\nlimits:\n  margin: 2\n", 3, "not between 0 and 1", "0.02 for 2 %"),
        ("models: [a]\nlimits:\n  minutes: 1\n", 3, "unknown key `minutes`", "seconds"),
        ("models: [a\n", None, "not YAML", "brackets"),
    ],
)
def test_mistakes_name_file_line_and_hint(
    tmp_path: Path, text: str, line: int | None, what: str, hint: str
) -> None:
    with pytest.raises(SpecError, match=f"{what}(.|\n)*{hint}") as caught:
        load_suite(write(tmp_path, text))
    assert "mine.yaml" in str(caught.value.where)
    if line is not None:
        assert str(caught.value.where).endswith(f"line {line}")
    assert caught.value.exit_code == 2


def test_a_suite_that_is_not_there_suggests_one() -> None:
    with pytest.raises(UsageError, match="article"):
        load_suite("artcile")


def test_another_device_is_every_cases_device_once() -> None:
    suite = Suite(
        "s",
        "s",
        make_cases(["rtdetr-l", "rtdetr-l@nc=2,device=cuda"], {"device": ["cpu", "cuda"]}),
    )
    assert names(suite) == [
        "rtdetr-l@device=cpu", "rtdetr-l@nc=2,device=cuda", "rtdetr-l@device=cuda",
    ]  # fmt: skip
    moved = on_device(suite, "cuda:1")
    assert names(moved) == ["rtdetr-l", "rtdetr-l@nc=2"]
    assert {each.execution for each in moved.cases} == {Execution(device="cuda:1")}
    assert [each.model.nc for each in moved.cases] == [None, 2]
    with pytest.raises(UsageError, match="unknown device"):
        on_device(suite, "gpu")


# --- folders ----------------------------------------------------------------------------------

SUITE = Suite("pair", "A pair", (case("one", 1), case("two", 1)))


class Day(datetime):
    """Always the same, at noon."""

    @classmethod
    def now(cls, tz: Any = None) -> Day:
        return cls(2031, 2, 3, 12)


@pytest.fixture
def _fixed_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suites, "datetime", Day)


@pytest.mark.parametrize(
    ("environment", "slug"),
    [
        (Environment(processor="AMD EPYC", logical_cpus=2), "amd-epyc-2cpu"),
        (
            Environment(processor="Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz", logical_cpus=28),
            "intel-xeon-e5-2680-v4-28cpu",
        ),
        (Environment(processor="AMD EPYC 7B13 64-Core Processor", logical_cpus=4),
         "amd-epyc-7b13-64-core-4cpu"),
        (Environment(accelerator="NVIDIA H100 80GB HBM3", logical_cpus=16),
         "nvidia-h100-80gb-hbm3"),
        (Environment(), "unknown"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("_fixed_day")
def test_folders_are_named_after_day_machine_and_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: Environment, slug: str
) -> None:
    monkeypatch.setattr(Environment, "read", lambda device: environment)
    monkeypatch.chdir(tmp_path)
    assert free_folder("pair", "cpu") == tmp_path / "reports" / f"2031-02-03-{slug}-pair"


@pytest.mark.usefixtures("_fixed_day")
def test_a_folder_of_the_same_day_is_never_written_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = free_folder("pair", "cpu")
    first.mkdir(parents=True)
    second = free_folder("pair", "cpu")
    second.mkdir()
    assert second.name == f"{first.name}-2"
    assert free_folder("pair", "cpu").name == f"{first.name}-3"


# --- running ----------------------------------------------------------------------------------


def counted(asked: Case, convention: str) -> Result:
    name = asked.model.name
    return Result(
        model=name,
        title=name.title(),
        settings={**asked.settings_of_counts(asked.model.nc), "convention": convention},
        metrics={"params": 32_808_131},
        published=[{"label": "paper", "latency_ms": "11.6", "ours": {"params": 5}}],
        notes=("no scale given, using the first: l",),
        case=asked,
    )


def timed(cases: Sequence[Case], statuses: Sequence[str], verdict: str = "INCONCLUSIVE") -> Report:
    rows = tuple(
        Result(
            model=each.model.name,
            title=each.model.name.title(),
            settings={
                "imgsz": "640x640", "batch": each.execution.batch, "nc": each.model.nc,
                "device": "cpu", "runtime": each.execution.runtime,
                "threads": each.execution.threads or 2,
            },
            metrics=dict.fromkeys(METRIC_KEYS, 0.5),
            status=status,
            reason=None if status == "ok" else f"it {status}",
            samples={"latency_s": [[0.5]]},
            notes=("no scale given, using the first: l", "not settled"),
            case=each,
        )
        for each, status in zip(cases, statuses, strict=False)
    )  # fmt: skip
    sides = [Side(row.model, row.settings, row.case) for row in rows]
    pairs = tuple(Comparison(sides[0], side, ratio=1.0, verdict=verdict) for side in sides[1:])
    return Report(rows=rows, environment={"threads": 2}, comparisons=pairs)


def saved(path: Path) -> Report:
    """What was written; its figures are nobody's, so that they need not agree with each other."""
    return Report.from_json(path.read_text(encoding="utf-8"))


class Laboratory:
    """Stands in for counting and timing, and looks at what is on disk whenever they begin."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.folder = folder
        self.seen: list[tuple[str, list[tuple[str, str]]]] = []
        self.statuses, self.verdict = ["ok"] * 9, "INCONCLUSIVE"
        self.timings: list[tuple[list[str], dict[str, Any]]] = []
        self.during: dict[str, Callable[[], None]] = {}
        monkeypatch.setattr(profiling, "counted", self.count)
        monkeypatch.setattr(suites, "latency", self.latency)

    def look(self, stage: str) -> None:
        path = self.folder / "run.json"
        rows = saved(path).rows if path.exists() else ()
        self.seen.append((stage, [(row.model, row.reason or row.status) for row in rows]))
        self.during.get(stage, lambda: None)()

    def count(self, asked: Case, by: str, convention: str) -> Result:
        assert by == "stage"
        self.look(f"counting {asked.name}")
        return counted(asked, convention)

    def latency(self, cases: Sequence[Case], **settings: Any) -> Report:
        self.look("timing")
        self.timings.append(([each.name for each in cases], settings))
        settings["folder"].mkdir(parents=True)
        return timed(cases, self.statuses, self.verdict)


@pytest.fixture
def laboratory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Laboratory:
    return Laboratory(monkeypatch, tmp_path / "out")


def interrupt() -> None:
    raise KeyboardInterrupt


def suite_of(*cases: Case, **limits: Any) -> Suite:
    return dataclasses.replace(SUITE, cases=cases, **limits)


def another(model: str, name: str, nc: int | None = 1, **execution: Any) -> Case:
    """Another case of a model, under a name of its own."""
    return dataclasses.replace(case(model, nc, **execution), name=name)


def test_a_run_joins_counts_and_latency_in_one_row_per_model(laboratory: Laboratory) -> None:
    report = run(SUITE, output=laboratory.folder)
    assert report.exit_code == 0
    assert [row.model for row in report.rows] == ["one", "two"]
    row = report.rows[0]
    assert row.metrics["params"] == 32_808_131
    assert row.metrics["latency_median_s"] == 0.5
    assert row.settings["convention"] == "core"
    assert row.settings["threads"] == 2
    assert row.samples == {"latency_s": [[0.5]]}
    assert row.missing == {}
    assert row.notes == ("no scale given, using the first: l", "not settled")
    assert row.published[0]["ours"] == {"params": 5, "latency_median_s": 0.5}
    assert report.comparisons[0].ratio == 1.0
    assert report.environment == {"threads": 2}
    assert (report.title, report.command) == ("A pair", "detrbench run pair")


def test_a_run_leaves_the_report_and_its_tables(laboratory: Laboratory) -> None:
    report = run(SUITE, output=laboratory.folder)
    files = {path.name: path.read_text() for path in laboratory.folder.iterdir() if path.is_file()}
    assert sorted(files) == ["report.html", "run.json", "suite.json", "table.csv", "table.md"]
    assert Report.from_json(files["run.json"]) == report
    assert "| one |" in files["table.md"]
    assert "one" in files["table.csv"]
    assert files["report.html"].startswith("<!DOCTYPE html>")


def test_everything_is_on_disk_before_the_next_cell_begins(laboratory: Laboratory) -> None:
    run(SUITE, output=laboratory.folder)
    not_counted, not_timed = (
        "the run ended before it was counted",
        "the run ended before it was timed",
    )
    assert laboratory.seen == [
        ("counting one", []),
        ("counting two", [("one", not_timed), ("two", not_counted)]),
        ("timing", [("one", not_timed), ("two", not_timed)]),
    ]


def test_a_row_that_waits_for_its_latency_says_so(laboratory: Laboratory) -> None:
    laboratory.during["timing"] = interrupt
    row = run(SUITE, output=laboratory.folder).rows[0]
    assert row.metrics["params"] == 32_808_131
    assert row.metrics["latency_median_s"] is None
    assert row.missing["latency_median_s"] == "the run ended before it was timed"


@pytest.mark.parametrize("stage", ["counting one", "counting two", "timing"])
def test_an_interrupt_leaves_what_there_is(laboratory: Laboratory, stage: str) -> None:
    laboratory.during[stage] = interrupt
    said: list[str] = []
    report = run(SUITE, output=laboratory.folder, announce=said.append)
    assert report.exit_code == 130
    assert said[-1].endswith(f"run --resume {laboratory.folder}")
    assert sum("go on with: " in line for line in said) == 1
    assert [row.status for row in report.rows] == ["interrupted"] * 2
    assert saved(laboratory.folder / "run.json") == report


def late() -> None:
    raise TimeIsUp


@pytest.mark.parametrize(("stage", "counted"), [("counting one", 0), ("counting two", 1)])
def test_what_there_was_no_time_to_count_fails_and_says_how_to_go_on(
    laboratory: Laboratory, stage: str, counted: int
) -> None:
    laboratory.during[stage] = late
    said: list[str] = []
    report = run(SUITE, budget_s=60, output=laboratory.folder, announce=said.append)
    assert report.exit_code == 4
    assert [row.reason for row in report.rows] == [
        *["the budget was over before it was timed"] * counted,
        *["the budget was over before it was counted"] * (2 - counted),
    ]
    assert laboratory.timings == []
    assert f"run --resume {laboratory.folder} --budget 240" in said[-1]
    assert saved(laboratory.folder / "run.json") == report
    assert not (laboratory.folder / "report.html").exists(), "it takes seconds that are not there"


def test_counting_is_of_the_budget(laboratory: Laboratory) -> None:
    alarms: list[float] = []
    laboratory.during["counting one"] = lambda: alarms.append(
        signal.getitimer(signal.ITIMER_REAL)[0]
    )
    run(SUITE, output=laboratory.folder)
    run(SUITE, budget_s=60, output=laboratory.folder / "again")
    assert alarms == [0.0, pytest.approx(60.0, abs=10.0)]


def test_a_resumed_run_without_time_to_count_changes_nothing(laboratory: Laboratory) -> None:
    run(SUITE, output=laboratory.folder)
    before = {path: path.read_bytes() for path in laboratory.folder.iterdir() if path.is_file()}
    laboratory.during["counting one"] = late
    with pytest.raises(DetrbenchError, match="the budget was over"):
        resume(laboratory.folder, budget_s=5)
    assert {path: path.read_bytes() for path in before} == before


def test_an_interrupted_session_ends_the_suite_with_its_samples(laboratory: Laboratory) -> None:
    laboratory.statuses = ["interrupted", "interrupted"]
    suite = suite_of(*SUITE.cases, another("one", "one@batch=2", batch=2))
    report = run(suite, output=laboratory.folder)
    assert [stage for stage, _ in laboratory.seen].count("timing") == 1
    assert report.exit_code == 130
    assert report.rows[0].reason == "it interrupted"
    assert report.rows[0].samples == {"latency_s": [[0.5]]}
    assert report.rows[2].reason == "the run ended before it was counted"
    table = (laboratory.folder / "table.md").read_text()
    assert "| one | interrupted" in table.partition("batch 2")[2], "its own table says so too"


def test_a_model_that_fails_is_a_row_and_the_others_go_on(laboratory: Laboratory) -> None:
    laboratory.statuses = ["ok", "failed"]
    report = run(SUITE, output=laboratory.folder)
    assert [(row.status, row.reason) for row in report.rows] == [
        ("ok", None),
        ("failed", "it failed"),
    ]
    assert report.exit_code == 4


def test_a_model_that_cannot_be_counted_keeps_its_latency(laboratory: Laboratory) -> None:
    def broken() -> None:
        raise RuntimeError("no rule for this operator")

    laboratory.during["counting two"] = broken
    row = run(SUITE, output=laboratory.folder).rows[1]
    assert (row.status, row.reason) == ("failed", "RuntimeError: no rule for this operator")
    assert row.metrics["latency_median_s"] == 0.5


def test_a_wrong_request_is_raised_before_a_folder_appears(laboratory: Laboratory) -> None:
    def wrong() -> None:
        raise UsageError("no model one")

    laboratory.during["counting one"] = wrong
    with pytest.raises(UsageError, match="no model one"):
        run(SUITE, output=laboratory.folder)
    assert not laboratory.folder.exists()


def test_an_absent_device_is_said_before_anything_is_counted(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="cuda:0 was asked for"):
        run(SUITE, device="cuda", output=laboratory.folder)
    assert laboratory.seen == []


def test_what_a_case_cannot_have_is_said_before_anything_is_counted(
    laboratory: Laboratory,
) -> None:
    suite = suite_of(*SUITE.cases, another("one", "one@cold_l2=true", cold_l2=True))
    with pytest.raises(UsageError, match=r"one@cold_l2=true: cold_l2 is a setting of cuda devices"):
        run(suite, output=laboratory.folder)
    assert laboratory.seen == []


@pytest.mark.parametrize("status", ["ok", "interrupted", "failed"])
def test_the_samples_of_a_run_stay_so_that_it_can_go_on(
    status: str, laboratory: Laboratory
) -> None:
    laboratory.statuses = ["ok", status]
    run(SUITE, output=laboratory.folder)
    assert (laboratory.folder / "processes-1").is_dir()
    _, settings = laboratory.timings[0]
    assert settings["resume"] == f"run --resume {laboratory.folder}"
    assert settings["least"] == 6, "so that every latency has its interval"


def test_a_folder_that_holds_a_run_is_not_written_into(laboratory: Laboratory) -> None:
    run(SUITE, output=laboratory.folder)
    before = (laboratory.folder / "run.json").read_text()
    laboratory.seen.clear()
    with pytest.raises(UsageError, match=r"holds a run already\n  Go on with it: detrbench run"):
        run(SUITE, output=laboratory.folder)
    assert laboratory.seen == []
    assert (laboratory.folder / "run.json").read_text() == before


def begun(folder: Path, cases: Sequence[Case], processes: int) -> None:
    """What `latency` leaves of a run with so many processes."""
    names = [each.name for each in cases]
    made = run_of(*[[taken(1.0)] * len(names)] * processes, names=names)
    request = dataclasses.replace(made.request, cases=tuple(cases))
    folder.mkdir(parents=True, exist_ok=True)
    save_request(folder, request, Budget(), None)
    for outcome in made.outcomes:
        save_outcome(folder, outcome)


@pytest.mark.parametrize("budget_s", [None, 60.0])
def test_a_run_is_gone_on_with_in_its_folder(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch, budget_s: float | None
) -> None:
    resumed: list[tuple[Path, float | None]] = []

    def resume_latency(folder: Path, *, budget_s: float | None, **_: Any) -> Report:
        resumed.append((folder, budget_s))
        return timed(SUITE.cases, ["ok", "ok"], "FASTER")

    monkeypatch.setattr(suites, "resume_latency", resume_latency)
    run(SUITE, output=laboratory.folder)
    begun(laboratory.folder / "processes-1", SUITE.cases, 2)
    report = resume(laboratory.folder, budget_s=budget_s)
    assert report.comparisons[0].verdict == "FASTER"
    assert saved(laboratory.folder / "run.json") == report
    ((folder, seconds),) = resumed
    assert folder == laboratory.folder / "processes-1"
    assert seconds == (None if budget_s is None else pytest.approx(60.0, abs=5.0))


@pytest.mark.parametrize("when", ["counting one", "timing"])
def test_a_run_that_goes_on_and_is_interrupted_keeps_what_it_had(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    def resume_latency(*_: Any, **__: Any) -> Report:
        raise KeyboardInterrupt

    monkeypatch.setattr(suites, "resume_latency", resume_latency)
    run(SUITE, output=laboratory.folder)
    begun(laboratory.folder / "processes-1", SUITE.cases, 6)
    laboratory.during[when] = interrupt if when != "timing" else (lambda: None)
    try:
        resume(laboratory.folder)
    except KeyboardInterrupt:
        assert when == "counting one", "before anything is known, nothing is written"
    kept = saved(laboratory.folder / "run.json")
    assert [row.metrics["latency_median_s"] for row in kept.rows] != [None, None]


def test_what_has_changed_since_is_not_gone_on_with(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed(model: Model) -> Model:
        return dataclasses.replace(model, files=(File("one.yaml", "another"),))

    before = File("one.yaml", "before")
    one, two = SUITE.cases
    suite = suite_of(
        dataclasses.replace(one, model=dataclasses.replace(one.model, files=(before,))), two
    )
    run(suite, output=laboratory.folder)
    monkeypatch.setattr("detrbench.models.sources.resolve", changed)
    with pytest.raises(UsageError, match=r"one\.yaml has changed since this was begun"):
        resume(laboratory.folder)


def test_only_a_run_can_be_gone_on_with(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no run that can go on: it has no suite\.json"):
        resume(tmp_path)
    (tmp_path / "suite.json").write_text("[]")
    with pytest.raises(UsageError, match=r"suite\.json: cannot be read"):
        resume(tmp_path)


def test_a_budget_is_for_everything(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what counting leaves, each workload has its share of what is left when it begins."""
    monkeypatch.setattr(suites, "time", SimpleNamespace(monotonic=lambda: 1000.0))
    suite = suite_of(case("one", 1), another("one", "one@batch=8", batch=8), seconds=7.0)
    run(suite, budget_s=40.0, output=laboratory.folder)
    shares = [settings["budget_s"] for _, settings in laboratory.timings]
    assert shares == [20.0, 40.0]


def test_a_setting_of_every_case(laboratory: Laboratory) -> None:
    suite = with_setting(suite_of(case("one", 1), case("two", 1)), "threads", 3)
    assert [each.execution.threads for each in suite.cases] == [3, 3]
    assert names(suite) == ["one", "two"]


def test_what_is_of_one_workload_is_timed_in_the_same_rounds(laboratory: Laboratory) -> None:
    suite = suite_of(
        case("one", 1),
        another("one", "one@batch=8", batch=8),
        another("one", "one@runtime=compile", runtime="compile"),
        another("two", "two@batch=8", batch=8),
        seconds=30.0,
        processes=7,
    )
    report = run(suite, output=laboratory.folder)
    assert [cases for cases, _ in laboratory.timings] == [
        ["one", "one@runtime=compile"],
        ["one@batch=8", "two@batch=8"],
    ]
    for index, (_, settings) in enumerate(laboratory.timings, 1):
        assert settings["budget_s"] == 15.0, "the time is shared among the workloads"
        assert settings["processes"] == 7
        assert settings["folder"] == laboratory.folder / f"processes-{index}"
    assert [row.case and row.case.name for row in report.rows] == [
        "one", "one@runtime=compile", "one@batch=8", "two@batch=8",
    ]  # fmt: skip
    found = [(pair.baseline.case, pair.case.case) for pair in report.comparisons]
    one, one_8, compiled, two_8 = suite.cases
    assert found == [(one, compiled), (one_8, two_8)]
    assert saved(laboratory.folder / "run.json") == report


def test_what_differs_in_no_count_is_counted_once(laboratory: Laboratory) -> None:
    compiled = another("one", "one@runtime=compile", runtime="compile", threads=1)
    suite = suite_of(case("one", 1), compiled, another("one", "one@batch=2", batch=2))
    report = run(suite, output=laboratory.folder)
    assert [stage for stage, _ in laboratory.seen] == [
        "counting one", "timing", "counting one@batch=2", "timing",
    ]  # fmt: skip
    assert [row.metrics["params"] for row in report.rows] == [32_808_131] * 3
    assert [row.case for row in report.rows] == list(suite.cases)
    assert [row.settings["runtime"] for row in report.rows] == ["eager", "compile", "eager"]
    assert [row.settings["threads"] for row in report.rows] == [2, 1, 2]


def test_a_count_that_fails_is_said_of_all_that_share_it(laboratory: Laboratory) -> None:
    def broken() -> None:
        raise RuntimeError("no rule for this operator")

    laboratory.during["counting one"] = broken
    compiled = another("one", "one@runtime=compile", runtime="compile", threads=1)
    rows = run(suite_of(case("one", 1), compiled), output=laboratory.folder).rows
    assert [(row.status, row.reason) for row in rows] == [
        ("failed", "RuntimeError: no rule for this operator")
    ] * 2
    assert [row.settings["threads"] for row in rows] == [2, 1]


def test_cases_that_turn_out_to_be_the_same_are_one_row(laboratory: Laboratory) -> None:
    same = (another("one", "one@threads=2", threads=2), another("two", "two@threads=2", threads=2))
    report = run(suite_of(*SUITE.cases, *same), output=laboratory.folder)
    assert [row.model for row in report.rows] == ["one", "two"]  # two threads is what is read back
    assert [pair.case.case for pair in report.comparisons] == [SUITE.cases[1]]
    assert saved(laboratory.folder / "run.json").rows == report.rows


def test_settings_that_only_the_timing_tells_apart_are_rows_from_the_start(
    laboratory: Laboratory,
) -> None:
    laboratory.during["timing"] = interrupt
    cases = [another(name, f"{name}@{n}", threads=n) for n in (1, 2) for name in ("one", "two")]
    report = run(suite_of(*cases), output=laboratory.folder)
    assert [row.settings["threads"] for row in report.rows] == [1, 1, 2, 2]


def test_switches_of_cuda_tell_rows_apart_from_the_start(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suites, "open_device", lambda name: None)
    monkeypatch.setattr(Environment, "read", lambda device: Environment())
    laboratory.during["timing"] = interrupt
    cases = [
        another(name, f"{name}@{more}", device="cuda", **more)
        for more in ({}, {"tf32": True}, {"cold_l2": True, "stages": True})
        for name in ("one", "two")
    ]
    report = run(suite_of(*cases), output=laboratory.folder)
    assert len(report.rows) == 6
    assert report.rows[2].settings["tf32_matmul"] is True
    assert report.rows[4].settings["cold_l2"] is True


def test_a_suite_may_name_every_switch(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "models: [rtdetr-l]\n"
        "settings: {device: cuda, tf32: [true, false], cudnn_benchmark: true, cold_l2: true,\n"
        "           stages: true, dtype: float16, memory_format: channels_last}\n",
    )
    first, second = (each.execution for each in load_suite(file).cases)
    assert first == Execution(
        device="cuda",
        dtype="float16",
        memory_format="channels_last",
        tf32=True,
        cudnn_benchmark=True,
        cold_l2=True,
        stages=True,
    )
    assert second == dataclasses.replace(first, tf32=False)


def test_progress_names_what_is_counted(laboratory: Laboratory) -> None:
    told: list[Progress] = []
    run(SUITE, output=laboratory.folder, progress=told.append)
    assert [(each.phase, each.done) for each in told] == [("counting one", 0), ("counting two", 1)]


def test_a_small_suite_for_real(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "models: [shufflev2-x0.5, shufflev2-x0.5@fuse=true]\n"
        "settings: {nc: 1, imgsz: [64, 96], threads: 1}\n"
        "convention: thop\nlimits: {rounds: 2, processes: 1}\n",
    )
    report = run(path, output=tmp_path / "out")
    assert [(row.status, row.reason) for row in report.rows] == [("ok", None)] * 4
    assert [row.metrics["latency_samples"] for row in report.rows] == [2] * 4
    assert [row.settings["imgsz"] for row in report.rows] == ["64x64"] * 2 + ["96x96"] * 2
    assert [row.settings["fused"] for row in report.rows] == [False, True] * 2
    assert [row.settings["nc"] for row in report.rows] == [1] * 4
    assert all(report.comparison(row) is not None for row in report.rows[1::2])
    assert json.loads((tmp_path / "out" / "run.json").read_text())["rows"][0]["metrics"]["params"]
