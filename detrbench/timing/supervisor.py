"""The parent's side of one worker: start it, sleep until it says something, know how it ended.

The parent sleeps in `select` and imports no torch: a parent that spins is itself the noise.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import selectors
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detrbench.core.errors import UsageError
from detrbench.core.processes import without_result
from detrbench.machine.system import text
from detrbench.timing.process import Request
from detrbench.timing.records import (
    Outcome,
    from_journal,
    journal_path,
    load_outcome,
    process_path,
    save_outcome,
)
from detrbench.timing.rounds import OUT_OF_TIME, OnProgress, Progress
from detrbench.timing.starting import Fresh, Process, Start

_GRACE_S = 20.0  # for a worker that was interrupted to end its call and save
_TAIL = 4_000  # characters of stderr that are kept
_ORPHANED = "the process has died that it was forked of"
_NEWS_S = 5.0  # without a word, the last progress is told again, with what has passed since


@dataclass(frozen=True)
class Limits:
    """What a worker is given; seconds of a monotonic clock.

    Attributes:
        silence_s: a worker that says nothing for so long hangs, and is killed.
        deadline: when it has to be over, which it knows; `None` for never.
        grace_s: after which it is killed, if it does not heed its deadline in a long call.
    """

    silence_s: float = 300.0
    deadline: float | None = None
    grace_s: float = 0.0


def run_worker(
    request: Request,
    folder: Path,
    index: int,
    *,
    limits: Limits = Limits(),
    start: Start = Fresh,
    progress: OnProgress | None = None,
    now: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Let a worker measure `request`; its outcome is in `folder` when this returns.

    A worker that ends badly is a "failed" outcome with the rounds its journal has. Ctrl-C is passed
    on, and what the worker has by then is an "interrupted" one; a second Ctrl-C kills it. One that
    its deadline ended before it could say anything is "cut".

    Args:
        index: of the process in its run, from 1.
        start: it.

    Raises:
        UsageError: the worker says that the request cannot be carried out as given.
    """
    began = now()
    deaths = _out_of_memory_kills()
    job = {
        "folder": str(folder),
        "index": index,
        "request": dataclasses.asdict(request),
        "deadline": limits.deadline,
    }
    worker = _Worker(start(json.dumps(job).encode()), limits, progress)
    try:
        ended = worker.attend(now)
    finally:
        worker.close()
    if worker.error is not None:
        journal_path(folder, index).unlink(missing_ok=True)
        raise UsageError(**worker.error)
    if process_path(folder, index).is_file():  # also if it had to be killed after that
        outcome = load_outcome(process_path(folder, index))
        if outcome.status != "interrupted" or not worker.orphaned:
            return outcome
        outcome = dataclasses.replace(outcome, status="failed", reason=_ORPHANED)
    else:
        reason = ended or worker.last_words(_out_of_memory_kills() - deaths)
        outcome = from_journal(folder, index, reason, now() - began)
        if worker.interrupted:
            outcome = dataclasses.replace(
                outcome, status="interrupted", reason="interrupted", at=None
            )
        elif ended == OUT_OF_TIME:
            outcome = dataclasses.replace(outcome, status="cut", at=None)
    save_outcome(folder, outcome)
    return outcome


class _Worker:
    """A process on its way, and what was heard of it."""

    def __init__(self, process: Process, limits: Limits, progress: OnProgress | None) -> None:
        self.error: dict[str, Any] | None = None
        self.interrupted = False
        self._process, self._limits, self._progress = process, limits, progress
        self._last: Progress | None = None
        self._line, self._stderr = b"", ""

    def attend(self, now: Callable[[], float]) -> str | None:
        """Listen until it has ended; why it was ended, if it was us who did."""
        patience, process = now() + self._limits.silence_s, self._process
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ, self._take)
            selector.register(process.stderr, selectors.EVENT_READ, self._keep)
            while selector.get_map():
                try:
                    left_s = min(patience, self._end()) - now()
                    ready = selector.select(min(max(0.0, left_s), _NEWS_S))
                    if not ready and left_s <= _NEWS_S:
                        return self._put_an_end(now())
                    if not ready:
                        self._tell_again()
                    for key, _ in ready:
                        data = os.read(key.fd, 65_536)
                        if not data:
                            selector.unregister(key.fileobj)
                            continue
                        key.data(data)
                        if key.fileobj is process.stdout:  # warnings are no sign of life
                            wait_s = _GRACE_S if self.interrupted else self._limits.silence_s
                            patience = now() + wait_s
                except KeyboardInterrupt:
                    self._interrupt()
                    patience = now() + _GRACE_S
        process.wait()
        return None

    def _end(self) -> float:
        """When it is killed whatever it says."""
        limits = self._limits
        return math.inf if limits.deadline is None else limits.deadline + limits.grace_s

    def _put_an_end(self, now: float) -> str:
        self._process.kill(signal.SIGKILL)
        self._process.wait()
        if now >= self._end():
            return OUT_OF_TIME
        return f"hung: not a word for {self._limits.silence_s:.0f} s, and was killed"

    def _take(self, data: bytes) -> None:
        """Messages, line by line."""
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "error" in message:
                self.error = dict(message["error"])
            else:
                self._last = Progress(**message["progress"])
                self._tell_again()

    def _tell_again(self) -> None:
        if self._progress is not None:
            self._progress(self._last or Progress("starting", 0.0, None))

    def _keep(self, data: bytes) -> None:
        """What is printed, for the reason of a failure."""
        self._stderr = (self._stderr + data.decode(errors="replace"))[-_TAIL:]

    def _interrupt(self) -> None:
        """The first Ctrl-C asks the worker to stop, the second makes it."""
        self._process.kill(signal.SIGKILL if self.interrupted else signal.SIGINT)
        self.interrupted = True

    def close(self) -> None:
        """Leave neither a process nor a pipe behind, whatever happened."""
        self._process.close()

    @property
    def orphaned(self) -> bool:
        """Whether it ended because the process has died that it was forked of, and not by us."""
        return not self.interrupted and self._process.returncode < 0

    def last_words(self, out_of_memory_kills: int) -> str:
        """How a worker ended that left no outcome."""
        code = self._process.returncode
        if code < 0:
            memory = ", out of memory," if out_of_memory_kills > 0 else ""
            return f"killed by {_signal_name(-code)}{memory}"
        return without_result(code, self._stderr)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"


def _out_of_memory_kills(group: Path = Path("/sys/fs/cgroup")) -> int:
    """Processes the kernel has killed in this control group for want of memory; 0 if unknown."""
    counts = dict(line.split() for line in text(group / "memory.events").splitlines())
    return int(counts.get("oom_kill", 0))
