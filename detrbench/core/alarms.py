"""The end of the time there was, for what does not see it by itself."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from detrbench.core.errors import TimeIsUp


@contextmanager
def alarm(seconds: float | None) -> Iterator[None]:
    """Inside, whatever still runs after so many seconds is interrupted with `TimeIsUp`; after
    `None`, never. An operator or a step of an import that runs is not interrupted until it has
    ended, and threads other than the main one never are."""
    main = threading.current_thread() is threading.main_thread()
    if seconds is None or not main or not hasattr(signal, "SIGALRM"):
        yield  # signals are the main thread's, and not every system has this one
        return

    def ring(number: int, frame: object) -> None:
        raise TimeIsUp

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))  # zero would be no alarm at all
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
