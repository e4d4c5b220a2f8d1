"""Profiles of whole models as Reports."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Literal

import jsonschema
import pytest
import torch
import torch.fx.experimental.symbolic_shapes  # or each copy of the process would import it
from torch import nn

import detrbench
from detrbench import Report
from detrbench.compare.gate import gate
from detrbench.compare.gate.outcomes import Outcome
from detrbench.compare.gate.policy import Policy
from detrbench.core.errors import UsageError
from detrbench.counting import profiling, tracing
from detrbench.models import builder
from detrbench.models.catalog import find_model
from detrbench.models.model import Model
from detrbench.models.sources import build_model
from detrbench.render import render

PROMISED = {
    "params",
    "macs",
    "flops",
    "flops_thop",
    "flops_ultralytics_thop",
    "flops_fvcore",
    "flops_torch",
    "memory_access_elements",
    "traffic_eager_bytes",
    "traffic_fused_bytes",
    "traffic_min_bytes",
    "peak_activation_bytes",
    "kernels",
    "elementwise_flops",
}


@pytest.fixture(scope="module")
def article() -> Report:
    return detrbench.profile(["rtdetr-l", "shufflev2"], nc=1, convention="thop", by="stage")


def test_a_report_holds_every_metric_and_the_settings(article: Report) -> None:
    assert [row.model for row in article.rows] == ["rtdetr-l", "shufflev2"]
    for row in article.rows:
        assert row.status == "ok"
        assert row.metrics.keys() >= PROMISED
        assert row.settings == {
            "imgsz": "640x640",
            "batch": 1,
            "nc": 1,
            "fused": False,
            "convention": "thop",
        }
    assert [row.metrics["params"] for row in article.rows] == [32_808_131, 19_321_543]


def test_a_report_fits_its_schema_and_reads_back(article: Report) -> None:
    schema = json.loads(
        resources.files("detrbench.reports").joinpath("report.schema.json").read_text()
    )
    jsonschema.validate(json.loads(article.to_json()), schema)
    assert Report.from_json(article.to_json()) == article


def test_stages_add_up(article: Report) -> None:
    for row in article.rows:
        assert [part["part"] for part in row.parts["stage"]] == ["backbone", "neck", "decoder"]
        for key in PROMISED - {"peak_activation_bytes"}:
            assert sum(part[key] for part in row.parts["stage"]) == row.metrics[key], key


def test_published_figures_stand_beside_ours_at_their_settings() -> None:
    report = detrbench.profile(["shufflev2"], fuse=True, imgsz=320)
    (figure,) = report.rows[0].published
    assert (figure["params"], figure["gflops"]) == ("19.2M", "62.9")
    assert figure["settings"]["convention"] == "thop"
    assert figure["ours"]["params"] == 19_321_543
    assert figure["ours"]["flops_thop"] == 62_839_392_000
    assert report.rows[0].metrics["params"] < 19_321_543  # this row is fused, at nc=80


def test_non_square_images_and_batches() -> None:
    (row,) = detrbench.profile(["shufflev2-x0.5"], imgsz=(480, 640), batch=2).rows
    assert row.settings["imgsz"] == "480x640"
    assert row.settings["batch"] == 2


def test_what_cannot_be_used_is_refused(tmp_path: Path) -> None:
    for wrong in ({"imgsz": 650}, {"batch": 0}, {"nc": 0}, {"convention": "thopp"}):
        with pytest.raises(UsageError):
            detrbench.profile(["shufflev2"], **wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="did you mean"):
        detrbench.profile(["shuflev2"])


def own_model(folder: Path, body: str) -> tuple[Path, Path]:
    """shufflev2 with a block of the user's own in place of its lateral convolution."""
    blocks = folder / "my_blocks.py"
    blocks.write_text(
        "import torch\nfrom torch import nn\n\n\nclass Mine(nn.Module):\n"
        "    def __init__(self, c1, c2):\n        super().__init__()\n"
        f"        self.conv = nn.Conv2d(c1, c2, 1)\n\n    def forward(self, x):\n        {body}\n"
    )
    lines = find_model("shufflev2").read_text().splitlines()
    lines = [
        "  - [-1, 1, Mine, [256]]  # 11" if "# 11-" in line else line
        for line in lines
        if "params: 19483888" not in line
    ]
    model = folder / "mine.yaml"
    model.write_text("\n".join(lines) + "\n")
    return model, blocks


def test_a_block_of_the_users_own(tmp_path: Path) -> None:
    model, blocks = own_model(tmp_path, "return self.conv(x)")
    (row,) = detrbench.profile([model], nc=1, blocks=blocks).rows
    assert row.model == str(model)
    assert row.metrics["params"] == 19_321_543 - 2 * 256 + 256  # a bias, no batch norm


FACTORY = """\
'''A detector written in Python, as people have it: a factory that returns an nn.Module.'''

import torchvision
from torch import nn


class Det(nn.Module):
    def __init__(self, nc=80):
        super().__init__()
        layers = torchvision.models.resnet18(weights=None)
        self.body = nn.Sequential(*list(layers.children())[:-2])
        self.head = nn.Conv2d(512, nc + 4, 1)

    def forward(self, x):
        return self.head(self.body(x))


def build(nc=80):
    return Det(nc)


def with_images():
    import torch

    return Det(), torch.zeros(2, 3, 64, 96)
"""
FACTORY_FLOPS = 29_643_571_200
PER_CLASS = 2 * 512 * 20 * 20


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_model.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    return "./my_model.py"


def test_a_callable_stands_beside_a_model_file(factory: str) -> None:
    report = detrbench.profile([f"{factory}:build", "rtdetr-l"])
    mine, ours = report.rows
    assert (mine.model, mine.title) == (f"{factory}:build", f"{factory}:build")
    assert mine.metrics["flops"] == FACTORY_FLOPS
    assert mine.settings["nc"] is None, "how many it has by itself is not known"
    assert ours.settings["nc"] == 80
    assert mine.case is not None
    assert [file.path for file in mine.case.model.files] == ["my_model.py"]


def test_a_callable_is_given_the_classes_asked_for(factory: str) -> None:
    report = detrbench.profile([f"{factory}:build", f"{factory}:Det@nc=7", "rtdetr-l"], nc=1)
    assert [row.settings["nc"] for row in report.rows] == [1, 7, 1]
    flops = [row.metrics["flops"] for row in report.rows]
    assert flops[:2] == [FACTORY_FLOPS - 79 * PER_CLASS, FACTORY_FLOPS - 73 * PER_CLASS]
    assert report.rows[2].metrics["params"] == 32_808_131


def test_a_module_is_counted_as_what_makes_it(factory: str) -> None:
    module = build_model(Model("mine", f"{factory}:build")).module.train()
    weights = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    for models in ([module], module):
        (row,) = detrbench.profile(models).rows  # type: ignore[arg-type]
        assert (row.model, row.metrics["flops"]) == ("Det", FACTORY_FLOPS)
    (fused,) = detrbench.profile([module], fuse=True).rows
    assert fused.metrics["params"] == row.metrics["params"] - 4_800  # channels of 20 batch norms
    assert module.training
    assert all(torch.equal(weights[name], each) for name, each in module.state_dict().items())


class Foreign(nn.Module):
    """Has attributes that are called like a detector's and mean something else."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList([nn.Conv2d(3, 4, 1)])
        self.spec, self.stride = {"depth": 1}, torch.tensor([8, 16, 32])

    def check_image_size(self, images: torch.Tensor) -> None:
        raise AssertionError("not ours to call")

    def forward(self, images: torch.Tensor) -> object:
        return self.stages[0](images)


def test_a_modules_own_attributes_are_not_read_as_ours() -> None:
    (row,) = detrbench.profile([Foreign()], imgsz=33, by="stage").rows
    assert (row.model, row.title, row.metrics["macs"]) == ("Foreign", "Foreign", 33 * 33 * 3 * 4)
    assert [part["part"] for part in row.parts["stage"]] == ["stages"]


def test_a_callables_own_images_are_the_only_ones(factory: str) -> None:
    (row,) = detrbench.profile([f"{factory}:with_images"], imgsz=(64, 96), batch=2).rows
    assert row.settings["batch"] == 2
    (plain,) = detrbench.profile([f"{factory}:build"], imgsz=(64, 96), batch=2).rows
    assert row.metrics == plain.metrics
    with pytest.raises(UsageError, match=r"2 of 64x96 .*\n.*--imgsz 64x96 --batch 2"):
        detrbench.profile([f"{factory}:with_images"])


def test_several_values_are_several_cases(factory: str) -> None:
    report = detrbench.profile([f"{factory}:build"], imgsz=[320, 640], batch=[1, 2])
    sizes = [(row.settings["imgsz"], row.settings["batch"]) for row in report.rows]
    assert sizes == [("320x320", 1), ("320x320", 2), ("640x640", 1), ("640x640", 2)]
    quarter = FACTORY_FLOPS // 4
    assert [row.metrics["flops"] for row in report.rows] == [
        quarter, 2 * quarter, FACTORY_FLOPS, 2 * FACTORY_FLOPS,
    ]  # fmt: skip


def test_cases_that_cost_the_same_are_counted_once(factory: str) -> None:
    (row,) = detrbench.profile([f"{factory}:build"], dtype=["float32", "float16"], threads=2).rows
    assert row.settings.keys() == {"imgsz", "batch", "nc", "fused", "convention"}


def test_an_operator_without_a_formula_is_said(tmp_path: Path) -> None:
    model, blocks = own_model(tmp_path, "return torch.special.i0e(self.conv(x))")
    report = detrbench.profile([model], blocks=blocks)
    (row,) = report.rows
    assert row.status == "partial"
    assert "no formula for aten.special_i0e: 1 of" in (row.reason or "")
    assert report.exit_code == 4
    for format in ("table", "markdown", "csv", "latex", "html", "json"):
        text = render(report, format)
        assert "partial" in text, format
        assert "special" in text, format


def test_no_limit_is_passed_by_a_figure_that_is_not_whole(tmp_path: Path) -> None:
    model, blocks = own_model(tmp_path, "return torch.special.i0e(self.conv(x))")
    report = detrbench.profile([model], blocks=blocks)
    result = gate(report, None, Policy(max={"flops": 1e15}))
    assert result.outcome is Outcome.INVALID


def test_a_model_that_cannot_be_traced_is_a_row_with_the_reason(tmp_path: Path) -> None:
    body = "assert x.shape[-1] != 4, 'four is bad'; return self.conv(x)"
    model, blocks = own_model(tmp_path, body)
    report = detrbench.profile([model, "shufflev2-x0.5"], imgsz=64, blocks=blocks)
    failed, fine = report.rows
    assert (failed.status, fine.status) == ("failed", "ok")
    assert "four is bad. Check that" in (failed.reason or "")
    assert "\n" not in (failed.reason or "")
    assert report.exit_code == 4


@pytest.mark.parametrize(
    "values",
    ["y[y > 0].mean()", "float(y.sum())", "(y if y.sum() > 0 else -y)", "len(y.nonzero())"],
)
def test_a_forward_that_reads_values_is_explained(tmp_path: Path, values: str) -> None:
    """Seen by the dry run it is the file's mistake; at the asked size only, a partial row."""
    model, blocks = own_model(tmp_path, f"y = self.conv(x); return y + {values}")
    with pytest.raises(UsageError, match=r"row 11 .*: Mine\)") as caught:
        detrbench.profile([model], imgsz=64, blocks=blocks)
    assert "forward must not read values" in str(caught.value)
    body = f"y = self.conv(x); return y + {values} if y.shape[-1] == 4 else y"
    model, blocks = own_model(tmp_path, body)
    (row,) = detrbench.profile([model], imgsz=64, blocks=blocks).rows
    assert row.status == "partial"
    told = "in model.11 on, what is done depends on the values of the images: it is not in the"
    assert told in (row.reason or "")
    assert (row.metrics["flops"] or 0) > 0, "what comes before is counted"


def test_a_model_that_fails_only_at_its_published_size_is_a_row_with_the_reason(
    tmp_path: Path,
) -> None:
    body = "assert x.shape[-1] != 20, 'twenty is bad'; return self.conv(x)"
    model, blocks = own_model(tmp_path, body)
    model.write_text(model.read_text().replace("imgsz: 640", "imgsz: 320"))
    report = detrbench.profile([model, "shufflev2-x0.5"], imgsz=64, blocks=blocks)
    assert [row.status for row in report.rows] == ["failed", "ok"]
    assert "twenty is bad" in (report.rows[0].reason or "")
    assert "(1, 3, 320, 320)" in (report.rows[0].reason or "")


@pytest.mark.parametrize("by", ["module", "op"])
def test_other_parts_add_up(by: Literal["module", "op"]) -> None:
    (row,) = detrbench.profile(["shufflev2"], nc=1, imgsz=160, by=by).rows
    for key in PROMISED - {"peak_activation_bytes"}:
        assert sum(part[key] for part in row.parts[by]) == row.metrics[key], key


def test_every_published_figure_has_ours() -> None:
    (row,) = detrbench.profile(["rtdetr-l"], nc=80, imgsz=640).rows
    assert row.published
    for figure in row.published:
        assert figure["ours"].keys() == row.metrics.keys()
    by_nc = {figure["settings"].get("nc"): figure["ours"]["params"] for figure in row.published}
    assert by_nc[1] == 32_808_131


@pytest.mark.parametrize("imgsz", [160, 640])
@pytest.mark.parametrize("name", ["rtdetr-l", "shufflev2"])
def test_class_counts_share_a_trace_and_no_digit_differs(
    name: str, imgsz: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (alone,) = detrbench.profile([name], nc=1, imgsz=640).rows
    draws: list[object] = []
    draw = builder._draw
    monkeypatch.setattr(builder, "_draw", lambda *given: draws.append(given) or draw(*given))
    for module in (profiling, tracing):
        monkeypatch.setattr(module, "trace", None)  # of whole models
    (row,) = detrbench.profile([name], imgsz=imgsz).rows
    assert len(draws) == 1
    (ours,) = [f["ours"] for f in row.published if f["settings"]["nc"] == 1]
    assert ours == alone.metrics != row.metrics


def test_rows_that_depend_on_the_classes_are_not_shared(tmp_path: Path) -> None:
    lines = find_model("shufflev2").read_text().splitlines()
    model = tmp_path / "mine.yaml"
    rows = ["  - [-1, 1, Conv, [nc]]" if "# 11-" in line else line for line in lines]
    model.write_text("\n".join(rows) + "\n")
    (row,) = detrbench.profile([model], imgsz=64, nc=16).rows
    (alone,) = detrbench.profile([model], imgsz=640, nc=1).rows
    assert [figure["ours"] for figure in row.published] == [alone.metrics]


def test_profiling_imports_neither_the_compiler_nor_sympy() -> None:
    code = (
        "import sys, detrbench\n"
        "detrbench.profile(['rtdetr-l', 'shufflev2-se'])\n"
        "detrbench.profile(['rtdetr-l', 'shufflev2-se'], fuse=True)\n"
        "print([m for m in ('sympy', 'torch._dynamo', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
