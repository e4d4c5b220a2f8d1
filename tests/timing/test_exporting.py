"""What is exported before a run, by what plays the exporting process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from detrbench.core.processes import environment
from detrbench.reports.case import Case
from detrbench.reports.parse_cases import make_cases
from detrbench.runtimes.artefacts import GRAPHS, artefact
from detrbench.timing import exporting
from detrbench.timing.exporting import KIND, export_first
from detrbench.timing.rounds import Progress

# Notes what it was asked for, and keeps a graph of nothing.
PLAYS = """
import json, sys, time
from detrbench.reports.case import Case
from detrbench.runtimes.artefacts import GRAPHS, artefact
from detrbench.timing.exporting import KIND, _key
case = Case.from_dict(json.load(sys.stdin))
print(case.name, file=open({asked!r}, "a"))
time.sleep({takes_s})
if {fails}:
    raise SystemExit(1)
facts = {{"file_bytes": 2_000_000}}
place, facts = artefact(GRAPHS, "graph" + case.model.name, lambda folder: facts)
artefact(KIND, _key(case), lambda _: {{"kind": GRAPHS, "graph": place.name}})
print(json.dumps({{**facts, "folder": str(place)}}))
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("detrbench.runtimes.find_spec", lambda name: True)
    monkeypatch.setattr(exporting, "_LOOK_S", 0.01)


def cases(*runtimes: str, names: tuple[str, ...] = ("rtdetr-l",)) -> tuple[Case, ...]:
    return make_cases(names, {"runtime": list(runtimes)})


class Exporter:
    def __init__(self, folder: Path, fails: bool = False, takes_s: float = 0.0) -> None:
        self._asked = folder / "asked"
        code = PLAYS.format(asked=str(self._asked), fails=fails, takes_s=takes_s)
        self._command = (sys.executable, "-c", code)
        self.said: list[str] = []
        self.shown: list[Progress] = []
        assert environment()["PYTHONPATH"]

    def __call__(self, asked: tuple[Case, ...]) -> None:
        export_first(asked, self.shown.append, self.said.append, command=self._command)

    @property
    def asked(self) -> list[str]:
        return self._asked.read_text().splitlines() if self._asked.exists() else []


def test_each_graph_is_exported_once_whatever_executes_it(tmp_path: Path) -> None:
    exporter = Exporter(tmp_path)
    every = cases("eager", "onnxruntime", "openvino", names=("rtdetr-l", "shufflev2"))
    exporter(every)
    assert len(exporter.asked) == 2
    assert [line.partition(" in ")[0] for line in exporter.said] == [
        "exported rtdetr-l",
        "exported shufflev2",
    ]
    assert "2.0 MB" in exporter.said[0]
    exporter(every)
    exporter(cases("openvino"))
    assert len(exporter.asked) == 2, "the second time, all is there"
    exporter(make_cases(["rtdetr-l"], {"runtime": ["openvino"], "batch": [2]}))
    assert len(exporter.asked) == 3


def test_eager_alone_exports_nothing(tmp_path: Path) -> None:
    exporter = Exporter(tmp_path)
    exporter(cases("eager", "compile"))
    assert (exporter.asked, exporter.said, exporter.shown) == ([], [], [])


def test_it_is_told_while_it_takes_time(tmp_path: Path) -> None:
    exporter = Exporter(tmp_path, takes_s=0.2)
    exporter(cases("openvino", names=("rtdetr-l", "shufflev2")))
    phases = dict.fromkeys((one.phase, one.done, one.total) for one in exporter.shown)
    assert list(phases) == [
        ("exporting rtdetr-l to ONNX, once, outside of the budget", 0, 2),
        ("exporting shufflev2 to ONNX, once, outside of the budget", 1, 2),
    ]


def test_what_cannot_be_exported_is_left_to_who_times_it(tmp_path: Path) -> None:
    exporter = Exporter(tmp_path, fails=True)
    exporter(cases("openvino"))
    assert exporter.said == []
    exporter(cases("openvino"))
    assert len(exporter.asked) == 2


def test_a_graph_that_was_removed_is_exported_again(tmp_path: Path) -> None:
    exporter = Exporter(tmp_path)
    exporter(cases("openvino"))
    (graph, _) = artefact(GRAPHS, "graphrtdetr-l", lambda _: {})
    (graph / "facts.json").unlink()
    exporter(cases("openvino"))
    assert len(exporter.asked) == 2
    assert KIND != GRAPHS
