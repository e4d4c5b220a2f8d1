"""Floors under known ceilings, and the work of a traced module, by hand."""

from __future__ import annotations

import dataclasses

import pytest
from torch import nn

from detrbench import trace
from detrbench.analysis.probe.ceilings import Ceilings, Work, work_of
from tests.analysis.probe.profiles import CEILINGS, ODD


def test_a_floor_is_the_largest_of_three() -> None:
    work = Work(
        conv_flops=100_000_000,
        product_flops=100_000_000,
        nbytes=20_000_000,
        kernels=500,
        working_set_bytes=64 * 2**20,
    )
    floor = CEILINGS.floor(work)
    assert (floor.compute, floor.memory, floor.dispatch) == pytest.approx((3e-3, 2e-3, 0.5e-3))
    assert (floor.seconds, floor.limit, floor.in_cache) == (floor.compute, "compute", False)
    assert work.intensity == 10.0


def test_what_fits_the_cache_is_held_against_its_bandwidth() -> None:
    small = CEILINGS.floor(Work(nbytes=20_000_000, working_set_bytes=32 * 2**20))
    large = CEILINGS.floor(Work(nbytes=20_000_000, working_set_bytes=32 * 2**20 + 1))
    assert (small.memory, small.in_cache) == (pytest.approx(0.5e-3), True)
    assert (large.memory, large.in_cache) == (pytest.approx(2e-3), False)


def test_each_limit_can_bind() -> None:
    assert CEILINGS.floor(Work(conv_flops=10**9)).limit == "compute"
    assert CEILINGS.floor(Work(nbytes=10**9)).limit == "memory"
    assert CEILINGS.floor(Work(kernels=1000, nbytes=1000)).limit == "dispatch"


def test_the_work_of_a_traced_module_by_hand() -> None:
    block = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU())
    traced = trace(block, imgsz=10, channels=8)
    work = work_of(traced, traced.ops)
    assert work.conv_flops == 2 * 100 * 8 * 16 * 9
    assert work.product_flops == 0
    assert work.kernels == 2
    weights, here, there = 4 * (8 * 16 * 9 + 16), 4 * 8 * 100, 4 * 16 * 100
    assert work.nbytes == weights + here + there + 2 * there
    # The image, the convolution's output and relu's are alive together.
    assert work.working_set_bytes == weights + here + 2 * there


def test_a_cache_is_at_least_as_fast_as_memory() -> None:
    """Where it was measured slower, memory's bandwidth bounds what fits it as well."""
    work = Work(nbytes=20_000_000, working_set_bytes=1)
    assert ODD.ceilings.floor(work).memory == pytest.approx(2e-3)
    (doubt,) = ODD.ceilings.doubts()
    assert doubt.cause == "ceilings"
    nearly = dataclasses.replace(CEILINGS.each["cache"], value=9.6e9)
    scattered = Ceilings({**CEILINGS.each, "cache": nearly}, CEILINGS.cache_bytes)
    assert not scattered.doubts(), "4 % are the scatter of a ceiling"
