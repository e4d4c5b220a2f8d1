"""Fresh processes of this very package, the pipe that one of them answers through, how a process
gets torch, and its end."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TextIO

_PR_SET_PDEATHSIG = 1  # prctl(2)
_LONGEST_START_S = 15.0

# A model needs about 110 of oneDNN's compiled primitives, and its cache holds 1024 by default. Were
# many cases of one process to push each other's out, each would pay to compile them at every turn.
PRIMITIVES = "16384"


_HOME = Path(__file__).resolve().parents[2]


def forget_here() -> None:
    """Take the current folder, where `python -m` looks for modules first, from this process's path,
    unless this package is from there."""
    if sys.path[:1] == [str(Path.cwd())] and Path.cwd() != _HOME:
        del sys.path[0]


def forget_pythonpath() -> None:
    """Take what PYTHONPATH names, but this package's own place, from this process's path, and from
    those of the processes that it starts."""
    named = {
        str(Path(each).resolve()) for each in os.environ.pop("PYTHONPATH", "").split(os.pathsep)
    }
    named.discard(str(_HOME))
    sys.path[:] = [each for each in sys.path if str(Path(each).resolve()) not in named]


_WITHOUT_HERE = """
import sys
sys.path[:] = [path for path in sys.path if path]
import runpy
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


class Interrupted(KeyboardInterrupt):
    """A signal's. A plain KeyboardInterrupt may be raised by anybody's code."""


_LATER_S, _LONGEST_IMPORT_S = 0.05, 30.0
_waiting_since: dict[int, float] = {}


def interrupt_by_signals(*numbers: int) -> dict[int, Any]:
    """From now on these signals raise `Interrupted` in this process; what was switched off stays
    so. Returns the handlers before.

    While an installed package is imported they wait: interrupted in the middle of its extensions,
    torch aborts, numpy cannot be imported again, and some packages lose the interrupt.
    """
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    return before


def _interrupt(number: int, frame: FrameType | None) -> None:
    now = time.monotonic()
    since = _waiting_since.setdefault(number, now)
    if _imports_a_package(frame) and now - since < _LONGEST_IMPORT_S:
        again = threading.Timer(_LATER_S, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()
        return
    del _waiting_since[number]
    raise Interrupted


_INSTALLED = ("site-packages", "dist-packages")
_IMPORTING = "<frozen importlib"
_STANDARD = str(Path(os.__file__).parent)


def _imports_a_package(frame: FrameType | None) -> bool:
    """Whether the innermost file that is being imported is not the user's own, who may have it wait
    for anything."""
    while frame is not None:
        inner, frame = frame, frame.f_back
        imported = frame is not None and frame.f_code.co_filename.startswith(_IMPORTING)
        if imported and inner.f_code.co_name == "<module>":
            file = inner.f_code.co_filename
            return any(name in file for name in _INSTALLED) or file.startswith(_STANDARD)
    return False


def is_of_code(error: BaseException | None) -> bool:
    """Whether it is a KeyboardInterrupt that no signal was the reason of."""
    if not isinstance(error, KeyboardInterrupt) or isinstance(error, Interrupted):
        return False
    return _interrupt in map(signal.getsignal, (signal.SIGINT, signal.SIGTERM))


def module_command(name: str) -> tuple[str, ...]:
    """What runs a module in a process of its own, as `python -m` does, but never finds a module in
    the current folder: a `yaml.py` that lies there is the user's, and not asked for."""
    return sys.executable, "-c", _WITHOUT_HERE, name


def environment() -> dict[str, str]:
    """Ours, with this very package found first: also from a checkout that is not installed."""
    paths = [str(_HOME), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY": PRIMITIVES,
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
    }


def open_streams() -> None:
    """Put the null device where a caller has closed stdin or stderr: the next file that is opened
    would get its number, and what is printed. Ends the process with 2 where stdout is closed, for
    what a command has to say would be lost."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
    sys.stdin = sys.stdin or os.fdopen(0)
    sys.stderr = sys.stderr or os.fdopen(2, "w")
    if sys.stdout is None:
        sys.stderr.write(
            "error: stdout is closed, and what is printed would be lost\n"
            "  Leave it open, or say where it goes: > FILE, or > /dev/null.\n"
        )
        os._exit(2)


def own_stdout() -> TextIO:
    """The parent's pipe for us alone; what anything else writes to stdout goes to stderr."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


def end_with_parent() -> None:
    """Have Linux send SIGTERM when the parent dies, killed or not. Elsewhere the broken pipe tells,
    at the end of a call that may take minutes."""
    if sys.platform == "linux":
        import ctypes

        with suppress(OSError, AttributeError):  # a C library without it
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def age_s() -> float:
    """Seconds since this process was started; 0 where the system does not tell. A budget is counted
    from the first keystroke, and on a busy machine Python alone takes seconds to be there. One that
    is older than that was a shell before, which had other things to do."""
    try:
        started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        ticks = os.sysconf("SC_CLK_TCK")
        age_s = max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started / ticks)
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0
    return age_s if age_s < _LONGEST_START_S else 0.0


def called_as() -> str:
    """What to type for `detrbench` here: it may not be on the path."""
    name = Path(sys.argv[0] or "detrbench")
    if name.stem != "detrbench":  # a module, or a program that uses the library
        return "detrbench" if shutil.which("detrbench") else f"{sys.executable} -m detrbench"
    found = shutil.which("detrbench")
    # Of a name that is no file nobody can say more: on Windows it comes without its suffix.
    ours = found and (not name.exists() or Path(found).samefile(name))
    return "detrbench" if ours else str(name)


@contextmanager
def importing_torch() -> Iterator[None]:
    """Inside, torch is imported, in a process of our own. It makes some 300,000 objects that stay:
    looking for garbage among them takes a fifth of the time, and finds none, then and later."""
    was_enabled, is_new = gc.isenabled(), "torch" not in sys.modules
    gc.disable()
    try:
        yield
    finally:
        if is_new:
            gc.freeze()
        if was_enabled:
            gc.enable()


def end(code: int) -> NoReturn:
    """End as Python does, its threads and exit handlers waited for, but without taking apart every
    object: where there is torch, that takes half a second."""
    threading._shutdown()  # type: ignore[attr-defined]  # pools are told to end, and waited for
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):  # Python has words and an exit code of its own for that
        sys.exit(code)
    os._exit(code)


def leave(code: int) -> NoReturn:
    """End without the interpreter's own end: unloading torch takes a second, and all is said."""
    sys.stderr.flush()
    os._exit(code)


def without_result(code: int, stderr: str) -> str:
    """How a process ended that was not killed and left nothing but words."""
    lines = stderr.strip().splitlines()
    said = f" ({lines[-1].strip()})" if lines else ""
    return f"ended with exit code {code} and no result{said}"
