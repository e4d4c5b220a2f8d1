"""Remedies: a case with one setting changed, called as tables call it, timed against as it is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from detrbench.analysis.explain.account import BATCHING, CAPTURING, COMPILING, LAYOUT
from detrbench.analysis.explain.remedies import REMEDIES, measure_tries, title_of, with_remedy
from detrbench.core.errors import DetrbenchError, UsageError
from detrbench.machine.validity import Counters, Ledger
from detrbench.reports.case import Case
from detrbench.reports.parse_cases import make_cases
from detrbench.timing.rounds import Progress
from tests.analysis.explain.nets import a_file
from tests.timing.runs import case


def a_case(reference: str, **settings: object) -> Case:
    (made,) = make_cases([reference], {key: [value] for key, value in settings.items()})
    return made


# --- choosing ------------------------------------------------------------------------------------


def test_the_usual_remedies_are_called_as_the_floors_call_them() -> None:
    variant = a_case("shufflev2", device="cuda", batch=2)
    titles = {name: title_of(variant, with_remedy(variant, name)) for name in REMEDIES}
    assert titles == {
        "channels_last": LAYOUT,
        "batch": BATCHING,
        "compile": COMPILING,
        "cudagraph": CAPTURING,
    }
    assert with_remedy(variant, "batch").execution.batch == 16


@pytest.mark.parametrize(
    ("wanted", "title"),
    [
        ("memory_format=channels_last", LAYOUT),
        ("memory-format=channels_last", LAYOUT),
        ("batch=8", BATCHING),
        ("batch=3", "a --batch 3 times as large, per image"),
        ("runtime=compile", COMPILING),
        ("threads=1", "--threads 1"),
        ("imgsz=320", "--imgsz 320x320"),
        ("fuse=true", "--fuse"),
        ("nc=1", "--nc 1"),
        ("dtype=bfloat16", "--dtype bfloat16"),
    ],
)
def test_any_setting_can_be_tried(wanted: str, title: str) -> None:
    variant = a_case("shufflev2")
    changed = with_remedy(variant, wanted)
    assert title_of(variant, changed) == title
    assert changed.name.startswith("shufflev2@")
    assert changed != variant


def test_what_is_on_can_be_tried_off() -> None:
    variant = a_case("shufflev2", fused=True)
    assert title_of(variant, with_remedy(variant, "fused=false")) == "fused=false"


def test_a_model_s_setting_is_resolved_anew(tmp_path: Path) -> None:
    blocks = tmp_path / "blocks.py"
    blocks.write_text("")
    changed = with_remedy(a_case("shufflev2"), f"blocks={blocks}")
    assert str(blocks) in [file.path for file in changed.model.files]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("prayer", "unknown value 'prayer'"),
        ("prayers=5", "unknown setting 'prayers'"),
        ("threads=none", "a thread count of 'none'"),
        ("cudagraph", "does not run on cpu"),
        ("tf32=true", "tf32 is a setting of cuda devices"),
        ("memory_format=contiguous", "changes nothing of shufflev2"),
        ("name=other", "changes nothing of shufflev2"),
        ("stages=true", "make nothing faster"),
        ("blocks=absent.py", "absent.py is not a file"),
    ],
)
def test_what_cannot_be_tried_is_said_at_once(wanted: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        with_remedy(a_case("shufflev2"), wanted)


# --- measuring -----------------------------------------------------------------------------------


def test_a_remedy_is_measured_against_the_variant_as_it_is() -> None:
    variant = a_case("shufflev2-x0.5", imgsz=(64, 64), threads=1)
    before = torch.get_num_threads()
    threads = []
    (layout,) = measure_tries(
        variant,
        [with_remedy(variant, "channels_last")],
        budget_s=0.5,
        progress=lambda _: threads.append(torch.get_num_threads()),
    )
    assert set(threads) == {1}, "as many threads as what it is compared with had"
    assert torch.get_num_threads() == before
    assert (layout.name, layout.measured) == (LAYOUT, True)
    assert layout.ratio is not None
    assert layout.low is not None
    assert layout.high is not None
    assert 0.2 < layout.low <= layout.ratio <= layout.high < 5
    assert "as it is" in layout.how


def test_each_remedy_is_timed_under_its_own_settings(tmp_path: Path) -> None:
    file = a_file(tmp_path)
    variant = a_case(f"{file}:any_number", imgsz=(16, 16), threads=1)
    before = torch.get_num_threads()
    timing: list[int] = []

    def told(progress: Progress) -> None:
        if progress.phase == "timing":
            (nets,) = (
                one for one in list(sys.modules.values()) if getattr(one, "__file__", "") == file
            )
            timing.extend(nets.SEEN[-2:])

    tried = measure_tries(variant, [with_remedy(variant, "threads=2")], budget_s=0.3, progress=told)
    assert [one.name for one in tried] == ["--threads 2"]
    assert set(timing) == {1, 2}
    assert torch.get_num_threads() == before


def test_a_larger_batch_is_compared_per_image(tmp_path: Path) -> None:
    variant = a_case(f"{a_file(tmp_path)}:slow", imgsz=(4, 4), threads=1)
    (tried,) = measure_tries(variant, [with_remedy(variant, "batch=4")], budget_s=0.5)
    assert tried.ratio is not None
    assert 0.5 < tried.ratio < 2, "four images take four times as long, and each as long as one"


def test_what_cannot_be_tried_is_no_number_and_the_others_are_measured(tmp_path: Path) -> None:
    """Found out in the making: this does not fit the model, and does not spoil the rest."""
    reference = f"{a_file(tmp_path)}:with_images"
    variant = a_case(reference, imgsz=(24, 40), batch=2, threads=1)
    wanted = ("imgsz=65", "threads=2")
    odd, threads = measure_tries(
        variant, [with_remedy(variant, each) for each in wanted], budget_s=0.3
    )
    assert (odd.name, odd.ratio, odd.measured) == ("--imgsz 65x65", None, True)
    assert "its example inputs are 2 of 24x40 pixels" in odd.how
    assert threads.ratio is not None


def test_a_variant_that_cannot_be_built_is_an_error() -> None:
    with pytest.raises(DetrbenchError):
        measure_tries(case("absent"), [], budget_s=0.1)


def test_a_remedy_measured_on_a_busy_machine_is_marked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    moments = iter([Counters(0.0, 0.0, 0.0, 0, 0.0, 0), Counters(1.0, 1e6, 0.0, 0, 0.0, 0)])
    ledger = Ledger(read=lambda: next(moments), root=tmp_path)
    monkeypatch.setattr("detrbench.timing.opened.open_ledger", lambda _: ledger)
    variant = a_case(f"{a_file(tmp_path)}:any_number", imgsz=(32, 32), threads=1)
    (found,) = measure_tries(variant, [with_remedy(variant, "batch=2")], budget_s=0.2)
    assert found.ratio is not None
    assert found.disturbed == "on a busy machine (foreign work)"
