"""What a network of ShuffleNetV2 units really does, found by looking at it and by calling it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

    from detrbench.models.nn.shufflenet import ShuffleV2Unit

_SIDE = 8  # pixels of the maps that units are called with
_IMAGE = 64  # pixels of the image that tells how wide each unit's input is


@dataclass(frozen=True)
class UnitFacts:
    """Counts over the units of a network."""

    splitting: int  # units of stride 1
    down: int  # the others, which halve the map
    split: int  # splitting units whose convolutions see half of the input's channels
    equal: int  # splitting units that have three convolutions, all of one width
    reused: int  # splitting units that hand half of their input's channels on, bit for bit
    shuffled: int  # splitting units that put a computed channel beside each of those
    whole: int  # halving units both of whose branches see every channel
    doubling: int  # halving units that put out twice the channels that they read
    pointwise: int  # 1x1 convolutions of all units
    pointwise_equal: int  # those of equal widths
    convolutions: int  # of all units
    grouped: int  # those in groups that are not depthwise
    adding: int  # units that add element by element


def unit_facts() -> UnitFacts:
    """The facts of our detector whose backbone is made of such units."""
    from detrbench.models.builder import build

    return facts_of(build("shufflev2", seed=0))


def facts_of(network: nn.Module) -> UnitFacts:
    """The facts of any network that takes images and has such units."""
    from detrbench.counting.tracing import trace

    looks = _looks(network.eval())
    splitting = [look for look in looks.values() if look.unit.branch1 is None]
    down = [look for look in looks.values() if look.unit.branch1 is not None]
    layers = [layer for look in looks.values() for layer in look.convolutions]
    ops = trace(network, _IMAGE).ops
    pointwise = [layer for layer in layers if layer.kernel_size == (1, 1)]
    return UnitFacts(
        splitting=len(splitting),
        down=len(down),
        split=sum(look.sees(look.width // 2) for look in splitting),
        equal=sum(look.has_three_of_a_width for look in splitting),
        reused=sum(2 * len(look.reused) == look.width for look in splitting),
        shuffled=sum(look.is_shuffled for look in splitting),
        whole=sum(look.sees(look.width) for look in down),
        doubling=sum(look.output == 2 * look.width for look in down),
        pointwise=len(pointwise),
        pointwise_equal=sum(layer.in_channels == layer.out_channels for layer in pointwise),
        convolutions=len(layers),
        grouped=sum(1 < layer.groups < layer.in_channels for layer in layers),
        adding=sum(
            any(op.name == "add" and f"{op.module}.".startswith(f"{name}.") for op in ops)
            for name in looks
        ),
    )


@dataclass(frozen=True)
class _Look:
    """One unit, and what came out when a map without any zero went in."""

    unit: ShuffleV2Unit
    width: int  # channels of what it reads
    output: int  # channels of what it puts out
    reused: tuple[int, ...]  # channels of the output that stand in the input, bit for bit

    @property
    def convolutions(self) -> list[nn.Conv2d]:
        return _convolutions(self.unit)

    def sees(self, channels: int) -> bool:
        """Whether every branch begins with a convolution of so many channels."""
        branches = [one for one in (self.unit.branch1, self.unit.branch2) if one is not None]
        return all(_convolutions(branch)[0].in_channels == channels for branch in branches)

    @property
    def has_three_of_a_width(self) -> bool:
        widths = {n for one in self.convolutions for n in (one.in_channels, one.out_channels)}
        return len(self.convolutions) == 3 and len(widths) == 1

    @property
    def is_shuffled(self) -> bool:
        """Every other channel is one of the input's."""
        return {after - before for before, after in pairwise(self.reused)} == {2}


def _convolutions(module: nn.Module) -> list[nn.Conv2d]:
    from torch import nn

    return [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]


def _looks(network: nn.Module) -> dict[str, _Look]:
    """Every unit by its path, called once."""
    import torch

    from detrbench.models.nn.shufflenet import ShuffleV2Unit

    everything = network.named_modules()
    units = {name: unit for name, unit in everything if isinstance(unit, ShuffleV2Unit)}
    widths: dict[nn.Module, int] = {}

    def note(unit: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        widths[unit] = inputs[0].shape[1]

    hooks = [unit.register_forward_pre_hook(note) for unit in units.values()]
    draw = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        network(torch.rand(1, 3, _IMAGE, _IMAGE, generator=draw))
        for hook in hooks:
            hook.remove()
        return {
            name: _look(unit, torch.randn(1, widths[unit], _SIDE, _SIDE, generator=draw))
            for name, unit in units.items()
        }


def _look(unit: ShuffleV2Unit, x: Tensor) -> _Look:
    y: Tensor = unit(x.clone())
    same = []
    if y.shape[2:] == x.shape[2:]:
        found = (y[0, :, None] == x[0, None]).flatten(2).all(2).any(1)  # (channels of y,)
        same = found.nonzero().flatten().tolist()
    return _Look(unit, x.shape[1], y.shape[1], tuple(same))
