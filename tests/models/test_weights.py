"""Files of weights that are not what they should be: refused with a reason, never run."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from detrbench.core.errors import UsageError
from detrbench.models.builder import build


class Payload:
    """What a hostile checkpoint does: a call while it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.target,)  # type: ignore[return-value]


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "was-run"
    torch.save({"conv1.0.weight": Payload(trace)}, tmp_path / "hostile.pth")
    with pytest.raises(UsageError, match="not a plain state_dict"):
        build("shufflev2-x0.5", backbone_weights=tmp_path / "hostile.pth")
    assert not trace.exists()
    with (tmp_path / "hostile.pth").open("rb") as file:
        assert file.read(2) == b"PK", "the file was one that torch.load reads"


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        build("shufflev2-x0.5", backbone_weights=tmp_path / "absent.pth")


@pytest.mark.parametrize("content", [b"", b"hello", pickle.dumps({"a": 1}, protocol=2)])
def test_not_a_checkpoint(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "odd.pth"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="state_dict"):
        build("shufflev2-x0.5", backbone_weights=path)


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"a": 1}, torch.zeros(1)])
def test_not_a_state_dict(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(UsageError, match="no state_dict"):
        build("shufflev2-x0.5", backbone_weights=tmp_path / "odd.pth")


def test_nothing_that_belongs_here(tmp_path: Path) -> None:
    torch.save({"layer1.0.conv1.weight": torch.zeros(1)}, tmp_path / "resnet.pth")
    with pytest.raises(UsageError, match=r"nothing in the file belongs .* layer1\.0\.conv1"):
        build("shufflev2-x0.5", backbone_weights=tmp_path / "resnet.pth")


def test_missing_tensors_are_named(tmp_path: Path) -> None:
    state = build("shufflev2-x0.5").state_dict()
    del state["model.2.3.branch2.5.weight"]
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(UsageError, match=r"1 tensors are missing: model\.2\.3\.branch2\.5\.weight"):
        build("shufflev2-x0.5", backbone_weights=tmp_path / "part.pth")


def test_meta_models_take_no_weights(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="meta"):
        build("shufflev2-x0.5", device="meta", backbone_weights=tmp_path / "any.pth")
