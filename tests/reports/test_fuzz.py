"""Mutants of reports, through every command that reads one: each is shown, judged, or refused with
the place, and a gate that passes one found nothing in it that is worse. Mutants of run folders
likewise, through what goes on with them.

DETRBENCH_FUZZ=N tries N mutants with other seeds, of real reports too, for as long as that takes.
"""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from detrbench.analysis.predict import Lesson
from detrbench.analysis.probe.device_profile import DeviceProfile
from detrbench.analysis.probe.tables import ceilings_table
from detrbench.cli import main
from detrbench.compare.diff import difference
from detrbench.compare.gate import Outcome, gate
from detrbench.compare.gate.tables import document
from detrbench.compare.history import collect, history
from detrbench.core.errors import DetrbenchError, UsageError
from detrbench.experiments import suites
from detrbench.machine import state
from detrbench.render import FORMATS, render, render_document
from detrbench.render.layout import Document
from detrbench.reports.report import Report, ReportError, json_text
from detrbench.reports.soundness import contradictions
from detrbench.timing.plan import Budget, RunPlan
from detrbench.timing.records import End, save_outcome, save_request
from detrbench.timing.replication import load_run
from detrbench.timing.resolution import Resolution, remember, remembered
from detrbench.timing.rows import latency_report
from tests.analysis.probe.profiles import BUSY, PROFILE
from tests.compare.gates import modern, run
from tests.mutants import LONGER, mutant
from tests.timing.runs import run_of, taken

MUTANTS = int(os.environ.get("DETRBENCH_FUZZ", "500"))
FIRST_SEED = 10_000 if LONGER else 0
CHUNK = 50  # mutants of one test

SAVED = Path(__file__).parents[2] / "reports"
REAL = (
    "2026-11-24-amd-epyc-2cpu-article/run.json",
    "2026-11-24-amd-epyc-2cpu-explain/stage.json",
    "2026-11-27-amd-epyc-2cpu-mixed/run.json",
)
TRUE = {
    "schema 1": json.dumps(run()),
    "schema 2": json.dumps(modern(run())),
    **({name: (SAVED / name).read_text(encoding="utf-8") for name in REAL} if LONGER else {}),
}
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
JUDGED = (
    "params", "flops", "memory_access_elements", "traffic_eager_bytes", "traffic_fused_bytes",
    "peak_activation_bytes", "kernels",
)  # fmt: skip
"""Counts that the tables of these reports show, of which none may grow."""


def of_chunk(chunk: int) -> range:
    first = FIRST_SEED + chunk * CHUNK
    return range(first, first + CHUNK)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("chunk", range(-(-MUTANTS // CHUNK)))
def test_a_mutant_of_a_report_is_judged_or_refused(chunk: int, folder: Path) -> None:
    faults = [f"seed {seed}: {what}" for seed in of_chunk(chunk) for what in _faults(seed, folder)]
    assert not faults


def _faults(seed: int, folder: Path) -> Iterator[str]:
    """What is done with a mutant that must not be."""
    rng = random.Random(seed)
    form = rng.choice(FORMATS if LONGER else FORMATS[:-1])  # a page takes longer than all others
    true, text = _written(rng, folder)
    whole = Report.load("true.json")
    try:
        found = Report.load("mutant.json")
    except ReportError as error:
        if not (error.where and error.hint):
            yield f"refused without a place or a hint: {error}"
        reports, left_out = collect(folder)
        if [*reports] != ["true.json"] or len(left_out) != 1:
            yield f"history has {[*reports]} and leaves {left_out} out"
        return
    uses: dict[str, Callable[[], str]] = {
        "report": lambda: render(found, form),
        "diff": lambda: render_document(difference(whole, found), form),
        "history": lambda: render_document(history(collect(folder)[0], "params"), form),
        "gate": lambda: _gated(true, text, found, whole, form),
        "as baseline": lambda: _gated(text, true, whole, found, form),
    }
    for name, use in uses.items():
        try:
            said = use()
        except DetrbenchError as error:
            said = str(error)
        except AssertionError as worse:
            said = ""
            yield f"{name}: {worse}"
        except Exception as error:
            said = ""
            yield f"{name}: {type(error).__name__}: {error}"
        yield from (f"{name}: {unsafe} in {form}" for unsafe in _unsafe(said))


def _written(rng: random.Random, folder: Path) -> tuple[str, str]:
    """A mutant and the true report that it is of, both in their files."""
    name, text = mutant(TRUE, rng)
    (folder / "mutant.json").write_text(text, encoding="utf-8")
    (folder / "true.json").write_text(TRUE[name], encoding="utf-8")
    return TRUE[name], text


def _gated(then: str, now: str, report: Report, baseline: Report, form: str) -> str:
    result = gate(report, baseline)
    if result.outcome is Outcome.PASS:
        assert not [*_worse(then, now)], f"passes, and {[*_worse(then, now)]}"
    return render_document(document(result), form)


def _unsafe(said: str) -> Iterator[str]:
    """What of an output a terminal or a workflow would obey."""
    if found := CONTROL.search(said):
        yield repr(found.group())
    if re.search(r"^::", said, re.MULTILINE):
        yield "a workflow command"


@pytest.mark.parametrize("seed", range(FIRST_SEED - 50, FIRST_SEED)[:: 1 if LONGER else 3])
def test_a_command_line_ends_as_it_may(
    seed: int, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    true, text = _written(random.Random(seed), folder)
    refused = _refused(text)
    has_params = any(row["metrics"].get("params") for row in json.loads(true)["rows"])
    for line, codes in {
        "report mutant.json": {2} if refused else {0},
        "diff true.json mutant.json": {2} if refused else {0},
        # Without the mutant it may have nothing of it to show.
        "history . --metric params": {0} if has_params else {2},
        "gate mutant.json --baseline true.json": {4} if refused else {0, 1, 3, 4},
        "gate true.json --baseline mutant.json": {4} if refused else {0, 1, 3, 4},
    }.items():
        code = main(line.split())
        said = "".join(capsys.readouterr())
        assert code in codes, f"{line}: {said[-500:]}"
        assert not [*_unsafe(said)], line


def _refused(text: str) -> bool:
    try:
        found = Report.from_json(text)
    except ReportError:
        return True
    return any(contradictions(found.rows, found.comparisons, found.environment))


def _worse(then: str, now: str) -> Iterator[str]:
    """What of a report is worse than before, missing, or not known; told without the gate."""
    before, after = json.loads(then), json.loads(now)
    for row in before["rows"]:
        same = [one for one in after["rows"] if one["model"] == row["model"]]
        if not same:
            yield f"{row['model']} is missing"
        for key in JUDGED if same else ():
            old, new = row["metrics"].get(key), same[0]["metrics"].get(key)
            if old is not None and (new is None or new > old):
                yield f"{key} of {row['model']} was {old}, and is {new}"
    if any(one.get("status", "ok") != "ok" for each in (before, after) for one in each["rows"]):
        yield "a row is not whole"
    pairs = [{_name(one): one for one in each.get("comparisons", [])} for each in (before, after)]
    if pairs[0].keys() != pairs[1].keys():
        yield "other models are compared"
        return
    for key, one in pairs[0].items():
        grown = pairs[1][key]["ratio"] / one["ratio"]
        if grown > 1.05:
            yield f"the ratio of {key} grew by {grown - 1:.1%}"


def _name(pair: dict[str, Any]) -> str:
    return str(pair["model"] if "model" in pair else pair["case"]["model"])


# --- folders of runs -----------------------------------------------------------------------------


def _begun(folder: Path) -> dict[str, str]:
    """The files of a run that was cut after its first process, and of the suite that it is of."""
    first = run_of([taken(1.0, 1.2), taken(1.1, 1.3)])
    within = folder / "processes-1"
    within.mkdir(parents=True)
    save_request(
        within, first.request, Budget(budget_s=33.0), RunPlan(8, 6, 10.0, 70.0, 0.01), End(0.05)
    )
    save_outcome(within, first.outcomes[0])
    suite = suites.Suite("pair", "A pair", first.request.cases)
    suites._save_asked(folder, suite)
    return {
        str(file.relative_to(folder)): file.read_text(encoding="utf-8")
        for file in folder.rglob("*.json")
    }


@pytest.mark.parametrize("chunk", range(-(-MUTANTS // CHUNK)))
def test_a_mutant_of_a_run_is_gone_on_with_or_refused(chunk: int, tmp_path: Path) -> None:
    true = _begun(tmp_path)
    ends = [_end(seed, tmp_path, true) for seed in of_chunk(chunk)]
    assert {"read", "refused"} == set(ends), "it tries nothing if all are of one kind"


def _end(seed: int, folder: Path, true: dict[str, str]) -> str:
    name, text = mutant(true, random.Random(seed))
    for file, whole in (true | {name: text}).items():
        (folder / file).write_text(whole, encoding="utf-8")
    try:
        with pytest.raises(DetrbenchError):  # no time is left to count anything
            suites.resume(folder, budget_s=0)
        report = latency_report(load_run(folder / "processes-1"))
        found = next(contradictions(report.rows, report.comparisons, report.environment), None)
        return f"seed {seed}: {name} became {found}" if found else "read"
    except DetrbenchError as error:
        return "refused" if error.hint else f"seed {seed}: no hint in {error}"
    except Exception as error:
        return f"seed {seed}: {name}: {type(error).__name__}: {error}"


# --- what a machine remembers --------------------------------------------------------------------


def _read_profile(file: Path) -> str:
    """What `predict` and `claims` do with a profile, before anything is counted."""
    found = DeviceProfile.load(file)
    lesson = Lesson.from_dict(found.learned, str(file)) if found.learned else None
    notes = [each for each in (found.caution, lesson and str(lesson)) if each]
    page = Document((ceilings_table(found.ceilings, "Ceilings", notes),), [], {})
    return json_text(found.to_dict()) + render_document(page, "table")


@pytest.mark.parametrize("chunk", range(-(-MUTANTS // CHUNK // 4)))
def test_a_mutant_of_a_profile_is_read_or_refused(chunk: int, tmp_path: Path) -> None:
    true, file = {"profile": json_text(PROFILE.to_dict())}, tmp_path / "device.json"
    ends = set()
    for seed in of_chunk(chunk):
        file.write_text(mutant(true, random.Random(seed))[1], encoding="utf-8")
        try:
            said = _read_profile(file)
            ends |= {"read", *_unsafe(said)}
        except UsageError as error:
            ends.add("refused" if error.hint or "cannot be read" in error.what else str(error))
        except Exception as error:
            ends.add(f"seed {seed}: {type(error).__name__}: {error}")
    assert ends == {"read", "refused"}


@pytest.mark.parametrize("chunk", range(-(-MUTANTS // CHUNK // 4)))
def test_a_mutant_of_a_memory_is_one_or_none(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    here = state.machine("cpu")  # read once: it takes longer than all else
    monkeypatch.setattr(state, "machine", lambda *_: here)
    resolution = Resolution(
        0.0115, 0.009, 10.0, 120.0, 0.015, "rtdetr-l", "320x320", "2026-01-02", BUSY.seen,
        {"rtdetr-l.yaml": "ab" * 32},
    )  # fmt: skip
    remember(resolution, "cpu")
    file = state.state_file("selfcheck")
    true = {"memory": file.read_text(encoding="utf-8")}
    ends = set()
    for seed in of_chunk(chunk):
        file.write_text(mutant(true, random.Random(seed))[1], encoding="utf-8")
        try:
            found = remembered("cpu")
            ends.add("none" if found is None else found.too_small(0.01)[:1])
        except Exception as error:
            ends.add(f"seed {seed}: {type(error).__name__}: {error}")
    assert ends == {"none", "a"}
    remember(resolution, "cpu")  # in the place of whatever was there
    assert remembered("cpu") == resolution
