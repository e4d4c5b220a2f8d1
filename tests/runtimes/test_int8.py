"""Graphs in int8: how they are made and kept, and what is said of them."""

from __future__ import annotations

from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from torch import nn

from detrbench.core.errors import DetrbenchError, UsageError
from detrbench.models.model import Model
from detrbench.reports.case import Case, Execution
from detrbench.runtimes import NEEDS, NEEDS_FOR_INT8, check_execution, check_runs, open_runtime
from detrbench.runtimes.exported import Exported
from detrbench.runtimes.images import natural_images
from detrbench.runtimes.int8 import CALIBRATION_BATCHES, batches, quantised
from detrbench.runtimes.onnx_runtime import _products as planned
from detrbench.runtimes.open_vino import _products as compiled
from detrbench.timing.rows import _precisions

IMAGES = natural_images(2, 16, 24)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_calibration_images_are_seeded_and_none_is_timed() -> None:
    first, again = ([*batches(IMAGES)] for _ in range(2))
    assert len(first) == CALIBRATION_BATCHES
    for one, other in zip(first, again, strict=True):
        assert one.shape == tuple(IMAGES.shape)
        np.testing.assert_array_equal(one, other)
        assert not np.array_equal(one, IMAGES.numpy())
    assert not np.array_equal(first[0], first[1])


def test_other_inputs_than_images_are_refused() -> None:
    with pytest.raises(DetrbenchError, match="3 channels, and it takes 4"):
        next(batches(IMAGES[:, :1].expand(-1, 4, -1, -1)))


def test_a_graph_is_quantised_once(tmp_path: Path) -> None:
    made: list[str] = []

    def quantise(graph: str, images: Any, file: Path) -> None:
        made.append(graph)
        print("a quantiser talks")
        file.write_bytes(b"x" * len([*images]))

    graph = tmp_path / "key" / "model.onnx"
    for _ in range(2):
        file, facts = quantised(graph, IMAGES, quantise, "small.onnx", ("torch",))
        assert file.read_bytes() == b"x" * CALIBRATION_BATCHES
        assert facts["file_bytes"] == CALIBRATION_BATCHES
        assert facts["quantise_s"] >= 0
    assert made == [str(graph)]
    other = tmp_path / "other" / "model.onnx"
    assert quantised(other, IMAGES, quantise, "small.onnx", ("torch",))[0] != file
    assert quantised(graph, IMAGES, quantise, "small.onnx", ("numpy",))[0] != file


def test_what_cannot_be_quantised_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    def quantise(graph: str, images: Any, file: Path) -> None:
        file.write_bytes(b"half")
        raise RuntimeError("no such operator\nand a stack")

    with pytest.raises(DetrbenchError, match="cannot be quantised: no such operator"):
        quantised(tmp_path / "model.onnx", IMAGES, quantise, "small.onnx", ())
    assert list((tmp_path / "cache").rglob("small.onnx")) == []


def test_what_ran_is_read_back_from_onnx_runtimes_plan() -> None:
    found = planned(Counter({"QLinearConv": 3, "QGemm": 1, "Conv": 2, "Add": 9}))
    assert found == {"products_int8": 4, "products_f32": 2}
    assert planned(Counter({"MatMulInteger": 1})) == {"products_int8": 1}


def test_what_ran_is_read_back_from_openvinos_kernels() -> None:
    ops = [
        SimpleNamespace(
            get_rt_info=lambda each=each: {"layerType": "Convolution", "runtimePrecision": each}
        )
        for each in ("i8", "u8", "f32")
    ]
    model = SimpleNamespace(get_ordered_ops=lambda: ops)
    found = compiled(SimpleNamespace(get_runtime_model=lambda: model))
    assert found == {"products_int8": 2, "products_f32": 1}


@pytest.mark.parametrize(
    ("dtype", "counts", "said"),
    [
        ("float32", {"products_f32": 3}, None),
        ("float32", {}, None),
        ("float32", {"products_f32": 2, "products_bf16": 1}, "asked for f32, and would run 1 in b"),
        ("float32", {"products_f32": 2, "products_int8": 1}, "asked for f32, and would run 1 in i"),
        ("int8", {"products_int8": 2, "products_f32": 1}, None),
        ("int8", {"products_f32": 3}, "asked for int8, and would run 3 in f32 of its convolutions"),
        ("int8", {}, "asked for int8, and would run none of its convolutions"),
        ("int8", {"products_int8": 1, "products_bf16": 2}, "asked for f32, and would run 2 in bf"),
    ],
)
def test_another_precision_than_was_asked_for_is_refused(
    dtype: str, counts: dict[str, float], said: str | None
) -> None:
    eager = open_runtime(Execution())
    runtime = Playing(eager.device, Execution(runtime="openvino", dtype=dtype))  # type: ignore[attr-defined]
    if said is None:
        runtime.note_products(counts)
        assert runtime.prepared == counts
    else:
        with pytest.raises(DetrbenchError, match=said):
            runtime.note_products(counts)


class Playing(Exported):
    distribution = "openvino"

    def load(self, file: str, images: Any) -> Any:
        raise AssertionError


def test_a_row_says_that_it_is_of_speed_alone() -> None:
    said = _precisions({"products_int8": 3.0, "products_f32": 1.0, "int8_deviation": 0.0123})
    assert said == (
        "of its convolutions and matrix products 3 in int8 and 1 in f32; speed only: its ranges "
        "are of seeded images, its outputs differ from eager's by 1.2e-02 of the largest value, "
        "and nothing is said of accuracy"
    )
    assert _precisions({"products_f32": 3}) == (
        "of its convolutions and matrix products all 3 in f32"
    )
    assert _precisions({"load_s": 1.0}) == ""


def test_runtimes_of_torch_do_not_take_it() -> None:
    with pytest.raises(UsageError, match="int8 is asked for") as caught:
        check_execution(Execution(dtype="int8"))
    assert caught.value.hint == "Leave --dtype out, or give --runtime onnxruntime or openvino."


def test_what_makes_it_has_to_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "detrbench.runtimes.find_spec", lambda name: None if name == "nncf" else object()
    )
    check_execution(Execution(runtime="openvino"))
    check_execution(Execution(runtime="onnxruntime", dtype="int8"))
    with pytest.raises(UsageError, match="needs nncf, not installed here") as caught:
        check_execution(Execution(runtime="openvino", dtype="int8"))
    assert caught.value.hint == 'pip install "detrbench[int8]"'


def test_a_graph_of_somebodys_is_not_quantised(tmp_path: Path) -> None:
    how = Execution(runtime="onnxruntime", dtype="int8")
    file = tmp_path / "net.onnx"
    file.write_bytes(b"")
    with pytest.raises(UsageError, match="executed as it is"):
        check_runs(Case("net", Model("net", str(file)), how))


@pytest.mark.parametrize("name", NEEDS)
def test_a_model_runs_in_int8(name: str) -> None:
    for each in (*NEEDS[name], *NEEDS_FOR_INT8.get(name, ())):
        if find_spec(each) is None:
            pytest.skip(f"{each} is not installed")
    module = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 8, 3))
    runtime = open_runtime(Execution(runtime=name, dtype="int8", threads=1))
    images = natural_images(1, 32, 32)
    step = runtime.prepare(module, images)
    step.verify(step())
    told = runtime.prepared
    assert told["products_int8"] == 2
    # Eight bits leave a few thousandths of the largest value; nothing at all would be float32.
    assert 1e-5 < told["int8_deviation"] < 0.1
    assert "tolerance" not in told
    assert runtime.settings(images)["dtype"] == "int8"
