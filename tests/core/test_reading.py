"""Readers of YAML values: what each takes, and what it says with file and line of the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detrbench.core import reading
from detrbench.core.errors import SpecError, UsageError
from detrbench.core.strict_yaml import Node, read_yaml


@pytest.fixture
def node(tmp_path: Path) -> Callable[[str], Node]:
    """The value of `key` in a file, where it stands in line 2."""

    def made(value: str) -> Node:
        file = tmp_path / "any.yaml"
        file.write_text(f"# a comment\nkey: {value}\n")
        root = reading.mapping(read_yaml(file))
        return root["key"]

    return made


def refusal(read: Callable[[Node], object], node: Node) -> str:
    with pytest.raises(SpecError) as caught:
        read(node)
    assert str(caught.value.where).endswith("any.yaml, line 2")
    return f"{caught.value.what}: {caught.value.hint}"


def _half(text: str) -> float:
    if text != "half":
        raise UsageError(f"{text} is no half", hint="Write half.")
    return 0.5


@pytest.mark.parametrize(
    ("reader", "value", "expected"),
    [
        (reading.text, "a", "a"),
        (reading.text, "'3'", "3"),
        (reading.whole, "3", 3),
        (reading.positive, "3", 3.0),
        (reading.positive, "0.5", 0.5),
        (reading.scalar, "108.0", "108.0"),
        (reading.scalar, "true", "true"),
        (reading.parsed(_half), "half", 0.5),
        (reading.one_of("pet", ("cat", "dog")), "dog", "dog"),
    ],
)
def test_what_a_reader_takes(
    node: Callable[[str], Node], reader: Callable[[Node], Any], value: str, expected: object
) -> None:
    found = reader(node(value))
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("reader", "value", "said"),
    [
        (reading.text, "3", "'3' stands where a text belongs: Put it in quotes if it is one."),
        (reading.text, "[a]", "a list stands where a text belongs"),
        (reading.text, "''", "'' stands where a text belongs"),
        (reading.text, "", "nothing stands where a text belongs"),
        (reading.whole, "0", "'0' is not a whole number from 1: Write 1 or more"),
        (reading.whole, "1.0", "'1.0' is not a whole number from 1"),
        (reading.whole, "true", "'true' is not a whole number from 1"),
        (reading.whole, "'3'", "'3' is not a whole number from 1"),
        (reading.positive, "0", "'0' is not a positive number: Write more than 0."),
        (reading.positive, "true", "'true' is not a positive number"),
        (reading.positive, "many", "'many' is not a positive number"),
        (reading.scalar, "{a: 1}", "a mapping stands where a value belongs: Write one value."),
        (reading.scalar, "", "nothing stands where a value belongs"),
        (lambda node: reading.scalar(node, "a limit", "Write 5%."), "[1]",
         "a list stands where a limit belongs: Write 5%."),
        (reading.parsed(_half), "whole", "whole is no half: Write half."),
        (reading.parsed(_half), "[half]", "a list stands where a value belongs"),
        (reading.one_of("pet", ("cat", "dog")), "dig", "unknown pet 'dig': did you mean dog?"),
        (reading.one_or_more, "[]", "the list is empty: Put at least one value into it."),
        (reading.mapping, "3", "'3' stands where a mapping belongs: Write it as `key: value`."),
        (lambda node: reading.mapping(node, ("a", "b")), "3", "Write a, b as `key: value`."),
        (lambda node: reading.mapping(node, ("alpha",)), "{alpa: 1}",
         "unknown key `alpa`: did you mean alpha?"),
        (lambda node: reading.mapping(node, name="`it`", hint="write a: 1."), "3",
         "`it` is '3', not a mapping: write a: 1."),
        (lambda node: reading.sequence(node, name="`it`", hint="write [1]."), "3",
         "`it` is '3', not a list: write [1]."),
    ],
)  # fmt: skip
def test_what_a_reader_refuses(
    node: Callable[[str], Node], reader: Callable[[Node], object], value: str, said: str
) -> None:
    assert said in refusal(reader, node(value))


def test_a_mapping_has_any_keys_or_the_known_ones(node: Callable[[str], Node]) -> None:
    assert list(reading.mapping(node("{a: 1, b: 2}"))) == ["a", "b"]
    assert list(reading.mapping(node("{a: 1}"), ("a", "b"))) == ["a"]
    assert list(reading.mapping(node("{}"), ("a",))) == []


def test_one_value_is_a_list_of_one(node: Callable[[str], Node]) -> None:
    assert [each.value for each in reading.one_or_more(node("3"))] == [3]
    assert [each.value for each in reading.one_or_more(node("[3, x]"))] == [3, "x"]
    assert reading.sequence(node("[]"), name="it", hint="") == ()


def test_what_is_not_given_has_its_default(node: Callable[[str], Node]) -> None:
    fields = reading.mapping(node("{a: 7}"))
    assert reading.read(fields, "a", reading.whole, 1) == 7
    assert reading.read(fields, "b", reading.whole, 1) == 1


def test_an_error_that_knows_its_place_keeps_it(node: Callable[[str], Node]) -> None:
    def elsewhere() -> None:
        raise SpecError("wrong", where="other.yaml, line 7")

    with pytest.raises(SpecError, match=r"other\.yaml, line 7: wrong"):
        reading.at(node("1"), elsewhere)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, True), (5, True), (0, False), (6, False), (True, False), (1.0, False), ("1", False)],
)
def test_whole_numbers_within_bounds(value: object, expected: bool) -> None:
    assert reading.is_whole(value, 1, 5) is expected
    assert reading.is_whole(10**30, 1)


@pytest.mark.parametrize(
    ("value", "expected"), [(1, True), (0.5, True), (0, False), (-1, False), (True, False)]
)
def test_numbers_above_nothing(value: object, expected: bool) -> None:
    assert reading.is_positive(value) is expected
