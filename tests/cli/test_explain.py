"""`detrbench explain`: what it hands on, and what it refuses before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from detrbench.cli import main

WRONG: dict[str, tuple[list[str], str]] = {
    "no such model": (["rtdetr-l", "shuflev2"], "did you mean"),
    "the same twice": (["rtdetr-l", "rtdetr-l"], "named twice"),
    "no such part": (["rtdetr-l", "shufflev2", "--by", "layer"], "--by"),
    "no such device": (["rtdetr-l", "shufflev2", "--device", "gpu"], "--device"),
    "no such dtype": (["rtdetr-l", "shufflev2", "--dtype", "float8"], "float8"),
    "no time": (["rtdetr-l", "shufflev2", "--budget", "0"], "no time"),
    "no such remedy": (["rtdetr-l", "shufflev2", "--try", "prayer"], "--try"),
    "a graph on the processor": (["rtdetr-l", "shufflev2", "--try", "cudagraph"], "does not run"),
    "no such folder": (["rtdetr-l", "shufflev2", "-o", "/nowhere/why.json"], "not there"),
    "a folder beneath a file": (
        ["rtdetr-l", "shufflev2", "--pictures", f"{__file__}/x"],
        "--pictures",
    ),
    "not a size": (["rtdetr-l", "shufflev2", "--imgsz", "big"], "--imgsz"),
    "a remedy without a value": (["rtdetr-l", "shufflev2", "--try", "threads=none"], "--try"),
    "a remedy that changes nothing": (
        ["rtdetr-l", "shufflev2@threads=1", "--try", "threads=1"],
        "changes nothing of shufflev2@threads=1",
    ),
    "no such setting": (["rtdetr-l", "rtdetr-l@layout=channels_last"], "unknown setting"),
    "no seams": (["rtdetr-l", "rtdetr-l@runtime=compile"], "rtdetr-l@runtime=compile: under"),
    "two workloads": (["rtdetr-l", "rtdetr-l@batch=8"], "rtdetr-l@batch=8: it has another"),
    "a flag of several values": (
        ["rtdetr-l", "shufflev2", "--threads", "1,2"],
        "4 models cannot be a pair",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_is_said_at_once(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, said = WRONG[name]
    assert main(["explain", *arguments]) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert "Traceback" not in told.err
    assert told.out == ""


def test_a_size_that_the_strides_do_not_divide(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "shufflev2-x0.5", "shufflev2", "--imgsz", "65", "--threads", "1"]) == 2
    assert "multiples of 32" in capsys.readouterr().err


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Half a second is for the rounds alone: on a busy machine nothing would begin in it."""
    from detrbench.analysis.explain import measuring, remedies
    from tests.analysis.probe.quick import quick_probes

    pair, tries = measuring.explain_pair, remedies.measure_tries
    monkeypatch.setattr("detrbench.cli.explain.within", lambda seconds: nullcontext())
    monkeypatch.setattr(measuring, "explain_pair", lambda *a, deadline, **k: pair(*a, **k))
    monkeypatch.setattr(remedies, "measure_tries", lambda *a, deadline, **k: tries(*a, **k))
    with quick_probes():
        yield


@pytest.mark.usefixtures("patient")
def test_it_measures_prints_and_keeps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from detrbench.reports.report import Report

    pair = ["shufflev2", "shufflev2-x0.5"]
    quick = ["--imgsz", "64", "--threads", "1", "--budget", "0.5", "--nc", "1"]
    path = tmp_path / "why.json"
    pictures = tmp_path / "pictures"
    assert main(["explain", *pair, *quick, "-o", str(path), "--pictures", str(pictures)]) == 0
    assert {each.name for each in pictures.iterdir()} == {"roofline.svg", "parts.svg"}
    report = Report.load(path)
    kept: Any = report.comparisons[0].explanation
    assert [row.model for row in report.rows] == pair
    assert [part["part"] for part in report.rows[0].parts["stage"]] == [
        "backbone",
        "neck",
        "decoder",
    ]
    assert kept["paragraph"].startswith("shufflev2-x0.5 does ")
    assert "explain shufflev2" in report.command or report.command.startswith("detrbench")
    capsys.readouterr()
    assert main(["report", str(path), "--to", "markdown"]) == 0
    assert "shufflev2-x0.5" in capsys.readouterr().out


@pytest.mark.usefixtures("patient")
def test_rounds_are_kept_and_more_are_added(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from detrbench.reports.report import Report
    from tests.analysis.explain.nets import a_file

    quick = ["--imgsz", "64", "--threads", "1", "--budget", "0.5", "--by", "op"]
    first, second, folder = tmp_path / "1.json", tmp_path / "2.json", str(tmp_path / "kept")
    one = f"{a_file(tmp_path)}:any_number"
    pair = [one, f"{one}@memory_format=channels_last"]
    assert main(["explain", *pair, *quick, "--folder", folder, "-o", str(first)]) == 0
    assert main(["explain", "--resume", folder, "--budget", "0.5", "-o", str(second)]) == 0
    before, after = (
        [len(row.samples["latency_s"][0]) for row in Report.load(path).rows]
        for path in (first, second)
    )
    assert all(more > fewer >= 2 for fewer, more in zip(before, after, strict=True))
    assert main(["explain", *pair, "--resume", folder]) == 2
    assert "cannot be given again" in capsys.readouterr().err
    assert main(["explain", "--resume", str(tmp_path)]) == 2
    assert "holds no explanation that can go on" in capsys.readouterr().err
    assert main(["explain", "rtdetr-l"]) == 2
    assert "two models are needed" in capsys.readouterr().err


@pytest.mark.usefixtures("patient")
def test_a_model_is_explained_against_itself_and_with_any_setting_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from detrbench.reports.report import Report

    other = "shufflev2-x0.5@memory_format=channels_last"
    quick = ["--imgsz", "64", "--threads", "1", "--budget", "0.5", "--nc", "1"]
    path = tmp_path / "why.json"
    tries = ["--try", "fused=true", "--try", "batch=2"]
    assert main(["explain", "shufflev2-x0.5", other, *quick, *tries, "-o", str(path)]) == 0
    report = Report.load(path)
    assert [row.settings["memory_format"] for row in report.rows] == ["contiguous", "channels_last"]
    assert [row.case and row.case.name for row in report.rows] == ["shufflev2-x0.5", other]
    kept: Any = report.comparisons[0].explanation
    measured = [one["name"] for one in kept["tries"] if one["measured"]]
    assert measured == ["--fuse", "a --batch 2 times as large, per image"]
    capsys.readouterr()
    assert main(["report", str(path)]) == 0
    assert f"What to try next on {other}." in capsys.readouterr().out
