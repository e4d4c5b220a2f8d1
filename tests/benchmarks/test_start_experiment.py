"""Where a process's seconds go, and how far its ratios scatter: the arithmetic."""

from __future__ import annotations

from types import ModuleType

import pytest

from detrbench.timing.records import Outcome
from tests.benchmarks.scripts import load
from tests.timing.runs import asked, measured, taken


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("start_experiment", monkeypatch)


def test_the_phases_add_up_to_the_whole(script: ModuleType) -> None:
    """Two models that take 3 s to build, 9 s in their first call and 3 s to warm up."""
    series = [taken(1.0, 1.5), taken(2.0, 2.5)]
    found = script.phases(series, started_s=34.0, seconds=45.0)
    assert found == {
        "import": 4.0, "build": 6.0, "first call": 18.0, "warm-up": 6.0, "timed": 7.0, "end": 4.0,
    }  # fmt: skip
    assert sum(found.values()) == 45.0


@pytest.mark.parametrize("names", [("model", "copy"), ("copy", "model")])
def test_the_copy_is_compared_with_the_model_whoever_comes_first(
    script: ModuleType, names: tuple[str, str]
) -> None:
    series = {name: taken(*([1.0, 1.0] if name == "model" else [2.0, 2.0])) for name in names}
    measurement = measured(asked(*names), series)
    found = script.record(Outcome(1, measurement=measurement), 12.0)
    assert found["log_ratio"] == pytest.approx(0.6931, abs=1e-4)


def test_a_worker_that_failed_ends_it(script: ModuleType) -> None:
    with pytest.raises(SystemExit, match="a worker failed: killed"):
        script.record(Outcome(1, "failed", "killed"), 1.0)


def test_the_summary_says_how_forks_scatter(script: ModuleType) -> None:
    def kept(*ratios: float) -> list[dict[str, object]]:
        phases = dict.fromkeys(script.PHASES, 1.0)
        return [{"log_ratio": ratio, "seconds": 6.0, "phases": phases} for ratio in ratios]

    settings = {"model": "m", "imgsz": 64, "load": 0}
    all_of_it = {
        "settings": settings,
        "fresh": kept(-0.02, 0.0, 0.02),
        "forked": kept(-0.01, 0.0, 0.01),
    }
    text = script.summary(all_of_it)
    assert "forked workers scatter 0.50 times as far as fresh ones" in text
    assert "fresh: mean +0.00%, sd of the log-ratio 2.00%" in text
    assert script.summary({"settings": settings, "fresh": [], "forked": []}).count("\n") == 1
