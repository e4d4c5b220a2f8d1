"""The simulated runs: that the noises are what they say, and looks are those of `latency`."""

from __future__ import annotations

import random
import statistics
from types import ModuleType

import pytest

from tests.benchmarks.scripts import load


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("verdict_simulation", monkeypatch)


def test_every_noise_has_a_spread_of_about_one_and_no_side(script: ModuleType) -> None:
    for name, noise in script.NOISES.items():
        draw = random.Random(1)
        drawn = [one for _ in range(1500) for one in noise(draw, 8)]
        assert statistics.fmean(drawn) == pytest.approx(0, abs=0.08), name
        assert 0.7 < statistics.stdev(drawn) < 1.8, name


def test_a_large_difference_ends_at_the_first_look(script: ModuleType) -> None:
    found, done = script.looked_at([0.5, 0.51, 0.49, 0.5, 0.5, 0.5], 6)
    assert (found.verdict.value, done) == ("SLOWER", 3)


def test_one_that_is_left_open_is_doubled(script: ModuleType) -> None:
    open_ones = [0.0, 0.06, -0.06, 0.05, -0.05, 0.02]
    found, done = script.gone_on([*open_ones, *open_ones], 6)
    assert (found.verdict.value, done) == ("INCONCLUSIVE", 12)
    assert found.alpha == pytest.approx(0.005)


def test_false_alarms_and_power_are_shares(script: ModuleType) -> None:
    normal = script.NOISES["normal"]
    assert script.false_alarms(normal, 0.01, 6, 60, 0) == 0
    assert script.power(0.5, 0.01, 6, 20, 0) == (1.0, 3.0)
