"""A runtime that is not torch at all: another process sleeps, the longer the more FLOPs.

It computes nothing itself, so its outputs are eager's, from before. It is asynchronous, as a device
is: a step only asks, and its clock waits for the answer.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from detrbench import trace
from detrbench.core.errors import UsageError
from detrbench.reports.case import Execution
from detrbench.runtimes.agreement import check_finite
from detrbench.runtimes.devices import Device
from detrbench.runtimes.eager import resident_bytes

FLOPS_PER_S = 1e9

SLEEPER = """
import sys, time
for line in sys.stdin:
    if line != "now\\n":
        time.sleep(float(line))
    print(time.perf_counter(), flush=True)
"""


class Sleep:
    """Takes a model's FLOPs in sleep."""

    name = "sleep"

    def __init__(self, device: Device, execution: Execution) -> None:
        if device.name != "cpu":
            raise UsageError(f"the runtime sleep does not run on {device.name}")
        self._sleeper = _Sleeper()
        self.prepared: dict[str, float] = {}

    def activate(self) -> None:
        """The sleeper has no switches that anybody else could have set."""

    def prepare(self, model: nn.Module, images: Tensor) -> _Nap:
        began = time.perf_counter()
        model = model.eval()
        with torch.inference_mode():
            outputs = model(images)
        seconds = trace(model, tuple(images.shape[-2:]), len(images)).flops / FLOPS_PER_S
        self.prepared = {
            "build_s": time.perf_counter() - began,
            "resident_bytes": resident_bytes(model, images),
        }
        return _Nap(self._sleeper, seconds, outputs)

    def settings(self, images: Tensor) -> Mapping[str, Any]:
        return {
            "device": "cpu",
            "dtype": "float32",
            "memory_format": "contiguous",
            "threads": 1,
            "runtime": self.name,
        }

    def close(self) -> None:
        self._sleeper.close()


class _Sleeper:
    """The other process, and what it owes."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SLEEPER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._asked = 0

    def ask(self, request: object) -> None:
        assert self.process.stdin is not None
        print(request, file=self.process.stdin, flush=True)
        self._asked += 1

    def answers(self) -> float:
        """Wait for everything that was asked; the sleeper's time when it was done."""
        assert self.process.stdout is not None
        self.ask("now")
        times = [float(self.process.stdout.readline()) for _ in range(self._asked)]
        self._asked = 0
        return times[-1]

    def close(self) -> None:
        if self.process.stdin is not None and self.process.stdout is not None:
            self.process.stdin.close()
            self.process.wait(10)
            self.process.stdout.close()


class SleeperClock:
    """The sleeper's own clock, read where it is; and what asking takes here."""

    name = "the sleeper's own"
    channels = ("latency_s", "enqueue_s")

    def __init__(self, sleeper: _Sleeper) -> None:
        self._sleeper = sleeper

    def time(self, call: Callable[[], object]) -> tuple[float, ...]:
        began = self._sleeper.answers()
        here = time.perf_counter()
        result = call()
        asked = time.perf_counter()
        ended = self._sleeper.answers()
        del result
        return ended - began, asked - here


class _Nap:
    """One call of a model: so much sleep."""

    def __init__(self, sleeper: _Sleeper, seconds: float, outputs: object) -> None:
        self.clock = SleeperClock(sleeper)
        self._sleeper, self._seconds, self._outputs = sleeper, seconds, outputs

    def __call__(self) -> object:
        self._sleeper.ask(self._seconds)
        return self._outputs

    def verify(self, outcome: object) -> None:
        check_finite(outcome)
