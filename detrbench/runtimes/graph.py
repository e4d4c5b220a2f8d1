"""A model as an ONNX graph, for the runtimes that execute one: exported once per content."""

from __future__ import annotations

import ast
import hashlib
import inspect
import logging
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from detrbench.core.errors import DetrbenchError, first_line
from detrbench.models.outputs import tensors
from detrbench.runtimes.agreement import observed
from detrbench.runtimes.artefacts import GRAPHS, artefact, exporters, key_of

OPSET = 18
FILE = "model.onnx"
INPUT = "images"

_SCOPES = "pkg.torch.onnx.name_scopes"
"""Where torch's exporter writes which modules a node is of: the names of a list of scopes."""


class _Flat(nn.Module):
    """A model whose outputs are a tuple of tensors; the selected queries are the last, if any."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        outputs, selected = observed(self.model)(images)
        found = (*tensors(outputs), *(() if selected is None else (selected,)))
        # A graph cannot call its output what its input is called.
        return tuple(each.clone() if each is images else each for each in found)


def exported(model: nn.Module, images: Tensor, identity: str) -> tuple[Path, dict[str, Any]]:
    """The ONNX file of a model in evaluation mode for `images`, from the cache where it is; and
    its `export_s` and `file_bytes`.

    Args:
        identity: of the files that the model comes from.

    Raises:
        DetrbenchError: it cannot be exported.
    """

    def make(folder: Path) -> Mapping[str, Any]:
        began = time.perf_counter()
        _export(model, images, folder / FILE)
        size = sum(file.stat().st_size for file in folder.iterdir())
        return {"export_s": time.perf_counter() - began, "file_bytes": size}

    folder, facts = artefact(GRAPHS, graph_key(model, images, identity), make)
    return folder / FILE, facts


def graph_key(model: nn.Module, images: Tensor, identity: str) -> str:
    """A name for everything that the graph depends on: code, weights, shapes and versions."""
    return key_of(
        {
            "identity": identity,
            "structure": repr(model),
            "code": _digest_of_code(model),
            "weights": _digest_of_tensors(model),
            "images": [str(images.dtype), *images.shape],
            "opset": OPSET,
            "versions": exporters(),
        }
    )


def _digest_of_code(model: nn.Module) -> str:
    """Of the files that its classes are in."""
    files = set()
    for kind in {type(module) for module in model.modules()}:
        try:
            files.add(inspect.getsourcefile(kind) or "")
        except (TypeError, OSError):  # a class of no file, such as one made in an interpreter
            continue
    digest = hashlib.sha256()
    for file in sorted(filter(None, files)):
        if Path(file).is_file():
            digest.update(Path(file).read_bytes())
    return digest.hexdigest()


def _digest_of_tensors(model: nn.Module) -> str:
    digest = hashlib.blake2b()
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _export(model: nn.Module, images: Tensor, file: Path) -> None:
    """Raises DetrbenchError where it cannot be done."""
    try:
        with torch.no_grad(), _quiet(), torch.random.fork_rng(devices=[]):
            torch.onnx.export(
                _Flat(model).eval(),
                (images,),
                str(file),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                verbose=False,
            )
    except Exception as error:
        raise DetrbenchError(
            f"it cannot be exported to ONNX: {first_line(_cause(error)) or type(error).__name__}",
            hint="Time it with --runtime eager.",
        ) from error


def _cause(error: BaseException) -> BaseException:
    """What an exporter's error was made from."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


@contextmanager
def _quiet() -> Iterator[None]:
    """Inside, the exporter tells nothing of its steps; what fails, it raises."""
    speakers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir", "torch.onnx")]
    levels = [speaker.level for speaker in speakers]
    try:
        for speaker in speakers:
            speaker.setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for speaker, level in zip(speakers, levels, strict=True):
            speaker.setLevel(level)


class Homes:
    """Which module each node and each value of an exported graph is of: the path of the innermost
    one, "" for the model's own.

    Args:
        file: what torch's exporter has written.
    """

    def __init__(self, file: Path) -> None:
        import onnx

        self._homes: dict[str, str] = {}
        self._makers: dict[str, Any] = {}  # of values, and nodes by their own names
        for node in onnx.load(file, load_external_data=False).graph.node:
            names = (node.name, *node.output)
            self._makers |= dict.fromkeys(names, node)
            self._homes |= dict.fromkeys(names, self._home_of(node))

    def _home_of(self, node: Any) -> str:
        told = {each.key: each.value for each in node.metadata_props}
        scopes = ast.literal_eval(told.get(_SCOPES, "[]"))
        if len(scopes) > 1:  # of modules, the outermost `_Flat`; the last is of the operator itself
            return ".".join(scopes[-2].split(".")[1:])
        # What the exporter put in goes with what it reads.
        return next((self._homes[name] for name in node.input if name in self._homes), "")

    def find(self, names: Iterable[str], product: bool) -> str | None:
        """Where a kernel is at home that goes by `names`; `None` where the graph knows none.

        Args:
            product: whether it is a convolution or a matrix product. It may be called after what
                was fused into it, and is of the module that has the product.
        """
        name = next((name for name in names if name in self._homes), None)
        if name is None:
            return None
        made_by = self._product_before(name) if product else None
        return self._homes[name if made_by is None else made_by]

    def _product_before(self, name: str) -> str | None:
        """The nearest product that a value comes from, itself included."""
        level = [name]
        for _ in range(_MOST_FUSED):
            nodes = [self._makers[each] for each in level if each in self._makers]
            for node in nodes:
                if node.op_type in _PRODUCTS:
                    return str(node.name)
            level = [read for node in nodes for read in node.input]
        return None


_PRODUCTS = frozenset(("Conv", "ConvTranspose", "MatMul", "Gemm"))
_MOST_FUSED = 6
"""Operators in a row that a runtime makes one kernel of, such as Conv, Add, Sigmoid, Mul."""


class Outputs:
    """How the outputs of a graph, tensors in a row, become those of the model it was made from.

    Args:
        example: what the model returns.
        selects: whether the graph returns the selected queries as well, behind the others.
    """

    def __init__(self, example: object, selects: bool) -> None:
        leaves, self._spec = tree_flatten(example)
        of_tensors = list(tensors(example))
        # Other objects than collections are not made anew: then the tensors are all there is.
        self._is_tree = [*map(id, leaves)] == [*map(id, of_tensors)]
        self._count, self._selects = len(of_tensors), selects

    def arranged(self, found: list[Tensor]) -> object:
        """What the model would have returned."""
        outputs = found[: self._count]
        return tree_unflatten(outputs, self._spec) if self._is_tree else tuple(outputs)

    def selected(self, found: list[Tensor]) -> Tensor | None:
        """The queries that were picked (B, Q), if any are."""
        return found[self._count].long() if self._selects else None
