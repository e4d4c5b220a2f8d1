"""A known disturbance for the experiments beside this file: loops that keep the processor busy."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

# Every loop draws the same times, counted from the same moment of the system's clock: the load is
# all there or not at all. It ends with the experiment, killed or not: what it leaves behind would
# disturb all that is measured next.
ON_AND_OFF = """
import os, random, time
draw, until = random.Random({seed}), {began}
while os.getppid() == {parent}:
    until += draw.uniform({low}, {high})
    while time.monotonic() < until and os.getppid() == {parent}:
        pass
    until += draw.uniform({low}, {high})
    time.sleep(max(0.0, until - time.monotonic()))
"""

ON = """
import os
while os.getppid() == {parent}:
    pass
"""


@contextmanager
def busy(loops: int, on_off_s: Sequence[float] | None = None, seed: int = 0) -> Iterator[None]:
    """So many busy loops until the end, whatever ends it.

    Args:
        on_off_s: shortest and longest time on, and off; always on without.
    """
    parent = os.getpid()
    if on_off_s is None:
        code = ON.format(parent=parent)
    else:
        low, high = on_off_s
        began = time.monotonic()
        code = ON_AND_OFF.format(seed=seed, began=began, low=low, high=high, parent=parent)
    # Each is in a terminal session of its own, since Linux shares the processor among those first
    # ("autogroup"): all in one would leave a worker, which is in another, a core to itself, as if
    # they were not there.
    running: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(loops):
            running.append(subprocess.Popen([sys.executable, "-c", code], start_new_session=True))
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()
