"""Processes as Linux lists them, where they are not ours to wait for."""

from __future__ import annotations

import os
import select
from contextlib import suppress
from pathlib import Path


def children(parent: int) -> list[int]:
    """The processes that `parent` started."""
    tasks = Path(f"/proc/{parent}/task").glob("*/children")
    return [int(word) for task in tasks for word in task.read_text().split()]


def descendants(parent: int) -> list[int]:
    """Those, and what they started in turn."""
    found = children(parent)
    for child in tuple(found):
        with suppress(FileNotFoundError, ProcessLookupError):  # it is over
            found += descendants(child)
    return found


def ends(process: int, within_s: float = 60.0) -> bool:
    """Whether it does."""
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:  # it is over
        return True
    try:
        return bool(select.select([descriptor], [], [], within_s)[0])
    finally:
        os.close(descriptor)
