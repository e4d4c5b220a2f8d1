"""How often do verdicts err, and what do they find? Runs are drawn, not measured.

Every run is looked at as `detrbench latency` looks: after three, four and five processes, after
each from six on, at the end as it was planned; and once more after as many processes again, for who
goes on with a run that found nothing. The noise of a process's log-ratio is drawn from everything
that machines have been seen to do, and some things that they have not.

    python benchmarks/verdict_simulation.py                    # about a minute
    python benchmarks/verdict_simulation.py --runs 2000        # in seconds
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Callable, Sequence

from detrbench.reports.verdicts import MARGIN, Judgement, Verdict, judge
from detrbench.timing.plan import Budget, interim_alpha, last_alpha, may_look

Noise = Callable[[random.Random, int], list[float]]
"""The log-ratios of so many processes, with a spread of about one."""

SDS = (0.005, 0.01, 0.02, 0.04)
PLANNED = (3, 4, 6, 8, 12, 20)
EFFECTS = (0.03, 0.05, 0.10, 0.20, 0.50)
DIFFERENT = (Verdict.FASTER, Verdict.SLOWER)


def _normal(draw: random.Random, n: int) -> list[float]:
    return [draw.gauss(0, 1) for _ in range(n)]


def _heavy(draw: random.Random, n: int) -> list[float]:
    """Student's t with three degrees of freedom, of sd one."""
    return [
        draw.gauss(0, 1) / math.sqrt(sum(draw.gauss(0, 1) ** 2 for _ in range(3))) for _ in range(n)
    ]


def _two_modes(draw: random.Random, n: int) -> list[float]:
    """As when memory falls into place in one of two ways."""
    return [draw.choice((-1, 1)) + draw.gauss(0, 0.1) for _ in range(n)]


def _rare(draw: random.Random, n: int) -> list[float]:
    """One process of ten is far off, always to the same side."""
    return [draw.gauss(0, 0.4) + 3.2 * (draw.random() < 0.1) - 0.32 for _ in range(n)]


def _skewed(draw: random.Random, n: int) -> list[float]:
    return [(math.exp(0.8 * draw.gauss(0, 1)) - math.exp(0.32)) / 1.3 for _ in range(n)]


def _drift(draw: random.Random, n: int) -> list[float]:
    """A slope over the run, from one spread on one side to one on the other."""
    slope = draw.choice((-1, 1))
    return [draw.gauss(0, 0.8) + slope * (2 * i / max(1, n - 1) - 1) for i in range(n)]


def _dependent(draw: random.Random, n: int) -> list[float]:
    """Each process resembles the one before."""
    found = [draw.gauss(0, 1)]
    while len(found) < n:
        found.append(0.3 * found[-1] + math.sqrt(1 - 0.09) * draw.gauss(0, 1))
    return found


NOISES: dict[str, Noise] = {
    "normal": _normal,
    "heavy tails": _heavy,
    "two modes": _two_modes,
    "one of ten far off": _rare,
    "skewed": _skewed,
    "drift": _drift,
    "dependent": _dependent,
}


def looked_at(ratios: Sequence[float], planned: int) -> tuple[Judgement, int]:
    """The judgement that ends a run whose processes say `ratios`, and after how many of them."""
    for done in range(1, planned + 1):
        if may_look(done, planned):
            found = judge(ratios[:done], alpha=interim_alpha(planned))
            if found.verdict.final:
                return found, done
    return judge(ratios[:planned], alpha=last_alpha(planned)), planned


def gone_on(ratios: Sequence[float], planned: int) -> tuple[Judgement, int]:
    """The same of someone who doubles a run that left it open."""
    found, done = looked_at(ratios, planned)
    if found.verdict.final or len(ratios) < 2 * planned:
        return found, done
    alpha = last_alpha(2 * planned, Budget(extended=int(planned >= 6)))
    return judge(ratios[: 2 * planned], alpha=alpha), 2 * planned


def false_alarms(noise: Noise, sd: float, planned: int, runs: int, seed: int) -> float:
    """Share of runs that call equal models different, gone on with where they leave it open."""
    draw, wrong = random.Random(seed), 0
    for _ in range(runs):
        ratios = [sd * each for each in noise(draw, 2 * planned)]
        wrong += gone_on(ratios, planned)[0].verdict in DIFFERENT
    return wrong / runs


def power(effect: float, sd: float, planned: int, runs: int, seed: int) -> tuple[float, float]:
    """Share of runs that find a model slower by `effect`, and how many processes they take."""
    draw, right, processes = random.Random(seed), 0, 0
    for _ in range(runs):
        ratios = [math.log1p(effect) + sd * each for each in _normal(draw, planned)]
        found, done = looked_at(ratios, planned)
        right += found.verdict is Verdict.SLOWER
        processes += done
    return right / runs, processes / runs


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=4000, help="of each line")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    print(f"Equal models called different, margin {MARGIN:.0%}, {asked.runs} runs each, worst of")
    print(f"{', '.join(map(str, PLANNED))} planned processes, doubled where they leave it open:")
    print(f"{'noise of a process':<20}" + "".join(f"{f'sd {sd:.1%}':>10}" for sd in SDS))
    worst = 0.0
    for name, noise in NOISES.items():
        found = [
            max(false_alarms(noise, sd, planned, asked.runs, asked.seed) for planned in PLANNED)
            for sd in SDS
        ]
        worst = max(worst, *found)
        print(f"{name:<20}" + "".join(f"{share:>10.2%}" for share in found))
    print(f"worst {worst:.2%}: {'met' if worst <= 0.05 else 'missed'} (goal 5 %)")
    print("\nFound, and mean processes until then, of 12 planned; normal noise:")
    print(f"{'slower by':<12}" + "".join(f"{f'sd {sd:.1%}':>16}" for sd in SDS))
    for effect in EFFECTS:
        told = [power(effect, sd, 12, asked.runs // 4, asked.seed) for sd in SDS]
        cells = (f"{right:.0%} in {processes:.1f}" for right, processes in told)
        print(f"{effect:<12.0%}" + "".join(f"{cell:>16}" for cell in cells))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
