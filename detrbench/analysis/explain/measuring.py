"""Two models, their parts and the ceilings, timed in the same rounds: an Explanation comes out.

The rounds are those of one process: what is told is why, at which part and at which limit. By how
much is the business of `detrbench latency`, which replicates in fresh processes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch

from detrbench.analysis.explain.findings import Explanation, Part, Side, Timed
from detrbench.analysis.explain.parts import REST, Counted, Dissected, dissect
from detrbench.analysis.probe.ceilings import Ceilings
from detrbench.analysis.probe.probes import Bench, ceilings
from detrbench.core.errors import DetrbenchError, UsageError
from detrbench.counting.tracing import Grouping, trace
from detrbench.machine.environment import Environment
from detrbench.machine.threads import check_threads
from detrbench.machine.validity import Entry, Ledger, open_ledger
from detrbench.runtimes.clocks import Step
from detrbench.runtimes.devices import open_device
from detrbench.runtimes.eager import Eager
from detrbench.runtimes.images import natural_images
from detrbench.timing.process import Measurement, Request, Subject, build_model
from detrbench.timing.session import Observer, OnProgress, Series, measure_steps

LEAST_ROUNDS = 2
"""An interrupted run explains something if every part was timed so often."""


@dataclass(frozen=True)
class Explained:
    """An explanation, and the measurement of the two models that reports are made of."""

    explanation: Explanation
    measurement: Measurement
    interrupted: bool


def explain_pair(
    request: Request, by: Grouping = "stage", *, progress: OnProgress | None = None
) -> Explained:
    """Time the two models of `request`, their parts and the device's ceilings against each other.

    Raises:
        UsageError: the request cannot be carried out as given.
        DetrbenchError: a model, a part or a probe fails.
        KeyboardInterrupt: before two rounds were timed.
    """
    if len(request.models) != 2:
        raise UsageError(
            f"{len(request.models)} models cannot be a pair", hint="Name a baseline and a variant."
        )
    started = time.monotonic()
    with threads_set(request.threads), _opened(request) as runtime:
        environment = Environment.read(request.device).to_dict()
        patients = [_patient(name, request, runtime, by) for name in request.models]
        bench = Bench(runtime)
        probes = bench.probes()
        wholes = [patient.whole for patient in patients]
        parts = [step for patient in patients for step in patient.dissected.steps]
        steps: list[Step] = [*wholes, *parts, *(probe.step for probe in probes)]
        watch = _Watch(open_ledger(request.device))
        serieses = measure_steps(
            steps, request.plan, started=started, progress=progress, observer=watch
        )
        interrupted = _check(serieses, _names(patients, by))
        settings = dict(runtime.settings(_images(request)))
    found = ceilings(probes, serieses[len(wholes) + len(parts) :], bench.cache_bytes)
    sides = tuple(_sides(patients, serieses, found))
    explanation = Explanation(
        by=by,
        device=settings["device"],
        memory_format=settings["memory_format"],
        batch=request.batch,
        rounds=min(len(series.latency_s) for series in serieses[: len(wholes)]),
        ceilings=found,
        baseline=sides[0],
        variant=sides[1],
    )
    measurement = Measurement(
        request=request,
        settings=settings,
        environment=environment,
        subjects=tuple(patient.subject for patient in patients),
        series=serieses[: len(wholes)],
        took_s=time.monotonic() - started,
        timed_s=watch.timed_s,
        ledger=None if watch.entry is None else json.loads(json.dumps(asdict(watch.entry))),
    )
    return Explained(explanation, measurement, interrupted)


@dataclass(frozen=True)
class _Patient:
    subject: Subject
    whole: Step
    dissected: Dissected


def _patient(name: str, request: Request, runtime: Eager, by: Grouping) -> _Patient:
    model = build_model(name, request)
    if request.fuse:
        model = model.fuse()  # type: ignore[operator]  # a Detector, says build_model
    images = _images(request)
    whole = runtime.prepare(model, images)
    traced = trace(model, request.imgsz, request.batch)
    dissected = dissect(model, runtime.place(images), runtime.device.clock, by, traced)
    spec: Any = model.spec
    return _Patient(Subject(name, spec.title, spec.nc, (), tuple(spec.notes)), whole, dissected)


def _images(request: Request) -> torch.Tensor:
    return natural_images(request.batch, *request.imgsz, seed=request.seed)


@contextmanager
def threads_set(wanted: int | None) -> Iterator[None]:
    """This many threads for what is inside, as `check_threads` allows; as before, afterwards."""
    before = torch.get_num_threads()
    # Before the first operator, which starts the pool.
    torch.set_num_threads(check_threads(wanted))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _opened(request: Request) -> Iterator[Eager]:
    runtime = Eager(open_device(request.device), request.options)
    try:
        yield runtime
    finally:
        runtime.close()


class _Watch(Observer):
    """Keeps the ledger of the timed rounds."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._began = ledger, 0.0
        self.timed_s = 0.0
        self.entry: Entry | None = None

    def begin(self) -> None:
        self._began = time.monotonic()
        self._ledger.start()

    def round(self, readings: Sequence[Sequence[float] | None]) -> None:
        self._ledger.look()

    def end(self) -> None:
        self.timed_s = time.monotonic() - self._began
        self.entry = self._ledger.stop()


def _names(patients: Sequence[_Patient], by: Grouping) -> list[str]:
    """What each step is, for messages."""
    models = [patient.subject.model for patient in patients]
    if by == "op":
        return [*models, *(f"{model}, operator by operator" for model in models)]
    parts = [
        f"{patient.subject.model}: {part.name}"
        for patient in patients
        for part in patient.dissected.parts
    ]
    return [*models, *parts]


def _check(serieses: Sequence[Series], names: Sequence[str]) -> bool:
    """Whether the rounds were interrupted, with enough of them done to go on.

    Args:
        names: of models and parts; what comes after them are probes, which may fail: there are
            others beside them.

    Raises:
        DetrbenchError: a model or a part of one failed.
        KeyboardInterrupt: too few rounds.
    """
    needed = serieses[: len(names)]
    for series, name in zip(needed, names, strict=True):
        if series.status == "failed":
            raise DetrbenchError(series.reason or "it failed", where=name)
    interrupted = any(series.status == "interrupted" for series in serieses)
    if interrupted and min(len(series.latency_s) for series in needed) < LEAST_ROUNDS:
        raise KeyboardInterrupt
    return interrupted


# --- from samples to parts ---------------------------------------------------------------------


def _sides(
    patients: Sequence[_Patient], serieses: Sequence[Series], found: Ceilings
) -> Iterator[Side]:
    at = len(patients)
    for index, patient in enumerate(patients):
        dissected, whole = patient.dissected, Timed.of(serieses[index].latency_s)
        mine = serieses[at : at + len(dissected.steps)]
        at += len(dissected.steps)
        if dissected.readings:
            scale, timed = _scaled(dissected, whole, len(mine[0].latency_s))
        else:
            scale, timed = 1.0, [Timed.of(series.latency_s) for series in mine]
        pairs = zip(dissected.parts, timed, strict=True)
        yield Side(
            model=patient.subject.model,
            title=patient.subject.title,
            whole=_part(dissected.whole, whole, found),
            parts=tuple(_part(counted, each, found) for counted, each in pairs),
            scale=scale,
        )


def _part(counted: Counted, timed: Timed, found: Ceilings) -> Part:
    floor = found.floor(counted.work)
    return Part(counted.name, counted.group, counted.work, floor, timed, counted.counts)


def _scaled(dissected: Dissected, whole: Timed, rounds: int) -> tuple[float, list[Timed]]:
    """Operators' times as shares of the whole: what timing them costs is taken off all alike."""
    readings = dissected.readings[-rounds:]
    names = [part.name for part in dissected.parts]
    samples = {name: [reading.get(name, 0.0) for reading in readings] for name in names}
    samples[REST] = [
        sum(seconds for name, seconds in reading.items() if name not in names)
        for reading in readings
    ]
    total = sum(Timed.of(each).seconds for each in samples.values())
    scale = whole.seconds / total
    return scale, [Timed.of(samples[name], scale) for name in names]
