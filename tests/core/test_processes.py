"""How a process gets torch, how old it is, what to type for it, and how it ends."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from detrbench.core import processes
from detrbench.core.processes import (
    Interrupted,
    age_s,
    called_as,
    importing_torch,
    interrupt_by_signals,
    is_of_code,
)

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system does not tell")


# --- the current folder --------------------------------------------------------------------------


SHADOWS = ("json", "random", "signal", "yaml", "torch", "numpy", "runpy", "typing", "detrbench")


@pytest.fixture
def shadowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files of the user that only share names with modules that are imported."""
    for name in SHADOWS:
        (tmp_path / f"{name}.py").write_text("open('EXECUTED', 'a').write(__name__)\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["detrbench.counting.worker", "detrbench.timing.worker"])
def test_a_worker_runs_nothing_from_the_current_folder(shadowed: Path, name: str) -> None:
    done = subprocess.run(
        processes.module_command(name), input=b"no job", capture_output=True,
        env=processes.environment(), check=False,
    )  # fmt: skip
    assert b"JSONDecodeError" in done.stderr, "it came as far as its job"
    assert not (shadowed / "EXECUTED").exists()


def test_a_module_is_run_with_its_arguments(shadowed: Path) -> None:
    command = (*processes.module_command("compileall"), "-q", "no such file")
    done = subprocess.run(command, capture_output=True, check=False)
    assert b"Can't list 'no such file'" in done.stdout


def test_the_command_line_takes_the_current_folder_off_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), "lib", str(tmp_path)])
    processes.forget_here()
    assert sys.path == ["lib", str(tmp_path)], "what PYTHONPATH names was asked for"
    processes.forget_here()
    assert sys.path == ["lib", str(tmp_path)]
    monkeypatch.chdir(processes._HOME)
    monkeypatch.setattr(sys, "path", [str(processes._HOME)])
    processes.forget_here()
    assert sys.path == [str(processes._HOME)]


# --- age -----------------------------------------------------------------------------------------


@LINUX
def test_a_process_is_as_old_as_the_system_says() -> None:
    """A young one knows that it is: Python and this import alone are all it has done."""
    code = "from detrbench.core.processes import age_s; print(age_s())"
    before = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    took_s = time.monotonic() - before
    assert 0.0 < float(done.stdout) <= took_s + 0.02  # a tick of the kernel's clock, both ways


@LINUX
def test_one_that_was_a_shell_for_long_is_newly_born(monkeypatch: pytest.MonkeyPatch) -> None:
    """`exec` keeps the process: what it did before is not of the command."""
    monkeypatch.setattr(processes, "_LONGEST_START_S", 0.0)
    assert age_s() == 0.0


def of_the_system(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: text)


@LINUX
def test_age_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begun 12,345 ticks of a hundredth after the computer; a name may hold anything."""
    fields = ["S", *["0"] * 18, "12345", *["0"] * 30]
    of_the_system(f"7 (a ) b) {' '.join(fields)}", monkeypatch)
    monkeypatch.setattr(processes.os, "sysconf", lambda name: 100)
    monkeypatch.setattr(processes.time, "clock_gettime", lambda clock: 125.0)
    assert age_s() == pytest.approx(125.0 - 123.45)
    monkeypatch.setattr(processes.time, "clock_gettime", lambda clock: 123.0)
    assert age_s() == 0.0, "clocks of two kinds may differ by a tick"


@pytest.mark.parametrize("text", ["", "7 (python) S 1 2", "7 (python) " + "x " * 40])
def test_a_system_that_does_not_tell_makes_it_newly_born(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_the_system(text, monkeypatch)
    assert age_s() == 0.0


def test_no_such_file_makes_it_newly_born(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert age_s() == 0.0


# --- what to type --------------------------------------------------------------------------------


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A `detrbench` in a folder of its own."""
    path = tmp_path / "bin" / "detrbench"
    path.parent.mkdir()
    path.touch()
    return path


def called(argument: str, found: Path | None, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "argv", [argument])
    monkeypatch.setattr(processes.shutil, "which", lambda name: found and str(found))
    return called_as()


def test_what_is_on_the_path_is_called_by_its_name(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert called(str(script), script, monkeypatch) == "detrbench"


def test_what_is_not_on_the_path_is_called_as_it_was(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert called(str(script), None, monkeypatch) == str(script)
    other = tmp_path / "detrbench"
    other.touch()
    assert called(str(script), other, monkeypatch) == str(script), "another one is on the path"


@pytest.mark.parametrize("argument", ["/x/detrbench/__main__.py", "-c", "my_program.py"])
def test_a_module_or_a_program_names_the_command_or_the_interpreter(
    argument: str, script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert called(argument, script, monkeypatch) == "detrbench"
    assert called(argument, None, monkeypatch) == f"{sys.executable} -m detrbench"


@pytest.mark.parametrize("argument", ["", "detrbench"])
def test_a_name_that_is_no_file_is_taken_for_the_command(
    argument: str, script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert called(argument, script, monkeypatch) == "detrbench"
    assert called(argument, None, monkeypatch) == "detrbench"


# --- the end of a parent -------------------------------------------------------------------------

CHILD = """
import signal, sys
from detrbench.core.processes import end_with_parent
signal.signal(signal.SIGTERM, lambda *_: (print("told", flush=True), sys.exit()))
end_with_parent()
print("ready", flush=True)
signal.pause()
"""
PARENT = f"""
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {CHILD!r}])
time.sleep(1000)
"""


@LINUX
def test_whose_parent_is_killed_is_told() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        parent.send_signal(signal.SIGKILL)
        assert parent.stdout.readline() == b"told\n"


def test_a_system_without_that_call_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    processes.end_with_parent()

    def without(name: object) -> object:
        raise OSError("no such library")

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("ctypes.CDLL", without)
    processes.end_with_parent()


# --- torch, and the end ------------


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


# --- interrupts ----------------------------------------------------------------------------------


@pytest.fixture
def telling_apart() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    for number in numbers:
        signal.signal(number, signal.default_int_handler)
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("telling_apart")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signals_interrupt_is_told_from_one_that_code_raises(number: signal.Signals) -> None:
    assert not is_of_code(KeyboardInterrupt()), "nobody knows yet"
    interrupt_by_signals(number)
    with pytest.raises(Interrupted) as caught:
        signal.raise_signal(number)
    assert not is_of_code(caught.value)
    assert is_of_code(KeyboardInterrupt())
    assert not is_of_code(RuntimeError())
    assert not is_of_code(None)


@pytest.mark.usefixtures("telling_apart")
def test_a_signal_that_was_switched_off_stays_so() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    interrupt_by_signals(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)


IMPORTS = """
import os, signal, sys, threading, time
sys.path[:0] = sys.argv[1:]
from detrbench.core.processes import Interrupted, interrupt_by_signals
interrupt_by_signals(signal.SIGINT)
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
began = time.monotonic()
try:
    import slow
    time.sleep(5)
except Interrupted:
    print(f"{time.monotonic() - began:.1f} {'slow' in sys.modules and slow.WHOLE}")
"""
SLOW = """
import time
WHOLE = False
time.sleep(1)
WHOLE = True
"""


@pytest.mark.parametrize(
    ("folder", "whole"), [("site-packages", True), ("dist-packages", True), ("mine", False)]
)
def test_an_interrupt_waits_for_the_import_of_a_package(
    folder: str, whole: bool, tmp_path: Path
) -> None:
    """Not for that of a user's own file, which may wait for ever."""
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "slow.py").write_text(SLOW)
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, str(tmp_path / folder)],
        capture_output=True, text=True, check=True, timeout=60, env=processes.environment(),
    )  # fmt: skip
    took, was_whole = done.stdout.split()
    assert was_whole == str(whole)
    assert (float(took) >= 1.0) == whole
