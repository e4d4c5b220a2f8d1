"""Every format against its golden file, and what all of them must hold."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detrbench.core.errors import UsageError
from detrbench.models.model import Model
from detrbench.render import FORMATS, SUFFIXES, format_of, render
from detrbench.render.layout import Table, document, row_label
from detrbench.reports.case import Case, Execution
from detrbench.reports.metrics import METRICS
from detrbench.reports.parse_cases import make_cases
from detrbench.reports.report import Report, Result
from tests.render.sample import (
    BASELINE,
    BROKEN,
    LIGHTER,
    MIXED,
    PARTIAL,
    REPORT,
    SETTINGS,
    counts,
    latency,
    pair,
)
from tests.reports.test_case import EXECUTIONS

GOLDEN = Path(__file__).parent / "golden"
ENDINGS = {format: suffix[1:] for suffix, format in reversed(SUFFIXES.items())}  # the first of each
SHOWN = {"sample": (REPORT, "stage"), "mixed": (MIXED, None)}
"""Report and what it is broken down by, by the name of its files."""


def golden(text: str, name: str) -> str:
    """What was there before. DETRBENCH_GOLDEN=write renews the files; look at the difference
    before committing it."""
    file = GOLDEN / name
    if os.environ.get("DETRBENCH_GOLDEN") == "write":
        file.write_text(text, encoding="utf-8")
    return file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SHOWN)
@pytest.mark.parametrize("format", [each for each in FORMATS if each != "html"])  # test_html.py
def test_golden(format: str, name: str) -> None:
    report, by = SHOWN[name]
    text = render(report, format, by=by)
    assert text == golden(text, f"{name}.{ENDINGS[format]}")


@pytest.mark.parametrize("name", SHOWN)
def test_golden_in_chinese(name: str) -> None:
    report, by = SHOWN[name]
    text = render(report, "markdown", by=by, lang="zh")
    assert text == golden(text, f"{name}.zh.md")


def test_chinese_headers_are_the_article_s() -> None:
    text = render(REPORT, "markdown", by="stage", lang="zh")
    header = text.split("\n")[2]
    assert header.startswith("| 模型 | 参数量 (M) | 计算量 (GFLOPs) |"), "the article's own words"
    assert "推理速度 (ms)" in header


@pytest.mark.parametrize("name", SHOWN)
def test_chinese_changes_words_and_no_number(name: str) -> None:
    def digits(text: str) -> list[str]:
        return re.findall(r"\d+(?:[.,]\d+)*", text)

    report, by = SHOWN[name]
    english, chinese = (render(report, "markdown", by=by, lang=lang) for lang in ("en", "zh"))
    assert sorted(digits(english)) == sorted(digits(chinese))
    assert render(report, "csv", lang="zh") == render(report, "csv"), "records are for programs"


def test_an_unknown_language_is_named() -> None:
    with pytest.raises(UsageError, match="unknown language"):
        render(REPORT, lang="fr")


@pytest.mark.parametrize("name", SHOWN)
def test_latex_is_balanced_and_escaped(name: str) -> None:
    report, by = SHOWN[name]
    text = render(report, "latex", by=by)
    tables = re.findall(r"\\begin{tabular}{([lr]+)}(.*?)\\end{tabular}", text, re.DOTALL)
    assert len(tables) == len(document(report, by).tables)
    for sides, body in tables:
        rows = [
            row for row in body.split(r"\\") if row.strip().strip("\n") not in ("", r"\bottomrule")
        ]
        assert {row.count("&") - row.count(r"\&") for row in rows} == {len(sides) - 1}
    assert text.count(r"\begin{") == text.count(r"\end{")
    strange = Result("a_b&c%$#{}~^\\<|>", "x", SETTINGS, {"params": 1})
    quoted = render(Report((strange,)), "latex")
    assert r"a\_b\&c\%\$\#\{\}\textasciitilde{}\textasciicircum{}\textbackslash{}" in quoted
    assert r"\textless{}\textbar{}\textgreater{}" in quoted


def test_latex_compiles(tmp_path: Path) -> None:
    latex = shutil.which("pdflatex")
    if latex is None:
        pytest.skip("there is no pdflatex on this machine")
    text = render(REPORT, "latex", by="stage") + render(MIXED, "latex")
    (tmp_path / "tables.tex").write_text(text, encoding="utf-8")
    page = (
        r"\documentclass{article}\usepackage{booktabs,graphicx}"
        r"\begin{document}\input{tables}\end{document}"
    )
    (tmp_path / "page.tex").write_text(page, encoding="utf-8")
    command = [latex, "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    said = done.stdout.decode("latin-1")
    assert done.returncode == 0, said
    assert "Overfull" not in said, "a table is wider than the page"


@pytest.mark.parametrize("name", SHOWN)
def test_table_is_readable_at_100_columns(name: str) -> None:
    report, by = SHOWN[name]
    lines = render(report, "table", by=by).splitlines()
    assert max(map(len, lines)) <= 100


def test_a_failed_row_is_there_with_its_reason() -> None:
    for format in ("table", "markdown"):
        text = render(REPORT, format)
        assert "failed" in text
        assert "of memory" in text


def test_missing_is_never_zero_and_says_why() -> None:
    text = render(REPORT, "table")
    mark = re.search(r"n/a (\[\d+\])", text)
    assert mark is not None
    assert f"{mark[1]} n/a: a shape depends on the data" in text


def test_captions_state_the_settings() -> None:
    caption = document(REPORT).tables[0].caption
    for word in ("640x640", "batch 1", "nc=80", "unfused", "convention core", "1 MAC = 2 FLOPs"):
        assert word in caption


def test_settings_that_differ_stand_in_the_labels() -> None:
    other = dataclasses.replace(LIGHTER, settings={**SETTINGS, "nc": 1})
    table = document(Report((BASELINE, other))).tables[0]
    assert "nc" not in table.caption
    assert "shufflev2 (nc=1)" in [line.label for line in table.lines]


def test_convention_chooses_the_flops_shown() -> None:
    thop = {**SETTINGS, "convention": "thop"}
    table = document(Report((dataclasses.replace(BASELINE, settings=thop),))).tables[0]
    titles = [column.title for column in table.columns]
    assert "GFLOPs (thop)" in titles
    assert "GFLOPs" not in titles
    assert table.lines[0].cells[titles.index("GFLOPs (thop)") - 1] == "108.5"


def line_of(report: Report, label: str, after: str = "") -> dict[str, str]:
    table = document(report).tables[0]
    start = next((i for i, line in enumerate(table.lines) if line.label == after), 0)
    line = next(line for line in table.lines[start:] if line.label.startswith(label))
    return dict(zip([column.title for column in table.columns[1:]], line.cells, strict=True))


def test_differences_are_to_the_first_model() -> None:
    line = line_of(REPORT, "against rtdetr-l")
    assert line["Params (M)"] == "-40.9%"  # 19,483,888 / 32,970,476
    assert line["Kernels"] == "0.0%"


def test_overlapping_intervals_are_said_not_to_show_a_difference() -> None:
    unpaired = dataclasses.replace(REPORT, comparisons=())
    assert re.fullmatch(r"-6\.5% \[\d\]", line_of(unpaired, "against")["Latency (ms)"])
    apart = dataclasses.replace(LIGHTER, metrics=counts(1, 2) | latency(0.1))
    assert line_of(Report((BASELINE, apart)), "against")["Latency (ms)"] == "-67.7%"


def test_a_measured_pair_goes_before_the_ratio_of_medians() -> None:
    plain = {"ratio": 0.905, "reasons": ["one process: no verdict"]}
    report = dataclasses.replace(REPORT, comparisons=(pair("shufflev2", **plain),))
    assert line_of(report, "against")["Latency (ms)"].startswith("-9.5% [")
    assert "one process: no verdict" in render(report, "table")
    other = pair("shufflev2", settings={"imgsz": "1x1"}, **plain)
    elsewhere = dataclasses.replace(REPORT, comparisons=(other,))
    assert line_of(elsewhere, "against")["Latency (ms)"].startswith("-6.5%")


def test_a_verdict_stands_in_the_summary_and_its_interval_in_a_table_of_its_own() -> None:
    assert line_of(REPORT, "against")["Latency (ms)"] == "-9.5% FASTER"
    text = render(REPORT, "table")
    assert "-10.4% to -8.6% (96%)" in text
    assert "margin 2%" in text


def test_a_pair_without_a_ratio_says_why() -> None:
    table = document(REPORT).tables[1]
    assert table.lines[1].cells == ("n/a", "n/a", "0", "INVALID [1] [2]")
    assert table.notes[0] == "[1] =HYPERLINK(1)|x has no latency: out | of memory"


def test_published_figures_stand_beside_ours_with_the_deviation() -> None:
    printed = line_of(REPORT, "published", after="shufflev2")
    ours = line_of(REPORT, "ours, same set-up", after="shufflev2")
    deviation = line_of(REPORT, "deviation", after="shufflev2")
    assert (printed["Params (M)"], printed["GFLOPs"]) == ("19.2M", "62.9")
    assert (ours["Params (M)"], ours["GFLOPs"]) == ("19.3", "62.8")
    assert (deviation["Params (M)"], deviation["GFLOPs"]) == ("+0.6%", "-0.1%")
    assert printed["Latency (ms)"] == "10.5"
    assert deviation["Latency (ms)"] == ""  # nobody says on what machine


def test_a_time_at_other_settings_does_not_stand_beside_a_published_one() -> None:
    figure = {
        "label": "Theirs", "params": "1.0M", "latency_ms": "11.6",
        "settings": {"imgsz": 640, "nc": 1, "convention": "thop"},
        "ours": {"params": 2_000_000, "latency_median_s": 0.3},
    }  # fmt: skip
    for size, shown in (("320x320", ""), ("640x640", "300.0")):
        row = Result(
            "m", "m", {"imgsz": size, "nc": 1}, {"params": 1, "latency_median_s": 0.1},
            published=[figure],
        )  # fmt: skip
        assert line_of(Report((row,)), "ours, same set-up", after="m")["Latency (ms)"] == shown


def test_images_per_second_are_shown_where_somebody_published_them() -> None:
    figure = {"label": "Theirs", "fps": "114", "settings": {"imgsz": 640}}
    metrics = {"latency_median_s": 0.01, "images_per_s": 100.0}
    row = Result("m", "m", {"imgsz": "640x640"}, metrics, published=[figure])
    report = Report((row,))
    assert line_of(report, "published", after="m")["Images per second"] == "114"
    assert line_of(report, "m")["Images per second"] == "100.0"
    assert not any(line.label == "deviation" for line in document(report).tables[0].lines)
    assert "its times are of images of 640, on a machine" in document(report).tables[0].notes[0]
    quiet = Report((dataclasses.replace(row, published=[]),))
    assert "Images per second" not in line_of(quiet, "m")


@pytest.mark.parametrize("format", ["table", "markdown", "latex", "html", "json"])
def test_published_times_are_said_where_nothing_was_timed(format: str) -> None:
    """As of a model that is counted: a column of times would be empty."""
    figure = {"label": "Theirs", "latency_ms": "9.31", "fps": "107", "settings": {"imgsz": 640}}
    row = Result("m", "m", {"imgsz": "640x640"}, {"params": 1}, published=[figure])
    text = render(Report((row,)), format)
    assert "9.31" in text
    assert "107" in text
    if format == "table":
        assert "published [1]" in text
        assert "its times (9.31 ms, 107 images/s) are of images of 640" in " ".join(text.split())
    named = {**figure, "settings": {"device": "cuda"}}
    other = dataclasses.replace(row, published=[named])
    assert "; its times (9.31 ms, 107 images/s)" in document(Report((other,))).tables[0].notes[0]


def test_counts_at_several_settings_stand_in_one_table_times_in_one_for_each() -> None:
    sizes = {"imgsz": [(320, 320), (640, 640)], "batch": [1]}
    cases = make_cases(["rtdetr-l", "shufflev2"], sizes)
    counted = [
        Result(each.model.name, "", each.settings_of_counts(80), {"params": number}, case=each)
        for each, number in zip(cases, (100, 50, 200, 150), strict=True)
    ]
    (table,) = document(Report(tuple(counted))).tables
    assert [(line.label, line.cells[0]) for line in table.lines if line.level == 0] == [
        ("rtdetr-l (320x320)", "0.0"), ("shufflev2 (320x320)", "0.0"),
        ("rtdetr-l (640x640)", "0.0"), ("shufflev2 (640x640)", "0.0"),
    ]  # fmt: skip
    assert [(line.label, line.cells[0]) for line in table.lines if line.level] == [
        ("against rtdetr-l (320x320)", "-50.0%"),
        ("against rtdetr-l (640x640)", "-25.0%"),
    ]
    timed = [dataclasses.replace(one, metrics={"latency_median_s": 1.0}) for one in counted]
    assert len(document(Report(tuple(timed))).tables) == 2


def test_settings_that_reproduce_a_figure_are_said_only_where_ours_is_shown() -> None:
    timed = dataclasses.replace(BASELINE, metrics=latency(0.3))
    notes = " ".join(document(Report((timed,))).tables[0].notes)
    assert "its times are of images of 640x640, on a machine that it does not name" in notes
    assert "same set-up" not in notes
    assert "same set-up" in " ".join(document(REPORT).tables[0].notes)


def test_ours_is_not_repeated_when_the_row_is_already_counted_likewise() -> None:
    row = dataclasses.replace(
        BASELINE,
        metrics=BASELINE.metrics | {"flops_thop": 107_990_000_000, "params": 32_808_131},
        settings={**SETTINGS, "convention": "thop", "nc": 1},
    )
    labels = [line.label for line in document(Report((row,))).tables[0].lines]
    assert [label.split(" [")[0] for label in labels] == ["rtdetr-l", "published", "deviation"]


def test_nothing_to_compare_with_when_the_first_row_failed() -> None:
    lines = document(Report((BROKEN, LIGHTER))).tables[0].lines
    assert not any(line.label.startswith("against") for line in lines)


def test_an_empty_report_still_renders() -> None:
    for format in FORMATS:
        assert render(Report(), format)


def test_a_new_metric_touches_no_renderer() -> None:
    row = dataclasses.replace(BASELINE, metrics={"from_the_future": 7})
    assert "from_the_future" in render(Report((row,)), "csv")
    for module in ("table", "markdown", "csv", "json", "layout", "html", "plots", "drawing"):
        source = (Path("detrbench/render") / f"{module}.py").read_text(encoding="utf-8")
        quoted = {f'"{key}"' for key in METRICS if key not in ("params",)}
        assert not any(key in source for key in quoted), module


# --- parts --------------------------------------------------------------------------------------


def test_parts_show_their_share_and_add_up() -> None:
    table = document(REPORT, by="stage").tables[-1]
    titles = [column.title for column in table.columns]
    assert titles == ["Model, stage", "Params (M)", "GFLOPs", "Kernels"]
    shares = [float(line.cells[1].split("(")[1].rstrip("%)")) for line in table.lines[1:]]
    assert sum(shares) == pytest.approx(100, abs=0.1)
    assert table.lines[1].cells[1] == "60.0 (54.8%)"


def test_parts_unknown_or_not_held_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="stage"):
        document(REPORT, by="stages")
    with pytest.raises(UsageError, match="--by op"):
        document(REPORT, by="op")


def test_csv_holds_a_record_per_part() -> None:
    read = pd.read_csv(io.StringIO(render(REPORT, "csv", by="stage")))
    parts = read[(read.model == "rtdetr-l") & (read.part != "all")]
    whole = read[(read.model == "rtdetr-l") & (read.part == "all")]
    assert parts.flops.sum() == whole.flops.sum()


# --- CSV and JSON ---------------------------------------------------------------------------------


def test_csv_round_trips_through_pandas() -> None:
    ours = dataclasses.replace(REPORT, rows=(BASELINE, LIGHTER, PARTIAL))
    read = pd.read_csv(io.StringIO(render(ours, "csv")))
    frame = ours.to_pandas()
    assert list(read.columns) == list(frame.columns)
    pd.testing.assert_frame_equal(read, frame.fillna(float("nan")), check_dtype=False)
    assert list(read.params) == [32_970_476, 19_483_888, 10_000_000]


def test_csv_names_carry_units() -> None:
    header = render(REPORT, "csv").splitlines()[0].split(",")
    assert {"latency_median_s", "traffic_eager_bytes", "memory_access_elements"} <= set(header)
    assert "arithmetic_intensity_flop_per_byte" in header


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_csv_is_safe_to_open_in_a_spreadsheet(text: str) -> None:
    cell = Result(
        text, text, {"imgsz": text, text: 1}, {"params": -1}, status="failed", reason=text
    )
    frame = pd.read_csv(io.StringIO(render(Report((cell,)), "csv")))
    texts = [*frame.columns, *frame.loc[0, ["model", "title", "imgsz", "reason"]]]
    assert not any(one.startswith(tuple("=+-@\t\r\n")) for one in texts)
    assert frame.params[0] == -1  # a number is no formula


def test_csv_quotes_commas_quotes_and_lines() -> None:
    cell = Result('a,"b"\nc', "t", {}, {})
    text = render(Report((cell,)), "csv")
    assert pd.read_csv(io.StringIO(text)).model[0] == r'a,"b"\nc', "a line is a record"


def test_json_is_the_report() -> None:
    assert render(REPORT, "json") == REPORT.to_json()
    assert json.loads(render(REPORT, "json"))["rows"][0]["samples"]["latency_s"][0][1] == 0.1 + 0.2


def test_markdown_shows_hostile_text_as_text() -> None:
    text = render(REPORT, "markdown")
    assert r"=HYPERLINK(1)\|x" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    bars = [len(re.findall(r"(?<!\\)\|", row)) for row in rows[: rows.index(rows[2])]]
    assert len(set(bars)) == 1
    cell = Result("<b>\n# x</b>", "t", {}, {})
    assert r"\<b\>\\n\# x\</b\>" in render(Report((cell,)), "markdown")


# --- choosing a format ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "format"),
    [("a.md", "markdown"), ("a.CSV", "csv"), ("a.json", "json"), ("a.txt", "table"), ("a", "table"),
     ("a.xyz", "table"), (None, "table")],
)  # fmt: skip
def test_format_of_a_file(path: str | None, format: str) -> None:
    assert format_of(path) == format


def test_unknown_format_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="markdown"):
        render(REPORT, "markdwon")


def test_rows_of_other_settings_are_read_against_their_own_reference() -> None:
    def cell(model: str, batch: int, params: int) -> Result:
        return Result(model, model, {**SETTINGS, "batch": batch}, {"params": params * 10**6})

    other_classes = Result("c", "c", {**SETTINGS, "batch": 8, "nc": 20}, {"params": 5 * 10**6})
    rows = (cell("a", 1, 10), cell("b", 1, 5), cell("a", 8, 20), cell("b", 8, 5), other_classes)
    report = Report(rows)
    references = [report.reference(row) for row in rows]
    assert references == [None, rows[0], None, rows[2], rows[2]]
    lines = document(report).tables[0].lines
    changes = [line.cells[0] for line in lines if line.label.startswith("against")]
    assert changes == ["-50.0%", "-75.0%", "-75.0%"]


# --- several cases of a model -------------------------------------------------------------------


def labels(table: Table) -> list[str]:
    return [line.label for line in table.lines]


def told_apart(*cases: tuple[str, dict[str, Any]], **settings: Any) -> Report:
    """Rows of cases that nobody compared: name and execution of each."""
    rows = []
    for name, execution in cases:
        model = name.split("@")[0]
        case = Case(name, Model(model, model), Execution(**execution))
        read = {**case.settings(), "nc": 80, "threads": case.execution.threads or 2, **settings}
        rows.append(Result(model, model, read, latency(0.3), case=case))
    return Report(tuple(rows))


def test_every_workload_has_a_table_and_provenance_stands_once_in_the_last() -> None:
    first, second, verdicts, _ = document(MIXED).tables
    assert first.caption == (
        "Latency: image 640x640, batch 1, nc=80, unfused, on cpu, float32, 2 threads; contiguous, "
        "eager where a row does not say otherwise."
    )
    assert second.caption == first.caption.replace("batch 1", "batch 8")
    made = [note for note in second.notes if note.startswith(("Machine: ", "Made by "))]
    assert list(second.notes[-2:]) == made
    assert not any(note in (*first.notes, *verdicts.notes) for note in made)


def test_what_holds_for_all_figures_stands_before_what_rows_may_say_otherwise() -> None:
    rows = tuple(dataclasses.replace(row, metrics={"flops": 1}) for row in MIXED.rows[:3])
    (table,) = document(Report(rows)).tables
    assert table.caption.endswith(
        "2 threads, 1 MAC = 2 FLOPs; eager where a row does not say otherwise."
    )


def test_a_label_says_what_differs_from_the_first_row() -> None:
    first, second, _, _ = document(MIXED).tables
    assert labels(first) == labels(second)
    assert [label for label in labels(first) if not label.startswith("against")] == [
        "rtdetr-l", "shufflev2", "rtdetr-l (compile)", "shufflev2 (compile)",
        "rtdetr-l (channels_last)", "shufflev2 (channels_last)",
    ]  # fmt: skip
    assert labels(first).count("against rtdetr-l") == 5, "also other cases of the model itself"


def test_where_workloads_stand_together_each_is_named() -> None:
    verdicts = document(MIXED).tables[-2]
    assert verdicts.caption == (
        "Latency against rtdetr-l (batch 1), rtdetr-l (batch 8), paired within rounds, margin 2%."
    )
    assert labels(verdicts)[:2] == ["shufflev2 (batch 1)", "rtdetr-l (batch 1, compile)"]
    assert labels(verdicts)[-1] == "shufflev2 (batch 8, channels_last)"
    assert len(set(labels(verdicts))) == len(labels(verdicts)) == 10


def test_a_note_names_the_cases_it_is_of_or_the_model_where_all_have_it() -> None:
    first = document(MIXED).tables[0]
    told = "made ready in every process, outside all samples: compile 41.0 s"
    assert f"rtdetr-l (compile), shufflev2 (compile): {told}" in first.notes
    everywhere = tuple(dataclasses.replace(row, notes=("x",)) for row in MIXED.rows)
    assert "rtdetr-l, shufflev2: x" in document(Report(everywhere)).tables[0].notes


def test_a_published_figure_stands_once_beneath_all_cases_of_its_model() -> None:
    figure = {"label": "Theirs", "latency_ms": "11.6"}
    rows = tuple(
        dataclasses.replace(row, published=[{**figure, "ours": row.metrics}]) for row in MIXED.rows
    )
    first, second, *_ = document(dataclasses.replace(MIXED, rows=rows)).tables
    for table in (first, second):
        assert labels(table).count("published [1]") == 2, "one for each model"
        assert labels(table)[labels(table).index("published [1]") - 1] == "rtdetr-l"


def test_a_published_count_is_not_repeated_beneath_a_case_that_counts_less() -> None:
    figure = {"label": "Theirs", "params": "10M", "ours": {"params": 10_000_000}}
    whole, fused = told_apart(("a", {}), ("a@fused=true", {"fused": True})).rows
    whole = dataclasses.replace(whole, published=[figure], metrics={"params": 10_000_000})
    fused = dataclasses.replace(fused, published=[figure], metrics={"params": 9_000_000})
    (table,) = document(Report((whole, fused))).tables
    assert labels(table) == ["a", "published [1]", "deviation", "a (fused)", "against a"]
    (table,) = document(Report((fused, whole))).tables
    assert labels(table)[:4] == ["a", "published [1]", "ours, same set-up [1]", "deviation"]


def test_one_workload_without_differing_settings_reads_as_without_cases() -> None:
    cases = tuple(
        dataclasses.replace(row, case=Case(row.model, Model(row.model, row.model)))
        for row in REPORT.rows
    )
    report = dataclasses.replace(REPORT, rows=cases)
    for format in ("table", "markdown", "latex", "csv"):
        assert render(report, format, by="stage") == render(REPORT, format, by="stage")


def test_classes_of_its_own_are_no_other_workload() -> None:
    report = told_apart(("a", {}), ("b", {}))
    first, second = report.rows
    second = dataclasses.replace(second, settings={**second.settings, "nc": 20})
    (table,) = document(Report((first, second))).tables
    assert "nc=80 where a row does not say otherwise" in table.caption
    assert labels(table) == ["a", "b (nc=20)", "against a"]


def test_what_was_never_read_back_from_a_failed_case_is_not_named() -> None:
    report = told_apart(("a", {}), ("a@runtime=compile", {"runtime": "compile"}), ("b", {}))
    first, *others = report.rows
    unread = {**first.settings, "threads": None, "nc": None}
    failed = dataclasses.replace(first, settings=unread, status="failed", reason="why", metrics={})
    (table,) = document(Report((failed, *others))).tables
    assert labels(table) == ["a", "a (compile)", "b"]
    assert "nc=80, unfused, on cpu, float32, contiguous, 2 threads; eager where" in table.caption


def test_cases_that_turn_out_alike_are_called_by_their_own_names() -> None:
    report = told_apart(("a", {}), ("a@threads=2", {"threads": 2}), ("b", {}))
    (table,) = document(report).tables
    assert labels(table) == ["a", "a@threads=2", "against a", "b", "against a"]
    assert Report.from_json(report.to_json()) == report


def test_what_a_row_leaves_out_is_not_usual_unless_its_device_knows_no_such_thing() -> None:
    cold = {"cold_l2": True, "device": "cuda"}
    report = told_apart(("a", cold), ("a@cold_l2=false", {"device": "cuda"}), ("b", cold))
    (table,) = document(report).tables
    assert labels(table) == [
        "a (cold_l2=True)", "a", "against a (cold_l2=True)", "b (cold_l2=True)",
        "against a (cold_l2=True)",
    ]  # fmt: skip
    assert "cold_l2" not in table.caption
    elsewhere = told_apart(("a", cold), ("a@device=cpu", {}))
    (table,) = document(elsewhere).tables
    assert labels(table) == ["a", "a (on cpu)", "against a"]
    assert "on cuda, cold_l2=True where a row does not say otherwise" in table.caption


@given(st.lists(EXECUTIONS, min_size=1, max_size=6, unique=True))
def test_labels_tell_any_cases_of_a_model_apart(executions: list[Execution]) -> None:
    report = told_apart(*((f"a@{n}", vars(each)) for n, each in enumerate(executions)))
    tables = document(report).tables
    assert len(tables) == len({each.workload for each in executions})
    for table in tables:
        own = [line.label for line in table.lines if line.level == 0]
        assert len(set(own)) == len(own)
    everywhere = [row_label(row, report.rows) for row in report.rows]
    assert len(set(everywhere)) == len(everywhere), "also beside those of other workloads"
    assert Report.from_json(report.to_json()) == report


def test_timed_stages_are_a_workload_of_their_own() -> None:
    plain = told_apart(("a", {}), ("b", {}))
    staged = told_apart(("a@stages=true", {"stages": True}), ("b@stages=true", {"stages": True}))
    report = Report((*plain.rows, *staged.rows))
    assert [report.reference(row) for row in report.rows] == [
        None, report.rows[0], None, report.rows[2],
    ]  # fmt: skip
    first, second = document(report).tables
    assert "stages timed" in second.caption
    assert "stages" not in first.caption


def test_csv_tells_cases_apart_as_it_names_what_they_are_compared_with() -> None:
    frame = pd.read_csv(io.StringIO(render(MIXED, "csv")))
    assert frame.case.is_unique
    compared = frame[frame.compared_with.notna()]
    assert len(compared) == 10
    assert set(compared.compared_with) == {"rtdetr-l@batch=1", "rtdetr-l@batch=8"}
    assert set(compared.compared_with) <= set(frame.case)
    assert "case" not in render(REPORT, "csv").splitlines()[0].split(","), "a model has one each"


def test_mixed_cases_survive_json() -> None:
    assert Report.from_json(render(MIXED, "json")) == MIXED
    plain = json.loads(render(MIXED, "json"))
    assert [row["case"] for row in plain["rows"]] == [case["id"] for case in plain["cases"]]
    assert len(plain["cases"]) == 12


@pytest.mark.parametrize("format", ["table", "markdown", "csv", "latex"])
def test_names_from_outside_move_no_cursor_and_command_no_runner(format: str) -> None:
    name = "x\x1b[2J\n::error title=a::b ##[error]" + "y" * 40 + "::stop-commands::z"
    cell = Result(name, name, {}, {}, status="failed", reason=name, notes=(name,))
    text = render(Report((cell,), title=name), format)
    assert "\x1b" not in text
    assert "::" not in text
    assert "##[" not in text
