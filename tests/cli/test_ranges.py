"""Numbers of flags have a range, which the message names, before anything heavy is imported."""

from __future__ import annotations

import os
import sys

import pytest

from detrbench.cli import main

HUGE = "99999999999999999999"
FLAGS = {
    "profile rtdetr-l --imgsz 99999": "of 1 to 16384 pixels",
    "profile rtdetr-l --imgsz 640x16385": "of 1 to 16384 pixels",
    "profile rtdetr-l --imgsz 0": "of 1 to 16384 pixels",
    f"profile rtdetr-l --batch {HUGE}": "from 1 to 65536",
    f"profile rtdetr-l --nc {HUGE}": "from 1 to 1000000",
    "profile rtdetr-l@batch=65537": "from 1 to 65536",
    "lint rtdetr-l --imgsz 99999": "of 1 to 16384 pixels",
    "reconcile rtdetr-l --imgsz 99999": "of 1 to 16384 pixels",
    "predict rtdetr-l --batch 65537": "from 1 to 65536",
    "latency --imgsz 99999": "of 1 to 16384 pixels",
    "latency --threads 1000000": "from 1 to 4096",
    "latency rtdetr-l@threads=4096": "processor",
    f"latency --seed {HUGE}": "from 0 to 2147483647",
    f"latency --processes {HUGE}": "less than or equal to 1000",
    f"latency --rounds {HUGE}": "less than or equal to 1000000",
    "latency --budget 1e99": "up to 604800, a week",
    "latency --budget nan": "up to 604800, a week",
    "latency --batch 65536 --imgsz 16384": "the images alone need 211,106.2 GB",
    "latency --margin 200%": "between 0 and 100%",
    "explain rtdetr-l shufflev2 --budget inf": "up to 604800, a week",
    "explain rtdetr-l shufflev2 --threads 4096": "processor",
    "run article --threads 4096": "processor",
    f"run article --processes {HUGE}": "less than or equal to 1000",
    "run article --budget 604801": "up to 604800, a week",
    "guidelines G1 --threads 4096": "processor",
    "guidelines G1 --budget -1": "up to 604800, a week",
    "selfcheck --imgsz 99999": "of 1 to 16384 pixels",
    "selfcheck --budget 0": "up to 604800, a week",
    "probe --budget 1e99": "up to 604800, a week",
    "probe --threads 4096": "processor",
    "gate rtdetr-l --rev HEAD --budget 1e99": "up to 604800, a week",
    "gate models/rtdetr-l.yaml --rev HEAD --threads 4096": "processor",
}


@pytest.mark.parametrize(("command", "said"), FLAGS.items(), ids=FLAGS.keys())
def test_a_number_out_of_range_is_refused_at_once(
    command: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    heavy = {name for name in sys.modules if name.partition(".")[0] == "torch"}
    assert main(command.split()) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert {name for name in sys.modules if name.partition(".")[0] == "torch"} == heavy
