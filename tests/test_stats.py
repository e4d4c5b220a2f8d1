from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detrbench.stats import median, paired_ratio, quantile

samples = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=50)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1.0), (0.25, 1.75), (0.5, 2.5), (0.75, 3.25), (1.0, 4.0)]
)
def test_quantiles_of_four_numbers_as_hyndman_and_fan_type_7(share: float, expected: float) -> None:
    assert quantile([4.0, 1.0, 3.0, 2.0], share) == pytest.approx(expected)


@given(samples)
def test_the_median_is_the_standard_librarys(values: list[float]) -> None:
    assert median(values) == pytest.approx(statistics.median(values))


@given(st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=50))
def test_the_quartiles_are_the_standard_librarys(values: list[float]) -> None:
    expected = statistics.quantiles(values, n=4, method="inclusive")
    assert [quantile(values, share) for share in (0.25, 0.5, 0.75)] == pytest.approx(expected)


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], -0.1), ([1.0], 1.1)])
def test_quantiles_that_do_not_exist(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="quantile"):
        quantile(values, share)


def test_drift_that_hits_both_cancels_in_the_paired_ratio() -> None:
    drift = [1.0, 3.0, 0.5, 7.0, 2.0]
    assert paired_ratio(drift, [0.9 * d for d in drift]) == pytest.approx(0.9)


@given(samples)
def test_the_paired_ratio_turns_over_with_its_arguments(values: list[float]) -> None:
    other = [value * 1.5 + 1e-6 for value in values]
    there, back = paired_ratio(values, other), paired_ratio(other, values)
    assert there is not None
    assert back is not None
    assert there * back == pytest.approx(1.0)


def test_rounds_that_only_one_finished_are_left_out() -> None:
    assert paired_ratio([1.0, 1.0, 1.0], [2.0, 2.0]) == pytest.approx(2.0)
    assert paired_ratio([1.0], []) is None


@pytest.mark.parametrize(("baseline", "other"), [(0.0, 1.0), (1.0, 0.0), (1.0, -1.0)])
def test_a_sample_that_is_not_positive_has_no_ratio(baseline: float, other: float) -> None:
    with pytest.raises(ValueError, match=r"math domain|positive"):
        paired_ratio([baseline], [other])
