"""Parameters, FLOPs, memory access and latency of detectors, counted once and measured honestly."""

__version__ = "0.1.0"
