"""How a row's inputs and repeats and a scale's width reach a block, read off its signature.

The format writes a row's arguments without the input channels and without the repeats: whoever
builds it puts `c1` in front, and for some blocks the repeats in the middle, `C2f [128, True]` being
`C2f(c1, 128, n, True)`. Blocks that it does not know get the arguments as they are written. Which
blocks are which stands nowhere in a file. A signature tells where it is a public one; a class can
declare it; and where two readings would count differently, none is chosen.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

# What stands before the repeats of the public HGBlock, which no scale makes wider either.
_HGBLOCK = ["c1", "cm", "c2", "k"]
_CALLED_REPEATS = ("n", "num")
# What blocks call a number of layers that might be the repeats.
_MAYBE_REPEATS = frozenset(
    (
        *("n", "num", "number", "n_blocks", "nblocks", "num_blocks", "n_layers", "num_layers"),
        *("repeat", "repeats", "depth"),
    )
)

# What blocks call the channels that they read.
_CHANNELS = frozenset(
    (
        *("c", "c1", "c_in", "cin", "ch", "ch_in", "channel", "channels", "in_c", "in_ch"),
        *("in_chan", "in_chans", "in_channel", "in_channels", "inchannel", "inchannels", "inc"),
        *("inc_list", "in_channels_list", "inp", "inplanes", "in_planes", "planes", "in_dim"),
        *("in_dims", "in_features", "input_channel", "input_channels", "input_dim", "dim", "dims"),
        *("embed_dim", "n_channels", "num_channels", "nin", "n_in", "num_feat", "d_model"),
    )
)
# And what they call things that are none: with a default, they are a row's own arguments.
_NOT_CHANNELS = frozenset(
    (
        *_MAYBE_REPEATS,
        *("width", "w", "layers", "depths", "stages", "blocks", "variant", "size", "scale"),
        *("eps", "e", "e_lambda", "alpha", "beta", "gamma", "b", "p", "drop", "dropout", "rate"),
        *("k", "k_size", "kernel", "kernel_size", "s", "stride", "padding", "d", "dilation"),
        *("g", "group", "groups", "heads", "num_heads", "head", "factor", "ratio", "reduction"),
        *("r", "expansion", "dimension", "axis", "act", "pretrained", "weights", "nc"),
        *("num_classes", "upscale", "scale_factor", "patch_size", "window_size", "mode"),
    )
)


def _declare(attribute: str, at: int, parameter: str, otherwise: str) -> str:
    """What a class may say of itself."""
    return (
        f"say it in the class: `{attribute} = {at}`, the place of {parameter} among the row's "
        f"arguments, or `{attribute} = None` for {otherwise}."
    )


class Unclear(Exception):
    """A signature that can be read in two ways, which would count differently."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.what, self.hint = what, hint


@dataclass(frozen=True)
class Call:
    """How a row builds its block: positional arguments behind the input channels, others by name,
    and how many of it stand in series."""

    args: tuple[Any, ...]
    options: dict[str, Any]
    times: int


def takes_each(forward: Callable[..., Any], inputs: int) -> bool:
    """Whether `forward` takes each of a row's several inputs as an argument of its own, as it does
    where it requires as many; else it takes them as one list."""
    return inputs > 1 and required(forward) == inputs


def required(function: Callable[..., Any]) -> int:
    """How many positional arguments it has to be given; 0 where it is no code of Python's."""
    try:
        return sum(p.default is p.empty for p in _positional(function))
    except (TypeError, ValueError):
        return 0


def channels_first(
    block: Callable[..., Any], args: tuple[Any, ...], channels: Any
) -> tuple[bool, ...]:
    """Whether the input channels stand in front of a row's arguments, in a block of the user's: one
    answer where that is certain, or both, the likelier first.

    `channels` are those of the input, a tuple of them where the row reads several. Raises Unclear
    where the class declares what there is not.
    """
    if hasattr(block, "channels_arg"):
        return (_declared_channels(block.channels_arg),)
    fits = {first: _binds(block, (channels, *args) if first else args) for first in (True, False)}
    likelier = _likelier_first(block)
    if not all(fits.values()):
        return (fits[True] if any(fits.values()) else likelier,)
    if _is_certain(block, args, channels, likelier):
        return (likelier,)
    return (likelier, not likelier)


def names_channels(block: Callable[..., Any]) -> bool:
    """Whether the arguments that one writes in a row start behind the input channels."""
    if hasattr(block, "channels_arg"):
        return block.channels_arg is not None
    return _likelier_first(block)


def unclear_channels(block: Callable[..., Any], args: tuple[Any, ...], channels: Any) -> Unclear:
    """That `channels_first` has two answers, and what they build differs."""
    first = next(iter(inspect.signature(block).parameters.values()))
    return Unclear(
        f"whether its first argument, {first}, is the input's channels, {channels}, "
        f"or whether {list(args)} are all its arguments, the class does not say, "
        "and the two would count differently",
        "say it in the class: `channels_arg = 0` for the input's channels in front of the row's "
        "arguments, or `channels_arg = None` for the row's arguments alone.",
    )


def _declared_channels(at: Any) -> bool:
    if at is None or (type(at) is int and at == 0):
        return at is not None
    raise Unclear(
        f"its `channels_arg` is {at!r}",
        "write `channels_arg = 0` for the input's channels in front of the row's arguments, or "
        "`channels_arg = None` for the row's arguments alone.",
    )


def _positional(block: Callable[..., Any]) -> list[inspect.Parameter]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p for p in inspect.signature(block).parameters.values() if p.kind in kinds]


def _binds(block: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    try:
        inspect.signature(block).bind(*args)
    except TypeError:
        return False
    return True


def _likelier_first(block: Callable[..., Any]) -> bool:
    """A function that makes a whole backbone knows what an image has, and so does a class whose
    first argument is named like something else, and need not be given."""
    first = next(iter(_positional(block)), None)
    if not isinstance(block, type):
        return first is not None and first.default is first.empty and first.name in _CHANNELS
    return first is None or first.default is first.empty or not _is_something_else(first)


def _is_something_else(parameter: inspect.Parameter) -> bool:
    """Whether its default or its name says that it is no number of channels."""
    is_number = parameter.default is None or type(parameter.default) is int
    return not is_number or parameter.name in _NOT_CHANNELS


def _is_certain(
    block: Callable[..., Any], args: tuple[Any, ...], channels: Any, likelier: bool
) -> bool:
    """Whether a signature that could be called either way tells, by names and defaults."""
    positional = _positional(block)
    if not positional:
        return False
    first, *others = positional
    needed = first.default is first.empty
    if not isinstance(block, type):
        return not needed or first.name == "c1" or first.name not in _CHANNELS
    if not needed:
        return _is_something_else(first)
    if first.name not in _CHANNELS:
        return False
    # `EMA [128]` behind 128 channels may be EMA(128), written out, or EMA(128, factor=128).
    is_written_out = args[:1] == (channels,) and bool(others) and others[0].default is not None
    return not is_written_out or others[0].default is first.empty or _is_width(others[0])


def _is_width(parameter: inspect.Parameter) -> bool:
    """Whether its name says what the block puts out."""
    return parameter.name.startswith(("c2", "ch_out", "c_out", "cout", "ou"))


def call_of(
    block: Callable[..., Any], args: tuple[Any, ...], repeats: int, *, behind: bool = True
) -> Call:
    """How `args` and `repeats` of a row reach a user's block, `behind` its input channels.

    Raises Unclear where the signature does not tell, and it matters.
    """
    parameters = list(inspect.signature(block).parameters.values())
    for p in parameters:
        if p.kind is p.KEYWORD_ONLY and p.name in _CALLED_REPEATS:
            return Call(args, {p.name: repeats}, 1)
    in_series = Call(args, {}, repeats)
    if hasattr(block, "repeats_arg"):
        at: int | None = block.repeats_arg
        return in_series if at is None else _put_in(args, at, repeats)
    positional = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    if not behind:  # the format puts no repeats into the arguments of such a block
        _check_in_series(block, positional, args, repeats)
        return in_series
    found = next((i for i, p in enumerate(positional) if _may_be_repeats(p)), 0)
    if not found:
        more = next((p for p in parameters if p.kind is p.VAR_POSITIONAL), None)
        if more is not None and repeats > 1:
            raise _unclear(f"*{more.name}", len(positional), repeats, args)
        return in_series
    put_in = _put_in(args, found - 1, repeats)
    if not _fits(block, positional, put_in.args):
        return in_series
    fits_as_written = _fits(block, positional, args)
    if not fits_as_written or _is_public(positional, found):
        if fits_as_written and _is_strange(positional, put_in.args):
            raise _unclear(positional[found].name, found, repeats, args)
        return put_in
    if repeats == 1 and _value(positional, found, args) == 1:
        return put_in  # the same
    raise _unclear(positional[found].name, found, repeats, args)


def _check_in_series(
    block: Callable[..., Any],
    positional: Sequence[inspect.Parameter],
    args: tuple[Any, ...],
    repeats: int,
) -> None:
    """Raises Unclear where the repeats could be one of a block's arguments as well."""
    for at, parameter in enumerate(positional):
        put_in = (*args[:at], repeats, *args[at:])
        if repeats > 1 and _may_be_repeats(parameter) and _binds(block, put_in):
            raise _unclear(parameter.name, at + 1, repeats, args)


def _may_be_repeats(parameter: inspect.Parameter) -> bool:
    default = parameter.default
    is_number = default is parameter.empty or type(default) is int
    return is_number and parameter.name in _MAYBE_REPEATS


def _put_in(args: tuple[Any, ...], at: int, repeats: int) -> Call:
    return Call((*args[:at], repeats, *args[at:]), {}, 1)


def _is_public(positional: Sequence[inspect.Parameter], at: int) -> bool:
    """Whether the repeats stand where the public blocks have them."""
    named = positional[at].name in _CALLED_REPEATS
    behind_width = at == 2 and positional[1].default is inspect.Parameter.empty
    return named and (behind_width or [p.name for p in positional[:at]] == _HGBLOCK)


def _fits(
    block: Callable[..., Any], positional: Sequence[inspect.Parameter], args: tuple[Any, ...]
) -> bool:
    """Whether the block can be called so, and gets whole numbers for its number of layers."""
    try:
        inspect.signature(block).bind(None, *args)
    except TypeError:
        return False
    counts = [v for p, v in zip(positional[1:], args, strict=False) if p.name in _MAYBE_REPEATS]
    return all(type(value) is int and value >= 1 for value in counts)


def _is_strange(positional: Sequence[inspect.Parameter], args: tuple[Any, ...]) -> bool:
    """Whether something that is true or false by default gets another kind of value."""
    pairs = zip(positional[1:], args, strict=False)
    return any(isinstance(p.default, bool) and not isinstance(v, bool) for p, v in pairs)


def _value(positional: Sequence[inspect.Parameter], at: int, args: tuple[Any, ...]) -> Any:
    return args[at - 1] if at <= len(args) else positional[at].default


def _unclear(name: str, at: int, repeats: int, args: tuple[Any, ...]) -> Unclear:
    return Unclear(
        f"whether the {repeats} of the row's repeats is the argument {name}, "
        f"or whether {list(args)} are all its arguments and it is repeated in series, "
        "the class does not say",
        _declare("repeats_arg", max(at - 1, 0), name, "repeats in series"),
    )


# --- widths ------------------------------------------------------------------------------------


def scaled(width: int, factor: float, most: float) -> int:
    """A width under a scale: at most `max_channels`, times the multiple, up to a multiple of 8."""
    return math.ceil(min(width, most) * factor / 8) * 8


def width_arg(block: Callable[..., Any], *, listed: bool) -> int | None:
    """Which of a row's arguments the scale's width multiplies, as the class declares it or as its
    signature tells: `c2` behind `c1`, as in the public blocks. `listed`: the row reads several."""
    if hasattr(block, "width_arg"):
        declared: int | None = block.width_arg
        return declared
    names = list(inspect.signature(block).parameters)
    return 0 if not listed and names[:2] == ["c1", "c2"] else None


def check_unscaled(
    block: Callable[..., Any],
    args: tuple[Any, ...],
    inputs: Any,
    output: int,
    rescaled: Callable[[int], int],
    *,
    behind: bool = True,
) -> None:
    """Raises Unclear where an argument that was not scaled is what the block puts out, so that it
    is a width: `inputs` are the channels that it reads, `output` those that it returns. `behind`:
    the arguments stand behind the input channels."""
    if hasattr(block, "width_arg"):
        return
    parameters = list(inspect.signature(block).parameters.values())
    if [p.name for p in parameters[:4]] == _HGBLOCK:
        return
    more = [p for p in parameters if p.kind is p.VAR_POSITIONAL]
    named = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    named = named[1:] if behind else named
    for at, (parameter, value) in enumerate(zip(named + more * len(args), args, strict=False)):
        is_width = type(value) is int and value == output and value != rescaled(value)
        is_asked = behind and parameter.default is parameter.empty
        if is_width and (is_asked or value != inputs):
            raise Unclear(
                f"{parameter.name} = {value} is the width of its output, and whether the scale "
                f"makes it {rescaled(value)} the class does not say",
                _declare("width_arg", at, parameter.name, "widths that no scale changes"),
            )
