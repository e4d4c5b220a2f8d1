"""How repeats and widths reach a block of the user's: certain, declared, or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from detrbench.models.signatures import (
    Call,
    Unclear,
    call_of,
    channels_first,
    check_unscaled,
    scaled,
    takes_each,
    unclear_channels,
    width_arg,
)


def keyword_only(c1, c2, e=0.5, *, n=1): ...


def keyword_only_num(c1, c2, *, num=1): ...


def third(c1, c2, n=1, shortcut=False, g=1): ...


def third_num(inc, ouc, num=1): ...


def fifth(c1, cm, c2, k=3, n=6, lightconv=False): ...


def elsewhere(c1, s=1, n=1, e=0.5): ...


def layers(c1, c2, num_layers=2): ...


def depths(c1, c2, depth=(2, 2, 6, 2)): ...


def plain(c1, c2, k=1): ...


def opaque(*args, **options): ...


def declared(c1, c2, depth=1, k=3): ...


declared.repeats_arg = 1  # type: ignore[attr-defined]


def declared_in_series(c1, c2, n=1): ...


declared_in_series.repeats_arg = None  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("block", "args", "repeats", "expected"),
    [
        (keyword_only, (64,), 3, Call((64,), {"n": 3}, 1)),
        (keyword_only_num, (64,), 3, Call((64,), {"num": 3}, 1)),
        (third, (64, True), 3, Call((64, 3, True), {}, 1)),
        (third, (64,), 3, Call((64, 3), {}, 1)),
        (third_num, (64,), 3, Call((64, 3), {}, 1)),
        (fifth, (48, 128, 3), 6, Call((48, 128, 3, 6), {}, 1)),
        (fifth, (192, 1024, 1, True), 6, Call((192, 1024, 1, 6, True), {}, 1)),
        (elsewhere, (2, 4, 0.5), 2, Call((2, 4, 0.5), {}, 2)),  # one more would not fit
        (elsewhere, (2, 0.5), 2, Call((2, 2, 0.5), {}, 1)),  # no count is 0.5
        (elsewhere, (2,), 1, Call((2, 1), {}, 1)),  # both are one
        (depths, (64,), 1, Call((64,), {}, 1)),
        (plain, (64, 3), 2, Call((64, 3), {}, 2)),
        (opaque, (64, 3), 1, Call((64, 3), {}, 1)),
        (declared, (64, 5), 3, Call((64, 3, 5), {}, 1)),
        (declared_in_series, (64,), 3, Call((64,), {}, 3)),
    ],
)
def test_repeats_go_where_the_signature_has_them(
    block: Callable[..., Any], args: tuple[Any, ...], repeats: int, expected: Call
) -> None:
    assert call_of(block, args, repeats) == expected


@pytest.mark.parametrize(
    ("block", "args", "repeats", "argument", "place"),
    [
        (elsewhere, (2,), 3, "n", 1),
        (elsewhere, (2, 4), 1, "n", 1),  # n=4, or n=1 and e=4
        (layers, (64,), 1, "num_layers", 1),  # two by default, or one
        (layers, (64,), 3, "num_layers", 1),
        (third, (64, 3, True), 1, "n", 1),  # three layers, or one and shortcut=3
        (opaque, (64,), 3, "*args", 0),
    ],
)
def test_what_both_readings_count_differently_is_refused_by_name(
    block: Callable[..., Any], args: tuple[Any, ...], repeats: int, argument: str, place: int
) -> None:
    with pytest.raises(Unclear) as caught:
        call_of(block, args, repeats)
    assert f"is the argument {argument}," in caught.value.what
    assert f"`repeats_arg = {place}`" in caught.value.hint


def test_a_width_is_where_the_public_signature_has_it_or_the_class_says() -> None:
    def declared(c1, k, c2): ...

    declared.width_arg = 1  # type: ignore[attr-defined]
    assert width_arg(plain, listed=False) == 0
    assert width_arg(plain, listed=True) is None
    assert width_arg(third_num, listed=False) is None
    assert width_arg(declared, listed=False) == 1


def test_a_width_is_multiplied_within_the_most_and_made_a_multiple_of_8() -> None:
    assert scaled(256, 0.25, 1024) == 64
    assert scaled(1024, 1.25, 512) == 640
    assert scaled(100, 0.25, 1024) == 32  # 25, rounded up


def test_a_width_that_nobody_says_scales_is_refused_by_name() -> None:
    def halved(width: int) -> int:
        return scaled(width, 0.5, 1024)

    def gate(c1, reduction=16): ...

    with pytest.raises(Unclear, match=r"ouc = 64 .* makes it 32") as caught:
        check_unscaled(third_num, (64,), 32, 64, halved)
    assert "`width_arg = 0`, the place of ouc" in caught.value.hint
    with pytest.raises(Unclear, match=r"args = 64"):
        check_unscaled(opaque, (64,), 64, 64, halved)
    check_unscaled(gate, (16,), 16, 16, halved)  # by accident as wide as what it reads
    check_unscaled(third_num, (64,), 32, 128, halved)  # nothing that it puts out
    check_unscaled(fifth, (48, 128), 64, 128, halved)  # the public HGBlock is never scaled


def made_as(signature: str, *, function: bool = False, **declared: Any) -> Callable[..., Any]:
    """A class with `signature`, or a function."""
    scope: dict[str, Any] = {}
    if function:
        exec(f"def made({signature}): ...", scope)
        return scope["made"]  # type: ignore[no-any-return]
    exec(f"def __init__(self{', ' * bool(signature)}{signature}): ...", scope)
    return type("Made", (), {"__init__": scope["__init__"], **declared})


WITH, WITHOUT = (True,), (False,)
EITHER = (True, False)


@pytest.mark.parametrize(
    ("signature", "args", "expected"),
    [
        # Named like channels, and required.
        ("c1, c2, n=1", [128], WITH),
        ("c1, c2, k=3", [128, 3], WITH),  # as wide as what it reads
        ("inc, ouc=64", [128], WITH),
        ("dim, num_heads=8", [4], WITH),
        ("channels, factor=8", [], WITH),
        ("channels, factor=8", [128], EITHER),  # the channels written out, or the factor
        ("channels, c2=None, factor=8", [128], WITH),  # the same either way
        ("channels, factor=8", [128, 4], WITHOUT),  # one more would not fit
        ("c1, c2, k=3", [], WITH),  # neither fits: what is said is that c2 is missing
        # With a default, or a name that says something else.
        ("e_lambda=1e-4", [], WITHOUT),
        ("e_lambda=1e-4", [1e-3], WITHOUT),
        ("width=16", [], WITHOUT),
        ("width=16, depth=2", [16], WITHOUT),
        ("layers=2, c=128", [], WITHOUT),
        ("kinds=(1, 3)", [], WITHOUT),
        ("pretrained=False", [], WITHOUT),
        ("", [], WITHOUT),
        ("width", [], WITH),  # it has to be given
        ("channel=512, reduction=16", [], EITHER),
        ("mid=64", [], EITHER),
        ("width, k=3", [3], EITHER),
        ("*args", [3], EITHER),
    ],
)
def test_where_the_input_channels_go(
    signature: str, args: list[Any], expected: tuple[bool, ...]
) -> None:
    assert channels_first(made_as(signature), tuple(args), 128) == expected


@pytest.mark.parametrize(
    ("signature", "args", "expected"),
    [
        ("c1, c2", [32], WITH),
        ("c1, c2, k=1", [32, 3], WITH),
        ("in_ch, out_ch, k=1", [32], WITH),
        ("in_ch, out_ch, k=1", [128, 32], EITHER),
        ("in_chans=3", [], WITHOUT),
        ("variant, pretrained=False", ["s"], WITHOUT),
        ("**options", [], WITHOUT),
    ],
)
def test_a_function_that_makes_a_backbone_knows_its_images(
    signature: str, args: list[Any], expected: tuple[bool, ...]
) -> None:
    assert channels_first(made_as(signature, function=True), tuple(args), 128) == expected


def test_a_class_says_whether_channels_stand_first() -> None:
    assert channels_first(made_as("mid=64", channels_arg=0), (), 128) == WITH
    assert channels_first(made_as("mid=64", channels_arg=None), (), 128) == WITHOUT
    with pytest.raises(Unclear, match="`channels_arg` is 2"):
        channels_first(made_as("mid=64", channels_arg=2), (), 128)
    said = unclear_channels(made_as("mid=64"), (), 128)
    assert "first argument, mid=64, is the input's channels, 128" in said.what
    assert "`channels_arg = 0`" in said.hint


def test_arguments_as_they_are_written_have_no_repeats_in_them() -> None:
    grow = made_as("depth=2, c=128")
    assert call_of(grow, (), 1, behind=False) == Call((), {}, 1)
    assert call_of(made_as("width=16"), (), 3, behind=False) == Call((), {}, 3)
    assert call_of(made_as("width=16, *, n=1"), (), 3, behind=False) == Call((), {"n": 3}, 1)
    with pytest.raises(Unclear, match="is the argument depth,") as caught:
        call_of(grow, (), 3, behind=False)
    assert "`repeats_arg = 0`" in caught.value.hint


def test_forward_takes_each_input_or_their_list() -> None:
    assert takes_each(lambda x, y: ..., 2)
    assert takes_each(lambda x, y, scale=1: ..., 2)
    assert not takes_each(lambda x: ..., 2)
    assert not takes_each(lambda x, y, z: ..., 2)
    assert not takes_each(lambda x: ..., 1)
    assert not takes_each(lambda *xs: ..., 2)
