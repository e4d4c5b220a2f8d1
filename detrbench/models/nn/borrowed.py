"""Backbones from torchvision, with random weights until a file is loaded: nothing downloads."""

from __future__ import annotations

import warnings
from typing import Any

from torch import Tensor, nn

from detrbench.core.errors import DetrbenchWarning, nearest


class TorchVision(nn.Module):
    """A torchvision classifier, or its layers without the last ones.

    Args:
        c2: output width, as the row states it. name: as in `torchvision.models`.
        weights: named by the model file; never downloaded, see `--backbone-weights`.
        unwrap: take the model apart into its layers; truncate: drop so many of the last ones.
        split: return the image and every layer's output, as a list for `Index` rows.
    """

    def __init__(
        self,
        c1: int,
        c2: int,
        name: str,
        weights: str | None = None,
        unwrap: bool = True,
        truncate: int = 2,
        split: bool = False,
    ) -> None:
        super().__init__()
        if c1 != 3:
            raise ValueError(f"torchvision's models read the image (3 channels), not {c1} channels")
        if split and not unwrap:
            raise ValueError("split=True needs unwrap=True: only layers have outputs of their own")
        if weights is not None:
            warnings.warn(
                f"TorchVision {name}: random weights in place of {weights!r}, because detrbench "
                "does not download; load a file with --backbone-weights.",
                DetrbenchWarning,
                stacklevel=2,
            )
        model = _torchvision_model(name)
        self.split = split
        # Where torchvision's parameter names went: {"features.0": "m.0"}.
        self.weight_prefixes = {"": "m"}
        if unwrap:
            layers = _layers(model)
            kept = dict(list(layers.items())[: len(layers) - truncate])
            self.weight_prefixes = {old: f"m.{i}" for i, old in enumerate(kept)}
            self.m: nn.Module = nn.Sequential(*kept.values())
        else:
            self.m = model

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        if not self.split:
            y: Tensor = self.m(x)
            return y
        outputs = [x]
        for layer in self.m.children():
            outputs.append(layer(outputs[-1]))
        return outputs


def _torchvision_model(name: str) -> nn.Module:
    import torchvision

    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        raise ValueError(f"torchvision has no model {name!r}; {nearest(name, names)}")
    model: nn.Module = torchvision.models.get_model(name, weights=None)
    return model


def _layers(model: nn.Module) -> dict[str, nn.Module]:
    """The model's children by name; a leading Sequential (`features`) is opened up."""
    (name, first), *rest = model.named_children()
    if not isinstance(first, nn.Sequential):
        return dict(model.named_children())
    return {f"{name}.{key}": child for key, child in first.named_children()} | dict(rest)


class Index(nn.Module):
    """One tensor of a row that returns several. `c2` is its width, as the row states it."""

    def __init__(self, c1: Any, c2: int, index: int = 0) -> None:
        super().__init__()
        self.out_channels = c2
        self.index = index

    def forward(self, x: list[Tensor]) -> Tensor:
        return x[self.index]
