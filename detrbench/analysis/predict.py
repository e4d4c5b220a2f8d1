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

from detrbench.analysis.probe.ceilings import Ceilings
from detrbench.analysis.probe.device_profile import DeviceProfile
from detrbench.core.errors import DetrbenchError, UsageError
from detrbench.core.stats import median, quantile
from detrbench.core.units import parse_imgsz, show_imgsz
from detrbench.counting.cost import ATTENTION, CONVOLUTION, MATMUL
from detrbench.machine.environment import Environment
from detrbench.reports.report import Report, Result

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from detrbench.counting.tracing import Op

WIDE, POINTWISE, GROUPED = "k x k convolutions", "1 x 1 convolutions", "group convolutions"
PRODUCTS, MOVED, LAUNCHED = "matrix products", "element-wise and moving", "launches"
CLASSES = (WIDE, POINTWISE, GROUPED, PRODUCTS, MOVED, LAUNCHED)
"""Classes of operators; each has its own coefficient."""

LEAST_MODELS = 3
"""Leaving one out must leave two that can disagree."""

PULL = 0.05
"""How strongly coefficients are held together: a coefficient that is 1 off the common one counts as
much as a model that is predicted 5 % wrong. Classes that few models tell apart then stay sane."""

SHARE = 0.9
"""Of the models left out, so many were within the error bar."""


@dataclass(frozen=True)
class Settings:
    """What of a model's settings changes what it costs; the rest is the profile's."""

    model: str
    imgsz: tuple[int, int] = (640, 640)
    batch: int = 1
    nc: int | None = None
    fuse: bool = False
    blocks: str | None = None

    def text(self) -> str:
        """For a table: the model's size and whatever is not usual."""
        parts = [show_imgsz(self.imgsz)]
        parts += [f"batch {self.batch}"] if self.batch != 1 else []
        parts += [f"nc={self.nc}"] if self.nc is not None else []
        parts += ["fused"] if self.fuse else []
        return ", ".join(parts)


@dataclass(frozen=True)
class Learned:
    """One measured model: what it took, what it is given by the fit, and by one without it."""

    settings: Settings
    measured_s: float
    fitted_s: float
    left_out_s: float

    @property
    def error(self) -> float:
        """Of the prediction without it, 0.05 for 5 % too long."""
        return self.left_out_s / self.measured_s - 1


@dataclass(frozen=True)
class Lesson:
    """What was learned of a device.

    Attributes:
        coefficients: class -> time per floor.
        models: what it was learned from.
    """

    coefficients: Mapping[str, float]
    models: tuple[Learned, ...]

    @property
    def median_error(self) -> float:
        """Of models left out, the absolute error of the middle one."""
        return median([abs(one.error) for one in self.models])

    @property
    def bar(self) -> float:
        """The relative error that `SHARE` of the models left out kept within."""
        return quantile([abs(one.error) for one in self.models], SHARE)

    def seconds(self, floors: Mapping[str, float]) -> float:
        """The prediction for floors by class."""
        return sum(self.coefficients[name] * floors[name] for name in CLASSES)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for a profile."""
        return dataclasses.asdict(self) | {
            "median_abs_error": self.median_error,
            "error_bar": self.bar,
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], where: str) -> Lesson:
        """From what `to_dict` made.

        Raises:
            UsageError: it is something else.
        """
        try:
            models = tuple(
                Learned(
                    Settings(**{**one["settings"], "imgsz": tuple(one["settings"]["imgsz"])}),
                    one["measured_s"],
                    one["fitted_s"],
                    one["left_out_s"],
                )
                for one in plain["models"]
            )
            coefficients = {name: float(plain["coefficients"][name]) for name in CLASSES}
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"what it has learned cannot be read: {type(error).__name__}: {error}",
                where=where,
                hint="Learn again: detrbench predict --learn RUN.json --device-profile FILE",
            ) from error
        return cls(coefficients, models)


@dataclass(frozen=True)
class Prediction:
    """Seconds of one forward pass.

    Attributes:
        seconds: predicted; the floor alone where nothing was learned.
        low, high: the error bar; None where nothing was learned.
        by_class: what `seconds` is the sum of.
    """

    settings: Settings
    seconds: float
    low: float | None
    high: float | None
    by_class: Mapping[str, float]


# --- floors of a model -------------------------------------------------------------------------


def floors_of(settings: Settings, profile: DeviceProfile) -> dict[str, float]:
    """Seconds by class that the model takes at least, as traced in the profile's number format.

    Raises:
        UsageError: there is no such model, or it does not fit the settings.
    """
    import torch

    from detrbench.counting.profiling import Subject
    from detrbench.counting.tracing import trace

    subject = Subject(
        settings.model, settings.imgsz, settings.batch, settings.nc, settings.fuse, settings.blocks
    )
    dtype: torch.dtype = getattr(torch, profile.settings["dtype"])
    model = subject.build().to(dtype)
    return class_floors(trace(model, settings.imgsz, settings.batch).ops, profile.ceilings)


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
    nbytes = op.cost.read_bytes + op.cost.write_bytes
    bandwidth = ceilings["cache" if nbytes <= ceilings.cache_bytes else "memory"]
    rate = ceilings["convolution" if op.kind == CONVOLUTION else "matmul"]
    return max(op.cost.flops / rate, nbytes / bandwidth)


# --- learning ----------------------------------------------------------------------------------


def learn(measured: Mapping[Settings, float], profile: DeviceProfile) -> Lesson:
    """Coefficients from models timed on the profile's device, and how well they would have been
    predicted by the others.

    A model that was measured at several settings is left out with all of them.

    Raises:
        UsageError: fewer than `LEAST_MODELS` models.
    """
    models = list(dict.fromkeys(settings.model for settings in measured))
    if len(models) < LEAST_MODELS:
        raise UsageError(
            f"{len(models)} models with a latency under the profile's settings, and learning takes "
            f"{LEAST_MODELS}",
            where="--learn",
            hint="Time more of them: detrbench run rivals, or detrbench latency MODEL ...",
        )
    floors = {settings: floors_of(settings, profile) for settings in measured}
    everything = fit([(floors[one], seconds) for one, seconds in measured.items()])
    without = {
        model: fit([(floors[one], measured[one]) for one in measured if one.model != model])
        for model in models
    }
    return Lesson(
        everything,
        tuple(
            Learned(
                one,
                seconds,
                _weighted(everything, floors[one]),
                _weighted(without[one.model], floors[one]),
            )
            for one, seconds in measured.items()
        ),
    )


def fit(seen: Sequence[tuple[Mapping[str, float], float]]) -> dict[str, float]:
    """Non-negative coefficients that make the relative errors least, in squares.

    All are pulled a little to the one coefficient that would be theirs if classes did not differ.
    The optimum is an ordinary least-squares solution on some of the classes with the others 0
    (Lawson & Hanson, "Solving Least Squares Problems", 1974, chapter 23), and six classes have few
    enough subsets to look at them all.
    """
    import numpy as np

    common = median([seconds / sum(floors.values()) for floors, seconds in seen])
    rows = [[floors[name] / seconds for name in CLASSES] for floors, seconds in seen]
    left = np.vstack((np.array(rows), PULL * np.eye(len(CLASSES))))
    right = np.concatenate((np.ones(len(seen)), np.full(len(CLASSES), PULL * common)))
    best = min(_supported(left, right), key=lambda each: float(np.sum((left @ each - right) ** 2)))
    return dict(zip(CLASSES, map(float, best), strict=True))


def _supported(
    left: NDArray[np.float64], right: NDArray[np.float64]
) -> Iterator[NDArray[np.float64]]:
    """Least-squares solutions on every subset of columns, as far as none of them is negative."""
    import numpy as np

    columns = range(left.shape[1])
    for size in columns:
        for chosen in itertools.combinations(columns, size + 1):
            some, *_ = np.linalg.lstsq(left[:, list(chosen)], right, rcond=None)
            if (some >= 0).all():
                whole = np.zeros(left.shape[1])
                whole[list(chosen)] = some
                yield whole


def _weighted(coefficients: Mapping[str, float], floors: Mapping[str, float]) -> float:
    return sum(coefficients[name] * floors[name] for name in CLASSES)


# --- predicting --------------------------------------------------------------------------------


def predict(settings: Settings, profile: DeviceProfile, lesson: Lesson | None) -> Prediction:
    """How long one forward pass takes on the profile's device.

    Raises:
        UsageError: there is no such model, or it does not fit the settings.
    """
    floors = floors_of(settings, profile)
    weights = lesson.coefficients if lesson else dict.fromkeys(CLASSES, 1.0)
    by_class = {name: weights[name] * floors[name] for name in CLASSES}
    seconds = sum(by_class.values())
    if lesson is None:
        return Prediction(settings, seconds, None, None, by_class)
    # Errors are relative to what was measured, so the bar is of quotients too.
    low, high = seconds / (1 + lesson.bar), seconds / max(1 - lesson.bar, 1e-9)
    return Prediction(settings, seconds, low, high, by_class)


# --- what to learn from ------------------------------------------------------------------------

_OF_THE_DEVICE = ("device", "dtype", "memory_format", "threads")
_OF_THE_MACHINE = ("processor", "accelerator", "torch")


def measured_in(
    reports: Mapping[str, Report], profile: DeviceProfile
) -> tuple[dict[Settings, float], list[str]]:
    """Latencies of saved reports that were measured as the profile was, and what was left out.

    Args:
        reports: the file each is from -> the report.

    Raises:
        UsageError: a report is of another machine.
    """
    found: dict[Settings, float] = {}
    left: list[str] = []
    for name, report in reports.items():
        _check_machine(report, profile, name)
        for row in report.rows:
            why = _unusable(row, profile)
            if why:
                left.append(f"{name}: {row.model}: {why}")
                continue
            settings = _settings_of(row)
            if settings in found:
                left.append(f"{name}: {row.model} {settings.text()}: stands in an earlier report")
                continue
            try:
                floors_of(settings, profile)
            except DetrbenchError as error:
                left.append(f"{name}: {row.model}: {error.what}")
                continue
            found[settings] = float(row.metrics["latency_median_s"] or 0)
    return found, left


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


def _unusable(row: Result, profile: DeviceProfile) -> str | None:
    if not row.metrics.get("latency_median_s"):
        return "no latency"
    if row.settings.get("stages"):
        return "its latency holds preprocessing and postprocessing"
    if row.settings.get("runtime", "eager") != "eager":
        return f"runtime {row.settings['runtime']}, and floors are of eager kernels"
    for name in _OF_THE_DEVICE:
        here, there = row.settings.get(name), profile.settings.get(name)
        if here != there:
            return f"{name} {here}, and the profile is of {there}"
    return None


def _settings_of(row: Result) -> Settings:
    return Settings(
        model=row.model,
        imgsz=parse_imgsz(str(row.settings.get("imgsz", 640))),
        batch=int(row.settings.get("batch", 1)),
        nc=row.settings.get("nc"),
        fuse=bool(row.settings.get("fused", False)),
    )


def load_reports(paths: Sequence[Path]) -> dict[str, Report]:
    """Saved reports by file.

    Raises:
        UsageError: one cannot be read.
    """
    return {str(path): Report.load(path) for path in paths}
