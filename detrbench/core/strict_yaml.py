"""YAML as plain data with places: no code runs, no tag is obeyed, no document explodes.

`read_yaml` gives a tree of `Node`s, each knowing its file and line, so that whoever interprets the
tree can say exactly where something is wrong. Everything that can be wrong with the text itself is
a SpecError here: not readable, not text, not YAML, or beyond what any such file needs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from detrbench.core.errors import SpecError, shorten
from detrbench.core.files import is_ordinary

# The largest model files in use have 10 KB, 60 rows and 4 levels. These bounds leave room for any
# real one and keep a hostile one from costing more than a moment.
MAX_BYTES = 256 * 1024
MAX_NODES = 10_000  # with every alias written out
MAX_DEPTH = 16
MAX_DIGITS = 64  # of a number: reading one in base 60 takes time as the square of its length
MAX_INTEGER = 2**31 - 1  # no size, stride or index lies beyond, and products of two still fit

Scalar: TypeAlias = "bool | int | float | str | None"

_TAG = "tag:yaml.org,2002:"
# What YAML 1.1 would turn into dates, merges and defaults is ordinary text here.
_TEXT_TAGS = frozenset(_TAG + name for name in ("str", "timestamp", "merge", "value"))
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")  # all but tab and newline


@dataclass(frozen=True)
class Node:
    """One value of a YAML file and where it stands.

    Attributes:
        value: a scalar, a tuple of nodes for a sequence, text to node for a mapping.
        text: a scalar as written, so that the digits of a printed figure survive; else "".
        path: the file, as it is shown to the reader.
        line: 1-based.
        size: values in and below this one, aliases written out.
        height: levels from here down.
    """

    value: Scalar | tuple[Node, ...] | Mapping[str, Node]
    text: str
    path: str
    line: int
    size: int = field(default=1, repr=False)
    height: int = field(default=1, repr=False)

    @property
    def where(self) -> str:
        return f"{self.path}, line {self.line}"

    @property
    def kind(self) -> str:
        """What a reader would call this value, for messages."""
        if isinstance(self.value, tuple):
            return "a list"
        if isinstance(self.value, Mapping):
            return "a mapping"
        return "nothing" if self.value is None else repr(shorten(self.text))

    def error(self, what: str, hint: str | None = None) -> SpecError:
        """The error to raise about this value."""
        return SpecError(what, where=self.where, hint=hint)


def read_yaml(path: Path) -> Node:
    """The one YAML document of a file, of which nothing is evaluated.

    Raises:
        SpecError: it cannot be read, is not UTF-8 or not one document, or goes beyond the bounds.
    """
    return _parse(_read_text(path), shown(path))


@lru_cache(maxsize=8)  # whoever names a file, checks it and reads it needs the same tree
def _parse(text: str, place: str) -> Node:
    try:
        loader = _Loader(text)  # the reader rejects control characters at once
        return _Document(loader, place).root()
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an escape beyond Unicode
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or error
        raise SpecError(
            f"this is not YAML: {shorten(str(problem), 200)}",
            where=f"{place}, line {mark.line + 1}" if mark else place,
            hint="check the brackets, quotes and indentation up to here.",
        ) from error


def shown(path: Path) -> str:
    """The path as the reader knows it: relative to where they stand, if it lies below."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def _read_text(path: Path) -> str:
    def refuse(what: str, hint: str) -> SpecError:
        return SpecError(what, where=shown(path), hint=hint)

    if path.is_dir():
        raise refuse("this is a folder, not a file", "name a YAML file in it.")
    try:
        if path.exists() and not is_ordinary(path):
            raise refuse("this is not a regular file", "name a YAML file.")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        hint = "check the name and the file's permissions."
        raise refuse(f"the file cannot be read: {reason}", hint) from error
    if len(content) > MAX_BYTES:
        raise refuse(
            f"the file is larger than {MAX_BYTES // 1024} KiB",
            "name the YAML file that lists the layers; weights and data go elsewhere.",
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refuse(
            f"the file is not text in UTF-8 (byte {error.start})",
            "name a YAML file rather than a checkpoint, or save it as UTF-8.",
        ) from error


class _Loader(yaml.SafeLoader):
    """Scans, parses and resolves; what it would construct is never asked for."""


# 1e-3 is a number to people and to YAML 1.2; YAML 1.1, which PyYAML reads, wants 1.0e-3.
_Loader.add_implicit_resolver(
    _TAG + "float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+\Z"), list("-+0123456789")
)


class _Document:
    """Builds nodes straight from the parser's events, within bounds that hold before it descends.

    An alias shares the node it names, and counts for all that the node holds: nine levels of nine
    aliases stand for 10^9 values in a few lines, and a chain of them is deeper than it looks.
    """

    def __init__(self, loader: _Loader, place: str) -> None:
        self._loader, self._place = loader, place
        # The two methods that PyYAML's stubs leave untyped.
        self._next: Callable[[], Any] = loader.get_event
        self._resolve: Callable[..., str] = loader.resolve
        self._anchors: dict[str, Node] = {}
        self._count = 0

    def root(self) -> Node:
        self._next()  # the stream starts
        if isinstance(self._next(), yaml.StreamEndEvent):
            hint = "copy a file that works and edit it."
            raise SpecError("the file is empty", where=self._place, hint=hint)
        root = self._node(self._next(), depth=1)
        self._next()  # the document ends
        end = self._next()
        if not isinstance(end, yaml.StreamEndEvent):
            raise self._error(end, "a second document starts", "keep one per file, without `---`.")
        return root

    def _node(self, event: Any, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            node = self._anchors.get(str(event.anchor))
            if node is None:  # never defined, or an alias inside what it names
                raise self._error(event, f"*{event.anchor} names nothing above it", "write it out.")
            self._admit(event, node.size, depth + node.height - 1)
            return node
        self._admit(event, 1, depth)
        is_scalar = isinstance(event, yaml.ScalarEvent)
        node = self._scalar(event) if is_scalar else self._collection(event, depth)
        if event.anchor is not None:
            self._anchors[str(event.anchor)] = node
        return node

    def _collection(self, event: Any, depth: int) -> Node:
        is_list = isinstance(event, yaml.SequenceStartEvent)
        if event.tag not in (None, "!", _TAG + ("seq" if is_list else "map")):
            raise self._tag_error(event)
        value: tuple[Node, ...] | dict[str, Node] = (
            self._items(depth + 1) if is_list else self._entries(depth + 1)
        )
        below = value if isinstance(value, tuple) else tuple(value.values())
        size = 1 + sum(node.size for node in below)
        height = 1 + max((node.height for node in below), default=0)
        return Node(value, "", self._place, _line(event), size, height)

    def _items(self, depth: int) -> tuple[Node, ...]:
        items: list[Node] = []
        while not isinstance(item := self._next(), yaml.SequenceEndEvent):
            items.append(self._node(item, depth))
        return tuple(items)

    def _entries(self, depth: int) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        while not isinstance(item := self._next(), yaml.MappingEndEvent):
            key = self._node(item, depth)
            if isinstance(key.value, tuple | Mapping):
                raise key.error(f"{key.kind} stands where a name belongs", "write `name: value`.")
            if key.text in entries:
                raise key.error(
                    f"`{shorten(key.text)}` stands here twice",
                    f"keep one: the first is in line {entries[key.text].line}.",
                )
            entries[key.text] = self._node(self._next(), depth)
        return entries

    def _scalar(self, event: Any) -> Node:
        tag = event.tag
        if tag in (None, "!"):
            tag = self._resolve(yaml.ScalarNode, event.value, event.implicit)
        if _CONTROL.search(event.value):  # they would reach the reader's terminal
            raise self._error(event, "the text holds control characters", "remove the escapes.")
        try:
            value = self._value(tag, event)
        except (ValueError, KeyError, IndexError, OverflowError) as error:
            kind = str(tag).removeprefix(_TAG)
            what = f"{shorten(event.value)!r} cannot be read as {kind}"
            raise self._error(event, what, "put it in quotes if it is text.") from error
        return Node(value, event.value, self._place, _line(event))

    def _value(self, tag: str, event: Any) -> Scalar:
        scalar = yaml.ScalarNode(tag, event.value)
        if tag in _TEXT_TAGS:
            return str(event.value)
        if tag == _TAG + "null":
            return None
        if tag == _TAG + "bool":
            return bool(self._loader.construct_yaml_bool(scalar))
        if tag == _TAG + "int":
            return self._number(event, self._loader.construct_yaml_int)
        if tag == _TAG + "float":
            return self._number(event, self._loader.construct_yaml_float)
        raise self._tag_error(event)

    def _number(self, event: Any, read: Callable[[yaml.ScalarNode], float]) -> float:
        if len(event.value) > MAX_DIGITS:
            what = f"{shorten(event.value)} is longer than any number that a layer can use"
            raise self._error(event, what, f"stay within {MAX_DIGITS} characters.")
        number = read(yaml.ScalarNode(event.tag, event.value))
        if not math.isfinite(number) or abs(number) > MAX_INTEGER:
            what = f"{shorten(event.value)} is beyond any number that a layer can use"
            raise self._error(event, what, f"stay within +-{MAX_INTEGER}.")
        return number

    def _tag_error(self, event: Any) -> SpecError:
        tag = shorten(event.tag.replace(_TAG, "!!"))
        return self._error(event, f"the tag {tag} asks for an object", "write plain YAML.")

    def _admit(self, event: Any, size: int, depth: int) -> None:
        self._count += size
        flat = "write it flat, without aliases of aliases."
        if depth > MAX_DEPTH:
            raise self._error(event, f"values are nested deeper than {MAX_DEPTH} levels", flat)
        if self._count > MAX_NODES:
            what = f"the file holds more than {MAX_NODES} values, aliases written out"
            raise self._error(event, what, flat)

    def _error(self, event: Any, what: str, hint: str) -> SpecError:
        return SpecError(what, where=f"{self._place}, line {_line(event)}", hint=hint)


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1
