"""Names and paths become files, wherever the package lies; and the files we ship hold."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from detrbench.core.errors import UsageError
from detrbench.models import catalog
from detrbench.models.yaml_spec import load_model_spec

PROMISED = (
    "densenet",
    "mobilenetv1-x0.5",
    "mobilenetv2-x0.6",
    "rtdetr-l",
    "rtdetr-r18",
    "rtdetr-r34",
    "rtdetr-resnet101",
    "rtdetr-resnet50",
    "rtdetr-x",
    "shufflev1",
    "shufflev2",
    "shufflev2-se",
    "shufflev2-x0.5",
    "shufflev2-x1.5",
    "shufflev2-x2.0",
    "xception",
    *(f"yolov8{scale}" for scale in "nsmlx"),
    *(f"yolo11{scale}" for scale in "nsmlx"),
    *(f"yolov10{scale}" for scale in "nsmblx"),
)


def test_the_models_that_come_along() -> None:
    assert set(catalog.model_names()) >= set(PROMISED)


@pytest.mark.parametrize("name", catalog.model_names())
def test_a_name_finds_a_file_that_reads(name: str) -> None:
    spec = load_model_spec(catalog.find_model(name))
    assert spec.name == name
    assert spec.title != name
    assert spec.nc == 80
    assert spec.notes == ()
    assert spec.origin
    assert spec.params_nc80
    assert [row.stage for row in spec.rows][-1] == "decoder"
    assert len(spec.rows[-1].sources) == 3


def test_squeeze_and_excitation_costs_what_its_two_convolutions_cost() -> None:
    """Per unit of half width c, reduced to i = c // 16: c * i + i weights and biases, then back."""
    gates = 0
    for units, half in ((4, 58), (8, 116), (4, 232)):
        inner = half // 16
        gates += units * ((half * inner + inner) + (inner * half + half))
    plain, gated = (
        load_model_spec(catalog.find_model(name)).params_nc80 or 0
        for name in ("shufflev2", "shufflev2-se")
    )
    assert gated - plain == gates


@pytest.mark.parametrize("name", catalog.model_names())
def test_the_comment_of_every_row_gives_its_index(name: str) -> None:
    path = catalog.find_model(name)
    lines = path.read_text().splitlines()
    for row in load_model_spec(path).rows:
        comment = lines[row.line - 1].rpartition("  # ")[2]
        assert comment.startswith((f"{row.index}-P", f"{row.index}, ")), comment


def test_the_articles_figures_stand_in_the_files() -> None:
    settings = {"nc": 1, "fused": False, "convention": "thop", "imgsz": 640}
    printed = {"rtdetr-l": ("32.8M", "108.0", "11.6"), "shufflev2": ("19.2M", "62.9", "10.5")}
    for name, figures in printed.items():
        article = load_model_spec(catalog.find_model(name)).published[0]
        assert (article.params, article.gflops, article.latency_ms) == figures
        assert article.settings == settings


def test_light_backbones_share_the_neck_and_head_of_rtdetr_l() -> None:
    def head(name: str) -> list[tuple[object, ...]]:
        rows = load_model_spec(catalog.find_model(name)).rows
        return [(row.module, row.repeats, row.args) for row in rows if row.stage != "backbone"]

    light = [name for name in catalog.model_names() if not name.startswith(("rtdetr", "yolo"))]
    assert len(light) >= 10
    for name in light:
        assert head(name) == head("rtdetr-l")


def test_a_path_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine.yaml", "mine.yml", "plain"):
        (tmp_path / name).write_text("nc: 1\n")
        assert catalog.find_model(name) == Path(name)
        assert catalog.find_model(tmp_path / name) == tmp_path / name
    assert catalog.find_model(f".{os.sep}plain") == Path("plain")


def test_a_name_means_ours_even_beside_a_file_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rtdetr-l").write_text("nc: 1\n")
    assert catalog.find_model("rtdetr-l").parent == catalog.data_root("models")
    assert catalog.find_model("./rtdetr-l") == Path("rtdetr-l")


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("rtdert-l", "no model called 'rtdert-l'\n  did you mean rtdetr-l"),
        ("suffle", "did you mean shufflev2"),
        ("", "no model called ''"),
        ("?", "known: densenet, "),
        ("rtdetr-l.yaml", "no model file rtdetr-l.yaml\n  `rtdetr-l` alone names ours"),
        ("models/none.yaml", "no model file models/none.yaml\n  check the path"),
        ("a\0b.yaml", "no model file"),
    ],
)
def test_what_is_not_there_is_refused_with_a_suggestion(
    wanted: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        catalog.find_model(wanted)
    assert said in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_name_may_name_a_scale_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "yolov8-rtdetr.yaml").touch()
    assert catalog.find_model("yolov8n-rtdetr.yaml") == Path("yolov8-rtdetr.yaml")
    assert catalog.asked_scale("yolov8n-rtdetr.yaml", None) == "n"
    assert catalog.asked_scale("yolov8n-rtdetr.yaml", "n") == "n"
    assert catalog.asked_scale("yolov8-rtdetr.yaml", "s") == "s"
    assert catalog.asked_scale("rtdetr-l", None) is None
    with pytest.raises(UsageError, match=r"scale s is asked for, and .* is the scale n of"):
        catalog.asked_scale("yolov8n-rtdetr.yaml", "s")
    with pytest.raises(UsageError, match="no model file"):
        catalog.find_model("yolov8q-rtdetr.yaml")
    (tmp_path / "yolov8n-rtdetr.yaml").touch()  # then it is that file
    assert catalog.find_model("yolov8n-rtdetr.yaml") == Path("yolov8n-rtdetr.yaml")
    assert catalog.asked_scale("yolov8n-rtdetr.yaml", None) is None


def test_the_articles_suite_is_found() -> None:
    assert catalog.find_suite("article").name == "article.yaml"
    with pytest.raises(UsageError, match=r"no suite called 'artikel'\n  did you mean article"):
        catalog.find_suite("artikel")


def test_a_packed_data_folder_comes_before_the_checkout(tmp_path: Path) -> None:
    """The wheel's layout, by hand: catalog.py and errors.py in their rooms beside data/models."""
    package = tmp_path / "detrbench"
    (package / "data" / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    source = Path(catalog.__file__).parents[1]
    core = ("__init__", "errors", "visible")
    names = [f"core/{name}.py" for name in core]
    for name in ("models/__init__.py", "models/catalog.py", *names):
        (package / name).parent.mkdir(exist_ok=True)
        shutil.copy(source / name, package / name)
    (package / "data" / "models" / "packed.yaml").write_text("nc: 1\n")
    code = "from detrbench.models import catalog; print(*catalog.model_names())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == "packed"
