"""The real counters say who they are, and leave the model alone."""

from __future__ import annotations

import base64
import hashlib
import importlib
import logging
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from detrbench.counting.installed_counters import (
    COUNTERS,
    Counted,
    CounterMissing,
    owner,
    run_counter,
)


def test_torch_counts_two_per_multiply_accumulate() -> None:
    counted = run_counter("torch", nn.Conv2d(3, 4, 1, bias=False), (8, 8))
    assert counted == Counted("torch", f"torch {torch.__version__}", 2 * 8 * 8 * 3 * 4)


def test_a_view_of_a_parameter_may_be_given_to_a_module() -> None:
    """As pooling by attention does; torch's counter would hook the view's gradient and fail."""

    class Query(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.learned = nn.Parameter(torch.ones(1, 3))
            self.linear = nn.Linear(3, 2)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.linear(self.learned.expand(len(images), -1))
            return out

    model = Query()
    assert run_counter("torch", model, (8, 8)).flops == 2 * 3 * 2
    assert model.learned.requires_grad


@pytest.mark.parametrize("name", list(COUNTERS))
def test_the_model_is_left_alone(name: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    try:
        run_counter(name, model, (8, 8))
    except CounterMissing as missing:
        pytest.skip(str(missing))
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before)
    assert model.training
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize("name", ["thop", "fvcore"])
def test_what_a_counter_is_told_to_keep_quiet_is_forgotten(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    speaker = logging.getLogger(name)
    monkeypatch.setattr(speaker, "level", logging.INFO)
    try:
        run_counter(name, nn.Conv2d(3, 4, 1), (8, 8))
    except CounterMissing as missing:
        pytest.skip(str(missing))
    assert speaker.level == logging.INFO


def install(site: Path, distribution: str, version: str, content: str, *, last: bool) -> None:
    """A distribution that claims the import name `thop`; the one installed last owns the file."""
    package, info = site / "thop", site / f"{distribution.replace('-', '_')}-{version}.dist-info"
    package.mkdir(exist_ok=True, parents=True)
    info.mkdir()
    if last:
        (package / "profile.py").write_text(content)
        (package / "__init__.py").write_text("from thop.profile import profile\n")
    digest = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest())
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
    )
    (info / "RECORD").write_text(
        f"thop/profile.py,sha256={digest.rstrip(b'=').decode()},{len(content)}\n"
        f"thop/__init__.py,,\n{info.name}/METADATA,,\n{info.name}/RECORD,,\n"
    )
    (info / "top_level.txt").write_text("thop\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site folder in front of the real one, in which the real thop does not exist."""
    for name in [n for n in sys.modules if n.partition(".")[0] == "thop"]:
        monkeypatch.delitem(sys.modules, name)
    own = [entry for entry in sys.path if not (Path(entry) / "thop").is_dir()]
    monkeypatch.setattr(sys, "path", [str(tmp_path), *own])
    importlib.invalidate_caches()
    return tmp_path


THOP = "def profile(model, inputs, verbose):\n    return 21.0, 0\n"
OTHER = "def profile(model, inputs, verbose):\n    return 42.0, 0\n"


@pytest.mark.parametrize("winner", ["thop", "ultralytics-thop"])
def test_of_two_distributions_the_one_whose_file_lies_there_answers(
    site: Path, winner: str
) -> None:
    install(site, "thop", "0.1.1", THOP, last=winner == "thop")
    install(site, "ultralytics-thop", "2.2.3", OTHER, last=winner == "ultralytics-thop")
    assert owner("thop").name == winner
    version, flops = {"thop": ("0.1.1", 42), "ultralytics-thop": ("2.2.3", 84)}[winner]
    counted = run_counter("thop", nn.Conv2d(3, 4, 1), (8, 8))
    assert counted == Counted(winner, f"{winner} {version}", flops)


def test_one_is_never_printed_as_the_other(site: Path) -> None:
    install(site, "ultralytics-thop", "2.2.3", OTHER, last=True)
    counted = run_counter("thop", nn.Conv2d(3, 4, 1), (8, 8))
    assert counted.convention == "ultralytics-thop"


def test_files_that_nobody_recorded_are_nobodys(site: Path) -> None:
    install(site, "thop", "0.1.1", THOP, last=True)
    install(site, "ultralytics-thop", "2.2.3", OTHER, last=False)
    (site / "thop" / "profile.py").write_text("# edited by hand\n" + THOP)
    with pytest.raises(CounterMissing, match="thop and ultralytics-thop"):
        owner("thop")


def test_a_counter_that_is_not_installed_names_the_cure(site: Path) -> None:
    with pytest.raises(CounterMissing, match=r"detrbench\[counters\]") as caught:
        run_counter("thop", nn.Conv2d(3, 4, 1), (8, 8))
    assert caught.value.exit_code == 2


def test_a_counter_that_needs_distutils_names_the_cure(site: Path) -> None:
    missing = "raise ModuleNotFoundError(\"No module named 'distutils'\", name='distutils')\n"
    install(site, "thop", "0.1.1", missing, last=True)
    with pytest.raises(CounterMissing, match="pip install setuptools"):
        run_counter("thop", nn.Conv2d(3, 4, 1), (8, 8))
