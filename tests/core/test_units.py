"""Rounding, prefixes, and the numbers people print."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detrbench.core import units
from detrbench.core.errors import UsageError


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (32_808_131, "parameter", "32.8"),
        (107_990_000_000, "FLOP", "108.0"),
        (0.0116, "s", "11.6"),
        (3_342_000_000, "B", "3,342.0"),
        (5_224_064, "element", "5.2"),
        (1_234, "count", "1,234"),
        (32.77, "FLOP/B", "32.8"),
        (0, "parameter", "0.0"),
    ],
)
def test_show(value: float, unit: str, text: str) -> None:
    assert units.show(value, unit) == text


def test_headers_carry_the_unit() -> None:
    assert units.header("Params", "parameter") == "Params (M)"
    assert units.header("FLOPs", "FLOP") == "GFLOPs"
    assert units.header("FLOPs (thop)", "FLOP") == "GFLOPs (thop)"
    assert units.header("Latency", "s") == "Latency (ms)"
    assert units.header("Kernels", "count") == "Kernels"


def test_column_names_carry_the_base_unit_once() -> None:
    assert units.column_name("latency_median_s", "s") == "latency_median_s"
    assert units.column_name("arithmetic_intensity", "FLOP/B").endswith("_flop_per_byte")


def test_quantities_in_sentences() -> None:
    assert units.show_quantity(32_808_131, "parameter") == "32.8M"
    assert units.show_quantity(108e9, "FLOP") == "108.0 GFLOPs"
    assert units.show_range(0.0114, 0.0119, "s") == "[11.4-11.9]"
    assert units.show_count(32_970_476) == "32,970,476"
    assert units.show_many(1, "round") == "1 round"
    assert units.show_many(1_500, "round") == "1,500 rounds"
    assert units.show_many(0, "process has", "processes have") == "0 processes have"
    assert units.show_eta(95.2) == "1 min 36 s"


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(0.912, "-8.8%"), (1.0, "0.0%"), (1.00001, "0.0%"), (0.99999, "0.0%"), (27, "+2,600.0%")],
)
def test_changes_are_signed_and_nothing_is_minus_zero(ratio: float, text: str) -> None:
    assert units.show_change(ratio) == text


def test_no_ratio_to_nothing() -> None:
    assert units.ratio(1, 0) is None
    assert units.show_share(1, 0) == ""


@pytest.mark.parametrize(
    ("text", "value"),
    [("32.8M", 32.8e6), ("108.0 GFLOPs", 108e9), ("19", 19), ("1.2B", 1.2e9), ("62.9G", 62.9e9)],
)
def test_printed_numbers(text: str, value: float) -> None:
    assert units.parse_printed(text).value == pytest.approx(value)


def test_a_printed_number_takes_its_columns_factor_unless_it_has_a_prefix() -> None:
    assert units.parse_printed("108.0", factor=1e9).value == 108e9
    assert units.parse_printed("32.8M", factor=1e9).value == pytest.approx(32.8e6)


@pytest.mark.parametrize("text", ["20,184,464", "20184464", " 020184464 "])
def test_a_count_may_be_printed_in_full(text: str) -> None:
    printed = units.parse_printed(text, factor=1e6, in_full=True)
    assert printed.value == 20_184_464
    assert printed.matches(20_184_464)
    assert not printed.matches(20_184_465)


def test_what_is_in_full_is_said_or_has_separators() -> None:
    assert units.parse_printed("20,184", factor=1e6).value == 20_184
    assert units.parse_printed("20184464", factor=1e6).value == 20_184_464e6
    assert units.parse_printed("20184", factor=1e6, in_full=True).value == 20_184e6


def test_digits_decide_what_a_printed_number_matches() -> None:
    printed = units.parse_printed("32.8M")
    assert printed.matches(32_808_131)
    assert not printed.matches(32_970_476)
    assert units.parse_printed("33M").matches(32_970_476)


@pytest.mark.parametrize(
    "text", ["", "M", "-1", "1e9", "32,8M", "nan", "1,23", "1234,567", "32.8 Q", "٣", "9" * 400]
)
def test_what_is_not_a_printed_number(text: str) -> None:
    with pytest.raises(UsageError, match=r"--params: .*printed number"):
        units.parse_printed(text, where="--params")


@given(st.integers(1, 10**11), st.sampled_from(["parameter", "FLOP", "s", "B"]))
def test_what_is_shown_matches_what_it_was_shown_for(value: int, unit: str) -> None:
    shown = units.show(value, unit).replace(",", "")
    assert units.parse_printed(shown, factor=units.printed_factor(unit)).matches(value)


@given(st.integers(1, 16_384), st.integers(1, 16_384))
def test_image_sizes_round_trip(height: int, width: int) -> None:
    assert units.parse_imgsz(units.show_imgsz((height, width))) == (height, width)
    assert units.parse_imgsz(str(height)) == (height, height)


@given(st.text(max_size=5) | st.from_regex(r"[0-9]{0,3}([xX][0-9]{0,3})?", fullmatch=True))
def test_an_image_size_is_read_or_refused(text: str) -> None:
    if re.fullmatch(r"0*[1-9]\d*(x0*[1-9]\d*)?", text.strip().lower(), re.ASCII):
        assert min(units.parse_imgsz(text)) >= 1
    else:
        with pytest.raises(UsageError, match="480x640"):
            units.parse_imgsz(text)


@pytest.mark.parametrize(
    "text", ["0", "0x640", "640x", "x640", "640x640x3", "-640", "640.0", "６４０"]
)
def test_what_is_not_an_image_size(text: str) -> None:
    with pytest.raises(UsageError):
        units.parse_imgsz(text)


@pytest.mark.parametrize("value", [math.nan, math.inf, True, "1", None])
def test_what_is_not_a_finite_number(value: object) -> None:
    assert not units.is_finite(value)


@pytest.mark.parametrize(
    ("part", "shown"), [(0.02, "2%"), (0.025, "2.5%"), (0.99833333, "99.8333%"), (1, "100%")]
)
def test_parts_without_idle_digits(part: float, shown: str) -> None:
    assert units.show_part(part) == shown


@pytest.mark.parametrize(
    ("values", "unit", "shown"),
    [
        ([0.0, 0.2, 0.4], "s", ["0", "200", "400"]),
        ([0.00225, 0.0025, 0.00275], "s", ["2.25", "2.50", "2.75"]),
        ([0, 5e8, 1e9], "FLOP", ["0.0", "0.5", "1.0"]),
        ([0, 1_000_000_000], "B", ["0", "1,000"]),
        ([0.1 + 0.2], "s", ["300"]),
        ([], "s", []),
    ],
)
def test_marks_of_an_axis_have_the_decimals_of_their_step(
    values: list[float], unit: str, shown: list[str]
) -> None:
    assert units.show_ticks(values, unit) == shown


def test_a_number_without_a_unit_has_four_digits() -> None:
    assert units.show_number(3.271484375) == "3.271"
    assert units.show_number(2) == "2"
