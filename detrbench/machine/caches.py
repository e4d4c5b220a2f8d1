"""How large the last-level cache is: what the system says, else what the bandwidth shows."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from detrbench.machine.system import output

_SIZES = {"K": 2**10, "M": 2**20, "G": 2**30}


def last_level_bytes(root: Path = Path("/")) -> int | None:
    """Bytes of the processor's last-level cache; `None` where the system does not say.

    Linux tells in /sys/devices/system/cpu/cpu0/cache (Documentation/ABI/testing/sysfs-devices-
    system-cpu), macOS by sysctl. A virtual machine shares it with neighbours it does not know of.
    """
    found: dict[int, int] = {}
    for folder in (root / "sys/devices/system/cpu/cpu0/cache").glob("index*"):
        with suppress(OSError, ValueError):  # a cache that does not tell its level or size
            if (folder / "type").read_text().strip() != "Instruction":
                found[int((folder / "level").read_text())] = _bytes((folder / "size").read_text())
    if found:
        return found[max(found)]
    if sys.platform == "darwin":
        for name in ("hw.l3cachesize", "hw.perflevel0.l2cachesize", "hw.l2cachesize"):
            size = output(["sysctl", "-n", name]) or ""
            if size.isdecimal() and int(size) > 0:
                return int(size)
    return None


def _bytes(text: str) -> int:
    """From "32768K"."""
    digits, unit = text.strip()[:-1], text.strip()[-1]
    return int(digits) * _SIZES[unit] if unit in _SIZES else int(text)


def cache_from_sweep(rates: Mapping[int, float]) -> int:
    """The largest working set that is still served faster than from memory.

    Args:
        rates: bytes of a working set -> bytes per second; the largest is of memory, certainly.

    Between the fastest and the slowest rate the step is where the geometric mean of both is
    crossed; where there is no such step (less than a factor of 1.5), the smallest set is the answer
    and nothing is ever held against a cache.
    """
    sizes = sorted(rates)
    memory, best = rates[sizes[-1]], max(rates.values())
    if best < 1.5 * memory:
        return sizes[0]
    edge = math.sqrt(best * memory)
    return max(size for size in sizes if rates[size] >= edge)
