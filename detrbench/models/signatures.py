"""How a row's repeats and a scale's width reach a block, read off the block's signature.

The format writes a row's arguments without the input channels and without the repeats: whoever
builds it puts `c1` in front, and for some blocks the repeats in the middle, `C2f [128, True]` being
`C2f(c1, 128, n, True)`. Which blocks those are stands nowhere in a file. A signature tells where it
is a public one; a class can declare it; and where two readings would count differently, none is
chosen.
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


def reads_channels(block: Callable[..., Any]) -> bool:
    """Whether the input channels stand first: in all classes, and in functions that call them c1. A
    function that makes a whole backbone knows what an image has."""
    return isinstance(block, type) or next(iter(inspect.signature(block).parameters), "") == "c1"


def call_of(block: Callable[..., Any], args: tuple[Any, ...], repeats: int) -> Call:
    """How `args` and `repeats` of a row reach a user's block.

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
) -> None:
    """Raises Unclear where an argument that was not scaled is what the block puts out, so that it
    is a width: `inputs` are the channels that it reads, `output` those that it returns."""
    if hasattr(block, "width_arg"):
        return
    parameters = list(inspect.signature(block).parameters.values())
    if [p.name for p in parameters[:4]] == _HGBLOCK:
        return
    more = [p for p in parameters if p.kind is p.VAR_POSITIONAL]
    named = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD][1:]
    for at, (parameter, value) in enumerate(zip(named + more * len(args), args, strict=False)):
        is_width = type(value) is int and value == output and value != rescaled(value)
        if is_width and (parameter.default is parameter.empty or value != inputs):
            raise Unclear(
                f"{parameter.name} = {value} is the width of its output, and whether the scale "
                f"makes it {rescaled(value)} the class does not say",
                _declare("width_arg", at, parameter.name, "widths that no scale changes"),
            )
