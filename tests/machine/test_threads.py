from __future__ import annotations

from pathlib import Path

import pytest

from detrbench.machine.threads import allowed_threads, cpu_quotas


def machine(root: Path, groups: str, **files: str) -> Path:
    """A /proc and /sys under `root`; names of files are paths below /sys/fs/cgroup, __ for /."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/").replace("_max", ".max")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("quota", "threads"),
    [
        ("max 100000\n", 8),
        ("200000 100000\n", 2),
        ("150000 100000\n", 1),  # two threads would share one and a half cores and be throttled
        ("50000 100000\n", 1),  # at least one, whatever the quota
        ("1600000 100000\n", 8),  # more than there is
        ("300000\n", 3),  # the period left out is the kernel's default
    ],
)
def test_the_quota_of_cgroup_v2(tmp_path: Path, quota: str, threads: int) -> None:
    root = machine(tmp_path, "0::/\n", cpu_max=quota)
    assert allowed_threads(root, cores=8) == threads


def test_every_group_up_to_the_root_holds(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        "0::/outer/inner\n",
        outer__inner__cpu_max="max 100000",
        outer__cpu_max="300000 100000",
        cpu_max="600000 100000",
    )
    assert sorted(cpu_quotas(root)) == [3.0, 6.0]
    assert allowed_threads(root, cores=8) == 3


def test_the_path_of_the_host_inside_a_container_falls_back_to_the_mount(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/../../docker/abc\n", cpu_max="200000 100000")
    assert allowed_threads(root, cores=8) == 2


def test_the_quota_of_cgroup_v1(tmp_path: Path) -> None:
    root = machine(tmp_path, "3:cpuset:/\n2:cpu,cpuacct:/job\n1:memory:/job\n")
    group = root / "sys/fs/cgroup/cpu/job"
    group.mkdir(parents=True)
    (group / "cpu.cfs_quota_us").write_text("250000\n")
    (group / "cpu.cfs_period_us").write_text("100000\n")
    (group.parent / "cpu.cfs_quota_us").write_text("-1\n")
    (group.parent / "cpu.cfs_period_us").write_text("100000\n")
    assert list(cpu_quotas(root)) == [2.5]
    assert allowed_threads(root, cores=8) == 2


def test_without_control_groups_the_cores_decide(tmp_path: Path) -> None:
    assert allowed_threads(tmp_path, cores=5) == 5
