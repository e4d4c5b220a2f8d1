"""`detrbench guidelines`: do the ShuffleNetV2 paper's guidelines hold on this device?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from detrbench.cli import options
from detrbench.cli.budgets import check_budget, left_of
from detrbench.cli.output import ProgressLine, show_document, show_report
from detrbench.core.units import parse_part


def guidelines(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="GUIDELINE", help="G1, G2, G3 or G4.  [default: all]"),
    ] = None,
    device: options.Device = None,
    widths: Annotated[
        str | None,
        options.taking(
            "WIDTHS", "The paper's for its gpu or its arm processor.  [default: as --device is]"
        ),
    ] = None,
    batch: options.Batch = None,
    threads: options.Threads = None,
    runtime: options.Runtime = None,
    budget: Annotated[
        float | None,
        options.taking("SECONDS", "For everything.  [default: 120 for each guideline]"),
    ] = None,
    margin: Annotated[str, options.taking("SHARE", "The smallest difference that counts.")] = "2%",
    folder: Annotated[
        Path | None,
        options.taking(
            "FOLDER", "Keep every process's samples here, and go on with a run that was cut short."
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        options.taking(
            "FOLDER", "Go on with a run, finished or not; with --budget, for seconds more."
        ),
    ] = None,
    saved: Annotated[
        Path | None, options.taking("RUN.json", "Lay out a saved run again; alone.", "--from")
    ] = None,
    format: options.Format = None,
    output: options.Output = None,
) -> None:
    """Repeat the ShuffleNetV2 paper's experiments on this device.

    Times the networks of its tables 1 to 4 against each other by the protocol of `latency`, beside
    the paper's figures and each network's memory access, and says of each guideline whether it
    holds here.

    \b
    Guidelines:
      G1  equal channel width minimizes memory access cost
      G2  excessive group convolution increases memory access cost
      G3  network fragmentation reduces the degree of parallelism
      G4  element-wise operations are non-negligible

    \b
    Examples:
      detrbench guidelines
      detrbench guidelines G1 G2 --threads 1 --budget 300
      detrbench guidelines --runtime onnxruntime
      detrbench guidelines --device cuda -o guidelines.json
      detrbench guidelines --from guidelines.json --format markdown
    """
    from detrbench.experiments.guidelines.paper import WIDTHS, check_guideline

    if saved is not None:
        options.check_alone(context, "saved", "The file says what was measured")
    if resume is not None:
        options.check_alone(context, "resume", "The folder says what is measured", "budget")
    asked = [check_guideline(name.upper()) for name in names or ()]
    settings = options.values(context)
    if widths is not None:
        options.check_choice(widths, WIDTHS, flag="--widths")
    check_budget(budget)
    smallest = parse_part(margin, where="--margin")

    from detrbench.experiments.guidelines.measuring import measure_guidelines, resume_guidelines
    from detrbench.experiments.guidelines.tables import document
    from detrbench.reports.report import Report

    if saved is not None:
        report = Report.load(saved)
        show_document(document(report), format, output)
    else:
        with ProgressLine() as progress:
            told: dict[str, Any] = {
                "budget_s": left_of(budget),
                "progress": progress,
                "announce": progress.say,
            }
            if resume is not None:
                report = resume_guidelines(resume, **told)
            else:
                report = measure_guidelines(
                    asked, widths=widths, margin=smallest, folder=folder, **told, **settings
                )
        show_report(report, format, output)
    raise typer.Exit(report.exit_code)
