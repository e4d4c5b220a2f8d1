"""One self-contained HTML file: the tables, pictures of them, and the data itself to take away.

It opens offline, asks no network for anything, and needs its script only to sort and to download.
Texts are escaped by the template. What is `Markup` already is made here, from our own files and
`plots`: nothing of a report may become that without having been escaped.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from json import dumps
from pathlib import Path
from typing import Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from detrbench.core.version import __version__
from detrbench.core.visible import visible
from detrbench.render import csv, json, plots
from detrbench.render.layout import PARTS, Document, Line, Table, provenance, workloads
from detrbench.render.layout import document as lay_out
from detrbench.render.page import tables, words
from detrbench.reports.report import Report

_PAGE = Path(__file__).with_name("page")
_CHINESE = re.compile("[\u4e00-\u9fff]")


def render(document: Document) -> str:
    """The page, as text; the same document gives the same text."""
    report = document.report
    script = _read("page.js")
    return _template("page").render(
        title=_title(document),
        findings=words.findings(report) if report else (),
        savings=words.savings(report) if report else (),
        pictures=_pictures(savings=plots.savings(report), verdicts=plots.verdicts(report))
        if report
        else (),
        sections=[one for one in _sections(document) if one.pictures or one.tables or one.missing],
        provenance=provenance(report) if report else (f"Made by detrbench {__version__}",),
        report=report,
        style=Markup(_read("page.css")),
        script=Markup(script),
        script_hash=b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data_name="run.json" if report else "data.json",
        data=Markup(_inside_script(json.render(document))),
        records=Markup(_inside_script(dumps(csv.render(document.visible()), ensure_ascii=False))),
    )


def fragment(document: Document) -> str:
    """The tables alone, to stand inside another page; they have their own small style, no script,
    and ids that another report's do not share."""
    name = hashlib.sha256(repr(document.tables).encode("utf-8", "replace")).hexdigest()[:8]
    tables = [Shown(table, "") for table in document.tables]
    return _template("fragment").render(tables=tables, name=f"detrbench-{name}", provenance=())


# --- what stands where -------------------------------------------------------------------------


@dataclass(frozen=True)
class Drawn:
    """An <svg> element, and how to read it."""

    svg: Markup
    caption: str


@dataclass(frozen=True)
class Shown:
    """A table, and what a click on a header sorts: its groups (a model with its sublines), the
    lines inside each group, or nothing."""

    table: Table
    sorts: Literal["groups", "lines", ""] = "groups"

    @property
    def lang(self) -> str:
        """The language of its words where it is not the page's."""
        return "zh" if any(_CHINESE.search(column.title) for column in self.table.columns) else ""

    @property
    def groups(self) -> list[list[Line]]:
        """Its lines, each at level 0 with those beneath it."""
        found: list[list[Line]] = []
        for line in self.table.lines:
            if line.level == 0 or not found:
                found.append([])
            found[-1].append(line)
        return found


@dataclass(frozen=True)
class Section:
    """A heading over pictures and tables, or what is missing; one without all three is left out."""

    name: str
    title: str
    pictures: tuple[Drawn, ...] = ()
    tables: tuple[Shown, ...] = ()
    missing: str = ""


def _sections(document: Document) -> Iterator[Section]:
    report = document.report
    if report is None:
        yield Section("tables", "Tables", tables=tuple(map(Shown, document.tables)))
        return
    held = [by for by in PARTS if any(row.parts.get(by) for row in report.rows)]
    by_part = {by: _breakdown(document, by) for by in held}
    others = [table for table in document.tables if table not in by_part.values()]
    yield Section("comparison", "Comparison", tables=tuple(map(Shown, others)))
    yield Section(
        "latency",
        "Latency, every sample",
        _samples(report),
        missing="No forward pass was timed. `detrbench latency` and `detrbench run` do that.",
    )
    yield Section(
        "cost",
        "FLOPs against latency",
        _pictures(cost=plots.cost(report)),
        missing="It takes FLOPs and latency of two models in one report: `detrbench run` has both.",
    )
    own = [
        Drawn(Markup(svg), picture.caption)
        for picture in document.pictures
        if picture.section == "parts" and (svg := picture.draw())
    ]
    # Modules are every model's own, so that bars of them would compare nothing.
    bars = _pictures(**{by: plots.parts(report, by) for by in by_part if by != "module"})
    yield Section(
        "parts",
        "Stages and operators",
        (*own, *bars),
        tuple(Shown(table, "lines") for table in by_part.values()),
        missing="No parts were kept. `detrbench profile --by stage` (or op, or module) counts "
        "them, `detrbench latency --stages` times them.",
    )
    yield Section(
        "memory",
        "Memory access and traffic",
        _pictures(memory=plots.memory(report)),
        missing="Nothing was counted. `detrbench profile` and `detrbench run` do that.",
    )
    yield Section("counting", "Ways of counting", tables=_shown(tables.reconciled(report)))
    yield Section(
        "machine",
        "Environment and validity",
        missing="The report names no machine.",
        tables=_shown(tables.environment(report), "") + _shown(tables.processes(report), "lines"),
    )


def _samples(report: Report) -> tuple[Drawn, ...]:
    """A picture for each workload: no axis suits the times of several."""
    return tuple(
        picture
        for place, rows in enumerate(workloads(report), start=1)
        for picture in _pictures(samples=plots.samples(report, rows, place))
    )


def _breakdown(document: Document, by: str) -> Table:
    """The table of parts that the document holds, perhaps in another language, else a new one."""
    assert document.report is not None
    ours = lay_out(document.report, by).tables[-1]
    cells = [line.cells for line in ours.lines]
    same = (t for t in document.tables if [line.cells for line in t.lines] == cells)
    return next(same, ours)


def _shown(
    table: Table | None, sorts: Literal["groups", "lines", ""] = "groups"
) -> tuple[Shown, ...]:
    return (Shown(table, sorts),) if table is not None else ()


_CAPTIONS = {
    "savings": "Every figure of the table below against the first model's; a bar through the mark "
    "of a measured one is its interval.",
    "verdicts": "Rings: the ratio in each process. Diamond and bar: the middle and its interval. "
    "Shaded: the margin, inside which a difference is not worth a verdict.",
    "samples": "A dash is one timed forward pass; inside a process's band they run downwards in "
    "the order taken. Bold: the process's median. Dashed: the median over processes; shaded: its "
    "interval.",
    "cost": "The dashed line is where latency would be if FLOPs alone decided it, at the first "
    "model's rate: what lies above it gets less out of its FLOPs. Bars are intervals.",
    "stage": "The figure at a bar's end is the sum of its parts.",
    "op": "The figure at a bar's end is the sum of its parts; the largest have a colour each.",
    "memory": "Memory access is in elements and counts convolutions and linear layers; traffic is "
    "in bytes and counts every kernel.",
}


def _pictures(**drawn: str | None) -> tuple[Drawn, ...]:
    return tuple(Drawn(Markup(svg), _CAPTIONS[name]) for name, svg in drawn.items() if svg)


def _title(document: Document) -> str:
    if document.report is not None:
        return document.report.title or "A report of detrbench"
    return document.tables[0].caption.rstrip(".") if document.tables else "detrbench"


# --- from here to text -------------------------------------------------------------------------


@cache
def _template(name: str) -> Template:
    page = Environment(
        loader=FileSystemLoader(_PAGE),
        autoescape=True,
        finalize=_seen,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page.filters.update(marked=_marked, note_number=_note_number, coded=_coded)
    return page.get_template(f"{name}.html.jinja")


def _seen(value: object) -> object:
    """What a page prints of `value`: of a text from outside, every control character as an escape.
    What is markup already is ours."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value, lines=True)
    return value


def _read(name: str) -> str:
    return (_PAGE / name).read_text(encoding="utf-8")


_RISKY = re.compile(r"<(?=[/!a-zA-Z])")
_MARKS = re.compile(r"((?: ?\[\d+\])+)$")
_MARK = re.compile(r"\[(\d+)\]")


def _inside_script(text: str) -> str:
    """JSON that cannot end, or open anything in, its <script> element. Only a "<" that could begin
    a tag or a comment is escaped, so that an ordinary report's bytes are those of its file."""
    return _RISKY.sub(r"\\u003c", text)


def _marked(text: str, table: str) -> Markup:
    """A cell, its trailing "[1]" linked to the note of that number."""
    body, *trailing = _MARKS.split(text, maxsplit=1)
    links = _MARK.sub(rf'<a href="#{table}-note-\1">[\1]</a>', "".join(trailing))
    return _coded(body) + Markup(links)


def _note_number(note: str) -> str:
    """The number of a note that begins with one, as the layout's footnotes do."""
    found = _MARK.match(note)
    return found[1] if found else ""


def _coded(text: str) -> Markup:
    """A text, what stands in backticks as code."""
    seen = visible(text, lines=True)
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(seen))))
