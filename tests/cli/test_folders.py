"""A file in place of the folder that a command writes into."""

from __future__ import annotations

from pathlib import Path

import pytest

from detrbench.cli import main


@pytest.mark.parametrize("below", ["", "/deeper"])
@pytest.mark.parametrize("command", ["latency rtdetr-l", "selfcheck rtdetr-l"])
def test_it_is_a_usage_error(
    command: str, below: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    assert main([*command.split(), "--imgsz", "64", "--folder", f"{file}{below}"]) == 2
    assert "cannot be made a folder" in capsys.readouterr().err
