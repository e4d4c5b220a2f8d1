"""`detrbench probe`: what this device can do at best."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import typer

from detrbench.cli import options
from detrbench.cli.budgets import check_budget, left_of, within
from detrbench.cli.output import ProgressLine, say, show_document

if TYPE_CHECKING:
    from detrbench.analysis.probe.device_profile import DeviceProfile
    from detrbench.render.layout import Document


def probe(
    context: typer.Context,
    device: options.Device = None,
    dtype: options.Dtype = None,
    memory_format: options.MemoryFormat = None,
    threads: options.Threads = None,
    budget: options.Budget = 20.0,
    format: options.Format = None,
    output: options.Output = None,
) -> None:
    """Measure what this device can do at best: its ceilings.

    FLOP/s of convolutions and of matrix products, bandwidth of memory and of the last-level cache,
    and what launching one operator takes; each is the best of a few probes, with its quartiles over
    rounds. Nothing is from a data sheet. The result is remembered for this machine, and -o
    device.json writes a profile that `detrbench predict` takes on any machine.

    \b
    Examples:
      detrbench probe
      detrbench probe --dtype bfloat16 --memory-format channels_last
      detrbench probe --device cuda -o device.json
    """
    from detrbench.reports.case import Execution
    from detrbench.runtimes import check_execution

    execution = check_execution(Execution(**options.values(context)))
    check_budget(budget)

    with ProgressLine() as progress, within(budget):
        from detrbench.analysis.probe.device_profile import probe_device, remember

        left_s = left_of(budget)
        found = probe_device(
            execution,
            budget_s=left_s,
            deadline=time.monotonic() + left_s,
            progress=progress,
            announce=progress.say,
        )
    show_document(_document(found), format, output)
    say(remember(found))


def _document(found: DeviceProfile) -> Document:
    from detrbench.analysis.probe.tables import ceilings_table
    from detrbench.render.layout import Document, made
    from detrbench.reports.settings import settings_text

    known = found.circumstances and found.seen.in_short
    records = [
        {**vars(one), "unit": one.unit, "conditions": known} for one in found.ceilings.each.values()
    ]
    caption = f"Ceilings, measured: {settings_text(found.settings)}, {found.rounds} rounds."
    notes = (
        *(found.circumstances.notes if found.circumstances else ()),
        *([found.caution] if found.caution else []),
        *made(found.environment, found.detrbench_version, found.created, options.command_line()),
    )
    table = ceilings_table(found.ceilings, caption, notes)
    return Document((table,), records, found.to_dict())
