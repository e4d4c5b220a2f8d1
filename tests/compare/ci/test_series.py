"""What services read that draw figures over time, to the letter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from detrbench.compare.ci import series
from detrbench.reports.report import Report, Result
from tests.compare.gates import MACHINE, Plain, check_golden, modern, report, run

SETTINGS = {"imgsz": "640x640", "batch": 1}


def steady() -> Plain:
    """A run whose medians are known to 2 %."""
    plain = run()
    for row in plain["rows"]:
        middle = round(row["metrics"]["latency_median_s"], 2)
        row["metrics"] |= {
            "latency_median_s": middle,
            "latency_median_low_s": middle * 0.98,
            "latency_median_high_s": middle * 1.02,
            "latency_q1_s": middle * 0.9,
            "latency_q3_s": middle * 1.2,
            "images_per_s": 1 / middle,
        }
    return plain


REPORT = report(steady())
GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("saved", [REPORT, report(modern(steady()))], ids=["schema 1", "schema 2"])
def test_golden(saved: Report) -> None:
    check_golden(GOLDEN / "smaller-is-better.json", series.smaller_is_better(saved))
    check_golden(GOLDEN / "bencher.json", series.bencher(saved))


def test_smaller_is_better_has_what_the_action_reads() -> None:
    entries = json.loads(series.smaller_is_better(REPORT))
    for entry in entries:
        assert set(entry) <= {"name", "unit", "value", "range", "extra"}
        assert isinstance(entry["name"], str)
        assert isinstance(entry["unit"], str)
        assert entry["unit"]
        assert isinstance(entry["value"], int | float)
        assert all(isinstance(entry.get(key, ""), str) for key in ("range", "extra"))
    names = [entry["name"] for entry in entries]
    assert len(set(names)) == len(names)
    (latency,) = [each for each in entries if each["name"].startswith("mine") and "range" in each]
    assert (latency["unit"], latency["value"], latency["range"]) == ("ms", 400.0, "[392.0-408.0]")


def test_bencher_keeps_base_units_and_intervals() -> None:
    benchmarks = json.loads(series.bencher(REPORT))
    (mine,) = [measures for name, measures in benchmarks.items() if name.startswith("mine")]
    assert mine["params"] == {"value": 32_970_476}
    assert mine["latency_median_s"] == {
        "value": 0.4, "lower_value": 0.4 * 0.98, "upper_value": 0.4 * 1.02
    }  # fmt: skip
    assert all(len(key) <= 64 for key in mine)  # what Bencher allows


def test_what_is_missing_or_failed_is_no_zero_in_a_series() -> None:
    failed = Result("bad", "Bad", SETTINGS, {"params": 1}, status="failed", reason="so")
    partial = Result("part", "Part", SETTINGS, {"params": None, "kernels": 7})
    saved = Report((failed, partial), MACHINE)
    (entry,) = json.loads(series.smaller_is_better(saved))
    assert (entry["name"], entry["value"]) == ("part (image 640x640, batch 1): Kernels", 7)
    assert json.loads(series.bencher(saved)) == {
        "part (image 640x640, batch 1)": {"kernels": {"value": 7}}
    }


def test_the_same_model_under_other_settings_is_another_series() -> None:
    rows = tuple(Result("m", "M", {"imgsz": size}, {"params": 1}) for size in ("64x64", "32x32"))
    assert len(json.loads(series.bencher(Report(rows, MACHINE)))) == 2
