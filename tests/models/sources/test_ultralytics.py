"""Models of the installed ultralytics, with a small stand-in for it that is our own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from detrbench import trace
from detrbench.core.errors import UsageError
from detrbench.models.model import Model
from detrbench.models.sources import build_model, resolve, source_of, ultralytics
from detrbench.models.sources.callables import Callables
from detrbench.models.sources.ultralytics import Ultralytics

# What is asked of the library: two classes by name, and rows that know their numbers.
PACKAGE = """
import torch
from torch import nn


class Head(nn.Module):
    def __init__(self, nc):
        super().__init__()
        self.nc, self.stride = nc, torch.tensor([8.0])
        self.layer = nn.Conv2d(8, nc, 1, bias=False)

    def forward(self, x):
        return self.layer(x)


class DetectionModel(nn.Module):
    end2end = False

    def __init__(self, cfg, ch=3, nc=None, verbose=True):
        super().__init__()
        assert verbose is False
        print("chatter")
        rows = [nn.Conv2d(3, 8, 1, bias=False), nn.ReLU(), Head(nc or 80)]
        self.model = nn.Sequential(*rows)
        self.yaml = {"backbone": [1], "head": [2, 3], "file": cfg}
        for i, row in enumerate(rows):
            row.i = i
        rows[-1].end2end = self.end2end

    def forward(self, x):
        return self.model(x)


class RTDETRDetectionModel(DetectionModel):
    end2end = True


class YOLO:
    def __init__(self, path):
        self.model = torch.load(path, weights_only=False)["model"]


RTDETR = YOLO
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a stand-in for the library in front of everything else."""
    package = tmp_path / "lib" / "ultralytics"
    (package / "nn").mkdir(parents=True)
    (package / "__init__.py").write_text("from ultralytics.nn.tasks import YOLO, RTDETR\n")
    (package / "nn" / "__init__.py").write_text("")
    (package / "nn" / "tasks.py").write_text(PACKAGE)
    for name in [each for each in sys.modules if each.partition(".")[0] == "ultralytics"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path / "lib")
    monkeypatch.setenv("YOLO_OFFLINE", "true")
    monkeypatch.setenv("YOLO_AUTOINSTALL", "false")
    (tmp_path / "net.yaml").write_text("nc: 80\n")
    (tmp_path / "rtdetr.yaml").write_text("head: [[-1, 1, RTDETRDecoder, [nc]]]\n")
    return tmp_path


def model(path: object, **values: object) -> Model:
    return Model("mine", f"ultralytics:{path}", **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["yolov8n.yaml", "a b/best.pt", "C:/x/net.yml"])
def test_files_of_its_kinds_are_claimed(name: str) -> None:
    assert isinstance(source_of(f"ultralytics:{name}"), Ultralytics)
    assert isinstance(source_of("ultralytics:YOLO"), Callables)


def test_a_model_file_is_built_by_it(installed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One image of 4x4: 3 to 8 channels in the backbone, 8 to 5 classes in the head."""
    made = build_model(model(installed / "net.yaml", nc=5, seed=3))
    assert capsys.readouterr().out == ""
    assert made.nc == 5
    assert made.notes == ("NMS, which comes after it, is not part of the figures",)
    parts = trace(made.module, 4).by("stage")
    assert {name: part.macs for name, part in parts.items()} == {
        "backbone": 16 * 24,
        "neck": 0,
        "decoder": 16 * 40,
    }
    again = build_model(model(installed / "net.yaml", nc=5, seed=3))
    for key, value in made.module.state_dict().items():
        assert torch.equal(value, again.module.state_dict()[key])
    assert build_model(model(installed / "rtdetr.yaml")).notes == ("it needs no NMS",)


def test_a_checkpoint_is_loaded_only_where_it_is_trusted(installed: Path) -> None:
    first = build_model(model(installed / "net.yaml", nc=5)).module
    torch.save({"model": first.half()}, installed / "best.pt")
    with pytest.raises(UsageError, match=r"runs whatever code is in it\n.*--trust.*--weights"):
        resolve(model(installed / "best.pt"))
    with pytest.raises(UsageError, match="runs whatever code"):
        build_model(model(installed / "best.pt"))
    with pytest.raises(UsageError, match="own number of classes"):
        resolve(model(installed / "best.pt", trust=True, nc=3))
    made = build_model(model(installed / "best.pt", trust=True))
    assert made.nc == 5
    assert {each.dtype for each in made.module.parameters()} == {torch.float32}
    assert Ultralytics().runs_code(model(installed / "best.pt"))


def test_what_it_refuses_is_said(installed: Path) -> None:
    (installed / "broken.pt").write_bytes(b"nothing")
    with pytest.raises(UsageError, match=r"broken\.pt: ultralytics cannot build it: "):
        build_model(model(installed / "broken.pt", trust=True))


def test_what_is_missing_is_said_before_anything_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=r"there is no such file\n.*nothing is fetched"):
        resolve(model("absent.yaml"))
    (tmp_path / "net.yaml").write_text("")
    monkeypatch.setattr(ultralytics, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"not installed here\n  pip install ultralytics"):
        resolve(model(tmp_path / "net.yaml"))
    with pytest.raises(UsageError, match="takes no weights: give a checkpoint"):
        resolve(model(tmp_path / "net.yaml", weights="any"))
