from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from detrbench.core.errors import UsageError
from detrbench.reports.report import Report
from detrbench.timing.measuring import measure_latency


class Small(nn.Conv2d):
    def __init__(self) -> None:
        super().__init__(3, 2, 1)


class Spoiled(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images / torch.zeros(1)


def test_modules_of_ones_own_are_measured_here_and_left_as_they_were() -> None:
    mine = Small().train()
    report = measure_latency([mine, Spoiled()], imgsz=16, rounds=6, budget_s=None, threads=1)
    assert mine.training
    assert [(row.model, row.status) for row in report.rows] == [
        ("Small", "ok"),
        ("Spoiled", "failed"),
    ]
    assert report.exit_code == 4
    assert report.rows[0].metrics["latency_samples"] == 6
    assert report.rows[0].metrics["latency_processes"] == 1
    assert report.comparisons[0].verdict == "INVALID"
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
