"""`detrbench predict`: latency on a device that need not be here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from detrbench.cli import options
from detrbench.cli.output import FAILED, OK, say, show_document
from detrbench.core.errors import UsageError
from detrbench.core.units import show_either
from detrbench.core.version import __version__
from detrbench.runtimes import RUNTIMES

if TYPE_CHECKING:
    from detrbench.analysis.probe.device_profile import DeviceProfile


def predict(
    context: typer.Context,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL", help=f"{options.MODEL_HELP}. None where --learn is all there is to do."
        ),
    ] = None,
    device_profile: Annotated[
        Path | None,
        options.taking(
            "FILE",
            "What `detrbench probe -o FILE` wrote, here or elsewhere.  [default: what probe "
            "remembers of this machine's processor]",
        ),
    ] = None,
    learn: Annotated[
        list[Path] | None,
        options.taking(
            "RUN.json",
            "First learn from these saved latencies of that device, and keep it in the profile. "
            "May be given several times.",
        ),
    ] = None,
    runtime: Annotated[
        str, options.taking("RUNTIME", f"Executed by this one: {show_either(RUNTIMES)}.")
    ] = "eager",
    imgsz: options.ImageSize = None,
    batch: options.Batch = None,
    nc: options.Classes = None,
    scale: options.Scale = None,
    fuse: options.Fuse = False,
    blocks: options.Blocks = None,
    format: options.Format = None,
    output: options.Output = None,
) -> None:
    """Predict latency from a trace and a device profile, without the device.

    Floors of all operators are added up by class (convolutions k x k, 1 x 1 and grouped, matrix
    products, element-wise work, launches), each times a coefficient that --learn finds from models
    timed on that device. The error bar holds 90% of those models when each is predicted from the
    others; their median error is printed. Without anything learned, the floor is printed as such,
    where the machine was not busy when it was probed. A fit that fails is not kept.

    \b
    Examples:
      detrbench predict --learn rivals.json --learn article.json --device-profile device.json
      detrbench predict --runtime openvino --learn deploy/run.json shufflev2
      detrbench predict rtdetr-x ./my-variant.yaml --device-profile device.json
    """
    options.check_file(device_profile, flag="--device-profile")
    for run in learn or ():
        options.check_file(run, flag="--learn")
    options.check_choice(runtime, RUNTIMES, flag="--runtime")
    # It need not be installed here.
    asked = options.cases(models or [], context, but=("runtime",))
    if not (asked or learn):
        raise UsageError("there is no model to predict", hint="Name one, or give --learn RUN.json.")

    from detrbench.analysis.predict import Lesson, measured_in
    from detrbench.analysis.predict import learn as learn_from
    from detrbench.analysis.predict import predict as predict_one
    from detrbench.analysis.predict_tables import cautions, document
    from detrbench.analysis.probe.device_profile import keep
    from detrbench.render.layout import made
    from detrbench.reports.report import Report

    profile, where = _profile(device_profile)
    known = profile.lesson_of(runtime)
    lesson = Lesson.from_dict(known, where) if known else None
    if learn:
        reports = {str(path): Report.load(path) for path in learn}
        measured, left, seen = measured_in(reports, profile, runtime)
        for each in left:
            say(f"note: not learned from: {each}")
        lesson = learn_from(measured, profile, seen, runtime)
        profile = profile.with_lesson(runtime, lesson.to_dict())
        if device_profile is not None:
            profile.save(device_profile)
        where = str(device_profile or keep(profile))
        say("; ".join((f"kept in {where}", *cautions(profile, lesson))))
    predictions = [predict_one(case, profile, lesson, runtime) for case in asked]
    notes = made({}, __version__, "", options.command_line())
    page = document(
        profile, predictions, lesson, learned_now=bool(learn), notes=notes, runtime=runtime
    )
    show_document(page, format, output)
    raise typer.Exit(FAILED if any(one.lacking for one in predictions) else OK)


def _profile(path: Path | None) -> tuple[DeviceProfile, str]:
    from detrbench.analysis.probe.device_profile import DeviceProfile, kept

    if path is not None:
        return DeviceProfile.load(path), str(path)
    found = kept()
    if found is None:
        raise UsageError(
            "this machine's processor has not been probed",
            where="--device-profile",
            hint="Run detrbench probe, or name the file of a profile.",
        )
    return found, "the remembered profile"
