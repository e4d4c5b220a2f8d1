"""Two models, their parts and the ceilings, timed in the same rounds: an Explanation comes out.

The rounds are those of one process: what is told is why, at which part and at which limit. By how
much is the business of `detrbench latency`, which replicates in fresh processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from detrbench.analysis.explain.findings import Counted, Explanation, Timed, TimedModel, TimedPart
from detrbench.analysis.explain.pair import check_pair
from detrbench.analysis.explain.parts import Dissected, dissect, dissect_graph
from detrbench.analysis.explain.sessions import Kept, Session, earlier, pooled
from detrbench.analysis.probe.ceilings import Ceilings
from detrbench.analysis.probe.probes import Bench, ceilings
from detrbench.core.errors import DetrbenchError
from detrbench.core.files import make_folder
from detrbench.core.locks import held
from detrbench.core.stats import median
from detrbench.counting.profiling import trace_case
from detrbench.counting.tracing import Grouping
from detrbench.machine.circumstances import circumstances_of
from detrbench.machine.environment import Environment
from detrbench.reports.case import Case
from detrbench.runtimes.clocks import Step
from detrbench.runtimes.eager import Eager
from detrbench.runtimes.exported import Exported
from detrbench.timing.opened import Opened, Ready, Watch, opening
from detrbench.timing.process import Measurement, Request, Subject
from detrbench.timing.rounds import OUT_OF_TIME, OnProgress, Series, measure_steps

LEAST_ROUNDS = 2
"""An interrupted run explains something if every part was timed so often."""


@dataclass(frozen=True)
class Explained:
    """An explanation, and the measurement of the two models that reports are made of."""

    explanation: Explanation
    measurement: Measurement
    interrupted: bool


def explain_pair(
    request: Request,
    by: Grouping = "stage",
    *,
    deadline: float | None = None,
    folder: Path | None = None,
    progress: OnProgress | None = None,
) -> Explained:
    """Time the two cases of `request`, their parts and the device's ceilings against each other.

    Each case is timed under its own settings, and the ceilings are of the baseline's.

    Args:
        deadline: when all must be over, on the monotonic clock.
        folder: where the rounds are kept; those of an earlier process there are gone on with.

    Raises:
        UsageError: the request cannot be carried out as given, or another process is in `folder`.
        DetrbenchError: a model, a part or a probe fails, or the budget left time for no rounds.
        KeyboardInterrupt: before two rounds were timed.
    """
    check_pair(request.cases, by)
    if folder is None:
        return _explained(request, by, deadline, None, progress)
    make_folder(folder)
    with held(folder):
        return _explained(request, by, deadline, folder, progress)


def _explained(
    request: Request,
    by: Grouping,
    deadline: float | None,
    folder: Path | None,
    progress: OnProgress | None,
) -> Explained:
    before = () if folder is None else earlier(folder, request, by)
    started = time.monotonic()
    with opening() as open_case:
        opened = [open_case(case) for case in request.cases]
        opened[0].runtime.activate()  # before the first operator, which starts the pool of threads
        environment = Environment.read(request.device).to_dict()
        patients = [_patient(one, by) for one in opened]
        runtime = _runtime_of_ceilings(patients[0], opened[0].case, open_case)
        runtime.activate()
        bench = Bench(runtime)
        probes = bench.probes()
        work = _work_of(patients)
        timed = [*work, *(Ready(probe.source, probe.step, runtime) for probe in probes)]
        watch = Watch(timed, request.device)
        serieses = measure_steps(
            [one.step for one in timed],
            request.plan,
            started=started,
            deadline=deadline,
            progress=progress,
            observer=watch,
        )
    sessions = (*before, _session(patients, serieses, watch))
    everything = pooled(sessions)
    serieses = everything.series
    interrupted = _check(serieses, work)
    if folder is not None:
        Kept(request, by, sessions).save(folder)
    patients = list(_with_readings(patients, everything))
    found = ceilings(probes, serieses[len(work) :], bench.cache_bytes)
    baseline, variant = _sides(patients, serieses, found)
    settings = patients[1].subject.settings
    explanation = Explanation(
        by=by,
        device=settings["device"],
        memory_format=settings["memory_format"],
        runtime=settings["runtime"],
        rounds=min(len(series.latency_s) for series in serieses[: len(patients)]),
        ceilings=found,
        baseline=baseline,
        variant=variant,
        circumstances=circumstances_of(session.watched for session in sessions),
    )
    measurement = Measurement(
        request=request,
        environment=environment,
        subjects=tuple(patient.subject for patient in patients),
        series=serieses[: len(patients)],
        took_s=time.monotonic() - started,
        timed_s=watch.timed_s,
        ledger=watch.entry,
    )
    return Explained(explanation, measurement, interrupted)


@dataclass(frozen=True)
class _Patient:
    """One of the two models on the table."""

    subject: Subject
    runtime: Eager
    whole: Step
    dissected: Dissected

    @property
    def name(self) -> str:
        return self.subject.case


def _session(patients: Sequence[_Patient], serieses: tuple[Series, ...], watch: Watch) -> Session:
    rounds = len(serieses[0].latency_s)
    readings = tuple(
        [*patient.dissected.readings][-rounds:] if rounds else [] for patient in patients
    )
    return Session(serieses, readings, watch.entry, watch.timed_s)


def _with_readings(patients: Sequence[_Patient], session: Session) -> Iterator[_Patient]:
    for patient, readings in zip(patients, session.readings, strict=True):
        yield replace(patient, dissected=replace(patient.dissected, readings=readings))


def _patient(opened: Opened, by: Grouping) -> _Patient:
    runtime, case = opened.runtime, opened.case
    assert isinstance(runtime, Eager), "check_pair lets no other pass"
    built, images = opened.build()
    whole = runtime.prepare(built.module, images)
    traced = trace_case(case, built)
    if isinstance(runtime, Exported):
        assert by != "op", "check_pair does not let it pass"
        dissected = dissect_graph(runtime.profiled(built.module, images), by, traced)
    else:
        placed, clock = runtime.place(images), runtime.device.clock
        dissected = dissect(built.module, placed, clock, by, traced, where=case.name)
    settings = dict(runtime.settings(images))
    subject = Subject(case.name, built.title, built.nc, (), built.notes, settings)
    return _Patient(subject, runtime, whole, dissected)


def _runtime_of_ceilings(
    patient: _Patient, case: Case, open_case: Callable[[Case], Opened]
) -> Eager:
    """What runs the probes: torch, also beside a graph in another runtime."""
    if not isinstance(patient.runtime, Exported):
        return patient.runtime
    eager = open_case(case.replace(runtime="eager")).runtime
    assert isinstance(eager, Eager)
    return eager


def _work_of(patients: Sequence[_Patient]) -> list[Ready]:
    """The whole models, then the parts of each."""
    found = [Ready(patient.name, patient.whole, patient.runtime) for patient in patients]
    for patient in patients:
        steps, parts = patient.dissected.steps, patient.dissected.parts
        alone = len(steps) == len(parts)
        names = [f": {part.name}" for part in parts] if alone else [", kernel by kernel"]
        found += [
            Ready(f"{patient.name}{name}", step, patient.runtime)
            for name, step in zip(names, steps, strict=True)
        ]
    return found


def _check(serieses: Sequence[Series], work: Sequence[Ready]) -> bool:
    """Whether the rounds were interrupted, with enough of them done to go on. The serieses after
    `work` are of probes, which may fail: there are others beside them."""
    needed = serieses[: len(work)]
    for series, one in zip(needed, work, strict=True):
        if series.status == "failed":
            raise DetrbenchError(series.reason or "it failed", where=one.name)
    ended = [one.reason or "" for one in serieses if one.status == "interrupted"]
    late = [reason for reason in ended if reason.startswith(OUT_OF_TIME)]
    if ended and min(len(series.latency_s) for series in needed) < LEAST_ROUNDS:
        if late:
            raise DetrbenchError(f"{late[0]} of both models", hint="Raise --budget.")
        raise KeyboardInterrupt
    return len(late) < len(ended)


def _sides(
    patients: Sequence[_Patient], serieses: Sequence[Series], found: Ceilings
) -> Iterator[TimedModel]:
    wholes, parts = serieses[: len(patients)], iter(serieses[len(patients) :])
    for patient, series in zip(patients, wholes, strict=True):
        dissected, whole = patient.dissected, Timed.of(series.latency_s)
        samples = [next(parts).latency_s for _ in dissected.steps]
        if dissected.readings:
            scale, timed = _scaled(dissected, whole, len(samples[0]))
        else:
            scale, timed = 1.0, list(map(Timed.of, samples))
        pairs = zip(dissected.parts, timed, strict=True)
        yield TimedModel(
            model=patient.name,
            whole=_part(dissected.whole, whole, found),
            parts=tuple(_part(counted, each, found) for counted, each in pairs),
            scale=scale,
            lacking=dissected.lacking,
        )


def _part(counted: Counted, timed: Timed, found: Ceilings) -> TimedPart:
    return TimedPart(**vars(counted), floor=found.floor(counted.work), timed=timed)


def _scaled(dissected: Dissected, whole: Timed, rounds: int) -> tuple[float, list[Timed]]:
    """Parts' times as shares of the whole: what timing them costs is taken off all alike."""
    readings = dissected.readings[-rounds:]
    names = [part.name for part in dissected.parts]
    samples = {name: [reading.get(name, 0.0) for reading in readings] for name in names}
    samples[names[-1]] = [
        sum(seconds for name, seconds in reading.items() if name not in names[:-1])
        for reading in readings
    ]
    scale = whole.seconds / sum(map(median, samples.values()))
    return scale, [Timed.of(samples[name], scale) for name in names]
