"""Models as graphs: what they are kept by, and how their outputs come back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from detrbench.models.nn.detections import Detections
from detrbench.runtimes.graph import Homes, Outputs, graph_key

IMAGES = torch.zeros(1, 3, 8, 8)


def net(seed: int = 0, kernel: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, kernel, padding=kernel // 2), nn.BatchNorm2d(4)).eval()


def test_a_graph_is_kept_by_code_weights_images_and_files() -> None:
    usual = graph_key(net(), IMAGES, "files")
    assert graph_key(net(), IMAGES.clone(), "files") == usual
    others = [
        graph_key(net(seed=1), IMAGES, "files"),
        graph_key(net(kernel=5), IMAGES, "files"),
        graph_key(net(), torch.zeros(2, 3, 8, 8), "files"),
        graph_key(net(), IMAGES.double(), "files"),
        graph_key(net(), IMAGES, "other files"),
    ]
    changed = net()
    changed[1].running_mean[0] = 1  # type: ignore[index, union-attr]
    others.append(graph_key(changed, IMAGES, "files"))
    assert len({usual, *others}) == 7


@dataclass
class Found:
    boxes: Tensor
    more: list[Tensor]


A, B, C = (torch.full((1,), float(number)) for number in range(3))


@pytest.mark.parametrize(
    ("example", "arranged"),
    [
        (A, B),
        ((A, B), (B, C)),
        ({"a": [A, B]}, {"a": [B, C]}),
        (Detections(A, B), Detections(B, C)),
        (Found(A, [B]), (B, C)),  # an object of theirs is not made anew
        ({"a": A, "not one": 3}, (B,)),
    ],
)
def test_outputs_come_back_as_the_model_returns_them(example: Any, arranged: Any) -> None:
    outputs = Outputs(example, selects=True)
    given = [B, C][: 1 if arranged in ((B,),) or arranged is B else 2]
    queries = torch.tensor([[7]], dtype=torch.int32)
    found = outputs.arranged([*given, queries])
    assert type(found) is type(arranged)
    assert str(found) == str(arranged)
    selected = outputs.selected([*given, queries])
    assert selected is not None
    assert (selected.dtype, selected.tolist()) == (torch.int64, [[7]])
    assert Outputs(example, selects=False).selected(given) is None


def a_graph(folder: Path, *nodes: tuple[str, str, str, list[str] | None]) -> Homes:
    """Of nodes: name, operator, what it reads, scopes."""
    onnx = pytest.importorskip("onnx", reason="it writes the graph")
    made = []
    for name, operator, read, scopes in nodes:
        made.append(onnx.helper.make_node(operator, [read], [f"{name}_out"], name=name))
        if scopes is not None:
            made[-1].metadata_props.add(key="pkg.torch.onnx.name_scopes", value=str(scopes))
    value = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1])
    file = folder / "net.onnx"
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph(made, "net", [value], [])), file)
    return Homes(file)


def test_a_graphs_nodes_and_values_are_of_modules(tmp_path: Path) -> None:
    homes = a_graph(
        tmp_path,
        ("stem", "Relu", "images", ["", "model", "model.stem", "model.stem.conv", "relu"]),
        ("put_in", "Split", "stem_out", None),
        ("root", "Relu", "put_in_out", ["", "model", "relu_1"]),
        ("wrapper", "Relu", "root_out", ["", "relu_2"]),
        ("alone", "Relu", "elsewhere", None),
    )
    wanted = {"stem": "stem.conv", "put_in": "stem.conv", "root": "", "wrapper": "", "alone": ""}
    for name, home in wanted.items():
        assert homes.find((name,), False) == homes.find(("?", f"{name}_out"), False) == home
    assert homes.find(("?",), False) is None
    assert homes.find((), True) is None


def test_a_fused_product_is_of_the_module_that_has_the_product(tmp_path: Path) -> None:
    homes = a_graph(
        tmp_path,
        ("conv", "Conv", "images", ["", "model", "model.stem", "conv"]),
        ("sigmoid", "Sigmoid", "conv_out", ["", "model", "model.act", "sigmoid"]),
        ("mul", "Mul", "sigmoid_out", ["", "model", "mul"]),
        ("far", "Relu", "images", ["", "model", "model.far", "relu"]),
    )
    assert homes.find(("mul",), True) == "stem"
    assert homes.find(("mul",), False) == ""
    assert homes.find(("conv_out",), True) == "stem"
    assert homes.find(("far",), True) == "far"  # nothing that it could be fused into
