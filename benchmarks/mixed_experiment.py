"""Does a case disturb its neighbours? A model against its copy, other runtimes between them.

Cases of other runtimes share the rounds of a run. If one left the processor, its caches or the
process's threads in a state that the next one pays for, the copy would differ from the model, or
scatter more. So each trial is two runs, in turns first: with those cases between, and of the two
alone; each in fresh processes, and on disk before the next begins. The same command goes on where
it was cut.

    python benchmarks/mixed_experiment.py -o mixed.json                  # rtdetr-l at 160 pixels
    python benchmarks/mixed_experiment.py -o spinning.json --between runtime=onnxruntime \\
        runtime=openvino                                                 # whose threads spin
    python benchmarks/mixed_experiment.py -o mixed.json --summary        # what there is
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
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
WIDER = 1.2  # that an interval may be for its neighbours


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="rtdetr-l")
    parser.add_argument("--imgsz", type=int, default=160)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument(
        "--between", nargs="+", default=["runtime=compile"], help="settings of each case between"
    )
    parser.add_argument("--processes", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=20)
    asked = arguments(parser)
    return go_on(asked, {"trials": []}, experiment, summary, ("trials",))


def experiment(asked: argparse.Namespace, kept: Kept) -> None:
    """As many trials as are still missing."""
    while len(kept["trials"]) < asked.trials:
        began = time.monotonic()
        turns = (asked.between, []) if len(kept["trials"]) % 2 == 0 else ([], asked.between)
        runs = {bool(between): compared(asked, between) for between in turns}
        told = record(runs[True], runs[False], time.monotonic() - began)
        kept["trials"].append(dated(told))
        save(asked, kept)
        note(f"{len(kept['trials'])} of {asked.trials}: {told['verdict']} {told['ratio']}")


def compared(asked: argparse.Namespace, between: Sequence[str]) -> Report:
    """The model, the cases between and the copy, in that order, in the same rounds."""
    others = (f"{asked.model}@{each}" for each in between)
    names = [asked.model, *others, f"{asked.model}@name={COPY}"]
    settings: dict[str, list[Any]] = {"imgsz": [(asked.imgsz, asked.imgsz)]}
    if asked.threads is not None:
        settings["threads"] = [asked.threads]
    with tempfile.TemporaryDirectory(prefix="detrbench-mixed-") as folder:
        report = latency(
            make_cases(names, settings),
            budget_s=None,
            processes=asked.processes,
            rounds=asked.rounds,
            early=False,
            folder=folder,
        )
    if report.exit_code == 130:
        raise KeyboardInterrupt
    return report


def record(report: Report, alone: Report, took_s: float) -> Kept:
    """What a trial says of the copy, of the cases between, and of the copy without them."""
    first = report.rows[0]
    *between, copy = (pair for pair in report.comparisons if pair.baseline.is_of(first))
    (by_itself,) = alone.comparisons
    return {
        **_told(copy),
        "between": list(map(_told, between)),
        "alone": _told(by_itself),
        "took_s": took_s,
    }


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
    """The verdicts on the copy, and how wide its intervals are, against the goals."""
    trials, settings = kept["trials"], kept["settings"]
    if not trials:
        return "nothing was measured yet"
    calm = sum(one["verdict"] in CALM for one in trials)
    alone = [one["alone"] for one in trials]
    widths = [_width(one) / _width(one["alone"]) for one in trials if _width(one["alone"])]
    wider = median(widths) if widths else math.inf
    lines = [
        f"{settings['model']} against its copy at {settings['imgsz']} pixels, "
        f"{' and '.join(settings['between'])} between them, "
        f"{settings['processes']} processes of {settings['rounds']} rounds:",
        f"  {_verdicts(trials)}; alone {_verdicts(alone)}",
        f"  ratios of the copy {_range(trials)}; alone {_range(alone)}",
        f"  median half-width {_half_width(trials)}; alone {_half_width(alone)}",
    ]
    lines += [
        f"  {name}: {_range([one['between'][index] for one in trials])}"
        for index, name in enumerate(settings["between"])
    ]
    said = f"{calm} of {len(trials)} are {' or '.join(CALM)}"
    lines.append("  " + goal(said, len(trials) - calm <= MOST_FALSE, f"all but {MOST_FALSE} of 20"))
    said = f"intervals are {wider:.2f} times as wide as alone, in the middle"
    lines.append("  " + goal(said, wider <= WIDER, f"{WIDER}"))
    return "\n".join(lines)


def _verdicts(pairs: Sequence[Kept]) -> str:
    counts = Counter(one["verdict"] for one in pairs)
    return ", ".join(f"{counts[each]} {each}" for each in sorted(counts))


def _range(pairs: Sequence[Kept]) -> str:
    ratios = sorted(one["ratio"] for one in pairs if one["ratio"])
    return f"{ratios[0]:.4f} to {ratios[-1]:.4f}" if ratios else "none"


def _width(pair: Kept) -> float:
    return float(pair["ci_high"] - pair["ci_low"]) if pair["ci_high"] else 0.0


def _half_width(pairs: Sequence[Kept]) -> str:
    return f"{50 * median([_width(one) for one in pairs]):.2f} %"


if __name__ == "__main__":
    raise SystemExit(main())
