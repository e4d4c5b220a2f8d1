"""What every test shares: one thread each, so that parallel workers do not fight over the cores."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Read by torch's thread pools when they are first imported, hence before any test module is.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")


@pytest.fixture(autouse=True)
def state_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What this machine's user has had checked must not change what a test sees."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
