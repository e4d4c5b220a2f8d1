"""What was found out about this machine, and is worth remembering from one command to the next.

The files are in the user's state folder (XDG Base Directory Specification):
$XDG_STATE_HOME/detrbench or ~/.local/state/detrbench. An entry belongs to a machine, a torch and a
device; after a change of either nothing is known again. It is only a memory: a file that is not
there, or not ours, is as good as an empty one. What was measured is kept with its circumstances.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detrbench.core.files import user_folder, write_atomically
from detrbench.machine.circumstances import Circumstances, circumstances_from
from detrbench.machine.environment import MEMORY_SHARE, Environment

CIRCUMSTANCES = "circumstances"
"""Of an entry: the key of those that it was measured in."""


def remember(name: str, device: str, entry: Mapping[str, Any], detail: str = "") -> Path:
    """Keep `entry`, plain data, under `name` for this machine and `device`; the file it is in.

    Args:
        detail: tells entries of one device apart, such as the number format they are of.

    Raises:
        UsageError: it cannot be written.
    """
    path = state_file(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    here = machine(device, detail)
    others = {key: kept for key, kept in _entries(path).items() if not _same(key, here)}
    entries = {**others, here: dict(entry)}
    write_atomically(path, json.dumps(entries, indent=1) + "\n")
    return path


def remember_quieter(
    name: str, device: str, entry: Mapping[str, Any], seen: Circumstances | None, detail: str = ""
) -> str:
    """`remember` what was measured in the circumstances `seen`, which go into the entry as well,
    and say so: what they spoilt is not remembered, and what they disturbed not in the place of
    what a quiet machine gave. Raises UsageError where it cannot be written."""
    entry = {**entry, CIRCUMSTANCES: None if seen is None else seen.to_list()}
    disturbed = None if seen is None else seen.disturbed
    if seen is None or disturbed is None:
        return f"remembered in {remember(name, device, entry, detail)}"
    if seen.spoilt:
        return f"not remembered: measured {disturbed}, so that it says nothing"
    before = remembered(name, device, detail) or {}
    known = circumstances_from(before.get(CIRCUMSTANCES))
    if known is not None and known.disturbed is None:
        when = f" of {before['created']}" if "created" in before else ""
        return f"not remembered: measured {disturbed}; what a quiet machine gave{when} is kept"
    path = remember(name, device, entry, detail)
    return f"remembered in {path}, marked: measured {disturbed}"


def remembered(name: str, device: str, detail: str = "") -> dict[str, Any] | None:
    """What was last kept so; `None` if nothing was."""
    here = machine(device, detail)
    found = (kept for key, kept in _entries(state_file(name)).items() if _same(key, here))
    entry = next(found, None)
    return entry if isinstance(entry, dict) else None


def _same(key: str, other: str) -> bool:
    """Whether two keys are of one machine, whose memory is not the same to the page each time."""
    here, there = ([part.strip() for part in each.split(_BETWEEN)] for each in (key, other))
    if len(here) != len(there):
        return False
    memory = _OF_KEY.index("memory_bytes")
    one, two = here.pop(memory), there.pop(memory)
    near = one == two or (
        one.isdecimal()
        and two.isdecimal()
        and math.isclose(int(one), int(two), rel_tol=MEMORY_SHARE)
    )
    return near and here == there


_BETWEEN = " | "
_OF_KEY = ("processor", "logical_cpus", "cpu_quota", "memory_bytes", "torch")


def state_file(name: str) -> Path:
    """Where entries of this name are kept."""
    return user_folder("XDG_STATE_HOME", ".local", "state") / f"{name}.json"


def machine(device: str, detail: str = "") -> str:
    """What makes two runs comparable, as far as it can be said without importing torch."""
    environment = Environment.read()
    kind = "cuda:0" if device == "cuda" else device
    known = (getattr(environment, name) for name in _OF_KEY)
    return _BETWEEN.join(map(str, [*known, kind, *([detail] if detail else [])]))


def _entries(path: Path) -> dict[str, Any]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}
