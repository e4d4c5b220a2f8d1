from __future__ import annotations

import copy
import dataclasses
import itertools
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from detrbench.core.errors import DetrbenchError, UsageError
from detrbench.timing.journal import Journal, Told, read_journal
from detrbench.timing.plan import Budget, RunPlan
from detrbench.timing.process import Request
from detrbench.timing.records import (
    End,
    Outcome,
    from_journal,
    journal_path,
    load_outcomes,
    load_request,
    naming,
    process_path,
    run_folder,
    save_outcome,
    save_request,
)
from detrbench.timing.replication import load_run
from detrbench.timing.rounds import OUT_OF_TIME, Progress
from detrbench.timing.rows import latency_report
from detrbench.timing.selfcheck import case_with_load
from tests.timing.runs import case, measured, run_of, taken

REQUEST = Request((case("a", threads=2), case_with_load(case("a", threads=2), "b", 3)))
ANY = Progress("timing", 0.0, None, None)


def write_journal(path: Path) -> None:
    journal = Journal(path)
    journal.at("a")
    journal.at(None)
    journal.channels({"a": ["latency_s", "wall_s"], "b": ["latency_s"]})
    journal.round([(0.1, 0.2), (0.3,)])
    journal.round([(0.4, 0.5), None])
    journal.close()


def test_an_outcome_survives_the_disk_to_the_last_digit(tmp_path: Path) -> None:
    measurement = measured(REQUEST, {"a": taken(0.1 + 0.2, 1 / 3), "b": taken(1.0)})
    outcome = Outcome(3, took_s=1.5, measurement=measurement)
    save_outcome(tmp_path, outcome)
    assert load_outcomes(tmp_path) == (outcome,)
    assert process_path(tmp_path, 3).name == "process-03.json"


def test_a_saved_outcome_needs_no_journal(tmp_path: Path) -> None:
    write_journal(journal_path(tmp_path, 1))
    save_outcome(tmp_path, Outcome(1))
    assert [path.name for path in tmp_path.iterdir()] == ["process-01.json"]


def test_a_process_of_which_only_the_journal_is_left_is_a_failed_one(tmp_path: Path) -> None:
    save_outcome(tmp_path, Outcome(1))
    write_journal(journal_path(tmp_path, 2))
    first, second = load_outcomes(tmp_path)
    assert first.status == "ok"
    assert (second.status, second.at) == ("failed", None)
    assert second.reason == "the run was killed after 2 timed rounds"
    assert second.rounds == {
        "a": {"latency_s": [0.1, 0.4], "wall_s": [0.2, 0.5]},
        "b": {"latency_s": [0.3]},
    }


def test_a_journal_knows_whose_making_it_was(tmp_path: Path) -> None:
    journal = Journal(journal_path(tmp_path, 1))
    journal.at("a")
    journal.at("b")
    journal.close()
    (outcome,) = load_outcomes(tmp_path)
    assert outcome.at == "b"
    assert outcome.reason == "the run was killed while b was made ready"


def timed(folder: Path) -> None:
    """A process that died while b ran, in its second timed round."""
    journal = Journal(journal_path(folder, 1))
    journal.at("a")
    journal.at(None)
    journal.channels({"a": ["latency_s"], "b": ["latency_s"]})
    journal.during("a")
    journal.during("b")
    journal.round([[0.1], [0.2]])
    journal.during("b")
    journal.close()


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGBUS"])
def test_a_crash_in_a_timed_round_is_of_the_model_that_ran(name: str, tmp_path: Path) -> None:
    timed(tmp_path)
    outcome = from_journal(tmp_path, 1, f"killed by {name}")
    assert outcome.at == "b"
    assert outcome.reason == f"killed by {name} while b ran, after 1 timed round"


def test_nobody_is_blamed_for_a_process_that_was_killed(tmp_path: Path) -> None:
    timed(tmp_path)
    outcome = from_journal(tmp_path, 1, "killed by SIGKILL, out of memory,")
    assert outcome.at is None
    assert outcome.reason == "killed by SIGKILL, out of memory, after 1 timed round"


def test_a_torn_last_line_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    write_journal(path)
    path.write_bytes(path.read_bytes()[:-5])
    assert read_journal(path).rounds["a"]["latency_s"] == [0.1]


def test_rounds_of_a_warm_up_are_no_rounds_in_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    journal = Journal(path)
    journal.channels({"a": ["latency_s", "wall_s"], "b": ["latency_s"]})
    for second in (9.0, 5.0, 2.0):
        journal.round([(second, second + 1), (second,)])
    journal.counted(2)
    journal.round([(1.0, 2.0), (1.0,)])
    journal.close()
    assert read_journal(path).rounds == {
        "a": {"latency_s": [5.0, 2.0, 1.0], "wall_s": [6.0, 3.0, 2.0]},
        "b": {"latency_s": [5.0, 2.0, 1.0]},
    }


@pytest.mark.parametrize(
    ("statuses", "reason", "expected"),
    [
        (("ok", "ok"), None, "ok"),
        (("failed", "ok"), "output 0 has 3 NaN", "ok"),
        (("interrupted", "ok"), "interrupted after 2 timed rounds", "interrupted"),
        (("failed", "interrupted"), f"{OUT_OF_TIME} before it was timed", "cut"),
    ],
)
def test_a_process_ended_as_its_cases_did(
    statuses: tuple[str, str], reason: str | None, expected: str
) -> None:
    series = {
        name: taken(1.0, status=status, reason=None if status == "ok" else reason)
        for name, status in zip("ab", statuses, strict=True)
    }
    outcome = Outcome.of(1, measured(REQUEST, series), took_s=4.0)
    assert (outcome.status, outcome.reason) == (expected, None if expected == "ok" else reason)


def test_no_journal_tells_nothing_and_a_broken_one_is_said(tmp_path: Path) -> None:
    assert read_journal(tmp_path / "none") == Told(None, {})
    (tmp_path / "bad").write_text("{]\n")
    with pytest.raises(DetrbenchError, match="not a journal"):
        read_journal(tmp_path / "bad")


def test_a_request_and_its_plan_survive_the_disk(tmp_path: Path) -> None:
    budget = Budget(budget_s=33.0, target=0.01, least=6, extended=1)
    save_request(tmp_path, REQUEST, budget, None)
    assert load_request(tmp_path) == (REQUEST, budget, None)
    plan = RunPlan(8, 6, 10.0, 70.0, 0.01)
    save_request(tmp_path, REQUEST, budget, plan)
    assert load_request(tmp_path) == (REQUEST, budget, plan)


def test_what_was_asked_before_there_were_extensions_is_still_read(tmp_path: Path) -> None:
    save_request(tmp_path, REQUEST, Budget(budget_s=33.0), RunPlan(8, 6, 10.0, 70.0, 0.01))
    path = tmp_path / "request.json"
    plain = json.loads(path.read_text())
    del plain["budget"]["least"], plain["budget"]["extended"], plain["plan"]["early"]
    path.write_text(json.dumps(plain))
    assert load_request(tmp_path)[1] == Budget(budget_s=33.0)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no request\.json"):
        load_request(tmp_path)
    (tmp_path / "request.json").write_text(json.dumps({"request": dataclasses.asdict(REQUEST)}))
    with pytest.raises((UsageError, KeyError)):
        load_request(tmp_path)
    process_path(tmp_path, 1).write_text("{")
    with pytest.raises(UsageError, match=r"process-01\.json"):
        load_outcomes(tmp_path)


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_a_temporary_folder_tells_whose_it_is(tmp_path: Path) -> None:
    with run_folder(None, "latency") as folder:
        assert folder.parent == tmp_path
        assert folder.name.startswith("detrbench-latency-")
    assert folder.is_dir()


def refused(named: Path | None, measured_in: str | None = None) -> Path:
    """The folder of a run that is refused, before or after it has measured something."""
    folders = []
    with suppress(UsageError), run_folder(named, "latency") as folder:
        folders.append(folder)
        (folder / "G2").mkdir()
        if measured_in is not None:
            save_outcome(folder / measured_in, Outcome(1))
        raise UsageError("there is no CUDA")
    return folders[0]


@pytest.mark.parametrize("name", [None, "run"])
def test_what_is_refused_leaves_no_new_folder(tmp_path: Path, name: str | None) -> None:
    refused(None if name is None else tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_refusal_is_not_kept_back() -> None:
    with pytest.raises(UsageError, match="no"), run_folder(None, "latency"):
        raise UsageError("no")


def test_a_folder_that_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(UsageError), run_folder(tmp_path, "latency"):
        raise UsageError("no")
    assert (tmp_path / "mine.txt").exists()


@pytest.mark.parametrize("part", [".", "G2"])
def test_what_was_measured_stays(part: str) -> None:
    folder = refused(None, measured_in=part)
    assert (folder / part / "process-01.json").is_file()


def test_where_samples_are_is_said_once_and_first(tmp_path: Path) -> None:
    said: list[object] = []
    progress = naming(tmp_path, said.append, said.append)
    assert progress is not None
    assert said == []
    progress(ANY)
    progress(ANY)
    assert said == [f"every process's samples are kept in {tmp_path}", ANY, ANY]


def test_without_anyone_to_tell_progress_is_what_it_is(tmp_path: Path) -> None:
    assert naming(tmp_path, None, None) is None
    told = naming(tmp_path, lambda text: None, None)
    assert told is not None
    told(ANY)


# --- what a file may hold instead ----------------------------------------------------------------

OTHER_KINDS: tuple[Any, ...] = (None, "x", -1, [[]], {"a": []})


def places(plain: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in plain data, of lists their first."""
    if path:
        yield path
    entries = plain.items() if isinstance(plain, dict) else ()
    for key, each in [*entries, *enumerate(plain[:1] if isinstance(plain, list) else ())]:
        yield from places(each, (*path, key))


def changed(plain: Any, path: tuple[Any, ...], to: Any) -> Any:
    made = copy.deepcopy(plain)
    at = made
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = to
    return made


def begun(folder: Path) -> None:
    run = run_of([taken(1.0), taken(1.1)])
    plan, end = RunPlan(8, 6, 10.0, 70.0, 0.01), End(0.05)
    save_request(folder, run.request, Budget(budget_s=33.0), plan, end)
    save_outcome(folder, run.outcomes[0])


def refusal(folder: Path) -> DetrbenchError | None:
    try:
        latency_report(load_run(folder)).to_json()
    except DetrbenchError as error:
        return error
    return None


@pytest.mark.parametrize(("name", "least"), [("request.json", 20), ("process-01.json", 30)])
def test_a_file_of_other_kinds_is_refused_or_read_and_nothing_else(
    name: str, least: int, tmp_path: Path
) -> None:
    begun(tmp_path)
    assert refusal(tmp_path) is None
    file = tmp_path / name
    plain = json.loads(file.read_text())
    refused = []
    for path, value in zip(places(plain), itertools.cycle(OTHER_KINDS), strict=False):
        file.write_text(json.dumps(changed(plain, path, value)))
        refused.append(refusal(tmp_path))
    told = [error for error in refused if error is not None]
    assert len(told) > least
    assert all(error.where or error.hint for error in told)


JOURNALS = (
    "[1]",
    "7",
    '{"at": 7}',
    '{"channels": 3}',
    '{"round": [1]}\n{}',
    '{"channels": {"a": ["latency_s"]}}\n{"round": [["x"]]}',
)


@pytest.mark.parametrize("text", JOURNALS)
def test_a_journal_of_other_kinds_is_said(text: str, tmp_path: Path) -> None:
    journal_path(tmp_path, 1).write_text(f"{text}\n")
    with pytest.raises(DetrbenchError, match="not a journal"):
        load_outcomes(tmp_path)


def test_what_is_of_no_process_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "process-x.part.jsonl").write_text("{]\n")
    assert load_outcomes(tmp_path) == ()
