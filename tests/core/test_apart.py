"""Calls in a copy of the process: their results come back, and nothing else."""

from __future__ import annotations

import os

import pytest

from detrbench.core.apart import CAN_COPY, Unfinished, call_apart
from detrbench.core.errors import UsageError

pytestmark = pytest.mark.skipif(not CAN_COPY, reason="this system does not copy processes")


def test_what_is_changed_there_stays_there() -> None:
    seen: list[int] = []

    def call() -> tuple[int, list[int]]:
        seen.append(7)
        return os.getpid(), seen

    process, result = call_apart(call)
    assert process != os.getpid()
    assert result == [7]
    assert seen == []


def test_an_error_comes_back_whole() -> None:
    def call() -> None:
        raise UsageError("what", where="where", hint="hint")

    with pytest.raises(UsageError) as caught:
        call_apart(call)
    assert (caught.value.what, caught.value.where, caught.value.hint) == ("what", "where", "hint")


def test_a_class_of_a_function_comes_back_as_itself() -> None:
    class Local:
        pass

    assert call_apart(lambda: {"kind": Local}, [Local]) == {"kind": Local}


def test_what_means_nothing_elsewhere_comes_back_as_none() -> None:
    assert call_apart(lambda: [range(3), 1.5], left=(range,)) == [None, 1.5]


def test_a_copy_that_dies_says_how() -> None:
    with pytest.raises(Unfinished, match="exit code 9"):
        call_apart(lambda: os._exit(9))
