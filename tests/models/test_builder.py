"""Model files that cannot be built: each is told where, what it reads, and the hint."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from detrbench.core.errors import SpecError, UsageError
from detrbench.counting.tracing import trace
from detrbench.models.builder import build

HEAD = """
head:
  - [2, 1, Conv, [32, 1, 1]]
  - [3, 1, Conv, [32, 1, 1]]
  - [4, 1, Conv, [32, 1, 1]]
  - [[5, 6, 7], 1, RTDETRDecoder, [nc, 32, 20, 4, 4, 1, 64]]
"""
BACKBONE = """nc: 2
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [24, 3, 2]]
  - [-1, 1, Conv, [32, 3, 2]]
"""
TINY = BACKBONE + HEAD


def write(path: Path, text: str) -> Path:
    file = path / "tiny.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_tiny_detector_that_the_mistakes_are_made_in(tmp_path: Path) -> None:
    detector = build(write(tmp_path, TINY))
    with torch.inference_mode():
        found = detector(torch.rand(2, 3, 64, 96))
    assert found.boxes.shape == (2, 20, 4)
    assert found.scores.shape == (2, 20, 2)
    assert detector.stride == 32


@pytest.mark.parametrize(
    ("before", "after", "parts"),
    [
        # The wrong number of arguments: the block's own are shown.
        ("[-1, 1, Conv, [16, 3, 2]]", "[-1, 1, Conv, []]",
         ["row 2 (line 5: Conv)", "missing", "'c2'", "Conv [c2, k=1, s=1, p=None"]),
        ("[-1, 1, Conv, [16, 3, 2]]", "[-1, 1, HGBlock, [8]]",
         ["row 2 (line 5: HGBlock)", "HGBlock [cm, c2, k=3, lightconv=False, shortcut=False]"]),
        ("[-1, 1, Conv, [16, 3, 2]]", "[-1, 1, Concat, [1, 2, 3]]", ["too many", "Concat [dim"]),
        ("[-1, 1, Conv, [16, 3, 2]]", "[-1, 1, nn.MaxPool2d, []]", ["nn.MaxPool2d [kernel_size"]),
        ("[2, 1, Conv, [32, 1, 1]]", "[2, 1, nn.ConvTranspose2d, []]",
         ["nn.ConvTranspose2d [out_channels, kernel_size"]),
        # Arguments that are no such thing.
        ("[-1, 1, Conv, [16, 3, 2]]", "[-1, 1, Conv, [wide, 3, 2]]",
         ["row 2 (line 5: Conv)", "the argument c2 is 'wide', and not a number", "Conv [c2, k=1"]),
        ("RTDETRDecoder, [nc, 32,", "RTDETRDecoder, [nc, oops,",
         ["row 8", "the argument hd is 'oops', and not a number", "RTDETRDecoder [nc=80, hd=256"]),
        ("[-1, 1, Conv, [16, 3, 2]]", "[-1, 1, Conv, [-16, 3, 2]]", ["row 2 (line 5: Conv)"]),
        ("[-1, 1, Conv, [16, 3, 2]]", "[-1, 1, ResNetLayer, [64, 4, 2]]",
         ["states 64 input channels", "has 8"]),
        ("[-1, 1, Conv, [16, 3, 2]]", "[-1, 1, AIFI, [16, 5]]", ["8 channels", "5 heads"]),
        ("[-1, 1, Conv, [16, 3, 2]]", "[-1, 1, ShuffleV2Stage, [15]]", ["15", "halves"]),
        # Shapes that do not fit.
        ("[-1, 1, Conv, [16, 3, 2]]", "[-1, 1, nn.Conv2d, [9, 16, 3, 2, 1]]",
         ["row 2 (line 5: nn.Conv2d)", "it reads (1, 8, 160, 160)"]),
        ("[4, 1, Conv, [32, 1, 1]]", "[[3, 4], 1, Concat, [1]]",
         ["row 7 (line 12: Concat)", "different sizes", "(1, 24, 40, 40), (1, 32, 20, 20)",
          "same stride"]),
        ("[4, 1, Conv, [32, 1, 1]]", "[[3, 4], 1, Conv, [32]]", ["`from` is a list", "Concat"]),
        ("[4, 1, Conv, [32, 1, 1]]", "[4, 1, Concat, [1]]", ["`from` must be a list"]),
        ("[4, 1, Conv, [32, 1, 1]]", "[4, 1, Index, [32, 0]]", ["row 7 (line 12: Index)"]),
        ("[[5, 6, 7], 1", "[[6, 5, 7], 1", ["fine to coarse", "P3, P4, P5", "(1, 32, 40, 40)"]),
        ("[[5, 6, 7], 1", "[7, 1", ["`from` must be a list"]),
        ("RTDETRDecoder, [nc, 32,", "RTDETRDecoder, [nc, 30,", ["30", "4 heads"]),
        ("[[5, 6, 7], 1, RTDETRDecoder, [nc, 32, 20, 4, 4, 1, 64]]", "[7, 1, Conv, [8]]",
         ["row 8 (line 13: Conv)", "no detections", "RTDETRDecoder"]),
        # 640 / 7 is 92 after rounding, and 88 without a margin; 44, 22 and 11 are halves of it.
        ("[-1, 1, Conv, [8, 3, 2]]\n  - [-1, 1, Conv, [8, 3, 2]]",
         "[-1, 1, Conv, [8, 3, 7]]\n  - [-1, 1, Conv, [8, 5, 1, 0]]",
         ["row 8", "strides do not divide", "(1, 32, 44, 44)"]),
        # Names.
        ("[-1, 1, Conv, [16, 3, 2]]", "[-1, 1, nn.Convolution, [1]]",
         ["row 2 (line 5: nn.Convolution)", "torch has no", "did you mean"]),
        ("[-1, 1, Conv, [16, 3, 2]]", "[-1, 1, TorchVision, [16, resnet18]]", ["3 channels"]),
    ],
)  # fmt: skip
def test_mistakes_name_the_row_and_the_cure(
    before: str, after: str, parts: list[str], tmp_path: Path
) -> None:
    assert before in TINY
    file = write(tmp_path, TINY.replace(before, after))
    with pytest.raises(SpecError) as caught:
        build(file, device="meta")
    message = str(caught.value)
    assert message.startswith(str(file))
    assert "\n" in message, "there is a hint"
    for part in parts:
        assert part in message


def test_widths_are_scaled_as_the_format_says(tmp_path: Path) -> None:
    """Times the width, at most max_channels, up to a multiple of 8; a head's nc stays."""
    scales = "scales: {s: [1.0, 0.5, 24]}\n"
    text = TINY.replace("nc: 2\n", "nc: 24\n" + scales).replace("Conv, [24, 3", "Conv, [40, 3")
    detector = build(write(tmp_path, text), device="meta")
    widths = [detector.model[row].conv.out_channels for row in range(5)]
    # 16 / 2; 40 and 32 are cut to 24 first, then 12 -> 16. 8 / 2 = 4 -> 8.
    assert widths == [8, 8, 8, 16, 16]
    detector = build(write(tmp_path, text), nc=16, device="meta")
    assert detector.model[2].conv.out_channels == 16, "a width that equals nc is a head's"


def test_repeated_rows_stand_in_series(tmp_path: Path) -> None:
    """Each reads the one before, so the second convolution has the first one's width."""
    text = TINY.replace("[-1, 1, Conv, [8, 3, 2]]", "[-1, 1, Conv, [8, 3, 1]]", 1)
    text = text.replace("[-1, 1, Conv, [16, 3, 2]]", "[-1, 2, Conv, [16, 3, 2]]")
    detector = build(write(tmp_path, text), device="meta")
    assert [tuple(m.conv.weight.shape[:2]) for m in detector.model[2]] == [(16, 8), (16, 16)]
    assert "model.2.1.conv.weight" in detector.state_dict()


def test_repeats_stand_in_a_short_row_where_the_format_puts_them(tmp_path: Path) -> None:
    """HGBlock's are behind k. Where a row ends before k they are its k, and the six layers stay."""
    for repeats, k in ((5, ""), (4, ", 7")):
        row = f"[2, {repeats}, HGBlock, [8, 32{k}]]"
        text = TINY.replace("[2, 1, Conv, [32, 1, 1]]", row)
        convolutions = build(write(tmp_path, text), device="meta").model[5].m
        sizes = {layer.conv.kernel_size for layer in convolutions}
        assert (len(convolutions), sizes) == ((4, {(7, 7)}) if k else (6, {(5, 5)}))


def test_torch_blocks_stand_in_rows(tmp_path: Path) -> None:
    text = TINY.replace("[-1, 1, Conv, [16, 3, 2]]", "[-1, 1, nn.MaxPool2d, [3, 2, 1]]").replace(
        "[4, 1, Conv, [32, 1, 1]]", "[4, 1, nn.BatchNorm2d, []]"
    )
    detector = build(write(tmp_path, text))
    assert isinstance(detector.model[2], nn.MaxPool2d)
    assert detector.model[7].num_features == 32
    assert detector(torch.rand(1, 3, 32, 32)).boxes.shape == (1, 20, 4)


def test_a_transposed_convolution_stands_as_the_format_has_it(tmp_path: Path) -> None:
    """Without its input channels, and with a width that a scale multiplies."""
    text = TINY.replace("[2, 1, Conv, [32, 1, 1]]", "[2, 1, nn.ConvTranspose2d, [64, 1, 1]]")
    row = build(write(tmp_path, f"scales: {{s: [1, 0.5, 1024]}}\n{text}"), device="meta").model[5]
    assert isinstance(row, nn.ConvTranspose2d)
    assert (row.in_channels, row.out_channels, row.kernel_size) == (8, 32, (1, 1))


def test_a_decoder_may_stop_before_its_last_layer(tmp_path: Path) -> None:
    """All layers are there, and two of the three run; in the same place others have a dropout."""
    layers = {}
    for arguments in ("2, 64", "3, 64, 1", "3, 64", "3, 64, 0.1"):
        text = TINY.replace("1, 64]]", f"{arguments}]]")
        traced = trace(build(write(tmp_path, text), device="meta"), 64, in_place=True)
        layers[arguments] = (traced.params, traced.macs)
    two, stopped, three, dropout = layers.values()
    assert stopped == (three[0], two[1])
    assert dropout == three != two


@pytest.mark.parametrize("eval_idx", ["3", "0", "1.5"])
def test_a_decoder_stops_at_a_layer_that_it_has(eval_idx: str, tmp_path: Path) -> None:
    text = TINY.replace("1, 64]]", f"3, 64, {eval_idx}]]")
    with pytest.raises(SpecError, match=f"{eval_idx} is neither a layer from 1 to 2"):
        build(write(tmp_path, text), device="meta")


def test_importing_the_table_imports_no_torch() -> None:
    code = (
        "import sys; from detrbench.models.nn import BLOCKS; assert BLOCKS; "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(("name", "part"), [("HGBlok", "HGBlock"), ("nn.Relu", "nn.ReLU")])
def test_unknown_blocks_suggest_known_ones(name: str, part: str, tmp_path: Path) -> None:
    text = TINY.replace("[2, 1, Conv, [32, 1, 1]]", f"[2, 1, {name}, [32, 1, 1]]")
    with pytest.raises(SpecError, match=part):
        build(write(tmp_path, text))


# ---------------------------------------------------------------------- blocks of the user's own

OWN = '''
import torch
from torch import nn


class Gate(nn.Module):
    """Keeps its width and declares nothing: the shape speaks for itself."""

    def __init__(self, c1, slope=1.0):
        super().__init__()
        self.scale = nn.Conv2d(c1, c1, 1)
        self.slope = slope

    def forward(self, x):
        return x * torch.sigmoid(self.slope * self.scale(x))


class Pair(nn.Module):
    def __init__(self, c1, c2, *, n=1):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(sum(c1), c2, 1) for _ in range(n))

    def forward(self, xs):
        x = torch.cat(xs, 1)
        return sum(conv(x) for conv in self.convs)


class Peeks(nn.Module):
    def __init__(self, c1):
        super().__init__()

    def forward(self, x):
        return x if x.sum().item() > 0 else -x
'''


def own_file(path: Path, text: str = OWN) -> Path:
    file = path / "my_blocks.py"
    file.write_text(text, encoding="utf-8")
    return file


def test_own_blocks(tmp_path: Path) -> None:
    text = TINY.replace("[2, 1, Conv, [32, 1, 1]]", "[2, 1, Gate, [2.0]]").replace(
        "[4, 1, Conv, [32, 1, 1]]", "[[4, 4], 3, Pair, [48]]"
    )
    detector = build(write(tmp_path, text), blocks=own_file(tmp_path))
    assert type(detector.model[5]).__name__ == "Gate"
    assert len(detector.model[7].convs) == 3
    assert detector.model[7].convs[0].weight.shape == (48, 64, 1, 1)
    assert detector(torch.rand(1, 3, 32, 64)).boxes.shape == (1, 20, 4)


KEEPS = """
import torch
from torch import nn

class Keeps(nn.Module):
    def __init__(self, c1):
        super().__init__()
        self.code, self.conv = None, nn.Conv2d(c1, c1, 1)

    def forward(self, x):
        if self.code is None:
            self.code = torch.zeros(x.shape[3], 7)
        return self.conv(x) + (x @ self.code).mean()
"""


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_what_a_block_keeps_of_the_first_images_is_not_of_the_next(
    tmp_path: Path, device: str
) -> None:
    """A code as long as maps are wide, 24 or 48, by 7 columns; and a 1x1 convolution."""
    text = TINY.replace("[2, 1, Conv, [32, 1, 1]]", "[2, 1, Keeps, []]")
    blocks, found = own_file(tmp_path, KEEPS), []
    for size in (192, 384):
        traced = trace(build(write(tmp_path, text), blocks=blocks, device=device), size)
        inside = (op.cost.macs for op in traced.ops if op.module.startswith("model.5"))
        found.append(sum(inside))
    assert found == [16 * side**2 * (7 + 16) for side in (24, 48)]


def test_a_block_may_make_its_layers_when_it_is_called(tmp_path: Path) -> None:
    lazy = KEEPS.replace("nn.Conv2d(c1, c1, 1)", "nn.LazyConv2d(c1, 1)")
    text = TINY.replace("[2, 1, Conv, [32, 1, 1]]", "[2, 1, Keeps, []]")
    detector = build(write(tmp_path, text), blocks=own_file(tmp_path, lazy), device="meta")
    assert detector.model[5].conv.weight.shape == (16, 16, 1, 1)


def test_own_blocks_are_unknown_without_their_file(tmp_path: Path) -> None:
    text = TINY.replace("[2, 1, Conv, [32, 1, 1]]", "[2, 1, Gate, []]")
    with pytest.raises(SpecError, match=r"no block Gate[\s\S]*--blocks"):
        build(write(tmp_path, text))


def test_a_block_that_reads_values_is_told_not_to(tmp_path: Path) -> None:
    text = TINY.replace("[2, 1, Conv, [32, 1, 1]]", "[2, 1, Peeks, []]")
    with pytest.raises(SpecError, match=r"row 5 .*Peeks[\s\S]*shapes alone"):
        build(write(tmp_path, text), blocks=own_file(tmp_path))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("class Gate(:", "not Python.*line 1"),
        ("import a_module_that_is_not_there", "ModuleNotFoundError"),
        ("1 / 0", "ZeroDivisionError"),
        ("from torch.nn import Conv2d", "defines no block"),
    ],
)
def test_files_of_blocks_that_do_not_load(text: str, part: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=part) as caught:
        build(write(tmp_path, TINY), blocks=own_file(tmp_path, text))
    assert "my_blocks.py" in str(caught.value)


def test_no_file_of_blocks(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        build(write(tmp_path, TINY), blocks=tmp_path / "absent.py")
