"""One run for each folder."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from detrbench.core.errors import UsageError
from detrbench.core.locks import NAME, held


def test_it_says_who_holds_it_and_leaves_nothing(tmp_path: Path) -> None:
    with held(tmp_path):
        holder = json.loads((tmp_path / NAME).read_text())
        assert (holder["pid"], holder["host"]) == (os.getpid(), platform.node())
        assert holder["since"][:2] == "20"
    assert list(tmp_path.iterdir()) == []


def test_a_second_one_is_refused_with_who_is_there(tmp_path: Path) -> None:
    with held(tmp_path):
        with (
            pytest.raises(UsageError, match=f"process {os.getpid()} on ") as caught,
            held(tmp_path),
        ):
            pass
        assert NAME in (caught.value.hint or "")
        assert (tmp_path / NAME).exists(), "which took nothing away"
    with held(tmp_path):
        pass


def test_what_a_killed_one_left_is_taken_over_and_said(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from detrbench.core.locks import held\n"
        "with held(Path(sys.argv[1])): os._exit(9)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert killed.returncode == 9
    pid = json.loads((tmp_path / NAME).read_text())["pid"]
    said: list[str] = []
    with held(tmp_path, said.append):
        assert json.loads((tmp_path / NAME).read_text())["pid"] == os.getpid()
    (told,) = said
    assert f"from process {pid} on {platform.node()}, since 20" in told
    assert "gone" in told


def test_of_another_host_nothing_is_known(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(json.dumps({"pid": 1, "host": "elsewhere", "since": "then"}))
    with pytest.raises(UsageError, match="process 1 on elsewhere, since then"), held(tmp_path):
        pass
    assert (tmp_path / NAME).exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "7"])
def test_a_file_that_says_nothing_is_nobody_s(text: str, tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(text)
    with held(tmp_path):
        pass
    assert not (tmp_path / NAME).exists()
