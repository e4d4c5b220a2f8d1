"""Verdicts by hand: Student's t and a calculator, no function of the package."""

from __future__ import annotations

import math
from statistics import mean

import pytest

from detrbench.core.errors import UsageError
from detrbench.reports.verdicts import (
    ALPHA,
    FEW_ALPHA,
    Judgement,
    Verdict,
    judge,
)

# Student's t with 0.005/3 outside of both sides, by degrees of freedom.
T_FEW = {2: 24.464, 3: 10.869, 4: 7.5287}
P = 1 - 0.005 / 6


def ratios(*of: float) -> list[float]:
    return [math.log(ratio) for ratio in of]


def bounds(judged: Judgement) -> tuple[float, float]:
    assert judged.interval is not None
    return judged.interval.low, judged.interval.high


# --- three to five -------------------------------------------------------------------------------


def test_looks_at_few_have_half_a_percent_of_error_between_them() -> None:
    assert pytest.approx(0.005) == 3 * FEW_ALPHA


def test_the_figures_of_student_s_t_by_their_closed_forms() -> None:
    """The distribution function for two and for four degrees of freedom."""
    t = T_FEW[2]
    assert 0.5 + t / (2 * math.sqrt(2 + t**2)) == pytest.approx(P, abs=1e-7)
    t = T_FEW[4]
    root = t / math.sqrt(1 + t**2 / 4)
    assert 0.5 + 3 / 8 * root * (1 - root**2 / 12) == pytest.approx(P, abs=1e-7)


@pytest.mark.parametrize("processes", [3, 4, 5])
def test_few_that_agree_are_taken_to_scatter_by_two_percent(processes: int) -> None:
    judged = judge(ratios(*[0.5] * processes))
    half = T_FEW[processes - 1] * 0.02 / math.sqrt(processes)
    assert judged.verdict is Verdict.FASTER
    assert judged.alpha == FEW_ALPHA
    assert judged.reasons == ()
    assert bounds(judged) == pytest.approx((0.5 * math.exp(-half), 0.5 * math.exp(half)), rel=1e-3)


@pytest.mark.parametrize(
    ("processes", "least"),
    # The margin and T_FEW * 0.02 / sqrt(n): 0.0198 + 0.2825, + 0.1087, + 0.0673.
    [(3, 0.3023), (4, 0.1285), (5, 0.0871)],
)
def test_how_large_a_difference_so_few_tell(processes: int, least: float) -> None:
    for effect, verdict in ((least + 0.001, Verdict.SLOWER), (least - 0.001, Verdict.TOO_FEW)):
        assert judge([effect] * processes).verdict is verdict
    for effect, verdict in ((least + 0.001, Verdict.FASTER), (least - 0.001, Verdict.TOO_FEW)):
        assert judge([-effect] * processes).verdict is verdict


def test_three_that_scatter_more_than_that_are_taken_as_they_are() -> None:
    """ln 0.4, 0.5 and 0.6: mean -0.7068, sd 0.2031, half 24.464 * 0.2031 / sqrt(3) = 2.87."""
    judged = judge(ratios(0.4, 0.5, 0.6))
    assert judged.verdict is Verdict.TOO_FEW
    assert judged.ratio == pytest.approx(math.exp(mean(ratios(0.4, 0.5, 0.6))))


def test_the_interval_of_too_few_is_the_plain_one() -> None:
    """Of three at 5 %: t = 4.3027, sd of -0.01, 0, 0.01 is 0.01, half 0.02484."""
    judged = judge([-0.01, 0.0, 0.01])
    assert (judged.verdict, judged.alpha) == (Verdict.TOO_FEW, ALPHA)
    assert bounds(judged) == pytest.approx((math.exp(-0.02484), math.exp(0.02484)), abs=1e-5)


@pytest.mark.parametrize("processes", [3, 4, 5])
def test_few_are_never_equivalent(processes: int) -> None:
    assert judge([0.0] * processes, margin=0.5).verdict is Verdict.TOO_FEW


@pytest.mark.parametrize("ratio", [0.01, 100.0])
def test_two_say_nothing_however_far_apart(ratio: float) -> None:
    for processes in (1, 2):
        assert judge(ratios(*[ratio] * processes)).verdict is Verdict.TOO_FEW


def test_a_look_s_own_error_is_of_six_and_more_alone() -> None:
    assert judge([-0.7] * 3, alpha=0.5).alpha == FEW_ALPHA
    assert judge([-0.7] * 6, alpha=0.5).alpha == 0.5


# --- what too few say ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("log_ratios", "process_s", "reason"),
    [
        ([], None, "no process has a ratio; 6 more processes decide"),
        ([-0.1], None, "faster in 1 of 1 process; 5 more processes decide"),
        ([0.1, 0.2], 10.0, "slower in 2 of 2 processes; 4 more processes decide: about 40 s"),
        ([-0.01, 0.01], None, "faster in 1 of 2 processes; 4 more processes decide"),
        ([-0.01, 0.01, 0.02], None, "slower in 2 of 3 processes; 3 more processes decide"),
        ([0.0] * 5, 3.0, "slower in 5 of 5 processes; 1 more process decides: about 3 s"),
    ],
)
def test_too_few_say_where_they_point_and_what_the_rest_takes(
    log_ratios: list[float], process_s: float | None, reason: str
) -> None:
    judged = judge(log_ratios, process_s=process_s)
    assert (judged.verdict, judged.reasons) == (Verdict.TOO_FEW, (reason,))


def test_nothing_measured_has_neither_ratio_nor_interval() -> None:
    judged = judge([])
    assert (judged.ratio, judged.interval) == (None, None)
    assert judge([0.1]).ratio == pytest.approx(math.exp(0.1))
    assert judge([0.1]).interval is None


# --- six and more --------------------------------------------------------------------------------

APART = [0.001, -0.001] * 3  # sd 0.0010954; t(0.975, 5) = 2.5706; half 0.0011495


@pytest.mark.parametrize(
    ("centre", "margin", "verdict"),
    [
        (0.0, 0.02, Verdict.EQUIVALENT),
        (0.0, 0.001, Verdict.INCONCLUSIVE),
        (0.0198026 + 0.0012, 0.02, Verdict.SLOWER),
        (0.0198026 + 0.0011, 0.02, Verdict.INCONCLUSIVE),
        (0.0198026 - 0.0011, 0.02, Verdict.INCONCLUSIVE),
        (0.0198026 - 0.0012, 0.02, Verdict.EQUIVALENT),
        (-0.0198026 - 0.0012, 0.02, Verdict.FASTER),
        (-0.0198026 - 0.0011, 0.02, Verdict.INCONCLUSIVE),
    ],
)
def test_six_are_judged_by_where_their_interval_lies(
    centre: float, margin: float, verdict: Verdict
) -> None:
    judged = judge([centre + each for each in APART], margin=margin)
    assert judged.verdict is verdict
    low, high = bounds(judged)
    assert math.log(high) - math.log(low) == pytest.approx(2 * 0.0011495, abs=1e-6)


# --- what spoils and what disturbs ---------------------------------------------------------------

SIX = [0.001, -0.001] * 3


@pytest.mark.parametrize("processes", [0, 1, 3, 6])
def test_what_is_spoilt_is_invalid_for_that_reason_alone(processes: int) -> None:
    judged = judge([-0.7] * processes, spoilt=["outputs differ"], disturbed=["throttled"])
    assert (judged.verdict, judged.reasons) == (Verdict.INVALID, ("outputs differ",))


@pytest.mark.parametrize(
    ("centre", "verdict"),
    [
        (0.0, Verdict.BUSY),
        (0.05, Verdict.BUSY),
        # ln 1.1 = 0.09531, and half an interval of 0.00115
        (0.0953 + 0.0011, Verdict.BUSY),
        (0.0953 + 0.0013, Verdict.SLOWER),
        (-0.0953 - 0.0011, Verdict.BUSY),
        (-0.0953 - 0.0013, Verdict.FASTER),
    ],
)
def test_on_a_disturbed_machine_only_what_it_cannot_have_made_is_a_verdict(
    centre: float, verdict: Verdict
) -> None:
    judged = judge([centre + each for each in APART], disturbed=["throttled"])
    assert judged.verdict is verdict
    assert judged.reasons == (("throttled",) if verdict is Verdict.BUSY else ())


def test_what_was_open_without_the_disturbance_says_both() -> None:
    judged = judge([0.02 + each for each in APART], disturbed=["throttled"])
    assert judged.verdict is Verdict.BUSY
    assert "across one end" in judged.reasons[0]
    assert judged.reasons[-1] == "throttled"


def test_few_on_a_disturbed_machine_are_too_few_or_far_beyond() -> None:
    """Of three, half of the interval is 0.2825: beyond 10 % is beyond 0.3778."""
    near, far = (judge([-effect] * 3, disturbed=["throttled"]) for effect in (0.37, 0.39))
    assert near.verdict is Verdict.TOO_FEW
    assert near.reasons[-1] == "throttled"
    assert (far.verdict, far.reasons) == (Verdict.FASTER, ())


# --- what may be built on one --------------------------------------------------------------------


def test_which_verdicts_end_a_run_and_which_say_nothing() -> None:
    final = {verdict for verdict in Verdict if verdict.final}
    silent = {verdict for verdict in Verdict if verdict.silent}
    assert final == {Verdict.FASTER, Verdict.SLOWER, Verdict.EQUIVALENT}
    assert silent == {Verdict.TOO_FEW, Verdict.BUSY, Verdict.INVALID}
    assert set(Verdict) - final - silent == {Verdict.INCONCLUSIVE}


def test_a_margin_is_positive() -> None:
    with pytest.raises(UsageError, match="margin"):
        judge(SIX, margin=0.0)
