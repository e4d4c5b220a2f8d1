"""Predictions laid out: times by class, their error bar, and the models they were learned from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from detrbench.analysis.predict import CLASSES, SHARE, Lesson, Prediction, short_text
from detrbench.analysis.probe.device_profile import DeviceProfile
from detrbench.core.units import show, show_change, show_number, show_part, show_range, show_share
from detrbench.machine.environment import Environment
from detrbench.render.layout import Document, Line, Table, columns
from detrbench.reports.settings import settings_text


def document(
    profile: DeviceProfile,
    predictions: Sequence[Prediction],
    lesson: Lesson | None,
    *,
    learned_now: bool,
    notes: Sequence[str] = (),
) -> Document:
    """What is predicted, and what it was learned from, where that is news or all there is; with
    `notes` on how it was made."""
    tables = [_predictions_table(profile, predictions, lesson)] if predictions else []
    if lesson is not None and (learned_now or not predictions):
        tables.append(_lesson_table(profile, lesson))
    if notes:
        tables[-1] = dataclasses.replace(tables[-1], notes=(*tables[-1].notes, *notes))
    records: list[dict[str, Any]] = [
        {
            "model": one.case.model.name,
            "settings": short_text(one.case),
            "predicted_s": one.seconds,
            "low_s": one.low,
            "high_s": one.high,
            **{f"{name}_s": seconds for name, seconds in one.by_class.items()},
        }
        for one in predictions
    ] or [
        {
            "model": one.case.model.name,
            "settings": short_text(one.case),
            "measured_s": one.measured_s,
            "left_out_s": one.left_out_s,
            "error": one.error,
        }
        for one in (lesson.models if lesson else ())
    ]
    data = {"profile": profile.to_dict(), "predictions": [one.to_dict() for one in predictions]}
    return Document(tuple(tables), tuple(records), data)


def _predictions_table(
    profile: DeviceProfile, predictions: Sequence[Prediction], lesson: Lesson | None
) -> Table:
    times = ("Time", *CLASSES)
    what = "Latency, predicted" if lesson else "The least latency, by floors alone"
    lines = tuple(
        Line(
            one.case.model.name,
            (
                short_text(one.case),
                show(one.seconds, "s")
                + (f" {show_range(one.low, one.high, 's')}" if one.low and one.high else ""),
                *(show(one.by_class[name], "s") for name in CLASSES),
            ),
        )
        for one in predictions
    )
    bar = (
        f"Time: in brackets the error bar, within which {show_part(SHARE)} of "
        f"{len(lesson.models)} measured models are when predicted from the others; half of them "
        f"are within {show_share(lesson.median_error, 1)}"
        if lesson
        else "nothing was learned on this device yet: it takes longer than this, by how much "
        "detrbench predict --learn RUN.json finds out"
    )
    return Table(
        caption=f"{what}: {settings_text(profile.settings)}.",
        columns=columns(
            "llr" + "r" * len(CLASSES), "Model", "Settings", *(f"{name} (ms)" for name in times)
        ),
        lines=lines,
        notes=(bar, *_machine(profile)),
    )


def _lesson_table(profile: DeviceProfile, lesson: Lesson) -> Table:
    weights = ", ".join(f"{name} {show_number(lesson.coefficients[name])}" for name in CLASSES)
    return Table(
        caption=(
            f"Predicted against measured, each model left out in turn: "
            f"{settings_text(profile.settings)}."
        ),
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
            f"of {len(lesson.models)} measured; 90% within {show_share(lesson.bar, 1)}",
            f"time over floor: {weights}",
            *_machine(profile),
        ),
    )


def _machine(profile: DeviceProfile) -> tuple[str, ...]:
    machine = Environment.from_dict(profile.environment).one_line()
    return (f"Machine: {machine}; probed on {profile.created}.",) if machine else ()
