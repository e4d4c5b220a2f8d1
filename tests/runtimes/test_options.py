from __future__ import annotations

import subprocess
import sys

import pytest

from detrbench.core.errors import UsageError
from detrbench.runtimes import check_runtime, open_runtime
from detrbench.runtimes.options import Options, check_options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(dtype="float61"), r"unknown dtype 'float61'\n.*did you mean float16"),
        (Options(dtype="int8"), r"unknown dtype 'int8'\n.*float32, float16, bfloat16"),
        (Options(memory_format="chanels_last"), "did you mean channels_last"),
        (Options(tf32=True), "TF32 is a setting of CUDA devices, not of cpu"),
        (Options(tf32=False), "TF32 is a setting of CUDA devices"),
        (Options(cudnn_benchmark=True), r"cudnn\.benchmark is a setting of CUDA"),
        (Options(cold_l2=True), "a cold L2 cache is a setting of CUDA"),
    ],
)
def test_what_the_processor_cannot_have_is_a_usage_error(options: Options, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        open_runtime("eager", "cpu", options)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_every_dtype_and_layout_may_be_tried_anywhere(dtype: str, layout: str) -> None:
    options = Options(dtype, layout)
    assert check_options(options, "cpu") is options
    switched = Options(dtype, layout, tf32=True, cudnn_benchmark=False, cold_l2=True)
    assert check_options(switched, "cuda:1") is switched


def test_an_unknown_device_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="unknown device"):
        check_options(Options(), "gpu")


def test_cuda_graphs_on_the_processor_are_a_usage_error() -> None:
    for attempt in (lambda: check_runtime("cudagraph", "cpu"), lambda: open_runtime("cudagraph")):
        with pytest.raises(
            UsageError, match=r"cudagraph does not run on cpu\n.*--device cuda.*eager or compile"
        ):
            attempt()
    assert check_runtime("cudagraph", "cuda:1") == "cudagraph"
    assert check_runtime("cudagraph") == "cudagraph", "its device is not known yet"


def test_wishes_are_judged_without_torch() -> None:
    script = (
        "import sys; from detrbench.runtimes import check_runtime; "
        "from detrbench.runtimes.options import Options, check_options; "
        "check_runtime('cudagraph', 'cuda'); check_options(Options(cold_l2=True), 'cuda'); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
