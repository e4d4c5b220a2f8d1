"""Pictures: what is in them, that they are the same every time, and that their words are true."""

from __future__ import annotations

import dataclasses
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import Any

import matplotlib
import pytest
from matplotlib.transforms import Bbox

from detrbench.render import FORMATS, plots, render
from detrbench.render.drawing import PALETTE, SERIES, free_place, shortened
from detrbench.render.layout import MEASURED, difference, workloads
from detrbench.render.page.words import findings
from detrbench.reports.report import Report, Result
from tests.render.sample import (
    BASELINE,
    LIGHTER,
    MIXED,
    REPORT,
    SETTINGS,
    counts,
    latency,
    pair,
)

SVG = "{http://www.w3.org/2000/svg}"

PICTURES: dict[str, Callable[[Report], str | None]] = {
    "verdicts": plots.verdicts,
    "savings": plots.savings,
    "samples": plots.samples,
    "cost": plots.cost,
    "memory": plots.memory,
    "parts": lambda report: plots.parts(report, "stage"),
}


def timed(processes: list[list[float]], model: str = "a", **metrics: Any) -> Result:
    return Result(model, model, SETTINGS, metrics, samples={"latency_s": processes})


def drawn(picture: str | None) -> ElementTree.Element:
    assert picture is not None
    return ElementTree.fromstring(picture)


def texts(picture: str | None) -> list[str]:
    return ["".join(each.itertext()).strip() for each in drawn(picture).iter(f"{SVG}text")]


def description(picture: str | None) -> str:
    found = drawn(picture).find(f"{SVG}desc")
    assert found is not None
    assert found.text
    return found.text


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_says_what_it_shows_and_scales(name: str) -> None:
    root = drawn(PICTURES[name](REPORT))
    assert root.get("role") == "img"
    assert root.get("width") is root.get("height") is None, "it is as wide as its place"
    ids = {each.get("id") for each in root.iter() if each.tag in (f"{SVG}title", f"{SVG}desc")}
    assert set((root.get("aria-labelledby") or "").split()) == ids
    assert description(PICTURES[name](REPORT)).endswith(".")


@pytest.mark.parametrize("name", PICTURES)
def test_the_same_report_gives_the_same_bytes(name: str) -> None:
    first = PICTURES[name](REPORT)
    with matplotlib.rc_context({"lines.linewidth": 99, "font.size": 40, "svg.fonttype": "path"}):
        mine = dict(matplotlib.rcParams)
        assert PICTURES[name](REPORT) == first, "whatever a user has configured"
        assert dict(matplotlib.rcParams) == mine, "which stays as it was"


@pytest.mark.parametrize("name", PICTURES)
def test_every_colour_follows_the_page(name: str) -> None:
    text = PICTURES[name](REPORT) or ""
    assert "var(--plot-" in text
    alone = re.sub(r"var\(--plot-\w+, [^)]*\)", "", text)
    assert not re.findall(r"#[0-9a-f]{6}\b", alone)
    assert "DejaVu" not in text


def test_pictures_of_one_page_share_no_id_and_refer_to_their_own() -> None:
    pictures = [draw(REPORT) or "" for draw in PICTURES.values()]
    ids = [name for text in pictures for name in re.findall(r'\bid="([^"]*)"', text)]
    assert len(ids) == len(set(ids))
    for text in pictures:
        wanted = re.findall(r'(?:url\(#|href="#)([^)"]*)', text)
        assert set(wanted) <= set(re.findall(r'\bid="([^"]*)"', text))


def test_pictures_without_values_are_none() -> None:
    nothing = Report()
    assert [draw(nothing) for draw in PICTURES.values()] == [None] * len(PICTURES)
    alone = Report((BASELINE,))
    assert plots.savings(alone) is plots.cost(alone) is plots.verdicts(alone) is None
    broken = dataclasses.replace(LIGHTER, status="failed", metrics={})
    assert plots.cost(Report((BASELINE, broken))) is None


@pytest.mark.parametrize(
    "name",
    ['<b id="x">', "v0.123456", "#0b62a4", "$a_1^2$", "&amp;", "'DejaVu Sans'", "]]>", "url(#x)"],
)
def test_a_name_is_shown_as_it_is(name: str) -> None:
    """Neither markup, nor mathematics, nor anything that is rewritten in matplotlib's own tags."""
    row = dataclasses.replace(LIGHTER, model=name, samples={"latency_s": [[0.3]]})
    compared = REPORT.comparisons[0]
    compared = dataclasses.replace(compared, case=dataclasses.replace(compared.case, model=name))
    report = Report((BASELINE, row), comparisons=(compared,))
    for draw in (plots.verdicts, plots.savings, plots.samples, plots.cost, plots.memory):
        assert name in texts(draw(report))
        assert name in description(draw(report))


def test_characters_that_no_font_has_are_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    assert "模型" in texts(plots.samples(Report((timed([[1.0]], model="模型"),))))
    assert not recwarn.list


# --- every sample ------------------------------------------------------------------------------


def dashes(picture: str | None) -> int:
    """Vertical strokes of samples: each picture's other strokes have other colours."""
    strokes = [
        each.get("d") or ""
        for each in drawn(picture).iter(f"{SVG}path")
        if f"--plot-{SERIES[0]}" in (each.get("style") or "")
    ]
    return sum(path.count("V") for path in strokes)


def test_every_sample_of_every_process_is_drawn() -> None:
    processes = [[0.30 + 0.001 * i for i in range(40)], [0.33], [], [0.31, 0.32]]
    picture = plots.samples(Report((timed(processes), timed([[0.2] * 7], model="b"))))
    assert dashes(picture) == 43 + 7
    assert "a: 43 samples in 3 processes, from 300.0 ms to 339.0 ms" in description(picture)
    assert {"1", "2", "3", "4"} <= set(texts(picture)), "processes are numbered, an empty one too"


def test_a_far_outlier_stands_at_the_edge_and_is_counted() -> None:
    picture = plots.samples(Report((timed([[0.01] * 99 + [5.0]]),)))
    assert dashes(picture) == 99
    assert "1 beyond the axis, up to 5,000.0 ms" in texts(picture)
    assert (
        max(
            float(text.replace(",", ""))
            for text in texts(picture)
            if text[:1].isdigit() and " " not in text
        )
        < 100
    )


def test_equal_samples_and_a_single_one_can_be_drawn() -> None:
    assert dashes(plots.samples(Report((timed([[0.25, 0.25]]),)))) == 2
    assert dashes(plots.samples(Report((timed([[1e-6]]),)))) == 1


def test_thousands_of_samples_stay_small() -> None:
    processes = [[0.01 + 1e-6 * i for i in range(2000)] for _ in range(5)]
    picture = plots.samples(Report((timed(processes),))) or ""
    assert dashes(picture) == 10_000
    assert len(picture) < 300_000


# --- comparisons -------------------------------------------------------------------------------


def test_verdicts_are_drawn_and_told_with_their_interval() -> None:
    picture = plots.verdicts(REPORT)
    assert "FASTER" in texts(picture)
    assert description(picture) == "shufflev2 -9.5%, -10.4% to -8.6%: FASTER."
    assert "Latency against rtdetr-l" in texts(picture)


def test_savings_are_the_table_s() -> None:
    picture = plots.savings(Report((BASELINE, LIGHTER), comparisons=REPORT.comparisons[:1]))
    assert {"-40.9%", "-42.4%", "-9.5%"} <= set(texts(picture)), "params, FLOPs, the paired ratio"
    assert "shufflev2: Params -40.9%, FLOPs -42.4%" in description(picture)


def test_cost_says_both_values_and_both_changes() -> None:
    picture = plots.cost(REPORT)
    assert {"GFLOPs", "Latency (ms)", "rtdetr-l", "shufflev2"} <= set(texts(picture))
    told = description(picture)
    assert "rtdetr-l: 109.5 GFLOPs, 310.0 ms." in told
    assert "shufflev2: 63.1 GFLOPs, 290.0 ms, -42.4% and -9.5%." in told, "the paired ratio"


def test_a_measured_difference_is_one_number_wherever_it_stands() -> None:
    """Table, picture, its words, the page's findings and the records: never -6.5 %, the ratio of
    the two medians."""
    report = Report((BASELINE, LIGHTER), comparisons=REPORT.comparisons[:1])
    (pair,) = report.comparisons
    assert pair.ratio == difference(LIGHTER, BASELINE, MEASURED[0], report)
    assert "it takes 9.5% less time" in findings(report)[0].sentence
    for drawn in (plots.cost(report), plots.savings(report), plots.verdicts(report)):
        assert "-9.5%" in description(drawn)
    for format in FORMATS:
        text = render(report, format)
        assert "-6.5" not in text
        assert ("9.5" in text) is (format not in ("csv", "json"))
    assert report.records()[1]["ratio"] == pair.ratio


def test_the_convention_asked_for_is_drawn() -> None:
    rows = [
        dataclasses.replace(row, settings={**SETTINGS, "convention": "thop"}) for row in REPORT.rows
    ]
    assert "GFLOPs (thop)" in texts(plots.cost(Report(tuple(rows))))


def test_names_of_many_models_cover_neither_each_other_nor_a_point() -> None:
    points = [(20.0 + 3 * i, 100.0 + (5 * i) % 11) for i in range(9)]
    taken = [Bbox.from_extents(x - 5, y - 5, x + 5, y + 5) for x, y in points]
    for x, y in points:
        found = free_place(x, y, 60.0, 8.0, taken, (300.0, 200.0))
        assert found is not None
        box, _ = found
        assert not any(box.fully_overlaps(other) for other in taken)
        taken.append(box)


def test_a_name_without_a_free_place_stands_beside_its_point() -> None:
    everything = Bbox.from_extents(-1e6, -1e6, 1e6, 1e6)
    found = free_place(5.0, 5.0, 10.0, 8.0, [everything], (1e6, 1e6))
    assert found is not None
    assert found[1] == (8.0, 0.0)
    assert free_place(5.0, 5.0, 10.0, 8.0, [everything], (1e6, 1e6), always=False) is None


# --- bars --------------------------------------------------------------------------------------


def test_bars_of_parts_add_up_to_the_whole_with_their_shares() -> None:
    picture = plots.parts(REPORT, "stage")
    assert {"backbone", "neck", "109.5", "33.0"} <= set(texts(picture))
    assert "GFLOPs: rtdetr-l 109.5 (backbone 54.8%, neck 45.2%)." in description(picture)


def test_small_parts_are_put_together_and_nothing_is_lost() -> None:
    parts = [{"part": f"aten.op{i}", "flops": 2**i, "kernels": 1} for i in range(30)]
    row = dataclasses.replace(BASELINE, parts={"op": parts})
    picture = plots.parts(Report((row,)), "op")
    assert {"aten.op29", "23 others"} <= set(texts(picture))
    assert "aten.op3" not in texts(picture)
    assert "Kernels: rtdetr-l 30 (" in description(picture)


def test_memory_shows_elements_and_bytes_of_every_model() -> None:
    picture = plots.memory(REPORT)
    assert {"Memory access (M)", "Eager traffic (MB)", "Peak memory (MB)"} <= set(texts(picture))
    assert "rtdetr-l 3,342.0; shufflev2 3,342.0." in description(picture), "the variant has none"
    nothing = dataclasses.replace(BASELINE, metrics={"peak_rss_growth_bytes": 0})
    assert plots.memory(Report((nothing,))) is None


@pytest.mark.parametrize(("name", "short"), [("abc", "abc"), ("a" * 30, None)])
def test_long_names_lose_their_middle(name: str, short: str | None) -> None:
    assert shortened(name, 10) == (short or "aaaa…aaaaa")
    assert len(shortened(name, 10)) <= 10


def test_series_are_colours_of_the_palette() -> None:
    assert set(SERIES) < set(PALETTE)
    assert len(set(PALETTE.values())) == len(PALETTE), "each is replaced by its own property"


def test_intervals_survive_a_ratio_of_any_size() -> None:
    compared = pair(
        "b", "a", settings={}, ratio=40.0, ci_low=1e-3, ci_high=1e3, verdict="INCONCLUSIVE",
        process_log_ratios=[math.log(40.0)],
    )  # fmt: skip
    rows = (timed([[0.1]], "a", **latency(0.1)), timed([[4.0]], "b", **counts(1, 2)))
    assert "b +3,900.0%" in description(plots.verdicts(Report(rows, comparisons=(compared,))))


# --- several workloads -------------------------------------------------------------------------


def test_an_axis_of_samples_is_of_one_workload() -> None:
    small, large = workloads(MIXED)
    first, second = plots.samples(MIXED, small), plots.samples(MIXED, large, 2)
    assert {"rtdetr-l (batch 1)", "rtdetr-l (batch 1, compile)"} <= set(texts(first))
    assert not any("batch 8" in text for text in texts(first))
    assert {"rtdetr-l (batch 8)", "shufflev2 (batch 8, channels_last)"} <= set(texts(second))
    ids = [re.findall(r'\bid="([^"]*)"', picture or "") for picture in (first, second)]
    assert not set(ids[0]) & set(ids[1])


def test_changes_and_verdicts_name_the_baseline_of_each_workload() -> None:
    both = "rtdetr-l (batch 1), rtdetr-l (batch 8)"
    assert shortened(f"Change against {both}", 50) in texts(plots.savings(MIXED))
    assert f"Latency against {shortened(both, 40)}" in texts(plots.verdicts(MIXED))
    told = description(plots.verdicts(MIXED))
    assert "shufflev2 (batch 8, compile) -53.3%, -53.7% to -52.8%: FASTER." in told
