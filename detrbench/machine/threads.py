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
    them holds. `cores` stand in for the affinity's.
    """
    available = len(own_cpus()) if cores is None else cores
    return max(1, min([available, *(int(quota) for quota in cpu_quotas(root))]))


def cpu_quotas(root: Path = Path("/")) -> Iterator[float]:
    """Every CPU quota above this process, in cores."""
    for folder in group_folders(root):
        # v2: "max 100000" or "150000 100000", microseconds of CPU per period of microseconds.
        quota, _, period = text(folder / "cpu.max").strip().partition(" ")
        if quota not in ("", "max"):
            yield int(quota) / int(period or 100_000)
        # v1: "150000" and "100000"; -1 is no quota.
        quota, period = text(folder / "cpu.cfs_quota_us"), text(folder / "cpu.cfs_period_us")
        if quota and period and int(quota) > 0:
            yield int(quota) / int(period)


def group_folders(root: Path = Path("/")) -> Iterator[Path]:
    """Folders of the control groups that share out the processors, from this process's upwards; in
    a container often only the topmost exists."""
    for line in text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        inside = PurePosixPath(path.lstrip("/"))
        for folder in (inside, *inside.parents):
            if ".." not in folder.parts:
                yield mount / folder
