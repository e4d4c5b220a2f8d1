"""Latency from a trace and a device profile, with an error bar from models measured there.

Each operator has a floor under the profile's ceilings. Floors are added up by class of operator,
and a device needs some multiple of each: as many non-negative coefficients as there are classes,
learned from models that were timed on it. How far a prediction is to be trusted is what leaving
each of those models out has shown.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detrbench.analysis.probe.ceilings import SCATTER, Ceilings
from detrbench.analysis.probe.device_profile import DeviceProfile
from detrbench.core.errors import DetrbenchError, UsageError
from detrbench.core.stats import median, quantile
from detrbench.core.units import parse_imgsz, show_quantity, show_share
from detrbench.counting.formulas import ATTENTION, CONVOLUTION, MATMUL
from detrbench.machine.circumstances import (
    Circumstances,
    Watched,
    circumstances_from,
    circumstances_of,
    watched_in,
)
from detrbench.machine.environment import Environment
from detrbench.models.model import Model
from detrbench.models.sources import resolve
from detrbench.reports.case import Case, Execution
from detrbench.reports.report import Report, Result
from detrbench.reports.settings import SETTINGS, not_of, settings_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from detrbench.counting.tracing import Op, Trace

WIDE, POINTWISE, GROUPED = "k x k convolutions", "1 x 1 convolutions", "group convolutions"
PRODUCTS, MOVED, LAUNCHED = "matrix products", "element-wise and moving", "launches"
CLASSES = (WIDE, POINTWISE, GROUPED, PRODUCTS, MOVED, LAUNCHED)
"""Classes of operators; each has its own coefficient."""

LEAST_MODELS = 3
"""Leaving one out must leave two that can disagree."""

LEAST = {**dict.fromkeys(CLASSES, 1.0), LAUNCHED: 0.0}
"""The least that a coefficient can be: nothing is faster than its floor, but launches of operators
that take long may be hidden behind these."""

EAGER = "eager"
"""The runtime whose kernels the floors are of."""


def least_under(runtime: str) -> dict[str, float]:
    """`LEAST`; but runtimes that plan a graph do element-wise work in the kernel before it."""
    return LEAST if runtime == EAGER else {**LEAST, MOVED: 0.0}


PULL = 0.05
"""How strongly coefficients are held together: a coefficient that is 1 off the common one counts as
much as a model that is predicted 5 % wrong. Classes that few models tell apart then stay sane."""

SHARE = 0.9
"""Of the models left out, so many were within the error bar."""


def what_is_predicted(
    model: str,
    imgsz: tuple[int, int] = (640, 640),
    batch: int = 1,
    nc: int | None = None,
    fuse: bool = False,
    blocks: str | None = None,
    scale: str | None = None,
) -> Case:
    """A case of nothing but what decides a model's cost on a profile's device; the rest is the
    profile's. Equal cases of two reports are one thing to learn from."""
    built = Model(model, model, nc=nc, scale=scale, blocks=blocks)
    return Case(model, built, Execution(imgsz, batch, fuse))


def short_text(case: Case) -> str:
    """For a table: the image size and whatever is not usual."""
    counted = case.settings_of_counts(case.model.nc)
    told = {
        key: value
        for key, value in counted.items()
        if key == "imgsz" or value != SETTINGS[key].default
    }
    return settings_text(told, short=True)


@dataclass(frozen=True)
class OfCase:
    """Something known of a case."""

    case: Case

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for a file: all there is, and the arguments of `what_is_predicted`."""
        model, execution = self.case.model, self.case.execution
        settings = {
            "model": model.reference,
            "imgsz": list(execution.imgsz),
            "batch": execution.batch,
            "nc": model.nc,
            "fuse": execution.fused,
            "blocks": model.blocks,
        }
        if model.scale is not None:
            settings["scale"] = model.scale
        rest = {key: value for key, value in vars(self).items() if key != "case"}
        return {"settings": settings, **rest}


@dataclass(frozen=True)
class Learned(OfCase):
    """One measured case: what it took, what it is given by the fit, and by one without its model.
    The case is as `what_is_predicted` makes it."""

    measured_s: float
    fitted_s: float
    left_out_s: float

    @property
    def error(self) -> float:
        """Of the prediction without it, 0.05 for 5 % too long."""
        return self.left_out_s / self.measured_s - 1


@dataclass(frozen=True)
class Lesson:
    """What was learned of a device: class -> time per floor, and the models that it is from."""

    coefficients: Mapping[str, float]
    models: tuple[Learned, ...]
    circumstances: Circumstances | None = None  # of their latencies; None where nobody kept any
    runtime: str = EAGER  # that they were measured in

    @property
    def beneath(self) -> tuple[str, ...]:
        """Classes that are given less time than they take at least: only an older version did."""
        least = least_under(self.runtime)
        return tuple(name for name in CLASSES if self.coefficients[name] < least[name])

    @property
    def median_error(self) -> float:
        """Of models left out, the absolute error of the middle one."""
        return median([abs(one.error) for one in self.models])

    @property
    def bar(self) -> float:
        """The relative error that `SHARE` of the models left out kept within."""
        return quantile([abs(one.error) for one in self.models], SHARE)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for a profile."""
        return {
            "coefficients": dict(self.coefficients),
            "models": [one.to_dict() for one in self.models],
            "circumstances": self.circumstances and self.circumstances.to_list(),
            **({} if self.runtime == EAGER else {"runtime": self.runtime}),
            "median_abs_error": self.median_error,
            "error_bar": self.bar,
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], where: str) -> Lesson:
        """From what `to_dict` made. Raises UsageError where it is something else."""
        try:
            models = tuple(map(_learned, plain["models"]))
            coefficients = {name: float(plain["coefficients"][name]) for name in CLASSES}
            runtime = str(plain.get("runtime", EAGER))
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"what it has learned cannot be read: {type(error).__name__}: {error}",
                where=where,
                hint="Learn again: detrbench predict --learn RUN.json --device-profile FILE",
            ) from error
        circumstances = circumstances_from(plain.get("circumstances"))
        return cls(coefficients, models, circumstances, runtime)


def _learned(plain: Mapping[str, Any]) -> Learned:
    settings = {**plain["settings"], "imgsz": tuple(plain["settings"]["imgsz"])}
    seconds = (plain[key] for key in ("measured_s", "fitted_s", "left_out_s"))
    return Learned(what_is_predicted(**settings), *seconds)


@dataclass(frozen=True)
class Prediction(OfCase):
    """Seconds of one forward pass."""

    seconds: float | None  # predicted; the floor alone where nothing was learned
    low: float | None  # the error bar; None where nothing was learned
    high: float | None  # None as well where the bar has no end
    by_class: dict[str, float]  # what `seconds` is the sum of; empty without it
    missing: str | None = None  # why there is no number
    lacking: tuple[str, ...] = ()  # what is not in the floors, so that it takes longer


# --- floors of a model -------------------------------------------------------------------------


def floors_of(case: Case, profile: DeviceProfile) -> dict[str, float]:
    """Seconds by class that a case takes at least, as traced in the profile's number format. Raises
    UsageError where there is no such model, or it does not fit its settings."""
    return class_floors(_traced(case, profile).ops, profile.ceilings)


def _traced(case: Case, profile: DeviceProfile) -> Trace:
    """Of a case, in the profile's number format; raises as `floors_of`."""
    import torch

    from detrbench.counting.profiling import build_to_count, trace_case

    dtype: torch.dtype = getattr(torch, profile.settings["dtype"])
    built = build_to_count(case)
    built = dataclasses.replace(built, module=built.module.to(dtype))
    return trace_case(case, built)


def class_floors(ops: Sequence[Op], ceilings: Ceilings) -> dict[str, float]:
    """Floors of operators, one after the other, added up by class; launches are a class of their
    own."""
    found = dict.fromkeys(CLASSES, 0.0)
    for op in ops:
        found[_class_of(op)] += _floor_of(op, ceilings)
    found[LAUNCHED] = len(ops) * ceilings["dispatch"]
    return found


def _class_of(op: Op) -> str:
    if op.kind in (MATMUL, ATTENTION):
        return PRODUCTS
    if op.kind != CONVOLUTION:
        return MOVED
    image, weight = op.args[:2]
    if weight.shape[1] != image.shape[1]:
        return GROUPED
    return POINTWISE if set(weight.shape[2:]) == {1} else WIDE


def _floor_of(op: Op, ceilings: Ceilings) -> float:
    rate = ceilings["convolution" if op.kind == CONVOLUTION else "matmul"]
    return max(op.cost.flops / rate, op.cost.nbytes / ceilings.bandwidth(op.cost.nbytes))


# --- learning ----------------------------------------------------------------------------------


def learn(
    measured: Mapping[Case, float],
    profile: DeviceProfile,
    circumstances: Circumstances | None = None,
    runtime: str = EAGER,
) -> Lesson:
    """Coefficients from models timed on the profile's device, in `runtime` and in these
    `circumstances`, and how well they would have been predicted by the others. A model that was
    measured at several settings is left out with all of them.

    Raises:
        UsageError: fewer than `LEAST_MODELS` models.
        DetrbenchError: the fit makes no sense, so that nothing may be kept of it.
    """
    models = list(dict.fromkeys(case.model.reference for case in measured))
    if len(models) < LEAST_MODELS:
        raise UsageError(
            f"{len(models)} models with a latency under the profile's settings, and learning takes "
            f"{LEAST_MODELS}",
            where="--learn",
            hint="Time more of them: detrbench run rivals, or detrbench latency MODEL ...",
        )
    floors = {case: floors_of(case, profile) for case in measured}
    least = least_under(runtime)
    _check_floors(measured, floors, profile, least)

    def fitted(left_out: str | None = None) -> dict[str, float]:
        kept = [one for one in measured if one.model.reference != left_out]
        return fit([(floors[one], measured[one]) for one in kept], least)

    everything, without = fitted(), {model: fitted(model) for model in models}
    learned = (
        Learned(
            one,
            seconds,
            sum(_by_class(everything, floors[one]).values()),
            sum(_by_class(without[one.model.reference], floors[one]).values()),
        )
        for one, seconds in measured.items()
    )
    lesson = Lesson(everything, tuple(learned), circumstances, runtime)
    if not lesson.bar < 1:
        off = show_share(lesson.bar, 1)
        raise DetrbenchError(
            f"the fit fails and is not kept: models predicted from the others are {off} off",
            where="--learn",
            hint="Time more models, all of them when the machine is quiet.",
        )
    return lesson


def _check_floors(
    measured: Mapping[Case, float],
    floors: Mapping[Case, Mapping[str, float]],
    profile: DeviceProfile,
    least: Mapping[str, float],
) -> None:
    """Raises DetrbenchError where a model takes less time than the profile says that it must."""
    for case, seconds in measured.items():
        found = floors[case]
        work = sum(least[name] * found[name] for name in CLASSES)
        least_s = max(work, found[LAUNCHED] if least == LEAST else 0.0)
        if seconds * SCATTER < least_s:
            takes, floor = (show_quantity(each, "s") for each in (seconds, least_s))
            how = f"; ceilings measured {profile.doubt}" if profile.doubt else ""
            raise DetrbenchError(
                f"the fit fails and is not kept: {case.name} takes {takes}, less than its floor of "
                f"{floor}{how}",
                where="--learn",
                hint="Probe again when the machine is quiet: detrbench probe",
            )


def fit(
    seen: Sequence[tuple[Mapping[str, float], float]], least: Mapping[str, float] = LEAST
) -> dict[str, float]:
    """Coefficients, none below its least, that make the relative errors least, in squares.

    All are pulled a little to the one coefficient that would be theirs if classes did not differ.
    What a coefficient is beyond its least is not negative, so
    the optimum is an ordinary least-squares solution on some of the classes with the others 0
    (Lawson & Hanson, "Solving Least Squares Problems", 1974, chapter 23), and six classes have few
    enough subsets to look at them all.
    """
    import numpy as np

    common = median([seconds / sum(floors.values()) for floors, seconds in seen])
    rows = [[floors[name] / seconds for name in CLASSES] for floors, seconds in seen]
    left = np.vstack((np.array(rows), PULL * np.eye(len(CLASSES))))
    right = np.concatenate((np.ones(len(seen)), np.full(len(CLASSES), PULL * common)))
    offset = np.array([least[name] for name in CLASSES])
    right = right - left @ offset
    best = min(_supported(left, right), key=lambda each: float(np.sum((left @ each - right) ** 2)))
    return dict(zip(CLASSES, map(float, best + offset), strict=True))


def _supported(
    left: NDArray[np.float64], right: NDArray[np.float64]
) -> Iterator[NDArray[np.float64]]:
    """Least-squares solutions on every subset of columns, as far as none of them is negative."""
    import numpy as np

    columns = range(left.shape[1])
    yield np.zeros(left.shape[1])
    for size in columns:
        for chosen in itertools.combinations(columns, size + 1):
            some, *_ = np.linalg.lstsq(left[:, list(chosen)], right, rcond=None)
            if (some >= 0).all():
                whole = np.zeros(left.shape[1])
                whole[list(chosen)] = some
                yield whole


def _by_class(coefficients: Mapping[str, float], floors: Mapping[str, float]) -> dict[str, float]:
    return {name: coefficients[name] * floors[name] for name in CLASSES}


# --- predicting --------------------------------------------------------------------------------


def predict(
    case: Case, profile: DeviceProfile, lesson: Lesson | None, runtime: str = EAGER
) -> Prediction:
    """How long one forward pass takes on the profile's device, in the runtime that the lesson is
    of. Raises UsageError where there is no such model, it does not fit its settings, or the profile
    is of others."""
    from detrbench.counting.profiling import not_counted

    _check_settings(case, profile)
    traced = _traced(case, profile)
    lacking = not_counted(traced)
    floors = class_floors(traced.ops, profile.ceilings)
    if lesson is None and profile.doubt is not None:
        why = f"ceilings measured {profile.doubt}"
        return Prediction(case, None, None, None, {}, why, lacking)
    if lesson is None and runtime != EAGER:
        why = f"nothing was learned under {runtime} yet, and floors are of eager kernels"
        return Prediction(case, None, None, None, {}, why, lacking)
    by_class = _by_class(lesson.coefficients, floors) if lesson else floors
    seconds = sum(by_class.values())
    if lesson is None or lacking:  # no model that was learned from lacked anything
        return Prediction(case, seconds, None, None, by_class, None, lacking)
    # Errors are relative to what was measured, so the bar is of quotients too.
    low, high = seconds / (1 + lesson.bar), seconds / (1 - lesson.bar) if lesson.bar < 1 else None
    return Prediction(case, seconds, low, high, by_class)


def _check_settings(case: Case, profile: DeviceProfile) -> None:
    """Raises UsageError where a case asks for what only another profile could tell."""
    usual = Execution()
    for key in [key for key in SETTINGS if key in not_of("counts")]:
        wanted = getattr(case.execution, key, None)
        if wanted not in (getattr(usual, key, None), profile.settings.get(key)):
            raise UsageError(
                f"a prediction is for the settings of its profile, and {key}={wanted} is not of "
                "them",
                where=case.name,
                hint=f"The profile is of {settings_text(profile.settings)}; probe with others.",
            )


# --- what to learn from ------------------------------------------------------------------------

_OF_THE_DEVICE = ("device", "dtype", "memory_format", "threads")
_OF_THE_MACHINE = ("processor", "accelerator", "torch")


def measured_in(
    reports: Mapping[str, Report], profile: DeviceProfile, runtime: str = EAGER
) -> tuple[dict[Case, float], list[str], Circumstances | None]:
    """Latencies of saved reports (by file) that were measured in `runtime`, else as the profile
    was, what was left out, and in which circumstances the others were measured, as far as these
    were kept. Raises UsageError where a report is of another machine."""
    found: dict[Case, float] = {}
    watched: dict[str, Watched] = {}  # models of one report share their processes
    left: list[str] = []
    for name, report in reports.items():
        _check_machine(report, profile, name)
        for row in report.rows:
            why = _unusable(row, profile, runtime)
            if why:
                left.append(f"{name}: {row.model}: {why}")
                continue
            case = _case_of(row)
            if case in found:
                left.append(f"{name}: {row.model} {short_text(case)}: stands in an earlier report")
                continue
            try:
                _check_code(case, row)
                _check_whole(case, profile)
            except DetrbenchError as error:
                left.append(f"{name}: {row.model}: {error.what}")
                continue
            found[case] = float(row.metrics["latency_median_s"] or 0)
            watched |= {repr(one): one for one in watched_in(row.samples)}
    return found, left, circumstances_of(watched.values()) if watched else None


def _check_machine(report: Report, profile: DeviceProfile, name: str) -> None:
    here = Environment.from_dict(report.environment)
    there = Environment.from_dict(profile.environment)
    differing = {
        fact: values
        for fact, values in here.differences(there).items()
        if fact in _OF_THE_MACHINE and None not in values
    }
    if differing:
        said = ", ".join(f"{fact} ({one}, {other})" for fact, (one, other) in differing.items())
        raise UsageError(
            f"not of the profile's machine: {said}",
            where=name,
            hint="Learn from models that were timed on the device that was probed.",
        )


def _unusable(row: Result, profile: DeviceProfile, runtime: str) -> str | None:
    if not row.metrics.get("latency_median_s"):
        return "no latency"
    if row.settings.get("stages"):
        return "its latency holds preprocessing and postprocessing"
    if (executed := row.settings.get("runtime", EAGER)) != runtime:
        return f"runtime {executed}, and this learns of {runtime}: --runtime"
    for name in _OF_THE_DEVICE:
        here, there = row.settings.get(name), profile.settings.get(name)
        if here != there:
            return f"{name} {here}, and the profile is of {there}"
    spoilt = circumstances_of(watched_in(row.samples)).spoilt
    return f"its latency says nothing: {'; '.join(spoilt)}" if spoilt else None


def _case_of(row: Result) -> Case:
    model = Model(row.model, row.model) if row.case is None else row.case.model
    return what_is_predicted(
        model.reference,
        parse_imgsz(str(row.settings.get("imgsz", 640))),
        int(row.settings.get("batch", 1)),
        row.settings.get("nc"),
        bool(row.settings.get("fused", False)),
        model.blocks,
        model.scale,
    )


def _check_whole(case: Case, profile: DeviceProfile) -> None:
    """Raises DetrbenchError where a part of the case is not in its floors; else as `floors_of`."""
    from detrbench.counting.profiling import not_counted

    if lacking := not_counted(_traced(case, profile)):
        raise DetrbenchError("; ".join(lacking))


def _check_code(case: Case, row: Result) -> None:
    """Raises UsageError where code would be run that is not what the report was measured with: a
    report is read, and only whoever names code has it run."""
    measured = () if row.case is None else row.case.model.files
    known = {file.sha256 for file in measured}
    for file in resolve(case.model).files:
        if Path(file.path).suffix == ".py" and file.sha256 not in known:
            raise UsageError(f"{file.path} is not the code that was measured")
