"""The experiments' tables: of a run in memory and of the same one from a file."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detrbench.experiments.guidelines.measuring import measure_guidelines
from detrbench.experiments.guidelines.rules import Answer, findings
from detrbench.experiments.guidelines.tables import document
from detrbench.machine.validity import Entry
from detrbench.render import FORMATS, render, render_document
from detrbench.reports.report import Report
from detrbench.timing.replication import Run
from tests.experiments.guidelines.fakes import by_memory, replicated


def test_a_saved_run_is_laid_out_again(tmp_path: Path) -> None:
    report = measure_guidelines(["G1", "G4"], folder=tmp_path, replicate=replicated(by_memory))
    report.save(tmp_path / "run.json")
    again = Report.load(tmp_path / "run.json")
    for format in FORMATS:
        text = render_document(document(again), format)
        assert text == render_document(document(report), format)
        assert text == render(again, format), "`detrbench report` lays it out likewise"
        assert "guideline" in text.lower()
    assert Report.from_json(render_document(document(again), "json")) == again
    assert render(again, "markdown")  # as any report
    rows = list(csv.DictReader(io.StringIO(render_document(document(again), "csv"))))
    assert [row["verdict"] for row in rows[:4]] == ["", "SLOWER", "SLOWER", "SLOWER"]


# --- what happened meanwhile ---------------------------------------------------------------------

OTHERS = dataclasses.asdict(Entry(cpus=2, own_cpu_s=10.0, foreign_cpu_s=8.0))
WAITING = dataclasses.asdict(Entry(cpus=2, own_cpu_s=1.0, waited_s=9.0))


def watched(ledger: dict[str, Any]) -> Callable[..., Run]:
    """The protocol that takes no time, each process with this ledger of ten seconds."""

    def replicate(*arguments: Any, **told: Any) -> Run:
        run = replicated(by_memory)(*arguments, **told)
        outcomes = tuple(
            dataclasses.replace(
                one, measurement=dataclasses.replace(one.measurement, ledger=ledger, timed_s=10.0)
            )
            for one in run.outcomes
            if one.measurement is not None
        )
        return dataclasses.replace(run, outcomes=outcomes)

    return replicate


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_says_what_the_machine_did_meanwhile(format: str, tmp_path: Path) -> None:
    report = measure_guidelines(["G1"], folder=tmp_path, replicate=watched(OTHERS))
    again = Report.from_json(report.to_json())
    shown = " ".join(render(again, format).replace("\\%", "%").split())
    assert "foreign work in 6 of 6 processes: others used 40% of the 2 processors" in shown
    if format == "csv":
        rows = list(csv.DictReader(io.StringIO(render(again, format))))
        assert all(row["conditions"].startswith("foreign work in 6 of 6") for row in rows)


def test_a_spoilt_run_answers_nothing_and_says_why(tmp_path: Path) -> None:
    report = measure_guidelines(["G1"], folder=tmp_path, replicate=watched(WAITING))
    (found,) = findings(report)
    assert found.answer is Answer.INCONCLUSIVE
    assert "contended in 6 of 6 processes: this process waited 90%" in found.sentence()
    assert found.sentence() in document(report).tables[-1].notes


def test_a_report_that_kept_no_ledger_knows_nothing_of_its_conditions(tmp_path: Path) -> None:
    report = measure_guidelines(["G1"], folder=tmp_path, replicate=replicated(by_memory))
    assert {record["conditions"] for record in document(report).records} == {""}
    rows = tuple(dataclasses.replace(row, samples={}) for row in report.rows)
    old = dataclasses.replace(report, rows=rows)
    assert {record["conditions"] for record in document(old).records} == {None}


def test_sentence_table_and_record_have_one_ratio(tmp_path: Path) -> None:
    """That of the comparison, paired within rounds, and not that of the two medians."""
    report = measure_guidelines(["G1"], folder=tmp_path, replicate=replicated(by_memory))
    odd = dataclasses.replace(report.comparisons[2], ratio=1.234)
    report = dataclasses.replace(
        report, comparisons=(*report.comparisons[:2], odd, *report.comparisons[3:])
    )
    (found,) = findings(report)
    table, _ = document(report).tables
    assert "1:12: x1 +23.4% (" in found.sentence()
    line = next(line for line in table.lines if line.label.startswith("1:12"))
    assert line.cells[4] == "+23.4%"
    assert report.records()[3]["ratio"] == 1.234
