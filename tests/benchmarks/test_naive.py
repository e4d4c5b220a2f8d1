"""The naive script: what it times, and what it prints."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch

from tests.benchmarks.scripts import load


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("naive", monkeypatch)


def test_warm_up_calls_are_made_and_not_timed(script: ModuleType) -> None:
    now, calls = 0.0, 0

    def call() -> None:
        nonlocal now, calls
        calls += 1
        now += 10.0 if calls <= 5 else 0.5

    assert script.call_times(call, lambda: now) == [0.5] * 30
    assert calls == 35


def test_it_prints_the_means_and_the_ratio(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    means = iter(([0.1, 0.3], [0.1, 0.1]))
    monkeypatch.setattr(script.detrbench, "build", lambda name: torch.nn.Identity(), raising=False)
    monkeypatch.setattr(script, "call_times", lambda call: next(means))
    monkeypatch.setattr(sys, "argv", ["naive", "a", "b", "--imgsz", "8"])
    script.main()
    assert capsys.readouterr().out == "a: 200.0 ms\nb: 100.0 ms\nratio: 0.500\n"


def test_a_ratio_needs_two_models(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["naive", "a"])
    with pytest.raises(SystemExit):
        script.main()
