"""A worker process: a job as JSON on stdin, progress as JSON lines on stdout, a file at the end.

    python -m detrbench.timing.worker < job.json

A job is {"folder", "index", "request", "deadline"}, the last a time of the monotonic clock or null.
The outcome, every sample in it, is on disk before the process ends: `process-NN.json` in the
folder, written by the process itself, because its parent may be gone by then. Whatever a model or a
library prints goes to stderr.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from detrbench.core.errors import UsageError
from detrbench.core.processes import (
    Interrupted,
    end_with_parent,
    interrupt_by_signals,
    leave,
    own_stdout,
)
from detrbench.timing.journal import Journal
from detrbench.timing.opened import Build, build_case
from detrbench.timing.process import Request, measure_process
from detrbench.timing.records import Outcome, journal_path, save_outcome


def main(build: Build = build_case) -> int:
    """Do the job on stdin; the exit code is 0, or 2 for a job that cannot be done as given."""
    started = time.monotonic()
    channel = own_stdout()
    interrupt_by_signals(signal.SIGINT, signal.SIGTERM)
    end_with_parent()
    job = json.loads(sys.stdin.read())
    folder, index = Path(job["folder"]), int(job["index"])
    journal = Journal(journal_path(folder, index))
    parent = _Parent(channel)
    try:
        measurement = measure_process(
            Request.from_dict(job["request"]),
            build=build,
            started=started,
            deadline=job["deadline"],
            progress=lambda one: parent.send({"progress": vars(one)}),
            journal=journal,
        )
    except UsageError as error:
        parent.send({"error": vars(error)})
        return error.exit_code
    finally:
        journal.close()
    took_s = time.monotonic() - started
    for number in (signal.SIGINT, signal.SIGTERM):  # what was measured is written to its end
        signal.signal(number, signal.SIG_IGN)
    save_outcome(folder, Outcome.of(index, measurement, took_s))
    return 0


class _Parent:
    """Whoever reads our progress. When nobody does, the work is off, as after Ctrl-C."""

    def __init__(self, channel: TextIO) -> None:
        self._channel = channel
        self._there = True

    def send(self, message: dict[str, Any]) -> None:
        if not self._there:
            return
        try:
            self._channel.write(json.dumps(message) + "\n")
            self._channel.flush()
        except BrokenPipeError:
            self._there = False
            raise Interrupted from None


if __name__ == "__main__":
    leave(main())
