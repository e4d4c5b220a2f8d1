"""Two ways to start a worker: as a fresh process, or as a fork of one that has all imported."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Protocol

from detrbench.core.processes import environment, module_command
from detrbench.models.sources import source_of
from detrbench.reports.case import Case
from detrbench.runtimes import NEEDS

COMMAND = module_command("detrbench.timing.worker")
SERVER = module_command("detrbench.timing.forkserver")


class Process(Protocol):
    """A worker on its way.

    Attributes:
        stdout, stderr: what it says.
        returncode: after `wait`; minus the signal that killed it.
    """

    stdout: IO[bytes]
    stderr: IO[bytes]
    returncode: int

    def kill(self, number: int) -> None:
        """Send a signal: SIGKILL to its whole group, or what it started would keep our pipes open;
        any other to it alone."""

    def wait(self) -> None:
        """Until it has ended."""

    def close(self) -> None:
        """Leave neither a process nor a pipe behind, whatever happened."""


Start = Callable[[bytes], Process]
"""Starts a worker with a job for its stdin."""


class Fresh:
    """A worker as a process of its own.

    Args:
        command: what to start.
    """

    def __init__(self, job: bytes, command: Sequence[str] = COMMAND) -> None:
        # A group of its own: the terminal's Ctrl-C reaches the parent alone, who passes it on once.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            start_new_session=True,
        )
        streams = (self._process.stdin, self._process.stdout, self._process.stderr)
        self._stdin, self.stdout, self.stderr = map(_pipe, streams)
        self.returncode = 0
        _hand_over(job, self._stdin)

    def kill(self, number: int) -> None:
        with suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                os.killpg(self._process.pid, number)
            else:
                self._process.send_signal(number)

    def wait(self) -> None:
        self.returncode = self._process.wait()

    def close(self) -> None:
        if self._process.poll() is None:
            self.kill(signal.SIGKILL)
            self.wait()
        _close(self._stdin, self.stdout, self.stderr)


class ForkServer:
    """The parent's side of `detrbench.timing.forkserver`; it is there while it is needed."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self._ours, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            (*SERVER, str(theirs.fileno())),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # a fork has its own; what is wrong here, a worker tells
            env=environment(),
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
        theirs.close()
        _hand_over(json.dumps([case.to_dict() for case in cases]).encode(), self._process.stdin)

    def start(self, job: bytes) -> Process:
        """A fork with a job; a fresh process, where the server has died."""
        try:
            return Forked(self._ours, self._process, job)
        except OSError:
            return Fresh(job)

    def close(self) -> None:
        self._ours.close()
        self._process.kill()
        self._process.wait()


class Forked:
    """A worker as a fork of the server's."""

    def __init__(self, channel: socket.socket, server: subprocess.Popen[bytes], job: bytes) -> None:
        self._channel, self._server = channel, server
        self._pid: int | None = None
        self._heard, self._ended, self._lost = b"", False, False
        self.returncode = 0
        pipes = [os.pipe() for _ in range(3)]
        (read_in, write_in), (read_out, write_out), (read_err, write_err) = pipes
        theirs = (read_in, write_out, write_err)
        self._stdin = os.fdopen(write_in, "wb")
        self.stdout: IO[bytes] = os.fdopen(read_out, "rb")
        self.stderr: IO[bytes] = os.fdopen(read_err, "rb")
        try:
            socket.send_fds(channel, [b"+"], theirs)
        except OSError:
            _close(self._stdin, self.stdout, self.stderr)
            raise
        finally:
            for pipe in theirs:
                os.close(pipe)
        _hand_over(job, self._stdin)

    def kill(self, number: int) -> None:
        self._hear(block=False)
        if self._pid is None:  # not forked yet: nothing is lost with the server
            self._server.kill()
        elif number == signal.SIGKILL or not self._ended:  # what it started may outlive it
            # Its group comes into being a moment after itself.
            for send in (os.killpg, os.kill) if number == signal.SIGKILL else (os.kill,):
                with suppress(ProcessLookupError):
                    send(self._pid, number)

    def wait(self) -> None:
        while not self._ended:
            self._hear(block=True)

    def close(self) -> None:
        self._hear(block=False)
        if not self._ended or self._lost:
            self.kill(signal.SIGKILL)
            self.wait()
        _close(self._stdin, self.stdout, self.stderr)

    def _hear(self, block: bool) -> None:
        """What the server has said. With its own end the worker's is near, but is not heard of."""
        while not self._ended:
            try:
                data = self._channel.recv(4096, 0 if block else socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._ended, self._lost, self.returncode = True, True, -signal.SIGKILL
            *lines, self._heard = (self._heard + data).split(b"\n")
            for word, number in map(bytes.split, lines):
                if word == b"pid":
                    self._pid = int(number)
                else:
                    self._ended, self.returncode = True, int(number)
            if block:
                return


@contextmanager
def starting(cases: Sequence[Case]) -> Iterator[Start]:
    """How to start the workers of a run of `cases`: by forks on Linux, where all is on the
    processor and nothing is compiled. CUDA does not survive a fork, and a compiler starts threads
    and processes; runtimes for graphs are loaded in the fork."""
    executions = [case.execution for case in cases]
    known = ("eager", *NEEDS)
    plain = all(each.device == "cpu" and each.runtime in known for each in executions)
    if plain and sys.platform == "linux":
        server = ForkServer([case for case in cases if not _runs_code(case)])
        try:
            yield server.start
        finally:
            server.close()
    else:
        yield Fresh


def _runs_code(case: Case) -> bool:
    """Whether a worker has to build it, each anew: what code of the user's leaves behind (threads,
    a cache, a random state) is not to be the same in all."""
    return source_of(case.model.reference).runs_code(case.model)


def _hand_over(job: bytes, stdin: IO[bytes] | None) -> None:
    with suppress(BrokenPipeError):  # it died at once: its end says why
        _pipe(stdin).write(job)
        _pipe(stdin).close()


def _close(*streams: IO[bytes]) -> None:
    for stream in streams:
        with suppress(BrokenPipeError):
            stream.close()


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # Popen was told to make one
    return stream
