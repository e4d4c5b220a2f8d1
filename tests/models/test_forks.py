"""Model files as the public forks write them, with the figures of what they mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from detrbench.counting.profiling import profile

FORKS = Path(__file__).parents[1] / "data" / "forks"


@pytest.mark.parametrize(
    ("file", "params", "metric", "flops"),
    [
        # Repeats that stand fifth, or third and with widths that a scale changes.
        ("rtdetr-l-GhostHGNetV2.yaml", 31_485_404, "flops", "101.0"),
        ("yolov8-rtdetr.yaml", 9_643_868, "flops_thop", "17.1"),
        ("yolov8n-rtdetr.yaml", 9_643_868, "flops_thop", "17.1"),  # names its scale n
        # One row that returns four maps, counted as rows 1 to 4.
        ("rtdetr-fasternet.yaml", 9_505_904, "flops", "26.5"),
        # Top-level variables in rows.
        ("rtdetr-bifpn.yaml", 20_662_684, "flops_thop", "66.7"),
    ],
)
def test_a_public_file_counts_as_what_it_means(
    file: str, params: int, metric: str, flops: str
) -> None:
    report = profile([FORKS / file], blocks=str(FORKS / "blocks.py"))
    metrics = report.rows[0].metrics
    assert metrics["params"] == params
    assert f"{metrics[metric] / 1e9:.1f}" == flops


def test_scales_stand_side_by_side() -> None:
    """The pair that the figures of a scale are told apart by, and what is said of each."""
    file, blocks = FORKS / "yolov8-rtdetr.yaml", str(FORKS / "blocks.py")
    report = profile([file], blocks=blocks, scale=["n", "s"])
    assert [row.metrics["params"] for row in report.rows] == [9_643_868, 16_518_572]
    assert [row.settings["scale"] for row in report.rows] == ["n", "s"]
    assert [row.notes[0] for row in report.rows] == [
        "scale n, as asked for",
        "scale s, as asked for",
    ]
