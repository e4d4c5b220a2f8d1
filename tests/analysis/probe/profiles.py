"""A device profile that nobody measured."""

from __future__ import annotations

import dataclasses
from typing import Any

from detrbench.analysis.probe.ceilings import Ceiling, Ceilings
from detrbench.analysis.probe.device_profile import DeviceProfile
from detrbench.machine.circumstances import circumstances_of
from detrbench.machine.threads import allowed_threads
from detrbench.machine.validity import Entry

VALUES = {"convolution": 100e9, "matmul": 50e9, "memory": 10e9, "cache": 40e9, "dispatch": 1e-6}
CEILINGS = Ceilings(
    {name: Ceiling(name, value, 0.9 * value, 1.1 * value) for name, value in VALUES.items()},
    cache_bytes=32 * 2**20,
)
SETTINGS = {
    "device": "cpu",
    "dtype": "float32",
    "memory_format": "contiguous",
    "threads": allowed_threads(),
}


def a_profile(ceilings: Ceilings = CEILINGS, **seen: Any) -> DeviceProfile:
    """Of ten seconds in which the ledger saw this on two processors."""
    ledger = dataclasses.asdict(Entry(cpus=2, **seen))
    return DeviceProfile(
        SETTINGS,
        {"processor": "x"},
        ceilings,
        12,
        "2026-01-02T03:04:05+00:00",
        ledger=ledger,
        timed_s=10.0,
        circumstances=circumstances_of([(ledger, 10.0)]),
    )


SLOW_CACHE = Ceiling("cache", 5e9, 4.5e9, 5.5e9)

PROFILE = a_profile()
BUSY = a_profile(foreign_cpu_s=8.0)
SPOILT = a_profile(own_cpu_s=1.0, waited_s=9.0)
ODD = a_profile(Ceilings({**CEILINGS.each, "cache": SLOW_CACHE}, CEILINGS.cache_bytes))
"""Measured on a quiet machine; while others used 40 % of both processors; while they left none; and
with a cache that is slower than memory, which none is."""
