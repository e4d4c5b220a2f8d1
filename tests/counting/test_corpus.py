"""Layer lists that are public, written anew, each with the figures of its authors or of the peer.

`tests/data/corpus/figures.csv` says of each list with which settings it is counted, what a source
prints, and, where ours is another figure, by how much and why. `benchmarks/peers/corpus.py` counts
those again that come from the peer.
"""

from __future__ import annotations

import csv
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest

from detrbench.counting.conventions import CONVENTIONS
from detrbench.counting.profiling import not_counted
from detrbench.counting.tracing import trace
from detrbench.models.builder import build
from detrbench.models.catalog import find_model
from detrbench.models.detector import Detector
from detrbench.models.shapes import ShapesOnly

CORPUS = Path(__file__).parents[1] / "data" / "corpus"
Row = dict[str, str]
with (CORPUS / "figures.csv").open(encoding="utf-8", newline="") as file:
    ROWS: list[Row] = list(csv.DictReader(file))
MILLION, GIGA = 10**6, 10**9

QUICK = {
    *("rtdetr-r18", "rtdetr-r34-three", "rtdetr-r50-m", "rtdetr-ASF", "rtdetr-slimneck"),
    *("rtdetr-DySample", "rtdetr-bifpn", "rtdetr-Faster", "rtdetr-fasternet", "rtdetr-mobilenetv4"),
    *("rtdetr-mobilenetv3", "yolov3-tiny", "yolov6", "yolov8-p6", "yolov8-rtdetr", "yolo12"),
}
"""Lists of every kind whose FLOPs are counted in every run; those of all are with `-m thorough`."""


def named(row: Row) -> str:
    return "-".join(filter(None, (row["list"], row["scale"], row["convention"], row["nc"])))


@cache
def built(name: str, nc: str, blocks: str, scale: str, fused: str) -> Detector:
    """Of shapes only."""
    path = CORPUS / f"{name}.yaml"
    detector = build(
        path if path.exists() else find_model(name),
        nc=int(nc),
        blocks=CORPUS / blocks if blocks else None,
        scale=scale or None,
        device="meta",
    )
    with ShapesOnly():
        return detector.fuse() if fused == "yes" else detector


def detector_of(row: Row) -> Detector:
    return built(row["list"], row["nc"], row["blocks"], row["scale"], row["fused"])


def at_digits(figure: Decimal, printed: str) -> Decimal:
    """A figure at the digits of what is printed."""
    return figure.quantize(Decimal(printed))


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_a_public_list_has_the_parameters_printed(row: Row) -> None:
    """Equal at the printed digits, or off by what the table says, exactly."""
    printed, in_millions = row["params"].removesuffix("M"), row["params"].endswith("M")
    params = Decimal(sum(p.numel() for p in detector_of(row).parameters()))
    ours = at_digits(params / MILLION if in_millions else params, printed)
    assert ours == Decimal(printed) + Decimal(row["params_off"] or 0)


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, marks=() if row["list"] in QUICK else pytest.mark.thorough) for row in ROWS],
    ids=named,
)
def test_a_public_list_costs_the_flops_printed(row: Row) -> None:
    """Likewise, at 640 x 640 pixels, with nothing left uncounted."""
    traced = trace(detector_of(row), 640, in_place=True)
    gflops = Decimal(CONVENTIONS[row["convention"]].flops(traced.ops)) / GIGA
    ours = at_digits(gflops, row["gflops"])
    assert ours == Decimal(row["gflops"]) + Decimal(row["gflops_off"] or 0)
    assert not not_counted(traced)


def test_the_corpus_is_forty_lists() -> None:
    lists = {path.stem for path in CORPUS.glob("*.yaml")}
    assert len(lists) >= 40
    assert lists | QUICK <= {row["list"] for row in ROWS}
    assert all(row["source"] for row in ROWS)


def test_what_is_off_is_explained_and_little_is() -> None:
    off = [row for row in ROWS if row["params_off"] or row["gflops_off"]]
    assert all(bool(row["why"]) == (row in off) for row in ROWS)
    assert len({row["list"] for row in off}) <= 10
