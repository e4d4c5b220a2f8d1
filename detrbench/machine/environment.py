"""The machine and the versions behind a report: enough to say whether two runs compare.

Names of users and hosts are never read. A fact that a machine does not offer is None, and torch is
imported only when a device is named.
"""

from __future__ import annotations

import math
import os
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import Any

from detrbench.core.errors import UsageError
from detrbench.core.units import show_many, show_size
from detrbench.machine.system import load_average, output, own_cpus, text
from detrbench.machine.threads import cpu_quotas

MEMORY_SHARE = 0.05
"""Two machines of one kind differ by some pages of memory; no model's time does."""

Reading = Callable[[Any], Any]


def _itself(value: Any) -> Any:
    return value


def _minor(version: Any) -> Any:
    """ "CPython 3.11.7" as "CPython 3.11": patches of Python move no time."""
    return str(version).rpartition(".")[0] or version


def _kernel(platform: Any) -> Any:
    """ "Linux 6.18.44-fc-v657 x86_64" as "Linux x86_64": the release is a build number."""
    words = str(platform).split()
    return f"{words[0]} {words[-1]}" if words else platform


JUDGED: Mapping[str, Reading] = {
    "detrbench": _itself,
    "python": _minor,
    "torch": _itself,
    "platform": _kernel,
    "processor": _itself,
    "logical_cpus": _itself,
    "cpu_quota": _itself,
    "threads": _itself,
    "memory_bytes": _itself,
    "accelerator": _itself,
    "accelerator_driver": _itself,
    "accelerator_memory_bytes": _itself,
    "torch_cuda": _itself,
    "cudnn": _itself,
    "flags": _itself,
}
"""Fact that moves times or counts -> what of it does. Bytes are the same to MEMORY_SHARE. All else
is shown, and nothing is held against it: the load of the moment, the working directory, which may
move on even while a run does, a kernel's build number."""

VOLATILE = frozenset({"load_average", "revision"})
"""Facts that are not even shown as a difference."""


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
            "memory_bytes": memory_bytes(),
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
        return {
            name: values
            for name, values in self._differing(other).items()
            if name in JUDGED and not _alike(name, *values)
        }

    def unjudged(self, other: Environment) -> dict[str, tuple[Any, Any]]:
        """The same of facts that differ, and matter to none."""
        judged = self.differences(other)
        found = self._differing(other)
        return {name: values for name, values in found.items() if name not in judged}

    def _differing(self, other: Environment) -> dict[str, tuple[Any, Any]]:
        here, there = asdict(self), asdict(other)
        return {
            name: (here[name], there[name])
            for name in here
            if name not in VOLATILE and here[name] != there[name]
        }

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


VERSIONS = ("detrbench", "python", "torch")


def check_versions(before: Mapping[str, Any], where: str) -> None:
    """Raises UsageError where what runs here is of another version than what something was begun
    with in `where`: what follows would be measured by something else."""
    then, now = Environment.from_dict(dict(before)), Environment.read()
    for fact in VERSIONS:
        here, there = getattr(then, fact), getattr(now, fact)
        if here is None or there is None:
            continue
        build = all("+" in version for version in (here, there))  # which only torch itself tells
        if not _alike(fact, *(v if build else v.partition("+")[0] for v in (here, there))):
            raise UsageError(
                f"{fact} is {there}, and this was begun with {here}",
                where=where,
                hint="Install that version again, or measure anew.",
            )


def _alike(fact: str, here: Any, there: Any) -> bool:
    """Whether a fact is the same on both, as far as it moves anything; unknown is another."""
    if here is None or there is None:
        return here is there
    if fact.endswith("_bytes"):
        return math.isclose(here, there, rel_tol=MEMORY_SHARE)
    reading = JUDGED[fact]
    return bool(reading(here) == reading(there))


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


def memory_bytes() -> int | None:
    """Of this machine; None where its system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not offered by this system
        return None
