"""A report as it is printed, as a notebook shows it, and in a debugger."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

import detrbench
from detrbench.render import render
from detrbench.reports import VIEWS
from detrbench.reports.report import Report
from tests.render.sample import MIXED, REPORT
from tests.render.test_html import ARTICLE, Page, hostile, skeleton

HEAVY = ("torch", "pandas", "jinja2", "matplotlib", "rich", "yaml")


def shown_inline(report: Report) -> Page:
    text = report._repr_html_()
    assert text is not None
    return Page(text)


def in_a_new_process(code: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return json.loads(done.stdout)


def test_printing_a_report_gives_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    print(MIXED)
    assert capsys.readouterr().out == render(MIXED, "table") + "\n"
    assert f"{REPORT}" == render(REPORT)


def test_what_a_debugger_shows_is_short() -> None:
    assert repr(MIXED) == "<Report 'Latency': 12 rows, 10 comparisons>"
    assert repr(Report()) == "<Report '': 0 rows, 0 comparisons>"
    assert len(repr(Report.load(ARTICLE))) < 100


def test_without_anything_that_lays_it_out_a_report_is_its_repr(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in list(VIEWS):
        monkeypatch.delitem(VIEWS, name)
    assert str(MIXED) == repr(MIXED)
    assert MIXED._repr_html_() is None, "a notebook then shows the repr"


@pytest.mark.parametrize("report", [REPORT, MIXED, Report()], ids=["sample", "mixed", "empty"])
def test_a_notebook_gets_the_tables_and_nothing_else_of_a_page(report: Report) -> None:
    page = shown_inline(report)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"html", "head", "body", "script", "svg", "button", "iframe", "h1"}
    whole = Page(render(report, "html"))
    assert page.texts_of("td") == whole.texts_of("td")[: len(page.texts_of("td"))]
    made = "Made by detrbench 0.1.0"
    assert sum(made in text for text in page.texts_of("li")) == bool(report.created), "once"


def test_an_explanation_is_laid_out_in_its_own_way() -> None:
    report = Report.load("reports/2026-11-24-amd-epyc-2cpu-explain/stage.json")
    assert shown_inline(report).texts_of("caption")[0] in " ".join(render(report).split())


def test_reports_of_one_notebook_share_no_id() -> None:
    pages = [shown_inline(report) for report in (REPORT, MIXED)]
    ids = [[each["id"] for _, each in page.elements if "id" in each] for page in pages]
    assert len(set(ids[0] + ids[1])) == len(ids[0] + ids[1])
    for page in pages:
        links = {each["href"][1:] for each, _ in page.all("a")}
        assert links <= {each["id"] for _, each in page.elements if "id" in each}


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "</table></div>", '"><img src=x onerror=y>', "{{ 1 }}"]
)
def test_text_stays_text_in_a_notebook(name: str) -> None:
    page = shown_inline(hostile(name))
    assert skeleton(page) == skeleton(shown_inline(hostile("x")))
    assert name in page.texts_of("th")


def test_a_style_of_its_own_touches_nothing_around_it() -> None:
    (style,) = shown_inline(MIXED).texts_of("style")
    rules = [rule.strip() for rule in style.split("}") if rule.strip()]
    selectors = [each.strip() for rule in rules for each in rule.split("{")[0].split(",")]
    assert all(selector.startswith(".detrbench ") for selector in selectors)


# --- the package itself ------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["detrbench", "detrbench.reports.report", "detrbench.cli.app"])
def test_importing_waits_for_nothing_heavy(module: str) -> None:
    loaded = f"[name for name in {HEAVY} if name in sys.modules]"
    heavy = in_a_new_process(f"import {module}, json, sys; print(json.dumps({loaded}))")
    assert not set(heavy) - ({"rich"} if "cli" in module else set()), "typer brings rich"


def test_public_names_are_listed_before_they_are_imported() -> None:
    names = in_a_new_process("import detrbench, json; print(json.dumps(dir(detrbench)))")
    assert set(detrbench.__all__) <= set(names)
    assert names == sorted(names)
    assert all(hasattr(detrbench, name) for name in detrbench.__all__)


def test_the_package_s_rooms_are_not_hidden_by_its_names() -> None:
    code = "import detrbench, detrbench.render, json; print(json.dumps(str(detrbench.render)))"
    assert in_a_new_process(code).startswith("<module")
