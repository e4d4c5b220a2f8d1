"""Budgets of commands: from the first keystroke, and over when they are over."""

from __future__ import annotations

import signal
import time

import pytest

from detrbench.cli import FAILED, budgets, main
from detrbench.cli.budgets import begin, check_budget, left_of, within
from detrbench.core.errors import DetrbenchError, TimeIsUp, UsageError


@pytest.fixture(autouse=True)
def _begun() -> None:
    begin(own_process=False)


@pytest.mark.parametrize(
    ("seconds", "what"),
    [(0.0, "leave no time"), (-1.0, "leave no time"), (float("nan"), "leave no time"),
     (1e9, "never end"), (float("inf"), "never end")],
)  # fmt: skip
def test_a_budget_that_is_none(seconds: float, what: str) -> None:
    with pytest.raises(UsageError, match=rf"--budget: .* {what}"):
        check_budget(seconds)


def test_what_a_process_took_to_begin_is_of_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "age_s", lambda: 7.0)
    begin(own_process=True)
    assert left_of(60.0) == pytest.approx(53.0, abs=1.0)
    assert left_of(5.0) > 0, "what began may say something"
    begin(own_process=False)
    assert left_of(60.0) == pytest.approx(60.0, abs=1.0)


def test_what_does_not_see_the_end_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "_OVERTIME_S", 0.0)
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(DetrbenchError, match="the budget was over") as told, within(0.01):
        signal.pause()
    assert isinstance(told.value.__cause__, KeyboardInterrupt), "as after Ctrl-C"
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_budget_without_a_result_is_an_error_that_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def late(*_: object, **__: object) -> None:
        raise TimeIsUp

    monkeypatch.setattr("detrbench.analysis.probe.device_profile.probe_device", late)
    began = time.monotonic()
    assert main(["probe", "--budget", "30", "--threads", "1"]) == FAILED
    assert time.monotonic() - began < 25, "nobody waited for the end of it"
    assert "the budget was over before there was anything to tell" in capsys.readouterr().err
