"""Ceilings as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detrbench.environment import Environment
from detrbench.probing.ceilings import KINDS, Ceilings
from detrbench.render.layout import Column, Line, Table
from detrbench.units import UNITS, show, show_quantity, show_range


def ceilings_table(
    ceilings: Ceilings, caption: str, environment: Mapping[str, Any] | None = None
) -> Table:
    """One line per ceiling, with its quartiles."""
    lines = [
        Line(
            KINDS[one.name][1],
            (
                f"{show(one.value, one.unit)} {show_range(one.low, one.high, one.unit)}",
                UNITS[one.unit].shown,
                one.source,
            ),
        )
        for one in ceilings.each.values()
    ]
    machine = Environment.from_dict(dict(environment or {})).one_line()
    return Table(
        caption=caption,
        columns=(
            Column("Ceiling", "left"),
            Column("Value"),
            Column("Unit", "left"),
            Column("Reached by", "left"),
        ),
        lines=tuple(lines),
        notes=(
            "Value: in brackets its quartiles over rounds",
            "a working set of up to "
            f"{show_quantity(ceilings.cache_bytes, 'B')} is held against the cache's bandwidth",
            *([f"Machine: {machine}."] if machine else []),
        ),
    )
