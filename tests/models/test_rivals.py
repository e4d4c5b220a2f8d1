"""Small backbones beside their papers: as classifiers they cost what the papers say."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import nn

from detrbench import profile, trace
from detrbench.experiments.suites import load_suite
from detrbench.models.builder import build
from detrbench.models.detector import Detector
from detrbench.models.nn.densenet import DenseLayer
from detrbench.models.nn.mobilenet import (
    MobileV1Stage,
    MobileV1Stem,
    MobileV2Stage,
    MobileV2Stem,
)
from detrbench.models.nn.series import Series, pointwise
from detrbench.models.nn.shufflenet import (
    ShuffleV1Stage,
    ShuffleV1Unit,
    ShuffleV2Stem,
    shuffle_channels,
)
from detrbench.models.nn.xception import XceptionUnit
from tests.models.filling import fill, image, uniform

RIVALS = ("shufflev1", "mobilenetv1-x0.5", "mobilenetv2-x0.6", "xception", "densenet")
CLASSES = 1000


def classifier(*layers: nn.Module, width: int, last: list[nn.Module] | None = None) -> nn.Module:
    """The layers, a last convolution if there is one, global pool, and the 1,000 classes."""
    return nn.Sequential(
        *layers, *(last or []), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, CLASSES)
    )


def backbone(name: str) -> list[nn.Module]:
    """The backbone rows of a model file, on `meta`."""
    detector = build(name, device="meta")
    return [detector.model[row.index] for row in detector.spec.rows if row.stage == "backbone"]


def agrees(network: nn.Module, macs_m: float, params_m: float | None = None) -> None:
    """Within 2 % of multiply-adds at 224x224 and 4 % of parameters, both printed in millions."""
    traced = trace(network, imgsz=224)
    assert traced.macs / 1e6 == pytest.approx(macs_m, rel=0.02)
    if params_m is not None:
        assert traced.params / 1e6 == pytest.approx(params_m, rel=0.04)


# --- published counts --------------------------------------------------------------------------


def shufflenet_v1(stem: int, width: int, groups: int) -> nn.Module:
    stages = (
        ShuffleV1Stage(stem, width, groups, 1, n=4),
        ShuffleV1Stage(width, 2 * width, groups, n=8),
        ShuffleV1Stage(2 * width, 4 * width, groups, n=4),
    )
    return classifier(ShuffleV2Stem(3, stem), *stages, width=4 * width)


@pytest.mark.parametrize(
    ("groups", "width", "macs_m"),
    [(1, 144, 143), (2, 200, 140), (3, 240, 137), (4, 272, 133), (8, 384, 137)],
)
def test_shufflenet_v1_costs_what_its_table_1_says(groups: int, width: int, macs_m: int) -> None:
    agrees(shufflenet_v1(24, width, groups), macs_m)


@pytest.mark.parametrize(
    ("stem", "width", "macs_m", "params_m"),
    [(12, 120, 38, 0.7), (24, 240, 138, 1.9), (24, 360, 292, 3.4), (48, 480, 524, 5.4)],
)
def test_shufflenet_v1_with_three_groups_has_its_authors_counts(
    stem: int, width: int, macs_m: int, params_m: float
) -> None:
    """As the authors' repository (ShuffleNet-Series) lists them for 0.5x, 1x, 1.5x and 2x."""
    agrees(shufflenet_v1(stem, width, 3), macs_m, params_m)


def test_the_file_is_shufflenet_v1_with_three_groups() -> None:
    """137 M in its own table 1, 140 M in table 8 of the ShuffleNetV2 paper."""
    network = classifier(*backbone("shufflev1"), width=960)
    agrees(network, 137, 1.9)
    agrees(network, 140)


def mobilenet_v1(multiplier: float) -> nn.Module:
    def wide(channels: int) -> int:
        return round(channels * multiplier)

    lines = [(32, 64, 1, 1), (64, 128, 2, 2), (128, 256, 2, 2), (256, 512, 2, 6), (512, 1024, 2, 2)]
    stages = [MobileV1Stage(wide(a), wide(b), stride, n=n) for a, b, stride, n in lines]
    return classifier(MobileV1Stem(3, wide(32)), *stages, width=wide(1024))


@pytest.mark.parametrize(
    ("multiplier", "macs_m", "params_m"), [(1, 569, 4.2), (0.75, 325, 2.6), (0.5, 149, 1.3)]
)
def test_mobilenet_v1_has_its_papers_counts(
    multiplier: float, macs_m: int, params_m: float
) -> None:
    """arXiv 1704.04861, table 6."""
    agrees(mobilenet_v1(multiplier), macs_m, params_m)


def test_the_file_is_mobilenet_v1_of_half_width() -> None:
    agrees(classifier(*backbone("mobilenetv1-x0.5"), width=512), 149, 1.3)


def rounded(channels: float) -> int:
    """To the nearest multiple of 8, but up where that takes more than a tenth away."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near


# arXiv 1801.04381, table 2: t, c, n, s.
MOBILENET_V2 = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
    (6, 320, 1, 1),
)  # fmt: skip


def mobilenet_v2(multiplier: float) -> list[nn.Module]:
    """The rows of table 2 up to the last convolution."""
    width = rounded(32 * multiplier)
    rows: list[nn.Module] = [MobileV2Stem(3, width)]
    for expansion, c2, n, stride in MOBILENET_V2:
        rows.append(MobileV2Stage(width, rounded(c2 * multiplier), expansion, stride, n=n))
        width = rounded(c2 * multiplier)
    return rows


def ended(rows: list[nn.Module], width: int) -> nn.Module:
    """With the 1x1 convolution to 1,280 channels, which widths below 1 do not make narrower."""
    return classifier(*rows, width=1280, last=[Series(*pointwise(width, 1280, nn.ReLU6))])


def test_mobilenet_v2_has_its_papers_counts() -> None:
    """arXiv 1801.04381, table 4."""
    agrees(ended(mobilenet_v2(1), 320), 300, 3.4)


def test_the_file_is_mobilenet_v2_of_width_06_and_costs_what_its_layers_sum_to() -> None:
    """The ShuffleNetV2 paper's 141 M are of roundings it does not publish; these make 151 M."""
    ours, rows = backbone("mobilenetv2-x0.6"), mobilenet_v2(0.6)
    shapes = [[p.shape for p in row.parameters()] for row in rows]
    assert [[p.shape for p in row.parameters()] for row in ours] == shapes
    macs, side, width = 27 * 24 * 112**2, 112, 24
    for expansion, c2, n, stride in (
        (1, 16, 1, 1), (6, 16, 2, 2), (6, 24, 3, 2), (6, 40, 4, 2), (6, 56, 3, 1), (6, 96, 3, 2),
        (6, 192, 1, 1),
    ):  # fmt: skip
        for unit in range(n):
            inner = expansion * width
            macs += (width * inner if expansion > 1 else 0) * side**2
            side //= stride if unit == 0 else 1
            macs += (9 * inner + inner * c2) * side**2
            width = c2
    macs += 192 * 1280 * 7**2 + 1280 * 1000
    traced = trace(ended(ours, 192), imgsz=224)
    assert traced.macs == macs == 150_958_928
    assert traced.params == 2_217_000


# --- in the style of ---------------------------------------------------------------------------


def test_the_network_in_the_style_of_xception_costs_what_its_layers_sum_to() -> None:
    """Near the 145 M of the ShuffleNetV2 paper's variant, table 8."""
    stem = 27 * 24 * 112**2

    def unit(c1: int, c2: int, side: int) -> int:
        inner = c2 // 4
        return (9 * c1 + c1 * inner + 9 * inner + inner * inner + 9 * inner + inner * c2) * side**2

    first = unit(24, 128, 28) + unit(128, 256, 14) + unit(256, 512, 7)
    shortcuts = 24 * 128 * 28**2 + 128 * 256 * 14**2 + 256 * 512 * 7**2
    rest = 3 * unit(128, 128, 28) + 7 * unit(256, 256, 14) + 3 * unit(512, 512, 7)
    network = classifier(*backbone("xception"), width=512)
    assert trace(network, imgsz=224).macs == stem + first + shortcuts + rest + 512 * 1000
    agrees(network, 145)


def test_the_network_in_the_style_of_densenet_costs_what_its_layers_sum_to() -> None:
    """Near the 142 M of the ShuffleNetV2 paper's variant, table 8: Conv5 included, 3 % above."""
    macs = 27 * 40 * 112**2
    macs += 40 * 40 * 56**2 + sum(80 * (40 + 20 * i) + 9 * 80 * 20 for i in range(4)) * 28**2
    macs += 120 * 60 * 28**2 + sum(80 * (60 + 20 * i) + 9 * 80 * 20 for i in range(8)) * 14**2
    macs += 220 * 110 * 14**2 + sum(80 * (110 + 20 * i) + 9 * 80 * 20 for i in range(4)) * 7**2
    macs += 190 * 1024 * 7**2 + 1024 * 1000
    conv5 = Series(*pointwise(190, 1024, nn.ReLU))
    network = classifier(*backbone("densenet"), width=1024, last=[conv5])
    assert trace(network, imgsz=224).macs == macs == 146_134_560
    assert macs / 1e6 == pytest.approx(142, rel=0.03)


# --- what the blocks compute -------------------------------------------------------------------


def test_mobilenet_v2_is_torchvisions() -> None:
    """The same outputs at every row, with their weights in their order."""
    theirs = torchvision.models.mobilenet_v2(width_mult=0.6).eval()
    theirs.load_state_dict(fill(theirs.state_dict()))
    rows = nn.ModuleList(mobilenet_v2(0.6)).eval()
    values = list(theirs.features[:-1].state_dict().values())
    rows.load_state_dict(dict(zip(rows.state_dict(), values, strict=True)))
    theirs.double(), rows.double()
    x = image(1, 64, 96).double()
    expected = x
    units = iter(theirs.features)
    with torch.inference_mode():
        for row in rows:
            for _ in range(1 if isinstance(row, MobileV2Stem) else len(row)):
                expected = next(units)(expected)
            x = row(x)
            torch.testing.assert_close(x, expected, rtol=1e-12, atol=1e-12)


def test_channels_are_dealt_out_like_cards() -> None:
    x = torch.arange(6.0).view(1, 6, 1, 1).expand(2, 6, 3, 2)
    assert shuffle_channels(x, 3)[0, :, 0, 0].tolist() == [0, 2, 4, 1, 3, 5]
    assert shuffle_channels(x, 2)[1, :, 2, 1].tolist() == [0, 3, 1, 4, 2, 5]


def test_a_shufflenet_v1_unit_of_stride_2_pools_its_input_in_front() -> None:
    unit = filled(ShuffleV1Unit(4, 16, 2, 2))
    x = uniform("x", (1, 4, 8, 8)).relu()
    with torch.no_grad():
        y = unit(x)
        mixed = shuffle_channels(unit.squeeze(x), 2)
        torch.testing.assert_close(y[:, 4:], unit.spread(mixed).relu())
    torch.testing.assert_close(y[0, :, 1, 1][:4], x[0, :, 1:4, 1:4].mean((1, 2)))
    assert y.shape == (1, 16, 4, 4)


def test_a_shufflenet_v1_unit_of_stride_1_adds_its_input() -> None:
    unit = filled(ShuffleV1Unit(16, 16, 1, 2))
    x = uniform("x", (1, 16, 4, 4))
    with torch.no_grad():
        computed = unit.spread(shuffle_channels(unit.squeeze(x), 2))
        torch.testing.assert_close(unit(x), (x + computed).relu())


@pytest.mark.parametrize(
    ("c1", "c2", "stride", "groups", "said"),
    [(8, 12, 1, 1, "keeps its width"), (8, 24, 2, 4, "6 and 16 channels do not divide into 4")],
)
def test_widths_that_a_unit_cannot_have(
    c1: int, c2: int, stride: int, groups: int, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        ShuffleV1Unit(c1, c2, stride, groups)


def test_a_dense_layer_keeps_what_came_before() -> None:
    layer = filled(DenseLayer(6, 2))
    x = uniform("x", (1, 6, 4, 4))
    with torch.no_grad():
        y = layer(x)
        assert torch.equal(y[:, :6], x)
        torch.testing.assert_close(y[:, 6:], layer.layers(x))


@pytest.mark.parametrize(
    ("make", "seen"),
    [(lambda: XceptionUnit(16, 16, 1), 7), (lambda: ShuffleV1Unit(16, 16, 1, 1), 3)],
    ids=["xception", "shufflenet v1"],
)
def test_an_xception_unit_sees_7x7_and_a_shufflenet_unit_3x3(
    make: Callable[[], nn.Module], seen: int
) -> None:
    """As section 4 of the ShuffleNetV2 paper says of the two."""
    unit = make().eval()
    with torch.no_grad():
        for weights in unit.parameters():
            weights.abs_()  # nothing negative, so that no ReLU hides anything
    x = torch.ones(1, 16, 15, 15, requires_grad=True)
    unit(x)[0, 0, 7, 7].backward()
    assert x.grad is not None
    rows = x.grad.abs().sum((0, 1, 3)).nonzero().flatten().tolist()
    assert rows == list(range(7 - seen // 2, 8 + seen // 2))


def filled(module: nn.Module) -> nn.Module:
    module.load_state_dict(fill(module.state_dict()))
    return module.eval()


# --- the detectors -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", RIVALS)
def test_a_rival_detects_and_fuses_to_the_same_detections(name: str) -> None:
    detector = build(name, nc=3)
    detector.load_state_dict(fill(detector.state_dict()))
    detector.double()
    x = image(1, 96, 64).double()
    with torch.inference_mode():
        cells = detector.detect(x)[1]
        before = detector(x, cells)
        after = detector.fuse()(x, cells)
    assert before.boxes.shape[-1] == 4
    for plain, fused in zip(before, after, strict=True):
        assert bool(plain.isfinite().all())
        torch.testing.assert_close(fused, plain, rtol=1e-8, atol=1e-8)
    # DenseNet's 16 layers and 3 transitions begin with one that follows no convolution.
    assert _normalisations(detector) == (19 if name == "densenet" else 0)


def _normalisations(detector: Detector) -> int:
    rows = [row.index for row in detector.spec.rows if row.stage == "backbone"]
    return sum(isinstance(m, nn.BatchNorm2d) for i in rows for m in detector.model[i].modules())


def test_the_profile_knows_every_operator_of_every_rival_and_says_what_the_neck_costs() -> None:
    report = profile(["shufflev2", *RIVALS], by="stage")
    necks = []
    for row in report.rows:
        assert (row.status, row.notes) == ("ok", ())
        parts = {part["part"]: part for part in row.parts["stage"]}
        assert parts["backbone"]["flops"] / 1e9 == pytest.approx(2.2, rel=0.12)
        necks.append(parts["neck"]["flops"] / 1e9)
    assert max(necks) / min(necks) < 1.03  # the same neck; only what its projections read differs


def test_the_suite_times_them_all_against_rtdetr_l() -> None:
    suite = load_suite("rivals")
    assert len(suite.workloads) == 1
    models = [case.model.reference for case in suite.cases]
    assert models == ["rtdetr-l", "shufflev2", "shufflev2-se", *RIVALS]
    assert {case.execution.device for case in suite.cases} == {"cpu"}
