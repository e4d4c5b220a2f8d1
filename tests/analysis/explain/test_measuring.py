"""Two cases explained on this machine, each under its own settings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from detrbench.analysis.explain.findings import INSERTED
from detrbench.analysis.explain.measuring import Explained, explain_pair
from detrbench.analysis.explain.tables import document, explanation_in, explanation_report
from detrbench.core.errors import UsageError
from detrbench.machine.validity import Counters, Ledger
from detrbench.reports.parse_cases import make_cases
from detrbench.reports.report import Report
from detrbench.timing.process import Request
from detrbench.timing.stop_rules import Plan
from tests.analysis.explain.nets import a_file
from tests.analysis.explain.pairs import text_of
from tests.analysis.probe.quick import quick_probes

FOUR_ROUNDS = Plan(budget_s=None, rounds=4, warmup_s=0.0, most_windows=2)


@pytest.fixture(autouse=True, scope="module")
def probes_take_no_time() -> Iterator[None]:
    with quick_probes():
        yield


def explained(*references: str, by: Any = "stage", **settings: Any) -> Explained:
    shared = {"imgsz": (64, 64), "threads": 1, **settings}
    cases = make_cases(references, {key: [value] for key, value in shared.items()})
    return explain_pair(Request(cases, plan=FOUR_ROUNDS), by)


@pytest.fixture(scope="module", params=["stage", "module", "op"])
def small_pair(request: pytest.FixtureRequest) -> Any:
    return explained("shufflev2", "shufflev2-x0.5", by=request.param)


def test_a_pair_is_explained_on_this_machine(small_pair: Any) -> None:
    explanation = small_pair.explanation
    assert explanation.rounds >= 2
    for side in (explanation.baseline, explanation.variant):
        # What is counted in parts is what the whole has, and times are of one order.
        assert sum(part.work.flops for part in side.parts) == side.whole.work.flops
        assert sum(part.work.kernels for part in side.parts) == side.whole.work.kernels
        assert 0.3 < side.parts_s / side.seconds < 3
        assert all(len(part.timed.samples) == explanation.rounds for part in side.parts)
    assert explanation.variant.whole.work.flops < explanation.baseline.whole.work.flops
    groups = set(explanation.baseline.groups)
    if explanation.by == "op":
        assert "aten.convolution" in groups
        # Every operator of the trace was met in the pass, under the same name.
        assert all(part.seconds > 0 for part in explanation.baseline.parts)
        assert 0 < explanation.baseline.scale < 1.5
    else:
        assert groups == {"backbone", "neck", "decoder"}
    report = explanation_report(small_pair)
    assert report.exit_code == 0
    assert Report.from_json(report.to_json()).rows[1].metrics["flops"] == (
        explanation.variant.whole.work.flops
    )
    notes = [note for table in document(report).tables for note in table.notes]
    assert text_of(explanation) in notes


@pytest.mark.parametrize("by", ["module", "op"])
def test_every_sample_is_taken_under_the_settings_of_its_case(by: str, tmp_path: Path) -> None:
    """The modules themselves fail where they find other numbers of threads than their own."""
    file, before = a_file(tmp_path), torch.get_num_threads()
    found = explained(f"{file}:one", f"{file}:two@threads=2", by=by)
    assert torch.get_num_threads() == before
    settings = [subject.settings["threads"] for subject in found.measurement.subjects]
    assert settings == [1, 2]
    assert found.explanation.rounds >= 2
    report = explanation_report(found)
    assert [row.settings["threads"] for row in report.rows] == [1, 2]
    parts, *_, ceilings = document(report).tables
    assert f"({file}:two@threads=2: 2 threads)" in parts.caption
    assert ceilings.caption.endswith(f"under the settings of {file}:one.")


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_model_is_explained_against_itself_in_another_runtime(
    runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(runtime, reason=f'pip install "detrbench[{runtime}]"')
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one = f"{a_file(tmp_path)}:any_number"
    found = explained(one, f"{one}@runtime={runtime}")
    before, after = found.explanation.baseline, found.explanation.variant
    assert [part.name for part in after.parts] == [*(part.name for part in before.parts), INSERTED]
    assert [part.work for part in after.parts[:-1]] == [part.work for part in before.parts]
    # Shares of the whole: what timing its kernels takes is off.
    assert after.parts_s == pytest.approx(after.seconds, rel=0.2)
    assert found.explanation.runtime == runtime
    report = Report.from_json(explanation_report(found).to_json())
    assert explanation_in(report).runtime == runtime
    notes = " ".join(note for table in document(report).tables for note in table.notes)
    assert "its runtime times kernels inside the pass" in notes
    assert "--runtime compile" not in notes


def test_one_model_is_explained_against_itself_in_another_layout(tmp_path: Path) -> None:
    one = f"{a_file(tmp_path)}:any_number"
    other = f"{one}@memory_format=channels_last"
    found = explained(one, other)
    assert found.explanation.memory_format == "channels_last"
    report = Report.from_json(explanation_report(found).to_json())
    assert [row.model for row in report.rows] == [one, one]
    kept = explanation_in(report)
    assert (kept.baseline.model, kept.variant.model) == (one, other)
    assert kept.memory_format == "channels_last"
    laid_out = document(report)
    assert f"({other}: channels_last)" in laid_out.tables[0].caption
    assert text_of(kept).startswith(f"{other} does as many FLOPs as {one} and takes ")
    labels = [line.label for line in laid_out.tables[0].lines if not line.level]
    assert labels == [one, other]
    # One line for each row and each part, each part with its own limit.
    limits = [
        (record["memory_format"], record["part"], record["limit"]) for record in laid_out.records
    ]
    assert limits == [
        (row.settings["memory_format"], part["part"], part.get("limit"))
        for row in report.rows
        for part in ({"part": "all"}, *row.parts["stage"])
    ]


def test_a_callable_s_own_images_are_what_it_gets(tmp_path: Path) -> None:
    file = a_file(tmp_path)
    found = explained(
        f"{file}:with_images", f"{file}:any_number", by="module", imgsz=(24, 40), batch=2
    )
    before, after = found.explanation.baseline, found.explanation.variant
    assert before.whole.work == after.whole.work
    assert [part.name for part in before.parts] == ["first Conv2d", "second Conv2d", "(model)"]


def test_a_model_without_parts_is_said_by_its_name(tmp_path: Path) -> None:
    file = a_file(tmp_path)
    with pytest.raises(UsageError, match="has no stages") as caught:
        explained(f"{file}:any_number", f"{file}:whole")
    assert caught.value.where == f"{file}:whole"


def test_what_is_no_pair_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot be a pair"):
        explained("shufflev2")
    with pytest.raises(UsageError, match="no seams") as caught:
        explained("shufflev2", "shufflev2@runtime=compile")
    assert caught.value.where == "shufflev2@runtime=compile"


def test_what_the_machine_did_in_the_rounds_is_kept_and_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    moments = iter([Counters(0.0, 0.0, 0.0, 0, 0.0, 0), Counters(1.0, 1e6, 0.0, 0, 0.0, 0)])
    ledger = Ledger(read=lambda: next(moments), root=tmp_path)
    monkeypatch.setattr("detrbench.timing.opened.open_ledger", lambda _: ledger)
    one = f"{a_file(tmp_path)}:any_number"
    found = explained(one, f"{one}@memory_format=channels_last", by="op")
    seen = found.explanation.circumstances
    assert seen is not None
    assert seen.disturbed == "on a busy machine (foreign work)"
    report = Report.from_json(explanation_report(found).to_json())
    assert explanation_in(report).circumstances == seen
    assert any(note.startswith("foreign work: others used") for note in report.rows[0].notes)
