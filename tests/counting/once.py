"""Counting that takes its time once, for tests of what is made of it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest

from detrbench.counting.tracing import Trace
from detrbench.models.sources.built import Built
from detrbench.reports.case import Case


@contextmanager
def counted_once(module: ModuleType) -> Iterator[None]:
    """Inside, `module` builds and traces each case once, whoever asks."""
    real = module.trace_case
    known: dict[Any, Trace] = {}

    def trace_case(case: Case, built: Built | None = None) -> Trace:
        key = (case, built and next(built.module.parameters()).dtype)
        if key not in known:
            known[key] = real(case, built)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "build_to_count", functools.cache(module.build_to_count))
        patch.setattr(module, "trace_case", trace_case)
        yield
