"""`python -m detrbench`."""

from __future__ import annotations

import sys

from detrbench.cli import main

if __name__ == "__main__":
    sys.exit(main())
