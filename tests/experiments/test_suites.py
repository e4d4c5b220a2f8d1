from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from detrbench.core.errors import SpecError, UsageError
from detrbench.counting import profiling
from detrbench.experiments import suites
from detrbench.experiments.suites import Setting, Suite, load_suite, on_device, report_folder, run
from detrbench.machine.environment import Environment
from detrbench.reports.report import Report, Result
from detrbench.runtimes.options import Options
from detrbench.timing.rows import METRIC_KEYS
from detrbench.timing.session import Progress

# --- reading ----------------------------------------------------------------------------------


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def test_the_article_suite_is_the_pair_at_the_articles_settings() -> None:
    suite = load_suite("article")
    assert suite.models == ("rtdetr-l", "shufflev2")
    assert suite.settings == (Setting(nc=1, imgsz=(640, 640), batch=1, fuse=False, device="cpu"),)
    assert suite.convention == "thop"
    assert suite.seconds <= 150.0  # with counting and start, `make demo` stays under three minutes


def test_what_a_suite_leaves_out_has_defaults(tmp_path: Path) -> None:
    path = write(tmp_path, "models: rtdetr-l\n")
    assert load_suite(path) == Suite("mine", path, "mine", ("rtdetr-l",), (Setting(),))


def test_lists_are_every_combination_in_the_order_written(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "models: [rtdetr-l]\nsettings: {imgsz: [320, 480x640], batch: [1, 8], fuse: true}\n"
        "limits: {seconds: 12.5, rounds: 7}\n",
    )
    suite = load_suite(path)
    assert [(setting.imgsz, setting.batch) for setting in suite.settings] == [
        ((320, 320), 1),
        ((320, 320), 8),
        ((480, 640), 1),
        ((480, 640), 8),
    ]
    assert all(setting.fuse for setting in suite.settings)
    assert (suite.seconds, suite.rounds) == (12.5, 7)


def test_a_model_beside_the_suite_is_found_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "my-variant.yaml").write_text("")
    suite = load_suite(write(tmp_path, "models: [./my-variant.yaml, rtdetr-l]\n"))
    assert suite.models == (str(tmp_path / "my-variant.yaml"), "rtdetr-l")


@pytest.mark.parametrize(
    ("text", "line", "what", "hint"),
    [
        ("model: [a]\n", 1, "unknown key 'model'", "did you mean models"),
        ("title: x\n", None, "no models", "models: \\["),
        ("- a\n", 1, "a list stands where a mapping", "title, models"),
        ("models: []\n", 1, "the list is empty", "at least one"),
        ("models: [a,\n  3]\n", 2, "'3' stands where a text", "quotes"),
        ("models: [a, a]\n", 1, "a stands here twice", "once"),
        ("models: [a]\nsettings: {imgs: 640}\n", 2, "unknown key 'imgs'", "imgsz"),
        ("models: [a]\nsettings:\n  nc: 0\n", 3, "'0' is not a whole number", "1 or more"),
        ("models: [a]\nsettings:\n  batch: true\n", 3, "'true' is not a whole", "1 or more"),
        ("models: [a]\nsettings:\n  fuse: maybe\n", 3, "neither true nor false", "true or false"),
        ("models: [a]\nsettings:\n  imgsz: 640x\n", 3, "not an image size", "HEIGHTxWIDTH"),
        ("models: [a]\nsettings:\n  device: gpu\n", 3, "unknown device 'gpu'", "cuda:N"),
        ("models: [a]\nsettings:\n  runtime: onnx\n", 3, "unknown runtime 'onnx'", "eager"),
        ("models: [a]\nsettings: 640\n", 2, "'640' stands where a mapping", "nc, imgsz"),
        ("models: [a]\nconvention: thob\n", 2, "unknown convention 'thob'", "did you mean thop"),
        ("models: [a]\nlimits:\n  seconds: 0\n", 3, "not a positive number", "more than 0"),
        ("models: [a]\nlimits:\n  minutes: 1\n", 3, "unknown key 'minutes'", "seconds"),
        ("models: [a\n", None, "not YAML", "brackets"),
    ],
)
def test_mistakes_name_file_line_and_cure(
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


def test_another_device_is_every_settings_device_once() -> None:
    suite = Suite(
        "s", Path("s"), "s", ("a",), (Setting(device="cpu"), Setting(device="cuda"), Setting(nc=2))
    )
    assert on_device(suite, "cuda:1").settings == (
        Setting(device="cuda:1"),
        Setting(device="cuda:1", nc=2),
    )
    with pytest.raises(UsageError, match="unknown device"):
        on_device(suite, "gpu")


# --- folders ----------------------------------------------------------------------------------

SUITE = Suite("pair", Path("pair.yaml"), "A pair", ("one", "two"), (Setting(nc=1),))


@pytest.fixture
def _fixed_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suites, "_now", lambda: datetime(2031, 2, 3, 4, 5, 6, tzinfo=timezone.utc))


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
    assert report_folder(SUITE, tmp_path) == tmp_path / "reports" / f"2031-02-03-{slug}-pair"


@pytest.mark.usefixtures("_fixed_day")
def test_a_folder_of_the_same_day_is_never_written_into(tmp_path: Path) -> None:
    first = report_folder(SUITE, tmp_path)
    first.mkdir(parents=True)
    second = report_folder(SUITE, tmp_path)
    second.mkdir()
    assert second.name == f"{first.name}-2"
    assert report_folder(SUITE, tmp_path).name == f"{first.name}-3"


# --- running ----------------------------------------------------------------------------------


def counted(model: str, **settings: Any) -> Report:
    cell = Result(
        model=model,
        title=model.title(),
        settings={"imgsz": "640x640", "batch": 1, "fused": False, **settings},
        metrics={"params": 32_808_131},
        published=[{"label": "paper", "latency_ms": "11.6", "ours": {"params": 5}}],
        notes=("no scale given, using the first: l",),
    )
    return Report(rows=(cell,))


def timed(models: Sequence[str], statuses: Sequence[str], nc: int | None) -> Report:
    cells = tuple(
        Result(
            model=model,
            title=model.title(),
            settings={"imgsz": "640x640", "nc": nc, "device": "cpu", "threads": 2},
            metrics=dict.fromkeys(METRIC_KEYS, 0.5),
            status=status,
            reason=None if status == "ok" else f"it {status}",
            samples={"latency_s": [[0.5]]},
            notes=("no scale given, using the first: l", "not settled"),
        )
        for model, status in zip(models, statuses, strict=True)
    )
    ratio = {"baseline": models[0], "model": models[-1], "ratio": 1.0}
    return Report(rows=cells, environment={"threads": 2}, comparisons=(ratio,))


class Laboratory:
    """Stands in for counting and timing, and looks at what is on disk whenever they begin."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.folder = folder
        self.seen: list[tuple[str, list[tuple[str, str]]]] = []
        self.statuses = ["ok", "ok"]
        self.during: dict[str, Callable[[], None]] = {}
        monkeypatch.setattr(profiling, "profile", self.profile)
        monkeypatch.setattr(suites, "measure_latency", self.latency)

    def look(self, stage: str) -> None:
        path = self.folder / "run.json"
        rows = Report.load(path).rows if path.exists() else ()
        self.seen.append((stage, [(row.model, row.reason or row.status) for row in rows]))
        self.during.get(stage, lambda: None)()

    def profile(self, models: list[str], *, nc: int | None, **settings: Any) -> Report:
        self.look(f"counting {models[0]}")
        return counted(models[0], nc=nc, convention=settings["convention"])

    def latency(self, models: Sequence[str], **settings: Any) -> Report:
        self.look("timing")
        self.budget_s = settings["budget_s"]
        return timed(models, self.statuses, settings["nc"])


@pytest.fixture
def laboratory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Laboratory:
    return Laboratory(monkeypatch, tmp_path / "out")


def interrupt() -> None:
    raise KeyboardInterrupt


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
    assert report.comparisons[0]["ratio"] == 1.0
    assert report.environment == {"threads": 2}
    assert (report.title, report.command) == ("A pair", "detrbench run pair")


def test_a_run_leaves_the_report_and_its_tables(laboratory: Laboratory) -> None:
    report = run(SUITE, output=laboratory.folder)
    files = {path.name: path.read_text() for path in laboratory.folder.iterdir()}
    assert sorted(files) == ["report.html", "run.json", "table.csv", "table.md"]
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
    report = run(SUITE, output=laboratory.folder)
    assert report.exit_code == 130
    assert [row.status for row in report.rows] == ["interrupted"] * 2
    assert Report.load(laboratory.folder / "run.json") == report


def test_an_interrupted_session_ends_the_suite_with_its_samples(laboratory: Laboratory) -> None:
    laboratory.statuses = ["interrupted", "interrupted"]
    suite = dataclasses.replace(SUITE, settings=(Setting(nc=1), Setting(nc=2)))
    report = run(suite, output=laboratory.folder)
    assert [stage for stage, _ in laboratory.seen].count("timing") == 1
    assert report.exit_code == 130
    assert report.rows[0].reason == "it interrupted"
    assert report.rows[0].samples == {"latency_s": [[0.5]]}
    assert report.rows[3].reason == "the run ended before it was counted"


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


def test_the_time_is_shared_among_the_settings(laboratory: Laboratory) -> None:
    suite = dataclasses.replace(SUITE, settings=(Setting(nc=1), Setting(nc=2)), seconds=30.0)
    run(suite, output=laboratory.folder)
    assert laboratory.budget_s == 15.0


def test_settings_that_turn_out_to_be_the_same_are_one_row(laboratory: Laboratory) -> None:
    settings = (Setting(nc=1, threads=2), Setting(nc=1))  # two threads is what is read back
    suite = dataclasses.replace(SUITE, settings=settings)
    report = run(suite, output=laboratory.folder)
    assert [row.model for row in report.rows] == ["one", "two"]
    assert Report.load(laboratory.folder / "run.json").rows == report.rows


def test_settings_that_only_the_timing_tells_apart_are_rows_from_the_start(
    laboratory: Laboratory,
) -> None:
    laboratory.during["timing"] = interrupt
    settings = (Setting(nc=1, threads=1), Setting(nc=1, threads=2))
    report = run(dataclasses.replace(SUITE, settings=settings), output=laboratory.folder)
    assert [row.settings["threads"] for row in report.rows] == [1, 1, 2, 2]


def test_switches_of_cuda_tell_rows_apart_from_the_start(laboratory: Laboratory) -> None:
    laboratory.during["timing"] = interrupt
    settings = (Setting(nc=1), Setting(nc=1, tf32=True), Setting(nc=1, cold_l2=True, stages=True))
    report = run(dataclasses.replace(SUITE, settings=settings), output=laboratory.folder)
    assert len(report.rows) == 6
    assert report.rows[2].settings["tf32_matmul"] is True
    assert report.rows[4].settings["cold_l2"] is True


def test_a_suite_may_name_every_switch(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "models: [rtdetr-l]\n"
        "settings: {device: cuda, tf32: [true, false], cudnn_benchmark: true, cold_l2: true,\n"
        "           stages: true, dtype: float16, memory_format: channels_last}\n"
    )
    first, second = load_suite(file).settings
    assert first.options == Options("float16", "channels_last", True, True, True)
    assert second.options.tf32 is False
    assert first.stages


def test_progress_names_what_is_counted(laboratory: Laboratory) -> None:
    told: list[Progress] = []
    run(SUITE, output=laboratory.folder, progress=told.append)
    assert [(each.phase, each.done) for each in told] == [("counting one", 0), ("counting two", 1)]


def test_a_small_suite_for_real(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "models: [shufflev2-x0.5]\nsettings: {nc: 1, imgsz: 64, threads: 1}\n"
        "convention: thop\nlimits: {rounds: 2, processes: 1}\n",
    )
    report = run(path, output=tmp_path / "out")
    (row,) = report.rows
    assert (row.status, row.reason) == ("ok", None)
    assert row.metrics["latency_samples"] == 2
    assert row.settings["imgsz"] == "64x64"
    assert row.settings["nc"] == 1
    assert json.loads((tmp_path / "out" / "run.json").read_text())["rows"][0]["metrics"]["params"]
