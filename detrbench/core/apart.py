"""A call whose consequences end with it: it is made in a copy of this process."""

from __future__ import annotations

import io
import os
import pickle
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")
Kinds = tuple[type, ...]

CAN_COPY = sys.platform == "linux"
"""Elsewhere a process of many threads cannot be copied safely, if at all."""


class Unfinished(Exception):
    """The copy ended without a result."""


def call_apart(call: Callable[[], T], types: Sequence[type] = (), left: Kinds = ()) -> T:
    """What `call` returns, made in a copy of this process: whatever it caches, draws or changes is
    gone with that. `types` are classes that the result may hold, and that need not be importable;
    what is of a kind in `left` comes back as None.

    Raises what `call` raises, Unfinished where the copy dies, OSError where none can be made.
    """
    reader, writer = os.pipe()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()  # or both processes would write what is still in there
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads: the copy has none
        child = os.fork()
    if not child:
        os.close(reader)
        _answer(call, types, left, writer)
    os.close(writer)
    try:
        with os.fdopen(reader, "rb") as pipe:
            answer = pipe.read()
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        _, status = os.waitpid(child, 0)
    if not answer:
        raise Unfinished(f"the process that followed it ended with {_ending(status)}")
    returned, result = _Unpickler(io.BytesIO(answer), types).load()
    if returned:
        found: T = result
        return found
    raise result


def _ending(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _answer(call: Callable[[], Any], types: Sequence[type], left: Kinds, writer: int) -> NoReturn:
    """In the copy: write the result, and end at once, without the exit handlers of the original."""
    code = 1
    try:
        try:
            result = True, call()
        except Exception as error:
            result = False, error
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(_pickled(result, types, left))
        code = 0
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(code)


def _pickled(result: tuple[bool, Any], types: Sequence[type], left: Kinds) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, types, left).dump(result)
    return buffer.getvalue()


class _Pickler(pickle.Pickler):
    """Writes classes of the model as numbers: pickle does not find those made in a function."""

    def __init__(self, file: io.BytesIO, types: Sequence[type], left: Kinds) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._left = left
        self._numbers = {id(one): number for number, one in enumerate(types)}

    def persistent_id(self, value: Any) -> int | None:
        return self._numbers.get(id(value)) if isinstance(value, type) else None

    def reducer_override(self, value: Any) -> Any:
        return (_nothing, ()) if isinstance(value, self._left) else NotImplemented


def _nothing() -> None:
    return None


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, types: Sequence[type]) -> None:
        super().__init__(file)
        self._types = types

    def persistent_load(self, pid: int) -> type:
        return self._types[pid]
