"""`detrbench reconcile`: where every MAC is by every counter, or what prints given figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from detrbench.cli import options
from detrbench.cli.output import StatusLine, deliver
from detrbench.core.errors import UsageError

if TYPE_CHECKING:
    from detrbench.core.units import Printed
    from detrbench.counting.reconcile import Match, Reconciliation, Search
    from detrbench.render.layout import Document, Table
    from detrbench.reports.case import Case


def reconcile(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name, or a model file's path.")],
    params: Annotated[
        str | None,
        typer.Option("--params", metavar="32.8M", help="Find what prints these parameters."),
    ] = None,
    gflops: Annotated[
        str | None,
        typer.Option("--gflops", metavar="108.0", help="Find what prints these GFLOPs."),
    ] = None,
    imgsz: options.ImageSize = None,
    batch: options.Batch = None,
    nc: options.Classes = None,
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
    from detrbench.core.units import parse_printed, printed_factor

    def printed(text: str | None, unit: str, flag: str) -> Printed | None:
        return (
            None if text is None else parse_printed(text, factor=printed_factor(unit), where=flag)
        )

    wanted_params = printed(params, "parameter", "--params")
    wanted_flops = printed(gflops, "FLOP", "--gflops")
    searching = bool(wanted_params or wanted_flops)
    if searching and (nc is not None or fuse or imgsz is not None):
        raise UsageError(
            "with --params or --gflops, these settings are what is searched for",
            where="--nc, --fuse, --imgsz",
            hint="leave them out",
        )
    chosen = options.check_format(format, options.check_output(output))
    case = options.case(model, imgsz=imgsz, batch=batch, nc=nc, fused=fuse, blocks=blocks)

    from detrbench.counting import reconcile as counting
    from detrbench.render import render_document

    status = StatusLine()
    try:
        if searching:
            found = counting.search(case, wanted_params, wanted_flops, status.show)
            document = _search_document(found, params, gflops)
        else:
            result = counting.reconcile(case, status.show)
            document = _components_document(result, case)
    finally:
        status.close()
    deliver(render_document(document, chosen), output)


# --- components --------------------------------------------------------------------------------


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
    from detrbench.core.units import show, show_count
    from detrbench.counting.conventions import CONVENTIONS
    from detrbench.render.layout import Column, Line, Table

    names = tuple(CONVENTIONS)

    def macs(value: int | None) -> str:
        return "" if value is None else show(value, "fine MAC")

    def counter(name: str) -> str:
        found = result.counter_of(name)
        return "" if found is None else show(found.flops / 2, "fine MAC")

    def residual(name: str) -> str:
        left = result.residual(name)
        return "" if left is None else show_count(left // 2)

    lines = [
        *(
            Line(part, tuple(macs(booked.get(name)) for name in names))
            for part, booked in result.components.items()
        ),
        Line("total", tuple(macs(result.total(name)) for name in names)),
        Line("GFLOPs (2 per MAC)", tuple(show(2 * result.total(n), "fine FLOP") for n in names)),
        Line("the counter itself", tuple(map(counter, names))),
        Line("residual, MACs", tuple(map(residual, names))),
    ]
    fused = "fused" if settings["fused"] else "unfused"
    return Table(
        caption=f"{result.model}, image {settings['imgsz']}, batch {settings['batch']}, "
        f"nc={settings['nc']}, {fused}: millions of MACs by component, by convention.",
        columns=(Column("Component", "left"), *map(Column, names)),
        lines=tuple(lines),
        notes=(
            *(f"{c.convention}: {c.counter} was run here" for c in result.counted),
            *(f"{name} did not run: {reason}" for name, reason in result.missing.items()),
            *(f"{r.name} ({r.stands_for}): {r.explanation}" for r in CONVENTIONS.values()),
        ),
    )


# --- search ------------------------------------------------------------------------------------


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
    from detrbench.core.units import show_change

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


def _search_table(found: Search, shown: tuple[Match, ...], answer: str) -> Table:
    from detrbench.core.units import show
    from detrbench.render.layout import Column, Line, Table

    def ends(pair: tuple[int, int], unit: str) -> str:
        low, high = show(pair[0], unit), show(pair[1], unit)
        return low if low == high else f"{low} to {high}"

    lines = tuple(
        Line(
            f"{m.nc_low} to {m.nc_high}" if m.nc_high > m.nc_low else str(m.nc_low),
            (
                "yes" if m.settings.fused else "no",
                f"{m.settings.imgsz}x{m.settings.imgsz}",
                m.settings.convention,
                "2" if m.settings.doubled else "1",
                ends(m.params, "fine parameter"),
                ends(m.flops, "fine FLOP"),
            ),
        )
        for m in shown
    )
    tried = ", ".join(map(str, found.sizes))
    return Table(
        caption=answer,
        columns=(
            Column("Classes", "left"),
            Column("Fused"),
            Column("Image"),
            Column("Convention"),
            Column("FLOPs per MAC"),
            Column("Params (M)"),
            Column("GFLOPs"),
        ),
        lines=lines,
        notes=(f"Tried: 1 to 1,300 classes, fused and not, every convention, images of {tried}.",),
    )
