"""The table of metrics holds together."""

from __future__ import annotations

import pytest

from detrbench.core.units import UNITS
from detrbench.reports.metrics import CONVENTION_METRICS, METRICS, Metric, metric


@pytest.mark.parametrize("one", METRICS.values(), ids=list(METRICS))
def test_every_metric_is_explained_and_sourced(one: Metric) -> None:
    assert one.unit in UNITS
    assert one.better in ("lower", "higher", None)
    assert one.explanation.endswith(".")
    assert one.source
    assert all(key in METRICS for spread in one.spread for key in (spread.low, spread.high))


def test_the_issue_s_keys_are_there() -> None:
    assert set(METRICS) >= {
        "params", "macs", "flops", "flops_thop", "flops_ultralytics_thop", "flops_fvcore",
        "flops_torch", "memory_access_elements", "traffic_eager_bytes", "traffic_fused_bytes",
        "traffic_min_bytes", "peak_activation_bytes", "kernels", "elementwise_flops",
    }  # fmt: skip


def test_conventions_are_those_that_are_counted() -> None:
    from detrbench.counting.conventions import CONVENTIONS

    assert set(CONVENTION_METRICS) == set(CONVENTIONS)
    assert CONVENTION_METRICS["core"] == "flops"


def test_the_article_s_headers() -> None:
    titles = {METRICS[key].title_zh for key in ("params", "flops", "latency_median_s")}
    assert titles == {"参数量", "计算量", "推理速度"}


def test_an_unknown_metric_goes_by_its_own_name() -> None:
    assert metric("from_the_future").title == "from_the_future"
