"""Detectors from model files: the blocks, the table of their names, and `build`.

Importing this package does not import torch; the names below load what they need.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from detrbench.errors import SpecError, nearest

if TYPE_CHECKING:
    from torch import nn

    from detrbench.nn.detections import Detections, Predictions, postprocess
    from detrbench.nn.detector import Detector, build
    from detrbench.nn.userblocks import load_blocks

# Every block a model file may name, and where it is. A new block is one class and one line here.
BLOCKS: dict[str, str] = {
    "AIFI": "detrbench.nn.attention:AIFI",
    "Concat": "detrbench.nn.conv:Concat",
    "Conv": "detrbench.nn.conv:Conv",
    "DWConv": "detrbench.nn.conv:DWConv",
    "DenseStage": "detrbench.nn.densenet:DenseStage",
    "HGBlock": "detrbench.nn.hgnet:HGBlock",
    "HGStem": "detrbench.nn.hgnet:HGStem",
    "Index": "detrbench.nn.borrowed:Index",
    "LightConv": "detrbench.nn.conv:LightConv",
    "MobileV1Stage": "detrbench.nn.mobilenetv1:MobileV1Stage",
    "MobileV1Stem": "detrbench.nn.mobilenetv1:MobileV1Stem",
    "MobileV2Stage": "detrbench.nn.mobilenetv2:MobileV2Stage",
    "MobileV2Stem": "detrbench.nn.mobilenetv2:MobileV2Stem",
    "RTDETRDecoder": "detrbench.nn.decoder:RTDETRDecoder",
    "RepC3": "detrbench.nn.conv:RepC3",
    "RepConv": "detrbench.nn.conv:RepConv",
    "ResNetLayer": "detrbench.nn.resnet:ResNetLayer",
    "ShuffleV1Stage": "detrbench.nn.shufflenetv1:ShuffleV1Stage",
    "ShuffleV2Stage": "detrbench.nn.shufflenet:ShuffleV2Stage",
    "ShuffleV2Stem": "detrbench.nn.shufflenet:ShuffleV2Stem",
    "TorchVision": "detrbench.nn.borrowed:TorchVision",
    "XceptionStage": "detrbench.nn.xception:XceptionStage",
}

_LAZY = {
    "Detections": "detrbench.nn.detections",
    "Predictions": "detrbench.nn.detections",
    "postprocess": "detrbench.nn.detections",
    "Detector": "detrbench.nn.detector",
    "build": "detrbench.nn.detector",
    "load_blocks": "detrbench.nn.userblocks",
}

__all__ = [
    "BLOCKS",
    "Detections",
    "Detector",
    "Predictions",
    "build",
    "load_blocks",
    "postprocess",
    "resolve",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def resolve(name: str, extra: Mapping[str, type[nn.Module]] | None = None) -> type[nn.Module]:
    """The class of a block: from `extra` (the user's own), from `BLOCKS`, or `nn.X` from torch.

    Raises SpecError with the nearest known names.
    """
    extra = extra or {}
    if name in extra:
        return extra[name]
    if name in BLOCKS:
        module, _, attribute = BLOCKS[name].partition(":")
        block: type[nn.Module] = getattr(importlib.import_module(module), attribute)
        return block
    if name.startswith("nn."):
        return _torch_block(name)
    raise SpecError(
        f"there is no block {name}",
        cure=f"{nearest(name, [*BLOCKS, *extra])} Your own blocks come from a file: --blocks FILE.",
    )


def _torch_block(name: str) -> type[nn.Module]:
    from torch import nn

    known = {f"nn.{n}": c for n, c in vars(nn).items() if isinstance(c, type)}
    found = known.get(name)
    if found is None or not issubclass(found, nn.Module):
        raise SpecError(f"torch has no {name}", cure=nearest(name, known))
    return found
