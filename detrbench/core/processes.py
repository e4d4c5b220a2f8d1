"""Fresh processes of this very package, the pipe that one of them answers through, and its end."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn, TextIO

# A model needs about 110 of oneDNN's compiled primitives, and its cache holds 1024 by default. Were
# many cases of one process to push each other's out, each would pay to compile them at every turn.
PRIMITIVES = "16384"


def environment() -> dict[str, str]:
    """Ours, with this very package found first: also from a checkout that is not installed."""
    home = str(Path(__file__).resolve().parents[2])
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY": PRIMITIVES,
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
    }


def own_stdout() -> TextIO:
    """The parent's pipe for us alone; what anything else writes to stdout goes to stderr."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


def leave(code: int) -> NoReturn:
    """End without the interpreter's own end: unloading torch takes a second, and all is said."""
    sys.stderr.flush()
    os._exit(code)


def without_result(code: int, stderr: str) -> str:
    """How a process ended that was not killed and left nothing but words."""
    lines = stderr.strip().splitlines()
    said = f" ({lines[-1].strip()})" if lines else ""
    return f"ended with exit code {code} and no result{said}"
