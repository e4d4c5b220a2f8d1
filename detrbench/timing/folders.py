"""Where a run keeps its processes: a folder that was named, or a temporary one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from detrbench.core.errors import UsageError
from detrbench.timing.records import measured
from detrbench.timing.rounds import OnProgress, Progress


@contextmanager
def run_folder(named: str | Path | None, command: str) -> Iterator[Path]:
    """The folder that was named, or a temporary one that tells whose it is by its name.

    What was refused before anything was measured leaves no new folder behind: nothing in it would
    be worth going on with.
    """
    new = named is None or not Path(named).exists()
    folder = Path(tempfile.mkdtemp(prefix=f"detrbench-{command}-") if named is None else named)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    except UsageError:
        if new and not measured(folder):
            shutil.rmtree(folder)
        raise


def naming(
    folder: Path, announce: Callable[[str], None] | None, progress: OnProgress | None
) -> OnProgress | None:
    """`progress`, which says where the samples are before anything else.

    Not said before a worker has a word: it may refuse the request. Not later: a run that is killed
    cannot say it any more.
    """
    if announce is None:
        return progress
    said = False

    def told(one: Progress) -> None:
        nonlocal said
        if not said:
            said = True
            announce(f"every process's samples are kept in {folder}")
        if progress is not None:
            progress(one)

    return told
