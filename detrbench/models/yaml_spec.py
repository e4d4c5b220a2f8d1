"""A model file, read strictly into plain data: YAML in Ultralytics' format -> `ModelSpec`.

The format lists layers as rows of `[from, repeats, module, args]` under `backbone` and `head`, with
`nc` classes and optional `scales`. One more key, `detrbench`, is ours: a title, what was published
about the model, and where. Other readers of the format ignore it.

Nothing here needs torch: a spec says what is written, `detrbench.models.builder` builds and checks.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from detrbench.core.errors import SpecError, UsageError, near, nearest, shorten
from detrbench.core.reading import (
    is_positive,
    is_whole,
    mapping,
    read,
    scalar,
    sequence,
)
from detrbench.core.strict_yaml import Node, read_yaml, shown
from detrbench.models.nn import BLOCKS

IMAGE = -1  # the source of a row that reads the image itself

COUNTED_MAPS = 5
"""The public forks count a backbone that is one row and returns a list of maps as rows 0 to 4,
whatever it returns: the last map is row 4, and the row behind it is row 5."""

# What one file may ask for. The largest layer lists in use have 260 rows, and the largest detectors
# here 33 rows of 91 blocks; a typing error should not build for an hour.
MAX_ROWS = 500
MAX_BLOCKS = 500  # of all rows, with their repeats
MAX_ARGUMENT = 1_000_000  # of a block here or of torch; so many classes are its largest number
MAX_CLASSES = 1_000_000

_ROW_FORM = "a row is [from, repeats, module, args], e.g. [-1, 1, Conv, [256, 3, 2]]."
_SMALLER = "name a detector; nothing of this size is one."
_MODULE_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*\Z")  # dotted Python identifiers
_LITERALS: Mapping[str, Any] = {"None": None, "True": True, "False": False}

_WAYS_OUT = (
    "A block of your own comes from your file or folder: --blocks FILE.py. A model that Python "
    "builds is named by its function: my_model.py:build. What the installed ultralytics knows, or "
    "a fork of it, that builds: ultralytics:FILE.yaml."
)
# As the public readers of the format guess a scale from a file's name.
_SCALE_IN_NAME = re.compile(r"yolo(?:e-)?v?\d+([nslmx])(?![a-z0-9])")

_LINES_TOLD = 6  # of one unknown block

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
    # Widths of the maps that the first row returns where they are counted as rows, else empty; 0 as
    # long as it was not run.
    maps: tuple[int, ...] = ()
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
    path: str | Path,
    *,
    nc: int | None = None,
    scale: str | None = None,
    known_blocks: Collection[str] | None = None,
    maps: tuple[int, ...] | None = None,
) -> ModelSpec:
    """Reads a model file; nothing in it is evaluated or built.

    Args:
        path: the file; `catalog.find_model` turns a name into one.
        nc: number of classes instead of the file's.
        scale: the one to use instead of the file's.
        known_blocks: the block names that exist, to refuse others; None accepts any.
        maps: widths of the maps of the first row, to be counted as rows; empty to count it as one
            row; None to count maps only where the file can be read in no other way.

    Raises SpecError where the file, `nc` or `scale` is wrong, naming file, row and line, and the
    hint; what is unknown in it is named all at once.
    """
    path = Path(path)
    root = read_yaml(path)
    top = mapping(root, name="a model file", hint="write nc: 80, backbone: [...], head: [...].")
    variables = _variables(top)
    _check_names(root, top, variables, known_blocks)
    scaling = _scaling(top, path, scale)
    classes = _classes(top, path, nc)
    reader = _Rows(classes, scaling["depth"], variables, maps or ())
    try:
        rows = reader.read(top)
    except SpecError as as_one_row:
        if maps is not None or not _may_return_maps(top, variables):
            raise
        reader = replace(reader, maps=(0,) * (COUNTED_MAPS - 1))
        try:
            rows = reader.read(top)
        except SpecError:
            raise as_one_row from None
    _check_head(top, rows)
    notes = (*scaling.pop("notes", ()), *reader.notes)
    ours = _ours(top.get("detrbench"), path.stem, last=len(rows) - 1)
    return ModelSpec(
        name=path.stem,
        path=path,
        nc=classes,
        rows=rows,
        maps=reader.maps,
        notes=notes,
        **scaling,
        **ours,
    )


# ------------------------------------------------------------------------- what the file may name


def _variables(top: Mapping[str, Node]) -> dict[str, Node]:
    """Top-level keys with a single value that rows use by their name."""
    used = {node.value for node in _row_values(top) if isinstance(node.value, str)}
    taken = _READ | _ONLY_AS.keys() | _NOT_BUILT.keys()
    return {
        key: node
        for key, node in top.items()
        if key in used - taken and not isinstance(node.value, tuple | Mapping)
    }


def _row_values(top: Mapping[str, Node]) -> Iterator[Node]:
    """Every value that stands in a row."""
    waiting = [top[section] for section in ("backbone", "head") if section in top]
    while waiting:
        node = waiting.pop()
        if isinstance(node.value, tuple):
            waiting.extend(node.value)
        else:
            yield node


def _check_names(
    root: Node,
    top: Mapping[str, Node],
    variables: Mapping[str, Node],
    known_blocks: Collection[str] | None,
) -> None:
    """Raises SpecError for every key and every block that is unknown, all in one."""
    unknown = _unknown_keys(top, variables)
    blocks = {} if known_blocks is None else _unknown_blocks(top, variables, known_blocks)
    errors = [*unknown.values(), *(error for error, _ in blocks.values())]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        lines = {name: at for name, (_, at) in blocks.items()}
        raise _all_unknown(root, top, unknown, lines, known_blocks or ())
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


def _unknown_keys(top: Mapping[str, Node], variables: Mapping[str, Node]) -> dict[str, SpecError]:
    """Key -> the error to raise about it, were it alone."""
    errors: dict[str, SpecError] = {}
    for key, node in top.items():
        if key in _READ | _WITHOUT_EFFECT | variables.keys():
            continue
        if node.value in _ONLY_AS.get(key, ()):
            continue
        if key in _NOT_BUILT:
            errors[key] = node.error(f"`{key}: {node.kind}` is not implemented", _NOT_BUILT[key])
        else:
            hint = near(key, _READ) or "remove it; a key is a variable where a row names it."
            errors[key] = node.error(f"unknown top-level key `{shorten(key)}`", hint)
    return errors


def _unknown_blocks(
    top: Mapping[str, Node], variables: Mapping[str, Node], known: Collection[str]
) -> dict[str, tuple[SpecError, list[int]]]:
    """Block -> the error to raise about it, were it alone, and the lines of its rows."""
    found: dict[str, tuple[SpecError, list[int]]] = {}
    rows = [*_items(top.get("backbone")), *_items(top.get("head"))]
    for index, row in enumerate(rows):
        name = _block_named(row, variables)
        if name is None or _is_known(name, known):
            continue
        of_torch = name.startswith("nn.") and name.count(".") == 1
        place = _row_place(row.path, index, row.line, name if of_torch else None)
        if of_torch:
            theirs = [each for each in known if each.startswith("nn.")]
            error = SpecError(f"torch has no {name}", where=place, hint=nearest(name, theirs))
        else:
            hint = " ".join(filter(None, (near(name, known), _WAYS_OUT)))
            error = SpecError(f"there is no block {shorten(name)}", where=place, hint=hint)
        found.setdefault(name, (error, []))[1].append(row.line)
    return found


def _items(node: Node | None) -> tuple[Node, ...]:
    return node.value if node is not None and isinstance(node.value, tuple) else ()


def _block_named(row: Node, variables: Mapping[str, Node]) -> str | None:
    """The block of a row, if it is one that has a name."""
    values = _items(row)
    if len(values) != 4:
        return None
    name = values[2].value
    name = variables[name].value if isinstance(name, str) and name in variables else name
    return name if isinstance(name, str) and _MODULE_NAME.match(name) else None


def _may_return_maps(top: Mapping[str, Node], variables: Mapping[str, Node]) -> bool:
    """Whether the first row is of a block that is not ours, and so may be a whole backbone."""
    name = next((_block_named(row, variables) for row in _items(top.get("backbone"))), None)
    return name is not None and name not in BLOCKS and not name.startswith("nn.")


def _is_known(name: str, known: Collection[str]) -> bool:
    """Torch's own are known to whoever imports it; without it, all that have such a name."""
    of_torch = name.startswith("nn.") and name.count(".") == 1
    return name in known or (of_torch and "nn.Module" not in known)


def _all_unknown(
    root: Node,
    top: Mapping[str, Node],
    keys: Collection[str],
    blocks: Mapping[str, Sequence[int]],
    known: Collection[str],
) -> SpecError:
    """One error about several unknown names."""
    told_keys = ", ".join(f"`{shorten(key)}` (line {top[key].line})" for key in keys)
    told_blocks = ", ".join(f"{shorten(name)} ({_lines(at)})" for name, at in blocks.items())
    parts = [
        f"the top-level {'keys' if len(keys) > 1 else 'key'} {told_keys}" if keys else "",
        f"the {'blocks' if len(blocks) > 1 else 'block'} {told_blocks}" if blocks else "",
    ]
    what = f"{len(keys) + len(blocks)} names are not known: {' and '.join(filter(None, parts))}"
    cures = {key: _NOT_BUILT.get(key) or near(key, _READ) for key in keys}
    cures |= {name: near(name, known) for name in blocks}
    hints = [f"{shorten(name)}: {cure}" for name, cure in cures.items() if cure]
    hints.append(_WAYS_OUT if blocks else "A key is a variable where a row names it.")
    return SpecError(what, where=root.path, hint=" ".join(hints))


def _lines(lines: Sequence[int]) -> str:
    """Such as "lines 6, 7 and 9", the first few of them."""
    if len(lines) == 1:
        return f"line {lines[0]}"
    *first, last = map(str, lines)
    if len(lines) > _LINES_TOLD:
        first, last = first[: _LINES_TOLD - 1], f"{len(lines) - _LINES_TOLD + 1} more"
    return f"lines {', '.join(first)} and {last}"


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


def _scaling(top: Mapping[str, Node], path: Path, asked: str | None) -> dict[str, Any]:
    """What the file says of scales, as fields of a `ModelSpec`; `asked` is the one to use."""
    multiples = {key: read(top, f"{key}_multiple", _multiple, 1.0) for key in ("depth", "width")}
    if "scales" not in top or top["scales"].value is None:
        if (scale := _chosen(top)) is not None:
            raise scale.error("`scale` is given, but there are no `scales`", "remove it.")
        if asked is not None:
            what = f"the scale {shorten(asked)} is asked for, but there are no `scales`"
            raise SpecError(what, where=shown(path), hint="leave --scale out, or add `scales`.")
        return multiples
    form = "scales: {l: [1.00, 1.00, 1024]}, each [depth, width, max_channels]"
    scales = mapping(top["scales"], name="`scales`", hint=f"write {form}.")
    if not scales:
        raise top["scales"].error("`scales` is empty", f"write {form}, or remove it.")
    name, notes = _scale(top, scales, path, asked)
    factors = sequence(scales[name], name=f"the scale {name}", hint=form)
    if len(factors) != 3:
        raise scales[name].error(f"the scale {name} has {len(factors)} values, not 3", form)
    depth, width, max_channels = factors
    unused = [
        f"`{key}_multiple` is not used: the scale has its own"
        for key, multiple in multiples.items()
        if multiple != 1
    ]
    return {
        "scale": name,
        "depth": _multiple(depth),
        "width": _multiple(width),
        "max_channels": _number(max_channels, "max_channels"),
        "notes": (*notes, *unused),
    }


def _scale(
    top: Mapping[str, Node], scales: Mapping[str, Node], path: Path, asked: str | None
) -> tuple[str, tuple[str, ...]]:
    """The scale to use, and what is to be said of that: the one asked for, the file's, the one in
    its name, or the first."""
    if asked is not None:
        if asked in scales:
            return asked, (f"scale {asked}, as asked for",)
        what = f"there is no scale {shorten(asked)!r}"
        raise SpecError(what, where=shown(path), hint=nearest(asked, scales))
    if (chosen := _chosen(top)) is not None:
        if chosen.text in scales:
            return chosen.text, ()
        raise chosen.error(f"there is no scale {chosen.kind}", nearest(chosen.text, scales))
    in_name = _SCALE_IN_NAME.search(path.stem)
    if in_name and in_name[1] in scales:
        return in_name[1], (f"scale {in_name[1]}, as in the file's name",)
    first = next(iter(scales))
    return first, (f"no scale given, using the first: {first}",)


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
    variables: Mapping[str, Node]
    maps: tuple[int, ...]  # of the first row, where they are counted as rows

    @property
    def notes(self) -> tuple[str, ...]:
        if not self.maps:
            return ()
        first = COUNTED_MAPS - len(self.maps)
        return (f"the maps of row 0 are counted as rows {first} to {COUNTED_MAPS - 1}",)

    def read(self, top: Mapping[str, Node]) -> tuple[Row, ...]:
        rows: list[Row] = []
        for section, stage in (("backbone", "backbone"), ("head", "neck")):
            listed = sequence(top[section], name=f"`{section}`", hint=_ROW_FORM)
            if not listed:
                raise top[section].error(f"`{section}` has no rows", _ROW_FORM)
            for node in listed:
                rows.append(self._row(node, len(rows), stage, sum(row.repeats for row in rows)))
                if len(rows) == 1 and self.maps:
                    rows += self._maps_as_rows(rows[0])
        rows[-1] = replace(rows[-1], stage="decoder")
        return tuple(rows)

    def _maps_as_rows(self, backbone: Row) -> list[Row]:
        """Rows 1 to 4: one for each map, and before them one that nothing may read for each that is
        missing. A first of five maps has no row, see `_check_counted`."""
        first = COUNTED_MAPS - len(self.maps)
        rows = []
        for index in range(1, COUNTED_MAPS):
            module, args = "nn.Identity", tuple[Any, ...]()
            if index >= first:
                module, args = "Index", (self.maps[index - first], index - first)
            row = replace(backbone, index=index, sources=(0,), listed=False, repeats=1)
            rows.append(replace(row, module=module, args=args))
        return rows

    def _check_counted(self, node: Node, sources: Sequence[int]) -> None:
        """Raises SpecError where a row reads a map that there is not, or the first of five."""
        first = max(COUNTED_MAPS - len(self.maps), 1)
        if any(self.maps) and IMAGE not in sources and min(sources) < first:
            what = f"`from` is {min(sources)}, and the maps of row 0 are rows {first} to 4"
            raise node.error(what, f"read {first} or a later row.")

    def _row(self, node: Node, index: int, stage: str, blocks: int) -> Row:
        """The row at `index`, which `blocks` blocks stand before, repeats counted."""
        name = None
        try:
            if index >= MAX_ROWS:
                raise node.error(f"the file has more than {MAX_ROWS} rows", _SMALLER)
            if not isinstance(node.value, tuple):
                raise node.error(f"{node.kind} stands where a row belongs", _ROW_FORM)
            if len(node.value) != 4:
                raise node.error(f"the row has {len(node.value)} values, not 4", _ROW_FORM)
            source, repeats, module, args = map(self._put_in, node.value)
            name = self._module(module)
            sources = _sources(source, index)
            self._check_counted(source, sources)
            return Row(
                index=index,
                sources=sources,
                listed=isinstance(source.value, tuple),
                repeats=self._repeats(repeats, blocks),
                module=name,
                args=self._args(args, name),
                stage=stage,
                line=node.line,
            )
        except SpecError as error:
            place = _row_place(node.path, index, node.line, name)
            raise SpecError(error.what, where=place, hint=error.hint) from error

    def _put_in(self, node: Node) -> Node:
        """A value of a row with its variables replaced."""
        if isinstance(node.value, tuple):
            return replace(node, value=tuple(map(self._put_in, node.value)))
        return self.variables.get(node.value, node) if isinstance(node.value, str) else node

    def _module(self, node: Node) -> str:
        name = node.value
        if not isinstance(name, str) or not _MODULE_NAME.match(name):
            hint = f"name a class; {_ROW_FORM}"
            raise node.error(f"{node.kind} is not the name of a block", hint)
        return name

    def _repeats(self, node: Node, before: int) -> int:
        repeats = _integer(node, "repeats", 1, MAX_BLOCKS, _ROW_FORM)
        scaled = max(round(repeats * self.depth), 1) if repeats > 1 else 1
        if scaled > MAX_BLOCKS:
            what = f"{repeats} repeats by the depth multiple {self.depth:g} are {scaled}"
            raise node.error(what, f"stay within {MAX_BLOCKS}.")
        if before + scaled > MAX_BLOCKS:
            what = f"with its {scaled} repeats, the file has more than {MAX_BLOCKS} blocks"
            raise node.error(what, _SMALLER)
        return scaled

    def _args(self, node: Node, module: str) -> tuple[Any, ...]:
        if not isinstance(node.value, tuple):
            hint = f"write them in brackets; {_ROW_FORM}"
            raise node.error(f"the arguments are {node.kind}, not a list", hint)
        bounded = module in BLOCKS or module.startswith("nn.")
        return tuple(self._argument(each, bounded) for each in node.value)

    def _argument(self, node: Node, bounded: bool) -> Any:
        if isinstance(node.value, tuple):
            return tuple(self._argument(each, bounded) for each in node.value)
        if bounded and isinstance(node.value, int | float) and abs(node.value) > MAX_ARGUMENT:
            what = f"the argument {shorten(node.text)} is beyond what any layer has"
            raise node.error(what, f"stay within +-{MAX_ARGUMENT}.")
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
