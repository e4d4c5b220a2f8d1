"""Blocks of the user's own, from a Python file named on the command line."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from pathlib import Path

from torch import nn

from detrbench.core.errors import UsageError
from detrbench.models.nn import BLOCKS


def load_blocks(path: str | Path) -> dict[str, type[nn.Module]]:
    """The `nn.Module` classes that a Python file defines, by name. Importing the file runs it.

    Raises UsageError where there is no such file, where running it fails, where it defines no
    block, or where a name is already one of detrbench's own.
    """
    file = Path(path)
    if not file.is_file():
        raise UsageError("there is no such file", where=str(path), hint="check --blocks.")
    blocks = {
        name: found
        for name, found in vars(_run(file)).items()
        if isinstance(found, type)
        and issubclass(found, nn.Module)
        and found.__module__ == _module_name(file)  # not what the file merely imports
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


def _module_name(file: Path) -> str:
    return f"detrbench_blocks_{file.stem}"


def _run(file: Path) -> object:
    name = _module_name(file)
    spec = importlib.util.spec_from_loader(
        name, importlib.machinery.SourceFileLoader(name, str(file.resolve()))
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where pickle and dataclasses look a class's module up
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        del sys.modules[name]
        raise UsageError(
            f"the file is not Python: {error.msg} (line {error.lineno})",
            where=str(file),
            hint="check --blocks.",
        ) from error
    except Exception as error:
        del sys.modules[name]
        raise UsageError(
            f"running the file failed: {type(error).__name__}: {error}",
            where=str(file),
            hint=f"try `python {file}` first.",
        ) from error
    return module
