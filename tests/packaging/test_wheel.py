"""A wheel, installed elsewhere and run from another folder, brings its models along."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from detrbench.models import catalog

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Installed:
    """A fresh environment with the wheel in it, and an empty folder to stand in."""

    bin: Path
    site: Path
    folder: Path

    def run(self, command: str, *args: str) -> str:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        done = subprocess.run(
            [self.bin / command, *args],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def _do(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the source distribution, which must therefore be complete; fetches nothing."""
    folder = tmp_path_factory.mktemp("dist")
    _do(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel without its dependencies, which a path file borrows from the environment here."""
    base = tmp_path_factory.mktemp("elsewhere")
    _do(sys.executable, "-m", "venv", "--without-pip", base / "venv")
    scheme = {"base": str(base / "venv"), "platbase": str(base / "venv")}
    site = Path(sysconfig.get_path("purelib", vars=scheme))
    scripts = base / "venv" / ("Scripts" if os.name == "nt" else "bin")
    pip = (sys.executable, "-m", "pip", "--python", scripts / "python", "--quiet")
    _do(*pip, "install", "--no-deps", "--no-index", wheel)
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    folder = base / "folder"
    folder.mkdir()
    return Installed(scripts, site, folder)


def test_the_wheel_holds_one_package_and_its_data(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top.partition("-")[0] for top in tops} == {"detrbench"}, tops
    assert not [name for name in names if "peers" in name or ".venv" in name]
    for model in catalog.model_names():
        assert f"detrbench/data/models/{model}.yaml" in names
    for suite in catalog.data_root("benchmarks").glob("*.yaml"):
        assert f"detrbench/data/benchmarks/{suite.name}" in names
    for file in ("py.typed", "reports/report.schema.json", "cli/__init__.py", "__main__.py"):
        assert f"detrbench/{file}" in names
    for file in ("page.html.jinja", "page.css", "page.js"):
        assert f"detrbench/render/page/{file}" in names
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in names)


def test_models_come_from_the_installed_package(installed: Installed) -> None:
    code = (
        "from detrbench.models import catalog, yaml_spec\n"
        "print(catalog.data_root('models'))\n"
        "for name in catalog.model_names():\n"
        "    print(yaml_spec.load_model_spec(catalog.find_model(name)).name)\n"
    )
    root, *names = installed.run("python", "-c", code).splitlines()
    assert Path(root).resolve() == (installed.site / "detrbench" / "data" / "models").resolve()
    assert tuple(names) == catalog.model_names()


@pytest.mark.parametrize(
    "reference",
    ["torch.nn:Identity", "detrbench.experiments.guidelines.networks:G1_c1_4_c2_4_batch_1"],
)
def test_what_an_installed_callable_imports_is_not_followed(
    installed: Installed, reference: str
) -> None:
    """All of torch would take minutes to read, and its version says what it is."""
    code = (
        "from detrbench.models.model import Model\n"
        "from detrbench.models.sources import resolve\n"
        f"print(len(resolve(Model('m', {reference!r})).files))\n"
    )
    assert installed.run("python", "-c", code).strip() == "1"


def test_no_other_package_appears(installed: Installed) -> None:
    code = (
        "from importlib.util import find_spec\n"
        "print([name for name in ('models', 'benchmarks', 'tests') if find_spec(name)])\n"
    )
    assert installed.run("python", "-c", code).strip() == "[]"
    entries = {path.name for path in installed.site.iterdir()}
    assert not entries & {"models", "benchmarks", "tests"}


def test_a_page_is_made_from_the_installed_template(installed: Installed) -> None:
    page = installed.run("detrbench", "models", "--format", "html")
    assert page.startswith("<!DOCTYPE html>")
    assert "rtdetr-l" in page


def test_the_command_runs_from_another_folder(installed: Installed) -> None:
    listed = installed.run("detrbench", "models")
    for name in catalog.model_names():
        assert name in listed
    assert "profile" in installed.run("python", "-m", "detrbench", "--help")
    assert not list(installed.folder.iterdir()), "listing and helping leave nothing behind"
