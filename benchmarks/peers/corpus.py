"""The figures of tests/data/corpus/figures.csv that come from the peer, counted by it again.

    benchmarks/peers/.venv/bin/python benchmarks/peers/corpus.py            # --write: keep them

Every row whose source is this Ultralytics is built by it: from its own list where the source names
one, and from ours in any case, so that both are seen to be the same network. Blocks that it has not
are given to it ready made, ours or the user's, with the width that they put out; the other rows,
the widths between them, the decoder and the counting (ultralytics-thop, run for real on images of
640 x 640) are its own. The exit status is 1 where a figure is not the table's, or where ours is not
what the table says of it.
"""

# ruff: noqa: E402  (Ultralytics reads its settings while it is imported, so they come first)

from __future__ import annotations

import argparse
import csv
import os
import sys
import warnings
from decimal import Decimal
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT / "tests" / "data" / "corpus"
TABLE = CORPUS / "figures.csv"
sys.path.insert(0, str(ROOT))
os.environ["YOLO_OFFLINE"] = "true"
os.environ["YOLO_CONFIG_DIR"] = str(Path(__file__).parent / ".venv")  # its settings, out of $HOME
os.environ["YOLO_VERBOSE"] = "false"
warnings.filterwarnings("ignore")

import torch
import ultralytics
import yaml
from torch import Tensor, nn
from ultralytics.nn import tasks
from ultralytics.utils.torch_utils import get_flops, get_num_params

from detrbench.counting.conventions import CONVENTIONS
from detrbench.counting.tracing import trace
from detrbench.models.builder import build
from detrbench.models.catalog import find_model
from detrbench.models.detector import Detector
from detrbench.models.shapes import ShapesOnly

PEER = f"ultralytics {ultralytics.__version__}"
IMGSZ = 640
DIGITS = 4  # of 10^9 FLOPs: more than it prints itself
WRITE = "--write"
HANDED = "ready_made"  # the argument that stands before the row's number
ready: dict[int, nn.Module] = {}
"""Row -> the module to hand to the peer."""


def hand_over(name: str) -> None:
    """Make rows of a block that the peer has give one of ours where their arguments say so."""
    theirs = getattr(tasks, name)

    class Stand:
        def __new__(cls, *args: Any) -> Any:
            return ready[args[1]] if args[:1] == (HANDED,) else theirs(*args)

    setattr(tasks, name, Stand)


MULTIPLES = ("depth_multiple", "width_multiple")

# Of blocks that it has, those whose output is as wide as a row says, as its last input, and as all
# of them together: the ways in which it can be told a width.
STATED, LAST, SUM = "Index", "CBFuse", "Concat"


def configuration(ours: Detector, scale: str | None) -> dict[str, Any]:
    """The list as the peer reads it, with every row that it has no block for handed over."""
    spec = ours.spec
    read = yaml.safe_load(spec.path.read_text(encoding="utf-8"))
    variables = {key: value for key, value in read.items() if isinstance(value, str | int)}
    listed = [*read["backbone"], *read["head"]]
    if len(spec.rows) > len(listed):  # maps counted as rows
        listed[1:1] = [None] * (len(spec.rows) - len(listed))
    shapes = output_shapes(ours)
    rows = []
    for row, written in zip(spec.rows, listed, strict=True):
        if written is None and row.module != "Index":  # a map that there is not
            rows.append([0, 1, STATED, [1, 0]])
        elif written is None:
            rows.append([0, 1, STATED, list(row.args)])
        elif row.module.startswith("nn.") or hasattr(tasks, row.module):
            rows.append(filled(written, variables))
        else:
            rows.append(handed(row.index, written[0], shapes))
    own = {"nc": spec.nc, "ch": 3, "scale": scale, "backbone": rows[:-1], "head": rows[-1:]}
    return {**{k: v for k, v in read.items() if k in ("scales", *MULTIPLES)}, **own}


def filled(value: Any, variables: dict[str, Any]) -> Any:
    """A row with its variables replaced; `nc` it knows itself."""
    if isinstance(value, list):
        return [filled(each, variables) for each in value]
    return variables.get(value, value) if isinstance(value, str) and value != "nc" else value


def handed(index: int, source: Any, widths: dict[int, Any]) -> list[Any]:
    """A row for the ready-made module of row `index`."""
    if not isinstance(source, list):
        return [source, 1, STATED, [widths[index], HANDED, index]]
    last = widths[index + source[-1] if source[-1] < 0 else source[-1]]
    return [source, 1, LAST if last == widths[index] else SUM, [HANDED, index]]


def output_shapes(ours: Detector) -> dict[int, Any]:
    """Widths of what our rows put out; of several maps, of the last."""
    outputs: dict[int, Any] = {-1: torch.empty(1, 3, IMGSZ, IMGSZ, device="meta")}
    widths = {}
    with torch.no_grad(), ShapesOnly():
        for row in ours.spec.rows[:-1]:
            inputs = [outputs[source] for source in row.sources]
            found = ours.model[row.index](inputs if row.listed else inputs[0])
            outputs[row.index] = found
            widths[row.index] = (found if isinstance(found, Tensor) else found[-1]).shape[1]
    return widths


def counted_by_peer(source: Any) -> tuple[int, str]:
    """Parameters and 10^9 FLOPs of a list, or of the peer's own by name."""
    text = source if isinstance(source, str) else str(source["head"])
    kind = tasks.RTDETRDetectionModel if "rtdetr" in text.lower() else tasks.DetectionModel
    model = kind(source, verbose=False)
    return get_num_params(model), f"{get_flops(model, IMGSZ):.{DIGITS}f}"


def counted_by_us(ours: Detector, convention: str) -> tuple[int, str]:
    traced = trace(ours, IMGSZ)
    return traced.params, f"{CONVENTIONS[convention].flops(traced.ops) / 1e9:.{DIGITS}f}"


def recount(row: dict[str, str]) -> bool:
    """Print the line of one row, and put the peer's figures in. False where something differs."""
    path = CORPUS / f"{row['list']}.yaml"
    path = path if path.exists() else find_model(row["list"])
    blocks = CORPUS / row["blocks"] if row["blocks"] else None
    scale = row["scale"] or None
    ours = build(path, nc=int(row["nc"]), blocks=blocks, scale=scale, device="meta")
    with_memory = build(path, nc=int(row["nc"]), blocks=blocks, scale=scale)
    ready.clear()
    ready.update(dict(enumerate(with_memory.model)))
    theirs = counted_by_peer(configuration(ours, ours.spec.scale))
    own = row["source"].partition(", its own ")[2]
    same = not own or counted_by_peer(own) == theirs
    params, gflops = counted_by_us(ours, row["convention"])
    said = int(row["params_off"] or 0), Decimal(row["gflops_off"] or 0)
    off = params - theirs[0], Decimal(gflops) - Decimal(theirs[1])
    holds = same and off == said
    kept = (row["params"], row["gflops"]) == (str(theirs[0]), theirs[1])
    row["params"], row["gflops"] = str(theirs[0]), theirs[1]
    words = f"as said: {said[0]:+} parameters, {said[1]:+g} GFLOPs" if any(said) else "equal"
    verdict = words if holds else f"DIFFERENT: {params:,} and {gflops}"
    verdict += "" if same else "; its own list is ANOTHER"
    kept = kept or WRITE in sys.argv
    verdict += "" if kept else "; the table holds OTHERS"
    title = f"{row['list']}{f' {scale}' if scale else ''}"
    print(f"{title:<24} {theirs[0]:>12,} {theirs[1]:>9}  {verdict}", flush=True)
    return holds and kept


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(WRITE, action="store_true", help="keep the peer's figures in the table")
    parser.add_argument("--lists", nargs="*", help="these alone")
    options = parser.parse_args()
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for name in (STATED, LAST, SUM):
        hand_over(name)
    print(f"{PEER}, torch {torch.__version__}")
    print(f"{'list':<24} {'parameters':>12} {'10^9':>9}  ours")
    asked = [r for r in rows if not options.lists or r["list"] in options.lists]
    held = [recount(row) for row in asked if row["source"].startswith(PEER)]
    print(f"{sum(held)} of {len(held)} hold")
    if options.write:
        with TABLE.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    return 0 if all(held) else 1


if __name__ == "__main__":
    raise SystemExit(main())
