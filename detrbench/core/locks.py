"""One writer to a folder: a lock that says who holds it, and that nobody holds who is gone."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from detrbench.core.errors import UsageError

NAME = ".lock"
"""Of the file: {"pid": 4242, "host": "name", "since": "2026-01-02T03:04:05+00:00"}."""


@contextmanager
def held(folder: Path, announce: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold `folder` against every other process.

    The operating system's lock on the file says whether its holder still lives, whatever process
    has its number now; the file's text says who it is. What a holder left that was killed is taken
    over.

    Args:
        announce: is told of whom it was taken over, in a sentence.

    Raises:
        UsageError: another process holds it, or one of another host did, of which nothing is known.
    """
    path = folder / NAME
    file = _opened(path)
    try:
        left = _told(path)
        if left and left.get("host") != platform.node():
            raise _in_use(folder, left)
        if left and announce is not None:
            announce(f"taking over {folder} from {_who(left)}, which is gone")
        os.ftruncate(file, 0)
        os.write(file, json.dumps(_me()).encode())
    except BaseException:
        os.close(file)
        raise
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(file)


def _opened(path: Path) -> int:
    """The file, locked. Raises UsageError where another process has it."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(file)
        except BlockingIOError:
            os.close(file)
            raise _in_use(path.parent, _told(path)) from None
        with suppress(FileNotFoundError):  # its holder has just removed it: another is made
            if os.fstat(file).st_ino == path.stat().st_ino:
                return file
        os.close(file)


def _lock(file: int) -> None:
    """Raises BlockingIOError where another process has locked it. Where files cannot be locked, the
    text alone says who is there."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return


def _me() -> dict[str, Any]:
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": platform.node(), "since": since}


def _told(path: Path) -> dict[str, Any]:
    """What the file says; nothing, where it is empty or says something else."""
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return plain if isinstance(plain, dict) else {}


def _who(holder: dict[str, Any]) -> str:
    pid, host, since = (holder.get(key, "unknown") for key in ("pid", "host", "since"))
    return f"process {pid} on {host}, since {since}"


def _in_use(folder: Path, holder: dict[str, Any]) -> UsageError:
    return UsageError(
        f"another run is in this folder: {_who(holder)}",
        where=str(folder),
        hint=f"Wait for it, or name another folder. If it is over, remove {folder / NAME}.",
    )
