"""Components that add up to the counters, and settings that print given digits."""

from __future__ import annotations

import pytest
from torch import Tensor, nn

from detrbench.core.errors import UsageError
from detrbench.core.units import parse_printed
from detrbench.counting import installed_counters
from detrbench.counting.conventions import CONVENTIONS
from detrbench.counting.installed_counters import Counted
from detrbench.counting.reconcile import reconcile, search
from detrbench.reports.case import Case
from detrbench.reports.parse_cases import make_cases

PARAMS = parse_printed("32.8M")
GFLOPS = parse_printed("108.0", factor=1e9)


def case(model: str, **settings: object) -> Case:
    (made,) = make_cases([model], {key: [value] for key, value in settings.items()})
    return made


@pytest.fixture(autouse=True)
def two_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detrbench.counting.reconcile.SIZES", (640, 320))


@pytest.mark.parametrize("fuse", [False, True])
def test_nothing_is_left_over(fuse: bool) -> None:
    said: list[str] = []
    asked = case("shufflev2", imgsz=(160, 160), fused=fuse)
    result = reconcile(asked, lambda text, phase: said.append(text))
    assert (result.model, result.nc) == ("shufflev2", 80)
    assert {c.convention for c in result.counted} | {"core"} <= set(CONVENTIONS)
    assert len(result.counted) + len(result.missing) == 3
    assert result.counter_of("torch") is not None
    for counted in result.counted:
        assert result.residual(counted.convention) == 0, counted
    assert result.residual("core") is None  # nobody else's counter
    assert said == ["running thop", "running fvcore", "running torch"]


def test_the_articles_baseline_is_found_and_nothing_else() -> None:
    found = search(case("rtdetr-l"), PARAMS, GFLOPS)
    (match,) = found.matches
    assert match.settings == (False, 640, "thop", True)
    assert (match.nc_low, match.nc_high) == (1, 14)
    assert match.params == (32_808_131, 32_834_846)
    assert match.flops[0] == 107_991_808_000
    assert found.sizes == (640, 320)


def test_parameters_alone_need_neither_image_nor_convention() -> None:
    wanted = parse_printed("19.3M")
    found = search(case("shufflev2"), wanted, None)
    assert [m.settings for m in found.matches] == [
        (False, 640, "core", True),
        (True, 640, "core", True),
    ]
    for match in found.matches:
        assert all(wanted.matches(params) for params in match.params)


def test_where_nothing_prints_the_digits_the_closest_is_named() -> None:
    found = search(case("shufflev2"), parse_printed("19.2M"), parse_printed("62.9", factor=1e9))
    assert not found.matches
    assert found.closest.settings == (False, 640, "thop", True)
    assert found.closest.nc_low == 1
    assert found.deviation == pytest.approx(19_321_543 / 19_200_000 - 1)


def test_something_must_be_searched_for() -> None:
    with pytest.raises(UsageError, match="nothing to search"):
        search(case("shufflev2"), None, None)


def test_a_counter_that_fails_on_a_model_is_named_and_the_others_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(model: nn.Module, images: Tensor) -> Counted:
        raise KeyError("total_ops")

    monkeypatch.setattr("detrbench.counting.reconcile.COUNTERS", ("thop", "torch"))
    counters = {"thop": fails, "torch": installed_counters.COUNTERS["torch"]}
    monkeypatch.setattr(installed_counters, "COUNTERS", counters)
    found = reconcile(case("shufflev2-x0.5", imgsz=(64, 64)))
    assert "it fails on this model" in found.missing["thop"]
    assert [one.convention for one in found.counted] == ["torch"]
