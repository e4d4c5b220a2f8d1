"""Profiles: made on this machine, kept, carried, and refused where they are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from detrbench.analysis.probe import device_profile, probes
from detrbench.analysis.probe.ceilings import KINDS
from detrbench.analysis.probe.device_profile import (
    DeviceProfile,
    keep,
    kept,
    probe_device,
    remember,
)
from detrbench.core.errors import UsageError
from detrbench.machine.threads import allowed_threads
from detrbench.machine.validity import Counters, Ledger
from detrbench.reports.case import Execution
from detrbench.timing.stop_rules import Plan
from tests.analysis.probe.profiles import BUSY, ODD, PROFILE, SPOILT


class Scripted:
    """A reader of counters: each pair of readings says what others used meanwhile, in seconds."""

    def __init__(self, *foreign_s: float) -> None:
        self._busy = iter([each for seconds in foreign_s for each in (0.0, seconds)])

    def __call__(self) -> Counters:
        return Counters(0.0, next(self._busy), 0.0, 0, 0.0, 0)


def test_this_machine_has_ceilings_and_the_profile_keeps_how_quiet_it_was(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One test, for the probes' first calls take long."""
    read = Scripted(1e6, 1e6)
    ledger = lambda _: Ledger(read=read, root=tmp_path)  # noqa: E731
    monkeypatch.setattr("detrbench.timing.opened.open_ledger", ledger)
    before = torch.get_num_threads()
    found = probe_device(Execution(threads=1), budget_s=0.2, wait=lambda _: None)
    assert torch.get_num_threads() == before
    check_ceilings(found)
    assert found.settings["threads"] == 1
    assert found.settings["memory_format"] == "contiguous"
    assert found.ledger is not None
    assert found.ledger["foreign_cpu_s"] == 1e6
    assert found.timed_s > 0
    # A machine that is busy in truth may have said so of its ceilings as well.
    assert found.doubt is not None
    assert found.doubt.startswith("on a busy machine (foreign work")
    assert not found.quiet
    found.save(tmp_path / "device.json")
    assert DeviceProfile.load(tmp_path / "device.json") == found


def check_ceilings(found: DeviceProfile) -> None:
    assert list(found.ceilings.each) == list(KINDS)
    for one in found.ceilings.each.values():
        assert 0 < one.low <= one.value <= one.high
        assert one.source
    # Nothing that computes does so at less than 0.1 GFLOP/s, streams at less than 0.1 GB/s or
    # launches in less than ten nanoseconds.
    assert found.ceilings["convolution"] > 1e8
    assert found.ceilings["memory"] > 1e8
    assert 1e-8 < found.ceilings["dispatch"] < 1e-2


class Trials:
    """Measures nothing: the profiles of successive trials, each of which takes some time."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *profiles: DeviceProfile, slow: float = 1.0
    ) -> None:
        self._slow = slow
        self.now_s, self.plans, self.said, self._left = 0.0, [], [], iter(profiles)
        monkeypatch.setattr(device_profile, "_trial", self)
        monkeypatch.setattr(probes.Bench, "probes", lambda _: ())

    plans: list[Plan]
    said: list[str]

    def __call__(self, *arguments: Any) -> DeviceProfile:
        plan, started, _ = arguments[-3:]
        self.plans.append(plan)
        self.now_s = started + self._slow * (plan.budget_s or 0.0)
        return next(self._left)

    def run(self, budget_s: float, deadline: float | None = None) -> DeviceProfile:
        return probe_device(
            budget_s=budget_s,
            deadline=deadline,
            announce=self.said.append,
            now=lambda: self.now_s,
            wait=self.wait,
        )

    def wait(self, seconds: float) -> None:
        self.now_s += seconds


def test_a_quiet_machine_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = Trials(monkeypatch, PROFILE)
    assert trials.run(20.0) is PROFILE
    assert (trials.now_s, trials.said) == (10.0, [])


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [(BUSY, PROFILE, PROFILE), (BUSY, SPOILT, BUSY), (SPOILT, BUSY, BUSY)],
)
def test_a_busy_machine_is_measured_again_and_the_quieter_counts(
    first: DeviceProfile,
    second: DeviceProfile,
    kept: DeviceProfile,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trials = Trials(monkeypatch, first, second)
    assert trials.run(20.0) is kept
    assert [plan.budget_s for plan in trials.plans] == [10.0, 9.0]
    assert trials.now_s == 20.0, "within its budget, the pause included"
    assert trials.said == [f"measured {first.doubt}: once more, and the quieter counts"]


def test_without_time_for_a_second_trial_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = Trials(monkeypatch, BUSY, slow=2.0)
    assert trials.run(20.0) is BUSY
    (said,) = trials.said
    assert said.endswith("(foreign work); a longer --budget has time for a second trial")


def test_the_end_of_the_time_leaves_the_first_trial_and_ctrl_c_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Interrupted(Trials):
        def __call__(self, *arguments: Any) -> DeviceProfile:
            found = super().__call__(*arguments)
            if len(self.plans) == 2:
                raise KeyboardInterrupt
            return found

    trials = Interrupted(monkeypatch, BUSY, PROFILE)
    assert trials.run(20.0, deadline=20.0) is BUSY
    with pytest.raises(KeyboardInterrupt):
        Interrupted(monkeypatch, BUSY, PROFILE).run(20.0, deadline=21.0)


def test_ceilings_that_cannot_be_are_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = Trials(monkeypatch, ODD, PROFILE)
    assert trials.run(20.0) is PROFILE
    assert ODD.doubt == "on a disturbed machine (ceilings)"


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        (PROFILE, "remembered in "),
        (BUSY, "marked: measured on a busy machine (foreign work)"),
        (ODD, "marked: measured on a disturbed machine (ceilings)"),
        (SPOILT, "not remembered: measured on a busy machine (contended), so that it says nothing"),
    ],
)
def test_whether_a_profile_is_remembered_is_said_with_the_reason(
    profile: DeviceProfile, said: str
) -> None:
    assert said in remember(profile)
    found = kept()
    assert (found is None) is (profile is SPOILT)
    assert found is None or (found.ceilings, found.seen) == (profile.ceilings, profile.seen)


def test_a_busy_profile_does_not_take_the_place_of_a_quiet_one() -> None:
    remember(PROFILE)
    assert "what a quiet machine gave of 2026-01-02T03:04:05+00:00 is kept" in remember(BUSY)
    assert kept() == PROFILE


def test_a_profile_of_an_older_version_is_not_said_to_be_quiet(tmp_path: Path) -> None:
    plain = PROFILE.to_dict()
    for name in ("circumstances", "ledger", "timed_s"):
        del plain[name]
    (tmp_path / "device.json").write_text(json.dumps(plain))
    found = DeviceProfile.load(tmp_path / "device.json")
    assert found.circumstances is None
    assert not found.quiet
    assert found.doubt is None
    assert "was not kept" in (found.caution or "")


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
