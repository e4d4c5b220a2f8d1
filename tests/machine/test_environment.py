"""What is read of a machine, and what makes two of them differ."""

from __future__ import annotations

import dataclasses
import getpass
import json
import platform
import subprocess
import sys
from pathlib import Path

from detrbench.machine.environment import Environment, git_revision, processor_model


def test_reading_needs_no_torch_unless_a_device_is_named() -> None:
    code = (
        "import sys; from detrbench.machine.environment import Environment; e = Environment.read();"
        "assert e.torch and e.python and e.platform; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_device_adds_what_torch_knows() -> None:
    facts = Environment.read("cpu").to_dict()
    assert facts["threads"] >= 1
    assert "matmul_precision" in facts["flags"]
    assert "accelerator" not in facts


def test_plain_data_round_trips_and_goes_into_json() -> None:
    here = Environment.read("cpu")
    plain = json.loads(json.dumps(here.to_dict(), allow_nan=False))
    assert Environment.from_dict({**plain, "from_the_future": 1}) == here


def test_no_user_or_host_is_named() -> None:
    values = json.dumps(Environment.read("cpu").to_dict()).lower()
    host = platform.node().lower()
    if len(host) > 3:
        assert host not in values
    user = getpass.getuser().lower()
    if len(user) > 4:
        assert user not in values


def test_differences_name_both_values_and_forgive_the_load() -> None:
    here = Environment(torch="2.6.0", threads=2, load_average=0.1)
    there = dataclasses.replace(here, torch="2.14.1", load_average=9.0)
    assert here.differences(there) == {"torch": ("2.6.0", "2.14.1")}
    assert here.differences(here) == {}


def test_one_line() -> None:
    line = Environment(processor="AMD EPYC", logical_cpus=8, cpu_quota=1.5, threads=1).one_line()
    assert line == "AMD EPYC, 8 CPUs, quota 1.5, 1 thread"
    assert Environment().one_line() == ""


def test_processor_model(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nmodel name\t: AMD EPYC 7B13\n", encoding="utf-8")
    assert processor_model(file) == "AMD EPYC 7B13"
    assert processor_model(tmp_path / "none")  # the architecture at least


def test_git_revision_says_when_files_differ(tmp_path: Path) -> None:
    assert git_revision(tmp_path) is None
    author = ["-c", "user.name=x", "-c", "user.email=x@example.org"]

    def git(*words: str) -> None:
        subprocess.run(["git", *author, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    (tmp_path / "a").write_text("1", encoding="utf-8")
    git("add", "a")
    git("commit", "-m", "a")
    clean = git_revision(tmp_path)
    assert clean is not None
    assert len(clean) == 12
    (tmp_path / "a").write_text("2", encoding="utf-8")
    assert git_revision(tmp_path) == f"{clean}-dirty"
