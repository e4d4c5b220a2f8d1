"""Python callables that return a module: `./my.py:build` or `package.module:build`.

The callable returns an `nn.Module`, or (module, example inputs), see `inputs`. It is called without
arguments, with `nc` where a class count was asked for. Its form says that code is run.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from detrbench.core.errors import UsageError, nearest
from detrbench.core.files import is_ordinary
from detrbench.models.model import Model
from detrbench.models.sources.built import Built, described, refuse_settings
from detrbench.models.usercode import beside, closure, module_file, run_file, run_module

_NAME = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"
_FORM = re.compile(rf"(?!.*\.ya?ml$)(?P<file>.+\.py)?(?P<module>{_NAME})?:(?P<name>{_NAME})")

_NOT_TAKEN = {
    "scale": "the callable builds what it wants",
    "blocks": "it imports what it needs",
    "weights": "the callable loads what it wants",
    "backbone_weights": "the callable loads what it wants",
}


class Callables:
    """Builds what a callable of the user's returns."""

    def claims(self, reference: str) -> bool:
        found = _FORM.fullmatch(reference)
        return found is not None and (found["file"] is None) != (found["module"] is None)

    def resolve(self, model: Model) -> Model:
        refuse_settings(model, _NOT_TAKEN)
        _, name, root, file = _place(model.reference)
        _check_name(file, name.split(".")[0], model.reference)
        return dataclasses.replace(model, files=closure(file, root))

    def runs_code(self, model: Model) -> bool:
        return True

    def check(self, model: Model, imgsz: tuple[int, int]) -> None:
        """What it builds, and of which images, is known when it is run."""

    def build(self, model: Model, device: str) -> Built:
        import torch

        place, name, root, file = _place(model.reference)
        keywords = {} if model.nc is None else {"nc": model.nc}
        with torch.random.fork_rng(devices=[]), beside(root):
            torch.manual_seed(model.seed)
            module = run_file(file, flag=place) if place.endswith(".py") else run_module(place)
            make = _attribute(module, name, model.reference)
            _check_arguments(make, keywords, model.reference)
            torch.manual_seed(model.seed)  # also where the module was there already
            try:
                made = make(**keywords)
            except (Exception, SystemExit) as error:
                raise UsageError(
                    f"calling it failed: {type(error).__name__}: {error}", where=model.reference
                ) from error
        built = described(made, model.name, model.reference)
        return dataclasses.replace(
            built, module=built.module.eval(), nc=model.nc or built.nc, folder=root
        )


def _place(reference: str) -> tuple[str, str, Path, Path]:
    """Module or file, and name, as the reference has them; where imports start from; the file."""
    place, _, name = reference.rpartition(":")
    if not place.endswith(".py"):
        return place, name, *module_file(place)
    file = Path(place)
    if not is_ordinary(file):
        raise UsageError("there is no such file", where=place, hint="Check the path.")
    return place, name, file.resolve().parent, file


def _check_name(file: Path, name: str, reference: str) -> None:
    """Raises UsageError where the file plainly has no such name."""
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError as error:
        raise UsageError(
            f"the file is not Python: {error.msg} (line {error.lineno})", where=str(file)
        ) from error
    except (ValueError, OSError, RecursionError, MemoryError) as error:
        raise UsageError(f"the file cannot be read: {error}", where=str(file)) from error
    names = set(_bound(tree.body))
    if name not in names and names.isdisjoint(_NAMES_AT_RUN_TIME):
        public = [each for each in names if not each.startswith("_")]
        raise UsageError(f"{file} has no {name}", where=reference, hint=nearest(name, public))


# Where a file has one of these, what it has is known when it is run.
_NAMES_AT_RUN_TIME = frozenset(("*", "__getattr__", "exec", "globals"))


def _bound(body: Sequence[ast.stmt]) -> list[str]:
    """Every name that statements give a value, and those of `_NAMES_AT_RUN_TIME`."""
    found: list[str] = []
    for node in (each for statement in body for each in ast.walk(statement)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.append(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found.extend((alias.asname or alias.name).split(".")[0] for alias in node.names)
            if isinstance(node, ast.ImportFrom) and node.level and node.module:
                found.append(node.module.split(".")[0])  # a package knows what it imports of itself
        elif isinstance(node, ast.Name) and (
            isinstance(node.ctx, ast.Store) or node.id in _NAMES_AT_RUN_TIME
        ):
            found.append(node.id)
    return found


def _attribute(module: object, name: str, reference: str) -> Callable[..., Any]:
    try:
        found = reduce(getattr, name.split("."), module)
    except AttributeError as error:
        known = [each for each in vars(module) if not each.startswith("_")]
        raise UsageError(
            f"there is no {name}", where=reference, hint=nearest(name, known)
        ) from error
    if not callable(found):
        raise UsageError(
            f"it is {type(found).__name__}, which cannot be called",
            where=reference,
            hint="Name a function that returns an nn.Module.",
        )
    return found


def _check_arguments(make: Callable[..., Any], keywords: dict[str, Any], reference: str) -> None:
    try:
        inspect.signature(make).bind(**keywords)
    except TypeError as error:
        hint = "Name a function that can be called without arguments."
        if keywords:
            hint = "Leave --nc out, or let it take nc."
        raise UsageError(f"it cannot be called so: {error}", where=reference, hint=hint) from error
    except ValueError:  # a built-in that does not tell its signature
        return
