"""`detrbench models`: what can be asked for by name."""

from __future__ import annotations

from detrbench.cli.options import Format, Output
from detrbench.cli.output import show_document
from detrbench.core.units import show_count


def models(format: Format = None, output: Output = None) -> None:
    """List the models that come with detrbench.

    Their parameters are those at 80 classes, not fused. A file of your own is named by its path, a
    callable that returns a module as FILE.py:NAME or PACKAGE.MODULE:NAME.
    """
    from detrbench.models.catalog import find_model, model_names
    from detrbench.models.yaml_spec import load_model_spec
    from detrbench.render.layout import Document, Line, Table, columns

    specs = {name: load_model_spec(find_model(name)) for name in model_names()}
    told = ("title", "params_nc80", "origin")
    records = [
        {"model": name, **{key: getattr(spec, key) for key in told}} for name, spec in specs.items()
    ]
    params = {
        name: "not declared" if spec.params_nc80 is None else show_count(spec.params_nc80)
        for name, spec in specs.items()
    }
    table = Table(
        caption="Models that come with detrbench; parameters at 80 classes, unfused.",
        columns=columns("llrl", "Model", "Title", "Params", "Where from"),
        lines=tuple(
            Line(name, (spec.title, params[name], spec.origin or ""))
            for name, spec in specs.items()
        ),
    )
    show_document(Document((table,), records, records), format, output)
