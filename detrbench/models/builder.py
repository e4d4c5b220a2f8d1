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
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from detrbench.core.errors import DetrbenchError, DetrbenchWarning, SpecError, UsageError
from detrbench.models.catalog import find_model
from detrbench.models.detector import Detector
from detrbench.models.nn import BLOCKS, resolve
from detrbench.models.nn.decoder import RTDETRDecoder
from detrbench.models.shapes import ShapesOnly
from detrbench.models.usercode import run_file
from detrbench.models.weights import load_backbone
from detrbench.models.yaml_spec import ModelSpec, Row, load_model_spec

# The shapes in messages are those of this size; its maps are the familiar 80, 40 and 20.
DRY_RUN_SIZE = 640

Maker = partial[nn.Module]
"""`Block(c1, *args, n=repeats)`, to be called on the device that the module is for."""


def _in_series(modules: Sequence[nn.Module]) -> nn.Module:
    return modules[0] if len(modules) == 1 else nn.Sequential(*modules)


def _draw(
    spec: ModelSpec, extra: Mapping[str, type[nn.Module]]
) -> tuple[list[list[Maker]], list[nn.Module], int]:
    """Build every row on `meta` and run it once: of each row one maker, or one for each repeat; the
    rows' modules; and what image sizes must be multiples of."""
    outputs: dict[int, Any] = {-1: torch.empty(1, 3, DRY_RUN_SIZE, DRY_RUN_SIZE, device="meta")}
    makers, modules = [], []
    with torch.no_grad(), ShapesOnly():
        for row in spec.rows:
            inputs = [outputs[source] for source in row.sources]
            made_by, module, outputs[row.index] = _lay(spec, row, inputs, extra)
            makers.append(made_by)
            modules.append(module)
    last = spec.rows[-1]
    _check_detections(spec, last, outputs[last.index])
    stride = _stride(spec, last, [outputs[source] for source in last.sources])
    return makers, modules, stride


def _lay(
    spec: ModelSpec, row: Row, inputs: list[Any], extra: Mapping[str, type[nn.Module]]
) -> tuple[list[Maker], nn.Module, Any]:
    """One row: its makers, its module on `meta`, and what that returns."""
    try:
        block = resolve(row.module, extra)
    except SpecError as error:
        raise spec.error(row, error.what, error.hint) from error
    from_torch = row.module.startswith("nn.")
    takes_channels = not from_torch or issubclass(block, nn.BatchNorm2d)
    args = row.args if from_torch else _scale_width(spec, block, row.args)
    n = inspect.signature(block).parameters.get("n")
    owns_repeats = n is not None and n.kind is n.KEYWORD_ONLY
    options = {**({"n": row.repeats} if owns_repeats else {}), **_told(spec, block)}

    makers: list[Maker] = []
    modules: list[nn.Module] = []
    x: Any = inputs if row.listed else inputs[0]
    for _ in range(1 if owns_repeats else row.repeats):
        maker = partial(block, *((_channels(x),) if takes_channels else ()), *args, **options)
        _check_arguments(spec, row, maker)
        with torch.device("meta"), _blaming(spec, row, block, inputs):
            module = maker()
        makers.append(maker)
        modules.append(module.eval())
        x = _run(spec, row, module, x, inputs)
    return makers, _in_series(modules), x


def _told(spec: ModelSpec, block: type[nn.Module]) -> dict[str, Any]:
    """What the rest of the file says to a block that asks for it, as keyword arguments: it is told
    the names of all blocks, and the scale."""
    asks: Callable[..., dict[str, Any]] | None = getattr(block, "told_by", None)
    return {} if asks is None else asks({row.module for row in spec.rows}, spec.scale)


def _scale_width(spec: ModelSpec, block: type[nn.Module], args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Apply the scale's width to the argument that the block names as its width. As the format has
    it, a width that equals the class count is a head's and stays."""
    at: int | None = getattr(block, "width_arg", None)
    if at is None or at >= len(args) or not isinstance(args[at], int) or args[at] == spec.nc:
        return args
    width = math.ceil(min(args[at], spec.max_channels) * spec.width / 8) * 8
    return (*args[:at], width, *args[at + 1 :])


def _run(spec: ModelSpec, row: Row, module: nn.Module, x: Any, inputs: list[Any]) -> Any:
    """The module's output for `x`, checked against what the row and the block promise."""
    check = getattr(module, "check_inputs", None)
    with _blaming(spec, row, type(module), inputs):
        if check is not None:
            check([t.shape for t in inputs])
        output = module(x)
    declared = getattr(module, "out_channels", None)
    if declared is not None and isinstance(output, Tensor) and _channels(output) != declared:
        what = f"the row states {declared} output channels, but its output is {_shape(output)}"
        raise spec.error(row, what, f"write {_channels(output)} in place of {declared}.")
    return output


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
        first, *_ = str(error).strip().splitlines() or [type(error).__name__]
        reads = f"; it reads {', '.join(map(_shape, inputs))}" if inputs else ""
        raise spec.error(row, f"{first}{reads}", _cure(row, block, error)) from error


def _cure(row: Row, block: Callable[..., nn.Module], error: Exception) -> str:
    if "meta" in str(error):  # what torch says where a tensor has no values
        return "forward must not read values of tensors: shapes alone decide what is computed."
    if row.listed and isinstance(error, TypeError | AttributeError):
        return f"`from` is a list: join its rows with Concat before {row.module}."
    return _arguments_hint(row.module, block)


def _check_arguments(spec: ModelSpec, row: Row, maker: Maker) -> None:
    """Raises SpecError where the row has too few or too many arguments for its block."""
    try:
        inspect.signature(maker.func).bind(*maker.args, **maker.keywords)
    except TypeError as error:
        what = f"the arguments {list(row.args)} do not fit: {error}"
        raise spec.error(row, what, _arguments_hint(row.module, maker.func)) from error


def _arguments_hint(name: str, block: Callable[..., nn.Module]) -> str:
    """A block's row arguments as one writes them: "HGBlock [cm, c2, k=3]"."""
    parameters = list(inspect.signature(block).parameters.values())
    if not name.startswith("nn."):
        parameters = parameters[1:]  # c1 comes from the rows it reads
    shown = [
        p.name if p.default is p.empty else f"{p.name}={p.default!r}"
        for p in parameters
        if p.kind is not p.KEYWORD_ONLY
    ]
    return f"the row's arguments: {name} [{', '.join(shown)}]."


def _channels(x: Any) -> int | tuple[int, ...]:
    """The width of a tensor (dimension 1), or of each tensor of a list."""
    if isinstance(x, Tensor):
        return x.shape[1] if x.dim() > 1 else x.shape[0]
    return tuple(t.shape[1] for t in x)


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
    device: str | torch.device = "cpu",
    backbone_weights: str | Path | None = None,
    seed: int = 0,
) -> Detector:
    """A detector in evaluation mode, from a model's name or the path of its file.

    Args:
        nc: number of classes; the file's by default.
        blocks: a Python file with blocks of your own. It is run.
        device: "meta" builds shapes only: no memory, no initial values.
        backbone_weights: a torchvision state_dict, or one with this model's own keys.
        seed: of the initial values, which are the same on every device.

    Raises UsageError (SpecError for the model's file) saying what does not fit, and the hint.
    """
    extra = {} if blocks is None else _load_blocks(blocks)
    spec = load_model_spec(find_model(name_or_path), nc=nc, known_blocks={*BLOCKS, *extra})
    makers, on_meta, stride = _draw(spec, extra)
    if torch.device(device).type == "meta":
        if backbone_weights is not None:
            raise UsageError("a model on `meta` has no memory for weights", hint="use cpu or cuda.")
        return Detector(spec, on_meta, stride).eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        detector = Detector(spec, _make(spec, makers), stride).eval()
    if backbone_weights is not None:
        load_backbone(detector, backbone_weights)
    return detector.to(device)


def with_classes(detector: Detector, nc: int) -> Detector | None:
    """`detector`, of shapes only, with `nc` classes: another decoder behind the same rows. None
    where other rows depend on the classes as well, or its decoder is not ours."""
    decoder = detector.model[-1]
    *rows, last = (spec := load_model_spec(detector.spec.path, nc=nc)).rows
    if type(decoder) is not RTDETRDecoder or tuple(rows) != detector.spec.rows[:-1]:
        return None
    projections: Any = decoder.input_proj
    widths = [convolution.in_channels for convolution, _ in projections]
    with torch.device("meta"), ShapesOnly():
        args = _scale_width(spec, RTDETRDecoder, last.args)
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


def _load_blocks(path: str | Path) -> dict[str, type[nn.Module]]:
    """The user's own blocks: the `nn.Module` classes of a Python file, by name. It is run."""
    module = run_file(Path(path), flag="--blocks")
    blocks = {
        name: found
        for name, found in vars(module).items()
        if isinstance(found, type)
        and issubclass(found, nn.Module)
        and found.__module__ == module.__name__  # not what the file merely imports
        and not name.startswith("_")
    }
    if not blocks:
        raise UsageError(
            "the file defines no block",
            where=str(path),
            hint="a block is a class derived from torch.nn.Module, made by Block(c1, *row_args).",
        )
    if taken := sorted(blocks.keys() & BLOCKS.keys()):
        raise UsageError(
            f"{', '.join(taken)} is already a block of detrbench",
            where=str(path),
            hint="give your class another name, so that a model file means one thing.",
        )
    return blocks
