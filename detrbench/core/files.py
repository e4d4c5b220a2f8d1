"""Files that are the old ones or the whole new ones, whoever reads them and whenever."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from detrbench.core.errors import UsageError

UNREADABLE = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    OverflowError,
    RecursionError,
)
"""What a reader of plain data raises where it is of other kinds than those that were written."""

_Kept = TypeVar("_Kept")

MOST_BYTES = 64 * 2**20
"""Of a file of ours that is read whole; the largest reports here, samples and all, have 0.2 MB."""

_OF_THE_SYSTEM = ("/proc", "/sys")


def check_ordinary(path: Path | str, most: int | None = None) -> None:
    """Raises OSError, before anything is read, where `path` is no ordinary file, or has more than
    `most` bytes. A pipe would wait, a device never end, and files of the system tell of it."""
    found = Path(path).stat()
    if stat.S_ISDIR(found.st_mode):
        raise OSError("it is a folder, not a file")
    if not stat.S_ISREG(found.st_mode) or found.st_dev in _system_devices():
        raise OSError("it is a pipe, a device or a file of the system, not an ordinary file")
    if most is not None and found.st_size > most:
        raise OSError(f"it has more than {most:,} bytes")


def is_ordinary(path: Path | str) -> bool:
    """Whether there is an ordinary file."""
    try:
        check_ordinary(path)
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return False
    return True


def read_text(path: Path | str, encoding: str = "utf-8") -> str:
    """What stands in a file. Raises OSError as `check_ordinary`, and UnicodeDecodeError."""
    check_ordinary(path, MOST_BYTES)
    return Path(path).read_text(encoding=encoding)


def _system_devices() -> set[int]:
    return {Path(place).stat().st_dev for place in _OF_THE_SYSTEM if Path(place).is_dir()}


def user_folder(variable: str, *usual: str) -> Path:
    """This package's folder of one kind (XDG Base Directory Specification): where the variable of
    the environment says, or in `usual` from the user's home."""
    # An empty or relative value is to be ignored, says the specification.
    home = Path(os.environ.get(variable, ""))
    return (home if home.is_absolute() else Path.home().joinpath(*usual)) / "detrbench"


def make_folder(path: Path) -> None:
    """Raises UsageError where `path` is no folder and cannot become one."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot be made a folder: {error.strerror or error}",
            where=str(path),
            hint="Name another one.",
        ) from error


def write_atomically(path: Path | str, text: str) -> None:
    """Write `text` to `path` so that a reader sees the old file or the whole new one.

    Raises:
        UsageError: the folder is not there or cannot be written to.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():  # /dev/stdout, a pipe: nothing to replace
            path.write_text(text, encoding="utf-8")
            return
        _replace(Path(os.path.realpath(path)), text)
    except OSError as error:
        raise UsageError(
            f"cannot be written: {error.strerror or error}",
            where=str(path),
            hint="name a file in a folder that exists and that you may write to",
        ) from error


def read_kept(path: Path, parse: Callable[[str], _Kept], *, what: str, hint: str) -> _Kept:
    """What one command has kept in a file for the next, which goes on with it.

    Args:
        what: it is of, such as "run".
        hint: which folder has such a file.

    Raises:
        UsageError: it is not there, or `parse` cannot make anything of it.
    """
    try:
        return parse(read_text(path))
    except OSError as error:
        raise UsageError(
            f"holds no {what} that can go on: it has no {path.name} that can be read",
            where=str(path.parent),
            hint=hint,
        ) from error
    except UNREADABLE as error:
        said = f"cannot be read: {type(error).__name__}: {error}"
        hint = "Move it away, and begin anew."
        raise UsageError(said, where=str(path), hint=hint) from error


def _replace(target: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(_mode_for(target))
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink()
        raise


def _mode_for(target: Path) -> int:
    """The permissions a plain `open` would have left; mkstemp's own are for the owner alone."""
    if target.exists():
        return stat.S_IMODE(target.stat().st_mode)
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask
