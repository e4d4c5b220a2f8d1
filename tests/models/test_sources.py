"""Where models come from: what a reference is, what it is built of, and what is wrong with one."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from detrbench.core.errors import UsageError
from detrbench.counting.profiling import profile
from detrbench.models.builder import build
from detrbench.models.catalog import find_model
from detrbench.models.folding import unfolded
from detrbench.models.model import File, Model, hashed
from detrbench.models.sources import build_model, resolve, source_of
from detrbench.models.sources.built import Built, described
from detrbench.models.sources.callables import Callables
from detrbench.models.sources.modelfiles import ModelFiles

HEAD = """
import torch
from torch import nn
import widths


class Net(nn.Module):
    def __init__(self, nc=3):
        super().__init__()
        self.head = nn.Conv2d(3, widths.WIDTH + nc, 1)
        self.drop = nn.Dropout(0.5)

    def forward(self, images, *more):
        return self.drop(self.head(images)), *more


def build(nc=3):
    return Net(nc)


def bare():
    return Net()


def any_keywords(**keywords):
    return Net(**keywords)


def needs_a_size(size):
    return Net(size)


def with_images():
    return Net(), torch.zeros(2, 3, 32, 64)


def with_several():
    return Net(), (torch.zeros(2, 3, 32, 64), torch.ones(2, 5))


def with_none():
    return Net(), None


def late():
    import more_widths

    return nn.Conv2d(3, more_widths.WIDTH, 1)


def broken():
    raise ValueError("no such width")


def leaves():
    raise SystemExit(0)


class Zoo:
    small = staticmethod(bare)


VALUE = 1
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file of the user's own, in the folder that commands are given in."""
    (tmp_path / "mine.py").write_text(HEAD)
    (tmp_path / "widths.py").write_text("WIDTH = 4\n")
    (tmp_path / "more_widths.py").write_text("import widths\nWIDTH = 2 * widths.WIDTH\n")
    monkeypatch.chdir(tmp_path)
    return "./mine.py"


def model(reference: str, **values: object) -> Model:
    return Model(reference, reference, **values)  # type: ignore[arg-type]


def built(reference: str, **values: object) -> Built:
    return build_model(model(reference, **values))


# --- forms ---


@pytest.mark.parametrize(
    "reference",
    [
        "./my.py:build",
        "my.py:build",
        "/home/me/my models/my.py:Zoo.small",
        r"C:\models\my.py:build",
        "a:b/my.py:build",
        "package:build",
        "package.module:build",
        "package.module:Zoo.small",
        "_p1.größe:bäuen",
    ],
)
def test_callables(reference: str) -> None:
    assert isinstance(source_of(reference), Callables)


@pytest.mark.parametrize(
    "reference",
    [
        "rtdetr-l",
        "shufflev2-x0.5",
        "models/x.yaml",
        "./my.py",
        r"C:\x.yaml",
        "C:x.yaml",
        "a:b.yaml",
        "a:b.yml",
        "my.py:b.yaml",
        "./my.py:",
        ":build",
        "my.py:build()",
        "my.py:1st",
        "my.pyc:build",
        "models/x.yaml:build",
        "package/module:build",
        "package-name:build",
        "package:a:b",
        "",
    ],
)
def test_anything_else_names_a_file(reference: str) -> None:
    assert isinstance(source_of(reference), ModelFiles)


# --- what is said before anything is built ---


def test_a_reference_is_resolved_to_its_files(mine: str, tmp_path: Path) -> None:
    found = resolve(model(f"{mine}:build", nc=5, seed=3))
    assert (found.reference, found.nc, found.seed) == (f"{mine}:build", 5, 3)
    assert [Path(each.path).name for each in found.files] == [
        "mine.py",
        "widths.py",
        "more_widths.py",
    ]
    for each in found.files:
        assert each.sha256 == hashlib.sha256(Path(each.path).read_bytes()).hexdigest()
    (tmp_path / "more_widths.py").write_text("WIDTH = 1\n")
    assert resolve(model(f"{mine}:build")).files[:2] == found.files[:2]
    assert resolve(model(f"{mine}:build")).files[2] != found.files[2]


def test_a_module_of_a_package_is_resolved_to_its_files(mine: str, tmp_path: Path) -> None:
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "__init__.py").write_text("from .small import build\n")
    (tmp_path / "nets" / "small.py").write_text("from mine import build\n")
    names = ["small.py", "__init__.py", "mine.py", "widths.py", "more_widths.py"]
    found = resolve(model("nets.small:build"))
    assert sorted(Path(each.path).name for each in found.files) == sorted(names)
    assert isinstance(built("nets.small:build").module, nn.Module)
    assert isinstance(built("nets:build").module, nn.Module)
    assert isinstance(built("nets:small.build").module, nn.Module)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("biuld", r"mine\.py has no biuld\n.*did you mean build\?"),
        ("Zo.small", r"mine\.py has no Zo\n.*did you mean Zoo\?"),
        ("absent", r"mine\.py has no absent"),
    ],
)
def test_a_name_that_is_not_there(mine: str, name: str, part: str) -> None:
    with pytest.raises(UsageError, match=part) as caught:
        resolve(model(f"{mine}:{name}"))
    assert caught.value.where == f"{mine}:{name}"


@pytest.mark.parametrize(
    "text",
    [
        "def build(): ...",
        "class build: ...",
        "async def build(): ...",
        "build = 1",
        "build: int = 1",
        "a, (build, *b) = 1, (2, 3)",
        "if True:\n    from x import build",
        "try:\n    import x as build\nexcept ImportError:\n    build = None",
        "import build.inner",
        "from x import *",
        "for build in []: ...",
        "with x as build: ...",
        "(build := 1)",
        "globals().update(build=1)",
        "exec('build = 1')",
        "def __getattr__(name): ...",
    ],
)
def test_names_that_a_file_may_have(tmp_path: Path, text: str) -> None:
    """It is refused only where it plainly has none: what is refused here is never run."""
    (tmp_path / "any.py").write_text(text)
    resolve(model(f"{tmp_path}/any.py:build"))


@pytest.mark.parametrize(
    ("text", "part"),
    [(b"def build(:", r"not Python: .* \(line 1\)"), (b"build = 1\0", "null bytes|not Python")],
)
def test_a_file_that_is_no_python(tmp_path: Path, text: bytes, part: str) -> None:
    (tmp_path / "any.py").write_bytes(text)
    with pytest.raises(UsageError, match=part) as caught:
        resolve(model(f"{tmp_path}/any.py:build"))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("reference", "part"),
    [
        ("./absent.py:build", r"\./absent\.py: there is no such file"),
        ("absent.module:build", "there is no module absent.module"),
        ("rtdetr-1", "no model called 'rtdetr-1'\n.*did you mean .*rtdetr-l"),
        ("./absent.yaml", r"no model file \./absent\.yaml"),
        (".", "it is not a file|no model called"),
        ("/dev/zero", "it is a pipe, a device"),
    ],
)
def test_a_reference_that_leads_nowhere(mine: str, reference: str, part: str) -> None:
    with pytest.raises(UsageError, match=part):
        resolve(model(reference))


@pytest.mark.parametrize("key", ["blocks", "backbone_weights"])
def test_what_a_callable_cannot_have(mine: str, key: str) -> None:
    with pytest.raises(UsageError, match=rf"mine\.py:build takes no {key}: .*\n.*Leave it out"):
        resolve(model(f"{mine}:build", **{key: "widths.py"}))


def test_a_model_file_its_blocks_and_what_they_import_are_its_files(tmp_path: Path) -> None:
    """Also where the blocks are a link: their neighbours are beside the file itself."""
    (tmp_path / "blocks").mkdir()
    (tmp_path / "blocks" / "blocks.py").write_text("import widths\n")
    (tmp_path / "blocks" / "widths.py").write_text("")
    (tmp_path / "link.py").symlink_to(tmp_path / "blocks" / "blocks.py")
    (tmp_path / "weights.pt").write_bytes(b"weights")
    values = {"blocks": f"{tmp_path}/link.py", "backbone_weights": f"{tmp_path}/weights.pt"}
    found = resolve(model("rtdetr-l", **values))
    assert found.files[0] == File("models/rtdetr-l.yaml", hashed(find_model("rtdetr-l")).sha256)
    names = [Path(each.path).name for each in found.files[1:]]
    assert names == ["link.py", "widths.py", "weights.pt"]
    for key, flag in (("blocks", "--blocks"), ("backbone_weights", "--backbone-weights")):
        with pytest.raises(UsageError, match=f"{flag}: absent is not a file that can be read"):
            resolve(model("rtdetr-l", **{key: "absent"}))


def test_checking_a_reference_imports_no_torch_and_runs_nothing(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nets"):
        folder.mkdir(exist_ok=True)
        for name in ("__init__", "mine", "helper"):
            text = "import helper\ndef build(): ...\nraise SystemExit('I am run')\n"
            (folder / f"{name}.py").write_text(text)
    script = (
        "import sys, json; from detrbench.models.model import Model; "
        "from detrbench.models.sources import resolve; "
        "from detrbench.reports.parse_cases import make_cases; "
        "found = make_cases(['rtdetr-l', './mine.py:build', 'nets.mine:build', 'nets:build']); "
        "blocks = resolve(Model('b', 'rtdetr-l', blocks='./mine.py')); "
        "print(json.dumps([len(one.model.files) for one in found] + [len(blocks.files)])); "
        "sys.exit('torch' in sys.modules or 'helper' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [1, 2, 3, 2, 3]


# --- building ---


def test_what_a_callable_returns_is_built_for_evaluation(mine: str) -> None:
    made = built(f"{mine}:build")
    assert (made.title, made.nc, made.images) == (f"{mine}:build", None, None)
    assert not made.module.training
    assert not made.module.drop.training  # type: ignore[union-attr]
    assert isinstance(built(f"{mine}:Zoo.small").module, nn.Module)
    assert built(f"{mine}:Net", nc=7).nc == 7


def test_a_lazy_import_while_building_is_found(mine: str) -> None:
    layer = built(f"{mine}:late").module
    assert isinstance(layer, nn.Conv2d)
    assert layer.out_channels == 8


def test_the_class_count_is_given_to_what_takes_it(mine: str) -> None:
    for name in ("build", "Net", "any_keywords"):
        made = built(f"{mine}:{name}", nc=11)
        assert made.nc == 11
        assert made.module.head.out_channels == 15  # type: ignore[union-attr]
    with pytest.raises(
        UsageError, match=r"mine\.py:bare: it cannot be called so: .*'nc'\n.*Leave --nc out"
    ):
        built(f"{mine}:bare", nc=11)


def test_a_callable_that_needs_arguments_is_refused(mine: str) -> None:
    with pytest.raises(UsageError, match=r"missing a required argument: 'size'\n.*without arg"):
        built(f"{mine}:needs_a_size")


def test_the_seed_decides_the_weights_and_nothing_else(mine: str) -> None:
    def weights(seed: int) -> Tensor:
        found = built(f"{mine}:build", seed=seed).module.head.weight  # type: ignore[union-attr]
        assert isinstance(found, Tensor)
        return found

    before = torch.random.get_rng_state()
    first = weights(0)
    assert torch.equal(first, weights(0))
    assert not torch.equal(first, weights(1))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_file_that_draws_when_it_is_run_leaves_the_callers_numbers_alone(tmp_path: Path) -> None:
    (tmp_path / "any.py").write_text(
        "import torch\ntorch.manual_seed(5)\nbuild = lambda: torch.nn.Linear(2, 2)\n"
    )
    before = torch.random.get_rng_state()
    first = built(f"{tmp_path}/any.py:build").module.weight
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first, built(f"{tmp_path}/any.py:build").module.weight)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("broken", "calling it failed: ValueError: no such width"),
        ("leaves", "calling it failed: SystemExit: 0"),
        ("VALUE", "it is int, which cannot be called\n.*returns an nn.Module"),
        ("Zoo", r"it returned a Zoo, not an nn\.Module\n.*\(module, example inputs\)"),
        ("Zoo.smal", "there is no Zoo.smal"),
        ("widths", "it is module, which cannot be called"),
    ],
)
def test_a_callable_that_gives_no_model(mine: str, name: str, part: str) -> None:
    with pytest.raises(UsageError, match=part) as caught:
        built(f"{mine}:{name}")
    assert caught.value.where == f"{mine}:{name}"
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("None", "it returned a NoneType"),
        ("1", "it returned a int"),
        ("nn.ReLU", "it returned a type"),
        ("(nn.ReLU(), 1, 2)", "it returned a tuple"),
        ("[nn.ReLU(), None]", "it returned a list"),
        ("(torch.zeros(1, 3, 8, 8), nn.ReLU())", "it returned a Tensor"),
        ("(nn.ReLU(), 1)", r"no images \(B, C, H, W\)"),
        ("(nn.ReLU(), ())", r"no images \(B, C, H, W\)"),
        ("(nn.ReLU(), {'x': torch.zeros(3, 8, 8)})", r"no images \(B, C, H, W\)"),
        ("(nn.ReLU(), torch.zeros(3, 8, 8))", r"no images \(B, C, H, W\)"),
        (
            "(nn.ReLU(), torch.zeros(1, 3, 8, 8, dtype=torch.uint8))",
            "no images .* of floating point",
        ),
    ],
)
def test_what_is_no_module_with_images(tmp_path: Path, value: str, part: str) -> None:
    (tmp_path / "any.py").write_text(
        f"import torch\nfrom torch import nn\nbuild = lambda: {value}\n"
    )
    with pytest.raises(UsageError, match=part):
        built(f"{tmp_path}/any.py:build")


# --- example inputs ---


def test_images_that_come_with_a_module_are_those_it_is_run_on(mine: str) -> None:
    made = built(f"{mine}:with_images")
    assert made.images is not None
    assert made.images.shape == (2, 3, 32, 64)
    assert built(f"{mine}:with_none").images is None
    made.check_image_size((32, 64), 2)
    for imgsz, batch in (((64, 64), 2), ((32, 64), 1)):
        with pytest.raises(UsageError, match=r"are 2 of 32x64 .*\n.*--imgsz 32x64 --batch 2"):
            made.check_image_size(imgsz, batch)


def test_further_inputs_stay_as_they_are(mine: str) -> None:
    made = built(f"{mine}:with_several")
    assert made.images is not None
    first, second = made.module(made.images)
    assert first.shape == (2, 7, 32, 64)
    assert torch.equal(second, torch.ones(2, 5))
    assert not made.module.training
    assert second.to(torch.float16).dtype == made.module.half()(made.images.half())[1].dtype


# --- model files ---


def test_a_model_file_tells_what_it_knows() -> None:
    made = build_model(Model("rtdetr-l", "rtdetr-l", nc=3), "meta")
    assert made.detector is made.module
    assert made.nc == 3
    assert made.title == "RT-DETR-L, HGNetv2"
    assert made.published
    assert all(isinstance(figure["settings"], dict) for figure in made.published)
    assert next(made.module.parameters()).is_meta
    with pytest.raises(UsageError, match="multiples of 32"):
        made.check_image_size((64, 65), 1)


def test_blocks_may_import_while_they_are_made(tmp_path: Path) -> None:
    """Beside another folder's, which has a module of the same name."""
    for name, width in (("a", 8), ("b", 16)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "widths.py").write_text(f"WIDTH = {width}\n")
        (tmp_path / name / "blocks.py").write_text(
            "from torch import nn\n\n\nclass Mine(nn.Module):\n"
            "    def __init__(self, c1, c2):\n        super().__init__()\n"
            "        from widths import WIDTH as width\n"
            "        self.first, self.last = nn.Conv2d(c1, width, 1), nn.Conv2d(width, c2, 1)\n\n"
            "    def forward(self, x):\n        return self.last(self.first(x))\n"
        )
    lines = find_model("shufflev2").read_text().splitlines()
    own = ["  - [-1, 1, Mine, [256]]  # 11" if "# 11-" in line else line for line in lines]
    file = tmp_path / "mine.yaml"
    file.write_text("\n".join(line for line in own if "params: 19483888" not in line) + "\n")
    for name, width in (("a", 8), ("b", 16), ("a", 8)):
        made = build_model(Model(name, str(file), blocks=f"{tmp_path}/{name}/blocks.py"), "meta")
        assert made.module.model[11].first.out_channels == width  # type: ignore[index, union-attr]


# --- modules of anybody's ---


class Foreign(nn.Module):
    """Has attributes that are called like ours and mean something else."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList([nn.Conv2d(3, 3, 1)])
        self.spec = {"depth": 1}
        self.stride = torch.tensor([8, 16, 32])

    def check_image_size(self, images: Tensor) -> Tensor:
        return images

    def forward(self, images: Tensor) -> object:
        return self.stages[0](images)


def test_a_module_of_anybodys_is_not_read_as_ours() -> None:
    made = described(Foreign(), "foreign")
    assert (made.detector, made.title, made.nc, made.published) == (None, "foreign", None, ())
    made.check_image_size((33, 35), 1)
    ours = described(build("shufflev2-x0.5", nc=3, device="meta"), "mine")
    assert (ours.title, ours.nc) == ("RT-DETR-L, ShuffleNetV2 0.5x", 3)


def test_a_module_without_fuse_says_so() -> None:
    with pytest.raises(
        UsageError, match=r"a Foreign cannot be fused: .*`fuse`, .*\n.*NAME@fused=false"
    ):
        described(Foreign(), "foreign").fused()


class Normed(nn.Module):
    """A convolution that feeds a batch norm alone, and one that does not."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)
        self.second, self.left = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)
        for each in (self.norm, self.left):
            nn.init.uniform_(each.running_mean)
            nn.init.uniform_(each.running_var, 0.5, 2)

    def forward(self, images: Tensor, scale: float = 1.0) -> Tensor:
        made = self.second(self.norm(self.first(images)).relu())
        return (self.left(made) + made) * scale


class Deployable(Normed):
    def switch_to_deploy(self) -> None:
        self.first = nn.utils.fusion.fuse_conv_bn_eval(self.first, self.norm)
        self.norm = nn.Identity()  # type: ignore[assignment]


IMAGES = torch.zeros(1, 3, 16, 16)


@pytest.mark.parametrize(
    "made",
    [Normed(), (Normed(), IMAGES), (Normed(), (IMAGES, 2.0)), Deployable(), (Deployable(), IMAGES)],
    ids=["module", "with images", "with more inputs", "deploys", "deploys, with images"],
)
def test_any_module_is_fused_where_a_convolution_alone_feeds_a_norm(made: object) -> None:
    """Whether it comes in training mode, as a new module does, or not."""
    built = described(made, "any")
    module, images = copy.deepcopy(built.module).eval(), torch.rand(1, 3, 16, 16)
    fused = built.fused()
    norms = [path for path, each in fused.module.named_modules() if type(each) is nn.BatchNorm2d]
    assert [path.rpartition(".")[2] for path in norms] == ["left"]
    torch.testing.assert_close(fused.module(images), module(images), rtol=1e-4, atol=1e-4)
    assert fused.notes[-1].startswith("fusing left 1 batch norm as they were, in ")


@dataclasses.dataclass
class Returned:
    maps: object
    count: int = 1


@pytest.mark.parametrize(
    "returns",
    [
        lambda made: Returned(made),
        lambda made: {"maps": made, "count": 1, "name": None},
        lambda made: made > 0,
        lambda made: made[:0],
        lambda made: made - torch.inf,
        lambda made: made + torch.rand(1),
    ],
    ids=["dataclass", "not tensors alone", "flags", "empty", "infinite", "by chance"],
)
def test_whatever_a_module_returns_is_compared(returns: Callable[[Tensor], object]) -> None:
    class Returns(Normed):
        def forward(self, images: Tensor, scale: float = 1.0) -> Any:
            return returns(super().forward(images, scale))

    assert unfolded(described(Returns(), "any").fused().module) == ["left"]


def test_a_map_returned_in_a_dataclass_is_left() -> None:
    class Returns(Normed):
        def forward(self, images: Tensor, scale: float = 1.0) -> Any:
            made = self.first(images)
            return Returned((made, self.norm(made)))

    with pytest.raises(UsageError, match="cannot be fused"):
        described(Returns(), "any").fused()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_compared_as_it_rounds(dtype: torch.dtype) -> None:
    module = torchvision.models.resnet18().to(dtype)
    assert unfolded(described(module, "any").fused().module) == []


def test_a_fuse_that_wants_arguments_or_is_a_layer_folds_nothing() -> None:
    class Joins(Normed):
        def fuse(self, first: Tensor, second: Tensor) -> Tensor:
            return first + second

    class Layered(Normed):
        def __init__(self) -> None:
            super().__init__()
            self.fuse = nn.Conv2d(8, 8, 1)

    for module in (Joins(), Layered()):
        assert unfolded(described(module, "any").fused().module) == ["left"]


def test_what_fuse_returns_stands_in_its_place() -> None:
    """As in LeViT, RepViT and their like."""

    class Normalised(nn.Sequential):
        def fuse(self) -> nn.Module:
            first, second = self
            return nn.utils.fusion.fuse_conv_bn_eval(first, second)

    module = nn.Sequential(Normalised(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), nn.ReLU())
    fused = described(module, "any").fused()
    assert [type(each) for each in fused.module] == [nn.Conv2d, nn.ReLU]  # type: ignore[attr-defined]
    assert not fused.notes


def test_images_of_the_size_that_is_asked_for_are_tried() -> None:
    def module() -> nn.Module:
        conv, norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
        return nn.Sequential(conv, norm, nn.Flatten(), nn.Linear(4 * 32 * 48, 2))

    assert unfolded(described(module(), "any").fused((32, 48)).module) == []
    with pytest.raises(UsageError, match=r"shape \(1, 3, 640, 640\)[\s\S]*Give --imgsz, or return"):
        described(module(), "any").fused()


def test_what_a_module_keeps_of_being_fused_is_gone() -> None:
    """Else what is counted then is of images of other sizes."""

    class Keeps(Normed):
        def __init__(self) -> None:
            super().__init__()
            self.code: Tensor | None = None
            self.codes: dict[str, Tensor] = {}
            self.seen: list[Tensor] = []

        def forward(self, images: Tensor, scale: float = 1.0) -> Tensor:
            maps = super().forward(images, scale)
            if self.code is None:
                self.code = torch.ones_like(maps)
            self.seen.append(maps)
            return maps + self.code + self.codes.setdefault("one", torch.ones_like(maps))

    fused: Any = described(Keeps(), "any").fused().module
    assert unfolded(fused) == ["left"]
    assert (fused.code, fused.codes, fused.seen) == (None, {}, [])


def test_a_module_that_cannot_be_copied_is_not_fused() -> None:
    module = Normed()
    module.lock = threading.Lock()  # type: ignore[assignment]
    with pytest.raises(UsageError, match=r"mine: .*cannot be copied: TypeError[\s\S]*--fuse out"):
        profile({"mine": module}, imgsz=32, fuse=True)


def test_norms_of_another_class_are_named() -> None:
    class WithActivation(nn.BatchNorm2d):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input).relu()

    module = nn.Sequential(nn.Conv2d(3, 4, 1), WithActivation(4), nn.BatchNorm2d(4))
    with pytest.raises(UsageError, match="torch's own, not a WithActivation"):
        described(module, "any").fused()


def test_torchvisions_models_are_fused() -> None:
    """A ResNet-18 has twenty batch norms, of 4,800 channels in all, and none is left: the two
    parameters of each channel become the bias of its convolution."""
    resnet = "torchvision.models:resnet18"
    built, fused = profile([f"{resnet}@fused=false", resnet], imgsz=224, fuse=True).rows
    assert built.metrics["params"] - fused.metrics["params"] == 4_800
    assert built.metrics["flops"] == fused.metrics["flops"]
    assert not fused.notes


class Fusible(nn.Module):
    def __init__(self, result: object = None) -> None:
        super().__init__()
        self.result = [result]
        self.layer = nn.Conv2d(3, 3, 1)

    def fuse(self) -> object:
        (result,) = self.result
        if isinstance(result, BaseException):
            raise result
        self.folded = True
        return result


def test_a_module_is_fused_by_its_own_method() -> None:
    other = nn.ReLU()
    assert described(Fusible(other), "any").fused().module is other
    assert not other.training
    for result in (None, 3):
        module = Fusible(result)
        assert described(module, "any").fused().module is module
        assert module.folded
    with pytest.raises(UsageError, match="any: fusing it failed: KeyError: 'bn'"):
        described(Fusible(KeyError("bn")), "any").fused()
    with pytest.raises(UsageError, match="any: fusing it failed: SystemExit: 3"):
        described(Fusible(SystemExit(3)), "any").fused()
