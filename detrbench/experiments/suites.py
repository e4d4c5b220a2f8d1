"""Suites: models x settings x limits in one YAML file, and the run that makes a Report of it.

Whatever a run has found is on disk before it goes on to the next cell, so that neither Ctrl-C nor a
lost machine costs more than the cell in hand.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from detrbench.core.errors import SpecError, UsageError, nearest
from detrbench.core.files import write_atomically
from detrbench.core.strict_yaml import Node, read_yaml
from detrbench.core.units import parse_imgsz
from detrbench.core.version import __version__
from detrbench.machine.devices import parse_device
from detrbench.machine.environment import Environment
from detrbench.reports.merge import join
from detrbench.reports.metrics import CONVENTION_METRICS
from detrbench.reports.report import Report, Result
from detrbench.reports.verdicts import MARGIN, check_margin
from detrbench.runtimes import check_runtime
from detrbench.runtimes.devices import open_device
from detrbench.runtimes.options import DTYPES, MEMORY_FORMATS, Options, check_choice
from detrbench.timing.measuring import measure_latency
from detrbench.timing.rows import METRIC_KEYS
from detrbench.timing.session import OnProgress, Progress

Value = TypeVar("Value")


@dataclass(frozen=True)
class Setting:
    """One way to run every model of a suite.

    Attributes:
        nc: classes; `None` for what each model's file says.
        imgsz: height and width in pixels.
        tf32, cudnn_benchmark, cold_l2: CUDA only; see `detrbench.runtimes.options.Options`.
        stages: time each model's stages beside the whole.
        threads: `None` for what the control group allows.
    """

    nc: int | None = None
    imgsz: tuple[int, int] = (640, 640)
    batch: int = 1
    fuse: bool = False
    device: str = "cpu"
    runtime: str = "eager"
    dtype: str = "float32"
    memory_format: str = "contiguous"
    tf32: bool | None = None
    cudnn_benchmark: bool | None = None
    cold_l2: bool = False
    stages: bool = False
    threads: int | None = None

    def as_settings(self) -> dict[str, Any]:
        """As a report's row says it, as long as nothing has been read back from the run."""
        height, width = self.imgsz
        # What is left to the device is read back later; what is asked for tells rows apart now.
        asked = {
            "tf32_conv": self.tf32,
            "tf32_matmul": self.tf32,
            "cudnn_benchmark": self.cudnn_benchmark,
            "cold_l2": self.cold_l2 or None,
            "stages": self.stages or None,
        }
        return {
            "imgsz": f"{height}x{width}",
            "batch": self.batch,
            "nc": self.nc,
            "fused": self.fuse,
            "device": self.device,
            "runtime": self.runtime,
            "dtype": self.dtype,
            "memory_format": self.memory_format,
            "threads": self.threads,
            **{name: value for name, value in asked.items() if value is not None},
        }

    @property
    def options(self) -> Options:
        """What the runtime is asked for."""
        return Options(
            self.dtype, self.memory_format, self.tf32, self.cudnn_benchmark, self.cold_l2
        )


@dataclass(frozen=True)
class Suite:
    """What to run.

    Attributes:
        name: the file's name without its ending.
        models: names or paths; the first is the baseline.
        settings: every combination of the file's settings, in the order written.
        convention: how the table counts FLOPs; the report holds all of them.
        seconds: for the latency of all settings together.
        rounds: timed rounds of each process, instead of what the first one suggests.
        processes: exactly so many for each setting, if the time lasts.
        margin: the smallest difference worth a verdict, 0.02 for 2 %.
    """

    name: str
    path: Path
    title: str
    models: tuple[str, ...]
    settings: tuple[Setting, ...]
    convention: str = "core"
    seconds: float = 60.0
    rounds: int | None = None
    processes: int | None = None
    margin: float = MARGIN


# --- reading ----------------------------------------------------------------------------------


def load_suite(name_or_path: str | Path) -> Suite:
    """The suite called so among the built-in ones, or in a file of the user's own.

    Raises:
        UsageError: there is none.
        SpecError: the file is not a suite; says file, line and hint.
    """
    from detrbench.models.catalog import find_suite

    path = find_suite(name_or_path)
    fields = _mapping(read_yaml(path), ("title", "models", "settings", "convention", "limits"))
    if "models" not in fields:
        raise SpecError(
            "has no models", where=str(path), hint="Add `models: [rtdetr-l, shufflev2]`."
        )
    known = ("seconds", "rounds", "processes", "margin")
    limits = _mapping(fields["limits"], known) if "limits" in fields else {}
    return Suite(
        name=path.stem,
        path=path,
        title=_read(fields, "title", _text, path.stem),
        models=_models(fields["models"], path),
        settings=_settings(fields.get("settings")),
        convention=_read(fields, "convention", _convention, Suite.convention),
        seconds=_read(limits, "seconds", _positive, Suite.seconds),
        rounds=_read(limits, "rounds", _whole, None),
        processes=_read(limits, "processes", _whole, None),
        margin=_read(limits, "margin", _margin, MARGIN),
    )


def _settings(node: Node | None) -> tuple[Setting, ...]:
    """The product of every setting's values: a scalar is one value, a list is several."""
    readers: dict[str, Callable[[Node], Any]] = {
        "nc": _whole,
        "imgsz": _parsed(parse_imgsz),
        "batch": _whole,
        "fuse": _boolean,
        "device": _parsed(_device),
        "runtime": _parsed(check_runtime),
        "dtype": _one_of("dtype", DTYPES),
        "memory_format": _one_of("memory format", MEMORY_FORMATS),
        "tf32": _boolean,
        "cudnn_benchmark": _boolean,
        "cold_l2": _boolean,
        "stages": _boolean,
        "threads": _whole,
    }
    if node is None:
        return (Setting(),)
    fields = _mapping(node, readers)
    axes = [
        [readers[name](value) for value in _one_or_more(field)] for name, field in fields.items()
    ]
    return tuple(
        Setting(**dict(zip(fields, point, strict=True))) for point in itertools.product(*axes)
    )


def _models(node: Node, path: Path) -> tuple[str, ...]:
    """Names, or paths that start at the suite's own folder."""
    models = [_text(item) for item in _one_or_more(node)]
    twice = next((item for item in _one_or_more(node) if models.count(_text(item)) > 1), None)
    if twice is not None:
        raise twice.error(f"{_text(twice)} stands here twice", hint="Name each model once.")
    beside = {model: path.parent / model for model in models}
    return tuple(str(beside[model]) if beside[model].is_file() else model for model in models)


def _mapping(node: Node, known: Mapping[str, Any] | tuple[str, ...]) -> Mapping[str, Node]:
    if not isinstance(node.value, Mapping):
        raise node.error(
            f"{node.kind} stands where a mapping belongs",
            hint=f"Write {', '.join(known)} as `key: value`.",
        )
    for key, value in node.value.items():
        if key not in known:
            raise value.error(f"unknown key {key!r}", hint=nearest(key, known))
    return node.value


def _one_or_more(node: Node) -> tuple[Node, ...]:
    if not isinstance(node.value, tuple):
        return (node,)
    if not node.value:
        raise node.error("the list is empty", hint="Put at least one value into it.")
    return node.value


def _read(
    fields: Mapping[str, Node], key: str, reader: Callable[[Node], Value], default: Value
) -> Value:
    return reader(fields[key]) if key in fields else default


def _text(node: Node) -> str:
    if not isinstance(node.value, str) or not node.value:
        raise node.error(
            f"{node.kind} stands where a text belongs", hint="Put it in quotes if it is one."
        )
    return node.value


def _boolean(node: Node) -> bool:
    if not isinstance(node.value, bool):
        raise node.error(f"{node.kind} is neither true nor false", hint="Write true or false.")
    return node.value


def _whole(node: Node) -> int:
    if not isinstance(node.value, int) or isinstance(node.value, bool) or node.value < 1:
        raise node.error(
            f"{node.kind} is not a whole number from 1",
            hint="Write 1 or more, or leave the key out.",
        )
    return node.value


def _positive(node: Node) -> float:
    if (
        not isinstance(node.value, (int, float))
        or isinstance(node.value, bool)
        or not node.value > 0
    ):
        raise node.error(f"{node.kind} is not a positive number", hint="Write more than 0.")
    return float(node.value)


def _margin(node: Node) -> float:
    try:
        return check_margin(_positive(node))
    except UsageError as error:
        raise node.error(error.what, error.hint) from error


def _convention(node: Node) -> str:
    if node.value not in CONVENTION_METRICS:
        raise node.error(
            f"unknown convention {node.text!r}", hint=nearest(node.text, CONVENTION_METRICS)
        )
    return str(node.value)


def _parsed(parse: Callable[[str], Value]) -> Callable[[Node], Value]:
    """A reader of what `parse` understands, whose errors name the file and the line."""

    def read(node: Node) -> Value:
        try:
            return parse(node.text)
        except UsageError as error:
            raise node.error(error.what, error.hint) from error

    return read


def _one_of(what: str, known: tuple[str, ...]) -> Callable[[Node], str]:
    return _parsed(lambda text: check_choice(what, text, known))


def _device(text: str) -> str:
    parse_device(text)
    return text


# --- running ----------------------------------------------------------------------------------


def run(
    suite: str | Path | Suite,
    *,
    device: str | None = None,
    output: str | Path | None = None,
    progress: OnProgress | None = None,
    announce: Callable[[str], None] | None = None,
) -> Report:
    """Count and time every model of `suite` under every setting, saving after each cell.

    Args:
        suite: a name, a path, or a loaded Suite.
        device: instead of the suite's own.
        output: folder for run.json, table.md, table.csv and report.html;
            `reports/<date>-<device>-<suite>` of the current folder (with -2, -3, ... if that is
            taken) if `None`.
        progress: called with where the run is.
        announce: is told the plan of each setting's latency, in sentences.

    Returns:
        The Report as saved. A model that fails is a row with its reason; after Ctrl-C the rows that
        were not reached say so.

    Raises:
        UsageError: the suite, one of its models or the device is not there or not usable as given.
    """
    loaded = suite if isinstance(suite, Suite) else load_suite(suite)
    if device is not None:
        loaded = on_device(loaded, device)
    for wanted in {setting.device for setting in loaded.settings}:
        open_device(wanted)  # a device that is not there is said now, not after the counting
    folder = report_folder(loaded) if output is None else Path(output)
    going = _Run(loaded, folder, progress, announce)
    try:
        for setting in loaded.settings:
            going.count(setting)
            going.time(setting)
    except KeyboardInterrupt:
        going.save()  # every row already says how far it came
    return going.report


def on_device(suite: Suite, device: str) -> Suite:
    """`suite` with every setting on `device`, each combination once.

    Raises:
        UsageError: an unknown device.
    """
    parse_device(device)
    moved = [dataclasses.replace(setting, device=device) for setting in suite.settings]
    return dataclasses.replace(suite, settings=tuple(dict.fromkeys(moved)))


def report_folder(suite: Suite, root: Path | None = None) -> Path:
    """Where a run started now goes: `reports/<date>-<device>-<suite>` under `root`, not created.

    A folder of an earlier run is never written into: the next free of -2, -3, ... is taken.
    """
    return free_folder(suite.name, suite.settings[0].device, root)


def free_folder(name: str, device: str, root: Path | None = None) -> Path:
    """`report_folder` of what is called `name` and runs on `device`."""
    name = f"{_now().date().isoformat()}-{_machine(Environment.read(device))}-{name}"
    reports = (root or Path.cwd()) / "reports"
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(reports / free for free in names if not (reports / free).exists())


def _machine(environment: Environment) -> str:
    """The accelerator, else the processor and how many, for a file name: amd-epyc-2cpu."""
    if environment.accelerator:
        words = environment.accelerator
    else:
        cpus = f"{environment.logical_cpus}cpu" if environment.logical_cpus else ""
        words = f"{environment.processor or 'unknown'} {cpus}"
    plain = re.sub(r"\((?:r|tm)\)|@.*?hz|\b(?:processor|cpu)\b", " ", words.lower())
    return "-".join(re.findall(r"[a-z0-9.]+", plain))


def _now() -> datetime:
    return datetime.now().astimezone()


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
        self._created = _now().isoformat(timespec="seconds")
        self._environment = Environment.read(suite.settings[0].device).to_dict()
        self._counted: dict[tuple[Setting, str], Result] = {}
        self._timed: dict[tuple[Setting, str], Result] = {}
        self._comparisons: tuple[dict[str, Any], ...] = ()

    @property
    def report(self) -> Report:
        """What would be left if the run ended now, rows not reached yet included."""
        places = itertools.product(self._suite.settings, self._suite.models)
        return Report(
            title=self._suite.title,
            command=f"detrbench run {self._suite.name}",
            created=self._created,
            detrbench_version=__version__,
            environment=self._environment,
            rows=_unique(_row(*at, self._counted.get(at), self._timed.get(at)) for at in places),
            comparisons=self._comparisons,
        )

    def save(self) -> None:
        """run.json first: the others can be made from it. Each is the old or the whole new one."""
        report = self.report
        self._folder.mkdir(parents=True, exist_ok=True)
        report.save(self._folder / "run.json")
        for name, text in _renderings(report):
            write_atomically(self._folder / name, text)

    def count(self, setting: Setting) -> None:
        """Profile each model, saving after each."""
        for done, model in enumerate(self._suite.models):
            if self._progress:
                self._progress(Progress(f"counting {model}", done, len(self._suite.models), None))
            self._counted[setting, model] = _profiled(model, setting, self._suite.convention)
            self.save()

    def time(self, setting: Setting) -> None:
        """Time all models against each other, in this setting's share of the suite's time."""
        # Every process's samples are here before the next begins; afterwards they are in run.json.
        processes = self._folder / f"processes-{1 + self._suite.settings.index(setting)}"
        report = measure_latency(
            self._suite.models,
            device=setting.device,
            batch=setting.batch,
            imgsz=setting.imgsz,
            nc=setting.nc,
            fuse=setting.fuse,
            threads=setting.threads,
            runtime=setting.runtime,
            options=setting.options,
            stages=setting.stages,
            budget_s=self._suite.seconds / len(self._suite.settings),
            rounds=self._suite.rounds,
            processes=self._suite.processes,
            margin=self._suite.margin,
            folder=processes,
            progress=self._progress,
            announce=self._announce,
        )
        self._environment = report.environment
        self._comparisons += report.comparisons
        for cell in report.rows:
            self._timed[setting, cell.model] = cell
        self.save()
        shutil.rmtree(processes, ignore_errors=True)
        if any(cell.status == "interrupted" for cell in report.rows):
            raise KeyboardInterrupt  # the session kept what it had; the rest is off too


def _profiled(model: str, setting: Setting, convention: str) -> Result:
    """The counts of one model; a model that cannot be counted is a row that says why."""
    from detrbench.counting.profiling import profile

    try:
        report: Report = profile(
            [model],
            nc=setting.nc,
            imgsz=setting.imgsz,
            batch=setting.batch,
            fuse=setting.fuse,
            by="stage",
            convention=convention,
        )
    except UsageError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        return Result(model, model, setting.as_settings(), {}, status="failed", reason=reason)
    return report.rows[0]


def _row(setting: Setting, model: str, counted: Result | None, timed: Result | None) -> Result:
    """One row out of what was counted and what was timed of one model, or of what there is yet."""
    if counted is None:
        reason = "the run ended before it was counted"
        return Result(model, model, setting.as_settings(), {}, status="interrupted", reason=reason)
    if timed is None:
        reason = "the run ended before it was timed"
        timed = Result(
            model,
            counted.title,
            {},
            dict.fromkeys(METRIC_KEYS),
            status="interrupted",
            reason=reason,
            missing=dict.fromkeys(METRIC_KEYS, reason),
        )
    joined = join(counted, timed)
    return dataclasses.replace(
        joined, model=model, settings=setting.as_settings() | joined.settings
    )


def _unique(rows: Iterable[Result]) -> tuple[Result, ...]:
    """Each row once, as a report wants them.

    Settings that differ in the file (cuda and cuda:0, or nc: 80 and none where the model's own is
    80) may turn out to be the same ones.
    """
    first: dict[str, Result] = {}
    for row in rows:
        first.setdefault(row.identity, row)
    return tuple(first.values())


def _renderings(report: Report) -> Iterator[tuple[str, str]]:
    from detrbench.render import render

    kept = {"table.md": "markdown", "table.csv": "csv", "report.html": "html"}
    for name, view in kept.items():
        yield name, render(report, view)
