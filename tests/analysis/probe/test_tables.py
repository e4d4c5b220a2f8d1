"""What `detrbench probe` prints of ceilings and writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from detrbench.analysis.probe.device_profile import DeviceProfile
from detrbench.analysis.probe.tables import ceilings_table
from detrbench.cli import main
from detrbench.render import FORMATS
from detrbench.reports.case import Execution
from tests.analysis.probe.profiles import BUSY, CEILINGS, ODD, PROFILE


def test_probe_prints_a_line_per_ceiling(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(
        "detrbench.analysis.probe.device_profile.probe_device", lambda *_, **__: PROFILE
    )
    assert main(["probe"]) == 0
    told = capsys.readouterr()
    assert "convolutions" in told.out
    assert "100.0 [90.0-110.0]" in told.out
    assert "12 rounds" in told.out
    assert "remembered in" in told.err
    assert main(["probe", "-o", str(tmp_path / "device.json")]) == 0
    assert DeviceProfile.load(tmp_path / "device.json") == PROFILE
    assert main(["probe", "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "name,value,low,high,source,unit,conditions"


def test_probe_probes_under_the_settings_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Execution] = []

    def fake(execution: Execution, **_: object) -> DeviceProfile:
        asked.append(execution)
        return PROFILE

    monkeypatch.setattr("detrbench.analysis.probe.device_profile.probe_device", fake)
    flags = ["--dtype", "bfloat16", "--memory-format", "channels_last", "--threads", "1"]
    assert main(["probe"]) == main(["probe", *flags]) == 0
    assert asked == [
        Execution(),
        Execution(dtype="bfloat16", memory_format="channels_last", threads=1),
    ]


def test_probe_refuses_what_cannot_be(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", "--budget", "0"]) == 2
    assert main(["probe", "--device", "gpu"]) == 2
    assert main(["probe", "--dtype", "float8"]) == 2
    assert main(["probe", "--memory-format", "nchw"]) == 2
    assert main(["probe", "--threads", "0"]) == 2
    assert main(["probe", "--threads", "1,2"]) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_says_what_the_machine_did_meanwhile(
    format: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    where = "detrbench.analysis.probe.device_profile.probe_device"
    monkeypatch.setattr(where, lambda *_, **__: BUSY)
    assert main(["probe", "--format", format]) == 0
    told = capsys.readouterr()
    shown = " ".join(told.out.replace("\\%", "%").split())
    assert "foreign work" in shown
    assert "others used 40% of the 2 processors' time" in shown.replace("&#39;", "'")
    assert "marked: measured on a busy machine (foreign work)" in told.err
    if format in ("table", "markdown", "latex", "html"):
        assert "ceilings measured on a busy machine (foreign work): what it did then" in shown
    if format == "json":
        data = json.loads(told.out)
        assert data["ledger"]["foreign_cpu_s"] == 8.0
        assert data["circumstances"][0]["cause"] == "foreign work"


def test_a_cache_slower_than_memory_is_said() -> None:
    notes = ceilings_table(ODD.ceilings, "").notes
    said = "ceilings: the cache does 5.0 GB/s and memory 10.0 GB/s, which a cache is not slower"
    assert any(note.startswith(said) for note in notes)
    assert not any(note.startswith("ceilings:") for note in ceilings_table(CEILINGS, "").notes)
