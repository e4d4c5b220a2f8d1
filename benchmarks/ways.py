"""How others time a model, and when they would call two of them different: the parts.

Each is our own code, made from what the tool's documentation says that it does, so that all run on
the same modules, the same images and the same torch. ways_experiment.py puts them side by side; run
as a script, this file is one process of theirs, which times the models of a request:

    python benchmarks/ways.py '{"way": "naive", "file": "pair.py", "names": ["model"], ...}'
"""

from __future__ import annotations

import json
import math
import runpy
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from detrbench.core.stats import quantile, student_t

Call = Callable[[], object]
Clock = Callable[[], float]

ENOUGH = 0.02
"""A difference worth talking about, for readers of a ratio without an interval."""


# --- timing: a call to its samples, in seconds ------------------------------------------------


def profile_models(
    call: Call, warmups: int, timed_runs: int, min_time_s: float, clock: Clock = time.perf_counter
) -> list[float]:
    """Ultralytics' `ProfileModels`: warm-up runs say how many timed ones fill the time.

    https://docs.ultralytics.com/reference/utils/benchmarks/: num_timed_runs=100,
    num_warmup_runs=10, min_time=60 seconds, all models in one process.
    """
    began = clock()
    for _ in range(warmups):
        call()
    mean_s = (clock() - began) / warmups
    return _each(call, max(round(min_time_s / mean_s), timed_runs), clock)


def blocked_autorange(call: Call, threads: int, min_run_time_s: float) -> list[float]:
    """torch.utils.benchmark's `Timer.blocked_autorange`, the real one.

    https://docs.pytorch.org/docs/stable/benchmark_utils.html: min_run_time=0.2 and num_threads=1
    are its defaults.
    """
    from torch.utils.benchmark import Timer

    timer = Timer("call()", globals={"call": call}, num_threads=threads)
    return list(timer.blocked_autorange(min_run_time=min_run_time_s).times)


def for_duration(
    call: Call, warmups: int, iterations: int, duration_s: float, clock: Clock = time.perf_counter
) -> list[float]:
    """optimum-benchmark's inference scenario: until both the number and the sum are reached.

    https://github.com/huggingface/optimum-benchmark, help texts of the scenario's fields:
    iterations 10 and duration 10 seconds at least, warmup_runs 10; a process for each benchmark.
    """
    for _ in range(warmups):
        call()
    times_s: list[float] = []
    while len(times_s) < iterations or math.fsum(times_s) < duration_s:
        times_s += _each(call, 1, clock)
    return times_s


def loops_for(call: Call, min_time_s: float, clock: Clock = time.perf_counter) -> int:
    """pyperf's calibration, in a process of its own: the first power of two that takes so long.

    https://pyperf.readthedocs.io/en/latest/runner.html: raw values of 100 ms at least.
    """
    loops = 1
    while math.fsum(_each(call, loops, clock)) < min_time_s:
        loops *= 2
    return loops


def loop_values(
    call: Call, loops: int, values: int, warmups: int, clock: Clock = time.perf_counter
) -> list[float]:
    """pyperf's worker: each value is the mean of so many loops; the first ones are not kept.

    https://pyperf.readthedocs.io/en/latest/runner.html: 20 processes, 3 values, 1 warm-up.
    """
    taken = [statistics.fmean(_each(call, loops, clock)) for _ in range(warmups + values)]
    return taken[warmups:]


def _each(call: Call, calls: int, clock: Clock) -> list[float]:
    times_s = []
    for _ in range(calls):
        began = clock()
        call()
        times_s.append(clock() - began)
    return times_s


# --- judging: the samples of two models to "different" ----------------------------------------

Samples = Sequence[float]


def sigma_clipped(samples: Samples, sigma: float = 2.0, times: int = 3) -> list[float]:
    """What is left after three times leaving out all beyond two standard deviations.

    https://docs.ultralytics.com/reference/utils/benchmarks/: iterative sigma clipping, sigma 2,
    at most 3 iterations.
    """
    left = list(samples)
    for _ in range(times):
        mean, sd = statistics.fmean(left), statistics.pstdev(left)
        inside = [each for each in left if abs(each - mean) <= sigma * sd]
        if len(inside) == len(left):
            break
        left = inside
    return left


def means_apart(a: Samples, b: Samples) -> bool:
    """Whether the ranges "mean +- standard deviation", which are what is printed, do not meet."""
    (mean_a, sd_a), (mean_b, sd_b) = ((statistics.fmean(x), _sd(x)) for x in (a, b))
    return abs(mean_a - mean_b) > sd_a + sd_b


def quartiles_apart(a: Samples, b: Samples) -> bool:
    """Whether the interquartile ranges, which `Measurement` prints beside the median, do not meet.

    https://docs.pytorch.org/docs/stable/benchmark_utils.html
    """
    (low_a, high_a), (low_b, high_b) = ((quantile(x, 0.25), quantile(x, 0.75)) for x in (a, b))
    return high_a < low_b or high_b < low_a


def student_apart(a: Samples, b: Samples, alpha: float = 0.05) -> bool:
    """Student's two-sample, two-tailed test at 95 %, over all values of all processes.

    https://pyperf.readthedocs.io/en/latest/cli.html, `compare_to`.
    """
    degrees = len(a) + len(b) - 2
    if min(len(a), len(b)) < 2:
        return False
    squares = sum((len(x) - 1) * statistics.variance(x) for x in (a, b))
    error = math.sqrt(squares / degrees * (1 / len(a) + 1 / len(b)))
    return (
        abs(statistics.fmean(a) - statistics.fmean(b)) > student_t(1 - alpha / 2, degrees) * error
    )


def beyond(ratio: float, enough: float = ENOUGH) -> bool:
    """What readers make of a ratio alone."""
    return abs(ratio - 1) > enough


def _sd(samples: Samples) -> float:
    return statistics.stdev(samples) if len(samples) > 1 else 0.0


# --- a process --------------------------------------------------------------------------------


def measure(request: Mapping[str, Any]) -> list[list[float]]:
    """Samples of each model that `request` names, one after the other, in this process."""
    import torch
    from naive import call_times

    if request["threads"] is not None:
        torch.set_num_threads(request["threads"])
    made = runpy.run_path(request["file"])
    models = [made[name]().eval() for name in request["names"]]
    images = torch.rand(1, 3, request["imgsz"], request["imgsz"])
    options = request.get("options", {})
    ways: dict[str, Callable[[Call], list[float]]] = {
        "naive": call_times,
        "ultralytics": lambda call: profile_models(call, **options),
        "torch": lambda call: blocked_autorange(call, torch.get_num_threads(), **options),
        "optimum": lambda call: for_duration(call, **options),
        "pyperf-loops": lambda call: [loops_for(call, **options)],
        "pyperf": lambda call: loop_values(call, **options),
    }
    with torch.no_grad():
        return [ways[request["way"]](lambda model=model: model(images)) for model in models]


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(sys.argv[1]))))
