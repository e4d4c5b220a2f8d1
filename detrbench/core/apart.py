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

from detrbench.core.errors import told

T = TypeVar("T")
Kinds = tuple[type, ...]

CAN_COPY = sys.platform == "linux"
"""Elsewhere a process of many threads cannot be copied safely, if at all."""


class Unfinished(Exception):
    """The copy ended without a result, or with one that cannot be handed over: how, in words."""


def call_apart(call: Callable[[], T], types: Sequence[type] = (), left: Kinds = ()) -> T:
    """What `call` returns, made in a copy of this process: whatever it caches, draws or changes is
    gone with that. `types` are classes that the result may hold, and that need not be importable;
    one like them comes back as it, any other as the nearest that it inherits from and that can be
    found. What is of a kind in `left` comes back as None.

    Raises what `call` raises; Unfinished where that is no Exception (Ctrl-C is not for the copy),
    where the copy dies, or the result cannot be sent; OSError where no copy can be made.
    """
    reader, writer = os.pipe()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()  # or both processes would write what is still in there
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads: the copy has none
        child, before = _forked()
    if not child:
        os.close(reader)
        _answer(call, types, left, writer)
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            answer = pipe.read()
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        _, status = os.waitpid(child, 0)
    if not answer:
        raise Unfinished(f"it ended the process that it ran in, {_ending(status)}")
    returned, result = _Unpickler(io.BytesIO(answer), types).load()
    if returned:
        found: T = result
        return found
    raise result


def _forked() -> tuple[int, set[int]]:
    """As `os.fork`, without Ctrl-C, which is for the original: it ends the copy, where an interrupt
    is of its own making. Also the signals that were held back before. Raises OSError as it does."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return os.fork(), before
    except OSError:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        raise


def _ending(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return f"by signal {-code} ({signal.strsignal(-code)})"
    return f"with exit code {code}"


def _answer(call: Callable[[], Any], types: Sequence[type], left: Kinds, writer: int) -> NoReturn:
    """In the copy: write the result, and end at once, without the exit handlers of the original."""
    code = 1
    try:
        try:
            result = True, call()
        except Exception as error:
            result = False, error
        except BaseException as error:  # such as the model's own KeyboardInterrupt
            result = False, Unfinished(told(error))
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(_sendable(result, types, left))
        code = 0
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(code)


def _sendable(result: tuple[bool, Any], types: Sequence[type], left: Kinds) -> bytes:
    """The result as the original can read it; else what of it cannot be sent."""
    returned, found = result
    try:
        sent = _pickled(result, types, left)
        if not returned:
            _Unpickler(io.BytesIO(sent), types).load()  # not every error can be made again
    except Exception as error:
        text = f"what it found cannot be sent back: {told(error)}" if returned else told(found)
        return _pickled((False, Unfinished(text)), types, left)
    return sent


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
        self._alike = {_looks(one): one for one in reversed(types)}

    def persistent_id(self, value: Any) -> int | None:
        return self._numbers.get(id(value)) if isinstance(value, type) else None

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, self._left):
            return _nothing, ()
        if isinstance(value, type) and not _is_found(value):
            return _same, (self._stand_in(value),)
        return NotImplemented

    def _stand_in(self, kind: type) -> type:
        """For a class that nobody finds by its name: torch.fx makes one for each copy."""
        bases = (base for base in kind.__mro__ if id(base) in self._numbers or _is_found(base))
        return self._alike.get(_looks(kind)) or next(bases)


def _looks(kind: type) -> tuple[Any, ...]:
    return kind.__module__, kind.__qualname__, kind.__name__, kind.__bases__


def _is_found(kind: type) -> bool:
    """Whether pickle finds it again, by its module and name."""
    found: Any = sys.modules.get(kind.__module__)
    for name in kind.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is kind


def _same(kind: type) -> type:
    return kind


def _nothing() -> None:
    return None


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, types: Sequence[type]) -> None:
        super().__init__(file)
        self._types = types

    def persistent_load(self, pid: int) -> type:
        return self._types[pid]
