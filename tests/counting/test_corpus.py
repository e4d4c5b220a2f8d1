"""Layer lists that are public, written anew, each with the figures of its authors or of the peer.

`tests/data/corpus/figures.csv` says of each list with which settings it is counted, what a source
prints, and, where ours is another figure, by how much and why. `benchmarks/peers/corpus.py` counts
those again that come from the peer.
"""

from __future__ import annotations

import csv
from decimal import Decimal
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
GIGA = 10**9

LISTS = {path.stem for path in CORPUS.glob("*.yaml")}
QUICK = {
    *("rtdetr-r18", "rtdetr-r34-three", "rtdetr-r50-m", "rtdetr-ASF", "rtdetr-bifpn"),
    *("rtdetr-Faster", "rtdetr-fasternet", "rtdetr-mobilenetv4", "rtdetr-mobilenetv3"),
    *("yolov3-tiny", "yolov6", "yolov8-p6", "yolov8-rtdetr", "yolo12"),
}
"""Lists of every kind whose FLOPs are counted in every run; of the others, the parameters. With
`-m thorough` all is counted."""


def named(row: Row) -> str:
    return "-".join(filter(None, (row["list"], row["scale"], row["convention"], row["nc"])))


def detector_of(row: Row) -> Detector:
    """Of shapes only."""
    path = CORPUS / f"{row['list']}.yaml"
    detector = build(
        path if path.exists() else find_model(row["list"]),
        nc=int(row["nc"]),
        blocks=CORPUS / row["blocks"] if row["blocks"] else None,
        scale=row["scale"] or None,
        device="meta",
    )
    with ShapesOnly():
        return detector.fuse() if row["fused"] == "yes" else detector


def at_digits(figure: Decimal, printed: str) -> Decimal:
    """A figure at the digits of what is printed."""
    return figure.quantize(Decimal(printed))


def check_parameters(detector: Detector, row: Row) -> None:
    """Equal, or off by what the table says, exactly."""
    params = sum(p.numel() for p in detector.parameters())
    assert params == int(row["params"]) + int(row["params_off"] or 0)


THOROUGH = pytest.mark.thorough


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, marks=() if row["list"] in QUICK else THOROUGH) for row in ROWS],
    ids=named,
)
def test_a_public_list_counts_as_printed(row: Row) -> None:
    """FLOPs at 640 x 640 pixels, likewise, at the printed digits; and nothing is left uncounted."""
    detector = detector_of(row)
    check_parameters(detector, row)
    traced = trace(detector, 640, in_place=True)
    gflops = Decimal(CONVENTIONS[row["convention"]].flops(traced.ops)) / GIGA
    ours = at_digits(gflops, row["gflops"])
    assert ours == Decimal(row["gflops"]) + Decimal(row["gflops_off"] or 0)
    assert not not_counted(traced)


@pytest.mark.parametrize("row", [r for r in ROWS if r["list"] in LISTS - QUICK], ids=named)
def test_a_public_list_has_the_parameters_printed(row: Row) -> None:
    check_parameters(detector_of(row), row)


def test_the_corpus_is_forty_lists() -> None:
    assert len(LISTS) >= 40
    assert {row["list"] for row in ROWS} >= LISTS | QUICK
    assert all(row["source"] for row in ROWS)


def test_what_is_off_is_explained_and_little_is() -> None:
    off = [row for row in ROWS if row["params_off"] or row["gflops_off"]]
    assert all(bool(row["why"]) == (row in off) for row in ROWS)
    assert len({row["list"] for row in off}) <= 10
