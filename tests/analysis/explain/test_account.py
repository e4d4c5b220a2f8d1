"""The account of a saving adds up, and what the floors predict, by hand."""

from __future__ import annotations

import dataclasses

import pytest

from detrbench.analysis.explain.account import (
    BATCHING,
    CAPTURING,
    COMPILING,
    predictions,
    saving,
)
from detrbench.analysis.explain.words import paragraph
from tests.analysis.explain.pairs import CASES, LARGE, explained


@pytest.mark.parametrize("name", CASES)
def test_the_account_adds_up(name: str) -> None:
    account = saving(CASES[name])
    booked = account.cheap_s + account.between_s + sum(one.kept_s for one in account.groups)
    assert account.promised_s - booked == pytest.approx(account.saved_s, abs=1e-12)


def test_the_account_by_hand() -> None:
    account = saving(CASES["part of it"])
    assert account.flops_ratio == 0.5
    assert account.promised_s == pytest.approx(0.525)
    # 45 GFLOPs less, at the backbone's 12 ms per GFLOP instead of 1050 / 90.
    assert account.cheap_s == pytest.approx(0.525 - 0.540)
    backbone, neck = account.groups
    assert backbone.kept_s == pytest.approx(0.200 - 0.060)
    assert (backbone.unchanged, neck.unchanged) == (False, True)
    assert neck.kept_s == pytest.approx(0)
    assert account.saved_s == pytest.approx(0.400)
    assert account.reached == pytest.approx(0.4 / 0.525)


def test_a_group_that_only_one_model_has() -> None:
    account = saving(explained(LARGE, {**LARGE, "fpn": (1.0, 10.0, 5, 70.0)}))
    fpn = account.groups[-1]
    assert (fpn.name, fpn.unchanged) == ("fpn", False)
    assert fpn.kept_s == pytest.approx(0.070)


def test_predictions_by_hand() -> None:
    side = CASES["bound by launches"].variant
    found = {one.name: one.ratio for one in predictions(CASES["bound by launches"])}
    launches_s = 3900 * 10e-6
    folded_s = 0.1 * 15e6 / 10e9 + 1950 * 10e-6
    assert found == pytest.approx(
        {
            COMPILING: 1 - folded_s / side.seconds,
            BATCHING: 1 - launches_s * 7 / 8 / side.seconds,
            CAPTURING: 1 - (launches_s - 5e-3) / side.seconds,
        }
    )
    assert CAPTURING not in {one.name for one in predictions(CASES["part of it"])}


def test_nothing_is_predicted_of_a_runtime_with_kernels_of_its_own() -> None:
    quicker = {**LARGE, "neck": (40.0, 600.0, 160, 300.0)}
    explanation = dataclasses.replace(explained(LARGE, quicker), runtime="openvino")
    assert predictions(explanation) == ()
    told = " ".join(paragraph(explanation, saving(explanation), ()).split())
    assert "whose runtime plans it anew" in told
    assert "though it asks for the same" not in told
    assert "To try next" not in told
