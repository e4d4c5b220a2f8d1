"""What services read, to the letter."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detrbench.compare.ci import github, series
from detrbench.compare.ci.junit import junit
from detrbench.compare.gate import Check, GateResult, Outcome
from detrbench.compare.gate.tables import document
from detrbench.core.errors import DetrbenchWarning
from detrbench.core.stats import Interval
from detrbench.render import render_document
from detrbench.reports.report import Report, Result
from tests.compare.gates import MACHINE, run

SETTINGS = {"imgsz": "640x640", "batch": 1}

PASSED = Check(Outcome.PASS, "mine", SETTINGS, "kernels", 742, 742, 0.0)
SLOWER = Check(
    Outcome.REGRESSION, "models/mine.yaml", SETTINGS, "latency_median_s", 0.8, 0.9, 0.05,
    interval=Interval(1.125, 1.11, 1.14), reference="ref",
    reasons=("the whole interval is beyond the limit",), hint="Find where the time goes.",
)  # fmt: skip
LARGER = Check(
    Outcome.REGRESSION, "mine", SETTINGS, "params", None, 32_970_476, 20e6, ceiling=True,
    reasons=("32,970,476 is more than 20,000,000",), hint="Make it smaller.",
)  # fmt: skip
UNDECIDED = Check(
    Outcome.INCONCLUSIVE, "mine", SETTINGS, "latency_median_s", 0.5, 0.51, 0.05,
    interval=Interval(1.02, 0.98, 1.06), reasons=("it reaches across",), hint="Measure longer.",
)  # fmt: skip
GONE = Check(Outcome.INVALID, "gone", SETTINGS, reasons=("this run does not have it",), hint="Go.")
RESULT = GateResult((PASSED, SLOWER, UNDECIDED, GONE, LARGER), notes=("this run: here",))


REPORT = Report.from_json(json.dumps(run()))
GOLDEN = Path(__file__).parent / "golden"
FILES = {
    "gate.txt": lambda: render_document(document(RESULT), "table"),
    "gate.md": lambda: render_document(document(RESULT), "markdown"),
    "gate.csv": lambda: render_document(document(RESULT), "csv"),
    "gate.json": lambda: render_document(document(RESULT), "json"),
    "junit.xml": lambda: junit(RESULT),
    "annotations.txt": lambda: "\n".join(github.workflow_commands(RESULT, {})) + "\n",
    "smaller-is-better.json": lambda: series.smaller_is_better(REPORT),
    "bencher.json": lambda: series.bencher(REPORT),
}


@pytest.mark.parametrize("name", FILES)
def test_golden(name: str) -> None:
    """DETRBENCH_GOLDEN=write renews the files; look at the difference before committing it."""
    text = FILES[name]()
    file = GOLDEN / name
    if os.environ.get("DETRBENCH_GOLDEN") == "write":
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("outcome", Outcome)
def test_the_first_line_says_the_outcome_and_what_to_do(outcome: Outcome) -> None:
    check = Check(outcome, "mine", reasons=("so",), hint="Do this.")
    line = document(GateResult((PASSED, check))).tables[0].caption
    assert line.startswith(f"{outcome.value}: ")
    assert line.endswith("Do this.")


# --- GitHub -------------------------------------------------------------------------------------


def test_the_summary_is_appended_and_nowhere_without_the_variable(tmp_path: Path) -> None:
    file = tmp_path / "summary.md"
    github.append_summary("# one\n", {"GITHUB_STEP_SUMMARY": str(file)})
    github.append_summary("| 模型 \ud800|", {"GITHUB_STEP_SUMMARY": str(file)})
    github.append_summary("nowhere", {})
    assert file.read_text(encoding="utf-8") == "# one\n\n| 模型 ?|\n\n"


def test_a_summary_that_cannot_be_written_is_said_and_changes_nothing(tmp_path: Path) -> None:
    with pytest.warns(DetrbenchWarning, match="summary cannot be written"):
        github.append_summary("text", {"GITHUB_STEP_SUMMARY": str(tmp_path)})


def unescaped(command: str) -> tuple[dict[str, str], str]:
    """A workflow command read back as the runner reads it: properties, and the message."""
    match = re.fullmatch(r"::(?:error|warning) (.*?)::(.*)", command)
    assert match is not None
    properties = dict(part.split("=", 1) for part in match[1].split(","))
    back = {"%3A": ":", "%2C": ",", "%0D": "\r", "%0A": "\n", "%25": "%"}

    def plain(text: str) -> str:
        return re.sub("%(?:3A|2C|0D|0A|25)", lambda found: back[found[0]], text)

    return {name: plain(value) for name, value in properties.items()}, plain(match[2])


@given(model=st.text(min_size=1), reason=st.text(min_size=1))
def test_no_text_breaks_out_of_a_workflow_command(model: str, reason: str) -> None:
    check = Check(Outcome.INVALID, model, reasons=(reason,))
    (command,) = github.workflow_commands(GateResult((check,)), {})
    assert not re.search("[\r\n]", command)
    properties, message = unescaped(command)
    assert message == reason
    assert properties == {"title": f"detrbench INVALID: every figure of {model}"}


def test_a_command_in_a_reason_is_only_text() -> None:
    check = Check(Outcome.INVALID, "a", reasons=("x\n::add-mask::secret\r\n::stop-commands::y",))
    (command,) = github.workflow_commands(GateResult((check,)), {})
    assert command.splitlines() == [command]
    assert command.count("\n") == 0


def test_annotations_name_the_models_file_from_the_top_of_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "checkout" / "sub" / "my models"
    models.mkdir(parents=True)
    (models / "a,b.yaml").touch()
    outside = tmp_path / "outside.yaml"
    outside.touch()
    monkeypatch.chdir(models.parent)
    environment = {"GITHUB_WORKSPACE": str(tmp_path / "checkout")}
    names = {
        "my models/a,b.yaml": "sub/my models/a,b.yaml",
        str(models / "a,b.yaml"): "sub/my models/a,b.yaml",
        str(outside): str(outside),
        "rtdetr-l": None,
        "": None,
    }
    for model, file in names.items():
        result = GateResult((Check(Outcome.INVALID, model, reasons=("so",)),))
        (command,) = github.workflow_commands(result, environment)
        assert unescaped(command)[0].get("file") == file


def test_only_what_is_no_pass_is_annotated() -> None:
    levels = [command.split(" ")[0] for command in github.workflow_commands(RESULT, {})]
    assert levels == ["::error", "::error", "::error", "::warning"]
    assert github.workflow_commands(GateResult((PASSED,)), {}) == []


def test_github_is_where_it_says_so() -> None:
    assert github.on_github({"GITHUB_ACTIONS": "true"})
    assert not github.on_github({"GITHUB_ACTIONS": "false"})
    assert not github.on_github({})


# --- JUnit --------------------------------------------------------------------------------------


def test_junit_counts_what_it_holds() -> None:
    suite = ElementTree.fromstring(junit(RESULT)).find("testsuite")
    assert suite is not None
    assert len(suite.findall("testcase")) == int(suite.attrib["tests"]) == len(RESULT.checks)
    for name, element in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert len(suite.findall(f"testcase/{element}")) == int(suite.attrib[name]) > 0


@given(model=st.text(), reason=st.text(min_size=1))
def test_junit_is_xml_whatever_the_texts_hold(model: str, reason: str) -> None:
    check = Check(Outcome.INVALID, model, reasons=(reason,), hint="<&>")
    case = ElementTree.fromstring(junit(GateResult((check,))).encode()).find(".//error")
    assert case is not None
    plain = "".join(letter for letter in reason if letter.isalnum())
    assert plain == "".join(letter for letter in case.attrib["message"] if letter.isalnum())


def test_control_characters_are_replaced() -> None:
    check = Check(Outcome.INVALID, "a\x00b", reasons=("bell \x07, lone \ud800, \ufffe end",))
    error = ElementTree.fromstring(junit(GateResult((check,)))).find(".//error")
    assert error is not None
    assert error.attrib["message"] == "bell \ufffd, lone \ufffd, \ufffd end"


# --- series -------------------------------------------------------------------------------------


def test_smaller_is_better_has_what_the_action_reads() -> None:
    entries = json.loads(series.smaller_is_better(REPORT))
    for entry in entries:
        assert set(entry) <= {"name", "unit", "value", "range", "extra"}
        assert isinstance(entry["name"], str)
        assert isinstance(entry["unit"], str)
        assert entry["unit"]
        assert isinstance(entry["value"], int | float)
        assert all(isinstance(entry.get(key, ""), str) for key in ("range", "extra"))
    names = [entry["name"] for entry in entries]
    assert len(set(names)) == len(names)
    (latency,) = [each for each in entries if each["name"].startswith("mine") and "range" in each]
    assert (latency["unit"], latency["value"], latency["range"]) == ("ms", 400.0, "[392.0-408.0]")


def test_bencher_keeps_base_units_and_intervals() -> None:
    benchmarks = json.loads(series.bencher(REPORT))
    (mine,) = [measures for name, measures in benchmarks.items() if name.startswith("mine")]
    assert mine["params"] == {"value": 32_970_476}
    assert mine["latency_median_s"] == {
        "value": 0.4, "lower_value": 0.4 * 0.98, "upper_value": 0.4 * 1.02
    }  # fmt: skip
    assert all(len(key) <= 64 for key in mine)  # what Bencher allows


def test_what_is_missing_or_failed_is_no_zero_in_a_series() -> None:
    failed = Result("bad", "Bad", SETTINGS, {"params": 1}, status="failed", reason="so")
    partial = Result("part", "Part", SETTINGS, {"params": None, "kernels": 7})
    report = Report((failed, partial), MACHINE)
    (entry,) = json.loads(series.smaller_is_better(report))
    assert (entry["name"], entry["value"]) == ("part (image 640x640, batch 1): Kernels", 7)
    assert json.loads(series.bencher(report)) == {
        "part (image 640x640, batch 1)": {"kernels": {"value": 7}}
    }


def test_the_same_model_under_other_settings_is_another_series() -> None:
    rows = tuple(Result("m", "M", {"imgsz": size}, {"params": 1}) for size in ("64x64", "32x32"))
    assert len(json.loads(series.bencher(Report(rows, MACHINE)))) == 2
