"""How devices are called. Whether one is there is for a runtime to say."""

from __future__ import annotations

import re

from detrbench.core.errors import UsageError, nearest

KINDS = ("cpu", "cuda")


def parse_device(text: str) -> tuple[str, int | None]:
    """Kind and index of "cpu", "cuda" or "cuda:N", without asking whether it is there.

    Raises:
        UsageError: anything else.
    """
    match = re.fullmatch(r"([a-z]+)(?::(\d{1,4}))?", text)
    if match is None or match[1] not in KINDS:
        kind = text.split(":")[0]
        hint = "Devices are cpu, cuda and cuda:N."
        raise UsageError(
            f"unknown device {text!r}",
            hint=hint if kind in KINDS else f"{hint} {nearest(kind, KINDS)}",
        )
    return match[1], int(match[2]) if match[2] else None
