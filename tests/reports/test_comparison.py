"""Comparisons as both schemas have them, and what a file may hold instead."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detrbench.models.model import Model
from detrbench.reports.case import Case, Execution
from detrbench.reports.comparison import Comparison, Side
from detrbench.reports.report import Result
from tests.render.sample import MIXED

SETTINGS = {"imgsz": "640x640", "batch": 1, "nc": 80, "device": "cpu"}
FIRST: dict[str, Any] = {
    "baseline": "a", "model": "b", "settings": SETTINGS, "ratio": 0.9, "ci_low": 0.8,
    "ci_high": 1.0, "verdict": "FASTER", "reasons": ["why"], "margin": 0.02, "confidence": 0.95,
    "process_log_ratios": [-0.1, -0.2],
}  # fmt: skip
"""As schema 1 has it."""

CASE = Case("b@runtime=compile", Model("b", "b"), Execution(runtime="compile"))
CASES = {CASE.id: CASE}
SECOND: dict[str, Any] = {
    **{key: value for key, value in FIRST.items() if key not in ("model", "settings")},
    "baseline": {"model": "a", "settings": {**SETTINGS, "nc": 20}, "case": None},
    "case": {"model": "b", "settings": SETTINGS, "case": CASE.id},
}
"""As schema 2 has it."""


def read(plain: dict[str, Any]) -> Comparison:
    return Comparison.from_dict(plain, CASES)


def row(model: str, case: Case | None = None, **settings: Any) -> Result:
    return Result(model, model, {**SETTINGS, **settings}, {}, case=case)


# --- reading -----------------------------------------------------------------------------------


def test_schema_1_names_two_models_and_one_set_of_settings() -> None:
    pair = read(FIRST)
    assert pair.case == Side("b", SETTINGS)
    assert pair.baseline == Side("a", {"imgsz": "640x640", "batch": 1, "device": "cpu"}), (
        "it may have classes of its own"
    )
    assert (pair.model, pair.settings) == ("b", SETTINGS)
    assert (pair.ratio, pair.ci_low, pair.ci_high) == (0.9, 0.8, 1.0)
    assert (pair.verdict, pair.reasons) == ("FASTER", ("why",))
    assert (pair.margin, pair.confidence) == (0.02, 0.95)
    assert pair.process_log_ratios == (-0.1, -0.2)
    assert pair.unusable == ()


def test_schema_2_names_two_cases_each_with_its_settings() -> None:
    pair = read(SECOND)
    assert pair.case == Side("b", SETTINGS, CASE)
    assert pair.baseline == Side("a", {**SETTINGS, "nc": 20})
    assert pair.unusable == ()
    same = ("ratio", "ci_low", "ci_high", "verdict", "reasons", "process_log_ratios")
    assert [getattr(pair, name) for name in same] == [getattr(read(FIRST), name) for name in same]


@pytest.mark.parametrize("plain", [FIRST, SECOND], ids=["schema 1", "schema 2"])
def test_either_is_written_as_schema_2_and_read_again(plain: dict[str, Any]) -> None:
    pair = read(plain)
    written = json.loads(json.dumps(pair.to_dict()))
    assert set(written) == set(SECOND)
    assert read(written) == pair


def test_what_is_not_known_of_a_comparison_is_none() -> None:
    named = {"baseline": "a", "model": "b", "settings": {}, "reasons": [], "process_log_ratios": []}
    pair = read(named)
    assert pair.unusable == ()
    assert pair.ratio is pair.ci_low is pair.margin is pair.confidence is pair.verdict is None
    assert pair.explanation is pair.mean_ratio is None


def test_the_ratio_of_processes_is_their_middle() -> None:
    assert read(FIRST).mean_ratio == pytest.approx(math.exp(-0.15))


def test_an_explanation_is_kept_as_it_is() -> None:
    kept = {"by": "stage", "wholes": [{}, {}]}
    pair = read({**FIRST, "explanation": kept})
    assert pair.explanation == kept
    assert read(pair.to_dict()).explanation == kept
    assert "explanation" not in read(FIRST).to_dict()


# --- what a file may hold instead --------------------------------------------------------------

HOSTILE: list[tuple[str, Any]] = [
    ("ratio", "0.9"), ("ratio", True), ("ratio", 0), ("ratio", -1.0), ("ratio", [0.9]),
    ("ratio", 10**400), ("ci_low", {}), ("ci_high", "x"), ("margin", -0.02), ("confidence", "95%"),
    ("verdict", 1), ("verdict", ["FASTER"]), ("reasons", "why"), ("reasons", None),
    ("process_log_ratios", None), ("process_log_ratios", {}), ("process_log_ratios", ["x"]),
    ("process_log_ratios", [0.1, None]), ("process_log_ratios", [True]),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), HOSTILE)
@pytest.mark.parametrize("plain", [FIRST, SECOND], ids=["schema 1", "schema 2"])
def test_a_value_of_another_kind_is_left_out_and_named(
    plain: dict[str, Any], key: str, value: Any
) -> None:
    pair = read({**plain, key: value})
    assert pair.unusable == (key,)
    assert not getattr(pair, key)
    assert dataclasses.replace(pair, **{key: plain[key]}, unusable=()) == dataclasses.replace(
        read(plain), **{key: plain[key]}
    ), "and all else is as it was"


@pytest.mark.parametrize(
    ("key", "value", "unusable"),
    [
        ("baseline", 3, "baseline"), ("baseline", None, "baseline"), ("baseline", "", "baseline"),
        ("model", ["b"], "model"), ("settings", "x", "settings"), ("settings", None, "settings"),
    ],
)  # fmt: skip
def test_schema_1_without_its_models_or_settings(key: str, value: Any, unusable: str) -> None:
    assert read({**FIRST, key: value}).unusable == (unusable,)
    assert unusable in read({name: FIRST[name] for name in FIRST if name != key}).unusable


@pytest.mark.parametrize(
    ("side", "changes", "unusable"),
    [
        ("case", {"settings": 3}, ("case.settings",)),
        ("case", {"case": 3}, ("case.case",)),
        ("case", {"case": "of no one"}, ("case.case",)),
        ("case", {"model": None}, ("case.model", "model")),
        ("case", {"model": ""}, ("model",)),
        ("baseline", {"settings": None}, ("baseline.settings",)),
        ("baseline", {"model": 1}, ("baseline.model", "baseline")),
    ],
)
def test_schema_2_with_a_broken_side(
    side: str, changes: dict[str, Any], unusable: tuple[str, ...]
) -> None:
    pair = read({**SECOND, side: {**SECOND[side], **changes}})
    assert pair.unusable == unusable


def test_schema_2_with_a_baseline_that_is_no_side() -> None:
    assert "baseline" in read({**SECOND, "baseline": "a"}).unusable


def test_what_could_not_be_read_is_still_known_when_it_was_written_again() -> None:
    pair = read({**FIRST, "process_log_ratios": "x", "settings": 3})
    again = read(json.loads(json.dumps(pair.to_dict())))
    assert again == pair
    assert set(again.unusable) == {"process_log_ratios", "settings"}, "no gate may trust the rest"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=5,
)
KEYS = st.sampled_from([*dict.fromkeys((*FIRST, *SECOND)), "explanation", "unusable", "later"])


@given(st.sampled_from([FIRST, SECOND]), st.dictionaries(KEYS, JSON, max_size=4))
def test_whatever_a_file_holds_is_read_and_written_again(
    plain: dict[str, Any], changes: dict[str, Any]
) -> None:
    pair = read({**plain, **changes})
    assert read(json.loads(json.dumps(pair.to_dict()))) == pair


# --- which rows it is of -----------------------------------------------------------------------


def test_a_side_is_of_rows_of_its_model_under_its_settings() -> None:
    side = Side("a", {"imgsz": "640x640", "batch": 1})
    assert side.is_of(row("a"))
    assert side.is_of(row("a", later=1)), "a row may say more"
    assert not side.is_of(row("b"))
    assert not side.is_of(row("a", batch=2))
    assert not Side("a", {"threads": 2}).is_of(row("a")), "which the row does not say"
    assert not Side("a", {"threads": None}).is_of(row("a"))


def test_a_side_is_of_rows_of_its_case_where_both_know_theirs() -> None:
    side, other = Side("b", SETTINGS, CASE), Case("b", CASE.model)
    assert side.is_of(row("b", CASE))
    assert not side.is_of(row("b", other)), "the same settings, asked for in another way"
    assert side.is_of(row("b")), "a row of schema 1 has none to tell it apart"
    assert Side("b", SETTINGS).is_of(row("b", other))


def test_a_comparison_of_schema_1_may_be_against_a_model_with_classes_of_its_own() -> None:
    pair = read(FIRST)
    assert pair.concerns(row("a", nc=20))
    assert not pair.case.is_of(row("b", nc=20))
    assert pair.concerns(row("b"))
    assert not pair.concerns(row("c"))


def test_each_comparison_of_mixed_cases_is_of_one_row_and_against_one() -> None:
    for pair in MIXED.comparisons:
        assert sum(pair.case.is_of(each) for each in MIXED.rows) == 1
        assert sum(pair.baseline.is_of(each) for each in MIXED.rows) == 1
        assert sum(pair.concerns(each) for each in MIXED.rows) == 2
