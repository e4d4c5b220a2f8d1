"""What the measuring itself costs per sample: a step that does nothing, timed like any other.

Prints the median reading of the clock, which is the part of a sample that is not the model's, and
the whole cost of a sample: reading the clock, storing, ordering, collecting. The goal: under 5 us.

    python benchmarks/harness_cost.py
"""

from __future__ import annotations

import time

from detrbench.core.stats import median, quantile
from detrbench.runtimes.clocks import WallClock
from detrbench.timing.rounds import measure_steps
from detrbench.timing.stop_rules import Plan

GOAL_S = 5e-6
ROUNDS = 5_000
REPEATS = 9


class EmptyStep:
    """Nothing, repeatable."""

    def __init__(self) -> None:
        self.clock = WallClock()

    def __call__(self) -> None:
        return None

    def verify(self, outcome: object) -> None:
        return None


def main() -> None:
    whole_s: list[float] = []
    read_s: list[float] = []
    for _ in range(REPEATS):
        whole, read = cost_of_a_sample()
        whole_s.append(whole)
        read_s.extend(read)
    print(f"clock reading of an empty step: median {median(read_s) * 1e6:.3f} us, ", end="")
    print(f"99 % under {quantile(read_s, 0.99) * 1e6:.3f} us ({len(read_s)} samples)")
    print(f"whole cost of a sample: median {median(whole_s) * 1e6:.3f} us, ", end="")
    print(f"{min(whole_s) * 1e6:.3f} to {max(whole_s) * 1e6:.3f} us ({REPEATS} sessions)")
    print(f"goal, under {GOAL_S * 1e6:.0f} us: {'met' if median(whole_s) < GOAL_S else 'missed'}")


def cost_of_a_sample(rounds: int = ROUNDS) -> tuple[float, list[float]]:
    """Seconds per sample of a session of two empty steps, and every reading of the first."""
    short, long = Plan(budget_s=None, rounds=1), Plan(budget_s=None, rounds=rounds + 1)
    begin = time.perf_counter()
    measure_steps([EmptyStep(), EmptyStep()], short)
    between = time.perf_counter()
    series = measure_steps([EmptyStep(), EmptyStep()], long)
    end = time.perf_counter()
    # The short session pays the same start and warm-up, so the difference is the rounds alone.
    return ((end - between) - (between - begin)) / (2 * rounds), series[0].latency_s


if __name__ == "__main__":
    main()
