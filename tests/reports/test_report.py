"""Saving, reading, and refusing what is not a report."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from detrbench.core.errors import UsageError
from detrbench.core.files import write_atomically
from detrbench.models.model import File, Model
from detrbench.reports.case import Case
from detrbench.reports.comparison import Comparison, Side
from detrbench.reports.report import Report, ReportError, Result
from detrbench.reports.schemas import schema
from tests.render.sample import MIXED

CASE = Case("rtdetr-l", Model("rtdetr-l", "rtdetr-l", files=(File("rtdetr-l.yaml", "ab"),)))
CELL = Result(
    "rtdetr-l",
    "RT-DETR-L",
    {"imgsz": "640x640", "batch": 1, "nc": 80, "fused": False, "convention": "core"},
    {"params": 32_970_476, "flops": 109_536_153_600, "arithmetic_intensity": 0.1 + 0.2},
    samples={"latency_s": [[0.1 + 0.2, 1e-9]]},
    notes=("a note",),
    case=CASE,
)
REPORT = Report((CELL,), environment={"torch": "2.14.1"}, title="t", created="2026-01-02")


def test_round_trip_keeps_every_bit() -> None:
    again = Report.from_json(REPORT.to_json())
    assert again == REPORT
    assert again.rows[0].samples["latency_s"][0][0] == 0.1 + 0.2


@pytest.mark.parametrize("version", [1, 2])
def test_the_issue_s_shape_is_enough(version: int) -> None:
    least = {
        "schema_version": version,
        "environment": {},
        "rows": [{"model": "m", "settings": {}, "metrics": {"params": 1}, "status": "ok"}],
    }
    assert is_valid(least, version)
    report = Report.from_json(json.dumps(least))
    assert (report.rows[0].title, report.rows[0].case) == ("m", None)
    assert report.schema_version == version, "the page says what it was read from"
    assert json.loads(report.to_json())["schema_version"] == 2, "and is written as today"


def is_valid(plain: Any, version: int) -> bool:
    return jsonschema.Draft202012Validator(schema(version)).is_valid(plain)


Change = Callable[[dict[str, Any]], object]

BROKEN: dict[str, tuple[Change, str]] = {
    "no version": (lambda r: r.pop("schema_version"), "no schema_version"),
    "version text": (lambda r: r.update(schema_version="1"), "schema_version is '1'"),
    "version true": (lambda r: r.update(schema_version=True), "schema_version is True"),
    "version 0": (lambda r: r.update(schema_version=0), "from 1"),
    "newer": (lambda r: r.update(schema_version=3), "newer detrbench"),
    "no rows": (lambda r: r.pop("rows"), "rows is missing"),
    "a fact of a wrong type": (
        lambda r: r["environment"].update(processor=["a"]),
        "environment.processor is a list, not a text or null",
    ),
    "no environment": (lambda r: r.pop("environment"), "environment is missing"),
    "rows object": (lambda r: r.update(rows={}), "rows is an object, not a list"),
    "row text": (lambda r: r.update(rows=["x"]), r"rows\[0\] is a text, not an object"),
    "no model": (lambda r: r["rows"][0].pop("model"), r"rows\[0\]\.model is missing"),
    "no metrics": (lambda r: r["rows"][0].pop("metrics"), r"metrics is missing"),
    "settings list": (
        lambda r: r["rows"][0].update(settings=[]),
        "settings is a list, not an object",
    ),
    "status": (lambda r: r["rows"][0].update(status="fine"), "status: 'fine' is not one of"),
    "metric text": (
        lambda r: r["rows"][0]["metrics"].update(params="1"),
        "metrics.params is a text, not a number or null",
    ),
    "metric true": (
        lambda r: r["rows"][0]["metrics"].update(params=True),
        "metrics.params is true, not a number",
    ),
    "metric beyond every float": (
        lambda r: r["rows"][0]["metrics"].update(params=10**400),
        "metrics.params is 1000.*not a n",
    ),
    "whole number with a point": (
        lambda r: r["environment"].update(threads=2.0),
        "environment.threads is 2.0, not a whole",
    ),
    "missing number": (lambda r: r["rows"][0].update(missing={"flops": 1}), r"missing\.flops"),
    "parts": (
        lambda r: r["rows"][0].update(parts={"stage": [{}]}),
        r"rows\[0\]\.parts\.stage\[0\]\.part is missing",
    ),
    "published": (lambda r: r["rows"][0].update(published=["x"]), r"published\[0\]"),
    "twice": (lambda r: r.update(rows=r["rows"] * 2), r"rows\[1\] repeats rows\[0\]"),
}


BROKEN_CASES: dict[str, tuple[Change, str]] = {
    "cases object": (lambda r: r.update(cases={}), "cases is an object, not a list"),
    "case text": (lambda r: r.update(cases=["x"]), r"cases\[0\] is a text, not an object"),
    "case without id": (lambda r: r["cases"][0].pop("id"), r"cases\[0\]\.id is missing"),
    "id number": (lambda r: r["cases"][0].update(id=1), r"cases\[0\]\.id is 1, not a text"),
    "no execution": (lambda r: r["cases"][0].pop("execution"), r"cases\[0\]\.execution is missing"),
    "model text": (lambda r: r["cases"][0].update(model="x"), r"model is a text, not an object"),
    "batch text": (lambda r: r["cases"][0]["execution"].update(batch="1"), "batch is a text"),
    "batch true": (lambda r: r["cases"][0]["execution"].update(batch=True), "batch is true"),
    "threads list": (lambda r: r["cases"][0]["execution"].update(threads=[1]), "threads is a list"),
    "three sides": (lambda r: r["cases"][0]["execution"].update(imgsz=[1, 2, 3]), "is too long"),
    "a size of texts": (lambda r: r["cases"][0]["execution"].update(imgsz="ab"), "imgsz is a text"),
    "no size": (lambda r: r["cases"][0]["execution"].pop("imgsz"), "execution.imgsz is missing"),
    "a setting of the future": (
        lambda r: r["cases"][0]["execution"].update(later=1), r"cases\[0\]\.execution: .*later",
    ),
    "name number": (lambda r: r["cases"][0].update(name=1), r"cases\[0\]\.name is 1"),
    "seed null": (lambda r: r["cases"][0]["model"].update(seed=None), "seed is null, not a whole"),
    "file text": (lambda r: r["cases"][0]["model"].update(files=["x"]), r"files\[0\] is a text"),
    "hash number": (
        lambda r: r["cases"][0]["model"]["files"][0].update(sha256=1), "sha256 is 1, not a text",
    ),
    "row's case a list": (lambda r: r["rows"][0].update(case=[]), r"rows\[0\]\.case is a list"),
    "no such case": (lambda r: r["rows"][0].update(case="x"), r"rows\[0\]\.case names no case"),
    "an id twice": (lambda r: r.update(cases=r["cases"] * 2), r"cases\[1\] repeats the id"),
    "comparison text": (lambda r: r.update(comparisons=["x"]), r"comparisons\[0\] is a text"),
}  # fmt: skip
"""Of schema 2."""

BEYOND_JSON_SCHEMA = (
    "twice", "no such case", "an id twice",
    "metric beyond every float", "whole number with a point",
)  # fmt: skip


def without_cases(plain: dict[str, Any]) -> dict[str, Any]:
    """As a report of schema 1."""
    rows = [{key: value for key, value in row.items() if key != "case"} for row in plain["rows"]]
    rest = {key: value for key, value in plain.items() if key != "cases"}
    return {**rest, "schema_version": 1, "rows": rows}


@pytest.mark.parametrize(
    ("version", "name"),
    [(1, name) for name in BROKEN] + [(2, name) for name in (*BROKEN, *BROKEN_CASES)],
)
def test_what_is_not_a_report(version: int, name: str, tmp_path: Path) -> None:
    change, message = (BROKEN | BROKEN_CASES)[name]
    plain = json.loads(REPORT.to_json())
    plain = without_cases(plain) if version == 1 else plain
    assert is_valid(plain, version)
    change(plain)
    file = tmp_path / "run.json"
    file.write_text(json.dumps(plain), encoding="utf-8")
    with pytest.raises(ReportError, match=message) as caught:
        Report.load(file)
    assert str(file) in str(caught.value)
    assert caught.value.exit_code == 2
    if name not in BEYOND_JSON_SCHEMA:
        assert not is_valid(plain, version)


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"schema_version": 1, "rows": [', "[" * 100_000, '{"schema_version": NaN}',
     '{"schema_version": 1, "environment": {"x": Infinity}, "rows": []}',
     '{"schema_version": 1, "environment": {"x": 1e999}, "rows": []}'],
)  # fmt: skip
def test_what_is_not_json(text: str) -> None:
    with pytest.raises(ReportError, match=r"run\.json: not JSON"):
        Report.from_json(text, where="run.json")


@pytest.mark.parametrize("text", ["null", "[]", "3", '"x"', "{}"])
def test_json_that_is_no_report(text: str) -> None:
    with pytest.raises(ReportError, match="not a detrbench report"):
        Report.from_json(text)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"none\.json"):
        Report.load(tmp_path / "none.json")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ReportError, match="binary"):
        Report.load(tmp_path / "binary")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_refused_and_nothing_written(
    value: float, tmp_path: Path
) -> None:
    file = tmp_path / "run.json"
    for cell, place in (
        (dataclasses.replace(CELL, metrics={"flops": value}), r"rows\[0\]\.metrics\.flops"),
        (dataclasses.replace(CELL, samples={"x": [[value]]}), r"rows\[0\]\.samples\.x\[0\]\[0\]"),
    ):
        with pytest.raises(ReportError, match=place):
            Report((cell,)).save(file)
    assert list(tmp_path.iterdir()) == []


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(ReportError, match=r"environment\.x"):
        Report(environment={"x": object()}).to_json()
    with pytest.raises(ReportError, match="repeats"):
        Report((CELL, CELL)).to_json()


def test_a_report_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        REPORT.title = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("statuses", "code"),
    [((), 0), (("ok",), 0), (("ok", "failed"), 4), (("failed", "interrupted"), 130)],
)
def test_exit_codes(statuses: tuple[str, ...], code: int) -> None:
    rows = tuple(dataclasses.replace(CELL, status=status) for status in statuses)
    assert Report(rows).exit_code == code


def test_pandas_keeps_whole_numbers_whole_where_some_are_missing() -> None:
    without = dataclasses.replace(CELL, model="b", metrics={"params": None})
    frame = Report((CELL, without)).to_pandas()
    assert str(frame.params.dtype) == "Int64"
    assert frame.params[0] == 32_970_476
    assert frame.params.isna()[1]
    assert list(frame.model) == ["rtdetr-l", "b"]
    assert frame.arithmetic_intensity_flop_per_byte[0] == 0.1 + 0.2


# --- several cases of a model ---------------------------------------------------------------------


def rows_of(*cases: Case) -> tuple[Result, ...]:
    """Rows that nobody compared."""
    return tuple(
        Result(case.model.name, "", {**case.settings(), "nc": 80}, {}, case=case) for case in cases
    )


def named(case: Case, name: str, **execution: Any) -> Case:
    return dataclasses.replace(case, name=name).replace(**execution)


COMPILED = named(CASE, "rtdetr-l@runtime=compile", runtime="compile")
LARGE = named(CASE, "rtdetr-l@batch=8", batch=8)
OTHER = Case("shufflev2", Model("shufflev2", "shufflev2"))


def test_cases_are_those_of_rows_and_of_comparisons_each_once() -> None:
    assert list(MIXED.cases.values()) == [row.case for row in MIXED.rows]
    assert list(MIXED.cases) == [row.case.id for row in MIXED.rows if row.case]
    alone = dataclasses.replace(MIXED, rows=())
    assert set(alone.cases) == set(MIXED.cases), "of comparisons whose rows are elsewhere, too"
    assert Report.from_json(alone.to_json()) == alone


def test_a_row_is_read_against_the_baseline_of_its_comparison() -> None:
    by_name = {row.case.name: row for row in MIXED.rows if row.case}
    for row in MIXED.rows:
        batch = row.settings["batch"]
        baseline = by_name[f"rtdetr-l@batch={batch}"]
        assert MIXED.reference(row) is (None if row is baseline else baseline)
        pair = MIXED.comparison(row)
        assert (pair is None) == (row is baseline)
        assert pair is None or pair.case.case == row.case


def test_the_baseline_may_be_another_than_the_first_of_its_workload() -> None:
    rows = rows_of(CASE, COMPILED, OTHER)
    sides = [Side(row.model, row.settings, row.case) for row in rows]
    report = Report(rows, comparisons=(Comparison(sides[1], sides[2]),))
    assert [report.reference(row) for row in rows] == [None, rows[0], rows[1]]


def test_a_baseline_without_a_row_is_nothing_to_read_against() -> None:
    rows = rows_of(CASE, OTHER)
    pair = Comparison(Side("elsewhere"), Side("shufflev2", case=OTHER))
    assert Report(rows, comparisons=(pair,)).reference(rows[1]) is None


def test_what_nobody_timed_is_read_against_the_first_of_its_workload() -> None:
    staged = named(CASE, "rtdetr-l@stages=true", stages=True)
    rows = rows_of(CASE, COMPILED, OTHER, LARGE, staged, named(LARGE, "x", runtime="compile"))
    report = Report(rows)
    assert [report.reference(row) for row in rows] == [
        None, rows[0], rows[0], None, None, rows[3],
    ]  # fmt: skip
    again = dataclasses.replace(rows[0], settings={**rows[0].settings, "confirmation": 2})
    first = dataclasses.replace(rows[0], settings={**rows[0].settings, "confirmation": 1})
    assert Report((first, again)).reference(again) is None, "another run"


def test_a_label_is_the_case_s_name_where_a_model_has_several() -> None:
    report = Report((*rows_of(CASE, COMPILED, OTHER), dataclasses.replace(CELL, case=None)))
    labels = [report.label(row) for row in report.rows]
    assert labels == ["rtdetr-l", "rtdetr-l@runtime=compile", "shufflev2", "rtdetr-l"]


def test_records_have_a_column_of_notes_only_where_a_row_has_some() -> None:
    quiet = dataclasses.replace(CELL, notes=())
    two = dataclasses.replace(CELL, notes=("a note", "another"))
    notes = [record["notes"] for record in Report((two, quiet)).records()]
    assert notes == ["a note; another", None]
    assert "notes" not in Report((quiet,)).records()[0]


def test_records_have_a_column_of_cases_only_where_models_have_several() -> None:
    assert [record["case"] for record in Report(rows_of(CASE, COMPILED, OTHER)).records()] == [
        "rtdetr-l", "rtdetr-l@runtime=compile", "shufflev2",
    ]  # fmt: skip
    assert "case" not in Report(rows_of(COMPILED, OTHER)).records()[0]
    assert "case" not in REPORT.records()[0]
    compared = {record["case"]: record["compared_with"] for record in MIXED.records()}
    assert compared["shufflev2@batch=8,runtime=compile"] == "rtdetr-l@batch=8"
    assert compared["rtdetr-l@batch=8"] is None


def test_cases_that_ran_alike_may_stand_beside_each_other() -> None:
    two = named(CASE, "rtdetr-l@threads=2", threads=2)
    rows = tuple(
        dataclasses.replace(row, settings={**row.settings, "threads": 2})
        for row in rows_of(CASE, two)
    )
    assert rows[0].identity == rows[1].identity
    assert Report.from_json(Report(rows).to_json()).rows == rows
    with pytest.raises(ReportError, match="repeats"):
        Report((rows[0], rows[0])).to_json()


# --- writing --------------------------------------------------------------------------------------


def test_saving_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text("old", encoding="utf-8")
    file.chmod(0o640)
    REPORT.save(file)
    assert Report.load(file) == REPORT
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [file]


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "run.json"
    file.write_text("old", encoding="utf-8")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match="No space left"):
        write_atomically(file, "new")
    assert file.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_new_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", "x")
    (tmp_path / "b").write_text("x", encoding="utf-8")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_atomically(tmp_path / "link", "x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text(encoding="utf-8") == "x"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="folder that exists"):
        write_atomically(tmp_path / "none" / "a", "x")
