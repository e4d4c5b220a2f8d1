"""Suites: models x settings x limits in one YAML file, and the run that makes a Report of it.

Whatever a run has found is on disk before it goes on to the next step, so that neither Ctrl-C nor a
lost machine costs more than the step in hand.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from detrbench.core.errors import SpecError, UsageError
from detrbench.core.files import write_atomically
from detrbench.core.reading import at, mapping, one_of, one_or_more, parsed, positive, text, whole
from detrbench.core.strict_yaml import Node, read_yaml
from detrbench.core.version import __version__
from detrbench.machine.devices import parse_device
from detrbench.machine.environment import Environment
from detrbench.models.catalog import find_suite
from detrbench.render import render
from detrbench.reports.case import Case
from detrbench.reports.comparison import Comparison
from detrbench.reports.merge import join
from detrbench.reports.metrics import CONVENTION_METRICS
from detrbench.reports.parse_cases import make_cases, named, split_reference
from detrbench.reports.report import Report, Result
from detrbench.reports.settings import SETTINGS, Setting, parse_choice, setting
from detrbench.reports.verdicts import MARGIN, Verdict, check_margin
from detrbench.runtimes import RUNTIMES, check_execution
from detrbench.runtimes.devices import open_device
from detrbench.timing.measuring import latency
from detrbench.timing.rounds import OnProgress, Progress
from detrbench.timing.rows import METRIC_KEYS


@dataclass(frozen=True)
class Suite:
    """What to run: every model under every combination of a file's settings, in the order written.
    The first case of each workload (image size, batch, ...) is its baseline."""

    name: str  # the file's, without its ending
    title: str
    cases: tuple[Case, ...]
    convention: str = "core"  # how the table counts FLOPs; the report holds all of them
    seconds: float = 60.0  # for the latency of all workloads together
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
        file = _beside(folder, one.parse(written))
        if not Path(file).is_file():
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
    told = {
        key: _beside(folder, value) if SETTINGS[key].is_file else value
        for key, value in own.items()
    }
    return named(found, told)


def _beside(folder: Path, written: str) -> str:
    """A path that starts at `folder`, if it leads to a file from there."""
    return str(folder / written) if (folder / written).is_file() else written


# --- running ----------------------------------------------------------------------------------


def run(
    suite: str | Path | Suite,
    *,
    device: str | None = None,
    output: str | Path | None = None,
    progress: OnProgress | None = None,
    announce: Callable[[str], None] | None = None,
) -> Report:
    """Count and time every case of `suite`, saving after each step.

    What is of one workload is timed in the same rounds, in its share of the suite's time.

    Args:
        suite: a name, a path, or a loaded Suite.
        device: instead of the suite's own.
        output: folder for run.json, table.md, table.csv and report.html;
            `reports/<date>-<device>-<suite>` of the current folder (with -2, -3, ... if that is
            taken) if `None`.
        progress: called with where the run is.
        announce: is told the plan of each workload's latency, in sentences.

    Returns:
        The Report as saved. A model that fails is a row with its reason; after Ctrl-C the rows that
        were not reached say so.

    Raises:
        UsageError: the suite, one of its models or the device is not there or not usable as given.
    """
    loaded = suite if isinstance(suite, Suite) else load_suite(suite)
    if device is not None:
        loaded = on_device(loaded, device)
    for case in loaded.cases:
        check_execution(case.execution, where=case.name if len(loaded.cases) > 1 else None)
    for wanted in dict.fromkeys(case.execution.device for case in loaded.cases):
        open_device(wanted)  # a device that is not there is said now, not after the counting
    where = loaded.cases[0].execution.device
    folder = free_folder(loaded.name, where) if output is None else Path(output)
    going = _Run(loaded, folder, progress, announce)
    try:
        for index, cases in enumerate(loaded.workloads, 1):
            going.count(cases)
            going.time(cases, folder / f"processes-{index}")
    except KeyboardInterrupt:
        going.save()  # every row already says how far it came
    return going.report


def on_device(suite: Suite, device: str) -> Suite:
    """`suite` with every case on `device`; what differed in nothing else is one case. Raises
    UsageError for an unknown device."""
    parse_device(device)
    found: dict[tuple[Any, ...], Case] = {}
    for case in suite.cases:
        reference, told = split_reference(case.name)
        told.pop("device", None)  # of which the name then says nothing
        moved = dataclasses.replace(case, name=named(reference, told)).replace(device=device)
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
        progress: OnProgress | None,
        announce: Callable[[str], None] | None,
    ) -> None:
        self._suite, self._folder = suite, folder
        self._progress, self._announce = progress, announce
        self._created = datetime.now().astimezone().isoformat(timespec="seconds")
        self._environment = Environment.read(suite.cases[0].execution.device).to_dict()
        self._counted: dict[tuple[Any, ...], Result] = {}
        self._timed: dict[Case, Result] = {}
        self._comparisons: tuple[Comparison, ...] = ()

    @property
    def report(self) -> Report:
        """What would be left if the run ended now, rows not reached yet included."""
        rows: dict[str, Result] = {}
        for case in itertools.chain(*self._suite.workloads):
            row = _row(case, self._counted.get(_counted_as(case)), self._timed.get(case))
            # Settings that differ in the file (cuda and cuda:0, or nc: 80 and none where the
            # model's own is 80) may turn out to be the same ones: a report has each row once.
            rows.setdefault(row.identity, row)
        kept = {row.case for row in rows.values()}
        return Report(
            title=self._suite.title,
            command=f"detrbench run {self._suite.name}",
            created=self._created,
            detrbench_version=__version__,
            environment=self._environment,
            rows=tuple(rows.values()),
            comparisons=tuple(pair for pair in self._comparisons if pair.case.case in kept),
        )

    def save(self) -> None:
        """run.json first: the others can be made from it. Each is the old or the whole new one."""
        report = self.report
        self._folder.mkdir(parents=True, exist_ok=True)
        report.save(self._folder / "run.json")
        views = {"table.md": "markdown", "table.csv": "csv", "report.html": "html"}
        for name, view in views.items():
            write_atomically(self._folder / name, render(report, view))

    def count(self, cases: Sequence[Case]) -> None:
        """Count each case, saving after each; what differs in no count is counted once."""
        for done, case in enumerate(cases):
            if _counted_as(case) in self._counted:
                continue
            if self._progress:
                self._progress(Progress(f"counting {case.name}", done, len(cases), None))
            self._counted[_counted_as(case)] = _profiled(case, self._suite.convention)
            self.save()

    def time(self, cases: Sequence[Case], processes: Path) -> None:
        """Time the cases of a workload against each other, in their share of the suite's time.

        Args:
            processes: every process's samples are there before the next begins; afterwards they are
                in run.json, and stay here only where a run came out short, which can go on.
        """
        report = latency(
            cases,
            budget_s=self._suite.seconds / len(self._suite.workloads),
            rounds=self._suite.rounds,
            processes=self._suite.processes,
            margin=self._suite.margin,
            folder=processes,
            progress=self._progress,
            announce=self._announce,
        )
        self._environment = report.environment
        self._comparisons += report.comparisons
        self._timed |= {row.case: row for row in report.rows if row.case is not None}
        self.save()
        invalid = any(pair.verdict == Verdict.INVALID for pair in report.comparisons)
        if not (report.exit_code or invalid):
            shutil.rmtree(processes, ignore_errors=True)
        if any(row.status == "interrupted" for row in report.rows):
            raise KeyboardInterrupt  # the session kept what it had; the rest is off too


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


def _row(case: Case, counted: Result | None, timed: Result | None) -> Result:
    """One row out of what was counted and what was timed of one case, or of what there is yet."""
    if counted is None:
        return unreached(case, "counted")
    blank = dataclasses.replace(unreached(case, "timed"), settings={})
    row = join(counted, timed or blank)
    return dataclasses.replace(row, settings=case.settings() | row.settings, case=case)


def unreached(case: Case, doing: str) -> Result:
    """The row of a case while it is not yet "counted" or "timed"; so it stays if the run ends."""
    name, reason = case.model.name, f"the run ended before it was {doing}"
    return Result(
        name,
        name,
        case.settings(),
        dict.fromkeys(METRIC_KEYS),
        status="interrupted",
        reason=reason,
        missing=dict.fromkeys(METRIC_KEYS, reason),
        case=case,
    )
