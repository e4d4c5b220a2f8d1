"""What was found out about this machine, and is worth remembering from one command to the next.

The files are in the user's state folder (XDG Base Directory Specification):
$XDG_STATE_HOME/detrbench or ~/.local/state/detrbench. An entry belongs to a machine, a torch and a
device; after a change of either nothing is known again. It is only a memory: a file that is not
there, or not ours, is as good as an empty one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detrbench.core.files import write_atomically
from detrbench.machine.environment import Environment


def remember(name: str, device: str, entry: Mapping[str, Any], detail: str = "") -> Path:
    """Keep `entry`, plain data, under `name` for this machine and `device`; the file it is in.

    Args:
        detail: tells entries of one device apart, such as the number format they are of.

    Raises:
        UsageError: it cannot be written.
    """
    path = state_file(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = {**_entries(path), machine(device, detail): dict(entry)}
    write_atomically(path, json.dumps(entries, indent=1) + "\n")
    return path


def remembered(name: str, device: str, detail: str = "") -> dict[str, Any] | None:
    """What was last kept so; `None` if nothing was."""
    entry = _entries(state_file(name)).get(machine(device, detail))
    return entry if isinstance(entry, dict) else None


def state_file(name: str) -> Path:
    """Where entries of this name are kept."""
    # An empty or relative value is to be ignored, says the specification.
    home = Path(os.environ.get("XDG_STATE_HOME", ""))
    base = home if home.is_absolute() else Path.home() / ".local" / "state"
    return base / "detrbench" / f"{name}.json"


def machine(device: str, detail: str = "") -> str:
    """What makes two runs comparable, as far as it can be said without importing torch."""
    environment = Environment.read()
    kind = "cuda:0" if device == "cuda" else device
    names = ("processor", "logical_cpus", "cpu_quota", "memory_bytes", "torch")
    facts = [*(getattr(environment, name) for name in names), kind, *([detail] if detail else [])]
    return " | ".join(map(str, facts))


def _entries(path: Path) -> dict[str, Any]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}
