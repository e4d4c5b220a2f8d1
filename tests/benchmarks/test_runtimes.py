"""What the scripts about runtimes make of their rows; what they measure needs the runtimes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.benchmarks.scripts import load


def test_own_tools_have_to_agree_to_five_percent(monkeypatch: pytest.MonkeyPatch) -> None:
    own_tools = load("own_tools", monkeypatch)

    def pair(runtime: str, ours_s: float, own_s: float) -> dict[str, Any]:
        return {"runtime": runtime, "ours_s": ours_s, "own_s": own_s}

    settings = {"model": "shufflev2", "imgsz": 320, "threads": 2}
    near = [pair("openvino", 0.0104, 0.01), pair("openvino", 0.0096, 0.01)]
    printed = own_tools.summary({"settings": settings, "pairs": [*near, pair("onnxruntime", 2, 1)]})
    assert "openvino: 10.40 ms and 10.00 ms, 1.040" in printed
    assert "openvino: ours are 1.000 of its own tool's, median of 2: met" in printed
    assert "onnxruntime: ours are 2.000 of its own tool's, median of 1: missed" in printed


def test_what_does_not_agree_stands_there_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    agree = load("runtimes_agree", monkeypatch)
    row = {"model": "yolov8n", "imgsz": 320, "runtime": "openvino"}
    found = {"agreement": 2e-7, "tolerance": 1e-4, "file_bytes": 13e6}
    printed = agree.summary({"rows": [{**row, **found}, {**row, "wrong": "no such operator"}]})
    assert (
        "yolov8n 320 openvino: 2.0e-07 of the largest value (tolerance 1e-04), 13.0 MB" in printed
    )
    assert "yolov8n 320 openvino: no such operator" in printed
    assert "1 of 2 are exported and agree: missed" in printed
