"""What networks of ShuffleNetV2 units really do."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from detrbench.experiments.claims.unit import UnitFacts, facts_of
from detrbench.models.nn.shufflenet import ShuffleV2Unit


class Small(nn.Module):
    """A stem that makes channels of an image, and units."""

    def __init__(self, width: int, *units: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, 2, 1)
        self.units = nn.Sequential(*units)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.units(self.stem(images))
        return out


def test_facts_of_two_units() -> None:
    torch.manual_seed(0)
    found = facts_of(Small(8, ShuffleV2Unit(8, 24, 2), ShuffleV2Unit(24, 24, 1)))
    assert found == UnitFacts(
        splitting=1, down=1, split=1, equal=1, reused=1, shuffled=1, whole=1, doubling=0,
        pointwise=5, pointwise_equal=3, convolutions=8, grouped=0, adding=0,
    )  # fmt: skip


def test_facts_are_of_what_the_unit_does_not_of_its_name() -> None:
    class Adds(ShuffleV2Unit):
        """Nothing is split, kept or shuffled; and it adds."""

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.branch2(x[:, ::2]).repeat(1, 2, 1, 1) + x
            return out

    torch.manual_seed(0)
    found = facts_of(Small(8, Adds(8, 8, 1)))
    assert (found.splitting, found.reused, found.shuffled, found.adding) == (1, 0, 0, 1)


def test_gates_are_convolutions_of_unequal_widths() -> None:
    found = facts_of(Small(32, ShuffleV2Unit(32, 32, 1, se=True)))
    assert (found.equal, found.pointwise, found.pointwise_equal) == (0, 4, 2)
