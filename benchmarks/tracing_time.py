"""What tracing costs beside torch's own counter on real tensors: paired ratios.

    .venv/bin/python benchmarks/tracing_time.py

A trace of a user's module and FlopCounterMode on the same module are timed in turn, A B B A ..., in
one process with torch's own number of threads. The median of the paired ratios must be at most a
half for each model; the exit status is 1 where it is not. "apart" is the same trace made in a copy
of the process, as it is for modules with code of the user's, which has no goal.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from detrbench import build
from detrbench.counting import tracing

MODELS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "rtdetr-l": (lambda: build("rtdetr-l", 80), 640),
    "resnet50": (lambda: torchvision.models.resnet50(), 640),
    "resnet50, 224": (lambda: torchvision.models.resnet50(), 224),
    "vit_b_16": (lambda: torchvision.models.vit_b_16(), 224),
}
"""Each at the size that its authors use; resnet50 also at that of detectors."""

GOAL = 0.5


def seconds(call: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def count(model: nn.Module, images: torch.Tensor) -> int:
    """FLOPs by torch's own counter."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(images)
    return counter.get_total_flops()


def paired(a: Callable[[], object], b: Callable[[], object], rounds: int) -> list[list[float]]:
    """Seconds of A and B, each pair back to back, the order alternating; one warm-up of each."""
    a(), b()
    pairs = []
    for i in range(rounds):
        found = {call: seconds(call) for call in ((b, a) if i % 2 else (a, b))}
        pairs.append([found[a], found[b]])
    return pairs


def ratio(pairs: list[list[float]]) -> tuple[float, str]:
    """The median of the paired ratios, and what to print of them."""
    ratios = sorted(x / y for x, y in pairs)
    a, b = (median(column) for column in zip(*pairs, strict=True))
    middle = median(ratios)
    return middle, f"{middle:.3f} [{ratios[0]:.3f}-{ratios[-1]:.3f}]  {a:.3f} s / {b:.3f} s"


def main() -> int:
    """Print the ratios; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"trace over FlopCounterMode, median of {rounds} paired ratios, goal {GOAL}")
    missed = 0
    for name, (make, size) in MODELS.items():
        model, images = make().eval(), torch.rand(1, 3, size, size)
        shape = tuple(images.shape)
        of_trace = paired(
            lambda m=model, s=size: tracing.trace(m, s),
            lambda m=model, x=images: count(m, x),
            rounds,
        )
        of_copy = paired(
            lambda m=model, s=shape: tracing._traced_apart(m, s),
            lambda m=model, x=images: count(m, x),
            rounds,
        )
        middle, words = ratio(of_trace)
        missed += middle > GOAL
        print(f"{name:<14} {words}  {'met' if middle <= GOAL else 'MISSED'}")
        print(f"{'':<14} {ratio(of_copy)[1]}  apart", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
