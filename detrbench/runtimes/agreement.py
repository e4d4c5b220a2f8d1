"""Whether two ways to execute a model computed the same.

A detector picks its queries by the order of scores, and in another precision two nearly equal
scores change places: then rows of the output are swapped, and nothing is wrong. So a detector's
outputs are compared given the same selected queries.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from detrbench.core.errors import DetrbenchError
from detrbench.models.outputs import tensors

TOLERANCES = {"float32": 1e-4, "tf32": 2e-2, "float16": 2e-2, "bfloat16": 1e-1}
"""Largest deviation that a number format excuses; see `deviation`.

Measured on the processor, rtdetr-l and shufflev2-x0.5 at 160 and 320 pixels against float32 given
its queries: float32 in another layout 1e-6, float16 4e-3, bfloat16 3e-2. TF32 keeps as many bits of
a factor as float16 does.
"""


_AT_ONCE = 2**20
"""Elements that are looked at in one go."""

Observed = Callable[[Tensor], "tuple[object, Tensor | None]"]
"""Images to outputs, and the queries picked for them, if any."""


def observed(model: Any) -> Observed:
    """A module as a function, which is what gets compiled or captured: so the very graph that is
    timed is compared. What selects queries has a `detect`, which also gives the picked cells
    (B, Q)."""
    selects: bool = getattr(model, "selects_queries", False)

    def run(images: Tensor) -> tuple[object, Tensor | None]:
        found: tuple[object, Tensor | None] = (
            model.detect(images) if selects else (model(images), None)
        )
        return found

    return run


def given(model: nn.Module, images: Tensor, selected: Tensor | None) -> object:
    """Outputs of `model`, starting from `selected` queries if there are such."""
    return model(images) if selected is None else model(images, selected)


def check_agreement(outputs: object, reference: object, tolerance: float, what: str) -> float:
    """The deviation of `outputs` from `reference`.

    Raises:
        DetrbenchError: beyond `tolerance`, not finite, of other shapes; `what` begins the sentence.
    """
    check_finite(reference)
    ours, theirs = list(tensors(outputs)), list(tensors(reference))
    shapes = [[tuple(each.shape) for each in some] for some in (ours, theirs)]
    if shapes[0] != shapes[1]:
        raise DetrbenchError(f"{what}: outputs of shapes {shapes[0]}, but {shapes[1]} in eager")
    check_finite(outputs)
    found = deviation(ours, theirs)
    if not found <= tolerance:
        raise DetrbenchError(
            f"{what}: outputs deviate by {found:.2g} of their largest value, "
            f"where {tolerance:g} is allowed",
            hint="It computes something else, so its latency would mean nothing.",
        )
    return found


def deviation(ours: list[Tensor], reference: list[Tensor]) -> float:
    """Largest absolute difference, as a part of that reference output's largest magnitude; the
    worst output counts."""
    return max(map(_deviation, ours, reference), default=0.0)


def _deviation(ours: Tensor, reference: Tensor) -> float:
    if not reference.numel():
        return 0.0
    theirs = reference.double()
    difference = float((ours.to(theirs) - theirs).abs().max())
    scale = float(theirs.abs().max())
    return difference / scale if scale else math.inf if difference else 0.0


def check_finite(output: object) -> None:
    """Look at every tensor of an output.

    Raises:
        DetrbenchError: a NaN or an infinity among them, or no tensor at all.
    """
    found = list(tensors(output))
    if not found:
        raise DetrbenchError("the model returned no tensor")
    for index, each in enumerate(found):
        # In parts, which stay in the cache and between which an end of the time is seen.
        count = each.numel() // _AT_ONCE + 1
        parts = each.reshape(-1).chunk(count) if count > 1 else (each,)
        broken = sum(int((~torch.isfinite(part)).sum()) for part in parts)
        if broken:
            shape = " x ".join(map(str, each.shape))
            raise DetrbenchError(
                f"output {index} ({shape}) has {broken} values that are NaN or infinite"
            )
