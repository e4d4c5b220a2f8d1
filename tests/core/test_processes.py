"""How a process gets torch, and how it ends."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from detrbench.core.processes import importing_torch


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_rests_while_torch_is_imported(
    enabled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", sys)
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with importing_torch():
            assert not gc.isenabled()
        assert gc.isenabled() is enabled
        assert not gc.get_freeze_count(), "it was there already: nothing has been imported"
    finally:
        (gc.enable if before else gc.disable)()


def ended(code: str, stdout: int) -> subprocess.CompletedProcess[str]:
    code = f"from detrbench.core.processes import end\n{code}"
    command = [sys.executable, "-c", code]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        command, text=True, stdout=stdout, stderr=subprocess.PIPE, env=env, check=False
    )


def test_what_waits_for_the_end_is_done_before_it() -> None:
    done = ended(
        "import atexit, threading, time\n"
        "def late():\n"
        "    time.sleep(0.1)\n"
        "    print('thread')\n"
        "threading.Thread(target=late).start()\n"
        "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "atexit.register(print, 'handler')\n"
        "print('last line', end='')\n"
        "end(3)\n",
        subprocess.PIPE,
    )
    assert (done.returncode, done.stdout) == (3, "last linethread\nhandler\n")


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_what_cannot_be_written_is_said_by_python_itself() -> None:
    with Path("/dev/full").open("w") as full:
        done = ended("print('lost')\nend(0)\n", full.fileno())
    assert done.returncode == 120
    assert "No space left on device" in done.stderr
