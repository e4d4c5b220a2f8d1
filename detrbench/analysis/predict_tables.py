"""Predictions laid out: times by class, their error bar, and the models they were learned from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from detrbench.analysis.predict import CLASSES, EAGER, SHARE, Lesson, Prediction, short_text
from detrbench.analysis.probe.device_profile import DeviceProfile
from detrbench.core.units import show, show_change, show_number, show_part, show_range, show_share
from detrbench.counting.profiling import completeness
from detrbench.machine.environment import Environment
from detrbench.render.layout import Document, Line, Marks, Table, columns
from detrbench.reports.settings import settings_text


def document(
    profile: DeviceProfile,
    predictions: Sequence[Prediction],
    lesson: Lesson | None,
    *,
    learned_now: bool,
    notes: Sequence[str] = (),
    runtime: str = EAGER,
) -> Document:
    """What is predicted, and what it was learned from, where that is news or all there is; with
    `notes` on how it was made."""
    settings = settings_text({**profile.settings, **_told(runtime)})
    tables = [_predictions_table(profile, predictions, lesson, settings)] if predictions else []
    if lesson is not None and (learned_now or not predictions):
        tables.append(_lesson_table(profile, lesson, settings))
    if notes:
        tables[-1] = dataclasses.replace(tables[-1], notes=(*tables[-1].notes, *notes))
    told = "; ".join(cautions(profile, lesson))
    records: list[dict[str, Any]] = [
        {
            "model": one.case.model.name,
            "settings": short_text(one.case),
            **_told(runtime),
            "predicted_s": one.seconds,
            "low_s": one.low,
            "high_s": one.high,
            **{f"{name}_s": one.by_class.get(name) for name in CLASSES},
            "missing": one.missing,
            "conditions": told,
            **completeness(one.lacking),
        }
        for one in predictions
    ] or [
        {
            "model": one.case.model.name,
            "settings": short_text(one.case),
            **_told(runtime),
            "measured_s": one.measured_s,
            "left_out_s": one.left_out_s,
            "error": one.error,
            "conditions": told,
        }
        for one in (lesson.models if lesson else ())
    ]
    data = {
        "profile": profile.to_dict(),
        **_told(runtime),
        "predictions": [_with_status(one) for one in predictions],
        "conditions": list(cautions(profile, lesson)),
    }
    return Document(tuple(tables), tuple(records), data)


def _told(runtime: str) -> dict[str, str]:
    """It goes without saying that what the profile is of executes."""
    return {} if runtime == EAGER else {"runtime": runtime}


def _with_status(one: Prediction) -> dict[str, Any]:
    plain = one.to_dict()
    return plain | completeness(plain.pop("lacking"))


def cautions(profile: DeviceProfile, lesson: Lesson | None) -> tuple[str, ...]:
    """What is to be known of the measurements that all of this is made of."""
    seen = None if lesson is None else lesson.circumstances
    disturbed = None if seen is None else seen.disturbed
    return (
        *([profile.caution] if profile.caution else []),
        *([f"models to learn from measured {disturbed}"] if disturbed else []),
        *(
            f"{name} are given less time than their floor, by an older version: learn again"
            for name in (lesson.beneath if lesson else ())
        ),
    )


def _predictions_table(
    profile: DeviceProfile,
    predictions: Sequence[Prediction],
    lesson: Lesson | None,
    settings: str,
) -> Table:
    marks = Marks()
    lines = tuple(Line(one.case.model.name, tuple(_cells(one, marks))) for one in predictions)
    titles = (f"{name} (ms)" for name in ("Time", *CLASSES))
    return Table(
        caption=f"{_what(profile, lesson)}: {settings}.",
        columns=columns("llr" + "r" * len(CLASSES), "Model", "Settings", *titles),
        lines=lines,
        notes=(
            *marks.notes,
            _trust(profile, lesson),
            *cautions(profile, lesson),
            *_machine(profile),
        ),
    )


def _cells(one: Prediction, marks: Marks) -> Iterator[str]:
    yield short_text(one.case)
    if one.seconds is None:
        yield f"n/a {marks.mark(f'n/a: {one.missing}')}"
    else:
        marked = "".join(f" {marks.mark(f'partial: {each}')}" for each in one.lacking)
        bar = f" {show_range(one.low, one.high, 's')}" if one.low and one.high else ""
        yield show(one.seconds, "s") + bar + marked
    for name in CLASSES:
        seconds = one.by_class.get(name)
        yield "" if seconds is None else show(seconds, "s")


def _what(profile: DeviceProfile, lesson: Lesson | None) -> str:
    """What the times are: the least only by the ceilings of a machine known to have been quiet."""
    if lesson is not None:
        return "Latency, predicted"
    if profile.doubt is not None:
        return f"No latency: ceilings measured {profile.doubt} say nothing of it"
    return "The least latency, by floors alone" if profile.quiet else "Floors alone"


def _trust(profile: DeviceProfile, lesson: Lesson | None) -> str:
    if lesson is not None:
        return (
            f"Time: in brackets the error bar, within which {show_part(SHARE)} of "
            f"{len(lesson.models)} measured models are when predicted from the others; half of "
            f"them are within {show_share(lesson.median_error, 1)}"
        )
    if profile.doubt is not None:
        return "probe again when the machine is quiet: detrbench probe"
    longer = "it takes longer than this, by how much" if profile.quiet else "how long it takes,"
    return (
        f"nothing was learned on this device yet: {longer} detrbench predict --learn RUN.json "
        "finds out"
    )


def _lesson_table(profile: DeviceProfile, lesson: Lesson, settings: str) -> Table:
    weights = ", ".join(f"{name} {show_number(lesson.coefficients[name])}" for name in CLASSES)
    return Table(
        caption=f"Predicted against measured, each model left out in turn: {settings}.",
        columns=columns(
            "llrrrr",
            "Model",
            "Settings",
            "Measured (ms)",
            "Predicted without it (ms)",
            "Error",
            "Fitted (ms)",
        ),
        lines=tuple(
            Line(
                one.case.model.name,
                (
                    short_text(one.case),
                    show(one.measured_s, "s"),
                    show(one.left_out_s, "s"),
                    show_change(1 + one.error),
                    show(one.fitted_s, "s"),
                ),
            )
            for one in lesson.models
        ),
        notes=(
            f"median absolute error {show_share(lesson.median_error, 1)}, "
            f"of {len(lesson.models)} measured; {show_part(SHARE)} within "
            f"{show_share(lesson.bar, 1)}",
            f"time over floor: {weights}",
            *cautions(profile, lesson),
            *_machine(profile),
        ),
    )


def _machine(profile: DeviceProfile) -> tuple[str, ...]:
    machine = Environment.from_dict(profile.environment).one_line()
    return (f"Machine: {machine}; probed on {profile.created}.",) if machine else ()
