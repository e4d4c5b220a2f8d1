"""Calls in a copy of the process: their results come back, and nothing else."""

from __future__ import annotations

import os
import signal
import threading
import time

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


class Strange(Exception):
    """Cannot be made again of its arguments, nor say what it is."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__("of two numbers")

    def __str__(self) -> str:
        raise ValueError("no text")


def test_an_error_that_cannot_be_made_again_is_named() -> None:
    def call() -> None:
        raise Strange(1, 2)

    with pytest.raises(Unfinished, match=r"^Strange$"):
        call_apart(call)


def test_what_cannot_be_sent_is_named() -> None:
    with pytest.raises(Unfinished, match=r"cannot be sent back: TypeError: .*lock"):
        call_apart(threading.Lock)


def test_a_class_made_anew_comes_back_as_the_one_it_is_like() -> None:
    def made(base: type) -> type:
        class Local(base):  # type: ignore[misc]
            pass

        return Local

    known = made(dict)
    assert call_apart(lambda: [made(dict), made(list)], [known]) == [known, list]


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), SystemExit(3), BaseException("base")])
def test_whatever_the_call_raises_is_named(raised: BaseException) -> None:
    def call() -> None:
        raise raised

    with pytest.raises(Unfinished) as caught:
        call_apart(call)
    assert str(caught.value) == f"{type(raised).__name__}: {raised}".removesuffix(": ")


def test_ctrl_c_ends_both_and_is_the_originals() -> None:
    """As a terminal sends it: to both."""

    def call() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        call_apart(call)
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())
