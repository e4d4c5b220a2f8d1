"""A process that has imported torch and built what it may, and forks a worker for each job.

    python -m detrbench.timing.forkserver SOCKET < cases.json

Starting anew costs a worker seconds of imports and drawing of weights, most of what a short process
takes; a fork of a process that has them costs milliseconds. What has to differ from process to
process still does: a fork copies its modules into memory of its own, starts its own threads and
compiles its own kernels. `benchmarks/start_experiment.py` holds both kinds against each other.

Nothing of the user's runs here, so that every fork begins alike, and no operator starts a thread,
which would not survive the fork. Over the socket come, per job, the three ends of pipes that are
the worker's stdin, stdout and stderr; back go lines: its number, and its end.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import os
import socket
import sys
import warnings
from collections.abc import Sequence

from detrbench.core.processes import end_with_parent, leave
from detrbench.models.model import Model
from detrbench.models.sources import build_model
from detrbench.models.sources.built import Built
from detrbench.reports.case import Case
from detrbench.timing import worker
from detrbench.timing.opened import build_case


def main() -> int:
    end_with_parent()
    channel = socket.socket(fileno=int(sys.argv[1]))
    shelf = _Shelf([Case.from_dict(each) for each in json.loads(sys.stdin.read())])
    while True:
        _, pipes, _, _ = socket.recv_fds(channel, 1, 3)
        if not pipes:
            return 0
        with warnings.catch_warnings():
            # numpy's library of linear algebra has threads of its own, and handles forks by itself.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:
            channel.close()
            _work(pipes, shelf)
        for pipe in pipes:
            os.close(pipe)
        channel.sendall(f"pid {child}\n".encode())
        _, status = os.waitpid(child, 0)
        channel.sendall(f"exit {os.waitstatus_to_exitcode(status)}\n".encode())


def _work(pipes: Sequence[int], shelf: _Shelf) -> None:
    """What a fork does: it becomes a worker like any other."""
    code = 1
    try:
        os.setsid()  # a group of its own, as `supervisor` has it
        for number, pipe in enumerate(pipes):
            os.dup2(pipe, number)
            os.close(pipe)
        code = worker.main(shelf.build)
    except BaseException:  # nothing may run on into the loop above
        import traceback

        traceback.print_exc()
    finally:
        leave(code)


class _Shelf:
    """Models that were built before the fork, each to be copied into a worker's own memory."""

    def __init__(self, cases: Sequence[Case]) -> None:
        import torch

        torch.set_num_threads(1)  # no threads yet; a worker sets its own number
        self._built: dict[Model, Built] = {}
        for model in {case.model for case in cases}:
            with contextlib.suppress(Exception):  # the worker meets it again, and tells
                self._built[model] = build_model(model)

    def build(self, case: Case) -> Built:
        """As `build_case`."""
        found = self._built.get(case.model)
        if found is None:
            return build_case(case)
        return build_case(case, dataclasses.replace(found, module=copy.deepcopy(found.module)))


if __name__ == "__main__":
    leave(main())
