"""The machine and the versions behind a report: enough to say whether two runs compare.

Names of users and hosts are never read. A fact that a machine does not offer is None, and torch is
imported only when a device is named.
"""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import asdict, dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import Any

from detrbench.core.units import show_many, show_size
from detrbench.machine.system import load_average, output, own_cpus, text
from detrbench.machine.threads import cpu_quotas

VOLATILE = frozenset({"load_average", "revision"})
"""Facts that say nothing against comparing two runs: the load of the moment, and the working
directory, which may move on even while a run does."""


@dataclass(frozen=True)
class Environment:
    """What was read of one machine at one moment.

    Attributes:
        logical_cpus: processors this process may be scheduled on.
        cpu_quota: processors' worth of time its control group allows; None without a limit.
        threads: those that torch uses inside an operator.
        accelerator: name of the one that was asked for.
        torch_cuda: the CUDA version that torch was built with.
        flags: torch settings that change speed or digits, such as TF32.
        load_average: runnable processes over the last minute.
        revision: git revision of the working directory, "-dirty" when files differ from it.
    """

    detrbench: str | None = None
    python: str | None = None
    torch: str | None = None
    platform: str | None = None
    processor: str | None = None
    logical_cpus: int | None = None
    cpu_quota: float | None = None
    threads: int | None = None
    memory_bytes: int | None = None
    accelerator: str | None = None
    accelerator_driver: str | None = None
    accelerator_memory_bytes: int | None = None
    torch_cuda: str | None = None
    cudnn: int | None = None
    flags: dict[str, Any] | None = None
    load_average: float | None = None
    revision: str | None = None

    @classmethod
    def read(cls, device: str | None = None) -> Environment:
        """This machine; with a `device`, also what torch says of threads, flags and that one."""
        facts: dict[str, Any] = {
            "detrbench": installed_version("detrbench"),
            "python": f"{platform.python_implementation()} {platform.python_version()}",
            "torch": installed_version("torch"),
            "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
            "processor": processor_model(),
            "logical_cpus": len(own_cpus()),
            "cpu_quota": min(cpu_quotas(), default=None),
            "memory_bytes": _memory_bytes(),
            "load_average": load_average(),
            "revision": git_revision(),
        }
        return cls(**(facts | (_torch_facts(device) if device else {})))

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Environment:
        """What `to_dict` wrote; facts this version does not know are left out."""
        known = {f.name for f in fields(cls)}
        return cls(**{name: value for name, value in plain.items() if name in known})

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a Report, without the facts this machine does not offer."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def differences(self, other: Environment) -> dict[str, tuple[Any, Any]]:
        """Fact -> (here, there) for every fact that differs and matters to a comparison."""
        here, there = self.lasting(), other.lasting()
        return {name: (here[name], there[name]) for name in here if here[name] != there[name]}

    def lasting(self) -> dict[str, Any]:
        """Every fact that matters to a comparison, None for what this machine does not offer."""
        return {name: fact for name, fact in asdict(self).items() if name not in VOLATILE}

    def one_line(self) -> str:
        """The machine in one line, for captions."""
        cpus = f"{self.logical_cpus} CPUs" if self.logical_cpus else None
        if cpus and self.cpu_quota and self.cpu_quota < (self.logical_cpus or 0):
            cpus += f", quota {self.cpu_quota:g}"
        facts = [
            self.accelerator,
            self.processor,
            cpus,
            show_many(self.threads, "thread") if self.threads else None,
            show_size(self.memory_bytes) if self.memory_bytes else None,
            self.platform,
            self.python,
            f"torch {self.torch}" if self.torch else None,
            f"CUDA {self.torch_cuda}" if self.accelerator and self.torch_cuda else None,
            f"driver {self.accelerator_driver}" if self.accelerator_driver else None,
        ]
        return ", ".join(filter(None, facts))


def installed_version(distribution: str) -> str | None:
    """The version of an installed distribution, without importing it."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def processor_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str | None:
    """The processor's model name, else its architecture."""
    for line in text(cpuinfo).splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model", "Hardware"):
            return value.strip() or None
    if sys.platform == "darwin":
        return output(["sysctl", "-n", "machdep.cpu.brand_string"]) or platform.machine()
    return platform.processor() or platform.machine() or None


def git_revision(folder: Path | None = None) -> str | None:
    """The git revision of `folder` (the working directory), with "-dirty" for changed files."""
    options = ["--always", "--dirty", "--abbrev=12", "--exclude=*"]
    return output(["git", "describe", *options], folder=folder)


def _torch_facts(device: str) -> dict[str, Any]:
    import torch

    facts: dict[str, Any] = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "torch_cuda": torch.version.cuda,
        "flags": {
            "matmul_precision": torch.get_float32_matmul_precision(),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
        },
    }
    if torch.device(device).type == "cuda" and torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(torch.device(device))
        facts["accelerator"] = properties.name
        facts["accelerator_memory_bytes"] = properties.total_memory
        facts["accelerator_driver"] = _nvidia_driver()
        facts["cudnn"] = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
        facts["flags"] |= {
            "tf32_matmul": torch.backends.cuda.matmul.allow_tf32,
            "tf32_cudnn": torch.backends.cudnn.allow_tf32,
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
        }
    return facts


def _nvidia_driver() -> str | None:
    for word in text(Path("/proc/driver/nvidia/version")).split():
        if word.count(".") >= 1 and word.replace(".", "").isdigit():
            return word
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return (output(query) or "").partition("\n")[0] or None


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not offered by this system
        return None
