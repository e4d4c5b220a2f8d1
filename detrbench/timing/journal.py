"""The journal of one process: what it goes through, line by line, so that its end loses nothing.

A process that is killed cannot tell what it measured. Its journal can: a line is one `write` to the
operating system, which keeps it when the process dies, and costs some microseconds between rounds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detrbench.core.errors import DetrbenchError
from detrbench.core.files import UNREADABLE, is_ordinary
from detrbench.core.reading import check_fields


class Journal:
    """Written by the process itself."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)

    def at(self, model: str | None) -> None:
        """`model` is made ready from here on; `None`: all are."""
        self._write({"at": model})

    def during(self, model: str | None) -> None:
        """`model` is called from here on, in a timed round; `None`: none is."""
        self._write({"during": model})

    def channels(self, channels: Mapping[str, Sequence[str]]) -> None:
        """What the rounds' readings are: model -> names, in the order of the readings."""
        self._write({"channels": channels})

    def round(self, readings: Sequence[Sequence[float] | None]) -> None:
        """One timed round, per model of `channels`."""
        self._write({"round": readings})

    def counted(self, rounds: int) -> None:
        """Of the rounds so far, only the last `rounds` count."""
        self._write({"counted": rounds})

    def close(self) -> None:
        os.close(self._file)

    def _write(self, line: Mapping[str, Any]) -> None:
        os.write(self._file, (json.dumps(line) + "\n").encode())


@dataclass(frozen=True)
class Told:
    """What a journal says: the model being made ready or warmed, model -> channel -> seconds, and
    the model being called in a timed round."""

    at: str | None
    rounds: dict[str, dict[str, list[float]]]
    during: str | None = None


def read_journal(path: Path) -> Told:
    """The journal at `path`, of which the last line may be torn; nothing, if there is none.

    Raises:
        DetrbenchError: it is not a journal.
    """
    try:
        told = _read(_lines(path))
        check_fields(told)
    except UNREADABLE as error:
        raise DetrbenchError(
            f"is not a journal: {type(error).__name__}: {error}",
            where=str(path),
            hint="Move it away to go on without it.",
        ) from error
    return told


def _read(lines: Iterable[dict[str, Any]]) -> Told:
    at: str | None = None
    during: str | None = None
    rounds: dict[str, dict[str, list[float]]] = {}
    for line in lines:
        if "at" in line:
            at = line["at"]
        elif "during" in line:
            during = line["during"]
        elif "channels" in line:
            channels = line["channels"].items()
            rounds = {model: {name: [] for name in names} for model, names in channels}
        elif "counted" in line:
            for taken in rounds.values():
                for samples in taken.values():
                    del samples[: -line["counted"]]
        else:
            for taken, reading in zip(rounds.values(), line["round"], strict=True):
                for samples, seconds in zip(taken.values(), reading or (), strict=False):
                    samples.append(seconds)
    return Told(at, rounds, during)


def _lines(path: Path) -> list[dict[str, Any]]:
    if not is_ordinary(path):
        return []
    whole = path.read_text(encoding="utf-8").split("\n")[:-1]  # what follows the last is torn off
    return [json.loads(line) for line in whole]
