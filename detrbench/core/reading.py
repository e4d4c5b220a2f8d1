"""Readers of what a YAML file holds: each takes a node and gives a value, or raises a SpecError
with the file and the line; and whether what was made of a JSON file is of the kinds it says."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import is_dataclass
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    TypeGuard,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from detrbench.core.errors import SpecError, UsageError, nearest, shorten

if TYPE_CHECKING:  # help needs no YAML
    from detrbench.core.strict_yaml import Node

Value = TypeVar("Value")


def mapping(
    node: Node,
    known: Collection[str] | None = None,
    *,
    name: str | None = None,
    hint: str | None = None,
) -> Mapping[str, Node]:
    """The entries of a mapping.

    Args:
        known: the keys that it may have; any at all, if `None`.
        name: what it is of the file, for the message.
        hint: how to write it; else the known keys are named.
    """
    if not isinstance(node.value, Mapping):
        usual = f"Write {', '.join(known or ()) or 'it'} as `key: value`."
        raise _misplaced(node, "a mapping", name, hint or usual)
    for key, value in node.value.items():
        if known is not None and key not in known:
            raise unknown_key(key, value, known)
    return node.value


def unknown_key(key: str, node: Node, known: Collection[str], kind: str = "key") -> SpecError:
    """The error to raise about a key, at its value; the nearest that is known is suggested."""
    return node.error(f"unknown {kind} `{shorten(key)}`", nearest(key, known))


def sequence(node: Node, *, name: str, hint: str) -> tuple[Node, ...]:
    """The items of a list, which may have none."""
    if not isinstance(node.value, tuple):
        raise _misplaced(node, "a list", name, hint)
    return node.value


def one_or_more(node: Node) -> tuple[Node, ...]:
    """The items of a list, or the one value that stands in its place."""
    if not isinstance(node.value, tuple):
        return (node,)
    if not node.value:
        raise node.error("the list is empty", "Put at least one value into it.")
    return node.value


def read(
    fields: Mapping[str, Node], key: str, reader: Callable[[Node], Value], default: Value
) -> Value:
    """The value of `key`, or `default` where it is not given."""
    return reader(fields[key]) if key in fields else default


def scalar(node: Node, what: str = "a value", hint: str = "Write one value.") -> str:
    """A single value as it is written, so that no digit of it is lost."""
    if isinstance(node.value, tuple | Mapping) or node.value is None:
        raise _misplaced(node, what, None, hint)
    return node.text


def text(node: Node) -> str:
    """A text, and not what YAML takes for a number."""
    if not isinstance(node.value, str) or not node.value:
        raise _misplaced(node, "a text", None, "Put it in quotes if it is one.")
    return node.value


def whole(node: Node) -> int:
    """A whole number from 1."""
    if not is_whole(node.value, 1):
        raise node.error(
            f"{node.kind} is not a whole number from 1", "Write 1 or more, or leave the key out."
        )
    return node.value


def positive(node: Node) -> float:
    """A number above 0."""
    if not is_positive(node.value):
        raise node.error(f"{node.kind} is not a positive number", "Write more than 0.")
    return float(node.value)


def parsed(parse: Callable[[str], Value]) -> Callable[[Node], Value]:
    """A reader of what `parse` understands, whose errors name the file and the line."""
    return lambda node: at(node, lambda: parse(scalar(node)))


def one_of(what: str, known: Collection[str]) -> Callable[[Node], str]:
    """A reader of one of `known`, each of which is a `what`."""

    def parse(word: str) -> str:
        if word not in known:
            raise UsageError(f"unknown {what} {shorten(word)!r}", hint=nearest(word, known))
        return word

    return parsed(parse)


def at(node: Node, call: Callable[[], Value]) -> Value:
    """What `call` gives. What it refuses is refused where `node` stands."""
    try:
        return call()
    except SpecError:
        raise
    except UsageError as error:
        raise node.error(error.what, error.hint) from error


def check_fields(made: Any) -> None:
    """Raises TypeError where a field of a dataclass, or of one inside it, holds something else than
    its annotation says."""
    kind: Any = type(made)
    for key, hint in _hints(kind).items():
        value = getattr(made, key)
        if not fits(value, hint):
            raise TypeError(f"{key} is {shorten(repr(value))}")
        for each in value if isinstance(value, tuple) else (value,):
            if is_dataclass(each):
                check_fields(each)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of the kind that an annotation names; a whole number is a number too, and
    NaN is none."""
    kind, inside = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if kind in (Union, UnionType):
        return any(fits(value, one) for one in inside)
    if kind is Literal:
        return value in inside
    if kind is tuple:
        return isinstance(value, tuple) and all(fits(each, inside[0]) for each in value)
    if kind in (list, Sequence):
        return isinstance(value, list) and all(fits(each, inside[0]) for each in value)
    if kind in (dict, Mapping):
        return isinstance(value, dict) and all(
            fits(key, inside[0]) and fits(each, inside[1]) for key, each in value.items()
        )
    if hint is float:
        return type(value) in (int, float) and not math.isnan(value)
    return type(value) is int if hint is int else isinstance(value, hint)


def is_whole(value: object, least: int, most: int | None = None) -> TypeGuard[int]:
    """Whether `value` is a whole number in these bounds, and not true, which Python takes for 1."""
    return type(value) is int and least <= value and (most is None or value <= most)


def is_positive(value: object) -> TypeGuard[int | float]:
    """Whether `value` is a number above 0, and not true."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _misplaced(node: Node, belongs: str, name: str | None, hint: str) -> SpecError:
    what = f"{node.kind} stands where {belongs} belongs"
    return node.error(f"{name} is {node.kind}, not {belongs}" if name else what, hint)
