"""What every test shares: one thread each, so that parallel workers do not fight over the cores."""

from __future__ import annotations

import os

# Read by torch's thread pools when they are first imported, hence before any test module is.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
