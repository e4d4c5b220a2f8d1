"""How many threads this process may use: torch asks for the host's cores, not for its share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from detrbench.machine.system import own_cpus, text


def allowed_threads(root: Path = Path("/"), cores: int | None = None) -> int:
    """Cores in this process's affinity, or fewer if a control group's CPU quota is below that.

    A quota of 1.5 cores allows one thread: two would be throttled together for a quarter of every
    period, which is the worst kind of noise. Quotas: `cpu.max` (cgroup v2) or `cpu.cfs_quota_us`
    over `cpu.cfs_period_us` (v1) of every group from this process's own up to the root, as each of
    them holds.

    Args:
        root: where /proc and /sys are looked for.
        cores: instead of the affinity's.
    """
    available = len(own_cpus()) if cores is None else cores
    return max(1, min([available, *(int(quota) for quota in cpu_quotas(root))]))


def cpu_quotas(root: Path = Path("/")) -> Iterator[float]:
    """Every CPU quota above this process, in cores."""
    for folder in group_folders(root):
        yield from _quota_v2(text(folder / "cpu.max"))
        yield from _quota_v1(text(folder / "cpu.cfs_quota_us"), text(folder / "cpu.cfs_period_us"))


def group_folders(root: Path = Path("/")) -> Iterator[Path]:
    """Folders of the control groups that share out the processors, from this process's upwards."""
    for line in text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            yield from _upwards(root / "sys/fs/cgroup", path)
        elif "cpu" in controllers.split(","):
            yield from _upwards(root / "sys/fs/cgroup" / "cpu", path)


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """A group's folder, then its parents'; in a container often only the mount exists."""
    inside = PurePosixPath(path.lstrip("/"))
    for folder in (inside, *inside.parents):
        if ".." not in folder.parts:
            yield mount / folder


def _quota_v2(limit: str) -> Iterator[float]:
    """From "max 100000" or "150000 100000": microseconds of CPU per period of microseconds."""
    quota, _, period = (limit or "max").strip().partition(" ")
    if quota != "max":
        yield int(quota) / int(period or 100_000)


def _quota_v1(quota: str, period: str) -> Iterator[float]:
    """From "150000\\n" and "100000\\n"; -1 is no quota."""
    if quota and period and int(quota) > 0:
        yield int(quota) / int(period)
