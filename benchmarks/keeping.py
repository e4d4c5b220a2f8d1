"""What the experiments beside this file share: every trial on disk before the next, and a verdict
against the goal at the end."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from detrbench.core.files import write_atomically
from detrbench.machine.environment import Environment

Kept = dict[str, Any]

_NO_SETTINGS = ("output", "summary", "resume")


def go_on(
    asked: argparse.Namespace,
    empty: Mapping[str, Any],
    experiment: Callable[[argparse.Namespace, Kept], None],
    summary: Callable[[Kept], str],
    numbers: tuple[str, ...],
) -> int:
    """Go on with the experiment in `asked.output` where it was cut, and print what there is.

    Args:
        empty: what is kept before the first trial, beside settings and environment.
        numbers: arguments that say how many trials, which may be raised later.
    """
    kept = _load(asked, empty, numbers)
    if not asked.summary:
        try:
            experiment(asked, kept)
        except KeyboardInterrupt:
            print("interrupted; the same command goes on", file=sys.stderr)
    print(summary(kept))
    return 0


def arguments(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """`parser`'s arguments, and those of every experiment."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("-o", "--output", type=Path, help="raw results, JSON")
    where.add_argument(
        "--resume", type=Path, metavar="FILE", help="go on with FILE, as it was asked for"
    )
    parser.add_argument(
        "--summary", action="store_true", help="measure nothing, print what there is"
    )
    asked = parser.parse_args()
    if asked.resume is None:
        return asked
    try:
        kept: Kept = json.loads(asked.resume.read_text())
    except OSError as error:
        parser.error(f"--resume: {error}")
    # What is typed beside it still counts: more trials, for instance.
    parser.set_defaults(**kept["settings"], **kept.get("numbers", {}), output=asked.resume)
    return parser.parse_args()


def names_of(known: Sequence[str], what: str) -> Callable[[str], list[str]]:
    """Reads an argument that lists some of `known`, such as "latency,probe"."""

    def read(text: str) -> list[str]:
        names = text.split(",")
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"there is no {what} {', '.join(unknown)}")
        return names

    return read


def save(asked: argparse.Namespace, kept: Kept) -> None:
    """Everything until now; the file is the old one or the whole new one."""
    write_atomically(asked.output, json.dumps(kept, indent=1) + "\n")


def dated(record: Mapping[str, Any]) -> Kept:
    """A trial's record with the time of its end."""
    return {"ended": datetime.now().astimezone().isoformat(timespec="seconds"), **record}


def note(text: str) -> None:
    """A line for who waits."""
    print(f"{datetime.now():%H:%M:%S} {text}", file=sys.stderr, flush=True)


def goal(text: str, met: bool, wanted: str) -> str:
    """A finding, and whether it is what is wanted."""
    return f"{text}: {'met' if met else 'missed'} (goal {wanted})"


def _load(asked: argparse.Namespace, empty: Mapping[str, Any], numbers: tuple[str, ...]) -> Kept:
    settings = {
        name: value if not isinstance(value, tuple) else list(value)
        for name, value in vars(asked).items()
        if name not in (*_NO_SETTINGS, *numbers)
    }
    wanted = {name: getattr(asked, name) for name in numbers}
    if not asked.output.exists():
        environment = Environment.read().to_dict()
        return {"settings": settings, "numbers": wanted, "environment": environment, **empty}
    kept: Kept = json.loads(asked.output.read_text())
    if kept["settings"] != settings and not asked.summary:
        raise SystemExit(f"{asked.output} is of other settings: {kept['settings']}")
    if not asked.summary:
        kept["numbers"] = wanted
    return kept
