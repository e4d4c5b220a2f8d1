"""What GitHub Actions reads, to the letter."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detrbench.compare.ci import github
from detrbench.compare.gate import Check, GateResult, Outcome
from detrbench.core.errors import DetrbenchWarning
from detrbench.core.visible import visible
from tests.compare.gates import PASSED, RESULT, check_golden


def test_golden() -> None:
    text = "\n".join(github.workflow_commands(RESULT, {})) + "\n"
    check_golden(Path(__file__).parent / "golden" / "annotations.txt", text)


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
    assert message == visible(reason, lines=True)
    assert properties == {"title": visible(f"detrbench INVALID: every figure of {model}")}


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
    for name in ("a,b.yaml", "mine.py"):
        (models / name).touch()
    outside = tmp_path / "outside.yaml"
    outside.touch()
    monkeypatch.chdir(models.parent)
    environment = {"GITHUB_WORKSPACE": str(tmp_path / "checkout")}
    names = {
        "my models/a,b.yaml": "sub/my models/a,b.yaml",
        str(models / "a,b.yaml"): "sub/my models/a,b.yaml",
        "my models/a,b.yaml@seed=1": "sub/my models/a,b.yaml",
        "my models/mine.py:build": "sub/my models/mine.py",
        "my models/mine.py:build@batch=2": "sub/my models/mine.py",
        str(outside): str(outside),
        "rtdetr-l": None,
        "my models/none.py:build": None,
        "x" * 5000: None,
        "a\0b": None,
        "a@b=": None,
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
