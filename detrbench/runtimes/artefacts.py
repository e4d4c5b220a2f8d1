"""What is made of a model once and used by many processes: folders by content, in the user's cache.

They are in $XDG_CACHE_HOME/detrbench or ~/.cache/detrbench (XDG Base Directory Specification), or
where $DETRBENCH_CACHE says. A folder is there whole or not at all, so that runs at the same time do
not meet; the least recently used ones go when all together are larger than `MOST_BYTES`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from detrbench.core.files import user_folder

GRAPHS = "exports"
"""The kind of artefact that is a model as an ONNX graph."""

EXPORTERS = ("detrbench", "torch", "onnx", "onnxscript")
"""Distributions that make such a graph what it is."""

MOST_BYTES = 8 * 10**9
FACTS = "facts.json"


OWN_FOLDER = "DETRBENCH_CACHE"
"""In the environment, of this process and of those that it starts: another place than the usual."""


def cache_folder() -> Path:
    """Where this package keeps what can be made again."""
    own = Path(os.environ.get(OWN_FOLDER, ""))
    return own if own.is_absolute() else user_folder("XDG_CACHE_HOME", ".cache")


@contextmanager
def without_cache(wanted: bool = True) -> Iterator[None]:
    """Inside, where it is wanted, nothing that was made before is used, also by processes that are
    started there; and nothing stays of what is made."""
    if not wanted:
        yield
        return
    before = os.environ.get(OWN_FOLDER)
    with tempfile.TemporaryDirectory(prefix="detrbench-cache-") as folder:
        os.environ[OWN_FOLDER] = folder
        try:
            yield
        finally:
            del os.environ[OWN_FOLDER]
            if before is not None:
                os.environ[OWN_FOLDER] = before


def key_of(content: Mapping[str, Any]) -> str:
    """A name for everything that an artefact depends on."""
    plain = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(plain.encode()).hexdigest()[:32]


def artefact(
    kind: str, key: str, make: Callable[[Path], Mapping[str, Any]]
) -> tuple[Path, dict[str, Any]]:
    """The folder of this kind and key, made by `make` where it is not there yet; and the facts that
    this returned then. Raises what `make` raises; nothing is left then."""
    place = cache_folder() / kind / key
    if (facts := _facts(place)) is not None:
        return place, facts
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{key}-", dir=place.parent) as folder:
        made = Path(folder) / "made"
        made.mkdir()
        facts = dict(make(made))
        (made / FACTS).write_text(json.dumps(facts), encoding="utf-8")
        with suppress(OSError):  # another process was first, and made the same
            made.rename(place)
    _keep_within(place.parent, place)
    return place, facts


def kept_facts(kind: str, key: str) -> dict[str, Any] | None:
    """The facts of an artefact; `None` where it is not there."""
    return _facts(cache_folder() / kind / key)


def exporters() -> dict[str, str]:
    """The versions of what exports, as far as it is installed."""
    return {**versions(EXPORTERS), "python": sys.version.split()[0]}


def versions(distributions: Iterable[str]) -> dict[str, str]:
    """Of what is installed of these; "none" of what is not."""
    found = {}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "none"
    return found


def _facts(place: Path) -> dict[str, Any] | None:
    """Of a whole artefact, which is used now."""
    with suppress(OSError, ValueError):
        found: dict[str, Any] = json.loads((place / FACTS).read_text(encoding="utf-8"))
        os.utime(place / FACTS)
        return found
    return None


def _keep_within(folder: Path, newest: Path) -> None:
    """Remove what was not used for longest, until the rest is small enough."""
    made = [(each, *_size_and_use(each)) for each in folder.iterdir() if each != newest]
    total = _size_and_use(newest)[0] + sum(size for _, size, _ in made)
    for each, size, _ in sorted(made, key=lambda one: one[2]):
        if total <= MOST_BYTES:
            break
        shutil.rmtree(each, ignore_errors=True)
        total -= size


def _size_and_use(folder: Path) -> tuple[int, float]:
    size, used = 0, 0.0
    with suppress(OSError):  # it may be going
        for file in folder.rglob("*"):
            size += file.stat().st_size
        used = (folder / FACTS).stat().st_mtime if (folder / FACTS).exists() else time.time()
    return size, used
