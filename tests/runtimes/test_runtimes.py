"""Which executions there are: said before torch is imported."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from detrbench.core.errors import UsageError
from detrbench.reports.case import Execution
from detrbench.reports.settings import SETTINGS
from detrbench.runtimes import NEEDS, check_execution, open_runtime

UNKNOWN = [
    ("dtype", "float61", r"unknown dtype 'float61'\n.*did you mean float16"),
    ("dtype", "int4", r"unknown dtype 'int4'\n.*float32, float16, bfloat16, int8"),
    ("memory_format", "chanels_last", "did you mean channels_last"),
    ("device", "gpu", "unknown device"),
]


@pytest.mark.parametrize(("key", "value", "message"), UNKNOWN)
def test_unknown_values_are_usage_errors_however_they_come(
    key: str, value: str, message: str
) -> None:
    execution = Execution(**{key: value})  # type: ignore[arg-type]
    for attempt in (
        lambda: SETTINGS[key].parse(value),
        lambda: check_execution(execution),
        lambda: open_runtime(execution),
    ):
        with pytest.raises(UsageError, match=message) as caught:
            attempt()
        assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tf32": True}, "tf32 is a setting of cuda devices, not of cpu"),
        ({"tf32": False}, r"tf32 is a setting of cuda devices.*\n.*give --device cuda"),
        ({"cudnn_benchmark": True}, "cudnn_benchmark is a setting of cuda"),
        ({"cudnn_benchmark": False}, "cudnn_benchmark is a setting of cuda"),
        ({"cold_l2": True}, "cold_l2 is a setting of cuda"),
        ({"threads": 0}, "thread"),
        ({"imgsz": (0, 640)}, "0"),
        ({"batch": 0}, "batch"),
    ],
)
def test_what_the_processor_cannot_have_is_a_usage_error(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        open_runtime(Execution(**settings))
    assert caught.value.exit_code == 2


def test_the_case_that_is_wrong_is_named() -> None:
    for execution in (
        Execution(runtime="none"),
        Execution(runtime="cudagraph"),
        Execution(cold_l2=True),
        Execution(runtime="compile", stages=True),
    ):
        with pytest.raises(UsageError) as caught:
            check_execution(execution, where="rtdetr-l@batch=8")
        assert caught.value.where == "rtdetr-l@batch=8"


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_every_dtype_and_layout_may_be_tried_anywhere(dtype: str, layout: str) -> None:
    execution = Execution(dtype=dtype, memory_format=layout)
    assert check_execution(execution) is execution
    switched = Execution(
        device="cuda:1", dtype=dtype, memory_format=layout,
        tf32=True, cudnn_benchmark=False, cold_l2=True,
    )  # fmt: skip
    assert check_execution(switched) is switched


def test_an_unknown_runtime_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"unknown runtime 'eagre'\n.*did you mean eager"):
        open_runtime(Execution(runtime="eagre"))


def test_cuda_graphs_on_the_processor_are_a_usage_error() -> None:
    execution = Execution(runtime="cudagraph")
    for attempt in (lambda: check_execution(execution), lambda: open_runtime(execution)):
        with pytest.raises(
            UsageError, match=r"cudagraph does not run on cpu\n.*--device cuda.*eager or compile"
        ):
            attempt()
    on_a_gpu = Execution(runtime="cudagraph", device="cuda:1")
    assert check_execution(on_a_gpu) is on_a_gpu


def test_stages_are_timed_in_eager_alone() -> None:
    staged = Execution(stages=True)
    assert check_execution(staged) is staged
    with pytest.raises(
        UsageError, match=r"compile knows no stages\n.*--stages out, or give --runtime eager"
    ):
        check_execution(Execution(runtime="compile", stages=True))


@pytest.mark.parametrize("runtime", NEEDS)
def test_what_a_runtime_needs_is_asked_for(runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    execution = Execution(runtime=runtime)
    monkeypatch.setattr("detrbench.runtimes.find_spec", lambda name: None)
    with pytest.raises(
        UsageError,
        match=rf"{runtime} needs onnx, onnxscript, {runtime}, .*\n.*detrbench\[{runtime}\]",
    ):
        check_execution(execution)
    monkeypatch.setattr("detrbench.runtimes.find_spec", lambda name: object())
    assert check_execution(execution) is execution
    others = [Execution(runtime=runtime, memory_format="channels_last")]
    if runtime == "onnxruntime":
        others.append(Execution(runtime=runtime, dtype="float16"))
    for other in others:
        with pytest.raises(UsageError, match=r"Leave --.* out, or give --runtime eager"):
            check_execution(other)
    with pytest.raises(UsageError, match=r"does not run on cuda"):
        check_execution(Execution(runtime=runtime, device="cuda"))


def test_executions_are_judged_without_torch() -> None:
    script = (
        "import sys; from detrbench.runtimes import check_execution; "
        "from detrbench.reports.case import Execution; "
        "check_execution(Execution(runtime='cudagraph', device='cuda', cold_l2=True)); "
        "check_execution(Execution(dtype='float16', threads=2)); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
