"""From a name or a path to a file: the model and suite files that come with detrbench.

They live in `models/` and `benchmarks/` at the top of a checkout, and in `detrbench/data/` once
packed into a wheel. A name finds one of those; anything that looks like a path is a path.
"""

from __future__ import annotations

import os
from pathlib import Path

from detrbench.core.errors import UsageError, nearest

CLAIMS = "claims"
"""The one suite that is no file: several runs, see `detrbench.experiments.claims.measuring`."""

STRIDE = 32
"""What image sizes of every model that comes with detrbench are multiples of, as its rows have it:
known here without building one. `tests/models/test_models.py` builds them all."""


def find_model(name_or_path: str | Path) -> Path:
    """A model's file, by its name (`rtdetr-l`) or a path. Raises UsageError with the near names."""
    return _find("models", "model", name_or_path)


def find_suite(name_or_path: str | Path) -> Path:
    """A suite's file, by its name (`article`) or a path. Raises UsageError with the near names."""
    return _find("benchmarks", "suite", name_or_path, also=(CLAIMS,))


def model_names() -> tuple[str, ...]:
    """The models that come with detrbench, in alphabetical order."""
    return _names("models")


def data_root(kind: str) -> Path:
    """The folder of our own files: `kind` is "models" or "benchmarks"."""
    package = Path(__file__).resolve().parents[1]
    packed = package / "data"
    return (packed if packed.is_dir() else package.parent) / kind


def _find(kind: str, noun: str, name_or_path: str | Path, also: tuple[str, ...] = ()) -> Path:
    text = os.fspath(name_or_path)
    names = _names(kind)
    path = Path(text)
    looks_like_path = text.endswith((".yaml", ".yml")) or os.sep in text or "/" in text
    if isinstance(name_or_path, Path) or looks_like_path:
        if path.exists():
            return path
        ours = f"`{path.stem}` alone names ours." if path.stem in names else "check the path."
        raise UsageError(f"there is no {noun} file {text}", hint=ours)
    if text in names:
        return data_root(kind) / f"{text}.yaml"
    if path.is_file():  # a bare file name without an ending
        return path
    raise UsageError(
        f"there is no {noun} called {text!r}",
        hint=f"{nearest(text, (*names, *also))} A file of your own is named by its path.",
    )


def _names(kind: str) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in data_root(kind).glob("*.yaml")))
