"""The paper's tables as data: widths, columns and names."""

from __future__ import annotations

import pytest

from detrbench.experiments.guidelines import paper
from tests.experiments.guidelines.fakes import all_networks, traced


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


def test_a_network_has_a_name_for_rows_and_a_callable() -> None:
    network = paper.experiments("G2", "arm")[0].networks[3]
    assert network.name == "guideline:G2/c=176,groups=8"  # as in every saved report
    assert network.callable(4) == "G2_c_176_groups_8_batch_4"
    named = {(one.name, one.callable(1)) for one in all_networks()}
    assert len(named) == len({name for name, _ in named}) == len({last for _, last in named})
