"""What came from outside can be seen, and commands nobody."""

from __future__ import annotations

import json
import random
import textwrap
import unicodedata

import pytest

from detrbench.core.errors import UsageError
from detrbench.core.visible import visible, visible_json


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtdetr-l, 640x640: 5.0 % [1] é 中文", "rtdetr-l, 640x640: 5.0 % [1] é 中文"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("a\nb\r\tc\x00", r"a\nb\r\tc\x00"),
        ("x\u202egnp.exe\u2028\x85", r"x\u202egnp.exe\u2028\x85"),
        ("::error title=a::b", r"\x3a:error title=a\x3a:b"),
        (":::", r"\x3a\x3a:"),
        ("##[error]no", r"\x23#[error]no"),
        ("# # a: b", "# # a: b"),
        ("\ud800", r"\ud800"),
    ],
)
def test_by_hand(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible(shown) == shown, "twice is once"


def test_lines_may_stay() -> None:
    assert visible("a\n::error::b\x1b", lines=True) == "a\n\\x3a:error\\x3a:b\\x1b"


def test_whatever_it_is_given_nothing_of_it_moves_breaks_or_commands() -> None:
    draw = random.Random(0)
    pool = [*"ab:#[ \\", "::", "##[", "\n", "\r", "\x1b", "\u2028", "\u200f", "é", "\U0001f600"]
    for _ in range(2000):
        text = "".join(draw.choices(pool, k=draw.randrange(40)))
        shown = visible(text)
        assert not {unicodedata.category(each) for each in shown} & {"Cc", "Cf", "Zl", "Zp"}
        for line in textwrap.wrap(shown, draw.randrange(4, 20)) or [""]:
            assert not line.lstrip().startswith("::"), text
            assert "##[" not in line, text
        assert visible(shown) == shown


def test_an_error_commands_nobody() -> None:
    told = str(UsageError("no `x\n::error::y`", where="a\x1b[2J.yaml", hint="known: ::zzz"))
    assert "\x1b" not in told
    assert "::" not in told.replace(r"\x3a:", "")


def test_json_is_read_back_as_it_was_and_shows_what_it_holds() -> None:
    draw = random.Random(0)
    pool = [
        *'ab"\\#[ ',
        "##[",
        "\n",
        "\x1b",
        "\x7f",
        "\x9b",
        "\u202e",
        "é",
        "中",
        "\U000e0041",
        "\ud800",
    ]
    for _ in range(500):
        plain = {"".join(draw.choices(pool, k=8)): ["".join(draw.choices(pool, k=8))]}
        text = visible_json(json.dumps(plain, indent=1, ensure_ascii=False))
        assert json.loads(text) == plain
        assert all(each.isprintable() or each == "\n" for each in text)
        assert "##[" not in text
