"""What becomes of a command when the machine, the shell or a user's own block misbehaves?

Every attack is a command line and something that goes wrong beside it: processes are stopped, hung
up or killed, outputs are closed, folders cannot be written, a block hangs, forks, eats memory,
patches the clock, returns other shapes, or a revision cannot be built. A command must end by itself
within its time, with an exit code that says what became of it, without a traceback, and leave no
process behind. What else it must say, or must not, stands with the attack.

    python benchmarks/attacks.py -o attacks.json                     # about 25 minutes
    python benchmarks/attacks.py -o attacks.json --only stopped,fork  # those with such names
    python benchmarks/attacks.py -o attacks.json --summary            # what there is
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keeping import Kept, arguments, dated, go_on, goal, note, save

BUDGET_S, IMGSZ = 20, 64
LIMIT_S = 90.0
"""Of one attack, from its start until it is killed and has failed."""

LINGER_S = 5.0
"""What its processes may take to end after it."""

_PR_CAPBSET_DROP = 24  # prctl(2)
_OF_FILES = (1, 2, 3)  # capabilities(7): CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER

MARK = "DETRBENCH_ATTACK"
"""In the environment of every process of an attack, by which those that are left are found."""

OK, USAGE, OPEN, INVALID, INTERRUPTED = 0, 2, 3, 4, 130

# A net that does `{at_import}`, `{at_build}`, and `{at_call}` at its call number {call} and later.
NET = """
import os, resource, signal, sys, threading, time
import torch
from torch import nn

{at_import}

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.calls, self.kept = 0, []

    def forward(self, images):
        self.calls += 1
        made = self.second(self.first(images).relu())
        if self.calls >= {call}:
            {at_call}
        return made

def build():
    {at_build}
    return Net()
"""


def net(at_import: str = "", at_build: str = "", at_call: str = "pass", call: int = 12) -> str:
    return NET.format(at_import=at_import, at_build=at_build, at_call=at_call, call=call)


CALM = net()
PAIR = f"latency calm.py:build hostile.py:build --imgsz {IMGSZ} --budget {BUDGET_S}"
LONE = f"latency calm.py:build --imgsz {IMGSZ} --budget {BUDGET_S}"


@dataclass
class Scene:
    """One attack under way."""

    folder: Path
    process: subprocess.Popen[bytes]
    began: float

    def workers(self) -> list[int]:
        """Its processes but the first, the youngest last."""
        found = [one for one in marked(str(self.folder)) if one != self.process.pid]
        return sorted(found)

    def timing(self) -> bool:
        """Waits until something is timed; false where the command ends before."""
        while self.process.poll() is None and time.monotonic() - self.began < LIMIT_S:
            for journal in self.folder.glob("tmp/*/process-*.part.jsonl"):
                with suppress(OSError):
                    if '"round"' in journal.read_text():
                        return True
            time.sleep(0.05)
        return False


Act = Callable[[Scene], None]


@dataclass(frozen=True)
class Attack:
    """What is run, what goes wrong, and what may become of it.

    Attributes:
        words: detrbench's arguments; `shell` may wrap them in a line of a shell, as {}.
        codes: exit codes that are right.
        says, never: patterns that its output must have, or must not.
        act: what is done to it while it runs.
        before: done in its folder before.
        limits: of its processes' resources.
        powerless: whether it may write only where permissions say so, root or not.
    """

    name: str
    words: str
    codes: Sequence[int]
    hostile: str = CALM
    says: str = ""
    never: str = ""
    act: Act | None = None
    before: Callable[[Path], None] | None = None
    shell: str = "{}"
    limits: dict[int, int] = field(default_factory=dict)
    powerless: bool = False


# --- what is done ------------------------------------------------------------------------------


def stop_for(seconds: float | None, worker: bool) -> Act:
    """Stops the command, or the worker that is timing, and lets it go on after so long."""

    def act(scene: Scene) -> None:
        if not scene.timing():
            return
        pid = scene.workers()[-1] if worker else scene.process.pid
        os.kill(pid, signal.SIGSTOP)
        if seconds is not None:
            time.sleep(seconds)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    return act


def send(number: int, worker: bool = False) -> Act:
    def act(scene: Scene) -> None:
        if scene.timing():
            os.kill(scene.workers()[-1] if worker else scene.process.pid, number)

    return act


def send_after(number: int, seconds: float) -> Act:
    """To the command and to all that it has started, as a terminal does."""

    def act(scene: Scene) -> None:
        time.sleep(seconds)
        for pid in [scene.process.pid, *scene.workers()]:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    return act


def remove_samples(scene: Scene) -> None:
    if scene.timing():
        for folder in scene.folder.glob("tmp/detrbench-*"):
            shutil.rmtree(folder, ignore_errors=True)


def read_only(folder: Path) -> None:
    for each in (folder, folder / "tmp"):
        each.chmod(0o555)


def only_folder(folder: Path) -> None:
    folder.chmod(0o555)
    (folder / "tmp").chmod(0o777)


def git(folder: Path, *lines: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@localhost", "-c", "protocol.file.allow=always"]
    for line in lines:
        command = ["git", "-C", str(folder), *who, *line.split()]
        subprocess.run(command, check=True, capture_output=True)


def broken_base(folder: Path) -> None:
    """Yesterday's model cannot be built."""
    (folder / "hostile.py").write_text("import nowhere_to_be_found\n\ndef build():\n    return 1\n")
    git(folder, "init -q", "add hostile.py", "commit -qm base")
    (folder / "hostile.py").write_text(CALM)


def hanging_base(folder: Path) -> None:
    (folder / "hostile.py").write_text(net(at_build="time.sleep(3600)"))
    git(folder, "init -q", "add hostile.py", "commit -qm base")
    (folder / "hostile.py").write_text(CALM)


def with_submodule(folder: Path) -> None:
    """The model imports what lies in a submodule, whose files are no objects of this repository."""
    parts = folder / "elsewhere"
    parts.mkdir()
    (parts / "width.py").write_text("WIDTH = 16\n")
    git(parts, "init -q", "add width.py", "commit -qm parts")
    imports = (
        "import os.path\nsys.path.insert(0, os.path.dirname(__file__) + '/parts')\nimport width"
    )
    (folder / "hostile.py").write_text(net(at_import=imports))
    git(folder, "init -q", f"submodule add -q {parts} parts", "add hostile.py", "commit -qm base")
    (folder / "parts" / "width.py").write_text("WIDTH = 32\n")


# --- attacks -----------------------------------------------------------------------------------

GATE = f"gate --rev HEAD hostile.py:build --imgsz {IMGSZ} --budget {BUDGET_S}"
NO_SPEED = r"hostile\.py:build .*\b(FASTER|SLOWER)\b"
"""In the line of the verdict: both models are one."""

SHRUNK = "resource.setrlimit(resource.RLIMIT_DATA, (3 << 30, 3 << 30))"

ATTACKS = (
    # Signals.
    Attack("command stopped for 5 s", PAIR, (OK,), act=stop_for(5, False), never=NO_SPEED),
    Attack("worker stopped for 5 s", PAIR, (OK,), act=stop_for(5, True), never=NO_SPEED),
    Attack("worker stopped for good", PAIR, (OK, INVALID), act=stop_for(None, True)),
    Attack("worker killed", PAIR, (OK, INVALID), act=send(signal.SIGKILL, worker=True)),
    Attack("hung up (SIGHUP)", PAIR, (129, INTERRUPTED), act=send(signal.SIGHUP)),
    Attack("ended (SIGTERM)", PAIR, (143, INTERRUPTED), act=send(signal.SIGTERM)),
    Attack("killed (SIGKILL)", PAIR, (-9,), act=send(signal.SIGKILL)),
    Attack("Ctrl-C while timing", PAIR, (INTERRUPTED,), act=send(signal.SIGINT),
           says="go on with: "),
    *(
        Attack(f"Ctrl-C after {seconds} s: {words.split()[0]}", words, (INTERRUPTED,),
               act=send_after(signal.SIGINT, seconds))
        for seconds, words in (
            (0.3, "profile rtdetr-l shufflev2"), (2, "profile rtdetr-l shufflev2"),
            (2, "reconcile rtdetr-l"), (1, "lint rtdetr-l"), (1, PAIR), (5, PAIR),
            (5, "run article -o run"), (5, "explain rtdetr-l shufflev2 --imgsz 64"), (5, "probe"),
            (5, "guidelines G1"),
            (5, "selfcheck rtdetr-l --imgsz 64"), (2, "claims"),
        )
    ),
    # Outputs and folders.
    Attack("stdout closed", PAIR, (USAGE,), shell="{} >&-", says="would be lost"),
    Attack("stderr closed", PAIR, (OK,), shell="{} 2>&-", says="hostile"),
    Attack("stdin closed", PAIR, (OK,), shell="{} <&-", says="hostile"),
    Attack("reader gone", PAIR + " --format html", (OK, 1, 141), shell="{} | head -c 10"),
    Attack("disk full", PAIR + " -o run.json", (1, USAGE, INVALID), says="(large|space)",
           limits={resource.RLIMIT_FSIZE: 4096}),
    Attack("to /dev/full", "profile calm.py:build -o /dev/full", (1, USAGE)),
    Attack("folder that cannot be written", PAIR + " -o run.json", (1, USAGE), powerless=True,
           before=only_folder, says="run.json"),
    # Python itself then writes its temporary files to another folder of the machine.
    Attack("no folder of the user's can be written", PAIR, (OK, 1, USAGE), powerless=True,
           before=read_only),
    Attack("home that cannot be written", LONE, (OK,), powerless=True, before=only_folder),
    Attack("samples removed meanwhile", PAIR, (OK, 1, INVALID), act=remove_samples),
    # Blocks.
    Attack("import hangs", PAIR, (1, USAGE, INVALID), net(at_import="time.sleep(3600)")),
    Attack("build hangs", PAIR, (1, USAGE, INVALID), net(at_build="time.sleep(3600)")),
    Attack("first call hangs", PAIR, (1, INVALID), net(at_call="time.sleep(3600)", call=1)),
    Attack("later call hangs", PAIR, (OK, 1, INVALID), net(at_call="time.sleep(3600)", call=40)),
    Attack("count hangs", "profile hostile.py:build --imgsz 64", (INTERRUPTED,),
           net(at_call="time.sleep(3600)", call=1), act=send_after(signal.SIGINT, 15)),
    Attack("forks at import", PAIR, (OK, INVALID), net(at_import="os.fork()"), never=NO_SPEED),
    Attack("forks in a call", PAIR, (OK, 1, INVALID), net(at_call="os.fork()", call=14),
           never=NO_SPEED),
    Attack("forks a sleeper", PAIR, (OK, INVALID),
           net(at_build="os.fork() or (time.sleep(3600), os._exit(0))")),
    Attack("eats memory, refused", PAIR, (OK, 1, INVALID),
           net(at_import=SHRUNK, at_call="self.kept.append(torch.ones(40_000_000))"),
           says="(memory|allocate)"),
    Attack("eats memory, killed", PAIR, (OK, 1, INVALID),
           net(at_call="os.kill(os.getpid(), signal.SIGKILL)")),
    Attack("crashes", PAIR, (OK, 1, INVALID), net(at_call="os.kill(os.getpid(), signal.SIGSEGV)"),
           says="hostile"),
    Attack("clock stands still", PAIR, (OK, INVALID), never=NO_SPEED, hostile=net(
        at_import="time.perf_counter = time.monotonic = time.time = lambda: 1.0\n"
        "time.perf_counter_ns = time.monotonic_ns = time.time_ns = lambda: 10**9")),
    Attack("clock runs at half", PAIR, (OK, INVALID), never=NO_SPEED, hostile=net(
        at_import="old = time.perf_counter_ns\ntime.perf_counter_ns = lambda: old() // 2")),
    Attack("clock patched in the call", PAIR, (OK, INVALID), never=NO_SPEED, hostile=net(
        at_call="time.perf_counter_ns = lambda: 10**9", call=1)),
    Attack("other shapes", PAIR, (OK, INVALID),
           net(at_call="made = made[:, :, : 1 + self.calls % 7]", call=1), says="hostile"),
    Attack("outputs not finite", PAIR, (OK, INVALID), net(at_call="made = made * float('nan')"),
           says="(NaN|finite)", never=NO_SPEED),
    Attack("no tensor", PAIR, (OK, USAGE, INVALID), net(at_call="made = 'x'", call=1)),
    *(
        Attack(f"exits {where}", PAIR, (OK, 1, USAGE, INVALID), net(**{at: f"{call}"}),
               says="hostile")
        for where, at, call in (
            ("at import", "at_import", "sys.exit(0)"), ("at build", "at_build", "sys.exit(0)"),
            ("in a call", "at_call", "sys.exit(0)"), ("at once", "at_build", "os._exit(0)"),
            ("at once, in a call", "at_call", "os._exit(0)"),
            ("by Ctrl-C of its own", "at_call", "raise KeyboardInterrupt"),
        )
    ),
    # Printing takes time, which is its own: it may be called slower.
    Attack("prints much", PAIR, (OK,), net(at_call="print('::error::x' * 10_000)"),
           never="^::error"),
    Attack("closes all files", PAIR, (OK, 1, INVALID), net(at_call="os.closerange(0, 100)")),
    Attack("goes elsewhere", PAIR, (OK,), net(at_call="os.chdir('/')"), never=NO_SPEED),
    # Which may be the command itself: nothing can be told then, and the samples are kept.
    Attack("kills its parent", PAIR, (OK, 1, INVALID, -9),
           net(at_call="os.kill(os.getppid(), signal.SIGKILL)")),
    Attack("takes all threads", PAIR, (OK, INVALID), net(at_call="torch.set_num_threads(1)")),
    Attack("other type by default", PAIR, (OK, INVALID),
           net(at_import="torch.set_default_dtype(torch.float64)"), never=NO_SPEED),
    # Revisions.
    Attack("base cannot be built", GATE, (INVALID,), before=broken_base,
           says="nowhere_to_be_found"),
    Attack("base hangs", GATE, (1, INVALID), before=hanging_base),
    Attack("model in a submodule", GATE, (INVALID,), before=with_submodule, says="parts"),
)  # fmt: skip


# --- running -----------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", metavar="A,B,...", help="parts of attacks' names")
    return go_on(arguments(parser), {"attacks": []}, experiment, summary, ("only",))


def experiment(asked: argparse.Namespace, kept: Kept) -> None:
    """Every attack that is still missing; those that are named, again."""
    parts = [part for part in asked.only.split(",") if part]
    named = {one.name for one in ATTACKS if any(part in one.name for part in parts)}
    done = [one for one in kept["attacks"] if one["name"] not in named]
    missing = [one for one in ATTACKS if one.name not in {record["name"] for record in done}]
    for one in [one for one in missing if not parts or one.name in named]:
        done.append(dated({"name": one.name, "command": one.words, **outcome(one)}))
        kept["attacks"] = done
        save(asked, kept)
        note(line_of(done[-1]))


def outcome(attack: Attack) -> Kept:
    """What became of it, and what of that is wrong."""
    with tempfile.TemporaryDirectory(prefix="detrbench-attack-") as name:
        folder = Path(name)
        (folder / "tmp").mkdir()
        (folder / "calm.py").write_text(CALM)
        (folder / "hostile.py").write_text(attack.hostile)
        try:
            if attack.before is not None:
                attack.before(folder)
            return _run(attack, folder)
        finally:
            for pid in marked(name):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for each in (folder, folder / "tmp"):
                each.chmod(0o777)


def _run(attack: Attack, folder: Path) -> Kept:
    line = attack.shell.format(f"{sys.executable} -m detrbench {attack.words}")
    if attack.shell == "{}":
        line = f"exec {line}"  # signals are for it, and not for a shell
    began = time.monotonic()
    with (folder.parent / f"{folder.name}.out").open("w+b") as output:
        Path(output.name).unlink()
        process = subprocess.Popen(
            ["bash", "-c", line],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            env=_environment(folder),
            start_new_session=True,
            preexec_fn=lambda: _prepare(attack),
        )
        if attack.act is not None:
            attack.act(Scene(folder, process, began))
        try:
            process.wait(max(1.0, LIMIT_S - (time.monotonic() - began)))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        seconds = time.monotonic() - began
        left = _left_after(folder)
        output.seek(0)
        said = output.read().decode(errors="replace")
    code = process.returncode
    wrong = list(_wrong(attack, code, seconds, said, left))
    lines = [
        one for one in re.split(r"[\r\n]+", said.replace(str(folder), "FOLDER")) if one.strip()
    ]
    return {"exit_code": code, "seconds": seconds, "said": lines[-6:], "wrong": wrong}


def _environment(folder: Path) -> dict[str, str]:
    home = {"HOME": str(folder), "TMPDIR": str(folder / "tmp"), MARK: str(folder)}
    kept = {key: value for key, value in os.environ.items() if not key.startswith("XDG_")}
    return {**kept, **home}


def _prepare(attack: Attack) -> None:
    """In the new process, before it becomes the command."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):  # whoever started us may ignore
        signal.signal(number, signal.SIG_DFL)
    for kind, most in attack.limits.items():
        resource.setrlimit(kind, (most, most))
    if attack.powerless and os.getuid() == 0:
        for capability in _OF_FILES:
            ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, capability)


def marked(folder: str) -> list[int]:
    """Every living process of the attack in `folder`."""
    wanted = f"{MARK}={folder}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                ended = (entry / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
                if not ended and wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def _left_after(folder: Path) -> int:
    """How many of its processes are still there when it has been over for a while."""
    until = time.monotonic() + LINGER_S
    while (left := marked(str(folder))) and time.monotonic() < until:
        time.sleep(0.1)
    return len(left)


def _wrong(attack: Attack, code: int, seconds: float, said: str, left: int) -> Iterator[str]:
    if seconds >= LIMIT_S - 1:
        yield f"it had not ended after {LIMIT_S:.0f} s"
    if code not in attack.codes:
        yield f"exit code {code}"
    if "Traceback (most recent call last)" in said or "unexpected" in said:
        yield "a traceback"
    if left:
        yield f"{left} processes were left"
    if attack.says and not re.search(attack.says, said):
        yield f"it does not say {attack.says}"
    if attack.never and (found := re.search(attack.never, said, re.MULTILINE)):
        yield f"it says {found.group()}"


# --- telling -----------------------------------------------------------------------------------


def line_of(record: dict[str, Any]) -> str:
    wrong = "; ".join(record["wrong"]) or "right"
    return f"{record['name']}: exit code {record['exit_code']}, {record['seconds']:.1f} s: {wrong}"


def summary(kept: Kept) -> str:
    """A table of the attacks, and the last that each command said."""
    records = kept["attacks"]
    if not records:
        return "nothing was tried yet"
    right = sum(not one["wrong"] for one in records)
    return "\n".join(
        [
            "| attack | exit code | seconds | outcome | last said |",
            "|---|--:|--:|---|---|",
            *map(_row, records),
            "",
            goal(f"{right} of {len(records)} as they should", right == len(records), "all"),
        ]
    )


def _row(record: dict[str, Any]) -> str:
    last = record["said"][-1].strip()[:100].replace("|", "/") if record["said"] else ""
    outcome = "; ".join(record["wrong"]) or "right"
    code, seconds = record["exit_code"], record["seconds"]
    return f"| {record['name']} | {code} | {seconds:.1f} | {outcome} | {last} |"


if __name__ == "__main__":
    raise SystemExit(main())
