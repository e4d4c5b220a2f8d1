"""`detrbench predict`: latency on a device that need not be here."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detrbench.cli import options
from detrbench.cli.output import deliver, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detrbench.predicting import Lesson, Prediction
    from detrbench.probing.profile import DeviceProfile
    from detrbench.render.layout import Document, Table


def predict(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="Names, or paths of model files; none where --learn is all there is to do.",
            show_default=False,
        ),
    ] = None,
    device_profile: Annotated[
        Path | None,
        typer.Option(
            "--device-profile",
            metavar="FILE",
            help="What `detrbench probe -o FILE` wrote, here or elsewhere.  [default: what probe "
            "remembers of this machine's processor]",
            show_default=False,
        ),
    ] = None,
    learn: Annotated[
        list[Path] | None,
        typer.Option(
            "--learn",
            metavar="RUN.json",
            help="First learn from these saved latencies of that device, and keep it in the "
            "profile. May be given several times.",
        ),
    ] = None,
    imgsz: options.ImageSize = "640",
    batch: options.Batch = 1,
    nc: options.Classes = None,
    fuse: options.Fuse = False,
    blocks: options.Blocks = None,
    format: options.Format = None,
    output: options.Output = None,
) -> None:
    """Predict latency from a trace and a device profile, without the device.

    Floors of all operators are added up by class (convolutions k x k, 1 x 1 and grouped, matrix
    products, element-wise work, launches), each times a coefficient that --learn finds from models
    timed on that device. The error bar holds 90% of those models when each is predicted from the
    others; their median error is printed. Without anything learned, the floor is printed as such.

    \b
    Examples:
      detrbench predict --learn rivals.json --learn article.json --device-profile device.json
      detrbench predict rtdetr-x ./my-variant.yaml --device-profile device.json
    """
    from detrbench.errors import UsageError
    from detrbench.units import parse_imgsz

    chosen = options.check_format(format, options.check_output(output))
    size = parse_imgsz(imgsz, where="--imgsz")
    options.check_file(blocks, flag="--blocks")
    asked = options.check_models(models or [])
    if not (asked or learn):
        raise UsageError("there is no model to predict", cure="Name one, or give --learn RUN.json.")

    from detrbench.predicting import Lesson, Settings, load_reports, measured_in
    from detrbench.predicting import learn as learn_from
    from detrbench.predicting import predict as predict_one
    from detrbench.render import render_document

    profile, where = _profile(device_profile)
    lesson = Lesson.from_dict(profile.learned, where) if profile.learned else None
    if learn:
        measured, left = measured_in(load_reports(learn), profile)
        for each in left:
            say(f"note: not learned from: {each}")
        lesson = learn_from(measured, profile)
        profile = dataclasses.replace(profile, learned=lesson.to_dict())
        say(f"kept in {_keep(profile, device_profile)}")
    predictions = [
        predict_one(
            Settings(model, size, batch, nc, fuse, None if blocks is None else str(blocks)),
            profile,
            lesson,
        )
        for model in asked
    ]
    document = _document(profile, predictions, lesson, learned_now=bool(learn))
    deliver(render_document(document, chosen), output)


def _profile(path: Path | None) -> tuple[DeviceProfile, str]:
    from detrbench.errors import UsageError
    from detrbench.probing.profile import DeviceProfile, kept

    if path is not None:
        return DeviceProfile.load(path), str(path)
    found = kept()
    if found is None:
        raise UsageError(
            "this machine's processor has not been probed",
            where="--device-profile",
            cure="Run detrbench probe, or name the file of a profile.",
        )
    return found, "the remembered profile"


def _keep(profile: DeviceProfile, path: Path | None) -> Path:
    from detrbench.probing.profile import keep

    if path is None:
        return keep(profile)
    profile.save(path)
    return path


# --- tables ------------------------------------------------------------------------------------


def _document(
    profile: DeviceProfile,
    predictions: Sequence[Prediction],
    lesson: Lesson | None,
    *,
    learned_now: bool,
) -> Document:
    from detrbench.render.layout import Document

    tables = [_predictions_table(profile, predictions, lesson)] if predictions else []
    if lesson is not None and (learned_now or not predictions):
        tables.append(_lesson_table(profile, lesson))
    records = [_record(one) for one in predictions] or [
        {
            "model": one.settings.model,
            "settings": one.settings.text(),
            "measured_s": one.measured_s,
            "left_out_s": one.left_out_s,
            "error": one.error,
        }
        for one in (lesson.models if lesson else ())
    ]
    data = {
        "profile": profile.to_dict(),
        "predictions": [dataclasses.asdict(one) for one in predictions],
    }
    return Document(tuple(tables), tuple(records), data)


def _record(one: Prediction) -> dict[str, Any]:
    return {
        "model": one.settings.model,
        "settings": one.settings.text(),
        "predicted_s": one.seconds,
        "low_s": one.low,
        "high_s": one.high,
        **{f"{name}_s": seconds for name, seconds in one.by_class.items()},
    }


def _predictions_table(
    profile: DeviceProfile, predictions: Sequence[Prediction], lesson: Lesson | None
) -> Table:
    from detrbench.predicting import CLASSES, SHARE
    from detrbench.render.layout import Column, Line, Table, settings_text
    from detrbench.units import show, show_part, show_range, show_share

    what = "Latency, predicted" if lesson else "The least latency, by floors alone"
    lines = tuple(
        Line(
            one.settings.model,
            (
                one.settings.text(),
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
        columns=(
            Column("Model", "left"),
            Column("Settings", "left"),
            Column("Time (ms)"),
            *(Column(f"{name} (ms)") for name in CLASSES),
        ),
        lines=lines,
        notes=(bar, *_machine(profile)),
    )


def _lesson_table(profile: DeviceProfile, lesson: Lesson) -> Table:
    from detrbench.predicting import CLASSES
    from detrbench.render.layout import Column, Line, Table, settings_text
    from detrbench.units import show, show_change, show_number, show_share

    weights = ", ".join(f"{name} {show_number(lesson.coefficients[name])}" for name in CLASSES)
    return Table(
        caption=(
            f"Predicted against measured, each model left out in turn: "
            f"{settings_text(profile.settings)}."
        ),
        columns=(
            Column("Model", "left"),
            Column("Settings", "left"),
            Column("Measured (ms)"),
            Column("Predicted without it (ms)"),
            Column("Error"),
            Column("Fitted (ms)"),
        ),
        lines=tuple(
            Line(
                one.settings.model,
                (
                    one.settings.text(),
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
    from detrbench.environment import Environment

    machine = Environment.from_dict(profile.environment).one_line()
    return (f"Machine: {machine}; probed on {profile.created}.",) if machine else ()
