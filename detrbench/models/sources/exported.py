"""Programs that torch.export saved: `model.pt2`, with its modules as they were nested.

Reading one may run code that is in it: pickled objects, and expressions of its sizes. What has
tensors alone is read as it is; anything else has to be trusted.
"""

from __future__ import annotations

import dataclasses
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from detrbench.core.errors import UsageError, first_line
from detrbench.core.files import is_ordinary
from detrbench.models.model import Model, hashed
from detrbench.models.packed import check_size, check_weights, unpacked_bytes
from detrbench.models.sources.built import Built, described, refuse_settings
from detrbench.models.sources.inputs import of_example
from detrbench.models.sources.strangers import read_pickle

_NOT_TAKEN = {
    "nc": "its layers are as they were exported",
    "blocks": "it has its own",
    "weights": "it has its own",
    "backbone_weights": "it has its own",
}

_OF_TENSORS = re.compile(
    r"collections\.OrderedDict|torch\._utils\._rebuild_(tensor_v2|parameter)|torch\.Size"
    r"|torch\.(storage\.)?\w+Storage|torch\.(float|bfloat|int|uint)\d+|torch\.(bool|device)"
)
"""What a pickle of tensors names."""

_EXPRESSION = re.compile(
    r"(\b(Symbol|Integer|Rational|Add|Mul|Pow|Max|Min|Mod|PythonMod|FloorDiv|CleanDiv"
    r"|positive|nonnegative|integer|True|False|[su]\d+)\b|'[su]\d+'|[\d\s+\-*/(),.=])*"
)
"""Of a size, as torch writes it: symbols, numbers and arithmetic."""


class ExportedPrograms:
    """Builds the modules of an exported program."""

    def claims(self, reference: str) -> bool:
        return reference.endswith(".pt2") and is_ordinary(reference) and _is_program(reference)

    def resolve(self, model: Model) -> Model:
        refuse_settings(model, _NOT_TAKEN)
        check_weights(Path(model.reference))
        doubt = None if model.trust else next(_doubts(model.reference), None)
        if doubt is not None:
            raise UsageError(
                f"reading it may run code: {doubt}",
                where=model.reference,
                hint="Give --trust, if you know where it is from.",
            )
        return dataclasses.replace(model, files=(hashed(model.reference),))

    def runs_code(self, model: Model) -> bool:
        return True

    def check(self, model: Model, imgsz: tuple[int, int]) -> None:
        """For which images it was exported is known when it is read."""

    def build(self, model: Model, device: str) -> Built:
        import torch

        self.resolve(model)
        try:
            program = torch.export.load(model.reference)
            module = torch.export.unflatten(program)
        except Exception as error:  # the bytes of any file may make the reader stumble in any way
            first = first_line(error)
            raise UsageError(
                f"torch cannot read it: {type(error).__name__}: {first}",
                where=model.reference,
                hint="Another version of torch may: it says nothing of files between versions.",
            ) from error
        fixed = not program.range_constraints
        example = program.example_inputs
        _forget_sizes(module)
        module.eval()
        if example is None:
            return described(module, model.name)
        args, keywords = example
        inputs = args if not keywords else dict(keywords)
        if args and keywords:
            raise UsageError(
                "it takes inputs both by place and by name",
                where=model.reference,
                hint="Export it with inputs of one kind, or give the module: ./FILE.py:NAME.",
            )
        made, images = of_example(module, inputs, model.reference)
        return Built(made, model.name, images=images if fixed else None)


def _is_program(path: str) -> bool:
    """Whether an archive has a graph in it, and not compiled code alone."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False
    return any(re.search(r"(^|/)(models/\w+|serialized_exported_program)\.json$", n) for n in names)


def _doubts(path: str) -> Iterator[str]:
    """What in an archive is more than tensors, and a graph of torch's own operators."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".json"):
                yield from _doubts_of_json(name, archive.read(name))
            elif re.search(r"/(sample_inputs|constants|aotinductor|extra)/|\.(pt|so|pkl)$", name):
                yield from _doubts_of_tensors(name, archive.read(name))


def _doubts_of_json(name: str, content: bytes) -> Iterator[str]:
    try:
        read = json.loads(content)
    except (ValueError, RecursionError):
        yield f"{name} is not JSON"
        return
    for key, value in _entries(read):
        if key == "use_pickle" and value:
            yield f"{name} has pickled objects"
        if key == "expr_str" and not _EXPRESSION.fullmatch(str(value)):
            yield f"{name} has an expression {value!r:.40} as a size"


def _entries(read: Any) -> Iterator[tuple[str, Any]]:
    waiting = [read]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            yield from each.items()
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each)


def _doubts_of_tensors(name: str, content: bytes) -> Iterator[str]:
    try:
        check_size(len(content), unpacked_bytes(io.BytesIO(content)), name)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            pickles = [each for each in archive.namelist() if each.endswith(".pkl")]
            names = [n for each in pickles for n in read_pickle(archive.open(each)).names]
    except zipfile.BadZipFile:
        yield f"{name} is not an archive of tensors"
        return
    yield from (f"{name} names {n}" for n in names if not _OF_TENSORS.fullmatch(n))


def _forget_sizes(module: Any) -> None:
    """Drop the example tensors of its graphs, whose sizes are symbols: nobody can copy them."""
    for each in module.modules():
        for node in getattr(getattr(each, "graph", None), "nodes", ()):
            node.meta.clear()
