"""The building blocks of detectors, and the table of their names.

Importing this package does not import torch; `resolve` loads what it needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from detrbench.core.errors import SpecError, nearest

if TYPE_CHECKING:
    from torch import nn

# Every block a model file may name, and where it is. A new block is one class and one line here.
BLOCKS: dict[str, str] = {
    "A2C2f": "detrbench.models.nn.area:A2C2f",
    "AConv": "detrbench.models.nn.downsampling:AConv",
    "ADown": "detrbench.models.nn.downsampling:ADown",
    "AIFI": "detrbench.models.nn.attention:AIFI",
    "Add": "detrbench.models.nn.joining:Add",
    "Blocks": "detrbench.models.nn.presnet:Blocks",
    "Bottleneck": "detrbench.models.nn.csp:Bottleneck",
    "C2": "detrbench.models.nn.csp:C2",
    "C2PSA": "detrbench.models.nn.psa:C2PSA",
    "C2f": "detrbench.models.nn.csp:C2f",
    "C2fCIB": "detrbench.models.nn.csp:C2fCIB",
    "C3": "detrbench.models.nn.csp:C3",
    "C3Ghost": "detrbench.models.nn.ghost:C3Ghost",
    "C3k2": "detrbench.models.nn.csp:C3k2",
    "CBFuse": "detrbench.models.nn.joining:CBFuse",
    "CBLinear": "detrbench.models.nn.joining:CBLinear",
    "Concat": "detrbench.models.nn.conv:Concat",
    "Conv": "detrbench.models.nn.conv:Conv",
    "ConvNormLayer": "detrbench.models.nn.presnet:ConvNormLayer",
    "DWConv": "detrbench.models.nn.conv:DWConv",
    "DenseStage": "detrbench.models.nn.densenet:DenseStage",
    "Detect": "detrbench.models.nn.yolo:Detect",
    "DySample": "detrbench.models.nn.dysample:DySample",
    "ELAN1": "detrbench.models.nn.csp:ELAN1",
    "GSConv": "detrbench.models.nn.slimneck:GSConv",
    "GetIndexOutput": "detrbench.models.nn.joining:GetIndexOutput",
    "GhostConv": "detrbench.models.nn.ghost:GhostConv",
    "HGBlock": "detrbench.models.nn.hgnet:HGBlock",
    "HGStem": "detrbench.models.nn.hgnet:HGStem",
    "Index": "detrbench.models.nn.borrowed:Index",
    "LightConv": "detrbench.models.nn.conv:LightConv",
    "MobileV1Stage": "detrbench.models.nn.mobilenet:MobileV1Stage",
    "MobileV1Stem": "detrbench.models.nn.mobilenet:MobileV1Stem",
    "MobileV2Stage": "detrbench.models.nn.mobilenet:MobileV2Stage",
    "MobileV2Stem": "detrbench.models.nn.mobilenet:MobileV2Stem",
    "Multiply": "detrbench.models.nn.joining:Multiply",
    "PSA": "detrbench.models.nn.psa:PSA",
    "RTDETRDecoder": "detrbench.models.nn.decoder:RTDETRDecoder",
    "RepC3": "detrbench.models.nn.conv:RepC3",
    "RepConv": "detrbench.models.nn.conv:RepConv",
    "RepNCSPELAN4": "detrbench.models.nn.csp:RepNCSPELAN4",
    "ResNetLayer": "detrbench.models.nn.resnet:ResNetLayer",
    "SCDown": "detrbench.models.nn.downsampling:SCDown",
    "SPDConv": "detrbench.models.nn.downsampling:SPDConv",
    "SPP": "detrbench.models.nn.pooling:SPP",
    "SPPELAN": "detrbench.models.nn.pooling:SPPELAN",
    "SPPF": "detrbench.models.nn.pooling:SPPF",
    "ScalSeq": "detrbench.models.nn.joining:ScalSeq",
    "ShuffleV1Stage": "detrbench.models.nn.shufflenet:ShuffleV1Stage",
    "ShuffleV2Stage": "detrbench.models.nn.shufflenet:ShuffleV2Stage",
    "ShuffleV2Stem": "detrbench.models.nn.shufflenet:ShuffleV2Stem",
    "TorchVision": "detrbench.models.nn.borrowed:TorchVision",
    "VoVGSCSP": "detrbench.models.nn.slimneck:VoVGSCSP",
    "XceptionStage": "detrbench.models.nn.xception:XceptionStage",
    "Zoom_cat": "detrbench.models.nn.joining:Zoom_cat",
    "v10Detect": "detrbench.models.nn.yolo:v10Detect",
}


def resolve(name: str, extra: Mapping[str, type[nn.Module]] | None = None) -> type[nn.Module]:
    """The class of a block: from `extra` (the user's own), from `BLOCKS`, or `nn.X` from torch.
    Raises SpecError with the nearest names of torch."""
    if extra and name in extra:
        return extra[name]
    if name in BLOCKS:
        block: type[nn.Module] = resolve_name(BLOCKS[name])
        return block
    from torch import nn

    known = {f"nn.{n}": c for n, c in vars(nn).items() if isinstance(c, type)}
    found = known.get(name)
    if found is None or not issubclass(found, nn.Module):
        raise SpecError(f"torch has no {name}", hint=nearest(name, known))
    return found
