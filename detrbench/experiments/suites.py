"""Suites: models x settings x limits in one YAML file, and the run that makes a Report of it.

Whatever a run has found is on disk before it goes on to the next step, so that neither Ctrl-C nor a
lost machine costs more than the step in hand.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from detrbench.core.alarms import alarm
from detrbench.core.errors import DetrbenchError, SpecError, TimeIsUp, UsageError
from detrbench.core.files import make_folder, read_kept, write_atomically
from detrbench.core.locks import held
from detrbench.core.processes import called_as
from detrbench.core.reading import (
    at,
    check_fields,
    mapping,
    one_of,
    one_or_more,
    parsed,
    positive,
    text,
    whole,
)
from detrbench.core.strict_yaml import Node, read_yaml
from detrbench.core.version import __version__
from detrbench.machine.devices import parse_device
from detrbench.machine.environment import Environment
from detrbench.models.catalog import find_suite
from detrbench.models.sources import check_unchanged
from detrbench.models.sources.ultralytics import PREFIX
from detrbench.render import render
from detrbench.reports.case import Case
from detrbench.reports.comparison import Comparison
from detrbench.reports.merge import join
from detrbench.reports.metrics import CONVENTION_METRICS
from detrbench.reports.parse_cases import make_cases, named, split_reference
from detrbench.reports.report import Report, Result
from detrbench.reports.settings import SETTINGS, Setting, parse_choice, setting
from detrbench.reports.verdicts import LEAST_PROCESSES, MARGIN, check_margin
from detrbench.runtimes import RUNTIMES, check_execution
from detrbench.runtimes.devices import open_device
from detrbench.timing.measuring import latency, resume_latency
from detrbench.timing.records import request_path
from detrbench.timing.replication import load_run
from detrbench.timing.rounds import OnProgress, Progress
from detrbench.timing.rows import METRIC_KEYS, latency_report


@dataclass(frozen=True)
class Suite:
    """What to run: every model under every combination of a file's settings, in the order written.
    The first case of each workload (image size, batch, ...) is its baseline."""

    name: str  # the file's, without its ending
    title: str
    cases: tuple[Case, ...]
    convention: str = "core"  # how the table counts FLOPs; the report holds all of them
    seconds: float | None = None  # for the latency of all workloads; else what verdicts take
    rounds: int | None = None  # of each process, instead of what the first one suggests
    processes: int | None = None  # exactly so many for each workload, if the time lasts
    margin: float = MARGIN  # the smallest difference worth a verdict, 0.02 for 2 %

    @property
    def workloads(self) -> tuple[tuple[Case, ...], ...]:
        """Its cases by what may be compared: each group is timed in the same rounds."""
        groups: dict[tuple[Any, ...], list[Case]] = {}
        for case in self.cases:
            groups.setdefault(case.execution.workload, []).append(case)
        return tuple(map(tuple, groups.values()))


# --- reading ----------------------------------------------------------------------------------


def load_suite(name_or_path: str | Path) -> Suite:
    """The suite called so among the built-in ones, or in a file of the user's own.

    Raises UsageError where there is none, SpecError where the file is not a suite: with file, line
    and hint.
    """
    path = find_suite(name_or_path)
    fields = mapping(read_yaml(path), ("title", "models", "settings", "convention", "limits"))
    if "models" not in fields:
        raise SpecError(
            "has no models", where=str(path), hint="Add `models: [rtdetr-l, shufflev2]`."
        )
    values = _settings(fields["settings"], path.parent) if "settings" in fields else {}
    told = _told(fields, _READERS)
    limits = _told(mapping(fields["limits"], _LIMITS), _LIMITS) if "limits" in fields else {}
    cases = _cases(fields["models"], values, path.parent)
    return Suite(path.stem, told.pop("title", path.stem), cases, **told, **limits)


_READERS: dict[str, Callable[[Node], Any]] = {
    "title": text,
    "convention": one_of("convention", CONVENTION_METRICS),
}
_LIMITS: dict[str, Callable[[Node], Any]] = {
    "seconds": positive,
    "rounds": whole,
    "processes": whole,
    "margin": lambda node: at(node, lambda: check_margin(positive(node))),
}


def _told(fields: Mapping[str, Node], readers: Mapping[str, Callable[[Node], Any]]) -> Any:
    return {key: reader(fields[key]) for key, reader in readers.items() if key in fields}


_known_runtime = parse_choice("runtime", tuple(RUNTIMES))


def _settings(node: Node, folder: Path) -> dict[str, list[Any]]:
    """Key of a setting -> its values, in the order written: a scalar is one, a list several."""
    found: dict[str, list[Any]] = {}
    for key, field in mapping(node, hint="Write such as `imgsz: 640`.").items():
        one = at(field, partial(setting, key))
        if one.key == "name":
            hint = "Write it behind that model: rtdetr-l@name=copy."
            raise field.error("a name is of one model", hint)
        if one.key in found:
            raise field.error(f"{one.key} is given twice", "Give it once.")
        found[one.key] = [_reader(one, folder)(value) for value in one_or_more(field)]
    return found


def _reader(one: Setting, folder: Path) -> Callable[[Node], Any]:
    """What reads a value of a setting; a file is looked for beside the suite first."""

    def path(written: str) -> str:
        file = _setting_beside(folder, one.key, one.parse(written))
        is_there = Path(file).exists() if one.key == "blocks" else Path(file).is_file()
        if not is_there:
            raise UsageError(f"{written} is not a file that can be read", hint="Check the path.")
        return file

    if one.is_file:
        return parsed(path)
    return parsed(_known_runtime if one.key == "runtime" else one.parse)


def _cases(node: Node, values: Mapping[str, Sequence[Any]], folder: Path) -> tuple[Case, ...]:
    """Every model under every combination of `values`."""
    items = one_or_more(node)
    written = [text(item) for item in items]
    twice = next((item for item in items if written.count(item.text) > 1), None)
    if twice is not None:
        raise twice.error(f"{twice.text} stands here twice", "Name each model once.")
    references = [_model(item, values, folder) for item in items]
    return at(node, lambda: make_cases(references, values))


def _model(item: Node, values: Mapping[str, Sequence[Any]], folder: Path) -> str:
    """The reference to one model, if nothing is wrong with it by itself."""

    def reference() -> str:
        found = _reference(item.text, folder)
        for case in make_cases([found], values):
            _known_runtime(case.execution.runtime)
        return found

    return at(item, reference)


def _reference(written: str, folder: Path) -> str:
    """A reference in which every file that lies beside the suite is found from anywhere."""
    reference, own = split_reference(written)
    place, colon, name = reference.rpartition(":")
    found = _beside(folder, reference)
    if place.endswith(".py"):
        found = f"{_beside(folder, place)}{colon}{name}"
    if reference.startswith(PREFIX):
        found = f"{PREFIX}{_beside(folder, name)}"
    told = {
        key: _setting_beside(folder, key, value) if SETTINGS[key].is_file else value
        for key, value in own.items()
    }
    return named(found, told)


def _beside(folder: Path, written: str) -> str:
    """A path that starts at `folder`, if it leads to a model from there: a file, or a folder of
    transformers, which another folder may be called like."""
    path = folder / written
    return str(path) if path.is_file() or (path / "config.json").is_file() else written


def _setting_beside(folder: Path, key: str, written: str) -> str:
    """The same of a setting's file; blocks may also be a folder of modules."""
    path = folder / written
    return str(path) if path.is_file() or (key == "blocks" and path.is_dir()) else written


# --- running ----------------------------------------------------------------------------------


def run(
    suite: str | Path | Suite,
    *,
    device: str | None = None,
    budget_s: float | None = None,
    output: str | Path | None = None,
    progress: OnProgress | None = None,
    announce: Callable[[str], None] | None = None,
) -> Report:
    """Count and time every case of `suite`, saving after each step.

    What is of one workload is timed in the same rounds, in its share of the time.

    Args:
        suite: a name, a path, or a loaded Suite.
        device: instead of the suite's own.
        budget_s: seconds for everything, instead of the suite's own for its latency.
        output: folder for run.json, table.md, table.csv, report.html, and the samples of every
            process; `reports/<date>-<device>-<suite>` of the current folder (with -2, -3, ... if
            that is taken) if `None`.
        progress: called with where the run is.
        announce: is told the plan of each workload's latency, in sentences.

    Returns:
        The Report as saved. A model that fails is a row with its reason; after Ctrl-C the rows that
        were not reached say so.

    Raises:
        UsageError: the suite, one of its models or the device is not there or not usable as given,
            or the folder holds a run.
    """
    ends = _end_of(budget_s)
    loaded = suite if isinstance(suite, Suite) else load_suite(suite)
    if device is not None:
        loaded = on_device(loaded, device)
    for case in loaded.cases:
        check_execution(case.execution, where=case.name if len(loaded.cases) > 1 else None)
    for wanted in dict.fromkeys(case.execution.device for case in loaded.cases):
        open_device(wanted)  # a device that is not there is said now, not after the counting
    where = loaded.cases[0].execution.device
    folder = free_folder(loaded.name, where) if output is None else Path(output)
    if (folder / RUN).exists():
        raise UsageError(
            "holds a run already",
            where=str(folder),
            hint=f"Go on with it: detrbench run --resume {folder}; or name another folder.",
        )
    return _go(_Run(loaded, folder, ends, progress, announce))


def resume(
    folder: str | Path,
    *,
    budget_s: float | None = None,
    progress: OnProgress | None = None,
    announce: Callable[[str], None] | None = None,
) -> Report:
    """Go on with the run in `folder`, finished or cut short; what it has is never lost.

    Args:
        budget_s: seconds more; what its own time still allows, if `None`.

    Raises:
        UsageError: there is none, or one of its files has changed.
        DetrbenchError: the seconds were over before anything was timed.
    """
    ends, where = _end_of(budget_s), Path(folder)
    going = _Run(_load_asked(where), where, ends, progress, announce)
    try:
        going.load()
    except TimeIsUp as late:  # nothing is written: what the folder has is more
        raise DetrbenchError(
            "the budget was over before the models were counted",
            where=str(folder),
            hint="Raise --budget.",
        ) from late
    return _go(going)


def _end_of(budget_s: float | None) -> float | None:
    return None if budget_s is None else time.monotonic() + budget_s


def _go(going: _Run) -> Report:
    with going.alone():
        try:
            for index, cases in enumerate(going.suite.workloads, 1):
                going.count(cases)
                going.time(cases, index)
        except TimeIsUp:
            going.give_up()
        except KeyboardInterrupt:
            going.stop()
        return going.report


RUN, ASKED, PAGE = "run.json", "suite.json", "report.html"


def _save_asked(folder: Path, suite: Suite) -> None:
    plain = {**dataclasses.asdict(suite), "cases": [case.to_dict() for case in suite.cases]}
    write_atomically(folder / ASKED, json.dumps(plain, indent=1) + "\n")


def _load_asked(folder: Path) -> Suite:
    """The suite of the run in `folder`. Raises UsageError where there is none, or one of its files
    is not what it was."""

    def parse(text: str) -> Suite:
        plain = json.loads(text)
        suite = Suite(**{**plain, "cases": tuple(map(Case.from_dict, plain["cases"]))})
        check_fields(suite)
        if not suite.cases:
            raise ValueError("it has no cases")
        for case in suite.cases:
            check_execution(case.execution, where=case.name)
        return suite

    hint = "Give the folder that `detrbench run` named."
    suite = read_kept(folder / ASKED, parse, what="run", hint=hint)
    check_unchanged((case.model for case in suite.cases), str(folder))
    return suite


def on_device(suite: Suite, device: str) -> Suite:
    """`suite` with every case on `device`. Raises UsageError for an unknown one."""
    parse_device(device)
    return with_setting(suite, "device", device)


def with_setting(suite: Suite, key: str, value: Any) -> Suite:
    """`suite` with every case executed so; what differed in nothing else is one case."""
    found: dict[tuple[Any, ...], Case] = {}
    for case in suite.cases:
        reference, told = split_reference(case.name)
        told.pop(key, None)  # of which the name then says nothing
        moved = dataclasses.replace(case, name=named(reference, told)).replace(**{key: value})
        found.setdefault((moved.model, moved.execution), moved)
    return dataclasses.replace(suite, cases=tuple(found.values()))


def free_folder(name: str, device: str) -> Path:
    """Where a run started now goes: `reports/<date>-<device>-<name>` from here, not created.

    A folder of an earlier run is never written into: the next free of -2, -3, ... is taken.
    """
    today = datetime.now().astimezone().date().isoformat()
    name = f"{today}-{_machine(Environment.read(device))}-{name}"
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    folders = (Path.cwd() / "reports" / each for each in names)
    return next(folder for folder in folders if not folder.exists())


def _machine(environment: Environment) -> str:
    """The accelerator, else the processor and how many, for a file name: amd-epyc-2cpu."""
    if environment.accelerator:
        words = environment.accelerator
    else:
        cpus = f"{environment.logical_cpus}cpu" if environment.logical_cpus else ""
        words = f"{environment.processor or 'unknown'} {cpus}"
    plain = re.sub(r"\((?:r|tm)\)|@.*?hz|\b(?:processor|cpu)\b", " ", words.lower())
    return "-".join(re.findall(r"[a-z0-9.]+", plain))


class _Run:
    """A run on its way: what was found so far, and where it is kept."""

    def __init__(
        self,
        suite: Suite,
        folder: Path,
        ends: float | None,
        progress: OnProgress | None,
        announce: Callable[[str], None] | None,
    ) -> None:
        self.suite, self._folder, self._ends = suite, folder, ends
        self._progress, self._announce = progress, announce and partial(self._say, announce)
        self._led_on = False  # whether the command that goes on was said
        self._created = datetime.now().astimezone().isoformat(timespec="seconds")
        self._environment = Environment.read(suite.cases[0].execution.device).to_dict()
        self._counted: dict[tuple[Any, ...], Result] = {}
        self._timed: dict[Case, Result] = {}
        self._comparisons: tuple[Comparison, ...] = ()
        self._given_s = 0.0 if ends is None else ends - time.monotonic()
        self._late = False
        self._save_s = 0.0  # what it took the last time

    @property
    def report(self) -> Report:
        """What would be left if the run ended now, rows not reached yet included."""
        rows: dict[str, Result] = {}
        for case in itertools.chain(*self.suite.workloads):
            counted = self._counted.get(_counted_as(case))
            row = _row(case, counted, self._timed.get(case), self._late)
            # Settings that differ in the file (cuda and cuda:0, or nc: 80 and none where the
            # model's own is 80) may turn out to be the same ones: a report has each row once.
            rows.setdefault(row.identity, row)
        kept = {row.case for row in rows.values()}
        return Report(
            title=self.suite.title,
            command=f"detrbench run {self.suite.name}",
            created=self._created,
            detrbench_version=__version__,
            environment=self._environment,
            rows=tuple(rows.values()),
            comparisons=tuple(pair for pair in self._comparisons if pair.case.case in kept),
        )

    def save(self) -> None:
        """run.json first: the others are made from it. Each is the old or the whole new one."""
        began = time.monotonic()
        report = self._save_run()
        views = {"table.md": "markdown", "table.csv": "csv", PAGE: "html"}
        if self._late and not (self._folder / PAGE).exists():
            del views[PAGE]  # which takes seconds, of models that were not counted
        for name, view in views.items():
            write_atomically(self._folder / name, render(report, view))
        self._save_s = time.monotonic() - began

    def _save_run(self) -> Report:
        report = self.report
        make_folder(self._folder)
        _save_asked(self._folder, self.suite)
        report.save(self._folder / RUN)
        return report

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other run writes into the folder meanwhile; one that was refused leaves none."""
        new = not self._folder.exists()
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            with held(self._folder, self._announce):
                yield
        finally:
            if new and not any(self._folder.iterdir()):
                self._folder.rmdir()

    def give_up(self) -> None:
        """The time is over before everything was timed, or even counted."""
        self._late = True
        self.save()
        if self._announce:
            more = f" --budget {math.ceil(4 * self._given_s)}"
            self._announce(f"the budget was over; {self._next_command}{more}")

    def stop(self) -> None:
        """Ctrl-C: every row already says how far it came."""
        self.save()
        if self._announce and not self._led_on:
            self._announce(self._next_command)

    def _say(self, announce: Callable[[str], None], text: str) -> None:
        self._led_on = self._led_on or "go on with: " in text
        announce(text)

    @property
    def _next_command(self) -> str:
        return f"go on with: {called_as()} run --resume {self._folder}"

    def count(self, cases: Sequence[Case], save: bool = True) -> None:
        """Count each case, saving after each; what differs in no count is counted once."""
        with alarm(None if self._ends is None else self._ends - time.monotonic()):
            for done, case in enumerate(cases):
                if _counted_as(case) in self._counted:
                    continue
                if self._progress:
                    self._progress(Progress(f"counting {case.name}", done, len(cases), None))
                self._counted[_counted_as(case)] = _profiled(case, self.suite.convention)
                if save:
                    self._save_run()
            if save:
                self.save()

    def time(self, cases: Sequence[Case], index: int) -> None:
        """Time the cases of workload `index` against each other, in their share of the time. Every
        process's samples are on disk before the next begins, and stay, so that it can go on."""
        processes, seconds = self._processes(index), self._share_s(index)
        if seconds is not None and seconds <= 0:
            raise TimeIsUp
        told: dict[str, Any] = {
            "progress": self._progress,
            "announce": self._announce,
            "resume": f"run --resume {self._folder}",
        }
        if request_path(processes).is_file():
            more_s = None if self._ends is None else seconds  # a suite's own time is for once
            report = resume_latency(processes, budget_s=more_s, **told)
        else:
            report = latency(
                cases,
                budget_s=seconds,
                rounds=self.suite.rounds,
                processes=self.suite.processes,
                margin=self.suite.margin,
                least=LEAST_PROCESSES,
                folder=processes,
                **told,
            )
        self._keep(report)
        self.save()
        if any(row.status == "interrupted" for row in report.rows):
            raise KeyboardInterrupt  # the session kept what it had; the rest is off too

    def load(self) -> None:
        """What an earlier run left, so that nothing of it is overwritten by less."""
        for index, cases in enumerate(self.suite.workloads, 1):
            if request_path(self._processes(index)).is_file():
                self._keep(latency_report(load_run(self._processes(index))))
            self.count(cases, save=False)

    def _keep(self, report: Report) -> None:
        fresh = {pair.case.case for pair in report.comparisons}
        others = (pair for pair in self._comparisons if pair.case.case not in fresh)
        self._environment = report.environment
        self._comparisons = (*others, *report.comparisons)
        self._timed |= {row.case: row for row in report.rows if row.case is not None}

    def _processes(self, index: int) -> Path:
        return self._folder / f"processes-{index}"

    def _share_s(self, index: int) -> float | None:
        """Seconds for workload `index`; `None` for what a verdict takes."""
        workloads = len(self.suite.workloads)
        if self._ends is not None:
            left_s = self._ends - time.monotonic() - self._save_s
            return left_s / (workloads - index + 1)
        return None if self.suite.seconds is None else self.suite.seconds / workloads


def _counted_as(case: Case) -> tuple[Any, ...]:
    """What its counts depend on."""
    return (case.model, *case.settings_of_counts(case.model.nc).values())


def _profiled(case: Case, convention: str) -> Result:
    """The counts of one case; a model that cannot be counted is a row that says why."""
    from detrbench.counting.profiling import counted

    try:
        return counted(case, "stage", convention)
    except UsageError:
        raise
    except Exception as error:
        name, settings = case.model.name, case.settings_of_counts(case.model.nc)
        reason = f"{type(error).__name__}: {error}"
        return Result(name, name, settings, {}, status="failed", reason=reason)


def _row(case: Case, counted: Result | None, timed: Result | None, late: bool) -> Result:
    """One row out of what was counted and what was timed of one case, or of what there is yet."""
    if counted is None:
        return unreached(case, "counted", late)
    blank = dataclasses.replace(unreached(case, "timed", late), settings={})
    row = join(counted, timed or blank)
    return dataclasses.replace(row, settings=case.settings() | row.settings, case=case)


def unreached(case: Case, doing: str, late: bool = False) -> Result:
    """The row of a case while it is not yet "counted" or "timed"; so it stays if the run ends, by
    Ctrl-C or because it is too late."""
    ended = "budget was over" if late else "run ended"
    name, reason = case.model.name, f"the {ended} before it was {doing}"
    return Result(
        name,
        name,
        case.settings(),
        dict.fromkeys(METRIC_KEYS),
        status="failed" if late else "interrupted",
        reason=reason,
        missing=dict.fromkeys(METRIC_KEYS, reason),
        case=case,
    )
