"""Does a case disturb its neighbours? A model against its copy, a compiled case between them.

Cases of other runtimes share the rounds of a run. If one left the processor, its caches or the
process's threads in a state that the next one pays for, the copy would differ from the model. Every
trial is a run of its own, in fresh processes, and on disk before the next begins; the same command
goes on where it was cut.

    python benchmarks/mixed_experiment.py -o mixed.json                  # rtdetr-l at 160 pixels
    python benchmarks/mixed_experiment.py -o mixed.json --summary        # what there is
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from keeping import Kept, arguments, dated, go_on, goal, note, save

from detrbench.core.stats import median
from detrbench.reports.comparison import Comparison
from detrbench.reports.parse_cases import make_cases
from detrbench.reports.report import Report
from detrbench.timing.measuring import latency

COPY = "copy"
CALM = ("EQUIVALENT", "INCONCLUSIVE")
MOST_FALSE = 1  # of 20: what 5 % allow


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="rtdetr-l")
    parser.add_argument("--imgsz", type=int, default=160)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--between", default="runtime=compile", help="settings of the case between")
    parser.add_argument("--processes", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=20)
    asked = arguments(parser)
    return go_on(asked, {"trials": []}, experiment, summary, ("trials",))


def experiment(asked: argparse.Namespace, kept: Kept) -> None:
    """As many trials as are still missing."""
    while len(kept["trials"]) < asked.trials:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="detrbench-mixed-") as folder:
            report = compared(asked, Path(folder))
        if report.exit_code == 130:
            raise KeyboardInterrupt
        kept["trials"].append(dated(record(report, time.monotonic() - began)))
        save(asked, kept)
        last = kept["trials"][-1]
        note(f"{len(kept['trials'])} of {asked.trials}: {last['verdict']} {last['ratio']}")


def compared(asked: argparse.Namespace, folder: Path) -> Report:
    """The model, the case between and the copy, in that order, in the same rounds."""
    names = [asked.model, f"{asked.model}@{asked.between}", f"{asked.model}@name={COPY}"]
    settings: dict[str, list[Any]] = {"imgsz": [(asked.imgsz, asked.imgsz)]}
    if asked.threads is not None:
        settings["threads"] = [asked.threads]
    return latency(
        make_cases(names, settings),
        budget_s=None,
        processes=asked.processes,
        rounds=asked.rounds,
        early=False,
        folder=folder,
    )


def record(report: Report, took_s: float) -> Kept:
    """What a trial says of the copy, and of the case between."""
    between, copy = report.comparisons
    return {**_told(copy), "between": _told(between), "took_s": took_s}


def _told(pair: Comparison) -> Kept:
    return {
        "verdict": pair.verdict,
        "ratio": pair.ratio,
        "ci_low": pair.ci_low,
        "ci_high": pair.ci_high,
        "reasons": list(pair.reasons),
        "process_log_ratios": list(pair.process_log_ratios),
    }


def summary(kept: Kept) -> str:
    """The verdicts on the copy, against the goal."""
    trials = kept["trials"]
    if not trials:
        return "nothing was measured yet"
    verdicts = [one["verdict"] for one in trials]
    calm = sum(verdict in CALM for verdict in verdicts)
    counts = ", ".join(f"{verdicts.count(each)} {each}" for each in sorted(set(verdicts)))
    widths = [100 * (one["ci_high"] - one["ci_low"]) / 2 for one in trials if one["ci_high"]]
    ratios = sorted(one["ratio"] for one in trials if one["ratio"])
    between = sorted(one["between"]["ratio"] for one in trials if one["between"]["ratio"])
    settings = kept["settings"]
    return "\n".join(
        [
            f"{settings['model']} against its copy at {settings['imgsz']} pixels, "
            f"{settings['model']}@{settings['between']} between them, "
            f"{settings['processes']} processes of {settings['rounds']} rounds:",
            f"  {counts}; median half-width {median(widths):.2f} %" if widths else f"  {counts}",
            f"  ratios of the copy {ratios[0]:.4f} to {ratios[-1]:.4f}" if ratios else "",
            f"  ratios of the case between {between[0]:.3f} to {between[-1]:.3f}"
            if between
            else "",
            "  " + goal(
                f"{calm} of {len(trials)} are {' or '.join(CALM)}",
                len(trials) - calm <= MOST_FALSE,
                f"all but {MOST_FALSE} of 20",
            ),
        ]
    )  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
