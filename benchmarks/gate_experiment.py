"""Does the gate cry wolf, or sleep? `detrbench gate --rev` on changes whose effect is known.

In a git repository of its own, with a copy of a real model:

    nothing   the working tree differs by a comment: a failure (exit code 1) is a false alarm
    slower    the neck got so many layers more that the model takes 10 % longer: anything but a
              failure is a miss

Each trial is one command line, as continuous integration would run it. Every trial is on disk
before the next begins; the same command goes on where it was cut.

    python benchmarks/gate_experiment.py -o gate.json                # about an hour
    python benchmarks/gate_experiment.py -o gate.json --summary      # what there is
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from keeping import Kept, arguments, dated, go_on, goal, note, save

from detrbench.models.catalog import find_model
from detrbench.reports.report import Report
from detrbench.timing.measuring import latency

EFFECT = 0.10
TRIAL_LAYERS = 24
"""Layers of the version that says how much one of them takes: noise has to be little beside."""

# A row of the neck at stride 16, in every model with rtdetr-l's neck, and how often it repeats.
_ROW = re.compile(r"\[-1, (\d+), RepC3, \[256\]\](?=  # \d+-P4/16, fused bottom-up)")

OUTCOMES = {0: "pass", 1: "regression", 2: "usage", 3: "inconclusive", 4: "invalid"}


def main() -> int:
    empty: Kept = {"layers": {}, "nothing": [], "slower": []}
    return go_on(_arguments(), empty, _experiment, summary, numbers=("trials", "slower"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=["rtdetr-l", "shufflev2"])
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--trials", type=int, default=40, help="with nothing changed")
    parser.add_argument("--slower", type=int, default=10, help="with a slower neck")
    parser.add_argument("--budget", type=float, default=100.0, help="seconds of all its runs")
    parser.add_argument("--limit", default="5%", help="--max-latency-increase")
    return arguments(parser)


# --- running ----------------------------------------------------------------------------------


def _experiment(asked: argparse.Namespace, kept: Kept) -> None:
    with tempfile.TemporaryDirectory(prefix="detrbench-gate-") as folder:
        repository = Path(folder)
        _commit(repository, asked.models)
        # The two kinds take turns, so that both meet the same hours.
        for trial in range(max(asked.trials, asked.slower)):
            model = asked.models[trial % len(asked.models)]
            for kind, wanted in (("nothing", asked.trials), ("slower", asked.slower)):
                if trial < wanted and len(kept[kind]) <= trial:
                    layers = _layers(asked, kept, repository, model) if kind == "slower" else 0
                    note(f"{kind} {trial + 1} of {wanted}, {model}")
                    kept[kind].append(dated(_trial(asked, repository, model, layers)))
                    save(asked, kept)


def _commit(repository: Path, models: list[str]) -> None:
    for model in models:
        shutil.copy(find_model(model), repository / f"{model}.yaml")
    git = ["git", "-C", str(repository), "-c", "user.name=gate", "-c", "user.email=gate@localhost"]
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "base"]):
        subprocess.run([*git, *words], check=True)


def _trial(asked: argparse.Namespace, repository: Path, model: str, layers: int) -> dict[str, Any]:
    file, run = repository / f"{model}.yaml", repository / "run.json"
    policy = repository / "policy.yaml"
    # Only time is on trial: the slower neck would fail by its parameters alone.
    counts = ("params", "flops", "memory_access_elements", "traffic_eager_bytes",
              "traffic_fused_bytes", "peak_activation_bytes", "kernels")  # fmt: skip
    policy.write_text("max_increase: {" + ", ".join(f"{count}: any" for count in counts) + "}\n")
    file.write_text(with_layers(find_model(model).read_text(), layers) + "# changed\n")
    began = time.monotonic()
    command = [
        sys.executable, "-m", "detrbench", "gate", "--rev", "HEAD", str(file), "--imgsz",
        str(asked.imgsz), "--budget", f"{asked.budget:g}", "--max-latency-increase", asked.limit,
        "--policy", str(policy), "--run", str(run), "--format", "json",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - began
    shutil.copy(find_model(model), file)
    comparisons = Report.load(run).comparisons if run.exists() else ()
    run.unlink(missing_ok=True)
    return {
        "model": model,
        "layers": layers,
        "exit_code": done.returncode,
        "seconds": seconds,
        "runs": [
            {name: getattr(pair, name) for name in ("ratio", "ci_low", "ci_high", "verdict")}
            | {"reasons": list(pair.reasons), "processes": len(pair.process_log_ratios)}
            for pair in comparisons
        ],
        "said": done.stderr.strip().splitlines()[-4:] if done.returncode not in (0, 1, 3) else [],
    }


def with_layers(text: str, layers: int) -> str:
    """A model file's text with so many layers more in the neck."""
    if not layers:
        return text
    match = _ROW.search(text)
    assert match is not None, "the model has another neck"
    row = f"[-1, {int(match[1]) + layers}, RepC3, [256]]"
    return text[: match.start()] + row + text[match.end() :]


def _layers(asked: argparse.Namespace, kept: Kept, repository: Path, model: str) -> int:
    """How many layers more take EFFECT of the model's time, found by timing it once."""
    if model not in kept["layers"]:
        note(f"size of a layer, {model}")
        slower = repository / f"{model}-trial.yaml"
        slower.write_text(with_layers(find_model(model).read_text(), TRIAL_LAYERS))
        report = latency(
            [str(repository / f"{model}.yaml"), str(slower)],
            imgsz=asked.imgsz,
            budget_s=2 * asked.budget,
            early=False,
        )
        ratio = report.comparisons[0].ratio
        if ratio is None:
            raise SystemExit(f"{model} could not be timed: {report.comparisons[0].reasons}")
        each = (ratio - 1) / TRIAL_LAYERS
        if each <= 0:
            raise SystemExit(f"{TRIAL_LAYERS} layers more make {model} no slower: {ratio:.3f}")
        # Rounded up: the effect is to be at least what it is called.
        layers = -int(-EFFECT // each)
        kept["layers"][model] = {"each": each, "layers": layers, "effect": layers * each}
        save(asked, kept)
    return int(kept["layers"][model]["layers"])


# --- telling ----------------------------------------------------------------------


def summary(kept: Kept) -> str:
    """How the trials ended, and whether that is what is wanted."""
    settings = kept["settings"]
    lines = [
        f"gate --rev on {', '.join(settings['models'])} at {settings['imgsz']} pixels, "
        f"--max-latency-increase {settings['limit']}, --budget {settings['budget']:g}",
        *(
            f"{model}: {found['layers']} layers more in the neck, {found['effect']:+.1%} when sized"
            for model, found in kept["layers"].items()
        ),
        f"{'changed':<10}{'trials':>7}{'ratios':>16}{'median':>9}{'seconds':>9}  exit codes",
        *(_line(kind, kept[kind]) for kind in ("nothing", "slower")),
    ]
    if kept["nothing"]:
        false = sum(each["exit_code"] == 1 for each in kept["nothing"])
        trials = len(kept["nothing"])
        lines.append(
            goal(f"{false} of {trials} with nothing changed fail", 20 * false <= trials, "2 of 40")
        )
    if kept["slower"]:
        found = sum(each["exit_code"] == 1 for each in kept["slower"])
        trials = len(kept["slower"])
        lines.append(goal(f"{found} of {trials} slower ones fail", found == trials, "all"))
    return "\n".join(lines)


def _line(kind: str, trials: list[dict[str, Any]]) -> str:
    ratios = [each["runs"][0]["ratio"] for each in trials if each["runs"]]
    if not ratios:
        return f"{kind:<10}{len(trials):>7}"
    codes = [each["exit_code"] for each in trials]
    told = ", ".join(f"{codes.count(code)} {name}" for code, name in OUTCOMES.items()
                     if code in codes)  # fmt: skip
    others = sum(code not in OUTCOMES for code in codes)
    told += f", {others} other" if others else ""
    seconds = statistics.median(each["seconds"] for each in trials)
    return (
        f"{kind:<10}{len(trials):>7}{f'{min(ratios):.3f} - {max(ratios):.3f}':>16}"
        f"{statistics.median(ratios):>9.3f}{seconds:>9.1f}  {told}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
