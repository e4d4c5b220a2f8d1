"""The experiments' tables: of a run in memory and of the same one from a file."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from detrbench.experiments.guidelines.measuring import measure_guidelines
from detrbench.experiments.guidelines.tables import document
from detrbench.render import FORMATS, render, render_document
from detrbench.reports.report import Report
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
