"""From rows to modules: a dry run on the `meta` device finds every width and every mistake.

Tensors on `meta` have shapes but no values, so a model of any size is checked in no memory, and
the channels a row hands on are read off its output: a block need not declare them.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from detrbench.core.errors import (
    DetrbenchError,
    DetrbenchWarning,
    SpecError,
    UsageError,
    first_line,
)
from detrbench.models.bounds import Bounded
from detrbench.models.catalog import asked_scale, find_model
from detrbench.models.detector import Detector
from detrbench.models.folding import Foldable, leaving_nothing, run_to_fold
from detrbench.models.nn import BLOCKS, resolve
from detrbench.models.nn.decoder import RTDETRDecoder
from detrbench.models.ownblocks import NO_BLOCKS, file_name, load_blocks
from detrbench.models.shapes import ShapesOnly
from detrbench.models.signatures import (
    Call,
    Unclear,
    call_of,
    channels_first,
    check_unscaled,
    names_channels,
    required,
    scaled,
    takes_each,
    unclear_channels,
    width_arg,
)
from detrbench.models.weights import load_backbone
from detrbench.models.work import work_of
from detrbench.models.yaml_spec import COUNTED_MAPS, ModelSpec, Row, load_model_spec

# The shapes in messages are those of this size; its maps are the familiar 80, 40 and 20.
DRY_RUN_SIZE = 640

Maker = partial[nn.Module]
"""`Block(c1, *args, n=repeats)`, to be called on the device that the module is for."""


def _in_series(modules: Sequence[nn.Module]) -> nn.Module:
    return modules[0] if len(modules) == 1 else nn.Sequential(*modules)


@dataclass(frozen=True)
class _Drawn:
    """Rows that were built on `meta` and run once: of each row one maker, or one for each repeat;
    the rows' modules; what image sizes must be multiples of; what can be folded, by path."""

    makers: list[list[Maker]]
    modules: list[nn.Module]
    stride: int
    foldable: dict[str, Foldable]


class _Laid(NamedTuple):
    """One row: its makers, its module on `meta`, what that returns, what can be folded in it."""

    makers: list[Maker]
    module: nn.Module
    output: Any
    foldable: dict[str, Foldable]


def _draw(spec: ModelSpec, extra: Mapping[str, type[nn.Module]]) -> _Drawn:
    """Build every row on `meta` and run it once."""
    outputs: dict[int, Any] = {-1: torch.empty(1, 3, DRY_RUN_SIZE, DRY_RUN_SIZE, device="meta")}
    laid: list[_Laid] = []
    with torch.no_grad(), Bounded(spec, extra) as bounds:
        for row in spec.rows:
            bounds.row = row
            inputs = [outputs[source] for source in row.sources]
            laid.append(_lay(spec, row, inputs, extra))
            bounds.admit([laid[-1].module])
            outputs[row.index] = laid[-1].output
    last = spec.rows[-1]
    _check_detections(spec, last, outputs[last.index])
    stride = _stride(spec, last, [outputs[source] for source in last.sources])
    foldable = {
        f"model.{index}{path}": found
        for index, one in enumerate(laid)
        for path, found in one.foldable.items()
    }
    return _Drawn([one.makers for one in laid], [one.module for one in laid], stride, foldable)


def _drawn(
    spec: ModelSpec, extra: Mapping[str, type[nn.Module]], read: Callable[..., ModelSpec]
) -> tuple[ModelSpec, _Drawn]:
    """`_draw` of the file as it stands, or, where it cannot be built so and its first row returns
    maps, with these counted as rows; and the spec that this is of. `read` reads it again."""
    if not spec.maps:
        try:
            return spec, _draw(spec, extra)
        except SpecError as as_one_row:
            widths = _map_widths(spec, extra)
            if not widths:
                raise
            try:
                counted = read(maps=widths)
            except SpecError:
                raise as_one_row from None
    else:
        counted = read(maps=_map_widths(spec, extra))  # without maps, what is wrong is raised
    return counted, _draw(counted, extra)


def _map_widths(spec: ModelSpec, extra: Mapping[str, type[nn.Module]]) -> tuple[int, ...]:
    """The widths of the maps that the first row returns; empty where it is one, or too many to be
    counted as rows. Raises SpecError where it cannot be built."""
    images = torch.empty(1, 3, DRY_RUN_SIZE, DRY_RUN_SIZE, device="meta")
    with torch.no_grad(), Bounded(spec, extra):
        maps = _lay(spec, spec.rows[0], [images], extra).output
    is_several = isinstance(maps, list | tuple) and 1 < len(maps) <= COUNTED_MAPS
    return _channels(maps) if is_several and all(isinstance(m, Tensor) for m in maps) else ()


@cache
def _torch_names() -> frozenset[str]:
    """The blocks of torch, as rows name them."""
    classes = {name: found for name, found in vars(nn).items() if isinstance(found, type)}
    return frozenset(f"nn.{name}" for name, c in classes.items() if issubclass(c, nn.Module))


def _lay(
    spec: ModelSpec, row: Row, inputs: list[Any], extra: Mapping[str, type[nn.Module]]
) -> _Laid:
    try:
        block = resolve(row.module, extra)
    except SpecError as error:
        raise spec.error(row, error.what, error.hint) from error
    if row.module not in extra:
        is_given = not row.module.startswith("nn.") or block is nn.ConvTranspose2d
        takes_channels = is_given or issubclass(block, nn.BatchNorm2d)
        return _laid(spec, row, block, inputs, _call(spec, row, block), takes_channels)
    return _lay_own(spec, row, block, inputs, extra)


def _lay_own(
    spec: ModelSpec,
    row: Row,
    block: type[nn.Module],
    inputs: list[Any],
    extra: Mapping[str, type[nn.Module]],
) -> _Laid:
    """A row of the user's block. Raises SpecError where it can be read in two ways that differ."""
    channels = _channels(inputs if row.listed else inputs[0])
    try:
        readings = channels_first(block, row.args, channels)
        calls = {first: _own_call(spec, row, block, first) for first in readings}
    except Unclear as error:
        raise spec.error(row, error.what, error.hint) from error
    laid: list[_Laid] = []
    refused: list[SpecError] = []
    for first, call in calls.items():
        try:
            with warnings.catch_warnings():
                if first is not readings[0]:
                    warnings.simplefilter("ignore")  # of what nobody may have meant
                laid.append(_laid(spec, row, block, inputs, call, first, extra))
        except SpecError as error:
            refused.append(error)
    if not laid:
        raise refused[0]
    if len(laid) > 1:
        works = [work_of(one.module, *_arguments(row, one.module, inputs)) for one in laid]
        if works[0] != works[1]:
            unclear = unclear_channels(block, row.args, channels)
            raise spec.error(row, unclear.what, unclear.hint)
    return laid[0]


def _arguments(row: Row, module: nn.Module, inputs: list[Any]) -> tuple[Any, ...]:
    """Of a module's forward, for what its row reads."""
    if row.listed and takes_each(module.forward, len(inputs)):
        return tuple(inputs)
    return (inputs if row.listed else inputs[0],)


def _laid(
    spec: ModelSpec,
    row: Row,
    block: type[nn.Module],
    inputs: list[Any],
    call: Call,
    takes_channels: bool,
    extra: Mapping[str, type[nn.Module]] | None = None,
) -> _Laid:
    """One reading of a row. `extra` are all blocks of the user's, where this is one of them."""
    makers: list[Maker] = []
    modules: list[nn.Module] = []
    foldable: dict[str, Foldable] = {}
    x: Any = inputs if row.listed else inputs[0]
    for time in range(call.times):
        before = (_channels(x),) if takes_channels else ()
        readings = [call.args, *(() if extra is None else _with_classes(call.args, extra))]
        whole = [(*before, *args) for args in readings]
        makers.append(_maker(spec, row, block, inputs, whole, call.options))
        with torch.device("meta"), _blaming(spec, row, block, inputs):
            modules.append(_made(makers[-1]).eval())
        given = (x,) if time else _arguments(row, modules[-1], inputs)
        y, found = _run(spec, row, modules[-1], given, inputs, to_fold=extra is not None)
        if found is not None:
            foldable[f".{time}" if call.times > 1 else ""] = found
        if extra is not None and isinstance(y, Tensor):
            _check_widths(spec, row, block, _channels(x), call.args, y, behind=takes_channels)
        x = y
    return _Laid(makers, _in_series(modules), x, foldable)


def _told(spec: ModelSpec, block: type[nn.Module]) -> dict[str, Any]:
    """What the rest of the file says to a block that asks for it, as keyword arguments: it is told
    the names of all blocks, and the scale."""
    asks: Callable[..., dict[str, Any]] | None = getattr(block, "told_by", None)
    return {} if asks is None else asks({row.module for row in spec.rows}, spec.scale)


def _made(maker: Maker) -> nn.Module:
    """A new module, from a class, or from a function, which may return anything."""
    module: Any = maker()
    if not isinstance(module, nn.Module):
        raise TypeError(f"it returned a {type(module).__name__}, not an nn.Module")
    return module


def _call(spec: ModelSpec, row: Row, block: type[nn.Module]) -> Call:
    """How the row's arguments and repeats reach its block of ours or of torch's."""
    if block is nn.ConvTranspose2d:  # torch's own that has a width, as the format reads it
        return Call(_scale_width(spec, 0, row.args), {}, row.repeats)
    if row.module.startswith("nn."):
        return Call(row.args, {}, row.repeats)
    args = _scale_width(spec, getattr(block, "width_arg", None), row.args)
    n = inspect.signature(block).parameters.get("n")
    owns_repeats = n is not None and n.kind is n.KEYWORD_ONLY
    told = _told(spec, block)
    if len(args) == getattr(block, "repeats_arg", 0) - 1:
        return Call((*args, row.repeats), told, 1)
    if owns_repeats:
        return Call(args, {"n": row.repeats, **told}, 1)
    return Call(args, told, row.repeats)


def _own_call(spec: ModelSpec, row: Row, block: type[nn.Module], behind: bool) -> Call:
    """The same of a block of the user's, `behind` the input channels or without them. Raises
    Unclear where its class leaves that open."""
    at = getattr(block, "width_arg", None)
    if _scales(spec) and behind:
        at = width_arg(block, listed=row.listed)
    return call_of(block, _scale_width(spec, at, row.args), row.repeats, behind=behind)


def _scales(spec: ModelSpec) -> bool:
    """Whether the file has widths scaled, so that a block has to say which they are."""
    return spec.scale is not None or spec.width != 1


def _scale_width(spec: ModelSpec, at: int | None, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Apply the scale's width to the argument that is the block's width, if one is. As the format
    has it, a width that equals the class count is a head's and stays."""
    if at is None or at >= len(args) or type(args[at]) is not int or args[at] == spec.nc:
        return args
    return (*args[:at], scaled(args[at], spec.width, spec.max_channels), *args[at + 1 :])


def _check_widths(
    spec: ModelSpec,
    row: Row,
    block: type[nn.Module],
    channels: Any,
    args: tuple[Any, ...],
    output: Tensor,
    *,
    behind: bool,
) -> None:
    """Raises SpecError where an argument of a user's block is a width that no one said scales."""
    if not _scales(spec) or (behind and width_arg(block, listed=row.listed) is not None):
        return
    try:
        rescaled = partial(scaled, factor=spec.width, most=spec.max_channels)
        check_unscaled(block, args, channels, _channels(output), rescaled, behind=behind)
    except Unclear as error:
        raise spec.error(row, error.what, error.hint) from error


def _with_classes(
    args: tuple[Any, ...], extra: Mapping[str, type[nn.Module]]
) -> list[tuple[Any, ...]]:
    """The arguments with the names of blocks made classes, as the forks hand them on: another
    reading, if there is one."""

    def made(arg: Any) -> Any:
        is_name = isinstance(arg, str) and (arg in extra or arg in BLOCKS or arg in _torch_names())
        return resolve(arg, extra) if is_name else arg

    changed = tuple(map(made, args))
    return [] if changed == args else [changed]


def _maker(
    spec: ModelSpec,
    row: Row,
    block: type[nn.Module],
    inputs: Sequence[Any],
    readings: Sequence[tuple[Any, ...]],
    options: dict[str, Any],
) -> Maker:
    """What makes the block, of the first reading of its arguments that it takes. Raises SpecError
    as the first one does, where it takes none."""
    refused: SpecError | None = None
    for args in readings:
        maker = partial(block, *args, **options)
        try:
            _check_arguments(spec, row, maker)
            if len(readings) > 1:
                with torch.device("meta"), _blaming(spec, row, block, inputs):
                    maker()
        except SpecError as error:
            refused = refused or error
        else:
            return maker
    assert refused is not None
    raise refused


def _run(
    spec: ModelSpec,
    row: Row,
    module: nn.Module,
    given: tuple[Any, ...],
    inputs: list[Any],
    *,
    to_fold: bool,
) -> tuple[Any, Foldable | None]:
    """The module's output for the arguments `given`, checked against what the row and the block
    promise; and what can be folded in it, where that is asked for."""
    check = getattr(module, "check_inputs", None)
    with _blaming(spec, row, type(module), inputs):
        if check is not None:
            check([t.shape for t in inputs])
        if to_fold:
            with leaving_nothing(module):  # of this size of images
                output, foldable = run_to_fold(module, *given)
        else:
            output, foldable = module(*given), None
    declared = getattr(module, "out_channels", None)
    if declared is not None and isinstance(output, Tensor) and _channels(output) != declared:
        what = f"the row states {declared} output channels, but its output is {_shape(output)}"
        raise spec.error(row, what, f"write {_channels(output)} in place of {declared}.")
    return output, foldable


@contextmanager
def _blaming(
    spec: ModelSpec, row: Row, block: Callable[..., nn.Module], inputs: Sequence[Any] = ()
) -> Iterator[None]:
    """Inside, a block's own code is run; whatever it raises becomes a message about the row."""
    try:
        yield
    except DetrbenchError:
        raise
    except Exception as error:  # a block may be the user's, and may fail in any way
        first = first_line(error) or type(error).__name__
        reads = f"; it reads {', '.join(map(_shape, inputs))}" if inputs else ""
        raise spec.error(row, f"{first}{reads}", _cure(row, block, error)) from error


def _cure(row: Row, block: Callable[..., nn.Module], error: Exception) -> str:
    if "meta" in str(error):  # what torch says where a tensor has no values
        return "forward must not read values of tensors: shapes alone decide what is computed."
    if row.listed and isinstance(error, TypeError | AttributeError):
        return _listed_cure(row, block)
    return _shadowing(row.module, block) + _arguments_hint(row.module, block)


def _listed_cure(row: Row, block: Callable[..., nn.Module]) -> str:
    """Of a row that reads several, by a block whose forward may not."""
    forward = getattr(block, "forward", None)
    needed = 1 if forward is None else required(forward) - 1  # without `self`
    if needed < 2:
        return f"`from` is a list: join its rows with Concat before {row.module}."
    if needed != len(row.sources):
        return f"its forward takes {needed} inputs: list as many in `from`."
    if row.repeats > 1:
        return "each of its inputs is an argument of forward, so it cannot be repeated in series."
    return _arguments_hint(row.module, block)


def _shadowing(name: str, block: Callable[..., nn.Module]) -> str:
    """That a class of the user's stands in the place of ours, which may not be meant."""
    found = BLOCKS.get(name, "").partition(":")[0]
    module = getattr(block, "__module__", "")
    if not found or module.startswith("detrbench."):
        return ""
    return f"this {name} is {file_name(module)}'s, in place of detrbench's own; "


def _check_arguments(spec: ModelSpec, row: Row, maker: Maker) -> None:
    """Raises SpecError where the row has too few or too many arguments for its block, or a word
    where one of ours takes a number."""
    signature = inspect.signature(maker.func)
    try:
        given = signature.bind(*maker.args, **maker.keywords).arguments
    except TypeError as error:
        what = f"the arguments {list(row.args)} do not fit: {error}"
        raise spec.error(row, what, _arguments_hint(row.module, maker.func)) from error
    if not maker.func.__module__.startswith(f"{__package__}."):
        return
    for name, value in given.items():
        if isinstance(value, str) and signature.parameters[name].annotation in _NUMBERS:
            what = f"the argument {name} is {value!r}, and not a number"
            raise spec.error(row, what, _arguments_hint(row.module, maker.func))


_NUMBERS = ("int", "float")


def _arguments_hint(name: str, block: Callable[..., nn.Module]) -> str:
    """A block's row arguments as one writes them: "HGBlock [cm, c2, k=3]"."""
    parameters = list(inspect.signature(block).parameters.values())
    given = block is nn.ConvTranspose2d or not name.startswith("nn.")
    if given and names_channels(block):
        parameters = parameters[1:]  # c1 comes from the rows it reads
    shown = [
        p.name if p.default is p.empty else f"{p.name}={p.default!r}"
        for p in parameters
        if p.kind is not p.KEYWORD_ONLY
    ]
    return f"the row's arguments: {name} [{', '.join(shown)}]."


def _channels(x: Any) -> Any:
    """The width of a tensor (dimension 1), or a tuple of them, of each tensor of a list."""
    if isinstance(x, Tensor):
        return x.shape[1] if x.dim() > 1 else x.shape[0]
    return tuple(map(_channels, x))


def _shape(x: Any) -> str:
    if isinstance(x, Tensor):
        return str(tuple(x.shape))
    return f"[{', '.join(map(_shape, x))}]"


def _check_detections(spec: ModelSpec, last: Row, output: Any) -> None:
    is_pair = isinstance(output, tuple) and len(output) == 2
    if not (is_pair and all(isinstance(t, Tensor) for t in output) and output[0].shape[-1] == 4):
        raise spec.error(
            last,
            "the last row returns no detections: boxes (B, queries, 4) and scores (B, queries, nc)",
            "end `head` with a decoder, e.g. [[21, 24, 27], 1, RTDETRDecoder, [nc]].",
        )


def _stride(spec: ModelSpec, last: Row, maps: list[Any]) -> int:
    """The least common multiple of the decoder maps' strides."""
    strides = [DRY_RUN_SIZE / side for m in maps if m.dim() == 4 for side in m.shape[2:]]
    if not all(stride.is_integer() for stride in strides):
        shapes = ", ".join(map(_shape, maps))
        raise spec.error(
            last,
            f"the strides do not divide an image of {DRY_RUN_SIZE}: the decoder reads {shapes}",
            "halve maps with stride 2 and padding k // 2, so that sizes stay exact.",
        )
    return math.lcm(*map(int, strides))


# --- the whole ---------------------------------------------------------------------------------


def build(
    name_or_path: str | Path,
    nc: int | None = None,
    blocks: str | Path | None = None,
    *,
    scale: str | None = None,
    device: str | torch.device = "cpu",
    backbone_weights: str | Path | None = None,
    seed: int = 0,
) -> Detector:
    """A detector in evaluation mode, from a model's name or the path of its file.

    Args:
        nc: number of classes; the file's by default.
        blocks: a Python file, or a folder of them, with blocks of your own. It is run.
        scale: one of the file's `scales`; the file's own choice by default.
        device: "meta" builds shapes only: no memory, no initial values.
        backbone_weights: a torchvision state_dict, or one with this model's own keys.
        seed: of the initial values, which are the same on every device.

    Raises UsageError (SpecError for the model's file) saying what does not fit, and the hint.
    """
    own = NO_BLOCKS if blocks is None else load_blocks(blocks)
    path, scale = find_model(name_or_path), asked_scale(name_or_path, scale)
    read = partial(
        load_model_spec, path, nc=nc, scale=scale, known_blocks={*BLOCKS, *own, *_torch_names()}
    )
    spec = read()
    named = [row.module for row in spec.rows]
    spec, drawn = _drawn(spec, own.by_name(named), read)
    spec = replace(spec, notes=(*spec.notes, *own.notes(named)))
    if torch.device(device).type == "meta":
        if backbone_weights is not None:
            raise UsageError("a model on `meta` has no memory for weights", hint="use cpu or cuda.")
        return Detector(spec, drawn.modules, drawn.stride, drawn.foldable).eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        modules = _make(spec, drawn.makers)
        detector = Detector(spec, modules, drawn.stride, drawn.foldable).eval()
    if backbone_weights is not None:
        load_backbone(detector, backbone_weights)
    return detector.to(device)


def with_classes(detector: Detector, nc: int) -> Detector | None:
    """`detector`, of shapes only, with `nc` classes: another decoder behind the same rows. None
    where other rows depend on the classes as well, or its decoder is not ours."""
    decoder = detector.model[-1]
    as_built = detector.spec
    spec = load_model_spec(as_built.path, nc=nc, scale=as_built.scale, maps=as_built.maps)
    *rows, last = spec.rows
    if type(decoder) is not RTDETRDecoder or tuple(rows) != detector.spec.rows[:-1]:
        return None
    projections: Any = decoder.input_proj
    widths = [convolution.in_channels for convolution, _ in projections]
    with torch.device("meta"), ShapesOnly():
        args = _scale_width(spec, getattr(RTDETRDecoder, "width_arg", None), last.args)
        other = RTDETRDecoder(widths, *args, **_told(spec, RTDETRDecoder))
    return Detector(spec, [*detector.model[:-1], other], detector.stride).eval()


def _make(spec: ModelSpec, makers: Sequence[Sequence[Maker]]) -> list[nn.Module]:
    """New modules with memory and initial values, on the current default device."""
    made = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DetrbenchWarning)  # drawing said them already
        for row, of_row in zip(spec.rows, makers, strict=True):
            with _blaming(spec, row, of_row[0].func):
                made.append(_in_series([maker() for maker in of_row]))
    return made
