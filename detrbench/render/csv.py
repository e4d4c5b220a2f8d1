"""Comma-separated values (RFC 4180), full precision, one record per line."""

from __future__ import annotations

import csv
import io
from typing import Any

from detrbench.render.layout import Document

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\n")


def render(document: Document) -> str:
    """The records with a header line; an empty field where a value is missing."""
    page = io.StringIO()
    writer = csv.writer(page, lineterminator="\n")
    names = list(document.records[0]) if document.records else []
    writer.writerow([_safe(name) for name in names])
    writer.writerows([_safe(record[name]) for name in names] for record in document.records)
    return page.getvalue()


def _safe(value: Any) -> Any:
    """Text that no spreadsheet takes for a formula (OWASP, CSV Injection); numbers untouched."""
    if not isinstance(value, str):
        return value
    # csv leaves a bare CR unquoted.
    text = "\n".join(value.splitlines()) if "\r" in value else value
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
