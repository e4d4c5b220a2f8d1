"""From a name or a path to a file: the model and suite files that come with detrbench.

They live in `models/` and `benchmarks/` at the top of a checkout, and in `detrbench/data/` once
packed into a wheel. A name finds one of those; anything that looks like a path is a path.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from detrbench.core.errors import UsageError, nearest

CLAIMS = "claims"
"""The one suite that is no file: several runs, see `detrbench.experiments.claims.measuring`."""

_SCALE_IN_NAME = re.compile(r"\d([nslmx])(?![a-z0-9])")

STRIDE = 32
"""What image sizes of every model that comes with detrbench are multiples of, as its rows have it:
known here without building one. `tests/models/test_models.py` builds them all."""


def find_model(name_or_path: str | Path) -> Path:
    """A model's file, by its name (`rtdetr-l`) or a path, which may name one of the file's scales,
    see `asked_scale`. Raises UsageError with the near names."""
    path = Path(name_or_path)
    found = None if path.exists() else _of_all_scales(path)
    return found[0] if found else _find("models", "model", name_or_path)


def asked_scale(name_or_path: str | Path, scale: str | None) -> str | None:
    """The scale that is asked for, be it by the reference: `yolov8n-rtdetr.yaml`, where there is no
    such file, is the scale n of `yolov8-rtdetr.yaml`. Raises UsageError where they differ."""
    path = Path(name_or_path)
    found = None if path.exists() else _of_all_scales(path)
    if found is None or scale in (None, found[1]):
        return found[1] if found else scale
    raise UsageError(
        f"the scale {scale} is asked for, and {path.name} is the scale {found[1]} of "
        f"{found[0].name}",
        where="--scale",
        hint=f"name {found[0].name}.",
    )


def _of_all_scales(path: Path) -> tuple[Path, str] | None:
    """The file that has all scales of a model, and the one that `path` names, as the public readers
    of the format find it: without the letter behind a number."""
    named = _SCALE_IN_NAME.search(path.stem)
    if named is None or path.suffix not in (".yaml", ".yml"):
        return None
    stem = path.stem[: named.start(1)] + path.stem[named.end(1) :]
    file = path.with_name(f"{stem}{path.suffix}")
    return (file, named[1]) if file.is_file() else None


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
