"""Where do a process's seconds go, and do forked workers scatter as fresh ones do?

A model against its copy, in processes that are started anew and in forks of one that has imported
torch and built the models, in turns, so that both meet the same minutes. Printed are the seconds of
each phase, and the spread of the log-ratio from process to process: were it smaller in forks, their
interval would be too narrow, for something that differs from process to process would not there.

    python benchmarks/start_experiment.py -o start.json              # rtdetr-l at 320 pixels
    python benchmarks/start_experiment.py -o start.json --load 4     # beside busy loops
    python benchmarks/start_experiment.py -o start.json --summary    # what there is
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from busy import busy
from keeping import Kept, arguments, dated, go_on, note, save

from detrbench.core.stats import median, paired_log_ratios
from detrbench.reports.case import Case
from detrbench.reports.parse_cases import make_cases
from detrbench.timing.process import Request
from detrbench.timing.records import Outcome
from detrbench.timing.rounds import Series
from detrbench.timing.selfcheck import case_with_load
from detrbench.timing.starting import Fresh, Start, starting
from detrbench.timing.stop_rules import Plan
from detrbench.timing.supervisor import run_worker

COPY = "copy"
KINDS = ("fresh", "forked")
PHASES = ("import", "build", "first call", "warm-up", "timed", "end")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="rtdetr-l")
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rounds", type=int, default=4, help="timed in each process")
    parser.add_argument("--processes", type=int, default=40, help="of each kind")
    parser.add_argument("--load", type=int, default=0, help="busy loops beside it")
    asked = arguments(parser)
    return go_on(asked, {kind: [] for kind in KINDS}, experiment, summary, ("processes",))


def experiment(asked: argparse.Namespace, kept: Kept) -> None:
    """As many processes of each kind as are still missing."""
    settings = {"imgsz": [(asked.imgsz, asked.imgsz)], "threads": [asked.threads]}
    (case,) = make_cases([asked.model], settings)
    cases = (case, case_with_load(case, COPY, 0))
    with busy(asked.load), starting(cases) as fork:
        while len(kept[KINDS[-1]]) < asked.processes:
            done = len(kept[KINDS[-1]])
            for kind, start in zip(KINDS, (Fresh, fork), strict=True):
                if len(kept[kind]) <= done:
                    kept[kind].append(dated(_measured(cases, start, asked.rounds, done)))
                    save(asked, kept)
            note(f"{done + 1} of {asked.processes}")


def _measured(cases: tuple[Case, ...], start: Start, rounds: int, index: int) -> Kept:
    """One process: its log-ratio, and where its seconds went."""
    # Which is built first takes turns, as in a run.
    request = Request(
        cases[:: 1 if index % 2 else -1], resources=False, plan=Plan(budget_s=None, rounds=rounds)
    )
    with tempfile.TemporaryDirectory(prefix="detrbench-start-") as folder:
        began = time.monotonic()
        outcome = run_worker(request, Path(folder), 1, start=start)
        seconds = time.monotonic() - began
    if outcome.status == "interrupted":
        raise KeyboardInterrupt
    return record(outcome, seconds)


def record(outcome: Outcome, seconds: float) -> Kept:
    """What is kept of an outcome that took its parent so long."""
    measured = outcome.measurement
    if measured is None:
        raise SystemExit(f"a worker failed: {outcome.reason}")
    of = {subject.case: s for subject, s in zip(measured.subjects, measured.series, strict=True)}
    model, copy = (of[name] for name in sorted(of, key=lambda name: name == COPY))
    return {
        "log_ratio": median(paired_log_ratios(model.latency_s, copy.latency_s)),
        "seconds": seconds,
        "phases": phases(measured.series, measured.started_s, seconds),
    }


def phases(serieses: Sequence[Series], started_s: float, seconds: float) -> dict[str, float]:
    """Seconds of each phase; what is left of the start is the import, what is left after the
    rounds the end."""
    build = sum(each.build_s or 0.0 for each in serieses)
    first = sum(each.first["latency_s"] for each in serieses)
    warmup = sum(map(math.fsum, (each.warmup["latency_s"] for each in serieses)))
    timed = sum(map(math.fsum, (each.latency_s for each in serieses)))
    imported = max(0.0, started_s - build - first - warmup)
    told = (imported, build, first, warmup, timed)
    return dict(zip(PHASES, (*told, max(0.0, seconds - sum(told))), strict=True))


def summary(kept: Kept) -> str:
    """A line of phases and of spread for each kind, and the ratio of the spreads."""
    settings = kept["settings"]
    lines = [
        f"{settings['model']} against its copy at {settings['imgsz']} pixels, "
        f"{settings['load']} busy loop(s) beside it; medians, in seconds",
        f"{'workers':<9}{'n':>4}{'all':>8}" + "".join(f"{each:>12}" for each in PHASES),
    ]
    for kind in KINDS:
        if kept[kind]:
            told = [median([each["phases"][phase] for each in kept[kind]]) for phase in PHASES]
            all_s = median([each["seconds"] for each in kept[kind]])
            lines.append(
                f"{kind:<9}{len(kept[kind]):>4}{all_s:>8.2f}" + "".join(f"{s:>12.2f}" for s in told)
            )
    spreads = {}
    for kind in KINDS:
        ratios = [each["log_ratio"] for each in kept[kind]]
        if len(ratios) > 2:
            spreads[kind] = statistics.stdev(ratios)
            lines.append(
                f"{kind}: mean {statistics.fmean(ratios):+.2%}, sd of the log-ratio "
                f"{spreads[kind]:.2%}, by interquartile range {_robust(ratios):.2%}"
            )
    if len(spreads) == len(KINDS):
        share = spreads["forked"] / spreads["fresh"]
        lines.append(f"forked workers scatter {share:.2f} times as far as fresh ones")
    return "\n".join(lines)


def _robust(ratios: Sequence[float]) -> float:
    low, _, high = statistics.quantiles(ratios, n=4)
    return (high - low) / 1.349  # of a normal distribution


if __name__ == "__main__":
    raise SystemExit(main())
