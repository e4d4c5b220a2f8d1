"""A user's files as a git revision had them, to be built and timed beside those of today.

Nothing in the user's repository is touched: the revision is unpacked into a folder of its own.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from detrbench.core.errors import UsageError
from detrbench.models.sources import source_of
from detrbench.models.sources.callables import Callables
from detrbench.models.usercode import module_file


@dataclass(frozen=True)
class Revision:
    """A git revision, unpacked.

    Attributes:
        name: as it was asked for: "main", "HEAD~1".
        commit: its full hash.
        repository: the top folder of the working tree it is compared with.
        folder: where its files are.
    """

    name: str
    commit: str
    repository: Path
    folder: Path

    def counterpart(self, file: str | Path) -> Path | None:
        """`file`, or a folder, of the working tree as the revision had it; `None` if it had none.

        Raises:
            UsageError: `file` is not in the working tree.
        """
        path = Path(file).resolve()
        if not path.is_relative_to(self.repository):
            said = f"it is not in the git repository {self.repository}"
            hint = "Give files of one repository, or compare saved reports: --baseline."
            raise UsageError(said, where=str(file), hint=hint)
        there = self.folder / path.relative_to(self.repository)
        return there if there.exists() else None

    def reference(self, reference: str) -> str | None:
        """What is named as the model that the revision had under `reference`; `None` if it had no
        such file.

        Raises:
            UsageError: as `counterpart` and `file_of`.
        """
        there = self.counterpart(file_of(reference))
        _, name = _parts(reference)
        return None if there is None else f"{there}:{name}" if name else str(there)


def file_of(reference: str) -> Path:
    """The file of the user's that a reference names, be it a model file or a callable in one.

    Raises:
        UsageError: it names none, or a module of a package, which is more than a file.
    """
    place, name = _parts(reference)
    if name and not place.endswith(".py"):
        return _module(place, name)
    if not Path(place).is_file():
        hint = "With --rev, models are named by their files in the repository."
        raise UsageError("there is no such file", where=reference, hint=hint)
    return Path(place)


def _module(dotted: str, name: str) -> Path:
    _, file = module_file(dotted)
    if "." in dotted or file.name == "__init__.py":
        shown = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
        said = "a package cannot be imported twice, as it is and as it was"
        hint = f"Name the file, if what it imports lies beside it: {shown}:{name}."
        raise UsageError(said, where=f"{dotted}:{name}", hint=hint)
    return file


def _parts(reference: str) -> tuple[str, str]:
    """The file or module of a reference, and the callable in it; none in a model file."""
    if not isinstance(source_of(reference), Callables):
        return reference, ""
    place, _, name = reference.rpartition(":")
    return place, name


@contextmanager
def unpacked(revision: str, beside: Path) -> Iterator[Revision]:
    """`revision` of the repository that holds the file `beside`, until the block ends.

    Raises:
        UsageError: no git, no repository, or no such revision in it.
    """
    repository = Path(_git(beside.resolve().parent, "rev-parse", "--show-toplevel", of=beside))
    commit = _commit(repository, revision)
    with tempfile.TemporaryDirectory(prefix="detrbench-revision-") as folder:
        _unpack(repository, commit, Path(folder))
        yield Revision(revision, commit, repository.resolve(), Path(folder).resolve())


def _commit(repository: Path, revision: str) -> str:
    try:
        return _git(
            repository, "rev-parse", "--verify", "--quiet", "--end-of-options",
            f"{revision}^{{commit}}", of=repository,
        )  # fmt: skip
    except UsageError as error:
        shallow = _git(repository, "rev-parse", "--is-shallow-repository", of=repository) == "true"
        hint = "Name a branch, a tag or a commit: git log --oneline."
        if shallow:
            hint = "The clone is shallow: fetch it first (actions/checkout: fetch-depth: 0)."
        said = f"there is no revision {revision!r} in {repository}"
        raise UsageError(said, where="--rev", hint=hint) from error


def _unpack(repository: Path, commit: str, folder: Path) -> None:
    command = ["git", "-C", str(repository), "archive", "--format=tar", commit]
    archive = subprocess.run(command, capture_output=True, check=False)
    if archive.returncode:
        said = archive.stderr.decode(errors="replace").strip()
        raise UsageError(f"git cannot archive {commit}: {said}", where="--rev")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        # Refuses what would be written outside the folder; 3.10 may not have it.
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        tar.extractall(folder)


def _git(folder: Path, *arguments: str, of: Path) -> str:
    """What a git command prints; UsageError where it fails, or there is no git."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        raise UsageError("git is not installed", where="--rev", hint="Install git.") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines()
        what = said[0] if said else f"git {arguments[0]} failed"
        hint = "--rev compares files of a git repository with an earlier revision of them."
        raise UsageError(what, where=str(of), hint=hint) from error
    return done.stdout.strip()
