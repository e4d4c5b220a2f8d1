"""The attacks: what they are made of, whose processes are found, and what is wrong with an end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.benchmarks.scripts import load


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("attacks", monkeypatch)


def test_every_attack_can_be_told_from_the_others_and_carried_out(script: ModuleType) -> None:
    names = [one.name for one in script.ATTACKS]
    assert len(set(names)) == len(names)
    for one in script.ATTACKS:
        compile(one.hostile, one.name, "exec")
        re.compile(one.says), re.compile(one.never)
        assert one.codes


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_what_is_left_of_an_attack_is_found_by_its_mark(script: ModuleType, tmp_path: Path) -> None:
    marked = {**os.environ, script.MARK: str(tmp_path)}
    parent = "import subprocess, sys; subprocess.Popen(['sleep', '60'])"
    subprocess.run([sys.executable, "-c", parent], env=marked, check=True)
    (left,) = script.marked(str(tmp_path))
    assert script.marked(str(tmp_path / "other")) == []
    os.kill(left, 9)


@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        ((0, 5.0, "hostile", 0), []),
        ((0, 90.0, "hostile", 0), ["it had not ended after 90 s"]),
        ((70, 5.0, "hostile", 0), ["exit code 70"]),
        ((0, 5.0, "Traceback (most recent call last)\nhostile", 0), ["a traceback"]),
        ((0, 5.0, "hostile", 2), ["2 processes were left"]),
        ((0, 5.0, "calm", 0), ["it does not say hostile"]),
        (
            (0, 5.0, "plan: FASTER\n  hostile.py:build  -9%  FASTER", 0),
            ["it says hostile.py:build  -9%  FASTER"],
        ),
    ],
)
def test_an_end_is_wrong_by_rule(
    script: ModuleType, told: tuple[int, float, str, int], wrong: list[str]
) -> None:
    attack = script.Attack("a", "latency", (0, 4), says="hostile", never=script.NO_SPEED)
    assert list(script._wrong(attack, *told)) == wrong


def test_the_summary_is_a_table(script: ModuleType) -> None:
    records = [
        {"name": "a", "exit_code": 0, "seconds": 1.25, "said": ["x", "a | b"], "wrong": []},
        {"name": "b", "exit_code": 70, "seconds": 2.0, "said": [], "wrong": ["exit code 70"]},
    ]
    lines = script.summary({"attacks": records}).splitlines()
    assert lines[2:4] == [
        "| a | 0 | 1.2 | right | a / b |",
        "| b | 70 | 2.0 | exit code 70 |  |",
    ]
    assert lines[-1] == "1 of 2 as they should: missed (goal all)"
