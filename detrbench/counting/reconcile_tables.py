"""What reconcile found, laid out: components by convention, and settings that print figures."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from detrbench.core.units import show, show_change, show_count, show_many
from detrbench.counting.conventions import CONVENTIONS
from detrbench.counting.profiling import completeness
from detrbench.counting.published_table import ExplainedRow, ExplainedTable, Way
from detrbench.counting.reconcile import Match, Reconciliation, Search
from detrbench.render.layout import Column, Document, Line, Table
from detrbench.reports.case import Case


def components_document(result: Reconciliation, case: Case) -> Document:
    whole = completeness((*result.not_counted, *_unexplained(result)))
    records = [
        {"component": part} | {f"{name}_macs": booked.get(name) for name in CONVENTIONS} | whole
        for part, booked in result.components.items()
    ]
    settings = case.settings_of_counts(result.nc)
    data = {
        "model": result.model,
        "settings": settings,
        "components_macs": result.components,
        "counters": {
            c.convention: {
                "counter": c.counter,
                "flops": c.flops,
                "residual_flops": result.residual(c.convention),
            }
            for c in result.counted
        },
        "missing": result.missing,
        **whole,
    }
    return Document((_components_table(result, settings),), records, data)


def _components_table(result: Reconciliation, settings: dict[str, Any]) -> Table:
    names = tuple(CONVENTIONS)

    def macs(label: str, of: Mapping[str, float]) -> Line:
        """By convention, where it is known of one."""
        cells = (show(of[name], "fine MAC") if name in of else "" for name in names)
        return Line(label, tuple(cells))

    totals = {name: result.total(name) for name in names}
    left = [result.residual(name) for name in names]
    lines = (
        *(macs(part, booked) for part, booked in result.components.items()),
        macs("total", totals),
        Line("GFLOPs (2 per MAC)", tuple(show(2 * n, "fine FLOP") for n in totals.values())),
        macs("the counter itself", {c.convention: c.flops / 2 for c in result.counted}),
        Line("residual, MACs", tuple("" if n is None else show_count(n // 2) for n in left)),
    )
    fused = "fused" if settings["fused"] else "unfused"
    return Table(
        caption=f"{result.model}, image {settings['imgsz']}, batch {settings['batch']}, "
        f"nc={settings['nc']}, {fused}: millions of MACs by component, by convention.",
        columns=(Column("Component", "left"), *map(Column, names)),
        lines=lines,
        notes=(
            *_partial(result.not_counted),
            *_unexplained(result),
            *(f"{c.convention}: {c.counter} was run here" for c in result.counted),
            *(f"{name} did not run: {reason}" for name, reason in result.missing.items()),
            *(f"{r.name} ({r.stands_for}): {r.explanation}" for r in CONVENTIONS.values()),
        ),
    )


def _unexplained(result: Reconciliation) -> Iterator[str]:
    """Which counters are not reproduced, and by how much: no figure of theirs is explained."""
    for counter in result.unexplained:
        left = result.residual(counter.convention) or 0
        yield (
            f"{counter.convention}: {counter.counter} counts {show_count(abs(left))} FLOPs "
            f"{'more' if left > 0 else 'fewer'} than the components add up to; "
            "its rules are not reproduced for this model"
        )


def search_document(found: Search, params: str | None, gflops: str | None) -> Document:
    shown = found.matches or (found.closest,)
    whole = completeness(found.not_counted)
    records = [_record(match) for match in shown]
    answer = _sentence(found, params, gflops)
    data = {
        "model": found.model,
        "answer": answer,
        "exact": bool(found.matches),
        "sizes_tried": found.sizes,
        **whole,
        "settings": records,
    }
    return Document((_search_table(found, shown, answer),), [r | whole for r in records], data)


def _record(match: Match) -> dict[str, Any]:
    return {
        "nc_low": match.nc_low,
        "nc_high": match.nc_high,
        "fused": match.settings.fused,
        "imgsz": match.settings.imgsz,
        "convention": match.settings.convention,
        "flops_per_mac": 2 if match.settings.doubled else 1,
        "params_low": match.params[0],
        "params_high": match.params[1],
        "flops_low": match.flops[0],
        "flops_high": match.flops[1],
    }


def _sentence(found: Search, params: str | None, gflops: str | None) -> str:
    wanted = " and ".join(
        text for text in (params and f"{params} parameters", gflops and f"{gflops} GFLOPs") if text
    )
    partly = " (partial: not all of it is counted)" if found.not_counted else ""
    if found.matches:
        ways = "; or ".join(_words(match, gflops is not None) for match in found.matches)
        return f"{found.model}{partly} prints exactly {wanted} when {ways}."
    off = show_change(1 + found.deviation).lstrip("+")
    return (
        f"Nothing that was tried prints exactly {wanted} for {found.model}{partly}; the closest is "
        f"off by {off}: {_words(found.closest, gflops is not None)}."
    )


def _words(match: Match, counted: bool) -> str:
    """The settings in words; image and convention only where FLOPs were asked for."""
    return _way_words(Way.of(match, counted))


def _way_words(way: Way) -> str:
    classes = "" if way.nc_low is None else f", nc={way.nc_low}"
    if way.nc_high != way.nc_low:
        classes = f", nc from {way.nc_low} to {way.nc_high}"
    said = f"{'fused' if way.fused else 'unfused'}{classes}"
    if way.convention is None:
        return said
    per_mac = "2 FLOPs per MAC" if way.doubled else "MACs called FLOPs"
    size = f"{way.imgsz}x{way.imgsz}"
    return f"{said}, image {size}, counted as {way.convention} does ({per_mac})"


def _span(low: object, high: object) -> str:
    return f"{low}" if low == high else f"{low} to {high}"


def _search_table(found: Search, shown: tuple[Match, ...], answer: str) -> Table:
    lines = tuple(
        Line(
            "its own" if m.nc_low is None else _span(m.nc_low, m.nc_high),
            (
                "yes" if m.settings.fused else "no",
                f"{m.settings.imgsz}x{m.settings.imgsz}",
                m.settings.convention,
                "2" if m.settings.doubled else "1",
                _span(*(show(end, "fine parameter") for end in m.params)),
                _span(*(show(end, "fine FLOP") for end in m.flops)),
            ),
        )
        for m in shown
    )
    return Table(
        caption=answer,
        columns=(
            Column("Classes", "left"),
            *map(Column, ("Fused", "Image", "Convention", "FLOPs per MAC", "Params (M)", "GFLOPs")),
        ),
        lines=lines,
        notes=(*_partial(found.not_counted), _tried(found.sizes, found.fixed)),
    )


def _partial(lacking: Iterable[str]) -> list[str]:
    return [f"partial: {one}" for one in lacking]


def _tried(sizes: Iterable[int], fixed: Collection[str] = ()) -> str:
    of = ", ".join(map(str, sizes))
    classes = "its own classes" if "classes" in fixed else "1 to 1,300 classes"
    fused = "unfused alone" if "fusing" in fixed else "fused and not"
    return f"Tried: {classes}, {fused}, every convention, images of {of}."


# --- a published table -------------------------------------------------------------------------

MOST_WAYS = 3
"""Of a row, in the table for readers; CSV and JSON hold all."""


def table_document(found: ExplainedTable) -> Document:
    """Every row of a published table with what prints it, and what prints all."""
    rows = [_row_data(one) for one in found.rows]
    data = {
        "table": str(found.path),
        "rows": rows,
        "common": [way._asdict() for way in found.common],
        "apart": [[one.row.line, two.row.line] for one, two in found.apart],
    }
    records = [
        {key: value for key, value in row.items() if key != "settings"} | settings
        for row in rows
        for settings in row["settings"]
    ]
    table = Table(
        caption=f"{found.path.name}: the settings that print each row.",
        columns=(
            Column("Row", "left"),
            Column("Model", "left"),
            *map(Column, ("Params", "GFLOPs", "Latency")),
            Column("Printed when", "left"),
        ),
        lines=tuple(line for one in found.rows for line in _row_lines(one)),
        notes=tuple(_table_notes(found)),
    )
    return Document((table,), records, data)


def _row_data(one: ExplainedRow) -> dict[str, Any]:
    shown = one.found.matches or (one.found.closest,)
    printed = {key: one.row.texts.get(key) for key in ("params", "gflops", "latency")}
    return {
        "row": one.row.line,
        "model": one.row.model,
        **printed,
        "exact": bool(one.found.matches),
        **completeness(one.found.not_counted),
        "settings": [_record(match) for match in shown],
    }


def _row_lines(one: ExplainedRow) -> list[Line]:
    printed = [one.row.texts.get(key, "") for key in ("params", "gflops", "latency")]
    ways = [_way_words(way) for way in one.ways[:MOST_WAYS]]
    if len(one.ways) > MOST_WAYS:
        ways.append(f"and {show_many(len(one.ways) - MOST_WAYS, 'other way')}")
    if not ways:
        off = show_change(1 + one.found.deviation).lstrip("+")
        nearest = _words(one.found.closest, one.row.gflops is not None)
        ways = [f"nothing that was tried; the closest is off by {off}: {nearest}"]
    first, *others = ways
    return [
        Line(str(one.row.line), (one.row.model, *printed, first)),
        *(Line("", ("", "", "", "", way)) for way in others),
    ]


def _table_notes(found: ExplainedTable) -> list[str]:
    notes = [
        f"row {one.row.line} ({one.row.model}) and row {two.row.line} ({two.row.model}) cannot "
        "have been counted the same way: no settings print both"
        for one, two in found.apart
    ]
    silent = [f"row {one.row.line} ({one.row.model})" for one in found.rows if not one.ways]
    if silent:
        notes.append(f"of {', '.join(silent)} nothing can be said: no settings print its figures")
    notes += [
        f"row {one.row.line} ({one.row.model}) is {lacking}, and what prints it may be wrong"
        for one in found.rows
        for lacking in _partial(one.found.not_counted)
    ]
    if len(found.explained) > 1 and found.common:
        ways = "; or ".join(map(_way_words, found.common[:MOST_WAYS]))
        more = len(found.common) - MOST_WAYS
        rest = f"; and {show_many(more, 'other way')}" if more > 0 else ""
        notes.append(f"rows with settings are all printed when {ways}{rest}")
    elif len(found.explained) > 1 and not any(found.apart):
        notes.append("no one way prints all rows, though one prints any two of them")
    if any("latency" in one.row.texts for one in found.rows):
        notes.append("latency is of a machine and a run, and is shown as it was printed")
    sizes = dict.fromkeys(size for one in found.rows for size in one.found.sizes)
    return [*notes, _tried(sizes)]
