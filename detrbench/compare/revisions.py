"""A user's files as a git revision had them, to be built and timed beside those of today.

Nothing in the user's repository is touched: the revision is written into a folder of its own, from
git's objects as they are. What attributes, filters or `git archive` make of them decides nothing.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from detrbench.core.errors import UsageError
from detrbench.models.sources import source_of
from detrbench.models.sources.callables import Callables
from detrbench.models.sources.huggingface import HuggingFace
from detrbench.models.sources.ultralytics import PREFIX
from detrbench.models.usercode import module_file


@dataclass(frozen=True)
class Revision:
    """A git revision, unpacked.

    Attributes:
        name: as it was asked for: "main", "HEAD~1".
        commit: its full hash.
        repository: the top folder of the working tree it is compared with.
        folder: where its files are.
        renames: of files that git knows to have moved since, where they were; from the top.
        submodules: where there are some, whose files are another repository's and not here.
    """

    name: str
    commit: str
    repository: Path
    folder: Path
    renames: Mapping[Path, Path] = field(default_factory=dict)
    submodules: tuple[str, ...] = ()

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
        inside = path.relative_to(self.repository)
        places = (inside, self.renames[inside]) if inside in self.renames else (inside,)
        return next(filter(Path.exists, map(self.folder.joinpath, places)), None)

    def reference(self, reference: str) -> str | None:
        """What is named as the model that the revision had under `reference`; `None` if it had no
        such file.

        Raises:
            UsageError: as `counterpart` and `file_of`.
        """
        there = self.counterpart(file_of(reference))
        prefix, _, name = _parts(reference)
        return None if there is None else f"{prefix}{there}:{name}" if name else f"{prefix}{there}"


def file_of(reference: str) -> Path:
    """The file of the user's that a reference names, be it a model's or a callable's, or the folder
    of transformers.

    Raises:
        UsageError: it names none, or a module of a package, which is more than a file.
    """
    _, place, name = _parts(reference)
    if name and not place.endswith(".py"):
        return _module(place, name)
    if not Path(place).is_file() and not isinstance(source_of(place), HuggingFace):
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


def _parts(reference: str) -> tuple[str, str, str]:
    """Who builds it, where that is said; its file or module; the callable in it, if it is one."""
    if reference.startswith(PREFIX):
        return PREFIX, reference.removeprefix(PREFIX), ""
    if not isinstance(source_of(reference), Callables):
        return "", reference, ""
    place, _, name = reference.rpartition(":")
    return "", place, name


@contextmanager
def unpacked(revision: str, beside: Path) -> Iterator[Revision]:
    """`revision` of the repository that holds the file or folder `beside`, until the block ends.

    Raises:
        UsageError: no git, no repository, or no such revision in it.
    """
    start = beside.resolve() if beside.is_dir() else beside.resolve().parent
    repository = Path(_git(start, "rev-parse", "--show-toplevel", of=beside))
    commit = _commit(repository, revision)
    with tempfile.TemporaryDirectory(prefix="detrbench-revision-") as folder:
        where = Path(folder).resolve()
        submodules = _unpack(repository, commit, where)
        renames = _renames(repository, commit)
        yield Revision(revision, commit, repository.resolve(), where, renames, submodules)


def _commit(repository: Path, revision: str) -> str:
    try:
        found = _git(
            repository, "rev-parse", "--verify", "--quiet", "--end-of-options",
            f"{revision}^{{commit}}", of=repository,
        )  # fmt: skip
        if not found.isalnum():  # "^HEAD" is what is not in it
            raise UsageError("it is no single commit")
        return found
    except UsageError as error:
        shallow = _git(repository, "rev-parse", "--is-shallow-repository", of=repository) == "true"
        hint = "Name a branch, a tag or a commit: git log --oneline."
        if shallow:
            hint = "The clone is shallow: fetch it first (actions/checkout: fetch-depth: 0)."
        said = f"there is no revision {revision!r} in {repository}"
        raise UsageError(said, where="--rev", hint=hint) from error


_LINK, _SUBMODULE = "120000", "160000"
"""Modes of git that are not those of a file."""


def _unpack(repository: Path, commit: str, folder: Path) -> tuple[str, ...]:
    """Write a commit's files. Links are made where they lead to one of these files. Returns the
    submodules, which are other repositories' commits and left out."""
    links, submodules = [], []
    command = ["git", "-C", str(repository), "cat-file", "--batch"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as objects:
        for mode, name, place in _files(repository, commit):
            if mode == _SUBMODULE:
                submodules.append(str(place))
                continue
            path = folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            content = _object(objects, name)
            if mode == _LINK:
                path.symlink_to(os.fsdecode(content))
                links.append(path)
            else:
                path.write_bytes(content)
    # Not before all are there: a link may lead through another.
    for link in [each for each in links if not each.resolve().is_relative_to(folder)]:
        link.unlink()
    return tuple(submodules)


def _files(repository: Path, commit: str) -> Iterator[tuple[str, str, Path]]:
    """Mode, object and place of everything in a commit."""
    command = ["git", "-C", str(repository), "ls-tree", "-r", "-z", "--full-tree", commit]
    listed = subprocess.run(command, capture_output=True, check=True).stdout
    for entry in filter(None, listed.split(b"\0")):
        facts, _, place = entry.partition(b"\t")
        mode, _, name = facts.decode().split()
        path = Path(os.fsdecode(place))
        if path.is_absolute() or ".." in path.parts:
            said = f"the commit holds {path}, which leads out of it"
            raise UsageError(said, where="--rev", hint="Name another revision.")
        yield mode, name, path


def _object(objects: subprocess.Popen[bytes], name: str) -> bytes:
    """What is in an object, asked of a running `git cat-file --batch`."""
    assert objects.stdin is not None
    assert objects.stdout is not None
    objects.stdin.write(f"{name}\n".encode())
    objects.stdin.flush()
    answer = objects.stdout.readline().split()
    if len(answer) != 3:  # "NAME missing", as in a partial clone without its remote
        said = f"git does not have the object {name} of that revision"
        raise UsageError(said, where="--rev", hint="Fetch the whole revision: git fetch.")
    size = int(answer[2])
    return objects.stdout.read(size + 1)[:size]


def _renames(repository: Path, commit: str) -> dict[Path, Path]:
    """Where files of the working tree were at `commit`, if they were moved since and git knows."""
    command = ["git", "-C", str(repository), "diff", "--find-renames", "--diff-filter=R"]
    command += ["--name-status", "-z", commit]
    told = subprocess.run(command, capture_output=True, check=True).stdout.split(b"\0")
    places = [Path(os.fsdecode(each)) for each in told]
    return dict(zip(places[2::3], places[1::3], strict=False))


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
