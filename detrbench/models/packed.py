"""How large an archive of weights is once unpacked, before any of it is."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO

from detrbench.core.errors import UsageError
from detrbench.core.files import check_ordinary
from detrbench.core.units import show_size

MOST_BYTES = 16 * 10**9
"""Four billion parameters in float32: no detector has more."""

_MOST_PACKED = 4
"""times its size is what an archive unpacks to: torch stores tensors as they are, and packs only
what is text."""

_SMALL_BYTES = 64 * 2**20


def check_weights(path: Path) -> None:
    """Raises UsageError, before anything is unpacked, where a file of weights is no ordinary file,
    or larger than any detector's, packed or not."""
    try:
        check_ordinary(path)
        size = path.stat().st_size
        unpacked = unpacked_bytes(path)
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror or error}", where=str(path)) from error
    check_size(size, max(size, unpacked), str(path))


def check_size(packed: int, unpacked: int, where: str) -> None:
    """Raises UsageError where so many bytes become too many."""
    if unpacked > min(MOST_BYTES, max(_MOST_PACKED * packed, _SMALL_BYTES)):
        raise UsageError(
            f"it unpacks to {show_size(unpacked)} from {show_size(packed)}; weights may have "
            f"{_MOST_PACKED} times their file's size, and {show_size(MOST_BYTES)} at most",
            where=where,
            hint="Save only tensors: torch.save(model.state_dict(), path).",
        )


def unpacked_bytes(archive: Path | IO[bytes]) -> int:
    """Of all that is in an archive, as its directory has it; 0 for a file that is none."""
    try:
        with zipfile.ZipFile(archive) as opened:
            return sum(entry.file_size for entry in opened.infolist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return 0
