"""How long does a verdict take, in units of the naive script?

The article's pair, in turns: `naive.py`, which builds both models and times one after the other,
and a detrbench command with no options, each as a whole process from its start to its end. Other
loads come and go, so only the ratio of neighbours counts. An answer is right that calls the
ShuffleNetV2 variant faster; where data were too few, it has to say so, name that direction and the
command that goes on.

    python benchmarks/time_to_verdict.py -o latency.json                     # detrbench latency
    python benchmarks/time_to_verdict.py -o demo.json --command run          # what `make demo` runs
    python benchmarks/time_to_verdict.py -o busy.json --load 4 --trials 10   # beside busy loops
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from busy import busy
from keeping import Kept, arguments, dated, go_on, goal, note, save

HERE = Path(__file__).resolve().parent
FASTER = "FASTER"
GOALS = {"latency": 1.0, "run": 1.5}
BUSY_GOAL, BUSY_RIGHT = 2.0, 0.9


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--command", choices=sorted(GOALS), default="latency")
    parser.add_argument("--imgsz", type=int, default=640, help="of latency; run has its suite's")
    parser.add_argument("--load", type=int, default=0, help="busy loops beside both")
    parser.add_argument("--trials", type=int, default=5)
    return go_on(arguments(parser), {"trials": []}, experiment, summary, ("trials",))


def experiment(asked: argparse.Namespace, kept: Kept) -> None:
    """As many trials as are still missing; who begins takes turns."""
    with busy(asked.load):
        while len(kept["trials"]) < asked.trials:
            naive, ours = _naive, _ours
            turns = (naive, ours) if len(kept["trials"]) % 2 == 0 else (ours, naive)
            told: Kept = {}
            for turn in turns:
                told |= turn(asked)
            kept["trials"].append(dated(told))
            save(asked, kept)
            note(f"{len(kept['trials'])} of {asked.trials}: {_line(told)}")


def _naive(asked: argparse.Namespace) -> Kept:
    began = time.monotonic()
    command = [sys.executable, HERE / "naive.py", "--imgsz", str(asked.imgsz)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {"naive_s": time.monotonic() - began, "naive": done.stdout.split()[-1]}


def _ours(asked: argparse.Namespace) -> Kept:
    with tempfile.TemporaryDirectory(prefix="detrbench-verdict-") as folder:
        command = [sys.executable, "-m", "detrbench", asked.command]
        if asked.command == "run":
            file = Path(folder) / "run" / "run.json"
            command += ["article", "-o", str(file.parent)]
        else:
            file = Path(folder) / "run.json"
            command += ["--imgsz", str(asked.imgsz)] if asked.imgsz != 640 else []
            command += ["-o", str(file)]
        began = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.monotonic() - began
        if done.returncode == 130:
            raise KeyboardInterrupt
        (pair,) = json.loads(file.read_text())["comparisons"]
    next_command = [line for line in done.stderr.splitlines() if line.startswith("go on with: ")]
    return {
        "seconds": seconds,
        "verdict": pair["verdict"],
        "reasons": pair["reasons"],
        "ratio": pair["ratio"],
        "processes": len(pair["process_log_ratios"]),
        "next": next_command[-1] if next_command else None,
    }


def right(trial: Kept) -> bool:
    """Whether the answer is true, and of use where it is not yet a verdict."""
    if trial["verdict"] == FASTER:
        return True
    points = any(reason.startswith("faster in") for reason in trial["reasons"])
    return trial["verdict"] in ("TOO FEW", "BUSY") and points and trial["next"] is not None


def _line(trial: Kept) -> str:
    change = "n/a" if trial["ratio"] is None else f"{trial['ratio'] - 1:+.1%}"
    return (
        f"{trial['seconds']:.1f} s of {trial['naive_s']:.1f} s = "
        f"{trial['seconds'] / trial['naive_s']:.2f}, {trial['verdict']} {change} from "
        f"{trial['processes']} processes (naive {trial['naive']})"
    )


def summary(kept: Kept) -> str:
    """A line for each trial, and whether the goals are met."""
    settings, trials = kept["settings"], kept["trials"]
    lines = [
        f"detrbench {settings['command']}, the article's pair, {settings['load']} busy loop(s)",
        *map(_line, trials),
    ]
    if not trials:
        return lines[0]
    middle = statistics.median(each["seconds"] / each["naive_s"] for each in trials)
    wanted = BUSY_GOAL if settings["load"] else GOALS[settings["command"]]
    met = sum(map(right, trials))
    enough = met >= BUSY_RIGHT * len(trials) if settings["load"] else met == len(trials)
    lines.append(
        goal(f"median {middle:.2f} of the naive script's time", middle <= wanted, f"{wanted}")
    )
    lines.append(goal(f"{met} of {len(trials)} answers are right", enough, "9 of 10"))
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
