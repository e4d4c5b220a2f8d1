"""Does the protocol keep its promise? A/A comparisons on a disturbed machine, by it and without it.

In turns, so that both meet the same minutes:

    protocol    a model against an identical copy, as `detrbench latency` does it
    sequential  all processes of the model, then all of the copy, with the same time and statistics

while a load is switched on and off. Then, with the load off, the model against itself with 5 % more
to do. Every trial is on disk before the next begins; the same command goes on where it was cut.

    python benchmarks/protocol_experiment.py -o experiment.json                 # about 44 minutes
    python benchmarks/protocol_experiment.py -o experiment.json --total 900     # in 15 minutes
    python benchmarks/protocol_experiment.py -o experiment.json --summary       # what there is
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from busy import busy
from keeping import Kept, arguments, dated, go_on, goal, note, save

from detrbench.core.stats import mean_interval, median, welch_interval
from detrbench.reports.case import Case
from detrbench.reports.parse_cases import make_cases
from detrbench.reports.verdicts import Verdict, judge
from detrbench.timing.plan import Budget
from detrbench.timing.process import Request
from detrbench.timing.replication import Run, replicate
from detrbench.timing.selfcheck import case_with_load, share_of_a_unit

NAIVE = Path(__file__).with_name("naive.py")
COPY, BURDENED = "copy", "burdened"
EFFECT, SPREAD = 0.05, 0.15
SIZING = 4
"""Times as long as a comparison: what the size of a burden is wrong by, all that follow are."""


def main() -> int:
    empty: Kept = {"unit": None, "protocol": [], "sequential": [], "injected": []}
    return go_on(
        _arguments(), empty, _experiment, summary, numbers=("trials", "sequential", "injected")
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="rtdetr-l")
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--trials", type=int, default=20, help="A/A comparisons of each design")
    parser.add_argument("--sequential", type=int, help="of those, in the sequential way as well")
    parser.add_argument("--injected", type=int, default=10, help="comparisons with 5 %% more work")
    parser.add_argument("--budget", type=float, default=45.0, help="seconds of a comparison")
    parser.add_argument(
        "--naive",
        type=float,
        metavar="TIMES",
        help="comparisons with more work take so many times a run of naive.py just before each",
    )
    parser.add_argument("--total", type=float, help="seconds for everything, instead of --budget")
    parser.add_argument("--load", type=int, default=2, help="busy processes, while the load is on")
    parser.add_argument("--load-seconds", type=float, nargs=2, default=(5.0, 40.0),
                        help="shortest and longest time on, and off")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)
    return arguments(parser)


# --- running ----------------------------------------------------------------------------------


def _experiment(asked: argparse.Namespace, kept: Kept) -> None:
    sequential = asked.trials if asked.sequential is None else asked.sequential
    wanted = {"protocol": asked.trials, "sequential": sequential}
    comparisons = sum(wanted.values()) + asked.injected + (SIZING if asked.injected else 0)
    budget_s = asked.total / comparisons if asked.total else asked.budget
    settings = {"imgsz": [(asked.imgsz, asked.imgsz)], "threads": [asked.threads]}
    (case,) = make_cases([asked.model], settings)
    designs: dict[str, Callable[[Case, float], dict[str, Any]]] = {
        "protocol": _protocol,
        "sequential": _sequential,
    }
    with busy(asked.load, asked.load_seconds, asked.seed):
        for trial in range(asked.trials):
            # Which design begins takes turns as well.
            for name in list(designs)[:: 1 if trial % 2 == 0 else -1]:
                if len(kept[name]) <= trial < wanted[name]:
                    note(f"{name} {trial + 1} of {wanted[name]}")
                    kept[name].append(dated(designs[name](case, budget_s)))
                    save(asked, kept)
    if asked.injected and kept["unit"] is None:
        note("size of a burden")
        kept["unit"] = share_of_a_unit(
            case,
            SIZING * budget_s,
            lambda others, seconds, name: _run((case, *others), seconds),
        )
        save(asked, kept)
    while len(kept["injected"]) < asked.injected:
        note(f"injected {len(kept['injected']) + 1} of {asked.injected}")
        units = max(1, round(EFFECT / kept["unit"]))
        told: dict[str, Any] = {"known": units * kept["unit"]}
        if asked.naive is not None:
            told["naive_s"] = naive_s(asked)
            budget_s = asked.naive * told["naive_s"]
        run = _run((case, case_with_load(case, BURDENED, units)), budget_s)
        record = _of_pair(run.log_ratios(BURDENED), run)
        kept["injected"].append(dated({**record, **told}))
        save(asked, kept)


def _protocol(case: Case, budget_s: float) -> dict[str, Any]:
    run = _run((case, case_with_load(case, COPY, 0)), budget_s)
    return _of_pair(run.log_ratios(COPY), run)


def _sequential(case: Case, budget_s: float) -> dict[str, Any]:
    """All of A in half of the time, then all of B in the other half, each in fresh processes."""
    began = time.monotonic()
    first = _run((case,), budget_s / 2)
    second = _run((case_with_load(case, COPY, 0),), budget_s / 2)
    a, b = _log_medians(first, case.name), _log_medians(second, COPY)
    interval = welch_interval(a, b)
    return {
        "log_ratio": statistics.fmean(b) - statistics.fmean(a) if a and b else None,
        "low": interval and interval.low,
        "high": interval and interval.high,
        "log_medians": [a, b],
        "processes": len(a) + len(b),
        "seconds": time.monotonic() - began,
    }


def _run(cases: tuple[Case, ...], budget_s: float) -> Run:
    with tempfile.TemporaryDirectory(prefix="detrbench-experiment-") as folder:
        run = replicate(Request(cases), Budget(budget_s=budget_s, early=False), Path(folder))
    if run.stopped == "interrupted":
        raise KeyboardInterrupt
    return run


def _of_pair(log_ratios: list[float], run: Run) -> dict[str, Any]:
    interval = mean_interval(log_ratios, run.alpha)
    return {
        "log_ratio": statistics.fmean(log_ratios) if log_ratios else None,
        "low": interval and interval.low,
        "high": interval and interval.high,
        "log_ratios": log_ratios,
        "processes": len(run.finished),
        "seconds": sum(outcome.took_s for outcome in run.outcomes),
    }


def naive_s(asked: argparse.Namespace) -> float:
    """Seconds of the naive script from its start to its end, of the model against itself."""
    began = time.monotonic()
    command = [sys.executable, str(NAIVE), asked.model, asked.model, "--imgsz", str(asked.imgsz)]
    command += [] if asked.threads is None else ["--threads", str(asked.threads)]
    subprocess.run(command, capture_output=True, check=True)
    return time.monotonic() - began


def _log_medians(run: Run, model: str) -> list[float]:
    serieses = [run.series(outcome, model) for outcome in run.finished]
    return [math.log(median(series.latency_s)) for series in serieses if series is not None]


# --- telling ----------------------------------------------------------------------


def summary(kept: Kept) -> str:
    """Spread, false alarms and detections, and whether they are what is wanted."""
    settings = kept["settings"]
    lines = [
        f"{settings['model']} against itself at {settings['imgsz']} pixels, "
        f"{settings['load']} busy process(es) switched on and off together",
        f"{'design':<12}{'trials':>7}{'processes':>11}{'seconds':>9}{'sd of log-ratio':>17}"
        f"{'ratios':>18}{'intervals beside 0':>20}",
        *(_design_line(name, kept[name]) for name in ("protocol", "sequential")),
    ]
    spread = {name: _sd(kept[name]) for name in ("protocol", "sequential")}
    if spread["protocol"] is not None and spread["sequential"]:
        share = spread["protocol"] / spread["sequential"]
        lines.append(
            goal(f"sd is {share:.2f} of the sequential one's", share <= SPREAD, f"{SPREAD}")
        )
    verdicts = [judge(each["log_ratios"]).verdict for each in kept["protocol"]]
    if verdicts:
        false = sum(verdict in (Verdict.FASTER, Verdict.SLOWER) for verdict in verdicts)
        told = ", ".join(f"{n} {name}" for name, n in Counter(v.value for v in verdicts).items())
        lines.append(
            goal(
                f"{false} of {len(verdicts)} verdicts on equal models are false ({told})",
                false <= 0.05 * len(verdicts),
                "5 %",
            )
        )
    injected = [each for each in kept["injected"] if each["low"] is not None]
    if injected:
        found = sum(each["low"] > 0 for each in injected)
        known = injected[0]["known"]
        middle = math.expm1(statistics.median(each["log_ratio"] for each in injected))
        lines.append(
            goal(
                f"{known:.1%} more work, load off: found in {found} of {len(injected)}, "
                f"median {middle:+.1%}",
                found >= 0.9 * len(injected),
                "9 of 10",
            )
        )
    return "\n".join(lines)


def _design_line(name: str, records: list[dict[str, Any]]) -> str:
    there = [each for each in records if each["log_ratio"] is not None]
    if not there:
        return f"{name:<12}{len(records):>7}"
    ratios = [math.exp(each["log_ratio"]) for each in there]
    judged = [each for each in there if each["low"] is not None]
    processes = statistics.fmean(each["processes"] for each in there)
    seconds = statistics.fmean(each["seconds"] for each in there)
    sd = _sd(records)
    return (
        f"{name:<12}{len(there):>7}{processes:>11.1f}{seconds:>9.1f}"
        f"{'n/a' if sd is None else f'{sd:.2%}':>17}"
        f"{f'{min(ratios):.3f} - {max(ratios):.3f}':>18}"
        f"{f'{sum(map(_excludes_zero, judged))} of {len(judged)}':>20}"
    )


def _sd(records: list[dict[str, Any]]) -> float | None:
    ratios = [each["log_ratio"] for each in records if each["log_ratio"] is not None]
    return statistics.stdev(ratios) if len(ratios) > 1 else None


def _excludes_zero(record: dict[str, Any]) -> bool:
    return not record["low"] <= 0 <= record["high"]


if __name__ == "__main__":
    raise SystemExit(main())
