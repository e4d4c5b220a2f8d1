"""Saving, reading, and refusing what is not a report."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import stat
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from detrbench.core.errors import UsageError
from detrbench.core.files import write_atomically
from detrbench.reports.report import Report, ReportError, Result

CELL = Result(
    "rtdetr-l",
    "RT-DETR-L",
    {"imgsz": "640x640", "batch": 1, "nc": 80, "fused": False, "convention": "core"},
    {"params": 32_970_476, "flops": 109_536_153_600, "arithmetic_intensity": 0.1 + 0.2},
    samples={"latency_s": [[0.1 + 0.2, 1e-9]]},
    notes=("a note",),
)
REPORT = Report((CELL,), environment={"torch": "2.14.1"}, title="t", created="2026-01-02")


@pytest.fixture(scope="module")
def schema() -> Any:
    text = (resources.files("detrbench.reports") / "report.schema.json").read_text(encoding="utf-8")
    return json.loads(text)


def test_round_trip_keeps_every_bit() -> None:
    again = Report.from_json(REPORT.to_json())
    assert again == REPORT
    assert again.rows[0].samples["latency_s"][0][0] == 0.1 + 0.2


def test_the_schema_is_valid_and_accepts_what_is_written(schema: Any) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(json.loads(REPORT.to_json()))


def test_the_schema_names_every_field_of_a_row_and_of_the_report(schema: Any) -> None:
    row = {f.name for f in dataclasses.fields(Result)}
    assert set(schema["$defs"]["row"]["properties"]) == row
    assert set(schema["properties"]) == {f.name for f in dataclasses.fields(Report)}


def test_the_issue_s_shape_is_enough(schema: Any) -> None:
    least = {
        "schema_version": 1,
        "environment": {},
        "rows": [{"model": "m", "settings": {}, "metrics": {"params": 1}, "status": "ok"}],
    }
    jsonschema.Draft202012Validator(schema).validate(least)
    assert Report.from_json(json.dumps(least)).rows[0].title == "m"


Change = Callable[[dict[str, Any]], object]

BROKEN: dict[str, tuple[Change, str]] = {
    "no version": (lambda r: r.pop("schema_version"), "no schema_version"),
    "version text": (lambda r: r.update(schema_version="1"), "schema_version is '1'"),
    "version true": (lambda r: r.update(schema_version=True), "schema_version is True"),
    "version 0": (lambda r: r.update(schema_version=0), "from 1"),
    "newer": (lambda r: r.update(schema_version=2), "newer detrbench"),
    "no rows": (lambda r: r.pop("rows"), "rows is missing"),
    "a fact of a wrong type": (
        lambda r: r["environment"].update(processor=["a"]),
        "environment.processor is a list, not a text or null",
    ),
    "no environment": (lambda r: r.pop("environment"), "environment is missing"),
    "rows object": (lambda r: r.update(rows={}), "rows is an object, not a list"),
    "row text": (lambda r: r.update(rows=["x"]), r"rows\[0\] is a text"),
    "no model": (lambda r: r["rows"][0].pop("model"), r"rows\[0\]\.model is missing"),
    "no metrics": (lambda r: r["rows"][0].pop("metrics"), r"metrics is missing"),
    "settings list": (lambda r: r["rows"][0].update(settings=[]), "settings is a list"),
    "status": (lambda r: r["rows"][0].update(status="fine"), "status is 'fine'"),
    "metric text": (lambda r: r["rows"][0]["metrics"].update(params="1"), "metrics.params is '1'"),
    "metric true": (lambda r: r["rows"][0]["metrics"].update(params=True), "metrics.params is Tr"),
    "missing number": (lambda r: r["rows"][0].update(missing={"flops": 1}), r"missing\.flops"),
    "parts": (lambda r: r["rows"][0].update(parts={"stage": [{}]}), "with a `part`"),
    "published": (lambda r: r["rows"][0].update(published=["x"]), r"published\[0\]"),
    "twice": (lambda r: r.update(rows=r["rows"] * 2), r"rows\[1\] repeats rows\[0\]"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_not_a_report(name: str, schema: Any, tmp_path: Path) -> None:
    change, message = BROKEN[name]
    plain = json.loads(REPORT.to_json())
    change(plain)
    file = tmp_path / "run.json"
    file.write_text(json.dumps(plain), encoding="utf-8")
    with pytest.raises(ReportError, match=message) as caught:
        Report.load(file)
    assert str(file) in str(caught.value)
    assert caught.value.exit_code == 2
    if name != "twice":  # uniqueness of model and settings is beyond JSON Schema
        assert not jsonschema.Draft202012Validator(schema).is_valid(plain)


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


def test_with_row_leaves_the_report_as_it_was() -> None:
    other = dataclasses.replace(CELL, model="b")
    assert len(REPORT.with_row(other).rows) == 2
    assert len(REPORT.rows) == 1
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
    frame = REPORT.with_row(without).to_pandas()
    assert str(frame.params.dtype) == "Int64"
    assert frame.params[0] == 32_970_476
    assert frame.params.isna()[1]
    assert list(frame.model) == ["rtdetr-l", "b"]
    assert frame.arithmetic_intensity_flop_per_byte[0] == 0.1 + 0.2


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
