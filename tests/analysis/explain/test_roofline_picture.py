"""The roofline: a mark per part with FLOPs, under the ceilings, in words too."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

from detrbench.analysis.explain.roofline_picture import roofline
from detrbench.reports.comparison import Comparison, Side
from detrbench.reports.report import Report, Result

SVG = "{http://www.w3.org/2000/svg}"
CEILINGS = [
    {"name": name, "value": value, "low": value, "high": value, "unit": unit, "source": "x"}
    for name, value, unit in (
        ("convolution", 150e9, "FLOP/s"),
        ("matmul", 100e9, "FLOP/s"),
        ("memory", 20e9, "B/s"),
        ("cache", 80e9, "B/s"),
        ("dispatch", 1e-6, "fine s"),
    )
]


def part(name: str, flops: float, traffic: float, seconds: float) -> dict[str, Any]:
    return {
        "part": name,
        "flops": flops,
        "traffic_eager_bytes": traffic,
        "latency_median_s": seconds,
        "limit": "compute",
    }


def a_report(**explanation: Any) -> Report:
    parts = [
        part("backbone", 50e9, 1.5e9, 0.4),
        part("neck", 40e9, 0.6e9, 0.3),
        part("upsampling", 0, 0.1e9, 0.01),
    ]
    rows = tuple(
        Result(model, model, {"device": "cpu"}, {"flops": 90e9}, parts={"stage": parts})
        for model in ("large", "small")
    )
    pair = Comparison(Side("large"), Side("small"), ratio=1.0, **explanation)
    return Report(rows, comparisons=(pair,))


EXPLAINED = a_report(explanation={"by": "stage", "ceilings": CEILINGS})


def test_every_part_with_flops_is_marked_and_told() -> None:
    drawn = roofline(EXPLAINED)
    assert drawn is not None
    root = ElementTree.fromstring(drawn)
    texts = {"".join(each.itertext()).strip() for each in root.iter(f"{SVG}text")}
    assert {"backbone", "neck", "large", "small", "convolutions", "memory", "cache"} <= texts
    assert "upsampling" not in texts
    description = root.find(f"{SVG}desc")
    assert description is not None
    assert description.text is not None
    # 50 GFLOP in 0.4 s, 33.3 per byte, 0.4 of 0.71 s.
    assert (
        "backbone reaches 125.0 GFLOP/s at 33.33 FLOPs per byte, 56.3% of the time, bound by "
        "arithmetic" in description.text
    )
    assert "matrix products 100.0 GFLOP/s" in description.text


def test_the_same_report_gives_the_same_bytes() -> None:
    assert roofline(EXPLAINED) == roofline(EXPLAINED)


def test_there_is_none_without_an_explanation() -> None:
    assert roofline(a_report()) is None
    assert roofline(Report()) is None
