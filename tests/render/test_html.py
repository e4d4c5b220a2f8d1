"""The page as text: what it says, that it is sound, and that nothing in a report can break out."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from detrbench.core.visible import visible
from detrbench.render import format_of, render, render_document, render_inline
from detrbench.render.layout import Column, Document, Line, Table
from detrbench.render.page import tables, words
from detrbench.reports.comparison import Comparison
from detrbench.reports.report import Report, Result
from detrbench.reports.verdicts import Verdict
from tests.render.sample import BASELINE, LIGHTER, MIXED, REPORT, SETTINGS, pair

GOLDEN = Path(__file__).parent / "golden" / "sample.html"
ARTICLE = Path("reports/2026-11-24-amd-epyc-2cpu-article/run.json")
VOID = {"meta", "link", "br", "img"}


class Page(HTMLParser):
    """A page taken apart: its elements in order, their attributes, the text inside each."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self._open: list[int] = []
        self.feed(text)
        self.close()
        assert not self._open, "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self.texts.append("")
        if tag not in VOID:
            self._open.append(len(self.elements) - 1)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self.texts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self._open.pop()][0] == tag, f"{tag} closes what it opened"

    def handle_data(self, data: str) -> None:
        for index in self._open:
            self.texts[index] += data

    def all(self, *tags: str) -> list[tuple[dict[str, str], str]]:
        return [
            (attributes, text)
            for (tag, attributes), text in zip(self.elements, self.texts, strict=True)
            if tag in tags
        ]

    def texts_of(self, *tags: str) -> list[str]:
        return [" ".join(text.split()) for _, text in self.all(*tags)]

    def element(self, name: str) -> str:
        (found,) = (
            text
            for (_, attributes), text in zip(self.elements, self.texts, strict=True)
            if attributes.get("id") == name
        )
        return found


def page_of(report: Report, **how: Any) -> Page:
    return Page(render(report, "html", **how))


@cache
def page_called(name: str) -> Page:
    """One of REPORTS, taken apart once for all tests of it."""
    return page_of(REPORTS[name])


def without_pictures(report: Report) -> str:
    """test_plots.py looks into those."""
    return re.sub(r"<svg\b.*?</svg>", "", render(report, "html", by="stage"), flags=re.DOTALL)


def skeleton(page: Page) -> list[tuple[str, list[str]]]:
    return [(tag, sorted(attributes)) for tag, attributes in page.elements if tag != "code"]


@cache
def harmless_skeleton() -> list[tuple[str, list[str]]]:
    return skeleton(Page(without_pictures(hostile("x"))))


def hostile(name: str) -> Report:
    """A report with `name` wherever a report holds text."""
    row = Result(
        name, name, {"imgsz": name, name: name}, {"params": 1, "flops": None, name: 3},
        missing={"flops": name}, notes=(name,), samples={"latency_s": [[0.1, 0.2]], name: name},
        parts={"stage": [{"part": name, "params": 1}]},
        published=[{"label": name, "source": name, "params": "1M", "ours": {"params": 1}}],
    )  # fmt: skip
    other = dataclasses.replace(row, model=name + "2", status="failed", reason=name)
    compared = pair(name + "2", name, settings={}, ratio=2.0, verdict=name, reasons=[name])
    facts = {"processor": name, "flags": {name: name}}
    return Report((row, other), facts, (compared,), name, name, name, name)


# --- the page is sound -------------------------------------------------------------------------

REPORTS = {
    "sample": REPORT,
    "empty": Report(),
    "one": Report((BASELINE,)),
    "article": Report.load(ARTICLE),
    "mixed": MIXED,
}


def test_golden() -> None:
    """All but pictures, style and script. DETRBENCH_GOLDEN=write renews the file."""
    text = without_pictures(REPORT)
    text = re.sub(r"<style>.*?</style>|<script>.*?</script>", "", text, flags=re.DOTALL)
    text = re.sub(r"sha256-[^']*", "sha256-...", text)
    if os.environ.get("DETRBENCH_GOLDEN") == "write":
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_the_same_report_gives_the_same_bytes(report: Report) -> None:
    again = Report.from_json(report.to_json())
    version = report.schema_version  # of a file of schema 1, which is written again as schema 2
    assert render(report, "html") == render(
        dataclasses.replace(again, schema_version=version), "html"
    )


@pytest.mark.parametrize("name", REPORTS)
def test_headings_step_down_one_at_a_time(name: str) -> None:
    levels = [int(tag[1]) for tag, _ in page_called(name).elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))


@pytest.mark.parametrize("name", REPORTS)
def test_ids_are_unique_and_whatever_is_referred_to_is_there(name: str) -> None:
    page = page_called(name)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    wanted = {
        name
        for _, attributes in page.elements
        for name in attributes.get("aria-labelledby", "").split()
    } | {attributes["href"][1:] for attributes, _ in page.all("a")}
    assert wanted <= set(ids)


@pytest.mark.parametrize("name", REPORTS)
def test_tables_and_pictures_can_be_read_aloud(name: str) -> None:
    page = page_called(name)
    html = next(attributes for tag, attributes in page.elements if tag == "html")
    assert html["lang"] == "en"
    assert len(page.all("table")) == len(page.all("caption")) > 0
    assert all(text.strip() for _, text in page.all("caption"))
    assert all(attributes["scope"] in ("col", "row") for attributes, _ in page.all("th"))
    regions = [attributes for attributes, _ in page.all("div") if "role" in attributes]
    assert len(regions) == len(page.all("table")), "each scrolls by itself"
    assert all(region["tabindex"] == "0" for region in regions), "also by keyboard"
    assert all(attributes["role"] == "img" for attributes, _ in page.all("svg"))
    assert len(page.all("svg")) == len(page.all("desc")) == len(page.all("figcaption"))


@pytest.mark.parametrize("name", REPORTS)
def test_nothing_is_asked_of_a_network_and_nothing_else_may_run(name: str) -> None:
    page = page_called(name)
    for _, attributes in page.elements:
        for name in ("src", "href", "action", "xlink:href", "data", "poster", "srcset"):
            assert attributes.get(name, "#").startswith(("#", "data:,"))
        assert not [name for name in attributes if name.startswith("on")]
    assert not any(re.search(r"@import|url\((?!#)", text) for text in page.texts_of("style"))
    (policy,) = (
        attributes["content"]
        for attributes, _ in page.all("meta")
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none';")
    (script,) = (text for attributes, text in page.all("script") if "type" not in attributes)
    assert f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" in policy
    assert "unsafe-inline" not in policy.replace("style-src 'unsafe-inline'", "")


def test_the_article_s_page_is_small() -> None:
    assert len(render(REPORTS["article"], "html").encode()) < 200_000


# --- nothing in a report breaks out ------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>",
        "</script><script>alert(1)</script>",
        "<!-- <script>",
        "]]>",
        '"><img src=x onerror=alert(1)>',
        "' onload='alert(1)",
        "{{ 7 * 7 }}{% raw %}",
        "</style></title></textarea>",
        "&lt;b&gt; &amp;amp;",
        "a\nb\tc\u2028d",
        "`<b>`",
    ],
)
def test_text_stays_text(name: str) -> None:
    report = hostile(name)
    page = Page(without_pictures(report))
    assert skeleton(page) == harmless_skeleton(), "the same elements as with a harmless name"
    shown = visible(name.replace("`", ""), lines=True)
    assert " ".join(shown.split()) in " ".join(page.element("summary").split())
    assert json.loads(page.element("json")) == report.to_dict()
    assert json.loads(page.element("csv")) == render(report, "csv", by="stage")


def test_an_ordinary_report_s_data_are_the_bytes_of_its_file() -> None:
    report = REPORTS["article"]
    assert "<" in report.to_json(), "reasons such as n=58 < 64"
    assert page_of(report).element("json") == report.to_json()


# --- what it says ------------------------------------------------------------------------------


def judged(verdict: str, **more: Any) -> Comparison:
    return pair(
        "shufflev2",
        **{
            "settings": {}, "ratio": 0.9, "ci_low": 0.88, "ci_high": 0.92, "verdict": verdict,
            "reasons": ["why"], "margin": 0.02, "confidence": 0.95,
            "process_log_ratios": [-0.1] * 6, **more,
        },
    )  # fmt: skip


@pytest.mark.parametrize(
    ("verdict", "ratio", "sentence"),
    [
        ("FASTER", 0.9, "shufflev2 is faster than rtdetr-l: it takes 10.0% less time."),
        ("SLOWER", 1.25, "shufflev2 is slower than rtdetr-l: it takes 25.0% more time."),
        ("EQUIVALENT", 1.001, "shufflev2 takes the same time as rtdetr-l to within 2%."),
        ("INCONCLUSIVE", 0.99, "shufflev2 may or may not be faster than rtdetr-l: in this run it "
         "takes 1.0% less time."),
        ("TOO FEW", 0.8, "Too few processes to say whether shufflev2 is faster than rtdetr-l: so "
         "far it takes 20.0% less time."),
        ("TOO FEW", None, "Too few processes to say whether shufflev2 is faster than rtdetr-l: so "
         "far its ratio is not known."),
        ("BUSY", 1.05, "The machine was too busy to compare shufflev2 with rtdetr-l: in this run "
         "it takes 5.0% more time."),
        ("INVALID", None, "Nothing can be said of shufflev2 against rtdetr-l."),
        ("", 0.9, "shufflev2 against rtdetr-l: it takes 10.0% less time; no verdict was made."),
        ("", None, "shufflev2 against rtdetr-l: its ratio is not known; no verdict was made."),
    ],
)  # fmt: skip
def test_a_verdict_is_a_sentence_with_its_evidence_and_reasons(
    verdict: str, ratio: float | None, sentence: str
) -> None:
    compared = judged(verdict, ratio=ratio)
    (finding,) = words.findings(Report((BASELINE, LIGHTER), comparisons=(compared,)))
    assert finding.sentence == sentence
    assert finding.details == (
        "95% interval -12.0% to -8.0%, 6 processes, margin 2%.",
        "Why",
    )
    assert bool(finding.sign) == bool(verdict), "not by colour alone"


@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_has_a_sign_a_colour_and_a_word_in_every_language(verdict: Verdict) -> None:
    compared = judged(verdict.value)
    report = Report((BASELINE, LIGHTER), comparisons=(compared,))
    (finding,) = words.findings(report)
    assert finding.sign
    name = verdict.value.lower().replace(" ", "-")
    page = render(report, "html")
    assert f'<div class="finding {name}">' in page
    assert f".finding.{name}" in page or verdict is Verdict.EQUIVALENT
    assert verdict.value not in render(report, "markdown", lang="zh")


def test_a_comparison_that_does_not_say_of_what_is_not_told() -> None:
    report = Report((BASELINE,), comparisons=(Comparison.from_dict({"ratio": 1.0}, {}),))
    assert words.findings(report) == ()
    assert page_of(report).all("svg")


def test_a_page_of_several_workloads_has_a_table_and_a_picture_of_samples_for_each() -> None:
    page = page_called("mixed")
    captions = [text for text in page.texts_of("caption") if text.startswith("Latency: ")]
    assert [re.findall(r"batch \d", text) for text in captions] == [["batch 1"], ["batch 8"]]
    descriptions = [text for text in page.texts_of("desc") if "samples in" in text]
    assert [set(re.findall(r"batch \d", text)) for text in descriptions] == [
        {"batch 1"}, {"batch 8"},
    ]  # fmt: skip
    assert words.findings(MIXED)[-1].sentence == (
        "shufflev2 (batch 8, channels_last) is faster than rtdetr-l (batch 8): "
        "it takes 47.4% less time."
    )


def test_provenance_stands_in_head_and_foot_and_beneath_no_table() -> None:
    text = render(MIXED, "html")
    assert text.count("<p>Machine: AMD EPYC, 2 CPUs, torch 2.14.1.</p>") == 2
    assert text.count("Machine: ") == 2


def test_verdicts_stand_above_everything_else() -> None:
    text = " ".join(page_of(REPORT).element("content").split())
    assert text.index("FASTER shufflev2 is faster") < text.index("Comparison")
    assert text.index("INVALID Nothing can be said") < text.index("Comparison")


def test_the_summary_has_the_figures_papers_print_and_every_failure() -> None:
    baseline, lighter, broken, partial = words.savings(REPORT)
    assert baseline == "rtdetr-l: Params 33.0M, FLOPs 109.5 GFLOPs, Latency 310.0 ms."
    assert lighter.startswith("shufflev2: Params 19.5M (-40.9%), FLOPs 63.1 GFLOPs (-42.4%)")
    assert lighter.endswith("Latency 290.0 ms."), "a measured difference is the verdict's to tell"
    assert broken == "=HYPERLINK(1)|x: failed: out | of memory."
    assert partial.startswith("my-variant.yaml: Params 10.0M")


def test_tables_are_the_layout_s_with_their_lines_and_notes() -> None:
    page = page_of(REPORT, by="stage")
    assert "Sample: image 640x640" in page.texts_of("caption")[0]
    rows = page.texts_of("tr")
    assert "published [1] 19.2M 62.9 10.5" in rows
    assert "backbone 13.0 (39.4%) 60.0 (54.8%) 300 (36.9%)" in rows
    assert sum("backbone" in row for row in rows) == 1, "the table of parts stands there once"
    notes = [attributes["id"] for attributes, _ in page.all("li") if "id" in attributes]
    assert "comparison-1-note-1" in notes


def test_a_model_and_its_sublines_are_one_group_so_that_sorting_keeps_them_together() -> None:
    text = render(REPORT, "html")
    table = text[text.index('<table id="comparison-1"') : text.index("</table>")]
    groups = table.split("<tbody>")[1:]
    assert len(groups) == len(REPORT.rows)
    assert "against rtdetr-l" in groups[1]
    assert 'data-sorts="groups"' in table


def test_parts_are_shown_also_when_nobody_asked_for_them() -> None:
    assert "backbone 13.0 (39.4%) 60.0 (54.8%) 300 (36.9%)" in page_of(REPORT).texts_of("tr")


def test_what_is_not_there_is_explained() -> None:
    page = page_of(Report((Result("a", "a", SETTINGS, {"kernels": 3}),), title="t"))
    for name, how in (
        ("latency", "detrbench latency"),
        ("cost", "detrbench run"),
        ("parts", "--by stage"),
        ("memory", "detrbench profile"),
        ("machine", "names no machine"),
    ):
        assert how in page.element(name)


def test_tables_of_another_language_say_so_and_stand_there_once() -> None:
    page = page_of(REPORT, by="stage", lang="zh")
    tables = [attributes.get("lang") for attributes, _ in page.all("table")]
    assert tables[:2] == ["zh", "zh"]
    assert sum("backbone" in row for row in page.texts_of("tr")) == 1


def test_provenance_stands_at_the_end() -> None:
    (footer,) = page_of(REPORT).texts_of("footer")
    for fact in ("detrbench 0.1.0", "2026-01-02T03:04:05", "detrbench profile rtdetr-l", "AMD EPYC",
                 "schema 2"):  # fmt: skip
        assert fact in footer


def test_a_document_without_a_report_is_its_tables_and_data() -> None:
    table = Table("Things.", (Column("Thing", "left"), Column("Size")), (Line("a", ("1",)),))
    text = render_document(Document((table,), [{"thing": "a", "size": 1}], {"a": 1}), "html")
    page = Page(text)
    assert page.texts_of("h1") == ["Things"]
    assert page.texts_of("footer")[0].startswith("Made by detrbench"), "it has no other provenance"
    assert "a 1" in page.texts_of("tr")
    assert json.loads(page.element("json")) == {"a": 1}
    assert json.loads(page.element("csv")) == "thing,size\na,1\n"
    assert not page.all("svg")


def test_files_that_end_in_html_are_pages() -> None:
    assert format_of("page.html") == format_of("PAGE.HTM") == "html"


# --- tables that only the page has -------------------------------------------------------------


def cells(table: Table | None, label: str) -> dict[str, str]:
    assert table is not None
    line = next(line for line in table.lines if line.label.startswith(label))
    return dict(zip((column.title for column in table.columns[1:]), line.cells, strict=True))


def test_every_convention_is_held_against_every_published_figure() -> None:
    table = tables.reconciled(REPORT)
    assert cells(table, "rtdetr-l") == {
        "Params (M)": "32.970", "GFLOPs": "109.536", "GFLOPs (thop)": "108.536",
    }  # fmt: skip
    assert cells(table, "published [1]") == {
        "Params (M)": "32.8M", "GFLOPs": "", "GFLOPs (thop)": "108.0",
    }  # fmt: skip
    assert cells(table, "ours, same set-up [1]")["GFLOPs (thop)"] == "107.990"
    assert cells(table, "deviation") == {
        "Params (M)": "0.0%", "GFLOPs": "", "GFLOPs (thop)": "0.0%",
    }  # fmt: skip
    assert table is not None
    assert "nc=1" in table.notes[0]
    assert "n/a" in cells(table, "=HYPERLINK")["GFLOPs"]


def test_the_article_s_figures_are_thop_s() -> None:
    deviation = cells(tables.reconciled(REPORTS["article"]), "deviation")
    assert deviation["GFLOPs (thop)"] == "0.0%"
    assert deviation["GFLOPs"] == "+1.1%"


def test_nothing_counted_is_no_table() -> None:
    timed = Result("a", "a", SETTINGS, {"latency_median_s": 0.1})
    assert tables.reconciled(Report((timed,))) is None
    assert tables.environment(Report()) is None
    assert tables.processes(Report((timed,))) is None


def test_the_environment_is_told_in_words_and_units() -> None:
    facts = {
        "processor": "AMD", "memory_bytes": 25_276_502_016, "load_average": 3.271484375,
        "flags": {"deterministic": False}, "cudnn": None,
    }  # fmt: skip
    table = tables.environment(Report(environment=facts))
    assert table is not None
    assert [(line.label, *line.cells) for line in table.lines] == [
        ("processor", "AMD", "yes"),
        ("memory", "25.3 GB", "yes"),
        ("load average", "3.271", "no"),
        ("deterministic", "no", "yes"),
    ]


def test_each_process_tells_what_it_saw_and_models_of_one_run_share_it() -> None:
    samples = {
        "process_status": ["ok", "killed"],
        "process_s": [18.726, None],
        "ledger": [
            {"own_cpu_s": 4.66, "involuntary_switches": 79, "governor": None, "turbo": True,
             "sm_clock_high_mhz": 1410, "temperature_c": 61, "gpu_throttle_reasons": ["power cap"]},
            None,
        ],
    }  # fmt: skip
    rows = [Result(name, name, SETTINGS, {}, samples=samples) for name in ("a", "b")]
    other = Result("a", "a", {**SETTINGS, "batch": 2}, {}, samples={"process_status": ["ok"]})
    table = tables.processes(Report((*rows, other)))
    assert table is not None
    assert [line.label for line in table.lines] == [
        "a (batch 1), b (batch 1)", "process 1", "process 2", "a (batch 2)", "process 1",
    ]  # fmt: skip
    assert cells(table, "process 1") == {
        "status": "ok", "took (s)": "18.7", "own cpu (s)": "4.7", "involuntary switches": "79",
        "turbo": "yes", "sm clock high (MHz)": "1410", "temperature (°C)": "61",
        "gpu throttle reasons": "power cap",
    }  # fmt: skip
    assert cells(table, "process 2")["status"] == "killed"
    assert cells(table, "process 2")["took (s)"] == ""


# --- contrast ----------------------------------------------------------------------------------


def colours(dark: bool) -> dict[str, str]:
    """The properties of one side of the page: the dark side's stand above the light one's."""
    from detrbench.render.drawing import PALETTE

    text = Path("detrbench/render/page/page.css").read_text(encoding="utf-8")
    light, rest = text.split("@media (prefers-color-scheme: dark)")
    found = {f"plot-{name}": colour for name, colour in PALETTE.items()}
    for part in (light, rest.split("* {")[0]) if dark else (light,):
        found |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", part))
    return found


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_texts_and_marks_stand_out_in_the_light_and_in_the_dark(dark: bool) -> None:
    colour = colours(dark)
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for text in ("ink", "soft", "link", "good", "bad", "plain", "doubt"):
        for ground in ("page", "raised"):
            assert contrast(colour[text], colour[ground]) >= 4.5, (text, ground)
    for text in ("plot-ink", "plot-soft"):
        assert contrast(colour[text], colour["page"]) >= 4.5, text
    for series in map(str, range(1, 9)):
        assert contrast(colour[f"plot-{series}"], colour["page"]) >= 3, series
        assert contrast(colour["plot-on"], colour[f"plot-{series}"]) >= 4.5, series
    assert contrast(colour["plot-1"], colour["plot-shade"]) >= 3, "samples on their interval"


ESCAPE, TURN = "\x1b[31m", "\u202e"


def test_nothing_from_outside_reaches_a_page_as_a_control_character() -> None:
    """Wherever it stands: machine, header, names, reasons, and what the page alone shows."""
    said = f"a{ESCAPE}b{TURN}c"
    case = dataclasses.replace(REPORT.rows[0], model=said, title=said, reason=said, notes=(said,))
    report = dataclasses.replace(
        REPORT,
        title=said,
        created=said,
        command=said,
        detrbench_version=said,
        environment={"processor": said, said: said, "torch": said, "affinity": [said]},
        rows=(case, *REPORT.rows[1:]),
    )
    for page in (render(report, "html"), render_inline(report)):
        assert ESCAPE not in page
        assert TURN not in page
        assert "\\x1b" in page
