"""A model file, read strictly into plain data: YAML in Ultralytics' format -> `ModelSpec`.

The format lists layers as rows of `[from, repeats, module, args]` under `backbone` and `head`, with
`nc` classes and optional `scales`. One more key, `detrbench`, is ours: a title, what was published
about the model, and where. Other readers of the format ignore it.

Nothing here needs torch: a spec says what is written, `detrbench.models.builder` builds and checks.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from detrbench.core.errors import SpecError, UsageError, nearest, shorten
from detrbench.core.reading import (
    is_positive,
    is_whole,
    mapping,
    read,
    scalar,
    sequence,
    unknown_key,
)
from detrbench.core.strict_yaml import Node, read_yaml, shown

IMAGE = -1  # the source of a row that reads the image itself

MAX_REPEATS = 1_000  # far beyond any network; a typing error should not build for an hour
MAX_CLASSES = 1_000_000

_ROW_FORM = "a row is [from, repeats, module, args], e.g. [-1, 1, Conv, [256, 3, 2]]."
_MODULE_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*\Z")  # dotted Python identifiers
_LITERALS: Mapping[str, Any] = {"None": None, "True": True, "False": False}

_READ = frozenset(
    ("nc", "scale", "scales", "depth_multiple", "width_multiple", "backbone", "head", "detrbench")
)
# Keys of the format that change nothing about a detector built from rows.
_WITHOUT_EFFECT = frozenset(("names", "yaml_file", "end2end", "reg_max"))
# Keys that mean the detector when they hold this value, and something else otherwise.
_ONLY_AS: Mapping[str, tuple[Any, ...]] = {
    "task": ("detect",),
    "ch": (3,),
    "channels": (3,),
    "activation": (None,),
}
# What they may hold where a head is a YOLO's, which is built for those values alone.
_OF_YOLO: Mapping[str, tuple[Any, ...]] = {"end2end": (False, None), "reg_max": (16, None)}
_YOLO_HEADS = frozenset(("Detect", "v10Detect"))
_NOT_BUILT: Mapping[str, str] = {
    "activation": "remove it: every block states its own activation.",
    "ch": "remove it: detectors here read images of 3 channels.",
    "channels": "remove it: detectors here read images of 3 channels.",
    "task": "remove it, or use a detector: other tasks are out of scope.",
    "kpt_shape": "remove it: key points are out of scope.",
    "anchors": "remove it: anchors belong to YOLO heads, a RTDETRDecoder makes its own.",
    "text_model": "remove it: open-vocabulary heads are out of scope.",
}


@dataclass(frozen=True)
class Row:
    """One row of the file."""

    index: int  # position, counted through backbone and head
    sources: tuple[int, ...]  # the rows it reads, absolute; `IMAGE` only for row 0
    listed: bool  # `from` was a list, so the block receives a list of tensors
    repeats: int  # as written, scaled by the depth multiple
    module: str  # name of the block, or `nn.Something`
    args: tuple[Any, ...]  # with `nc` put in and "None", "True", "False" made values
    stage: str  # "backbone", "neck" (rows of the head), or "decoder" (the last row)
    line: int  # 1-based line in the file


@dataclass(frozen=True)
class Published:
    """Figures as printed elsewhere, kept as text so that their digits survive."""

    label: str  # what the source calls the model
    source: str
    params: str | None = None  # e.g. "32.8M"
    gflops: str | None = None  # e.g. "108.0"
    latency_ms: str | None = None  # e.g. "11.6"
    fps: str | None = None  # images per second, e.g. "114"
    # What reproduces params and gflops: nc, fused, convention, imgsz.
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelSpec:
    """What a model file says."""

    name: str  # the file's name without its ending
    path: Path
    title: str  # for people; the name if the file gives none
    nc: int  # number of classes
    rows: tuple[Row, ...]  # every layer, backbone first
    scale: str | None = None  # the one in use, None if the file has none
    # The scale's multipliers. `depth` is already in `Row.repeats`; widths are for the blocks, which
    # know which of their arguments is one.
    depth: float = 1.0
    width: float = 1.0
    max_channels: int | float = float("inf")
    params_nc80: int | None = None  # at 80 classes before fuse(), as declared in the file
    origin: str | None = None  # where the layer list is from
    published: tuple[Published, ...] = ()
    # Prefix in a torchvision state_dict -> index of the row that takes them.
    backbone_weights: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # assumptions made while reading, to be said aloud

    def error(self, row: Row, what: str, hint: str | None) -> SpecError:
        """The error to raise about a row, at "models/x.yaml, row 7 (line 23: HGBlock)"."""
        place = _row_place(shown(self.path), row.index, row.line, row.module)
        return SpecError(what, where=place, hint=hint)

    def check_image_size(self, height: int, width: int, stride: int) -> None:
        """Raises UsageError where the strides, multiplied, do not divide the size."""
        if height > 0 and width > 0 and not height % stride and not width % stride:
            return
        near = "x".join(str(max(round(n / stride), 1) * stride) for n in (height, width))
        raise UsageError(
            f"{self.name} halves the image down to 1/{stride} of its size, "
            f"which {height}x{width} pixels are not a multiple of",
            hint=f"take multiples of {stride}, e.g. {near}.",
        )


def load_model_spec(
    path: str | Path, *, nc: int | None = None, known_blocks: Collection[str] | None = None
) -> ModelSpec:
    """Reads a model file; nothing in it is evaluated or built.

    Args:
        path: the file; `catalog.find_model` turns a name into one.
        nc: number of classes instead of the file's.
        known_blocks: the block names that exist, to refuse others; None accepts any.

    Raises SpecError where the file or `nc` is wrong, naming file, row and line, and the hint.
    """
    path = Path(path)
    root = read_yaml(path)
    top = mapping(root, name="a model file", hint="write nc: 80, backbone: [...], head: [...].")
    _check_top_level(root, top)
    scaling = _scaling(top)
    classes = _classes(top, path, nc)
    rows = _Rows(classes, scaling["depth"], known_blocks).read(top)
    _check_head(top, rows)
    ours = _ours(top.get("detrbench"), path.stem, last=len(rows) - 1)
    return ModelSpec(name=path.stem, path=path, nc=classes, rows=rows, **scaling, **ours)


def _check_top_level(root: Node, top: Mapping[str, Node]) -> None:
    for key, node in top.items():
        if key in _READ | _WITHOUT_EFFECT or node.value in _ONLY_AS.get(key, ()):
            continue
        if key in _NOT_BUILT:
            raise node.error(f"`{key}: {node.kind}` is not implemented", _NOT_BUILT[key])
        raise unknown_key(key, node, _READ, "top-level key")
    for section in ("backbone", "head"):
        if section not in top:
            hint = f"add `{section}:` with a list of rows; {_ROW_FORM}"
            raise root.error(f"there is no `{section}`", hint)


def _check_head(top: Mapping[str, Node], rows: tuple[Row, ...]) -> None:
    """Raises SpecError where a key asks for a YOLO head that is not built."""
    if _YOLO_HEADS.isdisjoint(row.module for row in rows):
        return
    for key, built in _OF_YOLO.items():
        if key in top and top[key].value not in built:
            what = f"`{key}: {top[key].text}` asks for another {rows[-1].module} than there is"
            raise top[key].error(what, f"write {key}: {built[0]}, or leave it out.")


# ---------------------------------------------------------------------------- classes and scales


def _classes(top: Mapping[str, Node], path: Path, given: object) -> int:
    """The number given, else the file's, which must make sense in any case."""
    hint = "write a line such as `nc: 80`."
    own = _integer(top["nc"], "nc", 1, MAX_CLASSES, hint) if "nc" in top else None
    nc = own if given is None else given
    if nc is None:
        raise SpecError(
            "there is no `nc`, the number of classes",
            where=shown(path),
            hint="add a line such as `nc: 80`, or give the number (--nc 80).",
        )
    if is_whole(nc, 1, MAX_CLASSES):
        return nc
    what = f"{shorten(repr(nc))} is not a whole number from 1 to {MAX_CLASSES}"
    raise SpecError(what, where="the number of classes (nc)", hint="give a number such as 80.")


def _scaling(top: Mapping[str, Node]) -> dict[str, Any]:
    """What the file says of scales, as fields of a `ModelSpec`."""
    if "scales" not in top or top["scales"].value is None:
        if (scale := _chosen(top)) is not None:
            raise scale.error("`scale` is given, but there are no `scales`", "remove it.")
        return {
            "depth": read(top, "depth_multiple", _multiple, 1.0),
            "width": read(top, "width_multiple", _multiple, 1.0),
        }
    form = "scales: {l: [1.00, 1.00, 1024]}, each [depth, width, max_channels]"
    scales = mapping(top["scales"], name="`scales`", hint=f"write {form}.")
    if not scales:
        raise top["scales"].error("`scales` is empty", f"write {form}, or remove it.")
    name, notes = next(iter(scales)), tuple[str, ...]()
    if (chosen := _chosen(top)) is None:
        notes = (f"no scale given, using the first: {name}",)
    elif (name := chosen.text) not in scales:
        raise chosen.error(f"there is no scale {chosen.kind}", nearest(name, scales))
    factors = sequence(scales[name], name=f"the scale {name}", hint=form)
    if len(factors) != 3:
        raise scales[name].error(f"the scale {name} has {len(factors)} values, not 3", form)
    depth, width, max_channels = factors
    return {
        "scale": name,
        "depth": _multiple(depth),
        "width": _multiple(width),
        "max_channels": _number(max_channels, "max_channels"),
        "notes": notes,
    }


def _chosen(top: Mapping[str, Node]) -> Node | None:
    """The `scale` given; saved Ultralytics files hold an empty one where there is none."""
    scale = top.get("scale")
    return None if scale is None or scale.value in (None, "") else scale


def _multiple(node: Node) -> float:
    return float(_number(node, "a multiplier"))


# -------------------------------------------------------------------------------------------- rows


@dataclass(frozen=True)
class _Rows:
    """Reads rows; holds what every row needs to know."""

    nc: int
    depth: float
    known_blocks: Collection[str] | None

    def read(self, top: Mapping[str, Node]) -> tuple[Row, ...]:
        rows: list[Row] = []
        for section, stage in (("backbone", "backbone"), ("head", "neck")):
            listed = sequence(top[section], name=f"`{section}`", hint=_ROW_FORM)
            if not listed:
                raise top[section].error(f"`{section}` has no rows", _ROW_FORM)
            rows += [self._row(node, len(rows) + i, stage) for i, node in enumerate(listed)]
        rows[-1] = replace(rows[-1], stage="decoder")
        return tuple(rows)

    def _row(self, node: Node, index: int, stage: str) -> Row:
        name = None
        try:
            if not isinstance(node.value, tuple):
                raise node.error(f"{node.kind} stands where a row belongs", _ROW_FORM)
            if len(node.value) != 4:
                raise node.error(f"the row has {len(node.value)} values, not 4", _ROW_FORM)
            source, repeats, module, args = node.value
            name = self._module(module)
            return Row(
                index=index,
                sources=_sources(source, index),
                listed=isinstance(source.value, tuple),
                repeats=self._repeats(repeats),
                module=name,
                args=self._args(args),
                stage=stage,
                line=node.line,
            )
        except SpecError as error:
            place = _row_place(node.path, index, node.line, name)
            raise SpecError(error.what, where=place, hint=error.hint) from error

    def _module(self, node: Node) -> str:
        name = node.value
        if not isinstance(name, str) or not _MODULE_NAME.match(name):
            hint = f"name a class; {_ROW_FORM}"
            raise node.error(f"{node.kind} is not the name of a block", hint)
        known = self.known_blocks
        if known is None or name in known or (name.startswith("nn.") and name.count(".") == 1):
            return name
        hint = f"{nearest(name, known)} A block of your own comes from your file: --blocks FILE."
        raise node.error(f"there is no block {shorten(name)}", hint)

    def _repeats(self, node: Node) -> int:
        repeats = _integer(node, "repeats", 1, MAX_REPEATS, _ROW_FORM)
        scaled = max(round(repeats * self.depth), 1) if repeats > 1 else 1
        if scaled > MAX_REPEATS:
            what = f"{repeats} repeats by the depth multiple {self.depth:g} are {scaled}"
            raise node.error(what, f"stay within {MAX_REPEATS}.")
        return scaled

    def _args(self, node: Node) -> tuple[Any, ...]:
        if not isinstance(node.value, tuple):
            hint = f"write them in brackets; {_ROW_FORM}"
            raise node.error(f"the arguments are {node.kind}, not a list", hint)
        return tuple(map(self._argument, node.value))

    def _argument(self, node: Node) -> Any:
        if isinstance(node.value, tuple):
            return tuple(map(self._argument, node.value))
        if isinstance(node.value, Mapping):
            hint = "blocks take their arguments by position: write numbers, text or lists."
            raise node.error("an argument is a mapping", hint)
        if isinstance(node.value, str):
            return self.nc if node.value == "nc" else _LITERALS.get(node.value, node.value)
        return node.value


def _sources(node: Node, index: int) -> tuple[int, ...]:
    items = node.value if isinstance(node.value, tuple) else (node,)
    if not items:
        hint = "name at least one row, or -1 for the one before."
        raise node.error("`from` is an empty list", hint)
    return tuple(_source(item, index) for item in items)


def _source(node: Node, index: int) -> int:
    source = node.value
    if not isinstance(source, int) or isinstance(source, bool):
        what = f"`from` is {node.kind}, not a row number or a list of them"
        raise node.error(what, "write -1 for the row before, or e.g. [-1, 7].")
    if index == 0:
        if source == -1:
            return IMAGE
        what = f"`from` is {source}, but the first row has only the image to read"
        raise node.error(what, "write -1.")
    absolute = index + source if source < 0 else source
    if absolute >= index:
        whose = "itself" if absolute == index else "a row that comes later"
        what = f"`from` is {source}: {whose}"
    elif absolute < 0:
        what = f"`from` is {source}, before the first row"
    else:
        return absolute
    last = index - 1
    reach = "0" if last == 0 else f"0 to {last}"
    back = "-1" if last == 0 else f"-1 to -{index}"
    hint = f"row {index} can read row {reach}, written so or as {back} counted back from it."
    raise node.error(what, hint)


def _row_place(path: str, index: int, line: int, module: str | None) -> str:
    name = f": {shorten(module)}" if module else ""
    return f"{path}, row {index} (line {line}{name})"


# ----------------------------------------------------------------------------------- our own block


def _ours(node: Node | None, name: str, last: int) -> dict[str, Any]:
    """What the `detrbench` block says, as fields of a `ModelSpec`; rows are numbered to `last`."""
    keys = ("title", "params", "origin", "published", "backbone_weights")
    hint = "write title: ..., params: ..., published: [...]."
    entries = {} if node is None else mapping(node, keys, name="`detrbench`", hint=hint)
    weights = partial(_weights, last=last)
    return {
        "title": read(entries, "title", _text, None) or name,
        "params_nc80": read(entries, "params", _parameters, None),
        "origin": read(entries, "origin", _text, None),
        "published": read(entries, "published", _all_published, tuple[Published, ...]()),
        "backbone_weights": read(entries, "backbone_weights", weights, dict[str, int]()),
    }


def _parameters(node: Node) -> int:
    return _integer(node, "params", 1, None, "write the whole number at nc 80, e.g. 32970476.")


def _weights(node: Node, last: int) -> dict[str, int]:
    form = "write conv1: 0, stage2: 1 (prefix in the state_dict: row)."
    entries = mapping(node, name="`backbone_weights`", hint=form)
    return {
        prefix: _integer(row, f"the row for {prefix}", 0, last, "name a row by its number.")
        for prefix, row in entries.items()
    }


def _all_published(node: Node) -> tuple[Published, ...]:
    return tuple(map(_published, sequence(node, name="`published`", hint="- label: ...")))


def _published(node: Node) -> Published:
    form = "label: ..., source: ..., and what it prints: params, gflops, latency_ms, fps"
    known = tuple(each.name for each in fields(Published))
    entries = mapping(node, known, name="a published figure", hint=f"write {form}.")
    printed: dict[str, Any] = {
        key: _text(item) for key, item in entries.items() if key != "settings"
    }
    if not printed.get("label") or not printed.get("source"):
        raise node.error("a published figure needs a label and a source", form)
    return Published(**printed, settings=read(entries, "settings", _settings, {}))


def _settings(node: Node) -> dict[str, Any]:
    form = "{nc: 80, fused: false, convention: core, imgsz: 640}"
    # Exact types: a bool is an int to Python, but not to the reader of a table.
    kinds = {"nc": (int,), "fused": (bool,), "convention": (str,), "imgsz": (int, str)}
    entries = mapping(node, kinds, name="`settings`", hint=f"write {form}.")
    for key, item in entries.items():
        if type(item.value) not in kinds[key]:
            raise item.error(f"`{key}` is {item.kind}", f"write it as in {form}.")
    return {key: item.value for key, item in entries.items()}


# ------------------------------------------------------------------------------- kinds of value


def _text(node: Node) -> str | None:
    """A scalar as written: 108.0 stays "108.0"."""
    return None if node.value is None else scalar(node, "text", "write one line of text.")


def _integer(node: Node, name: str, low: int, high: int | None, hint: str) -> int:
    if is_whole(node.value, low, high):
        return node.value
    reach = f"of at least {low}" if high is None else f"from {low} to {high}"
    raise node.error(f"`{name}` is {node.kind}, not a whole number {reach}", hint)


def _number(node: Node, name: str) -> int | float:
    if is_positive(node.value):
        return node.value
    raise node.error(f"{name} is {node.kind}, not a number above 0", "write e.g. 1.0.")
