"""What is read of a machine, and what makes two of them differ."""

from __future__ import annotations

import dataclasses
import getpass
import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from detrbench.machine.environment import VOLATILE, Environment, git_revision, processor_model


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


HERE = Environment(
    detrbench="0.1.0",
    python="CPython 3.11.7",
    torch="2.14.1",
    processor="AMD EPYC",
    platform="Linux 6.18.44-fc-v657 x86_64",
    logical_cpus=2,
    cpu_quota=1.5,
    threads=2,
    memory_bytes=25_276_502_016,
    accelerator="H100",
    accelerator_driver="570.1",
    torch_cuda="13.0",
    accelerator_memory_bytes=80 * 10**9,
    cudnn=91002,
    flags={"deterministic": False},
    load_average=0.1,
    revision="a",
)

JUDGED: dict[str, tuple[object, object]] = {
    "detrbench": ("0.1.0", "0.2.0"),
    "python": ("CPython 3.11.7", "CPython 3.12.7"),
    "torch": ("2.14.1", "2.14.2"),
    "platform": ("Linux 6.18.44-fc-v657 x86_64", "Linux 6.18.44-fc-v657 aarch64"),
    "processor": ("AMD EPYC", "Xeon"),
    "logical_cpus": (2, 4),
    "cpu_quota": (1.5, 2.0),
    "threads": (2, 1),
    "memory_bytes": (25_276_502_016, 20 * 10**9),
    "accelerator": ("H100", "H200"),
    "accelerator_driver": ("570.1", "570.2"),
    "torch_cuda": ("13.0", "12.9"),
    "accelerator_memory_bytes": (80 * 10**9, 40 * 10**9),
    "cudnn": (91002, 91003),
    "flags": ({"deterministic": False}, {"deterministic": True}),
}


@pytest.mark.parametrize("fact", JUDGED)
def test_what_moves_times_or_counts_is_judged(fact: str) -> None:
    here, there = JUDGED[fact]
    one, other = (dataclasses.replace(HERE, **{fact: value}) for value in (here, there))
    assert one.differences(other) == {fact: (here, there)}
    assert one.unjudged(other) == {}
    unknown = dataclasses.replace(HERE, **{fact: None})
    assert list(one.differences(unknown)) == [fact]


@pytest.mark.parametrize(
    ("fact", "there"),
    [
        ("platform", "Linux 6.18.44-fc-v669 x86_64"),
        ("python", "CPython 3.11.9"),
        ("memory_bytes", 25_276_510_208),
        ("memory_bytes", 26_000_000_000),
        ("accelerator_memory_bytes", 80 * 10**9 + 8192),
    ],
)
def test_what_moves_nothing_is_shown_and_not_judged(fact: str, there: object) -> None:
    other = dataclasses.replace(HERE, **{fact: there})
    assert HERE.differences(other) == {}
    assert HERE.unjudged(other) == {fact: (getattr(HERE, fact), there)}


def test_the_load_and_the_folder_of_the_moment_are_not_even_shown() -> None:
    other = dataclasses.replace(HERE, load_average=9.0, revision="b")
    assert (HERE.differences(other), HERE.unjudged(other)) == ({}, {})
    assert {*JUDGED, *VOLATILE} == {one.name for one in dataclasses.fields(Environment)}


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
