"""From a name or a path to a file: the model and suite files that come with detrbench.

They live in `models/` and `benchmarks/` at the top of a checkout, and in `detrbench/data/` once
packed into a wheel. A name finds one of those; anything that looks like a path is a path.
"""

from __future__ import annotations

import os
from pathlib import Path

from detrbench.core.errors import UsageError, nearest

_ENDINGS = (".yaml", ".yml")

CLAIMS = "claims"
"""The one suite that is no file: several runs, see `detrbench.experiments.claims.measuring`."""


def find_model(name_or_path: str | Path) -> Path:
    """The file of a model, by its name (`rtdetr-l`) or by any path.

    Raises:
        UsageError: there is no such model or file; says which names come close.
    """
    return _find("models", "model", name_or_path)


def find_suite(name_or_path: str | Path) -> Path:
    """The file of a benchmark suite, by its name (`article`) or by any path.

    Raises:
        UsageError: there is no such suite or file; says which names come close.
    """
    return _find("benchmarks", "suite", name_or_path, also=(CLAIMS,))


def model_names() -> tuple[str, ...]:
    """The models that come with detrbench, in alphabetical order."""
    return _names("models")


def suite_names() -> tuple[str, ...]:
    """The suites that come with detrbench, in alphabetical order."""
    return _names("benchmarks")


def data_root(kind: str) -> Path:
    """The folder of our own files: `kind` is "models" or "benchmarks"."""
    package = Path(__file__).resolve().parents[1]
    packed = package / "data"
    return (packed if packed.is_dir() else package.parent) / kind


def _find(kind: str, noun: str, name_or_path: str | Path, also: tuple[str, ...] = ()) -> Path:
    text = os.fspath(name_or_path)
    if isinstance(name_or_path, Path) or _looks_like_path(text):
        path = Path(text)
        if path.exists():
            return path
        raise _no_file(noun, text, _names(kind))
    if text in _names(kind):
        return data_root(kind) / f"{text}.yaml"
    if Path(text).is_file():  # a bare file name without an ending
        return Path(text)
    raise UsageError(
        f"there is no {noun} called {text!r}",
        hint=f"{nearest(text, (*_names(kind), *also))} A file of your own is named by its path.",
    )


def _looks_like_path(text: str) -> bool:
    return text.endswith(_ENDINGS) or os.sep in text or "/" in text


def _no_file(noun: str, text: str, names: tuple[str, ...]) -> UsageError:
    stem = Path(text).stem
    ours = f"`{stem}` alone names ours." if stem in names else "check the path."
    return UsageError(f"there is no {noun} file {text}", hint=ours)


def _names(kind: str) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in data_root(kind).glob("*.yaml")))
