"""The suite `claims`: all that the claims are held against, measured here, part after part.

Each part is a run of its own in a folder of its own, as its command leaves it, so that any of them
can be read, gated or measured again alone.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

from detrbench.core.errors import UsageError
from detrbench.core.files import write_atomically
from detrbench.experiments import suites
from detrbench.experiments.claims.evidence import Evidence
from detrbench.experiments.guidelines.measuring import measure_guidelines
from detrbench.machine.devices import parse_device
from detrbench.render import render
from detrbench.reports.report import Report
from detrbench.timing.rounds import OnProgress

GUIDELINES = "guidelines"


def measure_claims(
    folder: Path,
    *,
    device: str = "cpu",
    progress: OnProgress | None = None,
    announce: Callable[[str], None] = lambda text: None,
) -> Evidence:
    """Run the suites `article` and `rivals` and all guidelines on `device`, each into `folder`.

    A part that is there already, complete and of this device, is not measured again. After Ctrl-C
    the parts that were not reached are missing, and the one in hand says how far it came. Raises
    UsageError for a device that is not there, or a part in `folder` that is of another one.
    """
    reports: dict[str, Report] = {}
    compared: dict[str, dict[str, Report]] = {"article": {}, "rivals": {}, GUIDELINES: {}}
    for name, comparing in compared.items():
        file = folder / name / "run.json"
        found = _done(file, device)
        if found is not None:
            announce(f"{name}: kept, {file} is complete")
        elif name == GUIDELINES:
            found = _guidelines(file.parent, device, progress, announce)
        else:
            suite = suites.on_device(suites.load_suite(name), device)
            found = _suite(suite, file.parent, progress, announce)
        reports[str(file)] = found
        if found.comparisons:
            comparing[str(file)] = found
        if any(row.status == "interrupted" for row in found.rows):
            break
    return dataclasses.replace(Evidence.of(**compared), reports=reports)


def _suite(
    suite: suites.Suite,
    folder: Path,
    progress: OnProgress | None,
    announce: Callable[[str], None],
) -> Report:
    """Begun, or gone on with."""
    if (folder / suites.ASKED).is_file():
        return suites.resume(folder, progress=progress, announce=announce)
    return suites.run(suite, output=folder, progress=progress, announce=announce)


def _done(file: Path, device: str) -> Report | None:
    """The report in `file`, if it needs no more measuring."""
    if not file.is_file():
        return None
    report = Report.load(file)
    of = {str(row.settings.get("device")) for row in report.rows}
    if {parse_device(one) for one in of} != {parse_device(device)}:
        raise UsageError(
            f"holds a run on {', '.join(sorted(of))}, not on {device}",
            where=str(file),
            hint="Give a folder of its own with -o.",
        )
    return None if report.exit_code else report


def _guidelines(
    folder: Path, device: str, progress: OnProgress | None, announce: Callable[[str], None]
) -> Report:
    processes = folder / "processes"
    report = measure_guidelines(
        device=device, folder=processes, progress=progress, announce=announce
    )
    report = dataclasses.replace(report, command="detrbench guidelines")
    report.save(folder / "run.json")
    write_atomically(folder / "table.md", render(report, "markdown"))
    if not report.exit_code:
        shutil.rmtree(processes)
    return report
