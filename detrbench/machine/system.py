"""What the operating system tells who asks; what it does not tell is nothing, and no error."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def text(file: Path) -> str:
    """The file's text; "" where there is none: not Linux, not ours to read, a thread that ended."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def output(command: list[str], folder: Path | None = None) -> str | None:
    """What a short command prints; None where it is absent, fails or takes long."""
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def own_cpus() -> set[int]:
    """The processors that this process may be scheduled on."""
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def load_average() -> float | None:
    """Runnable processes over the last minute."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # not offered by this system
        return None
