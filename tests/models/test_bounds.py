"""What one model file may ask for: rows, blocks, arguments, modules, parameters, kernels."""

from __future__ import annotations

from pathlib import Path

import pytest

from detrbench.core.errors import SpecError
from detrbench.models import bounds
from detrbench.models.builder import build
from detrbench.models.yaml_spec import load_model_spec

STEM = "  - [-1, 1, Conv, [8, 3, 2]]\n"
MAPS = STEM * 4
HEAD = "head:\n  - [[2, 3, 4], 1, RTDETRDecoder, [nc, 8, 20, 4, 4, 1, 16]]\n"


def write(folder: Path, rows: str, head: str = HEAD, top: str = "nc: 2\n") -> Path:
    file = folder / "bomb.yaml"
    file.write_text(f"{top}backbone:\n{STEM}{rows}{head}", encoding="utf-8")
    return file


def read_refusal(file: Path) -> str:
    with pytest.raises(SpecError) as caught:
        load_model_spec(file)
    return str(caught.value)


# --- seen without torch --------------------------------------------------------------------------

READ = {
    "repeats of a row": ("[-1, 501, Conv, [8, 3]]", "row 1 (line 4: Conv)", "from 1 to 500"),
    "a product": ("[-1, 2000000000, Conv, [8]]", "row 1 (line 4: Conv)", "from 1 to 500"),
    "layers": ("[-1, 1, nn.LSTM, [8, 8, 100000000]]", "row 1 (line 4: nn.LSTM)", "+-1000000"),
    "inside a list": ("[-1, 1, nn.Fold, [[8, -2e9], 3]]", "row 1 (line 4: nn.Fold)", "+-1000000"),
}


@pytest.mark.parametrize(("row", "place", "bound"), READ.values(), ids=READ.keys())
def test_a_row_says_its_bound_before_torch(
    row: str, place: str, bound: str, tmp_path: Path
) -> None:
    said = read_refusal(write(tmp_path, f"  - {row}\n"))
    assert place in said
    assert bound in said


def test_repeats_are_bounded_over_all_rows(tmp_path: Path) -> None:
    """1 + 2 * 250 blocks are one too many."""
    row = "  - [-1, 250, Conv, [8, 3]]\n"
    said = read_refusal(write(tmp_path, row * 2))
    assert "row 2 (line 5: Conv): with its 250 repeats, the file has more than 500 blocks" in said


def test_repeats_are_bounded_as_the_depth_scales_them(tmp_path: Path) -> None:
    file = write(tmp_path, "  - [-1, 3, Conv, [8, 3]]\n", top="nc: 2\ndepth_multiple: 200\n")
    assert "3 repeats by the depth multiple 200 are 600" in read_refusal(file)


def test_a_file_has_so_many_rows(tmp_path: Path) -> None:
    said = read_refusal(write(tmp_path, "  - [-1, 1, nn.Identity, []]\n" * 500))
    assert "row 500" in said
    assert "more than 500" in said


def test_the_arguments_of_a_users_own_block_are_the_users(tmp_path: Path) -> None:
    spec = load_model_spec(write(tmp_path, f"  - [-1, 1, Mine, [2000000000]]\n{MAPS}"))
    assert spec.rows[1].args == (2_000_000_000,)


def test_a_multiple_is_a_number_also_where_scales_say_another(tmp_path: Path) -> None:
    top = "nc: 2\nscales:\n  n: [1, 1, 64]\ndepth_multiple: banana\n"
    assert "a multiplier is 'banana'" in read_refusal(write(tmp_path, "", top=top))


# --- counted while building ----------------------------------------------------------------------


def build_refusal(file: Path) -> str:
    with pytest.raises(SpecError) as caught:
        build(file, device="meta")
    return str(caught.value)


@pytest.mark.parametrize(
    "row",
    [
        "[-1, 1, nn.Transformer, [8, 2, 1000000, 1000000]]",  # copies of one layer
        "[-1, 1, nn.LSTM, [8, 8, 1000000]]",
        "[-1, 100, HGBlock, [8, 8, 3]]",
        "[-1, 100, RepC3, [8]]",
        "[-1, 60, ShuffleV2Stage, [8]]",
    ],
)
def test_kernels_end_a_row_in_the_middle(
    row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MAX_KERNELS", 400)
    said = build_refusal(write(tmp_path, f"  - {row}\n{MAPS}"))
    assert "row 1 (line 4: " in said
    assert "up to here, the file asks for more than 400 kernels" in said


def test_kernels_are_counted_through_all_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MAX_KERNELS", 60)
    said = build_refusal(write(tmp_path, MAPS))
    assert "more than 60 kernels" in said
    assert "row 0" not in said


@pytest.mark.parametrize("row", ["Conv, [64, 1000000]", "Conv, [1000000, 9000]"])
def test_parameters_are_bounded(row: str, tmp_path: Path) -> None:
    """64 * 8 * 10^12, and 8 * 10^6 * 81 * 10^6."""
    said = build_refusal(write(tmp_path, f"  - [-1, 1, {row}]\n{MAPS}"))
    assert "row 1 (line 4: Conv)" in said
    assert "more than 4,000,000,000 parameters" in said


def test_modules_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_MODULES", 10)
    assert "more than 10 modules" in build_refusal(write(tmp_path, MAPS))


def test_kernels_of_a_users_own_block_are_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        "from torch import nn\n\n\n"
        "class Scan(nn.Module):\n"
        "    def __init__(self, c1):\n"
        "        super().__init__()\n\n"
        "    def forward(self, x):\n"
        "        for _ in range(2000):\n"
        "            x = x + 1\n"
        "        return x\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(bounds, "MAX_KERNELS", 1500)
    file = write(tmp_path, f"  - [-1, 1, Scan, []]\n{MAPS}".replace("[2, 3", "[3, 4"))
    head = HEAD.replace("[2, 3, 4]", "[3, 4, 5]")
    file.write_text(file.read_text().replace(HEAD, head), encoding="utf-8")
    assert len(build(file, blocks=own, device="meta").spec.rows) == 7
