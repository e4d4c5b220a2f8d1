"""Renderings of a Report: one description of the tables (`layout`), and one file per format."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING

from detrbench.core.errors import UsageError, nearest

if TYPE_CHECKING:
    from detrbench.render.layout import Document
    from detrbench.reports.report import Report

FORMATS = ("table", "markdown", "csv", "json", "latex", "html")
"""Each is written by `render(document)` of the module of its name."""

SUFFIXES = {
    ".txt": "table",
    ".md": "markdown",
    ".markdown": "markdown",
    ".csv": "csv",
    ".json": "json",
    ".tex": "latex",
    ".html": "html",
    ".htm": "html",
}


def render(
    report: Report, format: str = "table", *, by: str | None = None, lang: str = "en"
) -> str:
    """A report as text in one of FORMATS.

    Args:
        by: "stage", "module" or "op" also shows those parts of each model.
        lang: "en" or "zh", of the tables.

    Raises:
        UsageError: an unknown format or language, or parts that the report does not hold.
    """
    from detrbench.render.languages import translated

    return render_document(translated(_laid_out(report, by), lang), format)


def render_inline(report: Report) -> str:
    """A report's tables as HTML that can stand inside a page, such as a notebook's."""
    from detrbench.render.html import fragment

    return fragment(_laid_out(report, None))


LAYOUTS: dict[str, Callable[[Report], bool]] = {}
"""Module whose `document(report)` lays out what a command of its own has measured -> whether a
report is such a one. Filled by the package's `__init__`, since no format knows a feature."""


def _laid_out(report: Report, by: str | None) -> Document:
    from detrbench.render.layout import document

    module = next((module for module, asks in LAYOUTS.items() if asks(report)), None)
    if module is None:
        return document(report, by)
    own: Document = importlib.import_module(module).document(report)
    return own if by is None else replace(document(report, by), pictures=own.pictures)


def render_document(document: Document, format: str) -> str:
    """Tables, records and data as text in one of FORMATS.

    Raises:
        UsageError: it is none of them; the nearest is suggested.
    """
    if format not in FORMATS:
        raise UsageError(f"unknown format {format!r}", hint=nearest(format, FORMATS))
    if format not in ("json", "html"):  # which have escapes of their own
        document = document.visible()
    text: str = importlib.import_module(f"detrbench.render.{format}").render(document)
    return text


def format_of(path: PurePath | str | None) -> str:
    """The format a file's suffix asks for; "table" where it says nothing."""
    return SUFFIXES.get(PurePath(path or "").suffix.lower(), "table")
