"""Weights for a whole detector, from files of others that are only ever read as data.

Understood are state_dicts, the checkpoints of official RT-DETR (Apache-2.0), whose names are
translated row by row, and Ultralytics' checkpoints.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detrbench.core.errors import UsageError
from detrbench.models.detector import Detector
from detrbench.models.tensors import read_tensors, some


def load_weights(detector: Detector, path: str | Path) -> tuple[str, ...]:
    """Fill the detector's tensors from a file; returns what did not fit, in words.

    Raises UsageError where the file cannot be read, or not one of its tensors belongs to it.
    """
    offered = read_tensors(Path(path))
    own = detector.state_dict()
    renamed = _renamed(detector, offered)
    fitting = {
        key: offered[renamed[key]]
        for key, tensor in own.items()
        if key in renamed and offered[renamed[key]].shape == tensor.shape
    }
    if not fitting:
        raise UsageError(
            f"nothing in it belongs to {detector.spec.name}: it holds {some(offered)}",
            where=str(path),
            hint=f"Name the model that they are of; its own begin as {some(own)}.",
        )
    with torch.no_grad():
        for key, tensor in fitting.items():
            own[key].copy_(tensor)
    return tuple(_left(own, renamed, offered, fitting))


def _left(
    own: Mapping[str, Tensor],
    renamed: Mapping[str, str],
    offered: Mapping[str, Tensor],
    fitting: Mapping[str, Tensor],
) -> Iterator[str]:
    # A counter that only training reads, and that old files do not have.
    absent = [k for k in own if k not in renamed and not k.endswith("num_batches_tracked")]
    unlike = [key for key in own if key in renamed and key not in fitting]
    used = set(renamed.values())
    unused = [key for key in offered if key not in used]
    for names, what in (
        (absent, "tensors are not in the weights, and random"),
        (unlike, "tensors have another shape in the weights, and are random"),
        (unused, "entries of the weights were not used"),
    ):
        if names:
            yield f"{len(names)} {what}: {some(names)}"


# --- names -------------------------------------------------------------------------------------


def _renamed(detector: Detector, offered: Mapping[str, Tensor]) -> dict[str, str]:
    """Names in the detector's state_dict -> names in the file."""
    own = detector.state_dict()
    # DistributedDataParallel and wrappers of ours or of others put a name in front.
    plain = {_without_wrapper(key): key for key in offered}
    direct = {key: plain[key] for key in own if key in plain}
    if direct:
        return direct
    places = _official_places(detector)
    found = {_official(key, places): plain[key] for key in plain}
    return {key: name for key, name in found.items() if key is not None and key in own}


def _without_wrapper(key: str) -> str:
    key = re.sub(r"^(module\.|_orig_mod\.)+", "", key)
    return re.sub(r"^model\.(?=model\.\d)", "", key)


_NECK = (
    "encoder.input_proj.2",
    "encoder.encoder.0.layers.0",
    "encoder.lateral_convs.0",
    "encoder.input_proj.1",
    "encoder.fpn_blocks.0",
    "encoder.lateral_convs.1",
    "encoder.input_proj.0",
    "encoder.fpn_blocks.1",
    "encoder.downsample_convs.0",
    "encoder.pan_blocks.0",
    "encoder.downsample_convs.1",
    "encoder.pan_blocks.1",
)
"""The official hybrid encoder's parts, in the order in which RT-DETR's model files have them."""

_INSIDE = (
    (r"^self_attn\.", "ma."),
    (r"^linear([12])\.", r"fc\1."),
    (r"^bottlenecks\.", "m."),
    (r"^layers\.(\d+)\.", r"m.\1."),
    (r"^aggregation\.0\.", "sc."),
    (r"^aggregation\.1\.", "ec."),
    (r"^0\.", "conv."),
    (r"^1\.", "bn."),
    (r"\bnorm\.", "bn."),
)
"""What the official parts of a row's block are called -> what ours are."""


def _official_places(detector: Detector) -> dict[str, tuple[str, str]]:
    """Prefix of an official name -> prefix of ours, and the class of block that it is in."""
    rows = detector.spec.rows
    holding = [row for row in rows if list(detector.model[row.index].parameters())]
    neck = [row for row in holding if row.stage == "neck"]
    places = dict(zip(_NECK, neck, strict=False)) if len(neck) == len(_NECK) else {}
    places["decoder"] = rows[-1]
    backbone = [row for row in holding if row.stage == "backbone"]
    places |= dict(_official_backbone(backbone))
    return {name: (f"model.{row.index}", row.module) for name, row in places.items()}


def _official_backbone(rows: list[Any]) -> Iterator[tuple[str, Any]]:
    """Of PResNet and of HGNetv2, from the kinds of rows."""
    stems = [row for row in rows if row.module == "ConvNormLayer"]
    yield from ((f"backbone.conv1.conv1_{i}", row) for i, row in enumerate(stems, 1))
    stages = [row for row in rows if row.module == "Blocks"]
    yield from ((f"backbone.res_layers.{i}", row) for i, row in enumerate(stages))
    stage, block, last = 0, 0, None
    for row in rows:
        if row.module == "HGStem":
            yield "backbone.stem", row
        elif row.module == "DWConv":
            stage, block = stage + 1, 0
            yield f"backbone.stages.{stage}.downsample", row
        elif row.module == "HGBlock":
            block = block if last != "HGBlock" else block + 1
            yield f"backbone.stages.{stage}.blocks.{block}", row
        last = row.module


def _official(key: str, places: Mapping[str, tuple[str, str]]) -> str | None:
    """Our name for an official one; `None` for what has no place here."""
    parts = key.split(".")
    for length in range(len(parts) - 1, 0, -1):
        if (place := places.get(".".join(parts[:length]))) is not None:
            row, block = place
            return f"{row}.{_inside('.'.join(parts[length:]), block)}"
    return None


def _inside(name: str, block: str) -> str:
    if block in ("ConvNormLayer", "Blocks"):  # theirs, with their names
        return name
    if block == "RTDETRDecoder":
        name = re.sub(r"^(input_proj\.\d+)\.conv\.", r"\1.0.", name)
        name = re.sub(r"^(input_proj\.\d+)\.norm\.", r"\1.1.", name)
        name = re.sub(r"^enc_output\.proj\.", "enc_output.0.", name)
        return re.sub(r"^enc_output\.norm\.", "enc_output.1.", name)
    if block == "RepC3":
        name = re.sub(r"^conv([123])\.", r"cv\1.", name)
    for pattern, ours in _INSIDE:
        name = re.sub(pattern, ours, name)
    return name
