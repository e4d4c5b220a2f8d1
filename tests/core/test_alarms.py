"""An alarm ends what does not see the end of its time by itself."""

from __future__ import annotations

import signal
import threading

import pytest

from detrbench.core.alarms import alarm
from detrbench.core.errors import TimeIsUp


@pytest.mark.parametrize("seconds", [0.01, 0.0, -5.0])
def test_what_goes_on_is_interrupted_as_by_ctrl_c(seconds: float) -> None:
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(TimeIsUp) as ended, alarm(seconds):
        signal.pause()
    assert isinstance(ended.value, KeyboardInterrupt)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_what_ends_in_time_is_left_alone() -> None:
    with alarm(60.0):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 50
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_without_seconds_there_is_no_alarm() -> None:
    with alarm(None):
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_another_thread_has_no_alarm() -> None:
    seen: list[tuple[float, float]] = []

    def work() -> None:
        with alarm(60.0):
            seen.append(signal.getitimer(signal.ITIMER_REAL))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(0.0, 0.0)]
