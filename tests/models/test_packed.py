"""Archives of weights are measured before they are unpacked."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from detrbench.core.errors import UsageError
from detrbench.models.model import Model
from detrbench.models.packed import MOST_BYTES, check_size, check_weights
from detrbench.models.sources import resolve


def bomb(folder: Path, name: str = "small.pth") -> Path:
    """80 MB of zeros in 80 KB."""
    file = folder / name
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/data/0", bytes(80_000_000))
    return file


def test_a_small_archive_that_unpacks_to_much_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unpacks to 0\.1 GB from 0\.0 GB; weights"):
        check_weights(bomb(tmp_path))


@pytest.mark.parametrize("option", ["weights", "backbone_weights"])
def test_it_is_refused_while_the_model_is_resolved(option: str, tmp_path: Path) -> None:
    model = Model("m", "rtdetr-l", **{option: str(bomb(tmp_path))})
    with pytest.raises(UsageError, match="unpacks to"):
        resolve(model)


def test_an_archive_as_torch_writes_it_is_not_packed(tmp_path: Path) -> None:
    file = tmp_path / "plain.pth"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data/0", bytes(100_000))
    check_weights(file)


def test_no_detector_has_so_many() -> None:
    check_size(MOST_BYTES, MOST_BYTES, "here")
    with pytest.raises(UsageError, match=r"16\.0 GB at most"):
        check_size(MOST_BYTES + 1, MOST_BYTES + 1, "here")


def test_a_sparse_file_is_measured_by_its_size(tmp_path: Path) -> None:
    file = tmp_path / "sparse.safetensors"
    with file.open("wb") as opened:
        opened.truncate(MOST_BYTES + 1)
    with pytest.raises(UsageError, match=r"16\.0 GB at most"):
        check_weights(file)


@pytest.mark.parametrize("path", ["/dev/zero", "/proc/self/status", "/dev"])
def test_what_is_no_ordinary_file_is_not_read(path: str) -> None:
    with pytest.raises(UsageError, match="cannot be read: it is a"):
        check_weights(Path(path))
