"""`python -m detrbench`, and the script `detrbench`."""

from __future__ import annotations

import sys
from typing import NoReturn

from detrbench.core.processes import end, forget_here, forget_pythonpath, open_streams


def run() -> NoReturn:
    """Run the command line of this process, and end it."""
    try:
        open_streams()
        forget_here()
        if "--isolated" in sys.argv[1:]:  # before anything is imported that it may stand before
            forget_pythonpath()
        from detrbench.cli import main

        code = main()
    except KeyboardInterrupt:  # before there was a command
        sys.stderr.write("interrupted\n")
        code = 130
    end(code)


if __name__ == "__main__":
    run()
