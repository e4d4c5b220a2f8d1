"""Files of other kinds are told what they are, and which way leads here; none of them is run."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from detrbench.core.errors import UsageError
from detrbench.models.model import Model
from detrbench.models.sources import resolve, source_of
from detrbench.models.sources.modelfiles import ModelFiles
from detrbench.models.sources.strangers import Strangers

OFFICIAL = """\
task: detection
model: RTDETR
RTDETR: {backbone: PResNet, encoder: HybridEncoder, decoder: RTDETRTransformer}
PResNet: {depth: 50, variant: d, return_idx: [1, 2, 3]}
"""

MMDETECTION = "model = dict(type='RTDETR', backbone=dict(type='ResNet', depth=50))\n"


def said_of(path: Path) -> str:
    """What is said where the file is given as a model."""
    assert isinstance(source_of(str(path)), Strangers)
    with pytest.raises(UsageError) as caught:
        resolve(Model(str(path), str(path)))
    assert caught.value.where == str(path)
    assert caught.value.hint
    return f"{caught.value.what}\n{caught.value.hint}"


def saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize("old", [True, False])
def test_a_state_dict_is_weights_without_a_model(tmp_path: Path, old: bool) -> None:
    state = {"ema": {"module": {"backbone.conv1.weight": torch.zeros(3)}}, "last_epoch": 71}
    torch.save(state, tmp_path / "r50.pth", _use_new_zipfile_serialization=not old)
    said = said_of(tmp_path / "r50.pth")
    assert said.startswith("this is a file of weights, such as backbone.conv1.weight, without")
    assert "--weights FILE" in said


def test_a_checkpoint_of_ultralytics_names_both_ways(tmp_path: Path) -> None:
    net = nn.Conv2d(3, 4, 1)
    said = said_of(saved(tmp_path / "best.pt", {"model": net, "train_args": {"imgsz": 64}}))
    assert "an Ultralytics checkpoint, which holds a pickled torch.nn.modules.conv.Conv2d" in said
    assert "loading it runs code" in said
    assert "ultralytics:FILE --trust" in said
    assert "MODEL --weights FILE" in said


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_is_read_and_never_loaded(tmp_path: Path, protocol: int) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return eval, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    (tmp_path / "model.pkl").write_bytes(pickle.dumps([Evil(), Path("x")], protocol))
    said = said_of(tmp_path / "model.pkl")
    assert "this is a pickled pathlib" in said
    assert not (tmp_path / "ran").exists()


def test_quantised_tensors_are_refused(tmp_path: Path) -> None:
    int8 = torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)
    assert "quantised tensors (int8)" in said_of(saved(tmp_path / "int8.pt", {"a.weight": int8}))


def test_torchscript_is_told_from_a_checkpoint(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        for name in ("data.pkl", "code/__torch__.py", "constants.pkl"):
            archive.writestr(f"model/{name}", b"\x80\x02.")
    said = said_of(tmp_path / "model.pt")
    assert "a TorchScript archive, which does not tell what it calls" in said
    assert "torch.export" in said


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("rtdetr_r50vd.yml", OFFICIAL, r"a configuration of RT-DETR, D-FINE .*\n.*rtdetr-resnet50"),
        ("dfine.yml", "__include__: [a.yml]\n", "a configuration of RT-DETR, D-FINE or DEIM"),
        ("rtdetr.py", MMDETECTION, r"a configuration of mmdetection .*\n.*\./FILE\.py:NAME"),
        ("base.py", "_base_ = './other.py'\n", "a configuration of mmdetection"),
        ("braces.py", "model = {'type': 'DETR'}\n", "a configuration of mmdetection"),
        ("mine.py", "class Net: ...\ndef build(): ...\n", r"Net, build\nGive \./mine\.py:build"),
        ("empty.py", "model = 1\n", "without a function or class that makes a model"),
        ("broken.py", "def (", "cannot be parsed"),
        ("paddle.yml", "architecture: DETR\n", "a PaddleDetection configuration"),
        ("detr.yaml", "MODEL: {META_ARCHITECTURE: Detr}\n", "a Detectron2 configuration"),
        ("coco.yaml", "train: a\nval: b\nnames: {0: cat}\n", "the description of a data set"),
        ("args.yaml", "mode: train\nepochs: 3\nmodel: l.yaml\n", r"a training\n.*is l\.yaml"),
        ("best.engine", "any", "a TensorRT engine"),
        ("best.xml", "<net/>", "an OpenVINO model"),
        ("best.ipynb", "{}", "a notebook"),
        ("model.safetensors", "\2\0\0\0\0\0\0\0{}", "a file of weights .safetensors. without"),
        ("cut.pt", "PK\3\4 and no more", "broken or cut short"),
    ],
)
def test_what_a_file_is(tmp_path: Path, name: str, content: str, part: str) -> None:
    (tmp_path / name).write_text(content)
    assert re.search(part, said_of(tmp_path / name))


def test_a_folder_says_what_is_missing(tmp_path: Path) -> None:
    assert "a folder without a config.json" in said_of(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.yaml", "nc: 80\nbackbone: []\nhead: []\n"),
        ("odd.yaml", "nc: 80\n"),
        ("broken.yaml", "a: ["),
        ("text", "nothing"),
    ],
)
def test_the_reader_of_model_files_speaks_of_the_rest(
    tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content)
    assert isinstance(source_of(str(tmp_path / name)), ModelFiles)


def test_all_of_it_is_said_without_torch(tmp_path: Path) -> None:
    saved(tmp_path / "best.pt", {"model": nn.Conv2d(3, 4, 1), "train_args": {}})
    script = (
        "import sys\n"
        "from detrbench.cli import main\n"
        "code = main(['profile', 'best.pt'])\n"
        "sys.exit(code if 'torch' not in sys.modules else 'torch was imported')"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "an Ultralytics checkpoint" in done.stderr
