"""Paired speed ratios against the peers. Run with detrbench's own Python (see README.md).

Whole processes are timed in turn, A B B A ..., and the median of the paired ratios is printed: the
machine's drift cancels within a pair. The forward passes are interleaved within one process of the
peers' environment, both models holding the same weights.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
PEER = HERE / ".venv" / "bin" / "python"
ROOT = HERE.parents[1]

PEER_COUNT = """
import torch
from torch.utils.flop_counter import FlopCounterMode
from ultralytics.nn.tasks import RTDETRDetectionModel
model = RTDETRDetectionModel("rtdetr-l.yaml", nc=80, verbose=False).eval()
with torch.no_grad(), FlopCounterMode(display=False) as counter:
    model(torch.rand(1, 3, 640, 640))
print(counter.get_total_flops())
"""

TWO_COMMANDS = """
import typer
app = typer.Typer()
@app.command()
def one() -> None: ...
@app.command()
def two() -> None: ...
app()
"""


def paired(a: Callable[[], float], b: Callable[[], float], pairs: int) -> list[tuple[float, float]]:
    """Seconds of A and B, each pair back to back, the order alternating; one warm-up of each."""
    a(), b()
    found = []
    for i in range(pairs):
        if i % 2:
            y, x = b(), a()
        else:
            x, y = a(), b()
        found.append((x, y))
    return found


def process(*command: str | Path) -> Callable[[], float]:
    """How long a whole process takes, in seconds."""

    def run() -> float:
        start = time.perf_counter()
        subprocess.run(list(map(str, command)), check=True, capture_output=True, cwd=ROOT)
        return time.perf_counter() - start

    return run


def report(title: str, goal: float, pairs: Sequence[tuple[float, float]]) -> bool:
    """Print one ratio with its spread, and whether it meets the goal."""
    ratios = sorted(x / y for x, y in pairs)
    ratio = median(ratios)
    low, high = ratios[0], ratios[-1]
    a, b = (median(column) for column in zip(*pairs, strict=True))
    met = ratio <= goal
    print(
        f"{title}\n"
        f"  ratio {ratio:.3f} [{low:.3f}-{high:.3f}] over {len(pairs)} pairs, goal at most "
        f"{goal:.2f}: {'met' if met else 'MISSED'}; medians {a:.3f} s and {b:.3f} s",
        flush=True,
    )
    return met


def forward_pairs(pairs: int) -> list[tuple[float, float]]:
    """Our forward and the peer's on the same weights, timed in the peers' environment."""
    code = (
        f"import sys; sys.path[:0] = [{str(HERE)!r}]; import speed; speed.print_forwards({pairs})"
    )
    done = subprocess.run([str(PEER), "-c", code], check=True, capture_output=True, text=True)
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("pair ")]
    return [(float(x), float(y)) for _, x, y in lines]


def print_forwards(pairs: int) -> None:
    """Inside the peers' environment: a line `pair OURS THEIRS` in seconds for each pair."""
    sys.path.insert(0, str(ROOT))
    import torch
    from ultralytics.nn.tasks import RTDETRDetectionModel

    from detrbench.models.builder import build

    theirs = RTDETRDetectionModel("rtdetr-l.yaml", nc=80, verbose=False).eval()
    ours = build("rtdetr-l", 80)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    images = torch.rand(1, 3, 640, 640)

    def timed(model: torch.nn.Module) -> Callable[[], float]:
        def run() -> float:
            start = time.perf_counter()
            model(images)
            return time.perf_counter() - start

        return run

    with torch.inference_mode():
        for _ in range(2):
            ours(images), theirs(images)
        for x, y in paired(timed(ours), timed(theirs), pairs):
            print("pair", x, y)


def main() -> int:
    """Print the ratios; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=7, help="of whole processes")
    parser.add_argument("--forwards", type=int, default=30, help="pairs of forward passes")
    arguments = parser.parse_args()
    pairs, python = arguments.pairs, sys.executable
    print(f"{platform.platform()}, Python {platform.python_version()}")
    profile = (python, "-m", "detrbench", "profile", "rtdetr-l")
    search = (python, "-m", "detrbench", "reconcile", "rtdetr-l", "--params", "32.8M")
    torch = (python, "-c", "import torch")
    with tempfile.TemporaryDirectory() as folder:
        typer_app = Path(folder) / "two_commands.py"
        typer_app.write_text(TWO_COMMANDS)
        met = [
            report(
                "detrbench profile rtdetr-l over: build Ultralytics' model, run FlopCounterMode",
                0.45,
                paired(process(*profile), process(PEER, "-c", PEER_COUNT), pairs),
            ),
            report(
                "detrbench profile rtdetr-l over: import torch",
                1.35,
                paired(process(*profile), process(*torch), pairs),
            ),
            report(
                "detrbench reconcile rtdetr-l --params 32.8M over: import torch",
                4.0,
                paired(process(*search), process(*torch), pairs),
            ),
            report(
                "detrbench profile rtdetr-l at 1280 pixels over 320",
                1.1,
                paired(
                    process(*profile, "--imgsz", "1280"),
                    process(*profile, "--imgsz", "320"),
                    pairs,
                ),
            ),
            report(
                "detrbench --help over --help of a Typer app with two empty commands",
                1.5,
                paired(
                    process(python, "-m", "detrbench", "--help"),
                    process(python, typer_app, "--help"),
                    2 * pairs,
                ),
            ),
            report(
                "forward of our rtdetr-l over Ultralytics' with the same weights, 640x640, float32",
                1.0,
                forward_pairs(arguments.forwards),
            ),
        ]
    return 0 if all(met) else 1


if __name__ == "__main__":
    raise SystemExit(main())
