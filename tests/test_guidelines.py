"""The guidelines' networks: what they cost by the paper's equations, and how they are asked for."""

from __future__ import annotations

import pytest
import torch

from detrbench.errors import UsageError
from detrbench.guidelines import networks, paper
from detrbench.timing.process import Request, build_model, measure_process
from detrbench.timing.schedule import Plan
from detrbench.tracing import Trace, trace

HW = paper.SIDE**2


def all_networks() -> list[paper.Network]:
    return [
        network
        for guideline in paper.GUIDELINES
        for widths in paper.WIDTHS
        for experiment in paper.experiments(guideline, widths)
        for network in experiment.networks
    ]


def traced(network: paper.Network, batch: int = 1) -> Trace:
    built = networks.make(network.guideline, network.arguments, batch)
    return trace(built, paper.SIDE, batch)


def eq_1(c1: int, c2: int) -> int:
    return HW * (c1 + c2) + c1 * c2


def eq_2(c: int, groups: int) -> int:
    """By way of B, as the paper writes it: hw c1 + B g / c1 + B / hw."""
    macs = HW * c * c // groups
    return HW * c + macs * groups // c + macs // HW


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
        ("G2/c=128,groups=1", 819_200),
        ("G1/c1=36,c2=432", 2 * 1_483_200),
        ("G2/c=360,groups=8", 2_274_120),
    ],
)
def test_memory_access_of_one_block_by_hand(name: str, elements: int) -> None:
    guideline, arguments = networks.parse(name)
    found = trace(networks.make(guideline, arguments), paper.SIDE)
    assert found.memory_access_elements == paper.BLOCKS * elements


def test_a_batch_multiplies_maps_but_not_weights() -> None:
    network = paper.experiments("G1", "arm")[0].networks[0]
    assert traced(network, 8).memory_access_elements == 20 * (8 * HW * 64 + 32 * 32)


@pytest.mark.parametrize("guideline", ["G1", "G2", "G3"])
@pytest.mark.parametrize("widths", paper.WIDTHS)
def test_work_is_about_constant_in_an_experiment(guideline: str, widths: str) -> None:
    for experiment in paper.experiments(guideline, widths):
        first, *others = (traced(network).macs for network in experiment.networks)
        # 9 of the paper's 9.24 channels at 1:12 are the worst of its own rounding.
        assert all(0.94 < macs / first < 1.01 for macs in others), experiment.column


def test_columns_multiply_the_widths() -> None:
    x1, _, x4 = paper.experiments("G1", "gpu")
    assert [dict(network.arguments) for network in x1.networks] == [
        {"c1": 128, "c2": 128}, {"c1": 90, "c2": 180},
        {"c1": 52, "c2": 312}, {"c1": 36, "c2": 432},
    ]  # fmt: skip
    assert x4.networks[3].arguments == {"c1": 144, "c2": 1728}
    assert (x1.networks[3].speed, x4.networks[3].speed) == ("748", "163")


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
    built = build_model(network.name, Request((network.name,), imgsz=(8, 8), seed=3)).eval()
    with torch.inference_mode():
        out = built(torch.zeros(1, 3, 8, 8))
    assert out.shape[2:] == (56, 56)
    assert 1e-3 < out.std().item() < 1e5


def test_a_seed_decides_weights_and_input() -> None:
    one, same, other = (
        networks.make("G1", {"c1": 4, "c2": 8}, seed=seed).state_dict() for seed in (1, 1, 2)
    )
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not any(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("guideline:G5/c=1", "unknown guideline 'G5'"),
        ("guideline:G1", "'G1' is no network"),
        ("guideline:G1/c1=32", "G1/c1=1,c2=1"),
        ("guideline:G1/c1=32,c2=x", "is no network"),
        ("guideline:G2/c=180,groups=8", "180 channels do not divide into 8 groups"),
        ("guideline:G2/c=180,groups=0", "do not divide"),
        ("guideline:G1/c1=0,c2=4", "do not divide"),
    ],
)
def test_a_name_that_is_no_network(name: str, message: str) -> None:
    with pytest.raises(UsageError, match="(?s)" + message):
        build_model(name, Request((name,)))


def test_a_process_times_them_as_it_times_detectors() -> None:
    names = ("guideline:G1/c1=4,c2=4", "guideline:G1/c1=2,c2=8")
    plan = Plan(budget_s=None, rounds=6)
    measured = measure_process(Request(names, imgsz=(56, 56), threads=1, weigh=False, plan=plan))
    assert [series.status for series in measured.series] == ["ok", "ok"]
    assert [len(series.latency_s) for series in measured.series] == [6, 6]
