"""Blocks of the user's own: classes and functions of a Python file, or of a folder of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from detrbench.core.errors import UsageError
from detrbench.models.nn import BLOCKS
from detrbench.models.usercode import RUN_AS, run_file, run_folder


class OwnBlocks(Collection[str]):
    """The user's classes and functions by name, of which one may stand in several modules."""

    def __init__(self, place: str, found: Mapping[str, list[Any]]) -> None:
        self._place, self._found = place, found

    def __contains__(self, name: object) -> bool:
        return name in self._found

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def by_name(self, named: Iterable[str]) -> dict[str, Any]:
        """Every one of them. Raises UsageError where what is `named` is not one alone."""
        for name in named:
            places = [block.__module__ for block in self._found.get(name, ())]
            if len(places) > 1:
                raise UsageError(
                    f"there is more than one {name}: in {' and in '.join(map(_shown, places))}",
                    where=self._place,
                    hint="Name the one file: --blocks FILE.py.",
                )
        return {name: classes[0] for name, classes in self._found.items()}

    def notes(self, named: Iterable[str]) -> tuple[str, ...]:
        """Which of the blocks that are `named` stand in the place of ours."""
        taken = sorted({*named} & self._found.keys() & BLOCKS.keys())
        if not taken:
            return ()
        return (f"{', '.join(taken)} of {self._place}, in place of detrbench's own",)


NO_BLOCKS = OwnBlocks("", {})


def load_blocks(path: str | Path) -> OwnBlocks:
    """The blocks of a Python file, or of a folder's modules. They are run. Raises UsageError where
    that fails or there are none."""
    place = Path(path)
    is_folder = place.is_dir()
    modules = (run_folder if is_folder else run_file)(place, flag="--blocks")
    modules = modules if isinstance(modules, tuple) else (modules,)
    found: dict[str, list[Any]] = {}
    for module in modules:
        for name, block in _blocks_of(module):
            if block not in found.setdefault(name, []):
                found[name].append(block)
    if not found:
        raise UsageError(
            f"the {'folder' if is_folder else 'file'} defines no block",
            where=str(path),
            hint="a block is a class derived from torch.nn.Module, made by Block(c1, *row_args).",
        )
    return OwnBlocks(place.name, found)


def _blocks_of(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """What it defines or imports, and what is not torch's or ours anyway."""
    from torch import nn

    for name, found in vars(module).items():
        is_class = isinstance(found, type) and issubclass(found, nn.Module)
        if not (is_class or isinstance(found, FunctionType)) or name.startswith("_"):
            continue
        if found.__module__.split(".")[0] not in ("torch", "detrbench"):
            yield name, found


def file_name(module: str) -> str:
    """The file that a module is, as far as its name says."""
    return f"{_shown(module).replace('.', '/')}.py"


def _shown(module: str) -> str:
    """A module's name, without what `run_file` puts around a file's."""
    if not module.startswith(RUN_AS):
        return module
    return module.removeprefix(RUN_AS).rpartition("_")[0]
