"""What is remembered, with the circumstances that it was measured in."""

from __future__ import annotations

from typing import Any

import pytest

from detrbench.machine.circumstances import Circumstances, Noted
from detrbench.machine.environment import Environment
from detrbench.machine.state import remember, remember_quieter, remembered, state_file

QUIET = Circumstances()
BUSY = Circumstances((Noted("foreign work", "others used 40%", "Wait."),))
SPOILT = Circumstances((Noted("contended", "it waited 80%", "Wait.", invalidating=1),))


def kept(value: int) -> dict[str, Any]:
    return {"value": value, "created": f"day {value}"}


def test_what_a_quiet_machine_gave_is_remembered() -> None:
    said = remember_quieter("x", "cpu", kept(1), QUIET)
    assert said == f"remembered in {state_file('x')}"
    assert remembered("x", "cpu") == {**kept(1), "circumstances": []}


def test_what_a_busy_one_gave_is_remembered_and_marked() -> None:
    said = remember_quieter("x", "cpu", kept(1), BUSY)
    assert said.startswith(f"remembered in {state_file('x')}, marked: measured on a busy machine")
    assert remembered("x", "cpu") == {**kept(1), "circumstances": BUSY.to_list()}


def test_what_says_nothing_is_not_remembered() -> None:
    said = remember_quieter("x", "cpu", kept(1), SPOILT)
    assert said == "not remembered: measured on a busy machine (contended), so that it says nothing"
    assert remembered("x", "cpu") is None


def test_a_busy_hour_does_not_take_the_place_of_a_quiet_one() -> None:
    remember_quieter("x", "cpu", kept(1), QUIET)
    said = remember_quieter("x", "cpu", kept(2), BUSY)
    assert said.endswith(
        "on a busy machine (foreign work); what a quiet machine gave of day 1 is kept"
    )
    assert (remembered("x", "cpu") or {})["value"] == 1
    assert "marked" in remember_quieter("x", "cuda", kept(2), BUSY), "of another device"
    remember_quieter("x", "cpu", kept(3), QUIET)
    assert (remembered("x", "cpu") or {})["value"] == 3


@pytest.mark.parametrize("before", [{"value": 1}, {"value": 1, "circumstances": BUSY.to_list()}])
def test_it_takes_the_place_of_what_was_no_better_or_is_not_known(before: dict[str, Any]) -> None:
    remember("x", "cpu", before)
    assert "marked" in remember_quieter("x", "cpu", kept(2), BUSY)
    assert (remembered("x", "cpu") or {})["value"] == 2


def test_some_pages_of_memory_make_no_other_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(memory: int) -> None:
        here = Environment(processor="AMD EPYC", logical_cpus=2, memory_bytes=memory, torch="2")
        monkeypatch.setattr(Environment, "read", classmethod(lambda cls: here))

    told(25_276_502_016)
    remember("x", "cpu", {"found": 1})
    told(25_276_510_208)
    assert remembered("x", "cpu") == {"found": 1}
    remember("x", "cpu", {"found": 2})
    told(25_276_502_016)
    assert remembered("x", "cpu") == {"found": 2}, "in its place, not beside it"
    told(20 * 10**9)
    assert remembered("x", "cpu") is None
    assert remembered("x", "cuda:0") is None
