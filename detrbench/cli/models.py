"""`detrbench models`: what can be asked for by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from detrbench.cli.options import Format, Output, check_format, check_output
from detrbench.cli.output import deliver

if TYPE_CHECKING:
    from detrbench.render.layout import Document


def models(format: Format = None, output: Output = None) -> None:
    """List the models that come with detrbench.

    Their parameters are those at 80 classes, not fused. A file of your own is named by its path, a
    callable that returns a module as FILE.py:NAME or PACKAGE.MODULE:NAME.
    """
    chosen = check_format(format, check_output(output))
    from detrbench.render import render_document

    deliver(render_document(_document(), chosen), output)


def _document() -> Document:
    from detrbench.core.units import show_count
    from detrbench.models.catalog import find_model, model_names
    from detrbench.models.spec import load_model_spec
    from detrbench.render.layout import Column, Document, Line, Table

    records: list[dict[str, Any]] = []
    lines: list[Line] = []
    for name in model_names():
        spec = load_model_spec(find_model(name))
        records.append(
            {
                "model": name,
                "title": spec.title,
                "params_nc80": spec.params_nc80,
                "origin": spec.origin,
            }
        )
        params = "not declared" if spec.params_nc80 is None else show_count(spec.params_nc80)
        lines.append(Line(name, (spec.title, params, spec.origin or "")))
    table = Table(
        caption="Models that come with detrbench; parameters at 80 classes, unfused.",
        columns=(
            Column("Model", "left"),
            Column("Title", "left"),
            Column("Params"),
            Column("Where from", "left"),
        ),
        lines=tuple(lines),
    )
    return Document((table,), tuple(records), records)
