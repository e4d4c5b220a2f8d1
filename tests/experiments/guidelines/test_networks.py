"""The guidelines' networks: what they cost by the paper's equations, and how they are asked for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from detrbench.core.errors import UsageError
from detrbench.counting.profiling import profile, trace_case
from detrbench.counting.tracing import trace
from detrbench.experiments.guidelines import networks, paper
from detrbench.models.sources import build_model, resolve
from detrbench.reports.parse_cases import make_cases
from detrbench.timing.opened import build_case
from detrbench.timing.process import Request, measure_process
from detrbench.timing.stop_rules import Plan
from tests.experiments.guidelines.fakes import HW, all_networks, case, eq_1, eq_2, model, traced


def by_the_paper(network: paper.Network) -> int:
    """Memory access cost in elements, by Eq. 1 and 2, generalised to 3x3 for table 4."""
    given = dict(network.arguments)
    if network.guideline == "G1":
        return 10 * (eq_1(given["c1"], given["c2"]) + eq_1(given["c2"], given["c1"]))
    if network.guideline == "G2":
        return 10 * eq_2(given["c"], given["groups"])
    if network.guideline == "G3":
        return 10 * given["fragments"] * eq_1(given["c"], given["c"])
    c = given["c"]
    return 10 * (2 * eq_1(c, c // 4) + HW * c // 2 + 9 * (c // 4) ** 2)


@pytest.mark.parametrize("network", all_networks(), ids=lambda network: network.name)
def test_memory_access_is_the_papers_equation(network: paper.Network) -> None:
    assert traced(network).memory_access_elements == by_the_paper(network)


@pytest.mark.parametrize(
    ("name", "elements"),
    [
        ("G2_c_128_groups_1_batch_1", 819_200),
        ("G1_c1_36_c2_432_batch_1", 2 * 1_483_200),
        ("G2_c_360_groups_8_batch_1", 2_274_120),
    ],
)
def test_memory_access_of_one_block_by_hand(name: str, elements: int) -> None:
    guideline, arguments, batch = networks.parse(name)
    found = trace(networks.make(guideline, arguments, batch), paper.SIDE)
    assert found.memory_access_elements == paper.BLOCKS * elements


def test_a_batch_multiplies_maps_but_not_weights() -> None:
    network = paper.experiments("G1", "arm")[0].networks[0]
    assert traced(network, 8).memory_access_elements == 20 * (8 * HW * 64 + 32 * 32)


@pytest.mark.parametrize("batch", [1, 8])
def test_what_is_timed_is_what_is_counted(batch: int) -> None:
    """The input is there before the first call: no kernel makes it."""
    network = paper.experiments("G1", "arm")[0].networks[1]
    asked = case(network.callable(batch), batch)
    found, expected = trace_case(asked), traced(network, batch)
    assert found.memory_access_elements == expected.memory_access_elements
    assert found.kernels == expected.kernels == 20
    assert found.macs == expected.macs
    built = build_case(asked)
    assert built.module.input.shape == (batch, 22, 56, 56)
    assert built.images is not None
    assert built.images.shape == (batch, 3, 56, 56)


def test_what_removing_an_operation_removes() -> None:
    both, no_shortcut, no_relu, neither = (
        traced(network) for network in paper.experiments("G4", "arm")[0].networks
    )
    assert both.macs == neither.macs
    assert both.kernels - no_shortcut.kernels == 10
    assert both.kernels - no_relu.kernels == 30
    assert neither.kernels == 30


def test_parallel_fragments_are_added() -> None:
    block = networks.Fragments(8, 4, 1)
    x = torch.randn(1, 8, 5, 5)
    assert torch.allclose(block(x), sum(layer(x) for layer in block.fragments), atol=1e-5)


@pytest.mark.parametrize("network", all_networks()[::7], ids=lambda network: network.name)
def test_outputs_neither_vanish_nor_run_away(network: paper.Network) -> None:
    built = build_model(model(network.callable(1), seed=3)).module
    with torch.inference_mode():
        out = built(torch.zeros(1, 3, 8, 8))
    assert out.shape[2:] == (56, 56)
    assert 1e-3 < out.std().item() < 1e5


def test_a_seed_decides_weights_and_input() -> None:
    one, same, other = (
        build_model(model("G1_c1_4_c2_8_batch_1", seed=seed)).module.state_dict()
        for seed in (1, 1, 2)
    )
    assert isinstance(one["input"], Tensor)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not any(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("G5_c_1_batch_1", "unknown guideline 'G5'"),
        ("G1", "'G1' is no network"),
        ("G1_c1_32", "G1_c1_1_c2_1_batch_1"),
        ("G1_c1_32_c2_x_batch_1", "is no network"),
        ("G1_c1_32_c2_32", "is no network"),
        ("G1_c1_32_c2_32_batch_0", "is no network"),
        ("G2_c_180_groups_8_batch_1", "180 channels do not divide into 8 groups"),
        ("G2_c_180_groups_0_batch_1", "do not divide"),
        ("G1_c1_0_c2_4_batch_1", "do not divide"),
        ("nothing", "there is no nothing"),
    ],
)
def test_a_name_that_is_no_network(name: str, message: str) -> None:
    with pytest.raises(UsageError, match="(?s)" + message):
        build_model(model(name))


def test_a_reference_to_one_needs_no_table() -> None:
    resolved = resolve(model("G1_c1_4_c2_8_batch_1"))
    assert [file.path.rpartition("/")[2] for file in resolved.files] == ["networks.py"]
    (asked,) = make_cases([resolved.reference], {"imgsz": [(56, 56)]})
    (row,) = profile([asked]).rows
    assert row.metrics["memory_access_elements"] == 10 * (eq_1(4, 8) + eq_1(8, 4))
    with pytest.raises(UsageError, match="its example inputs are 1 of 56x56"):
        profile([asked.replace(batch=2)])


def test_a_process_times_them_as_it_times_detectors() -> None:
    cases = (case("G1_c1_4_c2_4_batch_1"), case("G1_c1_2_c2_8_batch_1"))
    plan = Plan(budget_s=None, rounds=6)
    measured = measure_process(Request(cases, resources=False, plan=plan))
    assert [series.status for series in measured.series] == ["ok", "ok"]
    assert [len(series.latency_s) for series in measured.series] == [6, 6]
