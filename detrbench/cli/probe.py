"""`detrbench probe`: what this device can do at best."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from detrbench.cli import options
from detrbench.cli.output import ProgressLine, deliver, say

if TYPE_CHECKING:
    from detrbench.analysis.probe.device_profile import DeviceProfile
    from detrbench.render.layout import Document


def probe(
    device: options.Device = None,
    dtype: options.Dtype = None,
    memory_format: options.MemoryFormat = None,
    threads: options.Threads = None,
    budget: Annotated[
        float, typer.Option("--budget", metavar="SECONDS", help="For everything.")
    ] = 20.0,
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
    from detrbench.core.errors import UsageError
    from detrbench.reports.case import Execution
    from detrbench.runtimes import check_execution

    execution = check_execution(
        Execution(
            device=options.value("device", device),
            dtype=options.value("dtype", dtype),
            memory_format=options.value("memory_format", memory_format),
            threads=options.value("threads", threads),
        )
    )
    chosen = options.check_format(format, options.check_output(output))
    if not budget > 0:
        raise UsageError(
            f"{budget:g} seconds leave no time", where="--budget", hint="Give more than 0."
        )

    from detrbench.analysis.probe.device_profile import keep, probe_device
    from detrbench.render import render_document

    progress = ProgressLine()
    try:
        found = probe_device(execution, budget_s=budget, progress=progress)
    finally:
        progress.close()
    deliver(render_document(_document(found), chosen), output)
    say(f"remembered in {keep(found)}")


def _document(found: DeviceProfile) -> Document:
    from detrbench.analysis.probe.tables import ceilings_table
    from detrbench.render.layout import Document, made
    from detrbench.reports.settings import settings_text

    records: list[dict[str, Any]] = [
        {**vars(one), "unit": one.unit} for one in found.ceilings.each.values()
    ]
    caption = f"Ceilings, measured: {settings_text(found.settings)}, {found.rounds} rounds."
    notes = made(found.environment, found.detrbench_version, found.created, options.command_line())
    table = ceilings_table(found.ceilings, caption, notes)
    return Document((table,), tuple(records), found.to_dict())
