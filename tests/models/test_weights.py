"""Files of weights that are not what they should be: refused with a reason, never run."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from detrbench.core.errors import DetrbenchWarning, UsageError
from detrbench.models.builder import build
from detrbench.models.tensors import read_tensors


class Payload:
    """What a hostile checkpoint does: a call while it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.target,)  # type: ignore[return-value]


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "was-run"
    torch.save({"conv1.0.weight": Payload(trace)}, tmp_path / "hostile.pth")
    with pytest.raises(UsageError, match=r"pickled pathlib.* loading it runs code"):
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
    with pytest.raises(UsageError, match="it holds no tensors with names"):
        build("shufflev2-x0.5", backbone_weights=tmp_path / "odd.pth")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("net.onnx", b"\x08\x08\x12\x07pytorch", "nothing that torch.save wrote"),
        ("config.json", b'{"model_type": "detr"}', "nothing that torch.save wrote"),
        ("net.engine", b"any", "this is a TensorRT engine"),
        ("cut.pt", b"PK\3\4 and no more", "this is a zip archive that is broken or cut short"),
    ],
)
def test_a_file_of_another_kind_is_told_without_torchs_advice_to_run_it(
    name: str, content: bytes, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=f"it cannot be read as weights: .*{said}") as caught:
        read_tensors(tmp_path / name)
    assert "weights_only" not in str(caught.value)


def test_weights_of_a_backbone_are_found_in_what_training_programs_save(tmp_path: Path) -> None:
    source = build("shufflev2-x0.5", seed=1)
    torch.save({"model": source, "ema": None, "train_args": {}}, tmp_path / "best.pt")
    with pytest.warns(DetrbenchWarning, match="entries were not used"):
        target = build("shufflev2-x0.5", backbone_weights=tmp_path / "best.pt")
    key = "model.2.3.branch2.5.weight"
    assert torch.equal(target.state_dict()[key], source.state_dict()[key])


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
