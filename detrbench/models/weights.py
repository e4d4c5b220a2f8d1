"""Weights for the backbone, from a file that is only ever read as data."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from detrbench.core.errors import DetrbenchWarning, UsageError
from detrbench.models.detector import Detector
from detrbench.models.tensors import read_tensors, some

Tensors = Mapping[str, Tensor]


def load_backbone(detector: Detector, path: str | Path) -> None:
    """Fill the backbone's tensors from a file, all of them or none.

    Understood are torchvision's state_dicts, where the model file maps their prefixes to rows
    (`backbone_weights`) or the backbone is a TorchVision row, and this model's own `model.<row>.`
    keys. No code in the file is run.

    Raises UsageError where the file cannot be read, or a tensor is missing or of another shape.
    Warns (DetrbenchWarning) of entries that were not used, such as a classifier's.
    """
    where = str(path)
    offered = read_tensors(Path(path), flag="--backbone-weights")
    rows = [row.index for row in detector.spec.rows if row.stage == "backbone"]
    foreign = _prefixes(detector, rows)
    prefixes = foreign | {f"model.{row}": f"model.{row}" for row in rows}
    renamed = {new: key for key in offered if (new := _own_key(prefixes, key)) is not None}
    wanted = _wanted(detector, renamed, foreign)
    if not wanted:
        raise UsageError(
            f"nothing in the file belongs to the backbone of {detector.spec.name}; "
            f"it holds {some(offered)}",
            where=where,
            hint="map its prefixes to rows under `backbone_weights` in the model file.",
        )
    _check(wanted, renamed, offered, where)
    for key, tensor in wanted.items():
        if key in renamed:
            tensor.copy_(offered[renamed[key]])
    used = {renamed[key] for key in wanted if key in renamed}
    if unused := [key for key in offered if key not in used]:
        warnings.warn(
            f"{where}: {len(unused)} entries were not used: {some(unused)}.",
            DetrbenchWarning,
            stacklevel=2,
        )


def _own_key(prefixes: Mapping[str, str], key: str) -> str | None:
    """The name in our state_dict of an entry of the file; None if it is none of the backbone's."""
    parts = key.split(".")
    for length in range(len(parts), -1, -1):  # the longest prefix decides
        prefix = ".".join(parts[:length])
        if prefix in prefixes:
            return ".".join([prefixes[prefix], *parts[length:]])
    return None


def _prefixes(detector: Detector, rows: Iterable[int]) -> dict[str, str]:
    """Prefixes of torchvision's names -> prefixes of ours."""
    found = {p: f"model.{row}" for p, row in detector.spec.backbone_weights.items()}
    for row in rows:
        own: Mapping[str, str] = getattr(detector.model[row], "weight_prefixes", {})
        found |= {prefix: f"model.{row}.{inner}" for prefix, inner in own.items()}
    return found


def _wanted(
    detector: Detector, renamed: Iterable[str], foreign: Mapping[str, str]
) -> dict[str, Tensor]:
    """The tensors of every backbone row that the file speaks of, which it must fill completely."""
    mapped = {prefix.split(".")[1] for prefix in foreign.values()}
    spoken = {key.split(".")[1] for key in renamed}
    rows = spoken | mapped if spoken else set()
    return {k: t for k, t in detector.state_dict().items() if k.split(".")[1] in rows}


def _check(wanted: Tensors, renamed: Mapping[str, str], offered: Tensors, where: str) -> None:
    # A counter that only training reads, and that old files do not have.
    missing = [k for k in wanted if k not in renamed and not k.endswith("num_batches_tracked")]
    misshaped = [
        f"{k} is {tuple(t.shape)}, {renamed[k]} in the file {tuple(offered[renamed[k]].shape)}"
        for k, t in wanted.items()
        if k in renamed and t.shape != offered[renamed[k]].shape
    ]
    problems = []
    if missing:
        problems.append(f"{len(missing)} tensors are missing: {some(missing)}")
    if misshaped:
        problems.append(f"{len(misshaped)} have another shape: {some(misshaped)}")
    if problems:
        raise UsageError(
            "; ".join(problems),
            where=where,
            hint="the file must be of the same backbone, of the same width.",
        )
