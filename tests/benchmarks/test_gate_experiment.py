"""The gate's experiment: what it changes in a model, and what it says of how its trials ended."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from detrbench.counting.profiling import profile
from detrbench.models.catalog import find_model
from tests.benchmarks.scripts import load


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("gate_experiment", monkeypatch)


@pytest.mark.parametrize("model", ["rtdetr-l", "shufflev2"])
def test_the_slower_version_has_more_of_the_neck_alone(
    experiment: ModuleType, tmp_path: Path, model: str
) -> None:
    text = find_model(model).read_text(encoding="utf-8")
    assert experiment.with_layers(text, 0) == text
    slower = tmp_path / "slower.yaml"
    slower.write_text(experiment.with_layers(text, 4), encoding="utf-8")
    before, after = (
        {part["part"]: part["flops"] for part in report.rows[0].parts["stage"]}
        for report in (profile([path], imgsz=64, by="stage") for path in (model, slower))
    )
    assert after["neck"] > before["neck"]
    assert {**after, "neck": 0} == {**before, "neck": 0}


def test_the_summary_counts_failures_of_both_kinds(experiment: ModuleType) -> None:
    def trial(code: int, ratio: float) -> dict[str, Any]:
        return {"exit_code": code, "seconds": 45.0, "runs": [{"ratio": ratio}]}

    kept = {
        "settings": {"models": ["a"], "imgsz": 224, "limit": "5%", "budget": 45.0},
        "layers": {"a": {"layers": 9, "effect": 0.101}},
        "nothing": [trial(0, 1.0)] * 37 + [trial(3, 1.04)] + [trial(1, 1.07)] * 2,
        "slower": [trial(1, 1.1)] * 9 + [trial(3, 1.06)],
    }
    text = experiment.summary(kept)
    assert "a: 9 layers more in the neck, +10.1% when sized" in text
    assert "37 pass, 2 regression, 1 inconclusive" in text
    assert "2 of 40 with nothing changed fail: met (goal 2 of 40)" in text
    assert "9 of 10 slower ones fail: missed (goal all)" in text
    kept["nothing"][0] = trial(1, 1.07)
    assert "3 of 40 with nothing changed fail: missed" in experiment.summary(kept)
