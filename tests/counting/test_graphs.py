"""ONNX graphs: products by hand, and what cannot be counted is named in place of a number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from detrbench import profile
from detrbench.core.errors import UsageError
from detrbench.models.model import Model
from detrbench.models.sources import build_model, onnx, resolve


def test_what_is_said_without_onnx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.onnx").write_bytes(b"any")
    model = Model("net", f"{tmp_path}/net.onnx")
    monkeypatch.setattr(onnx, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r'not installed\n  pip install "detrbench\[onnx\]"'):
        resolve(model)
    with pytest.raises(UsageError, match=r"PyTorch does not execute .*\n.*--runtime onnxruntime"):
        build_model(model).module(torch.zeros(1, 3, 16, 16))


def saved(tmp_path: Path, *more: Any, batch: int | str = "n") -> str:
    """3 to 8 channels by 3x3 at stride 2; to 4 by a matrix product."""
    library = pytest.importorskip("onnx", reason="onnx is not installed")
    h, kind = library.helper, library.TensorProto.FLOAT
    nodes = [
        h.make_node("Conv", ["x", "w"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1], group=1),
        h.make_node("Relu", ["a"], ["b"]),
        h.make_node("Reshape", ["b", "size"], ["c"]),
        h.make_node("MatMul", ["c", "m"], ["y"]),
        *(h.make_node(*args, **options) for args, options in more),
    ]
    weights = [
        h.make_tensor("w", kind, [8, 3, 3, 3], [0.0] * 216),
        h.make_tensor("m", kind, [64, 4], [0.0] * 256),
        h.make_tensor("size", library.TensorProto.INT64, [3], [0, 8, 64]),
    ]
    image = h.make_tensor_value_info("x", kind, [batch, 3, 16, 16])
    output = h.make_tensor_value_info("y", kind, None)
    graph = h.make_graph(nodes, "net", [image], [output], weights)
    opsets = [h.make_opsetid("", 17), h.make_opsetid("mine", 1)]
    library.save(h.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "net.onnx")
    return str(tmp_path / "net.onnx")


def test_products_by_hand(tmp_path: Path) -> None:
    row = profile(saved(tmp_path), imgsz=16, batch=2).rows[0]
    macs = 2 * (8 * 8 * 8) * (3 * 3 * 3) + 2 * 8 * 4 * 64
    assert (row.metrics["macs"], row.metrics["flops"]) == (macs, 2 * macs)
    assert row.metrics["params"] == 216 + 256
    assert row.metrics["kernels"] is None
    assert "no module to trace" in row.missing["kernels"]
    assert row.notes[1] == "without products, and not part of its FLOPs: Relu (1), Reshape (1)"


@pytest.mark.parametrize(
    ("node", "name"),
    [
        ((("Einsum", ["c", "m"], ["z"]), {"equation": "bij,jk->bik"}), "Einsum (1)"),
        ((("Fast", ["c"], ["z"]), {"domain": "mine"}), "mine.Fast (1)"),
        ((("ConvInteger", ["x", "w"], ["z"]), {}), "ConvInteger (1)"),
    ],
)
def test_what_has_no_formula_fails_by_name(tmp_path: Path, node: Any, name: str) -> None:
    row = profile(saved(tmp_path, node), imgsz=16).rows[0]
    assert row.status == "failed"
    assert row.metrics == {}
    assert row.reason is not None
    assert name in row.reason


def test_a_graph_of_one_size_takes_no_other(tmp_path: Path) -> None:
    path = saved(tmp_path, batch=1)
    with pytest.raises(UsageError, match=r"for 1 images of 16x16 .*\n.*--imgsz 16x16 --batch 1"):
        profile(path, imgsz=32)
    with pytest.raises(UsageError, match="not fused here"):
        profile(path, imgsz=16, fuse=True)
    (tmp_path / "cut.onnx").write_bytes(b"\x08\x08\x12\x07pytorch" + bytes(200))
    with pytest.raises(UsageError, match=r"cut\.onnx: it.* ONNX graph|one input of images"):
        profile(str(tmp_path / "cut.onnx"))
