"""Modules by somebody who had never seen this project, with counts by hand, written down before
anything was measured: a user's module is counted as exactly as ours."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from detrbench.counting.profiling import profile

FILE = Path(__file__).parents[1] / "data" / "strangers" / "nets.py"
NETS = tuple(f"build_{number}" for number in range(1, 6))

# FlopCounterMode has no formula for the product of a matrix and a vector, of which the first has
# 189 cells of 4 sides with 8 bins.
NOT_THEIRS = {"build_1": 189 * 4 * 8}


@pytest.fixture(scope="module")
def nets() -> ModuleType:
    spec = spec_from_file_location("strangers_nets", FILE)
    assert spec is not None
    assert spec.loader is not None
    found = module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.mark.parametrize("name", NETS)
def test_a_strangers_module_is_counted_as_by_hand(name: str, nets: ModuleType) -> None:
    params, macs = nets.EXPECTED[name]
    (row,) = profile([f"{FILE}:{name}"], imgsz=96).rows
    assert row.status == "ok"
    assert (row.metrics["params"], row.metrics["flops"]) == (params, 2 * macs)


@pytest.mark.parametrize("name", NETS)
def test_the_hand_counts_are_torchs_own_but_for_what_it_has_no_formula_for(
    name: str, nets: ModuleType
) -> None:
    module, images = getattr(nets, name)(), torch.rand(1, 3, 96, 96)
    was_fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
            module(images)
    finally:
        torch.backends.mha.set_fastpath_enabled(was_fast)
    _, macs = nets.EXPECTED[name]
    assert counter.get_total_flops() == 2 * (macs - NOT_THEIRS.get(name, 0))
