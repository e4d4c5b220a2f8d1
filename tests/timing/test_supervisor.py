"""The parent's side, with workers of a few lines that end in every way a worker can."""

from __future__ import annotations

import _thread
import sys
from collections.abc import Callable
from functools import partial
from itertools import chain, repeat
from pathlib import Path

import pytest

from detrbench.core.errors import UsageError
from detrbench.timing import supervisor
from detrbench.timing.records import load_outcomes
from detrbench.timing.rounds import OUT_OF_TIME, Progress
from detrbench.timing.starting import Fresh, Start
from detrbench.timing.supervisor import Limits, run_worker
from tests.timing.runs import asked

REQUEST = asked("a", "b")

PREPARE = """
import json, os, signal, sys
job = json.loads(sys.stdin.read())
path = os.path.join(job["folder"], "process-%02d" % job["index"])
def tell(**message):
    print(json.dumps(message), flush=True)
def journal(*lines):
    with open(path + ".part.jsonl", "w") as file:
        file.writelines(json.dumps(line) + "\\n" for line in lines)
def save(status="ok", reason=None):
    plain = {"index": job["index"], "status": status, "reason": reason, "took_s": 1.0, "at": None,
             "measurement": None, "rounds": {}}
    with open(path + ".json", "w") as file:
        json.dump(plain, file)
ROUNDS = ({"at": "a"}, {"at": None}, {"channels": {"a": ["latency_s"], "b": ["latency_s"]}},
          {"round": [[1.0], [2.0]]}, {"round": [[1.5], [2.5]]})
"""


def worker(text: str) -> Start:
    return partial(Fresh, command=(sys.executable, "-S", "-c", PREPARE + text))


def test_what_a_worker_saved_is_its_outcome(tmp_path: Path) -> None:
    outcome = run_worker(REQUEST, tmp_path, 4, start=worker("save()"))
    assert (outcome.index, outcome.status) == (4, "ok")
    assert load_outcomes(tmp_path) == (outcome,)


def test_the_job_is_the_request(tmp_path: Path) -> None:
    text = "assert [c['name'] for c in job['request']['cases']] == ['a', 'b']; save()"
    assert run_worker(REQUEST, tmp_path, 1, start=worker(text)).status == "ok"


def test_progress_is_passed_on(tmp_path: Path) -> None:
    told: list[Progress] = []
    text = "tell(progress={'phase': 'timing', 'done': 1.0, 'total': 2.0}); save()"
    run_worker(REQUEST, tmp_path, 1, progress=told.append, start=worker(text))
    assert told == [Progress("timing", 1.0, 2.0, None)]


def test_a_wrong_request_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    text = "journal(*ROUNDS); tell(error={'what': 'no such model', 'where': 'x', 'hint': 'y'})"
    with pytest.raises(UsageError, match="x: no such model\n  y"):
        run_worker(REQUEST, tmp_path, 1, start=worker(text))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV"])
def test_a_killed_worker_leaves_its_rounds(tmp_path: Path, name: str) -> None:
    text = f"journal(*ROUNDS); os.kill(os.getpid(), signal.{name})"
    outcome = run_worker(REQUEST, tmp_path, 1, start=worker(text))
    assert outcome.status == "failed"
    assert outcome.reason == f"killed by {name} after 2 timed rounds"
    assert outcome.rounds == {"a": {"latency_s": [1.0, 1.5]}, "b": {"latency_s": [2.0, 2.5]}}
    assert [path.name for path in tmp_path.iterdir()] == ["process-01.json"]


def test_whose_making_it_died_of_is_known(tmp_path: Path) -> None:
    text = "journal({'at': 'b'}); os.abort()"
    outcome = run_worker(REQUEST, tmp_path, 1, start=worker(text))
    assert (outcome.at, outcome.reason) == ("b", "killed by SIGABRT while b was made ready")


def test_out_of_memory_is_told_from_other_kills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills = iter([2, 3])
    monkeypatch.setattr(supervisor, "_out_of_memory_kills", lambda: next(kills))
    text = "os.kill(os.getpid(), signal.SIGKILL)"
    outcome = run_worker(REQUEST, tmp_path, 1, start=worker(text))
    assert outcome.reason == "killed by SIGKILL, out of memory, after 0 timed rounds"


def test_kills_are_counted_by_the_control_group(tmp_path: Path) -> None:
    assert supervisor._out_of_memory_kills(tmp_path) == 0
    (tmp_path / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    assert supervisor._out_of_memory_kills(tmp_path) == 2


def test_a_worker_that_ends_without_a_word_is_failed_with_its_last_line(tmp_path: Path) -> None:
    text = "print('one', file=sys.stderr); raise RuntimeError('it broke')"
    outcome = run_worker(REQUEST, tmp_path, 1, start=worker(text))
    assert outcome.reason == (
        "ended with exit code 1 and no result (RuntimeError: it broke) after 0 timed rounds"
    )


def test_a_worker_that_does_not_even_read_its_job(tmp_path: Path) -> None:
    big = asked(*(f"{'x' * 1000}{index}" for index in range(200)))
    start = partial(Fresh, command=(sys.executable, "-S", "-c", "raise SystemExit(3)"))
    outcome = run_worker(big, tmp_path, 1, start=start)
    assert "exit code 3" in str(outcome.reason)


def test_a_silent_worker_is_killed_and_keeps_its_rounds(tmp_path: Path) -> None:
    """Patience is counted on a clock of ours: no test waits for it."""
    jumps = iter([0.0, 0.0, 0.0])  # begun, patience set, woken by a word on stderr
    text = "journal(*ROUNDS); print('x', file=sys.stderr, flush=True); signal.pause()"
    outcome = run_worker(
        REQUEST,
        tmp_path,
        1,
        limits=Limits(silence_s=60.0),
        start=worker(text),
        now=lambda: next(jumps, 100.0),
    )
    assert outcome.status == "failed"
    assert str(outcome.reason).startswith("hung: not a word for 60 s, and was killed")


INTERRUPTIBLE = """
journal(*ROUNDS)
def stop(number, frame):
    save("interrupted", "interrupted after 2 timed rounds")
    os._exit(0)
signal.signal(signal.SIGINT, stop)
tell(progress={'phase': 'timing', 'done': 1.0, 'total': 2.0})
signal.pause()
"""


def test_ctrl_c_is_passed_on_and_what_the_worker_had_is_the_outcome(tmp_path: Path) -> None:
    outcome = run_worker(
        REQUEST,
        tmp_path,
        1,
        progress=lambda progress: _thread.interrupt_main(),
        start=worker(INTERRUPTIBLE),
    )
    assert (outcome.status, outcome.reason) == ("interrupted", "interrupted after 2 timed rounds")


def test_a_worker_that_dies_of_ctrl_c_leaves_its_journal(tmp_path: Path) -> None:
    text = INTERRUPTIBLE.replace('save("interrupted", "interrupted after 2 timed rounds")', "")
    outcome = run_worker(
        REQUEST,
        tmp_path,
        1,
        progress=lambda progress: _thread.interrupt_main(),
        start=worker(text),
    )
    assert outcome.status == "interrupted"
    assert outcome.rounds["b"]["latency_s"] == [2.0, 2.5]


def test_a_worker_that_ignores_ctrl_c_is_killed_by_the_second(tmp_path: Path) -> None:
    told = 0

    def interrupt(progress: Progress) -> None:
        nonlocal told
        told += 1
        _thread.interrupt_main()

    text = """
journal(*ROUNDS)
def again(number, frame):
    tell(progress={'phase': 'timing', 'done': 2.0, 'total': 2.0})
signal.signal(signal.SIGINT, again)
tell(progress={'phase': 'timing', 'done': 1.0, 'total': 2.0})
while True:
    signal.pause()
"""
    outcome = run_worker(REQUEST, tmp_path, 1, progress=interrupt, start=worker(text))
    assert told == 2
    assert outcome.status == "interrupted"


def test_nothing_a_worker_started_outlives_it(tmp_path: Path) -> None:
    text = """
import subprocess
subprocess.Popen([sys.executable, "-S", "-c", "import signal; signal.pause()"])
print("x", file=sys.stderr, flush=True)
signal.pause()
"""
    jumps = iter([0.0, 0.0, 0.0])
    outcome = run_worker(
        REQUEST,
        tmp_path,
        1,
        limits=Limits(silence_s=60.0),
        start=worker(text),
        now=lambda: next(jumps, 1e9),
    )
    assert outcome.status == "failed"


# --- limits --------------------------------------------------------------------------------------

SILENT = "journal(*ROUNDS); print('x', file=sys.stderr, flush=True); signal.pause()"


def passing(*seconds: float) -> Callable[[], float]:
    """A clock of ours: each look at it is one of these, and then the last for ever."""
    times = chain(seconds, repeat(seconds[-1]))
    return lambda: next(times)


def test_a_worker_knows_its_deadline(tmp_path: Path) -> None:
    text = "assert job['deadline'] == 2e9; save()"
    outcome = run_worker(REQUEST, tmp_path, 1, limits=Limits(deadline=2e9), start=worker(text))
    assert outcome.status == "ok"
    text = "assert job['deadline'] is None; save()"
    assert run_worker(REQUEST, tmp_path, 2, start=worker(text)).status == "ok"


def test_a_worker_that_does_not_heed_its_deadline_is_cut_and_keeps_its_rounds(
    tmp_path: Path,
) -> None:
    limits = Limits(deadline=10.0, grace_s=2.0)
    # Begun, patience set, and woken by a word on stderr.
    now = passing(0.0, 0.0, 0.0, 12.0)
    outcome = run_worker(REQUEST, tmp_path, 1, limits=limits, start=worker(SILENT), now=now)
    assert (outcome.status, outcome.at) == ("cut", None)
    assert outcome.reason == f"{OUT_OF_TIME} after 2 timed rounds"
    assert outcome.rounds["b"]["latency_s"] == [2.0, 2.5]
    assert load_outcomes(tmp_path) == (outcome,)


def test_who_was_made_ready_when_time_was_over_is_not_to_blame(tmp_path: Path) -> None:
    limits = Limits(deadline=10.0)
    text = SILENT.replace("*ROUNDS", "{'at': 'b'}")
    now = passing(0.0, 0.0, 0.0, 11.0)
    outcome = run_worker(REQUEST, tmp_path, 1, limits=limits, start=worker(text), now=now)
    assert (outcome.status, outcome.at) == ("cut", None)
    assert outcome.reason == f"{OUT_OF_TIME} while b was made ready"


def test_until_the_grace_is_over_a_worker_may_save(tmp_path: Path) -> None:
    limits = Limits(deadline=10.0, grace_s=20.0)
    now = passing(0.0, 0.0, 12.0)
    outcome = run_worker(REQUEST, tmp_path, 1, limits=limits, start=worker("save()"), now=now)
    assert outcome.status == "ok"


def test_what_was_saved_counts_though_its_worker_had_to_be_killed(tmp_path: Path) -> None:
    text = "save(); print('x', file=sys.stderr, flush=True); signal.pause()"
    now = passing(0.0, 0.0, 0.0, 12.0)
    limits = Limits(deadline=10.0)
    outcome = run_worker(REQUEST, tmp_path, 1, limits=limits, start=worker(text), now=now)
    assert (outcome.status, outcome.took_s) == ("ok", 1.0)


def test_the_last_word_is_told_again_while_there_is_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_NEWS_S", 0.02)
    told: list[Progress] = []

    def tell(progress: Progress) -> None:
        told.append(progress)
        if len(told) == 3:
            (tmp_path / "go").touch()

    text = """
import time
tell(progress={'phase': 'timing', 'done': 1.0, 'total': 2.0})
while not os.path.exists(os.path.join(job["folder"], "go")):
    time.sleep(0.01)
save()
"""
    run_worker(REQUEST, tmp_path, 1, progress=tell, start=worker(text))
    words = set(told)
    assert words <= {Progress("starting", 0.0, None), Progress("timing", 1.0, 2.0, None)}
    assert len(told) >= 3
