"""Graphs in the runtimes that execute them: the promises of `test_contract` aside."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from detrbench.core.errors import DetrbenchError, UsageError
from detrbench.models.graph_file import GraphFile
from detrbench.models.model import Model
from detrbench.models.sources import build_model, resolve
from detrbench.reports.case import Execution
from detrbench.reports.parse_cases import make_cases
from detrbench.runtimes import NEEDS, check_runs, open_runtime
from detrbench.runtimes.exported import Exported, Run
from detrbench.runtimes.images import natural_images
from detrbench.timing.measuring import latency
from detrbench.timing.process import Request

IMAGES = natural_images(1, 16, 16)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def installed() -> list[Any]:
    found = []
    for name, needs in NEEDS.items():
        missing = any(find_spec(each) is None for each in needs)
        reason = f'pip install "detrbench[{name}]"'
        found.append(pytest.param(name, marks=pytest.mark.skipif(missing, reason=reason)))
    return found


class Playing(Exported):
    """Executes `result` in place of a graph."""

    name, distribution = "playing", "torch"

    def __init__(self, result: Any) -> None:
        eager = open_runtime(Execution())
        super().__init__(eager.device)  # type: ignore[attr-defined]
        self.result = result

    def export(self, model: nn.Module, images: Tensor) -> tuple[Path, dict[str, Any]]:
        return Path("graph"), {"export_s": 2.0, "file_bytes": 3}

    def load(self, file: str, images: Tensor) -> Run:
        return lambda: [self.result(images)]


def test_a_runtime_that_computes_otherwise_is_not_timed() -> None:
    step = Playing(lambda images: images * 2).prepare(Twice(), IMAGES)
    torch.testing.assert_close(step(), IMAGES * 2)
    with pytest.raises(DetrbenchError, match=r"in torch: outputs deviate by 0\.5"):
        Playing(lambda images: images).prepare(Twice(), IMAGES)


def test_facts_of_the_graph_are_the_rows() -> None:
    runtime = Playing(lambda images: images * 2)
    runtime.prepare(Twice(), IMAGES)
    told = runtime.prepared
    assert (told["export_s"], told["file_bytes"]) == (2.0, 3)
    assert told["load_s"] >= 0
    assert runtime.settings(IMAGES)["runtime_version"] == f"torch {torch.__version__.split('+')[0]}"


class Twice(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images * 2


@pytest.mark.parametrize("name", installed())
def test_a_model_that_cannot_be_exported_says_why(name: str) -> None:
    class Reads(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images * 2 if images.sum() > 0 else images

    with pytest.raises(DetrbenchError, match="cannot be exported to ONNX: ") as caught:
        open_runtime(Execution(runtime=name)).prepare(Reads(), IMAGES)
    assert caught.value.hint == "Time it with --runtime eager."


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_openvino_computes_in_what_was_asked_for_and_says_so(dtype: str) -> None:
    openvino = pytest.importorskip("openvino", reason='pip install "detrbench[openvino]"')
    name = {"float32": "FP32", "bfloat16": "BF16", "float16": "FP16"}[dtype]
    if name not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip(f"this processor does not compute in {dtype}")
    module = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3))
    runtime = open_runtime(Execution(runtime="openvino", dtype=dtype, threads=1))
    images = natural_images(1, 64, 64)
    runtime.prepare(module, images)
    short = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}[dtype]
    assert runtime.prepared[f"products_{short}"] == 2
    assert runtime.settings(images)["dtype"] == dtype
    assert (runtime.prepared["agreement"] > 1e-5) == (dtype != "float32")


# --- profiles ---------------------------------------------------------------------------------


def test_onnx_runtimes_events_are_the_kernels_of_each_call() -> None:
    from detrbench.runtimes.onnx_runtime import _calls

    def event(name: str, ts: int, dur: int, cat: str = "Node") -> dict[str, Any]:
        kind = "Conv" if name.startswith("conv") else "Relu"
        return {"name": name, "ts": ts, "dur": dur, "cat": cat, "args": {"op_name": kind}}

    events = [
        event("session_initialization", 0, 10, "Session"),
        event("conv_kernel_time", 12, 2),
        event("model_run", 11, 9, "Session"),
        event("conv_kernel_time", 22, 3),
        event("a/Fusion/_kernel_time", 26, 1_000_000),
        event("b_nchwc_kernel_time", 27, 4),
        event("model_run", 21, 19, "Session"),
        event("late_kernel_time", 50, 4),
    ]
    first, second = _calls(events, {"a/Fusion/": ("c", "d")})
    assert [kernel.seconds for kernel in first] == [2e-6]
    assert [kernel.seconds for kernel in second] == [3e-6, 1.0, 4e-6]
    assert [kernel.is_product for kernel in second] == [True, False, False]
    names = [set(kernel.names) for kernel in second]
    assert names == [{"conv"}, {"a/Fusion/", "c", "d", "a"}, {"b_nchwc", "b"}]


def test_openvinos_kernels_go_by_the_layers_that_they_were_made_of() -> None:
    from detrbench.runtimes.open_vino import _original_names

    op = SimpleNamespace(get_rt_info=lambda: {"originalLayersNames": "gemm/WithoutBiases,relu"})
    assert _original_names(op) == ("gemm/WithoutBiases", "gemm", "relu", "relu")
    nothing = SimpleNamespace(get_rt_info=lambda: {"originalLayersNames": ""})
    assert _original_names(nothing) == ()


class InTwo(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.head(self.stem(images).relu()) * 2
        return found


@pytest.mark.parametrize("name", installed())
def test_every_kernel_of_a_profile_is_of_its_module(name: str) -> None:
    runtime = open_runtime(Execution(runtime=name, threads=1))
    assert isinstance(runtime, Exported)
    module, images = InTwo().eval(), natural_images(1, 64, 64)
    whole = runtime.prepare(module, images)
    step = runtime.profiled(module, images)
    outputs = [step() for _ in range(3)]
    torch.testing.assert_close(outputs[-1][0], whole(), rtol=1e-4, atol=1e-4)  # type: ignore[index]
    assert len(step.seconds) == 3
    for call in step.seconds:
        assert {"stem", "head"} <= call.keys() <= {"stem", "head", "", None}
        known = sum(seconds for home, seconds in call.items() if home is not None)
        assert known > 0.5 * sum(call.values())


# --- files -------------------------------------------------------------------------------------


def saved(folder: Path, module: nn.Module) -> str:
    file = folder / "net.onnx"
    torch.onnx.export(
        module.eval(), (IMAGES,), str(file), dynamo=True, verbose=False, input_names=["images"]
    )
    return str(file)


@pytest.mark.parametrize("name", installed())
def test_a_graph_of_somebodys_is_executed_as_it_is(name: str, tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU())
    graph = build_model(resolve(Model("net", saved(tmp_path, module)))).module
    assert isinstance(graph, GraphFile)
    runtime = open_runtime(Execution(runtime=name, threads=1))
    step = runtime.prepare(graph, IMAGES)
    (found,) = step()  # type: ignore[misc]
    torch.testing.assert_close(found, module(IMAGES).detach(), rtol=1e-4, atol=1e-4)
    assert "agreement" not in runtime.prepared
    with pytest.raises(DetrbenchError, match="does not run on images of 1 x 3 x 8 x 8"):
        runtime.prepare(graph, natural_images(1, 8, 8))


@pytest.mark.parametrize("name", installed())
def test_a_quantised_graph_of_somebodys_says_what_it_computes_in(name: str, tmp_path: Path) -> None:
    quantisation = pytest.importorskip("onnxruntime.quantization", reason="it quantises the graph")
    file = saved(tmp_path, nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)))
    small = tmp_path / "small.onnx"

    class Images(quantisation.CalibrationDataReader):  # type: ignore[misc, name-defined]
        left = iter([{"images": IMAGES.numpy()}])

        def get_next(self) -> Any:
            return next(self.left, None)

    quantisation.quantize_static(file, str(small), Images())
    runtime = open_runtime(Execution(runtime=name, threads=1))
    runtime.prepare(GraphFile(str(small)), IMAGES)
    assert runtime.prepared["products_int8"] == 2


def test_pytorch_is_not_asked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detrbench.runtimes.find_spec", lambda name: True)
    monkeypatch.setattr("detrbench.models.sources.onnx.find_spec", lambda name: True)
    monkeypatch.setattr("detrbench.models.sources.onnx._weight_files", lambda file: [])
    (tmp_path / "net.onnx").write_bytes(b"any")
    (eager, graph) = make_cases([f"{tmp_path}/net.onnx"], {"runtime": ["eager", "openvino"]})
    check_runs(graph)
    for refused in (lambda: check_runs(eager), lambda: latency([eager])):
        with pytest.raises(
            UsageError, match=r"eager does not execute .*\n.*onnxruntime or openvino"
        ):
            refused()
    assert Request((eager,)).names == (eager.name,), "which a gate of counts alone is of"


def test_weights_elsewhere_are_refused(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    h = onnx.helper
    weight = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[1])
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../weights.bin")
    value = h.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    out = h.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = h.make_graph([h.make_node("Add", ["x", "w"], ["y"])], "net", [value], [out], [weight])
    (tmp_path / "net.onnx").write_bytes(h.make_model(graph).SerializeToString())
    (tmp_path.parent / "weights.bin").write_bytes(bytes(4))
    with pytest.raises(UsageError, match=r"weights are in '\.\./weights\.bin', which is no file"):
        resolve(Model("net", f"{tmp_path}/net.onnx"))
