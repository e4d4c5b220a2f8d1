"""The parent's side of one worker: start it, sleep until it says something, know how it ended.

The parent sleeps in `select` and imports no torch: a parent that spins is itself the noise.
"""

from __future__ import annotations

import dataclasses
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from detrbench.core.errors import UsageError
from detrbench.core.processes import environment, without_result
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
from detrbench.timing.rounds import OnProgress, Progress

COMMAND = (sys.executable, "-m", "detrbench.timing.worker")

_GRACE_S = 20.0  # for a worker that was interrupted to end its call and save
_TAIL = 4_000  # characters of stderr that are kept


def run_worker(
    request: Request,
    folder: Path,
    index: int,
    *,
    silence_s: float = 300.0,
    progress: OnProgress | None = None,
    command: Sequence[str] = COMMAND,
    now: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Let a fresh process measure `request`; its outcome is in `folder` when this returns.

    A worker that ends badly is a "failed" outcome with the rounds its journal has. Ctrl-C is passed
    on, and what the worker has by then is an "interrupted" one; a second Ctrl-C kills it.

    Args:
        index: of the process in its run, from 1.
        command: what to start.
        silence_s: a worker that says nothing for so long hangs, and is killed.

    Raises:
        UsageError: the worker says that the request cannot be carried out as given.
    """
    began = now()
    deaths = _out_of_memory_kills()
    worker = _Worker(request, folder, index, command, progress)
    try:
        ended = worker.attend(silence_s, now)
    finally:
        worker.close()
    if worker.error is not None:
        journal_path(folder, index).unlink(missing_ok=True)
        raise UsageError(**worker.error)
    if ended is None and process_path(folder, index).is_file():
        return load_outcome(process_path(folder, index))
    reason = ended or worker.last_words(_out_of_memory_kills() - deaths)
    outcome = from_journal(folder, index, reason, now() - began)
    if worker.interrupted:
        outcome = dataclasses.replace(outcome, status="interrupted", reason="interrupted", at=None)
    save_outcome(folder, outcome)
    return outcome


class _Worker:
    """A process on its way, and what was heard of it."""

    def __init__(
        self,
        request: Request,
        folder: Path,
        index: int,
        command: Sequence[str],
        progress: OnProgress | None,
    ) -> None:
        self.error: dict[str, Any] | None = None
        self.interrupted = False
        self._progress = progress
        self._line, self._stderr = b"", ""
        # A group of its own: the terminal's Ctrl-C reaches the parent alone, who passes it on once.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            start_new_session=True,
        )
        job = {"folder": str(folder), "index": index, "request": dataclasses.asdict(request)}
        with suppress(BrokenPipeError):  # it died at once: its end says why
            _pipe(self._process.stdin).write(json.dumps(job).encode())
            _pipe(self._process.stdin).close()

    def attend(self, silence_s: float, now: Callable[[], float]) -> str | None:
        """Listen until it has ended; why it was ended, if it was us who did."""
        deadline = now() + silence_s
        with selectors.DefaultSelector() as selector:
            selector.register(_pipe(self._process.stdout), selectors.EVENT_READ, self._take)
            selector.register(_pipe(self._process.stderr), selectors.EVENT_READ, self._keep)
            while selector.get_map():
                try:
                    ready = selector.select(max(0.0, deadline - now()))
                    if not ready:
                        self._kill()
                        return f"hung: not a word for {silence_s:.0f} s, and was killed"
                    for key, _ in ready:
                        data = os.read(key.fd, 65_536)
                        if not data:
                            selector.unregister(key.fileobj)
                            continue
                        key.data(data)
                        if key.fileobj is self._process.stdout:  # warnings are no sign of life
                            deadline = now() + (_GRACE_S if self.interrupted else silence_s)
                except KeyboardInterrupt:
                    self._interrupt()
                    deadline = now() + _GRACE_S
        self._process.wait()
        return None

    def _take(self, data: bytes) -> None:
        """Messages, line by line."""
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "error" in message:
                self.error = dict(message["error"])
            elif self._progress is not None:
                self._progress(Progress(**message["progress"]))

    def _keep(self, data: bytes) -> None:
        """What is printed, for the reason of a failure."""
        self._stderr = (self._stderr + data.decode(errors="replace"))[-_TAIL:]

    def _interrupt(self) -> None:
        """The first Ctrl-C asks the worker to stop, the second makes it."""
        if self.interrupted:
            self._kill()
        else:
            self._process.send_signal(signal.SIGINT)
        self.interrupted = True

    def _kill(self) -> None:
        # Its whole group, or a process it started would keep our pipes open.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Leave neither a process nor a pipe behind, whatever happened."""
        if self._process.poll() is None:
            self._kill()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            with suppress(BrokenPipeError):
                _pipe(stream).close()

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


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # Popen was told to make one
    return stream


def _out_of_memory_kills(group: Path = Path("/sys/fs/cgroup")) -> int:
    """Processes the kernel has killed in this control group for want of memory; 0 if unknown."""
    counts = dict(line.split() for line in text(group / "memory.events").splitlines())
    return int(counts.get("oom_kill", 0))
