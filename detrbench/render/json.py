"""JSON: the data itself, in full precision."""

from __future__ import annotations

from detrbench.render.layout import Document
from detrbench.reports.report import json_text


def render(document: Document) -> str:
    """The data as it would be saved."""
    return json_text(document.data)
