"""`detrbench reconcile`: where every MAC is by every counter, or what prints given figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detrbench.cli import options
from detrbench.cli.output import ProgressLine, show_document
from detrbench.core.errors import UsageError
from detrbench.core.processes import importing_torch
from detrbench.core.units import (
    Printed,
    parse_printed,
    printed_factor,
    show,
    show_change,
    show_count,
)

if TYPE_CHECKING:
    from detrbench.counting.reconcile import Match, Reconciliation, Search
    from detrbench.render.layout import Document, Table
    from detrbench.reports.case import Case


def reconcile(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help=f"{options.MODEL_HELP}.")],
    params: Annotated[
        str | None, options.taking("32.8M", "Find what prints these parameters.")
    ] = None,
    gflops: Annotated[str | None, options.taking("108.0", "Find what prints these GFLOPs.")] = None,
    imgsz: options.ImageSize = None,
    batch: options.Batch = None,
    nc: options.Classes = None,
    scale: options.Scale = None,
    fuse: options.Fuse = False,
    blocks: options.Blocks = None,
    format: options.Format = None,
    output: options.Output = None,
) -> None:
    """Break FLOPs down by component and counter, or find the settings behind printed figures.

    The counters that are installed (thop, fvcore, torch's own) are run for real, and the components
    must add up to what they say. With --params or --gflops, class count, fusing, convention, image
    size and doubling are searched instead for what prints exactly these digits.

    \b
    Examples:
      detrbench reconcile rtdetr-l
      detrbench reconcile rtdetr-l --params 32.8M --gflops 108.0
    """
    figures = (("parameter", "--params", params), ("FLOP", "--gflops", gflops))
    wanted = {
        unit: _figure(text, printed_factor(unit), flag)
        for unit, flag, text in figures
        if text is not None
    }
    if wanted and (nc is not None or fuse or imgsz is not None):
        raise UsageError(
            "with --params or --gflops, these settings are what is searched for",
            where="--nc, --fuse, --imgsz",
            hint="leave them out",
        )
    case = options.case(model, context)

    with importing_torch():
        from detrbench.counting import reconcile as counting

    with ProgressLine() as progress:
        if wanted:
            found = counting.search(
                case, wanted.get("parameter"), wanted.get("FLOP"), progress.show
            )
            document = _search_document(found, params, gflops)
        else:
            document = _components_document(counting.reconcile(case, progress.show), case)
    show_document(document, format, output)


def _figure(text: str, factor: float, flag: str) -> Printed:
    printed = parse_printed(text, factor=factor, where=flag)
    if not printed.value:
        raise UsageError("no detector has 0 of these", where=flag, hint="give a figure above 0")
    return printed


def _components_document(result: Reconciliation, case: Case) -> Document:
    from detrbench.counting.conventions import CONVENTIONS
    from detrbench.render.layout import Document

    records = [
        {"component": part} | {f"{name}_macs": booked.get(name) for name in CONVENTIONS}
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
    }
    return Document((_components_table(result, settings),), records, data)


def _components_table(result: Reconciliation, settings: dict[str, Any]) -> Table:
    from detrbench.counting.conventions import CONVENTIONS
    from detrbench.render.layout import Column, Line, Table

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
            *(f"{c.convention}: {c.counter} was run here" for c in result.counted),
            *(f"{name} did not run: {reason}" for name, reason in result.missing.items()),
            *(f"{r.name} ({r.stands_for}): {r.explanation}" for r in CONVENTIONS.values()),
        ),
    )


def _search_document(found: Search, params: str | None, gflops: str | None) -> Document:
    from detrbench.render.layout import Document

    shown = found.matches or (found.closest,)
    records = [_record(match) for match in shown]
    answer = _sentence(found, params, gflops)
    data = {
        "model": found.model,
        "answer": answer,
        "exact": bool(found.matches),
        "sizes_tried": found.sizes,
        "settings": records,
    }
    return Document((_search_table(found, shown, answer),), records, data)


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
    if found.matches:
        ways = "; or ".join(_words(match, gflops is not None) for match in found.matches)
        return f"{found.model} prints exactly {wanted} when {ways}."
    off = show_change(1 + found.deviation).lstrip("+")
    return (
        f"Nothing that was tried prints exactly {wanted} for {found.model}; the closest is off by "
        f"{off}: {_words(found.closest, gflops is not None)}."
    )


def _words(match: Match, counted: bool) -> str:
    """The settings in words; image and convention only where FLOPs were asked for."""
    settings = match.settings
    classes = f"nc={match.nc_low}"
    if match.nc_high > match.nc_low:
        classes = f"nc from {match.nc_low} to {match.nc_high}"
    per_mac = "2 FLOPs per MAC" if settings.doubled else "MACs called FLOPs"
    fused = "fused" if settings.fused else "unfused"
    if not counted:
        return f"{fused}, {classes}"
    return (
        f"{fused}, {classes}, image {settings.imgsz}x{settings.imgsz}, counted as "
        f"{settings.convention} does ({per_mac})"
    )


def _span(low: object, high: object) -> str:
    return f"{low}" if low == high else f"{low} to {high}"


def _search_table(found: Search, shown: tuple[Match, ...], answer: str) -> Table:
    from detrbench.render.layout import Column, Line, Table

    lines = tuple(
        Line(
            _span(m.nc_low, m.nc_high),
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
    tried = ", ".join(map(str, found.sizes))
    return Table(
        caption=answer,
        columns=(
            Column("Classes", "left"),
            *map(Column, ("Fused", "Image", "Convention", "FLOPs per MAC", "Params (M)", "GFLOPs")),
        ),
        lines=lines,
        notes=(f"Tried: 1 to 1,300 classes, fused and not, every convention, images of {tried}.",),
    )
