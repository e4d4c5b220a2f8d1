"""Parameters, FLOPs, memory access and latency of detectors, counted once and measured honestly.

`build`, `trace`, `profile` and `run` are imported when they are first used: a command that only
reads its arguments does not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from detrbench.core.version import __version__
from detrbench.render import LAYOUTS, render_inline
from detrbench.render import render as render_text
from detrbench.reports import VIEWS

if TYPE_CHECKING:
    from detrbench.counting.profiling import profile
    from detrbench.counting.tracing import trace
    from detrbench.experiments.suites import run
    from detrbench.models.builder import build
    from detrbench.models.nn.detections import Detections, postprocess
    from detrbench.reports.report import Report
    from detrbench.timing.measuring import latency, measure_latency

_HOMES = {
    "Detections": "detrbench.models.nn.detections",
    "Report": "detrbench.reports.report",
    "build": "detrbench.models.builder",
    "latency": "detrbench.timing.measuring",
    "measure_latency": "detrbench.timing.measuring",
    "postprocess": "detrbench.models.nn.detections",
    "profile": "detrbench.counting.profiling",
    "run": "detrbench.experiments.suites",
    "trace": "detrbench.counting.tracing",
}

LAYOUTS |= {
    "detrbench.analysis.explain.tables": lambda report: report.explanation is not None,
    "detrbench.experiments.guidelines.tables": lambda report: any(
        "guideline" in row.settings for row in report.rows
    ),
}

VIEWS |= {"text": render_text, "html": render_inline}

__all__ = [
    "Detections",
    "Report",
    "__version__",
    "build",
    "latency",
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


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
