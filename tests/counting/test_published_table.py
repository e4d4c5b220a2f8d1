"""Published tables: how they are headed, what is refused where, and which rows fit together."""

from __future__ import annotations

from pathlib import Path

import pytest

from detrbench.core.errors import UsageError
from detrbench.counting.published_table import (
    ExplainedRow,
    ExplainedTable,
    Way,
    read_cases,
    read_table,
)
from detrbench.counting.reconcile import Match, Search, Settings
from detrbench.counting.reconcile_tables import table_document
from tests.timing.runs import case


def written(folder: Path, text: str) -> Path:
    path = folder / "paper.csv"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        'model,params,GFLOPs,latency\na,"32,808,131",108.0,11.6\n',
        "\ufeffMethod;#Params (M);FLOPs (G);Latency (ms)\r\na;32.808131;108.0;11.6\r\n",
        "Name\tParameters/M\tMACs [M]\tTime\n\t\t\t\na\t32.808131\t108000.0\t11.6 ms\n",
        "note,GFLOPs,Network,Params.\nx,108.0,a,32808131\n",
    ],
)
def test_columns_are_found_by_the_names_that_people_use(text: str, tmp_path: Path) -> None:
    (row,) = read_table(written(tmp_path, text))
    assert row.model == "a"
    assert row.params is not None
    assert row.gflops is not None
    assert row.params.value == pytest.approx(32_808_131)
    assert row.gflops.value == pytest.approx(108e9)


def test_what_was_not_printed_is_none(tmp_path: Path) -> None:
    first, second = read_table(written(tmp_path, "model,params,GFLOPs,speed\na,-,108,\nb,3,,9\n"))
    assert (first.line, first.params, dict(first.texts)) == (
        2,
        None,
        {"model": "a", "gflops": "108"},
    )
    assert (second.line, second.gflops, second.texts["latency"]) == (3, None, "9")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "paper.csv: holds no row beneath a header"),
        ("model,params\n", "paper.csv: holds no row"),
        ("| model | params |\n| a | 3 |\n", "paper.csv, row 1: is a table in Markdown, not CSV"),
        ("model & params \\\\\na & 3 \\\\\n", "paper.csv, row 1: is a table in LaTeX, not"),
        ("model,size\na,3\n", "paper.csv, row 1: there must be a column of models, and one of"),
        ("params,GFLOPs\n3,4\n", "paper.csv, row 1: there must be a column of models"),
        ("model,FLOPs,GFLOPs\na,3,4\n", "paper.csv, row 1: both 'FLOPs' and 'GFLOPs' are gflops"),
        ("model,params\na,3\nb,20,184,464\n", "paper.csv, row 3: it has 4 cells, the header 2"),
        ("model,params\na,3\n,4\n", "paper.csv, row 3, column 'model': no model is named"),
        ("model,Params (M)\na,many\n", "paper.csv, row 2, column 'Params (M)': 'many' is not"),
        ("model,GFLOPs\na,0.0\n", "paper.csv, row 2, column 'GFLOPs': no detector has 0"),
        ("model,params,time\na,3,fast\n", "paper.csv, row 2, column 'time': 'fast' is not"),
        ("model,params\na,-\n", "paper.csv, row 2: neither parameters nor GFLOPs"),
        ('model,params\na,"3\n', "paper.csv, row 2: is not CSV"),
        ("model,params\n" + "a,3\n" * 300_000, "paper.csv: no published table is so large"),
    ],
)
def test_what_is_wrong_is_said_with_file_row_and_column(
    text: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        read_table(written(tmp_path, text))
    assert str(caught.value).partition(str(tmp_path))[2].startswith(f"/{said}")
    assert caught.value.hint


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "paper.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        read_table(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_table(tmp_path / "none.csv")


def test_a_model_that_there_is_not_is_said_with_its_row(tmp_path: Path) -> None:
    def none(name: str) -> None:
        raise UsageError(f"no {name}", where="place", hint="did you mean b?")

    with pytest.raises(UsageError, match=r"row 2, column 'model': place: no a\n  did you mean b\?"):
        read_cases(written(tmp_path, "model,params\na,3\n"), none)  # type: ignore[arg-type]
    ((row, asked),) = read_cases(written(tmp_path, "model,params\na,3\n"), case)
    assert (row.model, asked) == ("a", case("a"))


# --- which rows fit together ---------------------------------------------------------------------


def match(low: int, high: int, *, fused: bool = False, by: str = "thop", size: int = 640) -> Match:
    return Match(Settings(fused, size, by, True), low, high, (1, 2), (3, 4))


def table_of(folder: Path, *rows: tuple[str, tuple[Match, ...]]) -> ExplainedTable:
    """Rows "name,params,GFLOPs" with what was found for each."""
    text = "".join(["model,params,GFLOPs\n", *(f"{line}\n" for line, _ in rows)])
    read = read_table(written(folder, text))
    explained = (
        ExplainedRow(row, Search(row.model, found, match(1, 1), 0.05, (640,)))
        for row, (_, found) in zip(read, rows, strict=True)
    )
    return ExplainedTable(folder / "paper.csv", tuple(explained))


def notes_of(table: ExplainedTable) -> str:
    return "; ".join(table_document(table).tables[0].notes)


def test_rows_that_one_way_prints_were_counted_alike(tmp_path: Path) -> None:
    found = table_of(
        tmp_path,
        ("a,3,108", (match(1, 14), match(1, 80, by="core"))),
        ("b,4,62.8", (match(3, 20), match(1, 9, by="fvcore"))),
        ("c,5,", (match(1, 5, by="core"),)),  # without FLOPs, whatever its convention
    )
    assert found.common == (Way(False, 640, "thop", True, 3, 5),)
    assert not list(found.apart)
    assert "all printed when unfused, nc from 3 to 5, image 640x640, counted as thop" in notes_of(
        found
    )


@pytest.mark.parametrize(
    "other",
    [
        match(1, 14, fused=True),
        match(1, 14, by="core"),
        match(1, 14, size=320),
        match(15, 80),
    ],
)
def test_rows_that_no_way_prints_both_were_not(other: Match, tmp_path: Path) -> None:
    found = table_of(tmp_path, ("a,3,108", (match(1, 14),)), ("b,4,62.8", (other,)))
    assert found.common == ()
    assert [(one.row.line, two.row.line) for one, two in found.apart] == [(2, 3)]
    assert "row 2 (a) and row 3 (b) cannot have been counted the same way" in notes_of(found)
    assert table_document(found).data["apart"] == [[2, 3]]


def test_two_by_two_may_fit_where_all_do_not(tmp_path: Path) -> None:
    thop, core, fvcore = (match(1, 9, by=name) for name in ("thop", "core", "fvcore"))
    found = table_of(
        tmp_path, ("a,3,1", (thop, core)), ("b,4,2", (core, fvcore)), ("c,5,3", (fvcore, thop))
    )
    assert found.common == ()
    assert not list(found.apart)
    assert "no one way prints all rows, though one prints any two" in notes_of(found)


def test_of_a_row_that_nothing_prints_nothing_is_said(tmp_path: Path) -> None:
    found = table_of(tmp_path, ("a,3,108", (match(1, 14),)), ("b,4,62.8", ()))
    assert not list(found.apart)
    assert "of row 3 (b) nothing can be said" in notes_of(found)
    document = table_document(found)
    (_, line) = document.tables[0].lines
    assert line.cells[-1].startswith("nothing that was tried; the closest is off by 5.0%: unfused")
    assert [record["exact"] for record in document.records] == [True, False]


def test_many_ways_are_counted_for_readers_and_kept_for_files(tmp_path: Path) -> None:
    ways = tuple(match(1, 9, size=size) for size in (320, 416, 512, 608, 640))
    document = table_document(table_of(tmp_path, ("a,3,108", ways)))
    lines = [line.cells[-1] for line in document.tables[0].lines]
    assert len(lines) == 4
    assert lines[-1] == "and 2 other ways"
    assert [record["imgsz"] for record in document.records] == [320, 416, 512, 608, 640]
