"""Ceilings as a table."""

from __future__ import annotations

from collections.abc import Sequence

from detrbench.analysis.probe.ceilings import KINDS, Ceilings
from detrbench.core.units import UNITS, show, show_quantity, show_range
from detrbench.render.layout import Line, Table, columns


def ceilings_table(ceilings: Ceilings, caption: str, notes: Sequence[str] = ()) -> Table:
    """One line per ceiling, with its quartiles, and `notes` on where they are from."""
    lines = []
    for one in ceilings.each.values():
        value = f"{show(one.value, one.unit)} {show_range(one.low, one.high, one.unit)}"
        lines.append(Line(KINDS[one.name][1], (value, UNITS[one.unit].shown, one.source)))
    return Table(
        caption=caption,
        columns=columns("lrll", "Ceiling", "Value", "Unit", "Reached by"),
        lines=tuple(lines),
        notes=(
            "Value: in brackets its quartiles over rounds",
            "a working set of up to "
            f"{show_quantity(ceilings.cache_bytes, 'B')} is held against the cache's bandwidth",
            *dict.fromkeys((*(one.note for one in ceilings.doubts()), *notes)),
        ),
    )
