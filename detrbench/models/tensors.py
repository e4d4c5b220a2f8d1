"""The tensors of files that are only ever read as data.

Checkpoints may pickle a whole model: its classes are stood in for by empty ones, so that nothing
but tensors and their names is taken from them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detrbench.core.errors import UsageError, first_line
from detrbench.models.packed import check_weights

SHOWN = 5  # names listed in a message before "and N more"

_HOLDERS = ("ema", "model", "module", "state_dict", "net", "weights")
"""Keys under which training programs keep a model; averaged weights are what they evaluate."""


class _Husk:
    """Stands in for every class and function that a pickle names: keeps what it is given, and does
    nothing."""

    def __new__(cls, *args: Any, **options: Any) -> _Husk:
        return super().__new__(cls)

    def __init__(self, *args: Any, **options: Any) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)

    def __setitem__(self, key: object, value: object) -> None:
        pass


def read_tensors(path: Path, *, flag: str = "--weights") -> dict[str, Tensor]:
    """The tensors of a file by their names. No code in it is run. Raises UsageError where it cannot
    be read so, or holds none."""
    if not path.is_file():
        raise UsageError("there is no such file", where=str(path), hint=f"Check {flag}.")
    check_weights(path)
    try:
        content = _load(path)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"it is read by {error.name}, which is not installed",
            where=str(path),
            hint='pip install "detrbench[transformers]"',
        ) from error
    except Exception as error:  # the bytes of any file may make the reader stumble in any way
        raise UsageError(
            f"it cannot be read as weights: {_what_it_is(path, error)}",
            where=str(path),
            hint="Save only tensors: torch.save(model.state_dict(), path).",
        ) from error
    found = dict(_tensors(_held(content)))
    if not found:
        raise UsageError(
            "it holds no tensors with names",
            where=str(path),
            hint="Save them: torch.save(model.state_dict(), path).",
        )
    return found


def _what_it_is(path: Path, error: Exception) -> str:
    """Torch's own words advise to run what is in the file, whatever it is."""
    from detrbench.models.sources.strangers import recognised

    if (kind := recognised(str(path))) is not None:
        return f"this is {kind.what}"
    first = first_line(error) or type(error).__name__
    return "it is nothing that torch.save wrote" if "weights_only" in str(error) else first


def _load(path: Path) -> object:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except ValueError:  # an old file, without an archive around it
        names = []
    husks: list[Any] = [(_Husk, name) for name in names]
    with torch.serialization.safe_globals(husks), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an archive of another kind is refused right away
        return torch.load(path, map_location="cpu", weights_only=True)


def _held(content: object) -> object:
    """The model in what a training program saved beside it."""
    while isinstance(content, Mapping):
        holders = [key for key in _HOLDERS if isinstance(content.get(key), (Mapping, _Husk))]
        if not holders:
            return content
        content = content[holders[0]]
    return content


def _tensors(held: object, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Of a state_dict, or of a module's husk as its state_dict would have them."""
    if isinstance(held, Mapping):
        yield from ((key, each) for key, each in held.items() if isinstance(each, Tensor))
        return
    parts = vars(held) if isinstance(held, _Husk) else {}
    for kind in ("_parameters", "_buffers"):
        for name, each in dict(parts.get(kind) or {}).items():
            if isinstance(each, Tensor) and name not in parts.get(
                "_non_persistent_buffers_set", ()
            ):
                yield f"{prefix}{name}", each.detach()
    for name, each in dict(parts.get("_modules") or {}).items():
        yield from _tensors(each, f"{prefix}{name}.")


def some(names: Iterable[str]) -> str:
    """The first of several names, and how many more there are."""
    names = list(names)
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
