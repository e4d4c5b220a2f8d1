"""Fresh processes of this very package, and the pipe that one of them answers through."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TextIO

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
