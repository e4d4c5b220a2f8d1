"""`python -m detrbench`, and the script `detrbench`."""

from __future__ import annotations

from typing import NoReturn

from detrbench.cli import main
from detrbench.core.processes import end, forget_here


def run() -> NoReturn:
    """Run the command line of this process, and end it."""
    forget_here()
    end(main())


if __name__ == "__main__":
    run()
