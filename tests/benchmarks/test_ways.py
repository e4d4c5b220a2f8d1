"""How others time and judge, with a clock that only calls move."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from tests.benchmarks.scripts import load


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("ways", monkeypatch)


class Model:
    """Calls that take so long, by a clock of their own."""

    def __init__(self, *times_s: float) -> None:
        self.times_s, self.calls, self.now = times_s, 0, 0.0

    def __call__(self) -> None:
        self.now += self.times_s[min(self.calls, len(self.times_s) - 1)]
        self.calls += 1

    def clock(self) -> float:
        return self.now


@pytest.mark.parametrize(("min_time_s", "runs"), [(60.0, 120), (10.0, 100)])
def test_ultralytics_fills_the_time_and_makes_the_least_number(
    ways: ModuleType, min_time_s: float, runs: int
) -> None:
    model = Model(0.5)
    assert ways.profile_models(model, 10, 100, min_time_s, model.clock) == [0.5] * runs
    assert model.calls == 10 + runs


def test_optimum_goes_on_until_both_are_reached(ways: ModuleType) -> None:
    slow, fast = Model(2.0), Model(0.5)
    assert len(ways.for_duration(slow, 10, 10, 10.0, slow.clock)) == 10
    assert len(ways.for_duration(fast, 10, 10, 10.0, fast.clock)) == 20


def test_pyperf_doubles_its_loops_until_a_value_takes_long_enough(ways: ModuleType) -> None:
    model = Model(0.03125)
    assert ways.loops_for(model, 0.1, model.clock) == 4
    warm = Model(4.0, 4.0, 1.0, 2.0, 1.0, 1.0)
    assert ways.loop_values(warm, 2, 2, 1, warm.clock) == [1.5, 1.0]


def test_torch_s_timer_is_the_real_one(ways: ModuleType) -> None:
    times_s = ways.blocked_autorange(lambda: sum(range(1000)), threads=1, min_run_time_s=1e-4)
    assert times_s
    assert all(each > 0 for each in times_s)


def test_clipping_leaves_out_what_is_far_off_again_and_again(ways: ModuleType) -> None:
    usual = [1.0, 1.01, 0.99, 1.0, 1.01, 0.99, 1.0, 1.01, 0.99, 1.0]
    assert ways.sigma_clipped([*usual, 1.1, 9.0]) == usual
    assert ways.sigma_clipped([*usual, 1.1, 9.0], times=1) == [*usual, 1.1]
    assert ways.sigma_clipped([1.0]) == [1.0]


def test_ranges_that_meet_are_not_different(ways: ModuleType) -> None:
    near, far = [1.0, 1.1, 1.2], [1.5, 1.6, 1.7]
    assert ways.means_apart(near, far)
    assert not ways.means_apart(near, [1.1, 1.2, 1.3])
    assert ways.quartiles_apart(near, far)
    assert not ways.quartiles_apart(near, [1.1, 1.2, 1.3])


def test_student_s_test_is_the_textbook_s(ways: ModuleType) -> None:
    """Pooled variance 1, five of each: 1.46 apart is beyond 2.306 * sqrt(2 / 5), 1.45 is not."""
    a = [-1.0, -1.0, 0.0, 1.0, 1.0]
    assert ways.student_apart(a, [each + 1.46 for each in a])
    assert not ways.student_apart(a, [each + 1.45 for each in a])
    assert not ways.student_apart([1.0], [2.0])


def test_a_ratio_alone_is_read_with_two_percent(ways: ModuleType) -> None:
    assert [ways.beyond(ratio) for ratio in (0.97, 0.99, 1.01, 1.03)] == [True, False, False, True]


def test_a_process_times_the_models_of_a_file(ways: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "pair.py"
    file.write_text("import torch\nmodel = other = torch.nn.Identity\n")
    options = {"loops": 1, "values": 3, "warmups": 1}
    request = {
        "way": "pyperf",
        "file": str(file),
        "names": ["model", "other"],
        "imgsz": 4,
        "threads": None,
        "options": options,
    }
    assert [len(samples) for samples in ways.measure(request)] == [3, 3]
