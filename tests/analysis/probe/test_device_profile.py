"""Profiles: made on this machine, kept, carried, and refused where they are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from detrbench.analysis.probe.ceilings import KINDS
from detrbench.analysis.probe.device_profile import DeviceProfile, keep, kept, probe_device
from detrbench.core.errors import UsageError
from detrbench.machine.threads import allowed_threads
from detrbench.reports.case import Execution
from tests.analysis.probe.profiles import PROFILE


def test_this_machine_has_ceilings() -> None:
    before = torch.get_num_threads()
    found = probe_device(Execution(threads=1), budget_s=0.2)
    assert torch.get_num_threads() == before
    assert list(found.ceilings.each) == list(KINDS)
    for one in found.ceilings.each.values():
        assert 0 < one.low <= one.value <= one.high
        assert one.source
    # Nothing that computes does so at less than 0.1 GFLOP/s, streams at less than 0.1 GB/s or
    # launches in less than ten nanoseconds.
    assert found.ceilings["convolution"] > 1e8
    assert found.ceilings["memory"] > 1e8
    assert 1e-8 < found.ceilings["dispatch"] < 1e-2
    assert found.settings["threads"] == 1
    assert found.settings["memory_format"] == "contiguous"


def test_settings_that_a_device_does_not_have_are_refused() -> None:
    with pytest.raises(UsageError, match="tf32 is a setting of cuda devices"):
        probe_device(Execution(tf32=True))
    with pytest.raises(UsageError, match="a thread count of '0'"):
        probe_device(Execution(threads=0))


def test_a_profile_survives_the_journey(tmp_path: Path) -> None:
    PROFILE.save(tmp_path / "device.json")
    assert DeviceProfile.load(tmp_path / "device.json") == PROFILE


def test_a_profile_is_remembered_for_its_settings_alone() -> None:
    assert kept() is None
    path = keep(PROFILE)
    assert path.name == "probe.json"
    assert kept() == PROFILE
    assert kept(Execution(device="cuda")) is None
    assert kept(Execution(dtype="bfloat16")) is None
    assert kept(Execution(memory_format="channels_last")) is None
    assert kept(Execution(threads=allowed_threads() + 1)) is None
    assert kept(Execution(threads=allowed_threads())) == PROFILE


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"profile_version": None}, "not a device profile"),
        ({"profile_version": 99}, "reads up to 1"),
        ({"ceilings": []}, "no ceiling for"),
        ({"settings": None}, "not a whole device profile"),
        ({"cache_bytes": "much"}, "not a whole device profile"),
    ],
)
def test_what_is_no_profile_is_refused(
    change: dict[str, object], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "device.json"
    path.write_text(json.dumps(PROFILE.to_dict() | change))
    with pytest.raises(UsageError, match=said):
        DeviceProfile.load(path)


def test_a_file_that_is_not_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(UsageError, match="cannot be read"):
        DeviceProfile.load(tmp_path / "x.json")
    with pytest.raises(UsageError, match="cannot be read"):
        DeviceProfile.load(tmp_path / "absent.json")
