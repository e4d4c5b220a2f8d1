"""Do our times of a runtime agree with those of the runtime's own tool?

    python benchmarks/own_tools.py -o own.json                            # about ten minutes
    python benchmarks/own_tools.py -o own.json --summary                  # what there is

OpenVINO's `benchmark_app`, synchronous, with the same precision, threads and number of streams; of
ONNX Runtime the few lines of its own interface that its documentation has, with the same threads.
Both get the very graph that detrbench executes. Whole processes in turn, A B B A ..., each with the
median of its calls; the middle of the paired ratios has to be between 0.95 and 1.05.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from keeping import Kept, arguments, dated, go_on, goal, note, save

import detrbench
from detrbench.machine.threads import allowed_threads
from detrbench.reports.parse_cases import make_cases
from detrbench.runtimes import NEEDS
from detrbench.runtimes.artefacts import GRAPHS, cache_folder
from detrbench.timing.exporting import export_first

OFF = 0.05

# What https://onnxruntime.ai/docs/api/python/api_summary.html has, in a loop.
ONNX_RUNTIME = """
import statistics, sys, time
import numpy as np
import onnxruntime

file, imgsz, threads, calls = sys.argv[1], *map(int, sys.argv[2:])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
images = np.random.default_rng(0).random((1, 3, imgsz, imgsz), dtype=np.float32)
taken = []
for _ in range(calls + 5):
    began = time.perf_counter()
    session.run(None, {"images": images})
    taken.append(time.perf_counter() - began)
print(statistics.median(taken[5:]))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="shufflev2")
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--threads", type=int, default=allowed_threads())
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--calls", type=int, default=40, help="of each process")
    return go_on(arguments(parser), {"pairs": []}, experiment, summary, ("pairs",))


def experiment(asked: argparse.Namespace, kept: Kept) -> None:
    """As many pairs as are still missing."""
    with tempfile.TemporaryDirectory(prefix="detrbench-own-") as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        settings = {"imgsz": [(asked.imgsz, asked.imgsz)], "runtime": list(NEEDS)}
        export_first(make_cases([asked.model], settings), announce=note)
        (file,) = (cache_folder() / GRAPHS).glob("*/model.onnx")
        for number in range(asked.pairs):
            for runtime in NEEDS:
                done = sum(pair["runtime"] == runtime for pair in kept["pairs"])
                if done > number:
                    continue
                ways = {"ours_s": _ours_s, "own_s": _own_s}
                order = list(ways)[:: 1 if number % 2 == 0 else -1]
                found = {name: ways[name](asked, runtime, file) for name in order}
                kept["pairs"].append(dated({"runtime": runtime, **found}))
                save(asked, kept)
                note(_line(kept["pairs"][-1]))


def _ours_s(asked: argparse.Namespace, runtime: str, file: Path) -> float:
    report = detrbench.latency(
        [asked.model],
        imgsz=asked.imgsz,
        runtime=runtime,
        threads=asked.threads,
        processes=1,
        rounds=asked.calls,
    )
    median_s = report.rows[0].metrics["latency_median_s"]
    assert median_s is not None, report.rows[0].reason
    return float(median_s)


def _own_s(asked: argparse.Namespace, runtime: str, file: Path) -> float:
    size, threads, calls = str(asked.imgsz), str(asked.threads), str(asked.calls)
    if runtime == "onnxruntime":
        command = [sys.executable, "-c", ONNX_RUNTIME, str(file), size, threads, calls]
        return float(_said(command).split()[-1])
    app = str(Path(sys.executable).with_name("benchmark_app"))
    command = [app, "-m", str(file), "-d", "CPU", "-api", "sync", "-hint", "none", "-nstreams", "1"]
    command += ["-nthreads", threads, "-infer_precision", "f32", "-niter", calls]
    found = re.search(r"Median:\s*([\d.]+) ms", _said(command))
    assert found is not None
    return float(found[1]) / 1e3


def _said(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _line(pair: Kept) -> str:
    return (
        f"{pair['runtime']}: {1e3 * pair['ours_s']:.2f} ms and {1e3 * pair['own_s']:.2f} ms, "
        f"{pair['ours_s'] / pair['own_s']:.3f}"
    )


def summary(kept: Kept) -> str:
    """A line for each pair, and the middle of the ratios."""
    settings = kept["settings"]
    lines = [f"{settings['model']} at {settings['imgsz']} pixels, {settings['threads']} thread(s)"]
    for runtime in NEEDS:
        pairs = [pair for pair in kept["pairs"] if pair["runtime"] == runtime]
        lines += map(_line, pairs)
        if pairs:
            middle = statistics.median(pair["ours_s"] / pair["own_s"] for pair in pairs)
            told = f"{runtime}: ours are {middle:.3f} of its own tool's, median of {len(pairs)}"
            lines.append(goal(told, abs(middle - 1) <= OFF, "0.95 to 1.05"))
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
