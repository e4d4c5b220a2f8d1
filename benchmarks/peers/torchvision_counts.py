"""Tie our counts to what torchvision prints of its own models that classify images or pixels.

    .venv/bin/python benchmarks/peers/torchvision_counts.py

Runs with detrbench's own Python. Every weight of torchvision's models carries two figures, `_ops`
(in 10^9 multiply-accumulates at the size of its own preset) and `num_params`; both must equal ours
at the printed digits, for all that classify images, quantized ones included (which are counted as
the float models that they were made of, as torchvision does), and all that classify pixels. Left
out are those that take no single image, or work on what they find in it: detection, video and
optical flow. Nothing is downloaded: the models hold no weights. The exit status is 1 where a figure
differs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import torchvision
from torchvision.models import get_model, get_model_weights, list_models

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from detrbench.counting.tracing import Trace, trace


def rows() -> list[tuple[str, Any]]:
    """Model and weight, of whatever classifies images, its quantized form, or pixels."""
    models = torchvision.models
    modules = models, models.quantization, models.segmentation
    return [
        (name, weight)
        for module in modules
        for name in list_models(module=module)
        for weight in get_model_weights(name)
        if "_ops" in weight.meta
    ]


def size_of(weight: Any) -> int:
    """The side of the images of a weight's own preset, in pixels."""
    preset = weight.transforms()
    sizes = getattr(preset, "crop_size", None) or preset.resize_size
    return int(sizes[0])


def counted(name: str, size: int, classes: int) -> Trace:
    """Our trace of a model of shapes only; `classes` are of pixels."""
    plain = name.removeprefix("quantized_")
    options: dict[str, Any] = {"quantize": False} if name != plain else {}
    if plain in ("googlenet", "inception_v3"):  # they would draw their weights by scipy, slowly
        options["init_weights"] = False
    if plain == "googlenet":  # as with weights, which come without the auxiliary classifiers
        options["aux_logits"] = False
    if plain in list_models(module=torchvision.models.segmentation):
        options |= {"weights_backbone": None, "num_classes": classes}
        if not plain.startswith("lraspp_"):  # as with weights, which come with theirs
            options["aux_loss"] = True
    if plain.startswith("vit_"):
        options["image_size"] = size
    try:
        with torch.device("meta"):
            return trace(get_model(name, weights=None, **options).eval(), size, in_place=True)
    except NotImplementedError:  # RegNet computes its widths with tensors
        return trace(get_model(name, weights=None, **options).eval(), size)


def main() -> int:
    """Print every row; 1 where one differs."""
    missed = 0
    print(f"torchvision {torchvision.__version__}, torch {torch.__version__}")
    print(f"{'weight':<58} {'size':>4} {'_ops':>9} {'ours':>9} {'num_params':>12} {'ours':>12}")
    found = rows()
    traces: dict[tuple[str, int], Trace] = {}
    for name, weight in found:
        size = size_of(weight)
        ours = traces.get((name, size)) or counted(name, size, len(weight.meta["categories"]))
        traces[name, size] = ours
        macs, printed = f"{ours.macs / 1e9:.3f}", f"{weight.meta['_ops']:.3f}"
        params, expected = ours.params, weight.meta["num_params"]
        same = macs == printed and params == expected
        missed += not same
        verdict = "equal" if same else "DIFFERENT"
        print(
            f"{weight!s:<58} {size:>4} {printed:>9} {macs:>9} {expected:>12,} {params:>12,}  "
            f"{verdict}",
            flush=True,
        )
    print(f"{len(found) - missed} of {len(found)} equal")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
