"""`detrbench claims`: what it prints in every format, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from detrbench.cli import main
from detrbench.experiments.claims.rules import DENSENET, V2, V2_SE, Ruling
from tests.experiments.claims.reports import RIVALS, guidelines_report, report


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    made = {
        "rivals": report({**RIVALS, V2_SE: 0.66, DENSENET: 0.9}),
        "article": report({V2: 0.6}),
        "guidelines": guidelines_report("SLOWER", "G1", "G2", "G3"),
    }
    for name, each in made.items():
        each.save(tmp_path / f"{name}.json")
    return {name: str(tmp_path / f"{name}.json") for name in made}


def test_the_command_prints_claims_with_their_evidence(
    files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [word for name, file in files.items() for word in (f"--{name}", file)]
    assert main(["claims", *arguments]) == 0
    printed = capsys.readouterr().out
    assert "6. It combines with" in printed
    assert "33 of 35 1x1 convolutions" in printed  # of the network itself
    assert f"Evidence: {files['rivals']}" in " ".join(printed.split())
    assert main(["claims", *arguments, "--format", "json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert [claim["number"] for claim in plain["claims"]] == [1, 2, 3, 4, 5, 6]
    assert {each["file"] for each in plain["evidence"]} == set(files.values())
    assert main(["claims", *arguments, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["verdict"] for row in rows} <= {ruling.value for ruling in Ruling}
    assert len(rows) == sum(len(claim["parts"]) for claim in plain["claims"])


@pytest.mark.parametrize("format", ["table", "markdown", "latex", "html"])
def test_the_command_in_every_format(
    format: str, files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["claims", "--rivals", files["rivals"], "--format", format]) == 0
    assert "not testable here" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rivals", "none.json"], ["none.json", "cannot be read"]),
        (["--rivals", "{article}", "--article", "{guidelines}"], ["no comparison with shufflev2"]),
        (["--guidelines", "{article}"], ["article.json: the report has no rows of the guidelines"]),
        (["--format", "tabel"], ["--format", "table?"]),
    ],
)
def test_usage_errors(
    arguments: list[str],
    words: list[str],
    files: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["claims", *(each.format(**files) for each in arguments)]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words), said
