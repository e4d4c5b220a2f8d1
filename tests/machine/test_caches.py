"""The size of the last-level cache: as the system says, or from where bandwidth falls."""

from __future__ import annotations

from pathlib import Path

from detrbench.machine.caches import cache_from_sweep, last_level_bytes


def a_cache(root: Path, index: int, level: int, size: str, kind: str = "Unified") -> None:
    folder = root / f"sys/devices/system/cpu/cpu0/cache/index{index}"
    folder.mkdir(parents=True)
    for name, text in (("level", str(level)), ("size", size), ("type", kind)):
        (folder / name).write_text(f"{text}\n")


def test_the_last_level_is_the_highest_that_holds_data(tmp_path: Path) -> None:
    a_cache(tmp_path, 0, 1, "32K", "Data")
    a_cache(tmp_path, 1, 4, "64K", "Instruction")
    a_cache(tmp_path, 2, 2, "1024K")
    a_cache(tmp_path, 3, 3, "32M")
    assert last_level_bytes(tmp_path) == 32 * 2**20


def test_a_system_that_does_not_say_is_swept(tmp_path: Path) -> None:
    assert last_level_bytes(tmp_path) is None
    assert cache_from_sweep({1: 100.0, 2: 90.0, 4: 80.0, 8: 30.0, 16: 20.0, 32: 20.0}) == 4
    assert cache_from_sweep({1: 24.0, 2: 22.0, 4: 20.0}) == 1, "no step, so nothing fits a cache"
