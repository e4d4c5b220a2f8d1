"""Does a budget hold on a busy machine? Every command that takes one, beside so many busy loops.

Each command runs as a whole process with its progress on a terminal, so that what is timed is what
a person sees: seconds from its start to its end against its --budget, when it first said something
new, and for how long it said nothing new. What it remembers of the machine goes to a folder of its
own. Every run is on disk before the next begins; the same command, or --resume FILE, goes on where
it was cut. The load ends with the experiment, whatever ends that.

    python benchmarks/budget_experiment.py -o budgets.json                  # about an hour
    python benchmarks/budget_experiment.py -o budgets.json --busy 0 --commands latency,probe
    python benchmarks/budget_experiment.py -o budgets.json --summary        # what there is
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from busy import busy
from keeping import Kept, arguments, dated, go_on, names_of, note, save

from detrbench.core.stats import median
from detrbench.core.units import show_eta
from detrbench.models.catalog import find_model

COMMANDS = ("latency", "run", "gate", "guidelines", "selfcheck", "explain", "probe")

PATIENCE_S = 30.0
"""From being asked to end until being killed."""

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def main() -> int:
    return go_on(_arguments(), {"runs": []}, experiment, summary, ("repeats",))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", nargs=2, default=["rtdetr-l", "shufflev2"])
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--threads", type=int)
    parser.add_argument(
        "--commands",
        type=names_of(COMMANDS, "command"),
        default=list(COMMANDS),
        metavar="A,B,...",
        help=f"of {', '.join(COMMANDS)}",
    )
    parser.add_argument("--budgets", type=float, nargs="+", default=[30.0, 60.0, 120.0])
    parser.add_argument("--repeats", type=int, default=1, help="of each command and budget")
    parser.add_argument(
        "--busy", type=int, default=5 * (os.cpu_count() or 1), help="loops of the load, in all"
    )
    parser.add_argument(
        "--limit",
        type=float,
        default=20.0,
        help="budgets, or minutes if that is more, after which a run is ended",
    )
    parser.add_argument("--seed", type=int, default=0)
    return arguments(parser)


# --- running ----------------------------------------------------------------------------------


class Asked(NamedTuple):
    """One run: what is run, with how much time, for the how-manieth time."""

    repeat: int
    command: str
    budget_s: float


def experiment(asked: argparse.Namespace, kept: Kept) -> None:
    """As many runs as are still missing."""
    with busy(asked.busy):
        for one in missing(asked, kept):
            left = show_eta(seconds_left(asked, kept))
            note(f"{one.command} in {one.budget_s:g} s; about {left} left")
            with tempfile.TemporaryDirectory(prefix="detrbench-budget-") as folder:
                words = words_of(asked, one.command, Path(folder))
                command = [sys.executable, "-m", "detrbench", *words]
                command += ["--budget", f"{one.budget_s:g}"]
                limit_s = asked.limit * max(one.budget_s, 60.0)
                record = watched(command, Path(folder), limit_s)
            kept["runs"].append(dated({**one._asdict(), **record}))
            save(asked, kept)
            note(told_of(kept["runs"][-1]))


def missing(asked: argparse.Namespace, kept: Kept) -> list[Asked]:
    """What is still to be run, each repeat in an order of its own."""
    done = {(run["repeat"], run["command"], run["budget_s"]) for run in kept["runs"]}
    found = []
    for repeat in range(asked.repeats):
        pairs = list(itertools.product(asked.commands, asked.budgets))
        random.Random(f"{asked.seed} {repeat}").shuffle(pairs)
        found += [Asked(repeat, *pair) for pair in pairs if (repeat, *pair) not in done]
    return found


def seconds_left(asked: argparse.Namespace, kept: Kept) -> float:
    """What is missing, if it goes on as until now."""
    shares = [run["seconds"] / run["budget_s"] for run in kept["runs"]]
    return sum(one.budget_s for one in missing(asked, kept)) * (median(shares) if shares else 1.0)


def words_of(asked: argparse.Namespace, command: str, folder: Path) -> list[str]:
    """A command line without its budget; what it needs is put into `folder`."""
    first, second = asked.models
    threads = [] if asked.threads is None else ["--threads", str(asked.threads)]
    size = ["--imgsz", str(asked.imgsz), *threads]
    if command == "run":
        return ["run", str(_suite(asked, folder)), "-o", str(folder / "run")]
    if command == "gate":
        return ["gate", "--rev", "HEAD", str(_committed(first, folder)), *size]
    return [
        command,
        *{
            "latency": [first, second, *size],
            "guidelines": ["G1", *threads],
            "selfcheck": [second, *size],
            "explain": [first, second, *size],
            "probe": threads,
        }[command],
    ]


def _suite(asked: argparse.Namespace, folder: Path) -> Path:
    threads = "" if asked.threads is None else f", threads: {asked.threads}"
    file = folder / "pair.yaml"
    file.write_text(
        f"title: A pair\nmodels: [{', '.join(asked.models)}]\n"
        f"settings: {{imgsz: {asked.imgsz}{threads}}}\n"
    )
    return file


def _committed(model: str, folder: Path) -> Path:
    """A model's file, in a repository of its own."""
    file = folder / f"{model}.yaml"
    shutil.copy(find_model(model), file)
    git = ["git", "-C", str(folder), "-c", "user.name=gate", "-c", "user.email=gate@localhost"]
    for words in (["init", "--quiet"], ["add", file.name], ["commit", "--quiet", "-m", "base"]):
        subprocess.run([*git, *words], check=True)
    return file


# --- watching ---------------------------------------------------------------------------------


class Heard:
    """When something new was said, as a person at a terminal sees it.

    Attributes:
        first_s: from the start until the first of it; `None` where nothing was said.
        longest_s: the longest time without, from the start to the end.
    """

    def __init__(self, began: float) -> None:
        self._began = self._last = began
        self._seen = ""
        self.first_s: float | None = None
        self.longest_s = 0.0

    def say(self, text: str, now: float) -> None:
        """`text` arrived; a line drawn again with nothing changed is nothing new."""
        seen = visible(text)
        if not seen or seen == self._seen:
            return
        self._seen = seen
        if self.first_s is None:
            self.first_s = now - self._began
        self._pass(now)

    def end(self, now: float) -> None:
        self._pass(now)

    def _pass(self, now: float) -> None:
        self.longest_s, self._last = max(self.longest_s, now - self._last), now


def visible(text: str) -> str:
    """`text` without what moves the cursor and without blanks around it."""
    return _ESCAPES.sub("", text).strip()


def last_lines(text: str, lines: int = 4) -> list[str]:
    """The last of those that were not empty; a line that was drawn again counts each time."""
    shown = map(visible, text.replace("\r", "\n").splitlines())
    return [line for line in shown if line][-lines:]


def watched(command: Sequence[str], folder: Path, limit_s: float) -> Kept:
    """One run from its start to its end, its stderr being a terminal."""
    import pty

    terminal, inside = pty.openpty()
    state = {"XDG_STATE_HOME": str(folder / "state"), "TERM": "xterm", "COLUMNS": "100"}
    said, killed = "", False
    with (folder / "stdout").open("wb") as output:
        began = time.monotonic()
        heard = Heard(began)
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=inside,
            cwd=folder,
            env={**os.environ, **state},
            start_new_session=True,
        )
    os.close(inside)
    try:
        while (text := _read(terminal)) or process.poll() is None:
            if text:
                heard.say(text, time.monotonic())
                said = (said + text)[-4000:]
            if time.monotonic() - began > limit_s:
                killed = True
                break
        ended = time.monotonic()
    finally:
        _end(process)
        os.close(terminal)
    heard.end(ended)
    return {
        "seconds": ended - began,
        "exit_code": None if killed else process.returncode,
        "first_progress_s": heard.first_s,
        "longest_silence_s": heard.longest_s,
        "said": last_lines(said),
    }


def _read(terminal: int) -> str:
    """What arrived within a moment; nothing where nobody holds the other end any more."""
    ready, _, _ = select.select([terminal], [], [], 0.05)
    if not ready:
        return ""
    try:
        return os.read(terminal, 65536).decode(errors="replace")
    except OSError:  # Linux's way to say that all have closed it
        time.sleep(0.05)
        return ""


def _end(process: subprocess.Popen[bytes]) -> None:
    """Nothing of it may be left to disturb the next run."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


# --- telling ----------------------------------------------------------------------


def summary(kept: Kept) -> str:
    """A table of the runs."""
    settings = kept["settings"]
    if not kept["runs"]:
        return "nothing was measured yet"
    runs = sorted(
        kept["runs"],
        key=lambda run: (COMMANDS.index(run["command"]), run["budget_s"], run["repeat"]),
    )
    return "\n".join(
        [
            f"{' and '.join(settings['models'])} at {settings['imgsz']} pixels beside "
            f"{settings['busy']} busy loops",
            "",
            "| command | budget (s) | seconds | beyond | exit code | first progress (s) "
            "| longest silence (s) |",
            "|---|--:|--:|--:|--:|--:|--:|",
            *map(_row, runs),
            "",
            *(
                f"{run['command']} in {run['budget_s']:g} s ended with: {' / '.join(run['said'])}"
                for run in runs
                if run["exit_code"] != 0
            ),
        ]
    )


def _row(run: Mapping[str, Any]) -> str:
    code = "killed" if run["exit_code"] is None else run["exit_code"]
    first = "never" if run["first_progress_s"] is None else f"{run['first_progress_s']:.1f}"
    return (
        f"| {run['command']} | {run['budget_s']:g} | {run['seconds']:.1f} "
        f"| {run['seconds'] / run['budget_s'] - 1:+.1%} | {code} | {first} "
        f"| {run['longest_silence_s']:.1f} |"
    )


def told_of(run: Mapping[str, Any]) -> str:
    """A run in one line."""
    code = "killed" if run["exit_code"] is None else f"exit code {run['exit_code']}"
    return (
        f"{run['seconds']:.1f} s ({run['seconds'] / run['budget_s'] - 1:+.1%}), {code}, "
        f"longest silence {run['longest_silence_s']:.1f} s"
    )


if __name__ == "__main__":
    raise SystemExit(main())
