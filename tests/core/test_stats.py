from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detrbench.core.stats import (
    Interval,
    mean_interval,
    median,
    median_interval,
    paired_log_ratios,
    quantile,
    robust_sd,
    student_t,
    too_few_for,
    welch_interval,
)

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


def test_drift_that_hits_both_cancels_in_the_paired_ratios() -> None:
    drift = [1.0, 3.0, 0.5, 7.0, 2.0]
    slower = [0.9 * d for d in drift]
    assert paired_log_ratios(drift, slower) == pytest.approx([math.log(0.9)] * 5)


@given(samples)
def test_paired_ratios_turn_over_with_their_arguments(values: list[float]) -> None:
    other = [value * 1.5 + 1e-6 for value in values]
    there, back = paired_log_ratios(values, other), paired_log_ratios(other, values)
    assert there == pytest.approx([-each for each in back])


def test_rounds_that_only_one_finished_are_left_out() -> None:
    assert paired_log_ratios([1.0, 1.0, 1.0], [2.0, 2.0]) == pytest.approx([math.log(2)] * 2)
    assert paired_log_ratios([1.0], []) == []


@pytest.mark.parametrize(("baseline", "other"), [(0.0, 1.0), (1.0, 0.0), (1.0, -1.0)])
def test_a_sample_that_is_not_positive_has_no_ratio(baseline: float, other: float) -> None:
    with pytest.raises(ValueError, match=r"math domain|positive"):
        paired_log_ratios([baseline], [other])


# --- intervals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "degrees", "published"),
    [  # any printed table of Student's t
        (0.975, 1, 12.706),
        (0.975, 2, 4.303),
        (0.975, 5, 2.571),
        (0.95, 5, 2.015),
        (0.9995, 5, 6.869),
        (0.975, 10, 2.228),
        (0.995, 7, 3.499),
        (0.975, 30, 2.042),
        (0.975, 120, 1.980),
        (0.999, 8, 4.501),
    ],
)
def test_students_t_is_the_printed_table(share: float, degrees: int, published: float) -> None:
    assert student_t(share, degrees) == pytest.approx(published, abs=5.1e-4)
    assert student_t(1 - share, degrees) == pytest.approx(-published, abs=5.1e-4)


@pytest.mark.parametrize(("share", "degrees"), [(0.0, 5), (1.0, 5), (0.9, 0)])
def test_students_t_has_no_such_quantile(share: float, degrees: int) -> None:
    with pytest.raises(ValueError, match="no quantile"):
        student_t(share, degrees)


def test_the_interval_of_a_mean_by_hand() -> None:
    interval = mean_interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert interval is not None
    assert interval.estimate == 3.5
    assert interval.high - 3.5 == pytest.approx(2.5706 * math.sqrt(3.5 / 6), abs=1e-4)
    assert 3.5 - interval.low == pytest.approx(interval.high - 3.5)
    assert mean_interval([1.0]) is None


def test_welchs_interval_by_hand() -> None:
    # Variances 1 and 4 of three values each: se = sqrt(5 / 3), 2.94 degrees of freedom, so 2.
    interval = welch_interval([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
    assert interval is not None
    assert interval.estimate == pytest.approx(2.0)
    assert interval.high == pytest.approx(2.0 + 4.3027 * math.sqrt(5 / 3), abs=1e-3)
    assert 2.0 - interval.low == pytest.approx(interval.high - 2.0)
    assert welch_interval([1.0], [2.0, 3.0]) is None
    assert welch_interval([1.0, 1.0], [3.0, 3.0]) == Interval(2.0, 2.0, 2.0)


def test_welchs_interval_holds_where_spreads_and_numbers_differ() -> None:
    draw = random.Random(2)
    hits = 0
    for _ in range(2000):
        before = [draw.gauss(0.0, 0.01) for _ in range(6)]
        after = [draw.gauss(0.05, 0.04) for _ in range(9)]
        interval = welch_interval(before, after)
        assert interval is not None
        hits += interval.low <= 0.05 <= interval.high
    assert hits / 2000 >= 0.94  # 0.95 less two standard errors of 2000 draws


def test_the_interval_of_a_median_needs_six() -> None:
    assert median_interval([1.0, 2.0, 3.0, 4.0, 5.0]) is None
    assert median_interval([6.0, 5.0, 4.0, 3.0, 2.0, 1.0]) == Interval(3.5, 1.0, 6.0)
    # From nine on the outermost may go: 2 * (1 + 9) / 512 = 0.039
    nine = [float(value) for value in range(9)]
    assert median_interval(nine) == Interval(4.0, 1.0, 7.0)


def test_the_interval_of_a_median_holds_for_skewed_samples() -> None:
    draw = random.Random(1)
    hits = 0
    for _ in range(2000):
        interval = median_interval([draw.expovariate(1.0) for _ in range(8)])
        assert interval is not None
        hits += interval.low <= math.log(2) <= interval.high
    assert hits / 2000 >= 0.95


def test_a_robust_sd_of_normal_samples_is_theirs_and_outliers_do_not_move_it() -> None:
    draw = random.Random(2)
    samples = [draw.gauss(0, 3) for _ in range(4000)]
    assert robust_sd(samples) == pytest.approx(3, rel=0.06)
    assert robust_sd([*samples, *[1e9] * 40]) == pytest.approx(3, rel=0.08)


@pytest.mark.parametrize(("share", "least"), [(0.5, 11), (0.9, 64), (0.95, 130), (0.99, 662)])
def test_a_percentile_is_refused_below_its_count(share: float, least: int) -> None:
    assert too_few_for(share, least) is None
    assert too_few_for(share, least - 1) == f"n={least - 1} < {least}"


def test_an_interval_of_ratios_that_scatter_by_powers_of_ten_has_ends() -> None:
    """Two processes of a machine that was taken away in one of them."""
    found = mean_interval([0.0, 9.0], alpha=0.0017)
    assert found is not None
    assert found.high > 710, "beyond what a float can be a logarithm of"
    assert math.isfinite(found.exp().high)
    assert found.exp().low > 0
