"""The schemas describe what is written today, and what lies in `reports/` from before."""

from __future__ import annotations

import dataclasses
import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from detrbench.models.model import File, Model
from detrbench.reports.case import Case, Execution
from detrbench.reports.comparison import Comparison, Side
from detrbench.reports.report import SCHEMA_VERSION, Report, Result
from detrbench.reports.schemas import FILES, first_problem, schema
from tests.render.sample import MIXED, REPORT

SAVED = [
    path
    for path in sorted(Path("reports").glob("**/*.json"))
    if '"schema_version"' in path.read_text(encoding="utf-8")[:200]
]


@cache
def validator(version: int) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema(version))


def names(kind: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


@pytest.mark.parametrize("version", FILES)
def test_a_schema_is_valid_and_says_of_which_version_it_is(version: int) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(version))
    assert schema(version)["$id"] == f"urn:detrbench:report:{version}"
    assert schema(version)["properties"]["schema_version"] == {"const": version}


def test_the_last_schema_is_of_what_is_written() -> None:
    assert max(FILES) == SCHEMA_VERSION


def test_it_names_every_field_of_a_report_and_of_what_it_holds() -> None:
    written = schema(SCHEMA_VERSION)
    assert set(written["properties"]) == names(Report) | {"cases"}
    parts = {name: set(part["properties"]) for name, part in written["$defs"].items()}
    assert parts["row"] == names(Result)
    assert parts["case"] == names(Case) | {"id"}
    assert parts["side"] == names(Side)
    assert parts["comparison"] == names(Comparison)
    inner = written["$defs"]["case"]["properties"]
    assert set(inner["execution"]["properties"]) == names(Execution)
    assert set(inner["model"]["properties"]) == names(Model)
    assert set(inner["model"]["properties"]["files"]["items"]["properties"]) == names(File)


@pytest.mark.parametrize("report", [REPORT, MIXED, Report()], ids=["sample", "mixed", "empty"])
def test_what_is_written_is_of_the_last_version(report: Report) -> None:
    validator(SCHEMA_VERSION).validate(json.loads(report.to_json()))


def test_there_are_saved_reports_to_check() -> None:
    assert len(SAVED) >= 9


@pytest.mark.parametrize("path", SAVED, ids=str)
def test_a_saved_report_is_of_its_version_and_is_written_again_as_the_last(path: Path) -> None:
    plain = json.loads(path.read_text(encoding="utf-8"))
    validator(plain["schema_version"]).validate(plain)
    report = Report.load(path)
    again = report.to_json()
    validator(SCHEMA_VERSION).validate(json.loads(again))
    renewed = Report.from_json(again)
    assert renewed.schema_version == SCHEMA_VERSION
    assert dataclasses.replace(renewed, schema_version=report.schema_version) == report
    assert not any(pair.unusable for pair in report.comparisons)


def test_the_first_problem_is_said_in_the_words_of_the_file() -> None:
    assert first_problem(json.loads(MIXED.to_json()), SCHEMA_VERSION) is None
    assert first_problem([], 1) == "the report is a list, not an object"
    assert first_problem({"schema_version": 1, "environment": {}, "rows": True}, 1) == (
        "rows is true, not a list"
    )
