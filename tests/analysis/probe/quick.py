"""Probes that take no time, for tests of what is made of them and not of what the machine can."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from detrbench.analysis.probe import probes


@contextmanager
def quick_probes() -> Iterator[None]:
    """Inside, probes stream a few mebibytes, and compute small shapes in a batch of one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probes, "last_level_bytes", lambda: 2**20)
        patch.setattr(probes, "_CONVOLUTIONS", ((8, 8, 3, 8),))
        patch.setattr(probes, "_PRODUCTS", ((16, 16, 16),))
        patch.setattr(probes, "_LEAST_S", 0.0)
        yield
