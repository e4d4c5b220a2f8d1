"""The load: as many loops as asked for, in sessions of their own, gone when it ends."""

from __future__ import annotations

import subprocess
from types import ModuleType
from typing import Any

import pytest

from tests.benchmarks.scripts import load


class Loop:
    """A process that only remembers what became of it."""

    started: list[Loop]

    def __init__(self, command: list[str], **options: Any) -> None:
        if len(self.started) == 3:
            raise OSError("no more processes")
        self.command, self.options, self.done = command, options, []
        self.started.append(self)

    def kill(self) -> None:
        self.done.append("killed")

    def wait(self) -> None:
        self.done.append("waited for")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = load("busy", monkeypatch)
    Loop.started = []
    monkeypatch.setattr(subprocess, "Popen", Loop)
    return module


@pytest.mark.parametrize("on_off_s", [None, (5.0, 40.0)])
def test_loops_are_there_until_something_goes_wrong(
    script: ModuleType, on_off_s: tuple[float, float] | None
) -> None:
    def interrupted() -> None:
        with script.busy(2, on_off_s):
            assert [loop.done for loop in Loop.started] == [[], []]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [loop.done for loop in Loop.started] == [["killed", "waited for"]] * 2
    assert all(loop.options["start_new_session"] for loop in Loop.started)
    for loop in Loop.started:
        compile(loop.command[-1], "loop", "exec")


def test_those_that_started_end_where_one_does_not(script: ModuleType) -> None:
    with pytest.raises(OSError, match="no more processes"), script.busy(4):
        pass
    assert [loop.done for loop in Loop.started] == [["killed", "waited for"]] * 3
