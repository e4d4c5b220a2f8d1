"""Counts made in a process of their own, so that what a model imports stays there.

    python -m detrbench.counting.worker < job.json

A job is {"cases", "past"}; the answer, on stdout, is {"report", "warnings"} or {"error"}, a
UsageError's what, where and hint. Whatever a model prints goes to stderr.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from detrbench.core.errors import DetrbenchError, DetrbenchWarning, UsageError
from detrbench.core.processes import environment, leave, module_command, own_stdout, without_result
from detrbench.models.usercode import imported, is_shared
from detrbench.reports.case import Case
from detrbench.reports.report import Report

COMMAND = module_command("detrbench.counting.worker")


@dataclass(frozen=True)
class Past:
    """Where an earlier revision of a working tree is, for cases that are built from it.

    A working directory and an import path in the tree are taken for theirs of the same name in the
    revision's folder.
    """

    tree: str  # the working tree, nothing of which may be imported
    folder: str  # the revision's files
    # Whether everything that is imported must lie beside the models' own files. Whoever has both
    # sides in one process can keep no more than that apart.
    beside: bool = False

    def counterpart(self, path: Path) -> Path | None:
        """A path of the working tree in the revision; `None` where it has none."""
        if not path.is_relative_to(self.tree):
            return None
        there = Path(self.folder, path.relative_to(self.tree))
        return there if there.exists() else None


def count_apart(
    cases: Sequence[Case], past: Past | None = None, *, command: Sequence[str] = COMMAND
) -> Report:
    """`detrbench.counting.profiling.profile` of `cases`, in a fresh process.

    `past` is where they are from, if not from here. Raises UsageError as there, or where one of the
    past imports what is not of the past; DetrbenchError where the process ends without an answer.
    """
    plain = None if past is None else dataclasses.asdict(past)
    job = {"cases": [case.to_dict() for case in cases], "past": plain}
    done = subprocess.run(
        command, input=json.dumps(job).encode(), capture_output=True, env=environment(), check=False
    )
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        names = ", ".join(case.name for case in cases)
        ending = _ending(done.returncode, done.stderr)
        raise DetrbenchError(f"counting it {ending}", where=names) from None
    if "error" in answer:
        raise UsageError(**answer["error"])
    for text in answer["warnings"]:
        warnings.warn(text, DetrbenchWarning, stacklevel=2)
    return Report.from_json(json.dumps(answer["report"]))


def _ending(code: int, stderr: bytes) -> str:
    if code < 0:
        return f"was ended by signal {-code} ({signal.strsignal(-code)})"
    return without_result(code, stderr.decode(errors="replace"))


# --- in the process ----------------------------------------------------------------------------


def main() -> int:
    """Do the job on stdin; the exit code is 0, or 2 for one that cannot be done as given."""
    channel = own_stdout()
    job = json.loads(sys.stdin.read())
    cases = tuple(map(Case.from_dict, job["cases"]))
    past = None if job["past"] is None else Past(**job["past"])
    try:
        answer, code = _answer(cases, past), 0
    except UsageError as error:
        answer, code = {"error": vars(error)}, error.exit_code
    channel.write(json.dumps(answer))
    channel.flush()
    return code


def _answer(cases: tuple[Case, ...], past: Past | None) -> dict[str, Any]:
    from detrbench.counting.profiling import profile

    watch = None if past is None else _Watch(past)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", DetrbenchWarning)
        report = profile(cases)
    if watch is not None:
        watch.check(cases)
    texts = [str(one.message) for one in said if issubclass(one.category, DetrbenchWarning)]
    return {"report": report.to_dict(), "warnings": texts}


class _Watch:
    """Takes this process into the past, and sees whether what is imported there is of the past.
    That is done here, not by whoever starts this process: from a folder of the past, a revision of
    detrbench itself might be run."""

    def __init__(self, past: Past) -> None:
        self._past = past
        self._missed: set[str] = set()
        self._read: dict[Path, None] = {}
        here = Path.cwd()
        paths = [Path(path or here) for path in sys.path]
        self._todays = [str(path) for path in paths if path.is_relative_to(past.tree)]
        sys.path[:] = [str(past.counterpart(path) or path) for path in paths]
        if here.is_relative_to(past.tree):
            os.chdir(past.counterpart(here) or past.folder)  # the folder may be new
        sys.meta_path.append(self)
        sys.addaudithook(self._heed)

    def _heed(self, event: str, given: tuple[Any, ...]) -> None:
        """Is told of every file that is opened, by whatever path somebody has found it."""
        if event == "open" and isinstance(given[0], str | bytes):
            path = os.path.abspath(os.fsdecode(given[0]))  # noqa: PTH100  # of links it says nothing
            if path.startswith(self._past.tree):
                self._read[Path(path)] = None

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Is asked for modules that nobody else has found; without them a model may do."""
        if path is None:
            self._missed.add(name)

    def check(self, cases: Sequence[Case]) -> None:
        """Raises UsageError where something was imported that is not as it was."""
        where = ", ".join(case.model.reference for case in cases)
        places = [case.model.reference.rpartition(":")[0] for case in cases]
        files = filter(None, (*places, *(case.model.blocks for case in cases)))
        own = [Path(path).resolve().parent for path in files]
        for name, file in _of_users():
            if file.is_relative_to(self._past.tree):
                raise UsageError(
                    f"it imports {name} from {file}: as that is now, not as it was",
                    where=where,
                    hint="Keep what a model imports beside its file.",
                )
            if file.is_relative_to(self._past.folder) and not any(map(file.is_relative_to, own)):
                self._check_meeting(f"it imports {name}, which does not lie beside it", where)
        for path in list(self._read):
            if self._is_todays(path):
                raise UsageError(
                    f"it reads {path}: as that is now, not as it was",
                    where=where,
                    hint="Find files by where the model's own file is: Path(__file__).parent.",
                )
        for name in sorted(self._missed):
            if any(self._in_submodule(place) for place in self._places_today(name, own)):
                raise UsageError(
                    f"it looks for {name}, which is in a submodule: a revision says which commit "
                    "that is of, and does not hold it",
                    where=where,
                    hint="Keep what a model imports in its own repository.",
                )
            found = PathFinder.find_spec(name, self._todays)
            if found is not None and found.origin is not None:
                self._check_meeting(f"it looks for {name}, which there was not", where)

    def _is_todays(self, path: Path) -> bool:
        """Whether it is one of the working tree's own files, and not git's, or installed there."""
        real = path.resolve()
        inside = real.is_relative_to(self._past.tree) and real.is_file()
        return inside and ".git" not in real.parts and not is_shared(real)

    def _places_today(self, name: str, own: Sequence[Path]) -> Iterator[Path]:
        """Where a module that the past does not have would lie in the working tree."""
        then = Path(self._past.folder)
        for folder in filter(lambda one: one.is_relative_to(then), [*own, *map(Path, sys.path)]):
            today = Path(self._past.tree, folder.relative_to(then))
            yield from filter(Path.exists, (today / name, today / f"{name}.py"))

    def _in_submodule(self, path: Path) -> bool:
        """Whether a file or folder of the working tree is of a repository inside of it."""
        tree, real = Path(self._past.tree), path.resolve()
        if not real.is_relative_to(tree):
            return False
        inner = itertools.takewhile(lambda one: one != tree, (real, *real.parents))
        return any((one / ".git").exists() for one in inner)

    def _check_meeting(self, what: str, where: str) -> None:
        if self._past.beside:
            raise UsageError(
                f"{what}: where both revisions are timed in the same processes, it would be given "
                "today's",
                where=where,
                hint="Keep what a model imports beside its file, or compare counts alone: "
                "--counts-only.",
            )


def _of_users() -> Iterator[tuple[str, Path]]:
    """Every module that is neither ours, nor Python's, nor installed; and its file."""
    for name, module in imported():
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not Path(file).is_absolute():  # torch.ops' is "_ops.py"
            continue
        path = Path(file).resolve()
        if not is_shared(path):
            yield name, path


if __name__ == "__main__":
    leave(main())
