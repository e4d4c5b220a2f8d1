"""What a process dies of is told of the case that was being called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from detrbench.timing import opened
from detrbench.timing.journal import Journal, read_journal
from detrbench.timing.opened import Ready, Watch


class Quiet:
    """In place of a runtime, a step and a ledger."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args: None


class Clocked:
    class clock:
        channels = ("latency_s",)


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watch:
    monkeypatch.setattr(opened, "open_ledger", lambda device: Quiet())
    runtime: Any = Quiet()
    step: Any = Clocked()
    ready = [Ready("a", step, runtime), Ready("b: neck", step, runtime, "b")]
    return Watch(ready, "cpu", journal=Journal(tmp_path / "journal"))


def test_in_the_warm_up_it_is_the_one_called_last(watch: Watch, tmp_path: Path) -> None:
    for index in (0, 1, 0):  # all were called once, and a again
        watch.before(index)
    assert read_journal(tmp_path / "journal").at == "a"


def test_a_stage_is_of_its_case(watch: Watch, tmp_path: Path) -> None:
    watch.first_call(1)
    assert read_journal(tmp_path / "journal").at == "b"


def test_in_a_timed_round_no_one_is_made_ready(watch: Watch, tmp_path: Path) -> None:
    watch.before(0)
    watch.begin()
    watch.before(1)
    told = read_journal(tmp_path / "journal")
    assert (told.at, told.during) == (None, "b")
