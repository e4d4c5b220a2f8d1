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
        """`file` of the working tree as the revision had it; `None` if it had none there.

        Raises:
            UsageError: `file` is not in the working tree.
        """
        path = Path(file).resolve()
        if not path.is_relative_to(self.repository):
            raise UsageError(
                f"it is not in the git repository {self.repository}",
                where=str(file),
                hint="Give files of one repository, or compare saved reports: --baseline.",
            )
        there = self.folder / path.relative_to(self.repository)
        return there if there.is_file() else None


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
        fetch = "The clone is shallow: fetch it first (actions/checkout: fetch-depth: 0)."
        raise UsageError(
            f"there is no revision {revision!r} in {repository}",
            where="--rev",
            hint=fetch if shallow else "Name a branch, a tag or a commit: git log --oneline.",
        ) from error


def _unpack(repository: Path, commit: str, folder: Path) -> None:
    archive = subprocess.run(
        ["git", "-C", str(repository), "archive", "--format=tar", commit],
        capture_output=True,
        check=False,
    )
    if archive.returncode:
        raise UsageError(
            f"git cannot archive {commit}: {archive.stderr.decode(errors='replace').strip()}",
            where="--rev",
        )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        # The filter "data" refuses what would be written outside the folder; 3.10 may not have it.
        if hasattr(tarfile, "data_filter"):
            tar.extractall(folder, filter="data")
        else:
            tar.extractall(folder)


def _git(folder: Path, *arguments: str, of: Path) -> str:
    """What a git command prints.

    Raises:
        UsageError: it failed, or there is no git.
    """
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
        )
    except FileNotFoundError as error:
        raise UsageError("git is not installed", where="--rev", hint="Install git.") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines()
        raise UsageError(
            said[0] if said else f"git {arguments[0]} failed",
            where=str(of),
            hint="--rev compares files of a git repository with an earlier revision of them.",
        ) from error
    return done.stdout.strip()
