"""A device profile that nobody measured."""

from __future__ import annotations

from detrbench.analysis.probe.ceilings import Ceiling, Ceilings
from detrbench.analysis.probe.device_profile import DeviceProfile
from detrbench.machine.threads import allowed_threads

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
PROFILE = DeviceProfile(SETTINGS, {"processor": "x"}, CEILINGS, 12, "2026-01-02T03:04:05+00:00")
