"""Workers that are forks: for real, on the smallest model, and what a fork must not share."""

from __future__ import annotations

import _thread
import dataclasses
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch

from detrbench.models.model import Model
from detrbench.reports.case import Case, Execution
from detrbench.reports.parse_cases import make_cases
from detrbench.timing import forkserver, starting
from detrbench.timing.opened import build_case
from detrbench.timing.process import Request
from detrbench.timing.records import Outcome
from detrbench.timing.rounds import Progress
from detrbench.timing.starting import Forked, ForkServer, Fresh, Start
from detrbench.timing.stop_rules import Plan
from detrbench.timing.supervisor import run_worker
from tests.timing.processes import children, ends

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every worker is fresh")

(CASE,) = make_cases(
    ["shufflev2-x0.5"], {"nc": [1], "imgsz": [(64, 64)], "threads": [1], "fused": [True]}
)
QUICK = Request((CASE,), plan=Plan(budget_s=None, rounds=2, warmup_s=0.0), resources=False)
ENDLESS = dataclasses.replace(QUICK, plan=Plan(budget_s=None, rounds=10**6))


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    one = ForkServer([CASE])
    yield one
    one.close()
    assert one._process.returncode is not None


def in_timing(do: Callable[[], None]) -> Callable[[Progress], None]:
    """Does it once, as soon as a worker times."""
    done: list[Progress] = []

    def told(progress: Progress) -> None:
        if progress.phase == "timing" and not done:
            done.append(progress)
            do()

    return told


# --- a fork for real -----------------------------------------------------------------------------


def shape(outcome: Outcome) -> object:
    """All of an outcome but how long anything took."""
    measured = outcome.measurement
    assert measured is not None
    (series,) = measured.series
    lengths = {name: len(samples) for name, samples in series.samples.items()}
    facts = (series.status, series.reason, series.clock, lengths, set(series.first))
    return outcome.status, measured.subjects, facts, set(measured.environment)


def test_a_fork_gives_what_a_fresh_process_gives(server: ForkServer, tmp_path: Path) -> None:
    forked = run_worker(QUICK, tmp_path, 1, start=server.start)
    fresh = run_worker(QUICK, tmp_path, 2)
    assert forked.status == "ok"
    assert shape(forked) == shape(fresh)
    assert forked.took_s < fresh.took_s, "it has nothing to import"


def test_every_worker_is_a_process_of_its_own_and_is_over_with_its_work(
    server: ForkServer, tmp_path: Path
) -> None:
    workers: list[int] = []

    def look(progress: Progress) -> None:
        workers.extend(set(children(server._process.pid)) - set(workers))

    for index in (1, 2):
        assert run_worker(QUICK, tmp_path, index, start=server.start, progress=look).status == "ok"
    assert len(workers) == 2
    assert server._process.pid not in workers
    assert children(server._process.pid) == []


def test_a_job_larger_than_a_pipe_is_handed_over(server: ForkServer, tmp_path: Path) -> None:
    def start(job: bytes) -> starting.Process:
        return server.start(job + b" " * 200_000)

    assert run_worker(QUICK, tmp_path, 1, start=start).status == "ok"


def test_ctrl_c_reaches_a_fork_and_its_rounds_are_kept(server: ForkServer, tmp_path: Path) -> None:
    outcome = run_worker(
        ENDLESS, tmp_path, 1, start=server.start, progress=in_timing(_thread.interrupt_main)
    )
    assert outcome.status == "interrupted"
    assert outcome.measurement is not None
    assert len(outcome.measurement.series[0].latency_s) >= 4
    assert children(server._process.pid) == []


def test_a_fork_that_is_killed_is_a_failed_outcome_and_the_next_is_not(
    server: ForkServer, tmp_path: Path
) -> None:
    def kill() -> None:
        for worker in children(server._process.pid):
            os.kill(worker, signal.SIGKILL)

    dead = run_worker(ENDLESS, tmp_path, 1, start=server.start, progress=in_timing(kill))
    assert dead.status == "failed"
    assert str(dead.reason).startswith("killed by SIGKILL after")
    assert len(dead.rounds[CASE.name]["latency_s"]) >= 4
    assert run_worker(QUICK, tmp_path, 2, start=server.start).status == "ok"


def test_a_server_that_dies_costs_one_process_and_the_next_is_a_fresh_one(tmp_path: Path) -> None:
    mortal = ForkServer([CASE])
    workers: list[int] = []

    def kill() -> None:
        workers.extend(children(mortal._process.pid))
        mortal._process.kill()

    try:
        outcome = run_worker(ENDLESS, tmp_path, 1, start=mortal.start, progress=in_timing(kill))
        assert (outcome.status, outcome.reason) == (
            "failed",
            "the process has died that it was forked of",
        )
        assert len(workers) == 1
        assert ends(workers[0])
        following = mortal.start(b"")
        following.close()
        assert isinstance(following, Fresh)
    finally:
        mortal.close()


# --- a server of a few lines ---------------------------------------------------------------------


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def forked(sockets: tuple[socket.socket, socket.socket], server: object) -> Forked:
    """A worker whose fork is asked for; the pipes that a server would get are closed."""
    one = Forked(sockets[0], server, b"")  # type: ignore[arg-type]
    for pipe in socket.recv_fds(sockets[1], 1, 3)[1]:
        os.close(pipe)
    return one


def test_what_is_not_forked_yet_is_killed_with_its_server(
    sockets: tuple[socket.socket, socket.socket], sleeper: subprocess.Popen[bytes]
) -> None:
    worker = forked(sockets, sleeper)
    worker.kill(signal.SIGINT)
    assert sleeper.wait() == -signal.SIGKILL
    sockets[1].close()
    worker.wait()
    worker.close()
    assert worker.returncode == -signal.SIGKILL


def test_a_fork_s_number_and_end_are_heard_in_any_pieces(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    worker = forked(sockets, None)
    for piece in (b"pi", b"d 12", b"34\nex", b"it 3\n"):
        sockets[1].sendall(piece)
        worker._hear(block=False)
    worker.wait()
    worker.close()
    assert (worker._pid, worker.returncode) == (1234, 3)


def test_a_fork_that_is_no_group_yet_is_killed_all_the_same(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    with subprocess.Popen(["sleep", "1000"]) as young:  # in our group
        worker = forked(sockets, None)
        sockets[1].sendall(f"pid {young.pid}\n".encode())
        worker.kill(signal.SIGKILL)
        assert young.wait() == -signal.SIGKILL
        sockets[1].sendall(b"exit -9\n")
        worker.close()


def test_a_fork_whose_server_has_died_is_not_left_running(
    sockets: tuple[socket.socket, socket.socket], sleeper: subprocess.Popen[bytes]
) -> None:
    worker = forked(sockets, None)
    sockets[1].sendall(f"pid {sleeper.pid}\n".encode())
    sockets[1].close()
    worker.close()
    assert sleeper.wait() == -signal.SIGKILL


def test_no_pipe_is_left_of_a_server_that_is_gone(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    sockets[1].close()
    before = set(Path("/proc/self/fd").iterdir())
    with pytest.raises(OSError, match=r"."):
        Forked(sockets[0], None, b"")  # type: ignore[arg-type]
    assert set(Path("/proc/self/fd").iterdir()) == before


# --- what a fork begins with ---------------------------------------------------------------------


@pytest.fixture
def shelf() -> Iterator[forkserver._Shelf]:
    threads = torch.get_num_threads()
    yield forkserver._Shelf([CASE])
    torch.set_num_threads(threads)


def test_a_model_of_the_shelf_is_the_model_and_shares_no_memory(shelf: forkserver._Shelf) -> None:
    fresh, taken, again = build_case(CASE), shelf.build(CASE), shelf.build(CASE)
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        ours, theirs = (each.module.eval()(images) for each in (taken, fresh))
    assert _tensors(ours)
    assert all(map(torch.equal, _tensors(ours), _tensors(theirs)))
    assert dataclasses.replace(taken, module=fresh.module) == fresh
    memory = [{each.data_ptr() for each in one.module.parameters()} for one in (taken, again)]
    assert memory[0].isdisjoint(memory[1])


def _tensors(outputs: object) -> list[torch.Tensor]:
    if isinstance(outputs, torch.Tensor):
        return [outputs]
    parts: Sequence[object] = ()
    if isinstance(outputs, dict):
        parts = tuple(outputs.values())
    elif isinstance(outputs, list | tuple):
        parts = outputs
    return [tensor for part in parts for tensor in _tensors(part)]


def test_what_the_shelf_could_not_build_a_worker_tells() -> None:
    threads = torch.get_num_threads()
    missing = Case("x", Model("x", "no-such-model"), Execution())
    try:
        assert forkserver._Shelf([missing])._built == {}
    finally:
        torch.set_num_threads(threads)


# --- which way -----------------------------------------------------------------------------------


class Recorder:
    """Stands for a server: which cases it is to build, and whether it was closed."""

    asked: list[Recorder]

    def __init__(self, cases: Sequence[Case]) -> None:
        self.cases, self.closed = list(cases), False
        self.asked.append(self)

    def start(self, job: bytes) -> starting.Process:
        raise NotImplementedError

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> list[Recorder]:
    Recorder.asked = []
    monkeypatch.setattr(starting, "ForkServer", Recorder)
    return Recorder.asked


def way(*cases: Case) -> Start:
    with starting.starting(cases) as start:
        return start


def test_eager_on_the_processor_is_forked_and_the_server_is_gone_afterwards(
    servers: list[Recorder],
) -> None:
    assert way(CASE) == servers[0].start
    assert (servers[0].cases, servers[0].closed) == ([CASE], True)


@pytest.mark.parametrize("execution", [{"device": "cuda"}, {"runtime": "compile"}])
def test_one_case_that_does_not_survive_a_fork_makes_all_fresh(
    execution: dict[str, object], servers: list[Recorder]
) -> None:
    other = Case("other", CASE.model, dataclasses.replace(CASE.execution, **execution))  # type: ignore[arg-type]
    assert way(CASE, other) is Fresh
    assert servers == []


def test_elsewhere_than_on_linux_every_worker_is_fresh(
    servers: list[Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert way(CASE) is Fresh
    assert servers == []


@pytest.mark.parametrize(
    "model",
    [
        Model("mine", "./mine.py:build"),
        Model("theirs", "a_package.models:build"),
        dataclasses.replace(CASE.model, blocks="my_blocks.py"),
    ],
    ids=["a file", "a package", "blocks of one's own"],
)
def test_models_that_run_the_user_s_code_are_built_by_each_worker_anew(
    model: Model, servers: list[Recorder]
) -> None:
    way(CASE, Case("mine", model, CASE.execution))
    assert servers[0].cases == [CASE]
