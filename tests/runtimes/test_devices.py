from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from weakref import WeakSet

import pytest
import torch

from detrbench.core.errors import UsageError
from detrbench.machine.devices import parse_device
from detrbench.reports.case import Execution
from detrbench.runtimes import devices
from detrbench.runtimes.devices import FLUSH_BYTES, Cuda, open_device


@pytest.mark.parametrize(
    ("text", "expected"),
    [("cpu", ("cpu", None)), ("cuda", ("cuda", None)), ("cuda:1", ("cuda", 1))],
)
def test_names_of_devices(text: str, expected: tuple[str, int | None]) -> None:
    assert parse_device(text) == expected


@pytest.mark.parametrize("text", ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "CUDA", "cuda:0 "])
def test_anything_else_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match=r"unknown device.*\n.*cpu, cuda and cuda:N"):
        parse_device(text)


def test_a_near_miss_is_named() -> None:
    with pytest.raises(UsageError, match="did you mean cuda"):
        parse_device("cudda:0")


def test_names_are_judged_without_torch() -> None:
    script = (
        "import sys; from detrbench.machine.devices import parse_device; "
        "import detrbench.runtimes; parse_device('cuda:1'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_the_processor_is_one_device() -> None:
    assert open_device("cpu").name == "cpu"
    with pytest.raises(UsageError, match="no device cpu:1"):
        open_device("cpu:1")


@pytest.mark.parametrize(
    ("version", "reason"),
    [(None, "was built without CUDA"), ("12.8", "built with CUDA 12.8, finds no usable GPU")],
)
def test_cuda_that_is_not_there_says_what_torch_was_built_with(
    monkeypatch: pytest.MonkeyPatch, version: str | None, reason: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", version)
    with pytest.raises(UsageError, match=reason) as caught:
        open_device("cuda")
    assert caught.value.exit_code == 2
    assert torch.__version__ in str(caught.value)


VERSION_FILE = """from typing import Optional

__version__ = '2.9.0+{build}'
debug = False
cuda: Optional[str] = {cuda}
hip: Optional[str] = {hip}
"""


@pytest.mark.parametrize(
    ("cuda", "hip", "driver", "reason"),
    [
        (None, None, True, "torch 2.9.0+some was built without CUDA"),
        ("12.8", None, False, "torch 2.9.0+some, built with CUDA 12.8, finds no usable GPU"),
        ("12.8", None, True, None),  # whether it finds one, torch says
        (None, "6.4", False, None),
    ],
)
def test_without_torch_only_what_is_certain_is_said(
    cuda: str | None,
    hip: str | None,
    driver: bool,
    reason: str | None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    text = VERSION_FILE.format(build="some", cuda=repr(cuda), hip=repr(hip))
    (tmp_path / "version.py").write_text(text)
    place = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(devices, "find_spec", lambda name: place)
    monkeypatch.setattr(devices, "_has_driver", lambda: driver)
    devices.check_present("cuda")  # torch is there, and will be asked
    monkeypatch.delitem(sys.modules, "torch")
    devices.check_present("cpu")
    with pytest.raises(UsageError, match=re.escape(reason)) if reason else nullcontext():
        devices.check_present("cuda")


@pytest.mark.parametrize(
    "place", [None, SimpleNamespace(origin=None), SimpleNamespace(origin="/none/x")]
)
def test_a_torch_that_cannot_be_read_is_left_to_say_it_itself(
    place: SimpleNamespace | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "find_spec", lambda name: place)
    monkeypatch.delitem(sys.modules, "torch")
    devices.check_present("cuda:1")


def test_without_the_drivers_library_there_is_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(devices.ctypes, "CDLL", missing)
    monkeypatch.setattr(sys, "platform", "linux")
    assert not devices._has_driver()
    monkeypatch.setattr(sys, "platform", "win32")
    assert devices._has_driver()


@pytest.fixture
def one_gpu(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A torch that believes in one GPU; returns the indices it was switched to."""
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "Imaginary 1000")
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.cuda, "Event", lambda enable_timing: SimpleNamespace())
    return chosen


def test_cuda_is_made_the_current_device(one_gpu: list[int]) -> None:
    device = open_device("cuda")
    assert (device.name, one_gpu) == ("cuda:0", [0])
    assert device.clock.channels == ("latency_s", "wall_s", "enqueue_s")


def test_a_second_gpu_that_is_not_there_names_the_first(one_gpu: list[int]) -> None:
    with pytest.raises(UsageError, match=r"no device cuda:1\n.*cuda:0 \(Imaginary 1000\)"):
        open_device("cuda:1")
    assert one_gpu == []


def test_cuda_says_its_flags(one_gpu: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    flags = Cuda(0).flags()
    assert flags["cudnn_benchmark"] is True
    assert flags["tf32_conv"] is True  # torch's defaults
    assert flags["tf32_matmul"] is False


@pytest.fixture
def switches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """torch's switches, and what is known of them, as they were whatever the test does."""
    conv, matmul = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    benchmark = torch.backends.cudnn.benchmark
    monkeypatch.setattr(Cuda, "_before", None)
    monkeypatch.setattr(Cuda, "_configured", WeakSet())
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = conv, matmul
    torch.backends.cudnn.benchmark = benchmark


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.usefixtures("one_gpu", "switches")
def test_switches_are_set_read_back_and_restored(on: bool) -> None:
    device = Cuda(0)
    before = device.flags()
    device.configure(Execution(device="cuda", tf32=on, cudnn_benchmark=on))
    assert device.flags() == {
        "tf32_conv": on,
        "tf32_matmul": on,
        "cudnn_benchmark": on,
        "cold_l2": False,
    }
    device.restore()
    assert device.flags() == before


@pytest.mark.usefixtures("one_gpu", "switches")
def test_switches_that_nobody_asked_for_are_left_alone() -> None:
    device = Cuda(0)
    before = device.flags()
    device.configure(Execution(device="cuda", dtype="float16"))
    assert device.flags() == before
    device.restore()
    assert device.flags() == before


def opened(**settings: bool) -> Cuda:
    device = Cuda(0)
    device.configure(Execution(device="cuda", **settings))  # type: ignore[arg-type]
    return device


def switched() -> tuple[bool, bool, bool]:
    flags = Cuda(0).flags()
    return flags["tf32_conv"], flags["tf32_matmul"], flags["cudnn_benchmark"]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.usefixtures("one_gpu", "switches")
def test_cases_that_take_turns_each_find_their_own_switches(first: bool) -> None:
    """What was not asked for is as torch has it, not as another case left it."""
    usual = switched()
    assert usual == (True, False, False), "torch's defaults differ from both"
    asked = {"tf32": first, "cudnn_benchmark": True}
    devices = {
        (first, first, True): opened(**asked),
        usual: opened(),
        (not first, not first, False): opened(tf32=not first),
    }
    for _ in range(2):
        for wanted, device in devices.items():
            device.activate()
            assert switched() == wanted
    last = list(devices.values())
    for device in reversed(last):
        device.restore()
        assert switched() == usual
    for device in last:
        device.activate()
        assert switched() == usual, "one that was put back wants nothing any more"


@pytest.mark.usefixtures("one_gpu", "switches")
def test_one_that_is_opened_and_put_back_meanwhile_changes_nothing_for_the_others() -> None:
    usual = switched()
    kept = opened(tf32=True)
    opened(tf32=False).restore()
    kept.activate()
    assert switched()[:2] == (True, True)
    later = opened()
    assert switched() == usual
    kept.restore()
    kept.restore()
    later.activate()
    assert switched() == usual
    later.restore()
    assert switched() == usual


@pytest.mark.usefixtures("one_gpu", "switches")
def test_switches_that_the_caller_changes_between_two_runs_are_the_usual_ones_of_the_next() -> None:
    opened(tf32=False).restore()
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = True
    mine = switched()
    device = opened(tf32=False)
    assert switched() == (False, False, True)
    device.restore()
    assert switched() == mine


@pytest.mark.usefixtures("one_gpu", "switches")
def test_a_gpu_without_bfloat16_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    with pytest.raises(UsageError, match=r"Imaginary 1000 has no bfloat16.*\n.*float16"):
        Cuda(0).configure(Execution(device="cuda", dtype="bfloat16"))


@pytest.mark.usefixtures("one_gpu", "switches")
def test_a_cold_cache_is_flushed_by_more_than_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def empty(size: int, *, dtype: torch.dtype, device: str) -> SimpleNamespace:
        made.append((size, dtype, device))
        return SimpleNamespace(zero_=lambda: None)

    monkeypatch.setattr(torch, "empty", empty)
    device = Cuda(0)
    device.configure(Execution(device="cuda", cold_l2=True))
    assert made == [(FLUSH_BYTES, torch.int8, "cuda:0")]
    assert device.flags()["cold_l2"] is True
