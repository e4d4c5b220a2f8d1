"""The ways side by side: turns, what is kept and gone on with, and the table; nothing is timed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from detrbench.timing.rows import latency_report
from tests.benchmarks.scripts import load
from tests.timing.runs import run_of, taken


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("ways_experiment", monkeypatch)


def run(script: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["experiment", *map(str, arguments)])
    code: int = script.main()
    return code


def pair(script: ModuleType, folder: Path, **samples: list[list[float]]) -> Any:
    """A pair whose processes answer at once, one model's samples for one name."""
    asked = SimpleNamespace(
        imgsz=64,
        threads=None,
        budget=5.0,
        timed_runs=1,
        min_time=0.0,
        min_run_time=0.0,
        duration=0.0,
        processes=2,
    )
    made: Any = script.Pair(asked, folder)

    def answer(way: str, names: tuple[str, ...], **options: Any) -> list[list[float]]:
        return [samples[way.replace("-", "_")][script.NAMES.index(name)] for name in names]

    made.samples = answer
    return made


@pytest.mark.parametrize("way", ["naive", "ultralytics", "torch", "optimum", "pyperf"])
def test_each_way_finds_twice_the_time_and_lets_equal_ones_be(
    script: ModuleType, tmp_path: Path, way: str
) -> None:
    a, twice = [1.0, 1.01, 0.99, 1.0], [2.0, 2.02, 1.98, 2.0]
    for other, ratio in ((a, 1.0), (twice, 2.0)):
        answers = {way: [a, other], "pyperf_loops": [[1], [1]]}
        told = script.WAYS[way](pair(script, tmp_path, **answers))
        assert told["ratio"] == pytest.approx(ratio)
        assert told["different"] is (ratio == 2.0)
    if way == "pyperf":
        assert [len(each) for each in told["samples"]] == [8, 8]  # two processes


@pytest.mark.parametrize(
    ("factor", "processes", "different"), [(1.5, 6, True), (1.0, 6, False), (1.5, 2, None)]
)
def test_detrbench_answers_with_its_verdict(
    script: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    factor: float,
    processes: int,
    different: bool | None,
) -> None:
    process = [taken(1.0, 1.0), taken(factor, factor)]
    report = latency_report(run_of(*[process] * processes, names=script.NAMES))

    def ended(command: list[str]) -> str:
        report.save(Path(command[command.index("-o") + 1]))
        raise script.Failed("it exits with 4 where a verdict is invalid")

    monkeypatch.setattr(script, "ended", ended)
    told = script.WAYS["detrbench"](pair(script, tmp_path))
    assert told["different"] is different


def test_the_pair_is_a_model_and_the_same_with_more_to_do(
    script: ModuleType, tmp_path: Path
) -> None:
    file = tmp_path / "pair.py"
    file.write_text(script.PAIR.format(model="shufflev2", imgsz=64, units=3))
    made: dict[str, Any] = {}
    exec(compile(file.read_text(), str(file), "exec"), made)
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        plain, burdened = (made[name]().eval() for name in script.NAMES)
        assert torch.equal(plain(images).boxes, burdened(images).boxes)
    assert (plain.units, burdened.units) == (0, 3)


def test_turns_differ_between_trials_and_stay_when_gone_on_with(script: ModuleType) -> None:
    orders = [script.order(list("abcdef"), 0, trial) for trial in range(5)]
    assert all(sorted(each) == list("abcdef") for each in orders)
    assert len({tuple(each) for each in orders}) > 1
    assert orders == [script.order(list("abcdef"), 0, trial) for trial in range(5)]


def test_what_is_left_is_told_once_every_way_was_seen(script: ModuleType) -> None:
    trials = [{"a": {"seconds": 10.0}}, {"a": {"seconds": 30.0}}]
    assert script.seconds_left(trials, ["a", "b"], 4) is None
    assert script.seconds_left(trials, ["a"], 4) == 40.0


def test_a_cut_experiment_keeps_what_there_is_and_goes_on(
    script: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file, asked = tmp_path / "ways.json", []

    def answer(ratio: float) -> Any:
        def way(pair: Any) -> dict[str, Any]:
            asked.append(ratio)
            if len(asked) == 3:
                raise KeyboardInterrupt
            return {"ratio": ratio, "different": ratio > 1.02, "samples": [[1.0], [ratio]]}

        return way

    def broken(pair: Any) -> dict[str, Any]:
        raise script.Failed("out of memory")

    ways = {"naive": answer(1.1), "torch": answer(1.01), "optimum": broken}
    for name, way in ways.items():
        monkeypatch.setitem(script.WAYS, name, way)
    assert run(script, monkeypatch, "-o", file, "--ways", ",".join(ways), "--trials", 2) == 0
    first = json.loads(file.read_text())
    assert "interrupted" in capsys.readouterr().err
    assert len(asked) == 3

    assert run(script, monkeypatch, "--resume", file) == 0
    second = json.loads(file.read_text())
    assert [set(trial) for trial in second["trials"]] == [set(ways), set(ways)]
    for before, after in zip(first["trials"], second["trials"], strict=False):
        assert before.items() <= after.items()
    printed = capsys.readouterr().out
    assert "| naive | 2 | 2 of 2 | 2 of 2 | 0.00% |" in printed
    assert "| torch | 2 | 0 of 2 | 0 of 2 | 0.00% |" in printed
    assert "| optimum | 2 | 0 of 0, 2 without answer | 0 of 0 | n/a |" in printed
    assert "trial 2, optimum: failed: out of memory" in printed


def test_a_burden_is_sized_once(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files: list[str] = []
    sized = iter([0.001])

    def way(pair: Any) -> dict[str, Any]:
        files.append(pair.file.read_text())
        return {"ratio": 1.05, "different": True}

    monkeypatch.setattr(script, "share_of_a_unit", lambda *given: next(sized))
    monkeypatch.setitem(script.WAYS, "naive", way)
    file = tmp_path / "ways.json"
    for trials in (1, 2):
        run(
            script,
            monkeypatch,
            "-o",
            file,
            "--pair",
            "burden",
            "--ways",
            "naive",
            "--trials",
            trials,
        )
    assert len(files) == 2
    assert all("return Burdened(50)" in text for text in files)
    assert "itself with 5.0% more to do" in script.summary(json.loads(file.read_text()))


def test_an_unknown_way_is_refused(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit):
        run(script, monkeypatch, "-o", tmp_path / "a.json", "--ways", "naive,guessing")


def test_nothing_measured_is_said(script: ModuleType) -> None:
    assert script.summary({"settings": {}, "trials": []}) == "nothing was measured yet"
