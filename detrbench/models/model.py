"""A model by its reference: what is built, and of which files, before anything is built."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from detrbench.core.errors import UsageError
from detrbench.core.files import check_ordinary


@dataclass(frozen=True)
class File:
    """A file that a model comes from, as it is shown, and the SHA-256 of its bytes."""

    path: str
    sha256: str


@dataclass(frozen=True)
class Model:
    """What a reference resolves to: plain data from which any process builds the same module."""

    name: str  # what rows call it, as a rule the reference
    reference: str  # a name of `models/`, a file, a callable; see `detrbench.models.sources`
    nc: int | None = None  # number of classes; the file's own where `None`
    scale: str | None = None  # one of the file's `scales`; the file's own choice where `None`
    blocks: str | None = None  # a Python file, or a folder of them, with the user's own blocks
    backbone_weights: str | None = None  # a torchvision state_dict to load into the backbone
    weights: str | None = None  # a file of weights to load into the whole of it
    trust: bool = False  # whether a checkpoint's own code may be run to build it
    seed: int = 0  # of weights and images
    files: tuple[File, ...] = ()  # every file that it comes from


def file_differences(one: Model, other: Model) -> dict[str, tuple[str, str]]:
    """Name of a file -> how its content begins here and there, of what is not the same in both; a
    file that one of them is without is "none" there."""
    here, there = _contents(one), _contents(other)
    both = {name: (here.get(name, "none"), there.get(name, "none")) for name in {**here, **there}}
    return {name: shas for name, shas in both.items() if shas[0] != shas[1]}


def _contents(model: Model) -> dict[str, str]:
    """Name of a file -> how its content begins; of several that are called so, of all."""
    found: dict[str, list[str]] = {}
    for file in model.files:
        found.setdefault(Path(file.path).name, []).append(file.sha256[:12])
    return {name: " ".join(sorted(shas)) for name, shas in found.items()}


def hashed(path: str | Path) -> File:
    """`path` with what is in it now. Raises UsageError where it cannot be read."""
    digest = hashlib.sha256()
    try:
        check_ordinary(path)
        with Path(path).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror or error}", where=str(path)) from error
    return File(_shown(Path(path)), digest.hexdigest())


def _shown(path: Path) -> str:
    """From here, or from home: where a file lies on one machine is nobody's concern elsewhere."""
    whole = path.absolute()
    home = os.environ.get("HOME") or os.environ.get("USERPROFILE")
    for folder, sign in ((Path.cwd(), ""), (home and Path(home), "~/")):
        if folder and whole.is_relative_to(folder):
            return f"{sign}{whole.relative_to(folder).as_posix()}"
    return str(path)
