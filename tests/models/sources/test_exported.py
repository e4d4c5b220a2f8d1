"""Programs of torch.export: counted as the modules that they were, and read only where that runs
no code."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from detrbench import trace
from detrbench.core.errors import UsageError
from detrbench.models.model import Model
from detrbench.models.sources import build_model, resolve, source_of
from detrbench.models.sources.exported import ExportedPrograms


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"y": self.head(self.body(x))}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, nn.Module]:
    """A program of images of 16x16 pixels, one of any batch, and what they were made from."""
    folder, net = tmp_path_factory.mktemp("exported"), Net().eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    fixed = torch.export.export(net, (torch.rand(1, 3, 16, 16),))
    dynamic = torch.export.export(net, (torch.rand(2, 3, 16, 16),), dynamic_shapes=({0: batch},))
    torch.export.save(fixed, folder / "model.pt2")
    torch.export.save(dynamic, folder / "any.pt2")
    return folder / "model.pt2", folder / "any.pt2", net


def model(path: Path, **values: object) -> Model:
    return Model("mine", str(path), **values)  # type: ignore[arg-type]


def test_a_program_is_counted_and_computes_as_its_module(
    saved: tuple[Path, Path, nn.Module],
) -> None:
    path, _, net = saved
    assert isinstance(source_of(str(path)), ExportedPrograms)
    assert len(resolve(model(path)).files) == 1
    made = build_model(model(path))
    assert made.images is not None
    assert made.images.shape == (1, 3, 16, 16)
    with pytest.raises(UsageError, match="--imgsz 16x16 --batch 1"):
        made.check_image_size((32, 32), 1)
    counted, theirs = trace(made.module, 16), trace(net, 16)
    for key in ("params", "macs", "elementwise_flops", "kernels", "traffic_eager_bytes"):
        assert getattr(counted, key) == getattr(theirs, key), key
    assert {"body.0", "head"} <= counted.by("module").keys()
    images = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(made.module(images)["y"], net(images)["y"])


def test_a_program_of_any_batch_takes_any(saved: tuple[Path, Path, nn.Module]) -> None:
    _, path, net = saved
    made = build_model(model(path))
    assert made.images is None
    assert trace(made.module, 16, batch=4).macs == trace(net, 16, batch=4).macs


def with_member(path: Path, target: Path, name: str, content: bytes | None) -> Path:
    """A copy of an archive in which a member is another, or is there as well."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as copy:
        top = source.namelist()[0].partition("/")[0]
        for each in source.namelist():
            if each != f"{top}/{name}":
                copy.writestr(each, source.read(each))
        if content is not None:
            copy.writestr(f"{top}/{name}", content)
    return target


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("data/sample_inputs/model.pt", b"cos\nsystem\n(S'true'\ntR.", "is not an archive of tens"),
        ("models/more.json", b'{"expr_str": "exit()"}', r"has an expression 'exit\(\)' as a size"),
        ("data/constants/a_config.json", b'{"x": {"use_pickle": true}}', "has pickled objects"),
        ("models/more.json", b"{", "is not JSON"),
    ],
)
def test_what_may_run_code_has_to_be_trusted(
    saved: tuple[Path, Path, nn.Module], tmp_path: Path, name: str, content: bytes, part: str
) -> None:
    path = with_member(saved[0], tmp_path / "evil.pt2", name, content)
    for call in (resolve, build_model):
        with pytest.raises(UsageError, match=rf"reading it may run code: .*{part}.*\n.*--trust"):
            call(model(path))
    assert len(resolve(model(path, trust=True)).files) == 1


def test_a_pickle_of_more_than_tensors_has_to_be_trusted(
    saved: tuple[Path, Path, nn.Module], tmp_path: Path
) -> None:
    torch.save({"a": nn.ReLU()}, tmp_path / "inputs.pt")
    content = (tmp_path / "inputs.pt").read_bytes()
    path = with_member(saved[0], tmp_path / "more.pt2", "data/sample_inputs/model.pt", content)
    with pytest.raises(UsageError, match=r"names torch\.nn\.modules\.activation\.ReLU"):
        resolve(model(path))


def test_what_is_no_program(saved: tuple[Path, Path, nn.Module], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes no nc: its layers are as they were exported"):
        resolve(model(saved[0], nc=3))
    (tmp_path / "text.pt2").write_text("text")
    assert not isinstance(source_of(str(tmp_path / "text.pt2")), ExportedPrograms)
    path = with_member(saved[0], tmp_path / "cut.pt2", "models/model.json", b"{}")
    with pytest.raises(UsageError, match=r"cut\.pt2: torch cannot read it: "):
        build_model(model(path))
