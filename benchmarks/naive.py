"""Two models timed as tutorials do it: one after the other in one process, means, and their ratio.

What it takes as a whole process is what a more careful way has to be weighed against.

    python benchmarks/naive.py                            # rtdetr-l against shufflev2, 640 pixels
    python benchmarks/naive.py rtdetr-l rtdetr-x --imgsz 320 --threads 1
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import fmean

import torch

import detrbench

WARMUPS, CALLS = 5, 30


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="*", default=["rtdetr-l", "shufflev2"], metavar="MODEL")
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--threads", type=int)
    asked = parser.parse_args()
    if len(asked.models) != 2:
        parser.error("a ratio needs two models")
    if asked.threads is not None:
        torch.set_num_threads(asked.threads)
    models = [detrbench.build(name) for name in asked.models]
    images = torch.rand(1, 3, asked.imgsz, asked.imgsz)
    with torch.no_grad():
        means_s = [fmean(call_times(lambda model=model: model(images))) for model in models]
    for name, mean_s in zip(asked.models, means_s, strict=True):
        print(f"{name}: {1e3 * mean_s:.1f} ms")
    print(f"ratio: {means_s[1] / means_s[0]:.3f}")


def call_times(
    call: Callable[[], object], clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Seconds of each of CALLS calls, after WARMUPS that are not timed."""
    for _ in range(WARMUPS):
        call()
    times_s = []
    for _ in range(CALLS):
        began = clock()
        call()
        times_s.append(clock() - began)
    return times_s


if __name__ == "__main__":
    main()
