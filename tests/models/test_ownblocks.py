"""Blocks of the user's own: from files, folders and imports, and in the place of ours."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from detrbench.core.errors import SpecError, UsageError
from detrbench.models.builder import build
from detrbench.models.model import Model
from detrbench.models.ownblocks import load_blocks
from detrbench.models.sources import build_model, resolve
from tests.models.test_builder import TINY, write

GATE = """
from torch import nn

class Gate(nn.Module):
    def __init__(self, c1):
        super().__init__()
        self.scale = nn.Conv2d(c1, c1, 1)

    def forward(self, x):
        return x * self.scale(x)
"""
GATED = TINY.replace("[2, 1, Conv, [32, 1, 1]]", "[2, 1, Gate, []]")


def files(root: Path, **texts: str) -> Path:
    root.mkdir(exist_ok=True)
    for name, text in texts.items():
        (root / f"{name}.py").write_text(text, encoding="utf-8")
    return root


def test_a_folder_gives_the_blocks_of_its_modules(tmp_path: Path) -> None:
    folder = files(tmp_path / "own", gates=GATE, more="from gates import Gate\n")
    assert set(load_blocks(folder)) == {"Gate"}
    detector = build(write(tmp_path, GATED), blocks=folder, device="meta")
    assert type(detector.model[5]).__name__ == "Gate"


def test_a_folder_that_is_a_package_is_imported_as_one(tmp_path: Path) -> None:
    package = files(
        tmp_path / "own_parts",
        __init__="from .more import Gate\n",
        more="from ._gates import Gate\n",
        _gates=GATE,
    )
    model = resolve(Model("a", str(write(tmp_path, GATED)), blocks=str(package)))
    names = sorted(Path(file.path).name for file in model.files)
    assert names == ["__init__.py", "_gates.py", "more.py", "tiny.yaml"]
    module = build_model(model, "meta").module
    assert type(module.model[5]).__module__ == "own_parts._gates"


def test_a_file_that_only_imports_its_blocks(tmp_path: Path) -> None:
    files(tmp_path, parts=GATE, blocks="from parts import Gate\nfrom torch.nn import Conv2d\n")
    assert set(load_blocks(tmp_path / "blocks.py")) == {"Gate"}


@pytest.mark.parametrize(
    ("function", "row"),
    [
        ("def make(pretrained=False):\n    return nn.Conv2d(16, 32, 1)\n", "make, []"),
        ("def make(c1, c2):\n    return nn.Conv2d(c1, c2, 1)\n", "make, [32]"),
    ],
)
def test_a_function_may_make_the_block(function: str, row: str, tmp_path: Path) -> None:
    """It gets the input channels where it calls them c1; a whole backbone does not."""
    blocks = files(tmp_path, own=f"from torch import nn\n{function}") / "own.py"
    text = TINY.replace("[2, 1, Conv, [32, 1, 1]]", f"[2, 1, {row}]")
    detector = build(write(tmp_path, text), blocks=blocks, device="meta")
    assert detector.model[5].weight.shape == (32, 16, 1, 1)
    files(tmp_path, own="def make(c1, *args):\n    return 1\n")
    with pytest.raises(SpecError, match=r"row 5 .*make.*returned a int, not an nn\.Module"):
        build(write(tmp_path, text), blocks=blocks, device="meta")


def test_two_classes_of_one_name_are_told_where_they_are_named(tmp_path: Path) -> None:
    folder = files(tmp_path / "own", a=GATE, b=GATE, c=GATE.replace("Gate", "Other"))
    with pytest.raises(UsageError, match=r"more than one Gate: in a and in b"):
        build(write(tmp_path, GATED), blocks=folder, device="meta")
    assert build(write(tmp_path, TINY), blocks=folder, device="meta")


def test_a_class_in_the_place_of_ours_wins_aloud(tmp_path: Path) -> None:
    own = "from detrbench.models.nn.conv import Conv as Ours\nclass Conv(Ours):\n    own = True\n"
    blocks = files(tmp_path, blocks=own + GATE + GATE.replace("Gate", "AIFI")) / "blocks.py"
    detector = build(write(tmp_path, TINY), blocks=blocks, device="meta")
    assert detector.model[0].own
    assert detector.spec.notes == ("Conv of blocks.py, in place of detrbench's own",)


@pytest.mark.parametrize(
    ("texts", "said"),
    [({}, "no Python file"), ({"a": "x = 1\n"}, "the folder defines no block"),
     ({"__init__": "1 / 0"}, "importing own_bad failed: ZeroDivisionError")],
)  # fmt: skip
def test_folders_without_blocks(texts: dict[str, str], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        load_blocks(files(tmp_path / "own_bad", **texts))


KIND = """
from torch import nn

class Plain(nn.Conv2d):
    pass

class Stage(nn.Module):
    def __init__(self, c1, kind, c2):
        super().__init__()
        self.layer = kind(c1, c2, 1) if TAKES_CLASSES else {"Plain": nn.Conv2d}[kind](c1, c2, 1)

    def forward(self, x):
        return self.layer(x)
"""


@pytest.mark.parametrize(("takes_classes", "made"), [("True", "Plain"), ("False", "Conv2d")])
def test_a_kind_of_block_is_a_bare_word(takes_classes: str, made: str, tmp_path: Path) -> None:
    """The forks hand the class on; a class that knows words gets the word."""
    blocks = files(tmp_path, blocks=f"TAKES_CLASSES = {takes_classes}\n{KIND}") / "blocks.py"
    text = TINY.replace("[2, 1, Conv, [32, 1, 1]]", "[2, 1, Stage, [Plain, 32]]")
    detector = build(write(tmp_path, text), blocks=blocks)
    assert type(detector.model[5].layer).__name__ == made


def test_repeats_that_could_be_an_argument_are_refused_with_its_name(tmp_path: Path) -> None:
    own = GATE.replace("self, c1", "self, c1, depth=2").replace("Gate", "Deep")
    text = TINY.replace("[2, 1, Conv, [32, 1, 1]]", "[2, 1, Deep, []]")
    with pytest.raises(SpecError, match=r"row 5 .*Deep.*argument depth[\s\S]*repeats_arg = 0"):
        build(write(tmp_path, text), blocks=files(tmp_path, own=own) / "own.py")


def test_a_width_that_a_scale_might_change_is_refused_with_its_name(tmp_path: Path) -> None:
    own = "from torch import nn\nclass Point(nn.Conv2d):\n" + (
        "    def __init__(self, inc, ouc):\n        super().__init__(inc, ouc, 1)\n"
    )
    text = TINY.replace("[2, 1, Conv, [32, 1, 1]]", "[2, 1, Point, [64]]")
    blocks = files(tmp_path, own=own) / "own.py"
    scales = "scales: {s: [1, 0.5, 1024]}\n"
    with pytest.raises(SpecError, match=r"row 5 .*Point.*ouc = 64 .*makes it 32[\s\S]*width_arg"):
        build(write(tmp_path, scales + text), blocks=blocks, device="meta")
    assert build(write(tmp_path, text), blocks=blocks, device="meta").model[5].out_channels == 64


BACKBONE = """
from torch import nn

class Whole(nn.Module):
    def __init__(self, c1):
        super().__init__()
        widths = (c1, *range(8, 8 * (MAPS + 1), 8))
        self.stages = nn.ModuleList(
            nn.Conv2d(a, b, 3, 2, 1) for a, b in zip(widths, widths[1:])
        )

    def forward(self, x):
        maps = [x]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps[1:]
"""


@pytest.mark.parametrize(
    ("maps", "reads", "said"),
    [
        (3, "[2, 3, 4]", None),
        (5, "[2, 3, 4]", None),
        (3, "[1, 3, 4]", r"`from` is 1, and the maps of row 0 are rows 2 to 4"),
        (5, "[0, 3, 4]", r"`from` is 0, and the maps of row 0 are rows 1 to 4"),
    ],
)
def test_maps_are_counted_up_to_row_4(
    maps: int, reads: str, said: str | None, tmp_path: Path
) -> None:
    """Row 4 is the last map, and the row behind the backbone is row 5."""
    rows = "".join(f"  - [{at}, 1, Conv, [32]]\n" for at in reads.strip("[]").split(","))
    decoder = "  - [[5, 6, 7], 1, RTDETRDecoder, [nc, 32, 20, 4, 4, 1, 64]]\n"
    text = f"nc: 2\nbackbone:\n  - [-1, 1, Whole, []]\nhead:\n{rows}{decoder}"
    blocks = files(tmp_path, own=f"MAPS = {maps}\n{BACKBONE}") / "own.py"
    if said:
        with pytest.raises(SpecError, match=said):
            build(write(tmp_path, text), blocks=blocks, device="meta")
        return
    detector = build(write(tmp_path, text), blocks=blocks, device="meta")
    widths = [8 * (maps - 2), 8 * (maps - 1), 8 * maps]
    assert [detector.model[row].conv.in_channels for row in (5, 6, 7)] == widths
    first = 5 - maps
    assert detector.spec.notes == (f"the maps of row 0 are counted as rows {first} to 4",)


OWN = """
import torch
from torch import nn

class SimAM(nn.Module):
    def __init__(self, e_lambda=1e-4):
        super().__init__()
        self.e_lambda = e_lambda

    def forward(self, x):
        return x * torch.sigmoid(x + self.e_lambda)

class Grow(nn.Sequential):
    def __init__(self, layers=2, c=16):
        super().__init__(*(nn.Conv2d(c, c, 1) for _ in range(layers)))

class Attention(nn.Module):
    def __init__(self, channel=512, reduction=16):
        super().__init__()
        self.squeeze = nn.Conv2d(channel, reduction, 1)

    def forward(self, x):
        return x * self.squeeze(x).mean(1, keepdim=True)

class Hidden(nn.Module):
    def __init__(self, mid=64):
        super().__init__()
        self.layer = nn.Conv2d(16, mid, 1)

    def forward(self, x):
        return self.layer(x).mean(1, keepdim=True)

class Declared(Hidden):
    channels_arg = None

class TwoIn(nn.Module):
    def __init__(self, c1, c2):
        super().__init__()
        self.layer = nn.Conv2d(sum(c1), c2, 1)

    def forward(self, x, y):
        return self.layer(torch.cat([x, y], 1))

class ThreeIn(TwoIn):
    def forward(self, x, y, z):
        return x
"""


@pytest.mark.parametrize(
    ("row", "params"),
    [
        ("[2, 1, SimAM, []]", 0),
        ("[2, 1, SimAM, [1.0e-3]]", 0),
        ("[2, 1, Grow, []]", 2 * (16 * 16 + 16)),
        ("[2, 2, Grow, [3]]", 6 * (16 * 16 + 16)),
        ("[2, 1, Attention, []]", 16 * 16 + 16),  # of 512 channels, it could not run
        ("[2, 1, Declared, []]", 16 * 64 + 64),
        ("[[2, 2], 1, TwoIn, [8]]", 32 * 8 + 8),
    ],
)
def test_a_block_is_counted_as_its_signature_has_it(row: str, params: int, tmp_path: Path) -> None:
    text = TINY.replace("[2, 1, Conv, [32, 1, 1]]", row)
    blocks = files(tmp_path, own=OWN) / "own.py"
    detector = build(write(tmp_path, text), blocks=blocks, device="meta")
    assert sum(p.numel() for p in detector.model[5].parameters()) == params


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            "[2, 1, Hidden, []]",
            r"first argument, mid=64, is .* channels, 16[\s\S]*channels_arg = 0",
        ),
        ("[[2, 2], 2, TwoIn, [8]]", "cannot be repeated in series"),
        ("[[2, 2], 1, ThreeIn, [8]]", "takes 3 inputs: list as many"),
    ],
)
def test_a_block_that_can_be_read_in_two_ways_is_refused(
    row: str, said: str, tmp_path: Path
) -> None:
    text = TINY.replace("[2, 1, Conv, [32, 1, 1]]", row)
    with pytest.raises(SpecError, match=rf"row 5 [\s\S]*{said}"):
        build(write(tmp_path, text), blocks=files(tmp_path, own=OWN) / "own.py", device="meta")


def test_several_inputs_reach_forward_one_by_one(tmp_path: Path) -> None:
    text = TINY.replace("[2, 1, Conv, [32, 1, 1]]", "[[2, 2], 1, TwoIn, [8]]")
    detector = build(write(tmp_path, text), blocks=files(tmp_path, own=OWN) / "own.py")
    x = torch.rand(1, 16, 8, 8)
    seen = []
    detector.model[5].register_forward_hook(lambda module, inputs, output: seen.append(inputs))
    with torch.inference_mode():
        detector(torch.rand(1, 3, 64, 64))
        assert detector.model[5](x, x).shape == (1, 8, 8, 8)
    assert len(seen[0]) == 2
    assert seen[0][0] is seen[0][1]
