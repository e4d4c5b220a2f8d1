"""Which cases are no pair, said with the name of the one that is to blame."""

from __future__ import annotations

from pathlib import Path

import pytest

from detrbench.analysis.explain.pair import check_pair
from detrbench.core.errors import UsageError
from detrbench.models.model import Model
from detrbench.reports.case import Case, Execution
from tests.timing.runs import case


def test_two_of_one_workload_are_a_pair_whatever_else_they_differ_in() -> None:
    check_pair([case("a"), case("b", nc=1, memory_format="channels_last", threads=1, fused=True)])
    check_pair([case("a", device="cuda"), case("b", device="cuda:0", dtype="float16")])


@pytest.mark.parametrize("number", [1, 3])
def test_a_pair_is_two(number: int) -> None:
    with pytest.raises(UsageError, match=f"{number} models cannot be a pair"):
        check_pair([case(str(index)) for index in range(number)])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"runtime": "compile"}, "under the runtime compile a model has no seams"),
        ({"stages": True}, "detrbench latency"),
        ({"batch": 2}, "another workload than a"),
        ({"imgsz": (64, 64)}, "another workload than a"),
        ({"device": "cuda"}, "it is on cuda, and a on cpu"),
    ],
)
def test_what_is_no_pair_is_said_of_the_case(settings: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        check_pair([case("a"), case("b", **settings)])
    assert caught.value.where == "b"


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_runtimes_own_profile_has_seams_between_stages_and_modules(runtime: str) -> None:
    pair = [case("a"), case("b", runtime=runtime)]
    for by in ("stage", "module"):
        check_pair(pair, by)
    with pytest.raises(UsageError, match="fuses operators") as caught:
        check_pair(pair, "op")
    assert (caught.value.where, caught.value.hint) == ("b", "Give --by stage or --by module.")
    with pytest.raises(UsageError, match="no ceilings to hold int8 against"):
        check_pair([case("a"), case("b", runtime=runtime, dtype="int8")])


def test_a_graph_of_somebodys_is_not_explained(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(b"")
    graph = Case("b", Model("b", str(file)), Execution(runtime="openvino"))
    with pytest.raises(UsageError, match="an ONNX graph has no modules"):
        check_pair([case("a"), graph])


def test_a_baseline_without_seams_is_said_too() -> None:
    with pytest.raises(UsageError, match="no seams") as caught:
        check_pair([case("a", runtime="compile"), case("b")])
    assert caught.value.where == "a"
