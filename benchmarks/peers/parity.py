"""Are our detectors the peer's? The same weights in both, the same images, outputs compared.

    bash benchmarks/peers/setup.sh && benchmarks/peers/.venv/bin/python benchmarks/peers/parity.py

Prints one line per comparison and exits with 1 if any misses its tolerance. `--golden` also writes
the peer's outputs into tests/data/golden/, where the test suite compares against them.
"""

# ruff: noqa: E402  (Ultralytics reads its settings while it is imported, so they come first)

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "data" / "golden"
sys.path.insert(0, str(ROOT))
os.environ["YOLO_OFFLINE"] = "true"
os.environ["YOLO_CONFIG_DIR"] = str(Path(__file__).parent / ".venv")  # its settings, out of $HOME
os.environ["YOLO_VERBOSE"] = "false"
warnings.filterwarnings("ignore")

import torch
import torchvision
import ultralytics
import ultralytics.nn.modules
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from ultralytics.nn.tasks import DetectionModel, RTDETRDetectionModel

from detrbench.models.builder import build
from detrbench.models.detector import Detector
from detrbench.models.nn import resolve
from detrbench.models.nn.conv import BN_EPS
from detrbench.models.nn.detections import Detections
from tests.models.filling import fill, image, uniform

CLASSES = {"rtdetr-l": (1, 3, 80), "rtdetr-x": (1, 80)}
MODELS = ("rtdetr-l", "rtdetr-resnet50", "rtdetr-resnet101", "rtdetr-x")
YOLO = tuple(
    family + scale
    for family, scales in {"yolov8": "nsmlx", "yolo11": "nsmlx", "yolov10": "nsmblx"}.items()
    for scale in scales
)
YOLO_SIZE = (160, 160)
SMALL = (64, 64)  # fewer cells than there are queries
SIZES = (SMALL, (640, 640), (480, 640))
GOLDEN_SIZE = (128, 160)  # 420 cells: more than queries, so that the choice of them is tested too
FLOAT64, FLOAT32 = 1e-6, 1e-4

# Blocks that the peer has too: input width, arguments of a row, and repeats where they are its own;
# the peer takes those behind the output width.
BLOCKS: tuple[tuple[str, int, tuple[Any, ...], int | None], ...] = (
    ("C2f", 8, (8, True), 2),
    ("C3", 8, (12,), 2),
    ("C3Ghost", 8, (16,), 1),
    ("C3k2", 8, (12, False), 2),
    ("C3k2", 8, (12, True, 0.5), 1),
    ("C2fCIB", 8, (8, True, True), 1),
    ("GhostConv", 6, (8, 3, 2), None),
    ("ADown", 8, (12,), None),
    ("SCDown", 6, (8, 3, 2), None),
    ("SPPF", 8, (12,), None),
    ("SPPELAN", 8, (12, 4), None),
    ("RepNCSPELAN4", 8, (12, 8, 6, 2), None),
    ("PSA", 128, (128,), None),
    ("C2PSA", 128, (128,), 2),
    ("Bottleneck", 8, (8,), None),
    ("Bottleneck", 8, (12, False), None),
    ("C2", 8, (12, False), 2),
    ("AConv", 8, (12,), None),
    ("ELAN1", 8, (12, 8, 6), None),
    ("SPP", 8, (12, (3, 5)), None),
    ("A2C2f", 64, (128, True, 4), 1),
    ("A2C2f", 128, (128, True, 1, True, 1.2), 1),
    ("A2C2f", 64, (64, False, -1), 2),
)


@dataclass(frozen=True)
class Result:
    """One comparison.

    boxes, scores: |a - b| / |b| over all elements. same: equal queries were chosen, in one order.
    distinct: the peer's boxes differ from each other, so that agreeing means something.
    """

    subject: str
    case: str
    boxes: float
    scores: float
    tolerance: float
    same: bool = True
    distinct: bool = True

    @property
    def passed(self) -> bool:
        within = self.boxes <= self.tolerance and self.scores <= self.tolerance  # False for NaN
        return within and self.same and self.distinct

    def __str__(self) -> str:
        queries = "same" if self.same else "differ"
        queries += "" if self.distinct else ", alike"
        return (
            f"{self.subject:<22} {self.case:<38} boxes {self.boxes:.1e}  scores {self.scores:.1e}"
            f"  <= {self.tolerance:.0e}  queries {queries}  {'ok' if self.passed else 'MISS'}"
        )


# ------------------------------------------------------------------------------------- the peer


def make_pair(name: str, nc: int) -> tuple[nn.Module, Detector]:
    """The peer's model and ours with the same deterministic weights, float32."""
    peer = RTDETRDetectionModel(f"{name}.yaml", nc=nc, verbose=False).eval()
    weights = fill(peer.state_dict())
    peer.load_state_dict(weights, strict=True)
    ours = build(name, nc=nc)
    ours.load_state_dict(weights, strict=True)
    return peer, ours


class RecordTopK(TorchFunctionMode):
    """Keeps the indices of every top-k, which is how the peer chooses its queries."""

    def __init__(self) -> None:
        super().__init__()
        self.indices: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in (torch.topk, Tensor.topk):
            self.indices.append(result.indices)
        return result


def run_peer(peer: nn.Module, images: Tensor) -> tuple[Detections, Tensor]:
    """The peer's raw boxes and scores, before its own post-processing, and its queries (B, Q)."""
    with torch.inference_mode(), RecordTopK() as seen:
        layers, logits = peer(images)[1][:2]  # each (1, B, Q, ...): in evaluation only the last
    boxes = layers[-1]
    queries = seen.indices[0]  # its post-processing chooses once more, later
    return Detections(boxes, logits[-1].sigmoid()), queries.reshape(boxes.shape[:2])


# ---------------------------------------------------------------------------------- comparisons


def ratio(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


def compare(subject: str, case: str, peer: nn.Module, ours: Detector, images: Tensor) -> Result:
    """Both on the same images. In float32 ours starts from the peer's queries: near ties there
    swap between any two implementations, and then a different box stands in the same row."""
    exact = images.dtype == torch.float64
    theirs, queries = run_peer(peer, images)
    with torch.inference_mode():
        got = ours(images) if exact else ours(images, queries)
        same = torch.equal(ours.detect(images)[1], queries) if exact else True
    tolerance = FLOAT64 if exact else FLOAT32
    boxes, scores = ratio(got.boxes, theirs.boxes), ratio(got.scores, theirs.scores)
    distinct = all(len(b.unique(dim=0)) == len(b) for b in theirs.boxes) if exact else True
    return Result(subject, case, boxes, scores, tolerance, same, distinct)


def cases(nc: int) -> Iterator[tuple[torch.dtype, int, tuple[int, int]]]:
    """Data type, batch and size. The class count only changes the score heads, so that counts
    other than 80 leave out the slowest: float64 images of full size, three at a time."""
    for size in SIZES:
        yield torch.float32, 1, size
    for size in SIZES:
        yield torch.float64, 1, size
        if nc == 80 or size == SMALL:
            yield torch.float64, 3, size


def compare_model(name: str, nc: int, golden: bool) -> Iterator[Result]:
    subject = f"{name} nc={nc}"
    peer, ours = make_pair(name, nc)
    for dtype, batch, (height, width) in cases(nc):
        peer.to(dtype), ours.to(dtype)
        case = f"{height}x{width} batch {batch} {str(dtype)[6:]}"
        yield compare(subject, case, peer, ours, image(batch, height, width).to(dtype))
    outputs = {"plain": sample(peer)}
    peer.fuse(verbose=False), ours.fuse()
    for height, width in SIZES:
        images = image(1, height, width).double()
        yield compare(subject, f"{height}x{width} batch 1 float64 fused", peer, ours, images)
    outputs["fused"] = sample(peer)
    saturate(peer), saturate(ours)
    images = image(1, *SMALL).double()
    yield compare(subject, "64x64 batch 1 float64 saturated boxes", peer, ours, images)
    counts = [sum(p.numel() for p in m.parameters()) for m in (ours, peer)]
    difference = abs(counts[0] - counts[1])
    yield Result(subject, f"{counts[1]:,} parameters fused", difference, difference, 0)
    if golden:
        write_golden(name, nc, outputs)


def saturate(model: nn.Module) -> None:
    """Push many box coordinates against 0 and 1, where the inverse of the sigmoid is clipped."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bbox_head" in name and name.endswith("layers.2.bias"):
                parameter *= 30


def make_yolo_pair(name: str) -> tuple[nn.Module, Detector]:
    """The peer's model and ours with the same weights, float64. In yolov10 the peer's plain call
    answers with the one-to-many head, ours with the other: there both get the same weights."""
    peer = DetectionModel(f"{name}.yaml", verbose=False).eval()
    state = peer.state_dict()
    weights = fill(state) | {k: v for k, v in state.items() if "dfl" in k}
    weights |= {k.replace("one2one_", ""): v.clone() for k, v in weights.items() if "one2one_" in k}
    peer.load_state_dict(weights, strict=True)
    ours = build(name)
    ours.load_state_dict(weights, strict=True)
    return peer.double(), ours.double()


def run_yolo(peer: nn.Module, images: Tensor) -> Detections:
    """The peer's boxes, as parts of the image, and scores, before non-maximum suppression."""
    with torch.inference_mode():
        boxes, scores = peer(images)[0].transpose(1, 2).split((4, 80), 2)
    height, width = images.shape[2:]
    return Detections(boxes / boxes.new_tensor((width, height, width, height)), scores)


def compare_yolo(name: str, golden: bool) -> Iterator[Result]:
    """Parameters and outputs, plain and fused, at one small size."""
    peer, ours = make_yolo_pair(name)
    outputs = {}
    for state in ("plain", "fused"):
        counts = [sum(p.numel() for p in m.parameters()) for m in (ours, peer)]
        difference = abs(counts[0] - counts[1])
        yield Result(name, f"{counts[1]:,} parameters {state}", difference, difference, 0)
        images = image(2, *YOLO_SIZE).double()
        theirs = run_yolo(peer, images)
        with torch.inference_mode():
            boxes, scores = ours(images)
        errors = ratio(boxes, theirs.boxes), ratio(scores, theirs.scores)
        distinct = all(len(b.unique(dim=0)) == len(b) for b in theirs.boxes)
        case = f"{YOLO_SIZE[0]}x{YOLO_SIZE[1]} batch 2 float64 {state}"
        yield Result(name, case, *errors, FLOAT64, distinct=distinct)
        outputs[state] = sampled(run_yolo(peer, image(1, *GOLDEN_SIZE).double()))
        peer.fuse(verbose=False), ours.fuse()
    if golden:
        write_golden(name, 80, outputs)


def compare_blocks(golden: bool) -> Iterator[Result]:
    """Blocks one by one, plain and fused, float64."""
    kept = []
    for name, c1, row, n in BLOCKS:
        repeats = () if n is None else (n,)
        theirs = getattr(ultralytics.nn.modules, name)(c1, row[0], *repeats, *row[1:])
        if name == "SPPF":
            theirs.cv1.act = nn.SiLU()  # as rows without further arguments have it
        for module in theirs.modules():  # what the peer does to a whole model of its own
            if isinstance(module, nn.BatchNorm2d):
                module.eps = BN_EPS
        weights = fill(theirs.state_dict())
        theirs.load_state_dict(weights)
        block: Any = resolve(name)
        options = {} if n is None else {"n": n}
        ours = block(c1, *row, **options)
        ours.load_state_dict(weights, strict=True)
        theirs, ours = theirs.double().eval(), ours.double().eval()
        images = uniform("input", (2, c1, 8, 6)).double()
        with torch.inference_mode():
            expected = theirs(images)
            error = ratio(ours(images), expected)
            yield Result(f"{name} {list(row)}", "float64 plain", error, error, FLOAT64)
            for module in list(ours.modules()):
                if hasattr(module, "fuse"):
                    module.fuse()
            error = ratio(ours(images), expected)
            yield Result(f"{name} {list(row)}", "float64 fused", error, error, FLOAT64)
        total = float((expected * uniform("weights", tuple(expected.shape)).double()).sum())
        kept.append(
            {"block": name, "c1": c1, "args": row, "options": options}
            | {"shape": list(expected.shape), "sum": total, "norm": float(expected.norm())}
        )
    if golden:
        content = {"made_by": made_by(), "blocks": kept}
        (GOLDEN / "blocks.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def compare_shufflenet(width: str) -> Iterator[Result]:
    """Our stem and stages beside torchvision's, float64, plain and folded."""
    theirs = getattr(torchvision.models, f"shufflenet_v2_x{width.replace('.', '_')}")(weights=None)
    weights = fill(theirs.state_dict())
    theirs.load_state_dict(weights)
    theirs.double().eval()
    ours = build("shufflev2" if width == "1.0" else f"shufflev2-x{width}")
    places = ours.spec.backbone_weights
    for prefix, row in places.items():
        dot = f"{prefix}."
        own = {k.removeprefix(dot): v for k, v in weights.items() if k.startswith(dot)}
        ours.model[row].load_state_dict(own, strict=True)
    ours.double()
    for state in ("plain", "fused"):
        x = y = image(2, 160, 224).double()
        with torch.inference_mode():
            for prefix, row in places.items():
                x = getattr(theirs, prefix)(x)
                x = theirs.maxpool(x) if prefix == "conv1" else x
                y = ours.model[row](y)
                error = ratio(y, x)
                case = f"{prefix} 160x224 batch 2 float64 {state}"
                yield Result(f"shufflenet x{width}", case, error, error, FLOAT64)
        ours.fuse()


# --------------------------------------------------------------------------------------- golden


def sample(peer: nn.Module) -> dict[str, Any]:
    """A few hundred of the peer's float64 outputs, and the size of them all."""
    found, queries = run_peer(peer, image(1, *GOLDEN_SIZE).double())
    return {"queries": queries[0].tolist(), **sampled(found)}


def sampled(found: Detections) -> dict[str, Any]:
    """The part of one image's outputs that is kept."""
    boxes, scores = found
    return {
        "boxes": boxes[0, ::7].tolist(),
        "scores": scores[0, ::7, :5].tolist(),
        "boxes_norm": float(boxes.norm()),
        "scores_norm": float(scores.norm()),
    }


def made_by() -> str:
    versions = f"ultralytics {ultralytics.__version__}, torch {torch.__version__}"
    return f"benchmarks/peers/parity.py: {versions}"


def write_golden(name: str, nc: int, outputs: dict[str, Any]) -> None:
    content = {
        "made_by": made_by(),
        "model": name,
        "nc": nc,
        "image": GOLDEN_SIZE,
        **outputs,
    }
    GOLDEN.mkdir(parents=True, exist_ok=True)
    (GOLDEN / f"{name}-nc{nc}.json").write_text(json.dumps(content) + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="*", default=(*MODELS, *YOLO), metavar="MODEL")
    parser.add_argument("--golden", action="store_true", help="write tests/data/golden/")
    options = parser.parse_args()

    print(f"ultralytics {ultralytics.__version__}, torch {torch.__version__}", flush=True)
    start, results = time.monotonic(), []
    comparisons = [compare_blocks(options.golden)]
    comparisons += [compare_shufflenet(width) for width in ("0.5", "1.0", "1.5", "2.0")]
    comparisons += [
        compare_model(name, nc, options.golden)
        for name in options.models
        if not name.startswith("yolo")
        for nc in CLASSES.get(name, (1, 80))
    ]
    comparisons += [
        compare_yolo(name, options.golden) for name in options.models if name.startswith("yolo")
    ]
    for comparison in comparisons:
        for result in comparison:
            results.append(result)
            print(result, flush=True)
    missed = sum(not r.passed for r in results)
    print(f"{len(results)} comparisons, {missed} missed, {time.monotonic() - start:.0f} s")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
