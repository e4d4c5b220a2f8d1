"""Tie our counts to the peers': run in the peers' environment (see README.md beside this file).

1. ultralytics-thop, for real, on our models against the convention that emulates it; with --write,
   its figures go to tests/data/golden/ultralytics_thop.json, so that the suite needs no peer.
2. Our trace of Ultralytics' own RT-DETR-L: kernels, bytes and peak, against torch's counters and
   MemTracker on the same model, and against the same trace of our rtdetr-l.
"""

# ruff: noqa: E402  (the path and Ultralytics' settings must be there before the imports)

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
os.environ["YOLO_OFFLINE"] = "true"
os.environ["YOLO_CONFIG_DIR"] = str(Path(__file__).parent / ".venv")  # its settings, out of $HOME
os.environ["YOLO_VERBOSE"] = "false"

from against_torch import by_torch

from detrbench.counting.conventions import CONVENTIONS
from detrbench.counting.installed_counters import run_counter
from detrbench.counting.tracing import Trace, trace
from detrbench.models.builder import build

GOLDEN = ROOT / "tests" / "data" / "golden" / "ultralytics_thop.json"
IMGSZ = (640, 640)


def counter_figures() -> tuple[list[dict[str, Any]], bool]:
    """ultralytics-thop's figure beside ours, for the article's pair in every state."""
    rows, exact = [], True
    print(f"{'model':<10} {'nc':>3} {'fused':<5} {'ultralytics-thop':>18} {'our emulation':>18}")
    for model in ("rtdetr-l", "shufflev2"):
        for nc in (1, 80):
            for fused in (False, True):
                detector = build(model, nc)
                if fused:
                    detector.fuse()
                real = run_counter("thop", detector, IMGSZ)
                if real.convention != "ultralytics-thop":
                    sys.exit(f"{real.counter} answered to `import thop`: not the peer")
                ours = CONVENTIONS["ultralytics-thop"].flops(trace(detector, IMGSZ).ops)
                exact &= ours == real.flops
                verdict = "equal" if ours == real.flops else "DIFFERENT"
                print(f"{model:<10} {nc:>3} {fused!s:<5} {real.flops:>18,} {ours:>18,}  {verdict}")
                rows.append({"model": model, "nc": nc, "fused": fused, "flops": real.flops})
    return [{"counter": real.counter, "torch": torch.__version__, "rows": rows}], exact


def peer_model(fused: bool) -> nn.Module:
    """Ultralytics' own RT-DETR-L at 80 classes, untrained, in evaluation mode."""
    from ultralytics.nn.tasks import RTDETRDetectionModel

    model: nn.Module = RTDETRDetectionModel("rtdetr-l.yaml", nc=80, verbose=False).eval()
    return model.fuse(verbose=False).eval() if fused else model


FIGURES = (
    ("flops", "FLOPs"),
    ("kernels", "kernels"),
    ("traffic_eager_bytes", "eager traffic, B"),
    ("traffic_fused_bytes", "fused traffic, B"),
    ("traffic_min_bytes", "least traffic, B"),
    ("peak_activation_bytes", "peak activations, B"),
)


def tie_out() -> bool:
    """Our trace of the peer's model against torch, and the two implementations side by side."""
    holds = True
    for fused in (False, True):
        peer = peer_model(fused)
        theirs, ours = trace(peer, IMGSZ), trace(_ours(fused), IMGSZ)
        print(f"\nrtdetr-l, nc=80, {'fused' if fused else 'unfused'}, traced by detrbench")
        print(f"{'':<24} {'Ultralytics':>18} {'detrbench':>18} {'ratio':>7}")
        for name, title in FIGURES:
            a, b = getattr(theirs, name), getattr(ours, name)
            print(f"{title:<24} {a:>18,} {b:>18,} {b / a:>7.3f}")
        print(f"{'convolutions only, B':<24} {_conv(theirs):>18,} {_conv(ours):>18,}")
        real, tracked = by_torch(peer, IMGSZ)
        print(f"FlopCounterMode on the peer: {real:,} ({_equal(real, theirs.flops)})")
        print(
            f"MemTracker on the peer: {tracked:,} ({_equal(tracked, theirs.peak_activation_bytes)})"
        )
        holds &= real == theirs.flops == ours.flops and tracked == theirs.peak_activation_bytes
    return holds


def _ours(fused: bool) -> nn.Module:
    detector = build("rtdetr-l", 80)
    return detector.fuse() if fused else detector


def _conv(traced: Trace) -> int:
    costs = [op.cost for op in traced.ops if op.kind == "convolution"]
    return sum(cost.read_bytes + cost.write_bytes for cost in costs)


def _equal(a: int, b: int) -> str:
    return "equal" if a == b else f"DIFFERENT from {b:,}"


def main() -> int:
    """Print both tables; 1 where an equality does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the golden file")
    arguments = parser.parse_args()
    golden, exact = counter_figures()
    if arguments.write:
        GOLDEN.parent.mkdir(parents=True, exist_ok=True)
        GOLDEN.write_text(json.dumps(golden[0], indent=2) + "\n")
        print(f"wrote {GOLDEN.relative_to(ROOT)}")
    return 0 if tie_out() and exact else 1


if __name__ == "__main__":
    raise SystemExit(main())
