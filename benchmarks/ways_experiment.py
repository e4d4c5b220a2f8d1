"""Whose answer can be trusted? The same pair of models, timed by detrbench and as others do it.

In turns, in an order drawn anew for each trial, so that all meet the same minutes:

    naive        means of 30 calls, one model after the other in one process (naive.py)
    ultralytics  as its ProfileModels does, with means of what sigma clipping leaves
    torch        torch.utils.benchmark, both models in one process
    optimum      as optimum-benchmark does, a process for each model
    pyperf       as pyperf does, many processes of the one, then as many of the other
    detrbench    `detrbench latency`, both models in the same rounds of fresh processes

Each runs as whole processes, which is what its seconds are of. A pair that is equal shows how often
each calls equal models different and how far its ratios scatter; one with 5 % more work, whether it
is found. The ways' own parts, with the sources, are in ways.py. Everything measured is on disk
before the next begins; the same command, or --resume FILE, goes on where it was cut.

    python benchmarks/ways_experiment.py -o ways.json                          # about four hours
    python benchmarks/ways_experiment.py -o ways.json --load comes-and-goes --trials 10
    python benchmarks/ways_experiment.py --resume ways.json --trials 30
    python benchmarks/ways_experiment.py -o ways.json --summary                # what there is
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from busy import busy
from keeping import Kept, arguments, dated, go_on, names_of, note, save
from ways import beyond, means_apart, quartiles_apart, sigma_clipped, student_apart

from detrbench.core.stats import median
from detrbench.core.units import show_eta
from detrbench.reports.parse_cases import make_cases
from detrbench.reports.report import Report
from detrbench.timing.plan import Budget
from detrbench.timing.process import Request
from detrbench.timing.replication import Run, replicate
from detrbench.timing.selfcheck import share_of_a_unit

EFFECT = 0.05
SIZING = 4
"""Times as long as a comparison: what the size of a burden is wrong by, all that follow are."""

NAMES = ("model", "other")

# Both models for all ways, as a file with two callables. The work is that of the self-check
# (timing/synthetic_load.py), whose units are what the burden is sized in.
PAIR = """
import torch
from torch import nn
from torch.nn import functional

import detrbench
from detrbench.timing.synthetic_load import CHANNELS, STRIDE


class Burdened(nn.Module):
    def __init__(self, units):
        super().__init__()
        self.detector, self.units = detrbench.build({model!r}), units
        side, draw = max(1, {imgsz} // STRIDE), torch.Generator().manual_seed(0)
        self.input = torch.randn((1, CHANNELS, side, side), generator=draw)
        self.weight = torch.randn((CHANNELS, CHANNELS, 3, 3), generator=draw)

    def forward(self, images):
        outputs = self.detector(images)
        for _ in range(self.units):
            functional.conv2d(self.input, self.weight, padding=1)
        return outputs


def model():
    return Burdened(0)


def other():
    return Burdened({units})
"""

CALLED = ("FASTER", "SLOWER")
UNDECIDED = ("TOO FEW", "BUSY", "INVALID")


def main() -> int:
    return go_on(_arguments(), {"unit": None, "trials": []}, experiment, summary, ("trials",))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="rtdetr-l")
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument(
        "--pair",
        choices=("equal", "burden"),
        default="equal",
        help="the other model: a copy, or one with 5 %% more to do",
    )
    parser.add_argument("--load", choices=("none", "on", "comes-and-goes"), default="none")
    parser.add_argument("--busy", type=int, default=os.cpu_count(), help="loops of the load")
    parser.add_argument(
        "--load-seconds",
        type=float,
        nargs=2,
        default=(5.0, 40.0),
        help="shortest and longest time on, and off",
    )
    parser.add_argument(
        "--ways",
        type=names_of(list(WAYS), "way"),
        default=list(WAYS),
        metavar="A,B,...",
        help=f"of {', '.join(WAYS)}",
    )
    parser.add_argument("--seed", type=int, default=0)
    told = "[default: the tool's own]"
    parser.add_argument("--budget", type=float, default=120.0, help=f"detrbench's seconds {told}")
    parser.add_argument("--timed-runs", type=int, default=100, help=f"ultralytics' least {told}")
    parser.add_argument("--min-time", type=float, default=60.0, help=f"its seconds {told}")
    # Of its own it takes 0.2 seconds, which no detector is called more than a few times in.
    parser.add_argument("--min-run-time", type=float, default=10.0, help="torch's seconds")
    parser.add_argument("--duration", type=float, default=10.0, help=f"optimum's seconds {told}")
    parser.add_argument("--processes", type=int, default=20, help=f"pyperf's, of each model {told}")
    return arguments(parser)


# --- running ----------------------------------------------------------------------------------


class Failed(Exception):
    """A process of a way did not come to its end."""


class Pair:
    """Both models, for processes to build."""

    def __init__(self, asked: argparse.Namespace, folder: Path) -> None:
        self.asked, self.folder = asked, folder
        self.file = folder / "pair.py"

    def samples(self, way: str, names: Sequence[str], **options: Any) -> list[list[float]]:
        """What one process of `way` takes of the models `names`."""
        request = {
            "way": way,
            "file": str(self.file),
            "names": names,
            "imgsz": self.asked.imgsz,
            "threads": self.asked.threads,
            "options": options,
        }
        script = str(Path(__file__).with_name("ways.py"))
        said = ended([sys.executable, script, json.dumps(request)])
        taken: list[list[float]] = json.loads(said.splitlines()[-1])
        return taken


def ended(command: list[str]) -> str:
    """What `command` prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 130:
        raise KeyboardInterrupt
    if done.returncode:
        told = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise Failed(told[-1])
    return done.stdout


def experiment(asked: argparse.Namespace, kept: Kept) -> None:
    """As many trials as are still missing."""
    units = _units(asked, kept)
    with tempfile.TemporaryDirectory(prefix="detrbench-ways-") as folder:
        pair = Pair(asked, Path(folder))
        pair.file.write_text(PAIR.format(model=asked.model, imgsz=asked.imgsz, units=units))
        with busy(0 if asked.load == "none" else asked.busy, _on_off_s(asked), asked.seed):
            for trial in range(asked.trials):
                _trial(asked, kept, pair, trial)


def _trial(asked: argparse.Namespace, kept: Kept, pair: Pair, trial: int) -> None:
    if len(kept["trials"]) <= trial:
        kept["trials"].append({})
    done = kept["trials"][trial]
    for way in order(asked.ways, asked.seed, trial):
        if way not in done:
            left_s = seconds_left(kept["trials"], asked.ways, asked.trials)
            left = "" if left_s is None else f"; about {show_eta(left_s)} left"
            note(f"trial {trial + 1} of {asked.trials}, {way}{left}")
            done[way] = dated(taken(way, pair))
            save(asked, kept)
            note(told_of(done[way]))


def order(ways: Sequence[str], seed: int, trial: int) -> list[str]:
    """The ways in a trial's turns, the same whenever the experiment goes on."""
    shuffled = list(ways)
    random.Random(f"{seed} {trial}").shuffle(shuffled)
    return shuffled


def seconds_left(
    trials: Sequence[Mapping[str, Any]], ways: Sequence[str], wanted: int
) -> float | None:
    """What the ways that are missing will take; `None` while one was never seen."""
    left_s = 0.0
    for way in ways:
        took_s = [trial[way]["seconds"] for trial in trials if way in trial]
        if not took_s:
            return None
        left_s += max(0, wanted - len(took_s)) * median(took_s)
    return left_s


def taken(way: str, pair: Pair) -> Kept:
    """One comparison: the ratio of other to model, whether they are called different, and when."""
    began = time.monotonic()
    try:
        record = WAYS[way](pair)
    except Failed as failed:
        record = {"ratio": None, "different": None, "failed": str(failed)}
    return {**record, "seconds": time.monotonic() - began}


def _units(asked: argparse.Namespace, kept: Kept) -> int:
    if asked.pair == "equal":
        return 0
    if kept["unit"] is None:
        note("size of a burden")
        settings = {"imgsz": [(asked.imgsz, asked.imgsz)], "threads": [asked.threads]}
        (case,) = make_cases([asked.model], settings)
        kept["unit"] = share_of_a_unit(
            case,
            SIZING * asked.budget,
            lambda others, seconds, name: _sized(Request((case, *others)), seconds),
        )
        save(asked, kept)
    return max(1, round(EFFECT / kept["unit"]))


def _sized(request: Request, budget_s: float) -> Run:
    with tempfile.TemporaryDirectory(prefix="detrbench-ways-") as folder:
        run = replicate(request, Budget(budget_s=budget_s, early=False), Path(folder))
    if run.stopped == "interrupted":
        raise KeyboardInterrupt
    return run


def _on_off_s(asked: argparse.Namespace) -> Sequence[float] | None:
    return asked.load_seconds if asked.load == "comes-and-goes" else None


# --- the ways ---------------------------------------------------------------------------------


def naive(pair: Pair) -> Kept:
    """Tutorials have no rule; readers look at the ratio."""
    a, b = pair.samples("naive", NAMES)
    ratio = statistics.fmean(b) / statistics.fmean(a)
    return {"ratio": ratio, "different": beyond(ratio), "samples": [a, b]}


def ultralytics(pair: Pair) -> Kept:
    """Means of the clipped samples, and whether the ranges that are printed do not meet."""
    asked = pair.asked
    options = {"warmups": 10, "timed_runs": asked.timed_runs, "min_time_s": asked.min_time}
    samples = pair.samples("ultralytics", NAMES, **options)
    a, b = map(sigma_clipped, samples)
    ratio = statistics.fmean(b) / statistics.fmean(a)
    return {"ratio": ratio, "different": means_apart(a, b), "samples": samples}


def torch_timer(pair: Pair) -> Kept:
    """Medians, and whether the interquartile ranges that are printed do not meet."""
    a, b = pair.samples("torch", NAMES, min_run_time_s=pair.asked.min_run_time)
    return {"ratio": median(b) / median(a), "different": quartiles_apart(a, b), "samples": [a, b]}


def optimum(pair: Pair) -> Kept:
    """Means, and whether the ranges that are reported do not meet."""
    options = {"warmups": 10, "iterations": 10, "duration_s": pair.asked.duration}
    a, b = (pair.samples("optimum", [name], **options)[0] for name in NAMES)
    ratio = statistics.fmean(b) / statistics.fmean(a)
    return {"ratio": ratio, "different": means_apart(a, b), "samples": [a, b]}


def pyperf(pair: Pair) -> Kept:
    """Means over processes, and its test over all of their values."""
    samples = []
    for name in NAMES:
        loops = int(pair.samples("pyperf-loops", [name], min_time_s=0.1)[0][0])
        samples.append(
            [
                value
                for _ in range(pair.asked.processes)
                for value in pair.samples("pyperf", [name], loops=loops, values=3, warmups=1)[0]
            ]
        )
    a, b = samples
    ratio = statistics.fmean(b) / statistics.fmean(a)
    return {"ratio": ratio, "different": student_apart(a, b), "samples": samples}


def detrbench_latency(pair: Pair) -> Kept:
    """The verdict of `detrbench latency`, as its report has it."""
    asked, file = pair.asked, pair.folder / "report.json"
    file.unlink(missing_ok=True)
    threads = [] if asked.threads is None else ["--threads", str(asked.threads)]
    command = [
        sys.executable,
        "-m",
        "detrbench",
        "latency",
        *(f"{pair.file}:{name}" for name in NAMES),
        "--imgsz",
        str(asked.imgsz),
        *threads,
        "--budget",
        f"{asked.budget:g}",
        "-o",
        str(file),
    ]
    try:
        ended(command)
    except Failed:
        if not file.exists():
            raise
    (compared,) = Report.load(file).comparisons
    return {
        "ratio": compared.ratio,
        "different": None if compared.verdict in UNDECIDED else compared.verdict in CALLED,
        "verdict": compared.verdict,
        "reasons": list(compared.reasons),
        "low": compared.ci_low,
        "high": compared.ci_high,
        "log_ratios": list(compared.process_log_ratios),
    }


WAYS: dict[str, Callable[[Pair], Kept]] = {
    "naive": naive,
    "ultralytics": ultralytics,
    "torch": torch_timer,
    "optimum": optimum,
    "pyperf": pyperf,
    "detrbench": detrbench_latency,
}


# --- telling ----------------------------------------------------------------------


def summary(kept: Kept) -> str:
    """A table of the ways, and every answer of theirs."""
    settings, trials = kept["settings"], kept["trials"]
    if not any(trials):
        return "nothing was measured yet"
    other = "itself"
    if settings["pair"] == "burden":
        known = max(1, round(EFFECT / kept["unit"])) * kept["unit"]
        other = f"itself with {known:.1%} more to do"
    seen = [way for way in settings["ways"] if any(way in trial for trial in trials)]
    by_way = {way: [trial[way] for trial in trials if way in trial] for way in seen}
    return "\n".join(
        [
            f"{settings['model']} against {other} at {settings['imgsz']} pixels, "
            f"load {settings['load']}",
            "",
            "| way | trials | called different | ratio beyond 2 % | sd of the log-ratio "
            "| median seconds |",
            "|---|--:|--:|--:|--:|--:|",
            *(_row(way, records) for way, records in by_way.items()),
            "",
            *(
                f"trial {number}, {way}: {told_of(trial[way])}"
                for number, trial in enumerate(trials, 1)
                for way in trial
            ),
        ]
    )


def _row(way: str, records: Sequence[Mapping[str, Any]]) -> str:
    judged = [each["different"] for each in records if each["different"] is not None]
    ratios = [each["ratio"] for each in records if each["ratio"] is not None]
    silent = len(records) - len(judged)
    called = f"{sum(judged)} of {len(judged)}" + (f", {silent} without answer" if silent else "")
    sd = f"{statistics.stdev(map(math.log, ratios)):.2%}" if len(ratios) > 1 else "n/a"
    seconds = median([each["seconds"] for each in records])
    return (
        f"| {way} | {len(records)} | {called} | {sum(map(beyond, ratios))} of {len(ratios)} "
        f"| {sd} | {seconds:.1f} |"
    )


def told_of(record: Mapping[str, Any]) -> str:
    """An answer in one line."""
    if "failed" in record:
        return f"failed: {record['failed']}, {record['seconds']:.1f} s"
    ratio = "no ratio" if record["ratio"] is None else f"ratio {record['ratio']:.4f}"
    said = {True: "different", False: "not different", None: "no answer"}[record["different"]]
    verdict = f" ({record['verdict']})" if "verdict" in record else ""
    return f"{ratio}, {said}{verdict}, {record['seconds']:.1f} s"


if __name__ == "__main__":
    raise SystemExit(main())
