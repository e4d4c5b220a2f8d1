"""What an ONNX graph costs: parameters, and the products that the convention core counts.

Only shapes are looked at. Tensors that lie in files beside it are not opened, and operators of
others' are not loaded: what cannot be counted for certain is named in place of a number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from detrbench.core.errors import DetrbenchError, UsageError, first_line, in_one_line
from detrbench.counting.tracing import COUNTED
from detrbench.reports.case import Case
from detrbench.reports.metrics import CONVENTION_METRICS
from detrbench.reports.report import Result

Shape = Sequence[int]

_UNKNOWN = frozenset(
    [
        "Attention",
        "Einsum",
        "DeformConv",
        "LSTM",
        "GRU",
        "RNN",
        "Loop",
        "If",
        "Scan",
        "SequenceMap",
        "QLinearConv",
        "QLinearMatMul",
        "ConvInteger",
        "MatMulInteger",
        "DFT",
        "STFT",
        "CausalConvWithState",
        "LinearAttention",
    ]
)
"""Operators of ONNX's own that multiply and have no formula here, or hold graphs of their own."""

_HOMES = ("", "ai.onnx")


class _Uncountable(DetrbenchError):
    """A graph with something in it whose cost is not known."""


def count_graph(case: Case, convention: str) -> Result:
    """The row of a case that is an ONNX file. Raises UsageError where it cannot be read, or is of
    other images than those asked for."""
    blank = Result(
        model=case.model.name,
        title=case.model.name,
        settings={**case.settings_of_counts(None), "convention": convention},
        metrics={},
        case=case,
    )
    if case.execution.fused:
        raise UsageError(
            "a graph is as it was exported, and not fused here",
            where=case.name,
            hint="Leave --fuse out.",
        )
    graph = _read(case)
    try:
        macs = sum(_products(graph, _shapes(graph)))
    except _Uncountable as error:
        return _failed(blank, error)
    known = {"params": _parameters(graph), "macs": macs, "flops": 2 * macs}
    keys = {*COUNTED, *CONVENTION_METRICS.values()}
    why = "an ONNX graph has no module to trace: its products alone are counted"
    return _with(blank, known, dict.fromkeys(keys - known.keys(), why), tuple(_notes(graph)))


def _failed(blank: Result, error: DetrbenchError) -> Result:
    return replace(blank, status="failed", reason=in_one_line(error))


def _with(
    blank: Result, known: Mapping[str, int], missing: dict[str, str], notes: tuple[str, ...]
) -> Result:
    metrics: dict[str, int | float | None] = {**dict.fromkeys(missing), **known}
    return replace(blank, metrics=metrics, missing=missing, notes=notes)


def _read(case: Case) -> Any:
    """The graph with the shapes of everything in it, for the images asked for."""
    import onnx

    where = case.model.reference
    try:
        model = onnx.load(where, load_external_data=False)
        inputs = _inputs(model.graph)
        (image,) = [one for one in inputs if len(one.type.tensor_type.shape.dim) == 4]
    except ValueError:
        raise UsageError(
            "its graph does not have one input of images (B, C, H, W)", where=where
        ) from None
    except Exception as error:  # the bytes of any file may make the reader stumble in any way
        first = first_line(error) or type(error).__name__
        raise UsageError(f"it is not an ONNX graph: {first}", where=where) from error
    dims = image.type.tensor_type.shape.dim
    asked = (case.execution.batch, None, *case.execution.imgsz)
    for dim, size in zip(dims, asked, strict=True):
        if size is not None and dim.HasField("dim_value") and dim.dim_value != size:
            count, _, height, width = (each.dim_value or "any" for each in dims)
            raise UsageError(
                f"it was exported for {count} images of {height}x{width} pixels",
                where=where,
                hint=f"Give --imgsz {height}x{width} --batch {count}.",
            )
        if size is not None:
            dim.dim_value = size
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception as error:
        raise UsageError(f"its shapes cannot be inferred: {error}", where=where) from error


def _inputs(graph: Any) -> list[Any]:
    """What goes in; old files list their weights there as well."""
    weights = {each.name for each in graph.initializer}
    return [each for each in graph.input if each.name not in weights]


def _shapes(graph: Any) -> dict[str, list[int]]:
    """Name -> shape, of every tensor whose shape is known."""
    found = {each.name: list(each.dims) for each in graph.initializer}
    for each in (*graph.input, *graph.value_info, *graph.output):
        dims = each.type.tensor_type.shape.dim
        if all(dim.HasField("dim_value") for dim in dims):
            found[each.name] = [dim.dim_value for dim in dims]
    for node in graph.node:
        for attribute in node.attribute if node.op_type == "Constant" else ():
            if attribute.name == "value":
                found[node.output[0]] = list(attribute.t.dims)
    return found


# Of the shapes of inputs and of the output, and the attributes.
_PRODUCTS: Mapping[str, Callable[[list[Shape], Shape, Mapping[str, Any]], int]] = {
    "Conv": lambda ins, out, has: prod(out) * prod(ins[1][1:]),
    "ConvTranspose": lambda ins, out, has: prod(ins[0]) * prod(ins[1][1:]),
    "MatMul": lambda ins, out, has: prod(out) * ins[0][-1],
    "Gemm": lambda ins, out, has: prod(out) * ins[0][0 if has.get("transA") else 1],
}


def _products(graph: Any, shapes: Mapping[str, Shape]) -> Iterator[int]:
    """Multiply-accumulates of each node that has any."""
    unknown = Counter(
        f"{node.domain}.{node.op_type}".lstrip(".")
        for node in graph.node
        if node.domain not in _HOMES or node.op_type in _UNKNOWN
    )
    if unknown:
        raise _Uncountable(
            f"its graph has operators without a formula: {_named(unknown)}",
            hint="Give the module that it was made from: ./FILE.py:NAME.",
        )
    for node in graph.node:
        formula = _PRODUCTS.get(node.op_type)
        if formula is None:
            continue
        names = [*node.input[:2], node.output[0]]
        blind = next((name for name in names if name not in shapes), None)
        if blind is not None:
            raise _Uncountable(
                f"the shape of {blind!r}, at {node.op_type} {node.name or node.output[0]!r}, "
                "depends on values",
                hint="Export it for a fixed image size and batch, and simplify it.",
            )
        attributes = {each.name: each.i for each in node.attribute}
        yield formula([shapes[name] for name in names[:2]], shapes[names[2]], attributes)


def _parameters(graph: Any) -> int:
    """Elements of its initialisers of floating point; the others are sizes and indices."""
    import onnx

    floating = {
        getattr(onnx.TensorProto, name) for name in ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE")
    }
    return sum(prod(each.dims) for each in graph.initializer if each.data_type in floating)


def _notes(graph: Any) -> Iterator[str]:
    kinds = Counter(node.op_type for node in graph.node)
    others = Counter({kind: n for kind, n in kinds.items() if kind not in _PRODUCTS})
    yield "counted from its graph: parameters are initialisers of floating point"
    if others:
        yield f"without products, and not part of its FLOPs: {_named(others)}"


def _named(kinds: Counter[str]) -> str:
    return ", ".join(f"{kind} ({n})" for kind, n in kinds.most_common())
