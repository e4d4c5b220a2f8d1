"""Parameters, FLOPs, memory access and latency of detectors, counted once and measured honestly.

`build`, `trace`, `profile` and `run` are imported when they are first used: a command that only
reads its arguments does not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from detrbench.nn import Detections, build, postprocess
    from detrbench.profiling import profile
    from detrbench.report import Report
    from detrbench.suites import run
    from detrbench.timing.latency import measure_latency
    from detrbench.tracing import trace

_HOMES = {
    "Detections": "detrbench.nn",
    "Report": "detrbench.report",
    "build": "detrbench.nn",
    "measure_latency": "detrbench.timing.latency",
    "postprocess": "detrbench.nn",
    "profile": "detrbench.profiling",
    "run": "detrbench.suites",
    "trace": "detrbench.tracing",
}

__all__ = [
    "Detections",
    "Report",
    "__version__",
    "build",
    "measure_latency",
    "postprocess",
    "profile",
    "run",
    "trace",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
