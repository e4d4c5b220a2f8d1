"""What only a GPU can show; everything else about CUDA is tested with fakes, on any machine."""

from __future__ import annotations

import pytest
import torch

from detrbench.machine.usage import energy_per_image, peak_memory
from detrbench.machine.validity import conditions, open_ledger
from detrbench.models.builder import build
from detrbench.models.nn.detections import Detections
from detrbench.reports.case import Execution
from detrbench.runtimes import PARTS, open_runtime
from detrbench.runtimes.images import natural_images
from detrbench.runtimes.stages import WHOLE, stage_steps

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

MODEL, SIZE = "shufflev2-x0.5", (320, 320)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("runtime", ["eager", "cudagraph"])
def test_a_detector_agrees_and_is_timed(runtime: str, dtype: str) -> None:
    opened = open_runtime(Execution(runtime=runtime, device="cuda", dtype=dtype))
    step = opened.prepare(build(MODEL, nc=3), natural_images(2, *SIZE))
    step.verify(step())
    outputs = step()
    assert isinstance(outputs, Detections)
    assert outputs.boxes.dtype == getattr(torch, dtype)
    latency_s, wall_s, enqueue_s = step.clock.time(step)
    assert 0 < latency_s <= wall_s * 1.5
    assert 0 < enqueue_s <= wall_s
    opened.close()


def test_a_replay_costs_the_host_less_than_launching() -> None:
    enqueued = {}
    for runtime in ("eager", "cudagraph"):
        step = open_runtime(Execution(runtime=runtime, device="cuda")).prepare(
            build(MODEL, nc=3), natural_images(1, *SIZE)
        )
        readings = [step.clock.time(step) for _ in range(10)]
        enqueued[runtime] = min(enqueue_s for _, _, enqueue_s in readings)
    assert enqueued["cudagraph"] < enqueued["eager"] / 2


@pytest.mark.parametrize("tf32", [True, False])
def test_tf32_is_switched(tf32: bool) -> None:
    runtime = open_runtime(Execution(device="cuda", tf32=tf32))
    try:
        torch.manual_seed(0)
        a, b = torch.randn(2, 512, 512, device="cuda")
        exact = a.double() @ b.double()
        error = float(((a @ b).double() - exact).abs().max() / exact.abs().max())
        settings = runtime.settings(natural_images(1, 8, 8))
    finally:
        runtime.close()
    assert settings["tf32_matmul"] is settings["tf32_conv"] is tf32
    if torch.cuda.get_device_capability() >= (8, 0):
        assert (error > 1e-5) is tf32


def test_a_cold_cache_is_slower_for_what_would_fit_into_it() -> None:
    """4 MiB that are read again and again: from memory, or from the cache."""
    medians = {}
    for cold in (False, True):
        runtime = open_runtime(Execution(device="cuda", cold_l2=cold))
        step = runtime.prepare(torch.nn.ReLU(), torch.rand(1, 1, 1024, 1024))
        medians[cold] = sorted(step.clock.time(step)[0] for _ in range(50))[25]
        assert runtime.settings(torch.rand(1, 3, 8, 8))["cold_l2"] is cold
    assert medians[True] > medians[False]


def test_stages_run_on_the_device() -> None:
    steps = stage_steps(build(MODEL, nc=3), open_runtime(Execution(device="cuda")), SIZE)
    assert tuple(steps) == (*PARTS, WHOLE)
    for step in steps.values():
        step.verify(step())
        assert step.clock.time(step)[0] > 0


def test_memory_and_energy_are_told() -> None:
    runtime = open_runtime(Execution(device="cuda"))
    step = runtime.prepare(build(MODEL, nc=3), natural_images(1, *SIZE))
    step()
    peak = peak_memory(step, "cuda", runtime.prepared["resident_bytes"])
    allocated, reserved, _ = peak.values()
    assert isinstance(allocated, int)
    assert isinstance(reserved, int)
    assert runtime.prepared["resident_bytes"] < allocated <= reserved
    energy = energy_per_image(step, 1, "cuda", seconds=0.5)
    assert energy if isinstance(energy, str) else 0 < energy < 1000


def test_the_ledger_reads_the_gpu_or_says_why_not() -> None:
    ledger = open_ledger("cuda")
    ledger.start()
    torch.randn(1024, 1024, device="cuda") @ torch.randn(1024, 1024, device="cuda")
    torch.cuda.synchronize()
    entry = ledger.stop()
    assert (entry.sm_clock_low_mhz is None) == (entry.gpu_unknown is not None), entry
    assert isinstance(conditions(entry, 1.0), tuple)
