"""The command line: data on stdout, progress and notes on stderr, no traceback anywhere."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from detrbench.cli.budgets import begin
from detrbench.cli.output import FAILED, INTERRUPTED, OK, UNEXPECTED, say
from detrbench.core.errors import DetrbenchError, DetrbenchWarning
from detrbench.core.processes import interrupt_by_signals


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, of this process or of `arguments`, and return the exit code."""
    begin(own_process=arguments is None)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a C locale prints "?" rather than fails
    with _notes_on_stderr(), _ended_as_by_ctrl_c():
        try:
            return _run(arguments)
        except DetrbenchError as error:
            say(f"error: {error}")
            return error.exit_code
        except KeyboardInterrupt:
            say("interrupted")
            return INTERRUPTED
        except OSError as error:
            if error.filename is None and error.errno in (errno.ENOSPC, errno.EIO, errno.EFBIG):
                say(f"error: writing failed: {error.strerror}")  # of stdout, as a rule
                return DetrbenchError.exit_code
            if error.filename is None:
                return _report_unexpected(error)
            say(f"error: {error.filename}: {error.strerror}")  # a full disk, a folder that is gone
            return DetrbenchError.exit_code
        except Exception as error:  # the last resort: everything expected is a DetrbenchError
            return _report_unexpected(error)


def _run(arguments: Sequence[str] | None) -> int:
    from detrbench.cli.app import app

    try:
        app(args=arguments, prog_name="detrbench")
    except SystemExit as end:  # how typer ends, usage errors and Ctrl-C included
        code = end.code if isinstance(end.code, int) else OK if end.code is None else FAILED
        if code == INTERRUPTED:
            say("interrupted")
        return code
    return OK


def _report_unexpected(error: Exception) -> int:
    if os.environ.get("DETRBENCH_DEBUG"):
        traceback.print_exc()
    say(
        f"error: unexpected {type(error).__name__}: {error}\n"
        "  This is a fault in detrbench. Please report it with the command line and the traceback "
        "that DETRBENCH_DEBUG=1 shows."
    )
    return UNEXPECTED


@contextmanager
def _ended_as_by_ctrl_c() -> Iterator[None]:
    """Take SIGTERM, which `timeout` and a cancelled job send, and SIGHUP, which a lost terminal
    does, for Ctrl-C: what there is is told. What `nohup` has switched off stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    names = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = interrupt_by_signals(*numbers)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _notes_on_stderr() -> Iterator[None]:
    """Print each DetrbenchWarning once as "note: ..."; other warnings as Python does."""
    said: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("always", DetrbenchWarning)
        otherwise = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if not issubclass(category, DetrbenchWarning):
                otherwise(message, category, *where, **more)
            elif str(message) not in said:
                said.add(str(message))
                say(f"note: {message}")

        warnings.showwarning = show
        yield
