from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from detrbench.errors import UsageError
from detrbench.report import Report
from detrbench.timing.latency import (
    METRIC_KEYS,
    latency_cells,
    latency_comparisons,
    measure_latency,
)
from detrbench.timing.process import Measurement, Request, Subject
from detrbench.timing.session import Series

FIGURE = {"label": "the article", "latency_ms": "11.6", "params": "32.8M"}


def taken(*samples: float, **fields: object) -> Series:
    defaults: dict[str, object] = {
        "clock": "fake",
        "overhead_s": 1e-7,
        "first": {"latency_s": 9.0},
        "warmup": {"latency_s": [2.0, 1.0]},
        "samples": {"latency_s": list(samples)},
        "settled": True,
        "build_s": 3.0,
    }
    return Series(**{**defaults, **fields})  # type: ignore[arg-type]


def measurement(*series: Series, published: tuple[dict[str, object], ...] = ()) -> Measurement:
    names = tuple("abc"[: len(series)])
    return Measurement(
        request=Request(models=names, imgsz=(480, 640)),
        settings={"device": "cpu", "runtime": "eager", "threads": 2},
        environment={"processor": "imaginary"},
        subjects=tuple(Subject(name, name.upper(), 80, published) for name in names),
        series=series,
    )


def test_statistics_are_derived_from_samples_that_stay_beside_them() -> None:
    (cell,) = latency_cells(measurement(taken(4.0, 1.0, 3.0, 2.0)))
    assert cell.metrics == {
        "latency_median_s": 2.5,
        "latency_q1_s": 1.75,
        "latency_q3_s": 3.25,
        "latency_first_s": 9.0,
        "latency_samples": 4,
    }
    assert cell.samples["latency_s"] == [[4.0, 1.0, 3.0, 2.0]]
    assert cell.samples["warmup_latency_s"] == [[2.0, 1.0]]
    assert cell.samples["first_latency_s"] == [9.0]
    assert cell.samples["build_s"] == [3.0]
    assert "type 7" in cell.samples["quantiles"]
    assert cell.missing == {}
    assert cell.notes == ()


def test_settings_say_what_was_run() -> None:
    (cell,) = latency_cells(measurement(taken(1.0)))
    assert cell.title == "A"
    assert cell.settings == {
        "imgsz": "480x640",
        "batch": 1,
        "nc": 80,
        "fused": False,
        "device": "cpu",
        "runtime": "eager",
        "threads": 2,
    }


def test_a_failed_model_has_reasons_instead_of_numbers() -> None:
    (cell,) = latency_cells(measurement(taken(1.0, status="failed", reason="has 3 NaN")))
    assert cell.status == "failed"
    assert cell.metrics == dict.fromkeys(METRIC_KEYS)
    assert cell.missing == dict.fromkeys(METRIC_KEYS, "has 3 NaN")
    assert cell.samples["latency_s"] == [[1.0]]


def test_an_interrupted_model_has_the_numbers_it_came_to() -> None:
    reason = "interrupted after 2 timed rounds"
    (cell,) = latency_cells(measurement(taken(1.0, 3.0, status="interrupted", reason=reason)))
    assert (cell.status, cell.reason) == ("interrupted", reason)
    assert cell.metrics["latency_median_s"] == 2.0


def test_a_model_interrupted_before_its_first_round_has_a_reason() -> None:
    (cell,) = latency_cells(measurement(Series(status="interrupted", reason="interrupted early")))
    assert cell.missing["latency_median_s"] == "interrupted early"
    assert cell.samples == {}


def test_warm_up_that_did_not_settle_is_said() -> None:
    (cell,) = latency_cells(measurement(taken(1.0, settled=False)))
    assert cell.notes == ("warm-up had not settled after 2 rounds: early samples may be slow",)


@pytest.mark.parametrize(("enqueue_s", "notes"), [(0.7, 0), (0.9, 1)])
def test_a_host_that_cannot_launch_fast_enough_is_said(enqueue_s: float, notes: int) -> None:
    samples = {"latency_s": [1.0, 1.0], "enqueue_s": [enqueue_s] * 2}
    (cell,) = latency_cells(measurement(taken(samples=samples)))
    assert len(cell.notes) == notes
    assert all("90%" in note for note in cell.notes)
    assert cell.samples["enqueue_s"] == [[enqueue_s] * 2]


def test_a_published_latency_stands_beside_ours() -> None:
    quiet = {"label": "others", "latency_ms": None}
    (cell,) = latency_cells(measurement(taken(2.0), published=(FIGURE, quiet)))
    assert cell.published == [{**FIGURE, "ours": {"latency_median_s": 2.0}}]


def test_ratios_are_paired_and_say_that_one_process_is_no_verdict() -> None:
    drifting = measurement(taken(1.0, 10.0, 2.0), taken(0.9, 9.0, 1.8), taken(1.0, 10.0))
    first, second = latency_comparisons(drifting)
    assert (first["baseline"], first["model"]) == ("a", "b")
    assert first["ratio"] == pytest.approx(0.9)
    assert second["ratio"] == pytest.approx(1.0)
    assert first["ci_low"] is first["ci_high"] is first["verdict"] is None
    assert "one process" in first["reasons"][0]


@pytest.mark.parametrize("broken", [0, 1])
def test_a_failed_model_has_no_ratio(broken: int) -> None:
    series = [taken(1.0), taken(1.0)]
    series[broken] = taken(1.0, status="failed", reason="no")
    assert latency_comparisons(measurement(*series)) == ()


class Small(nn.Conv2d):
    def __init__(self) -> None:
        super().__init__(3, 2, 1)


class Spoiled(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images / torch.zeros(1)


def test_modules_of_ones_own_are_measured_and_left_as_they_were() -> None:
    mine = Small().train()
    report = measure_latency([mine, Spoiled()], imgsz=16, rounds=6, budget_s=None, threads=1)
    assert mine.training
    assert [(row.model, row.status) for row in report.rows] == [
        ("Small", "ok"),
        ("Spoiled", "failed"),
    ]
    assert report.exit_code == 4
    assert report.rows[0].metrics["latency_samples"] == 6
    assert report.rows[0].settings["imgsz"] == "16x16"
    assert report.environment["threads"] == 1
    assert Report.from_json(report.to_json()) == report


def test_two_models_of_one_name_are_refused() -> None:
    with pytest.raises(UsageError, match="same name"):
        measure_latency([Small(), Small()])


def test_an_absent_device_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match=r"cuda:0 was asked for, but torch"):
        measure_latency([Small()], device="cuda")


def test_sizes_that_the_strides_do_not_divide_are_a_usage_error() -> None:
    with pytest.raises(UsageError, match="32"):
        measure_latency(["shufflev2-x0.5"], imgsz=100, rounds=1, budget_s=None, threads=1)
