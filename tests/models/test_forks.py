"""Model files as the public forks write them, with the figures of what they mean."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from detrbench.compare.gate import gate
from detrbench.compare.gate.outcomes import Outcome
from detrbench.compare.gate.policy import Policy
from detrbench.core.errors import SpecError, UsageError
from detrbench.counting.profiling import profile
from detrbench.models.builder import build
from detrbench.models.catalog import find_model

FORKS = Path(__file__).parents[1] / "data" / "forks"


@pytest.mark.parametrize(
    ("file", "params", "metric", "flops"),
    [
        # Repeats that stand fifth, or third and with widths that a scale changes. What is printed
        # of the one is 101.0 G, by core, and of the other 17.1 G, by thop.
        ("rtdetr-l-GhostHGNetV2.yaml", 31_485_404, "flops", 100_980_940_800),
        ("yolov8-rtdetr.yaml", 9_643_868, "flops_thop", 17_114_521_600),
        ("yolov8n-rtdetr.yaml", 9_643_868, "flops_thop", 17_114_521_600),  # names its scale n
        # One row that returns four maps, counted as rows 1 to 4.
        ("rtdetr-fasternet.yaml", 9_505_904, "flops", 26_502_451_200),
        # Top-level variables in rows; 66.7 G is thop's.
        ("rtdetr-bifpn.yaml", 20_662_684, "flops_thop", 66_673_868_800),
    ],
)
def test_a_public_file_counts_as_what_it_means(
    file: str, params: int, metric: str, flops: int
) -> None:
    report = profile([FORKS / file], blocks=str(FORKS / "blocks.py"))
    metrics = report.rows[0].metrics
    assert (metrics["params"], metrics[metric]) == (params, flops)


def test_scales_stand_side_by_side() -> None:
    """The pair that the figures of a scale are told apart by, and what is said of each."""
    file, blocks = FORKS / "yolov8-rtdetr.yaml", str(FORKS / "blocks.py")
    report = profile([file], blocks=blocks, scale=["n", "s"])
    assert [row.metrics["params"] for row in report.rows] == [9_643_868, 16_518_572]
    assert [row.settings["scale"] for row in report.rows] == ["n", "s"]
    assert [row.notes[0] for row in report.rows] == [
        "scale n, as asked for",
        "scale s, as asked for",
    ]


R18 = (20_184_464, 59_347_865_600, 58_628_505_600)
"""Parameters, FLOPs and those of thop, printed as 58.6 G."""


@pytest.mark.parametrize("is_own", [True, False])
def test_a_file_that_only_imports_its_blocks_counts_as_theirs(is_own: bool, tmp_path: Path) -> None:
    """From a folder that its code puts on the path; and so do ours, without any file."""
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(FORKS / "blocks.py", tmp_path / "elsewhere" / "fork_parts.py")
    own = tmp_path / "own.py"
    own.write_text(
        "import pathlib, sys\n"
        "sys.path.insert(0, str(pathlib.Path(__file__).parent / 'elsewhere'))\n"
        "from fork_parts import Blocks, ConvNormLayer\n"
    )
    (row,) = profile([FORKS / "rtdetr-r18.yaml"], blocks=str(own) if is_own else None).rows
    assert tuple(row.metrics[key] for key in ("params", "flops", "flops_thop")) == R18
    aloud = "Blocks, ConvNormLayer of own.py, in place of detrbench's own"
    assert (aloud in row.notes) is is_own


def test_a_copy_of_a_forks_file_wins_where_it_is_named(tmp_path: Path) -> None:
    """It also defines blocks that no row names; what it defines badly is its own fault, and said
    so."""
    stubs = "".join(
        f"class {name}(nn.Module): pass\n" for name in ("Conv", "RepC3", "AIFI", "ConvNormLayer")
    )
    (tmp_path / "block.py").write_text(f"from torch import nn\n{stubs}", encoding="utf-8")
    with pytest.raises(SpecError, match=r"row 0 \(line 6: ConvNormLayer\)") as caught:
        build(FORKS / "rtdetr-r18.yaml", blocks=tmp_path / "block.py", device="meta")
    assert "this ConvNormLayer is block.py's, in place of detrbench's own" in str(caught.value)
    missing = "from ultralytics_of_nobody.nn.modules import ConvNormLayer, Blocks\n"
    (tmp_path / "imports.py").write_text(missing, encoding="utf-8")
    with pytest.raises(UsageError, match="No module named 'ultralytics_of_nobody'") as absent:
        build(FORKS / "rtdetr-r18.yaml", blocks=tmp_path / "imports.py", device="meta")
    assert "is not installed here" in (absent.value.hint or "")


DEFORMABLE = """
from torch import nn
from torchvision.ops import DeformConv2d

class DCN(nn.Module):
    width_arg = 0
    def __init__(self, c1, c2, k=3):
        super().__init__()
        self.off = nn.Conv2d(c1, 2 * k * k, k, 1, k // 2)
        self.dcn = DeformConv2d(c1, c2, k, 1, k // 2, bias=False)
        self.bn = nn.BatchNorm2d(c2)

    def forward(self, x):
        return self.bn(self.dcn(x, self.off(x)))
"""


def test_a_deformable_convolution_is_in_the_figures_and_the_gate_sees_it(tmp_path: Path) -> None:
    """The last RepC3 of shufflev2 made a DCN of 512 > 256 on 20x20: 63.92 G with it, and without
    it 62.98 G, within a limit of 63.5."""
    text = find_model("shufflev2").read_text(encoding="utf-8").partition("detrbench:")[0]
    start, block, end = text.rpartition("3, RepC3, [256]]")
    assert block
    (tmp_path / "dcn.yaml").write_text(f"{start}1, DCN, [256]]{end}", encoding="utf-8")
    (tmp_path / "own.py").write_text(DEFORMABLE, encoding="utf-8")
    report = profile([tmp_path / "dcn.yaml"], blocks=str(tmp_path / "own.py"))
    (row,) = report.rows
    assert (row.status, row.metrics["params"]) == ("ok", 18_514_690)
    assert row.metrics["flops"] == 63_924_601_600
    assert row.metrics["flops_torch"] == 63_924_601_600 - 2 * 20 * 20 * 512 * 256 * 9
    limit = Policy(max={"flops": 63.5e9})
    assert gate(report, None, limit).outcome is Outcome.EXCEEDED
