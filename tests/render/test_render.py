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

import pandas as pd
import pytest

from detrbench.core.errors import UsageError
from detrbench.render import FORMATS, format_of, render
from detrbench.render.layout import document
from detrbench.reports.metrics import METRICS
from detrbench.reports.report import Report, Result
from tests.render.sample import (
    BASELINE,
    BROKEN,
    LIGHTER,
    PARTIAL,
    REPORT,
    SETTINGS,
    counts,
    latency,
)

GOLDEN = Path(__file__).parent / "golden"
FILES = {"table": "sample.txt", "markdown": "sample.md", "csv": "sample.csv", "json": "sample.json",
         "latex": "sample.tex"}  # fmt: skip


@pytest.mark.parametrize("format", [each for each in FORMATS if each != "html"])  # test_html.py
def test_golden(format: str) -> None:
    """DETRBENCH_GOLDEN=write renews the files; look at the difference before committing it."""
    text = render(REPORT, format, by="stage")
    file = GOLDEN / FILES[format]
    if os.environ.get("DETRBENCH_GOLDEN") == "write":
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def test_golden_in_chinese() -> None:
    text = render(REPORT, "markdown", by="stage", lang="zh")
    file = GOLDEN / "sample.zh.md"
    if os.environ.get("DETRBENCH_GOLDEN") == "write":
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")
    header = text.split("\n")[2]
    assert header.startswith("| 模型 | 参数量 (M) | 计算量 (GFLOPs) |"), "the article's own words"
    assert "推理速度 (ms)" in header


def test_chinese_changes_words_and_no_number() -> None:
    def digits(text: str) -> list[str]:
        return re.findall(r"\d+(?:[.,]\d+)*", text)

    english, chinese = (render(REPORT, "markdown", by="stage", lang=lang) for lang in ("en", "zh"))
    assert sorted(digits(english)) == sorted(digits(chinese))
    assert render(REPORT, "csv", lang="zh") == render(REPORT, "csv"), "records are for programs"


def test_an_unknown_language_is_named() -> None:
    with pytest.raises(UsageError, match="unknown language"):
        render(REPORT, lang="fr")


def test_latex_is_balanced_and_escaped() -> None:
    text = render(REPORT, "latex", by="stage")
    tables = re.findall(r"\\begin{tabular}{([lr]+)}(.*?)\\end{tabular}", text, re.DOTALL)
    assert len(tables) == 3
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
    (tmp_path / "tables.tex").write_text(render(REPORT, "latex", by="stage"), encoding="utf-8")
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


def test_table_is_readable_at_100_columns() -> None:
    lines = render(REPORT, "table", by="stage").splitlines()
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
    pair = {
        "baseline": "rtdetr-l", "model": "shufflev2", "settings": {"imgsz": "640x640"},
        "ratio": 0.905, "reasons": ["one process: no verdict"],
    }  # fmt: skip
    report = dataclasses.replace(REPORT, comparisons=(pair,))
    assert line_of(report, "against")["Latency (ms)"].startswith("-9.5% [")
    assert "one process: no verdict" in render(report, "table")
    elsewhere = dataclasses.replace(REPORT, comparisons=({**pair, "settings": {"imgsz": "1x1"}},))
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
    assert pd.read_csv(io.StringIO(render(Report((cell,)), "csv"))).model[0] == 'a,"b"\nc'


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
    assert "\\<b\\> \\# x\\</b\\>" in render(Report((cell,)), "markdown")


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
