"""Blocks of the user's own, from a Python file named on the command line."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from detrbench.core.errors import UsageError
from detrbench.models.nn import BLOCKS
from detrbench.models.usercode import run_file


def load_blocks(path: str | Path) -> dict[str, type[nn.Module]]:
    """The `nn.Module` classes that a Python file defines, by name. Importing the file runs it.

    Raises UsageError where there is no such file, where running it fails, where it defines no
    block, or where a name is already one of detrbench's own.
    """
    module = run_file(Path(path), flag="--blocks")
    blocks = {
        name: found
        for name, found in vars(module).items()
        if isinstance(found, type)
        and issubclass(found, nn.Module)
        and found.__module__ == module.__name__  # not what the file merely imports
        and not name.startswith("_")
    }
    if not blocks:
        raise UsageError(
            "the file defines no block",
            where=str(path),
            hint="a block is a class derived from torch.nn.Module, made by Block(c1, *row_args).",
        )
    if taken := sorted(blocks.keys() & BLOCKS.keys()):
        raise UsageError(
            f"{', '.join(taken)} is already a block of detrbench",
            where=str(path),
            hint="give your class another name, so that a model file means one thing.",
        )
    return blocks
