"""From what is typed to cases: combinations, names, what is refused; and what a case's id is of."""

from __future__ import annotations

import dataclasses
import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detrbench.core.errors import UsageError
from detrbench.models.model import File, Model
from detrbench.reports.case import Case, Execution, baseline_of
from detrbench.reports.parse_cases import (
    cases_of,
    make_cases,
    named,
    parse_setting,
    split_reference,
)
from detrbench.reports.settings import DTYPES, MEMORY_FORMATS, SETTINGS


def names(cases: tuple[Case, ...]) -> list[str]:
    return [case.name for case in cases]


def made(reference: str, **defaults: Any) -> Case:
    (case,) = make_cases([reference], {key: [value] for key, value in defaults.items()})
    return case


# --- combinations ------------------------------------------------------------------------------


def test_a_reference_alone_is_a_case_with_usual_settings() -> None:
    case = made("rtdetr-l")
    assert (case.name, case.model.name, case.model.reference) == ("rtdetr-l",) * 3
    assert case.execution == Execution()
    (file,) = case.model.files
    assert file.path == "models/rtdetr-l.yaml"
    assert re.fullmatch("[0-9a-f]{64}", file.sha256)


def test_several_values_make_every_combination_the_last_axis_first() -> None:
    cases = make_cases(
        ["rtdetr-l", "shufflev2"], {"batch": [1, 8], "runtime": ["eager", "compile"], "nc": [1]}
    )
    assert names(cases) == [
        "rtdetr-l@batch=1,runtime=eager",
        "shufflev2@batch=1,runtime=eager",
        "rtdetr-l@batch=1,runtime=compile",
        "shufflev2@batch=1,runtime=compile",
        "rtdetr-l@batch=8,runtime=eager",
        "shufflev2@batch=8,runtime=eager",
        "rtdetr-l@batch=8,runtime=compile",
        "shufflev2@batch=8,runtime=compile",
    ]
    assert {case.model.name for case in cases} == {"rtdetr-l", "shufflev2"}
    assert {case.model.nc for case in cases} == {1}, "what all share is in no name"
    assert cases[-1].execution == Execution(batch=8, runtime="compile")


def test_a_value_given_twice_is_one() -> None:
    assert names(make_cases(["rtdetr-l"], {"batch": [8, 8]})) == ["rtdetr-l"]


def test_what_stands_behind_the_at_holds_for_all_cases_of_its_reference() -> None:
    cases = make_cases(
        ["rtdetr-l@batch=2", "shufflev2"], {"batch": [1, 8], "runtime": ["eager", "compile"]}
    )
    assert names(cases) == [
        "rtdetr-l@batch=2,runtime=eager",
        "shufflev2@batch=1,runtime=eager",
        "rtdetr-l@batch=2,runtime=compile",
        "shufflev2@batch=1,runtime=compile",
        "shufflev2@batch=8,runtime=eager",
        "shufflev2@batch=8,runtime=compile",
    ]
    assert {case.execution.batch for case in cases if case.model.name == "rtdetr-l"} == {2}


def test_an_override_goes_before_what_all_have() -> None:
    first, second = make_cases(["rtdetr-l", "rtdetr-l@threads=1"], {"threads": [2]})
    assert (first.execution.threads, second.execution.threads) == (2, 1)
    assert first.model == second.model, "it is the same model, executed in another way"


@pytest.mark.parametrize(
    ("own", "called"),
    [
        ("nc=3", "rtdetr-l"),
        ("seed=1", "rtdetr-l@seed=1"),
        ("name=copy", "copy"),
        ("name=copy,seed=1", "copy"),
        ("runtime=compile", "rtdetr-l"),
    ],
)
def test_what_makes_another_model_of_it_is_in_the_model_s_name(own: str, called: str) -> None:
    case = made(f"rtdetr-l@{own}")
    assert case.model.name == called
    assert case.name == f"rtdetr-l@{own}"


def test_an_alias_is_kept_as_it_was_typed() -> None:
    case = made("rtdetr-l@fuse=yes")
    assert case.name == "rtdetr-l@fuse=yes"
    assert case.execution.fused is True


def test_a_copy_may_stand_beside_itself() -> None:
    cases = make_cases(["rtdetr-l", "rtdetr-l@name=copy"])
    assert [case.model.name for case in cases] == ["rtdetr-l", "copy"]
    assert cases[0].id != cases[1].id


@pytest.mark.parametrize(
    ("references", "defaults", "said"),
    [
        (["rtdetr-l", "rtdetr-l"], {}, "rtdetr-l is named twice"),
        (["rtdetr-l", "rtdetr-l"], {"batch": [1, 8]}, "rtdetr-l@batch=1 is named twice"),
        (["rtdetr-l", "rtdetr-l@batch=1"], {}, "rtdetr-l@batch=1 is the same as rtdetr-l"),
        (["rtdetr-l@threads=2", "rtdetr-l"], {"threads": [2]}, "is the same as rtdetr-l@threads=2"),
        (["rtdetr-l", "rtdetr-l@batch=8"], {"batch": [1, 8]}, "rtdetr-l@batch=8 is named twice"),
        (["rtdetr-l", "rtdetr-l@seed=0"], {}, "rtdetr-l@seed=0 is the same as rtdetr-l"),
        (["rtdetr-l@name=x", "rtdetr-l@name=x,seed=0"], {}, "is the same as rtdetr-l@name=x"),
        (["rtdetr-l", "shufflev2@name=rtdetr-l"], {}, "two models, and both called rtdetr-l"),
        (["rtdetr-l@name=x", "shufflev2@name=x,batch=8"], {}, "two models, and both called x"),
    ],
)
def test_the_same_case_twice_is_refused(
    references: list[str], defaults: dict[str, list[Any]], said: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(said)) as caught:
        make_cases(references, defaults)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rtdetr-l@bacth=1", "did you mean batch"),
        ("rtdetr-l@batch=x", "a batch of 'x'"),
        ("rtdetr-l@batch=1,", "is not KEY=VALUE,KEY=VALUE"),
        ("rtdetr-l@batch=", "is not KEY=VALUE,KEY=VALUE"),
        ("rtdetr-l@batch=1,batch=1", "batch is given twice"),
        ("rtdetr-l@fuse=true,fused=true", "fused is given twice"),
        ("rtdetr-l@convention=thop", "unknown setting 'convention'"),
        ("rtdetr-l@extra_work=1", "unknown setting 'extra_work'"),
        ("@batch=1", "no model called '@batch=1'"),
        ("a@b@batch=1", "no model called 'a@b'"),
    ],
)
def test_what_stands_behind_the_at_is_checked(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        make_cases([text])
    assert said in str(caught.value)


def test_a_path_may_have_an_at_in_it() -> None:
    assert split_reference("me@home/my.yaml") == ("me@home/my.yaml", {})
    assert split_reference("me@home/my.yaml@nc=3") == ("me@home/my.yaml", {"nc": "3"})


def test_what_is_no_reference_is_said() -> None:
    with pytest.raises(UsageError, match="a int is no reference"):
        make_cases([3])  # type: ignore[list-item]


def test_a_name_says_its_settings_so_that_it_can_be_typed_again() -> None:
    told = {"imgsz": (480, 640), "fused": True, "threads": 2}
    text = named("rtdetr-l", told)
    assert text == "rtdetr-l@imgsz=480x640,fused=true,threads=2"
    assert named(text, {"batch": 8}) == f"{text},batch=8"
    assert named("rtdetr-l", {}) == "rtdetr-l"


EXECUTIONS = st.builds(
    Execution,
    imgsz=st.tuples(st.integers(1, 2000), st.integers(1, 2000)),
    batch=st.integers(1, 64),
    fused=st.booleans(),
    device=st.sampled_from(["cpu", "cuda", "cuda:3"]),
    runtime=st.sampled_from(["eager", "compile", "cudagraph"]),
    dtype=st.sampled_from(DTYPES),
    memory_format=st.sampled_from(MEMORY_FORMATS),
    threads=st.none() | st.integers(1, 64),
    tf32=st.none() | st.booleans(),
    cudnn_benchmark=st.none() | st.booleans(),
    cold_l2=st.booleans(),
    stages=st.booleans(),
)
CASES = st.builds(
    Case,
    st.text(max_size=5),
    st.builds(
        Model,
        st.text(max_size=5),
        st.text(max_size=5),
        st.none() | st.integers(1, 99),
        st.none() | st.text(min_size=1, max_size=5),
        st.none() | st.text(min_size=1, max_size=5),
        st.none() | st.text(min_size=1, max_size=5),
        st.none() | st.text(min_size=1, max_size=5),
        st.booleans(),
        st.integers(0, 9),
        st.lists(st.builds(File, st.text(max_size=5), st.text(max_size=5))).map(tuple),
    ),
    EXECUTIONS,
)


@given(EXECUTIONS)
def test_every_execution_can_be_typed_and_is_read_again(execution: Execution) -> None:
    asked = {
        key: getattr(execution, key)
        for key, one in SETTINGS.items()
        if one.of == "execution" and one.offered and getattr(execution, key) is not None
    }
    reference, texts = split_reference(named("rtdetr-l", asked))
    read = {key: parse_setting(key, text, "x") for key, text in texts.items()}
    assert reference == "rtdetr-l"
    assert Execution(**read) == execution


# --- for a library's caller --------------------------------------------------------------------


def test_a_caller_gives_values_and_lists_of_values() -> None:
    cases, modules = cases_of(["rtdetr-l", Path("models/shufflev2.yaml")], {
        "imgsz": (320, 640), "batch": [1, 8], "fuse": True, "threads": None,
    })  # fmt: skip
    assert modules == {}
    assert names(cases) == [
        "rtdetr-l@batch=1", "models/shufflev2.yaml@batch=1",
        "rtdetr-l@batch=8", "models/shufflev2.yaml@batch=8",
    ]  # fmt: skip
    assert cases[0].execution == Execution(imgsz=(320, 640), fused=True)


def test_one_model_need_not_be_a_list_and_a_case_has_settings_of_its_own() -> None:
    (alone,), _ = cases_of("rtdetr-l", {"imgsz": 320})
    assert alone.execution.imgsz == (320, 320)
    given, _ = cases_of([alone], {"imgsz": 640})
    assert given == (alone,)


class Net:
    """What is taken for a module."""

    def named_parameters(self) -> None: ...


@pytest.mark.parametrize(
    ("models", "called"),
    [
        ([Net(), Net(), Net()], ["Net", "Net-2", "Net-3"]),
        ([Net(), Net(), ("Net-2", Net())], ["Net", "Net-3", "Net-2"]),
        ({"before": Net(), "after": (Net(), 3)}, ["before", "after"]),
        (["rtdetr-l", ("a", Net()), ("b", (Net(), 3))], ["rtdetr-l", "a", "b"]),
    ],
)
def test_modules_have_names(models: Any, called: list[str]) -> None:
    cases, modules = cases_of(models, {})
    assert names(cases) == called
    assert [*modules] == [name for name in called if name != "rtdetr-l"]


@pytest.mark.parametrize(
    ("models", "settings", "said"),
    [
        ({"a@batch=2": Net()}, {}, "'a@batch=2' is no name"),
        ({"": Net()}, {}, "'' is no name"),
        ({"a": "rtdetr-l"}, {}, "a str is no model"),
        ([("a", Net()), ("a", Net())], {}, "a is named twice"),
        ([], {}, "there is no model"),
        ([3], {}, "a int is no model"),
        ("rtdetr-l", {"bacth": 1}, "did you mean batch"),
        ("rtdetr-l", {"batch": 0}, "a batch of '0'"),
        ("rtdetr-l", {"fuse": "maybe"}, "neither true nor false"),
        ("rtdetr-l", {"convention": "thop"}, "unknown setting"),
    ],
)
def test_what_a_caller_gives_is_checked(models: Any, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        cases_of(models, settings)
    assert said in str(caught.value)


# --- which is compared with which --------------------------------------------------------------


def test_a_case_is_compared_with_the_first_of_its_workload() -> None:
    cases = make_cases(
        ["rtdetr-l", "shufflev2", "rtdetr-l@stages=true"],
        {"batch": [1, 8], "runtime": ["eager", "compile"]},
    )
    found = {case.name: baseline_of(case, cases) for case in cases}
    baselines = [name for name, baseline in found.items() if baseline is None]
    assert baselines == [
        "rtdetr-l@batch=1,runtime=eager",
        "rtdetr-l@stages=true,batch=1,runtime=eager",
        "rtdetr-l@batch=8,runtime=eager",
        "rtdetr-l@stages=true,batch=8,runtime=eager",
    ]
    for case in cases:
        baseline = found[case.name]
        if baseline is not None:
            assert baseline.name in baselines
            assert baseline.execution.workload == case.execution.workload


# --- what a case is ----------------------------------------------------------------------------


@given(CASES)
def test_a_case_is_plain_data(case: Case) -> None:
    assert pickle.loads(pickle.dumps(case)) == case
    again = Case.from_dict(json.loads(json.dumps(case.to_dict())))
    assert again == case
    assert hash(again) == hash(case)
    assert again.id == case.id
    assert re.fullmatch("[0-9a-f]{16}", case.id)


@given(CASES, CASES)
def test_a_case_of_other_settings_has_another_id(one: Case, other: Case) -> None:
    kept = dataclasses.replace(other, model=one.model)
    assert (kept.id == one.id) == (kept.execution == one.execution)


CHANGED: dict[str, Any] = {
    "imgsz": (320, 640), "batch": 2, "fused": True, "device": "cuda", "runtime": "compile",
    "dtype": "float16", "memory_format": "channels_last", "threads": 1, "tf32": False,
    "cudnn_benchmark": False, "cold_l2": True, "stages": True, "extra_work": 1,
}  # fmt: skip


def test_the_id_changes_with_every_setting() -> None:
    case = made("rtdetr-l")
    assert set(CHANGED) == {field.name for field in dataclasses.fields(Execution)}
    ids = {case.id, *(case.replace(**{key: value}).id for key, value in CHANGED.items())}
    assert len(ids) == len(CHANGED) + 1
    assert case.with_classes(80).id != case.id
    assert case.with_classes(80).id != case.with_classes(81).id
    reseeded = dataclasses.replace(case, model=dataclasses.replace(case.model, seed=1))
    assert reseeded.id != case.id


def test_the_id_does_not_change_with_what_is_as_usual_or_with_what_tells_it_from_others() -> None:
    case = made("rtdetr-l")
    assert made("rtdetr-l@batch=1,fused=false,device=cpu,seed=0").id == case.id
    assert dataclasses.replace(case, name="rtdetr-l@batch=1,runtime=eager").id == case.id


def test_the_id_is_the_same_in_every_version_that_has_no_other_settings() -> None:
    """Series over months are told apart by it: this one must never change."""
    case = Case("a", Model("a", "a.yaml", files=(File("a.yaml", "0" * 64),)), Execution(batch=8))
    assert case.id == "67c88c4635bd01ab"


def put(folder: Path, **changed: str) -> Case:
    """A case of several files, all in `folder`."""
    texts = {
        "variant": Path("models/rtdetr-l.yaml").read_text(encoding="utf-8"),
        "blocks": "import helper\n",
        "helper": "WIDTH = 8\n",
        "weights": "not really",
        **changed,
    }
    folder.mkdir()
    endings = {"variant": "yaml", "blocks": "py", "helper": "py", "weights": "pth"}
    at = {name: folder / f"{name}.{endings[name]}" for name in texts}
    for name, text in texts.items():
        at[name].write_text(text, encoding="utf-8")
    own = f"blocks={at['blocks']},backbone_weights={at['weights']}"
    return made(f"{at['variant']}@{own}")


def test_the_id_is_of_the_bytes_of_all_files_and_not_of_where_they_lie(tmp_path: Path) -> None:
    case = put(tmp_path / "here")
    assert {Path(file.path).name for file in case.model.files} == {
        "variant.yaml", "blocks.py", "helper.py", "weights.pth",
    }  # fmt: skip
    assert put(tmp_path / "there").id == case.id
    for index, name in enumerate(("variant", "blocks", "helper", "weights")):
        (file,) = (tmp_path / "here").glob(f"{name}.*")
        old = file.read_text(encoding="utf-8")
        assert put(tmp_path / str(index), **{name: f"{old} "}).id != case.id, name


def test_the_id_is_of_the_callable_and_of_what_it_imports(tmp_path: Path) -> None:
    def put_code(folder: str, helper: str, name: str = "make") -> Case:
        (tmp_path / folder).mkdir()
        code = f"import helper\ndef {name}(): ...\n"
        (tmp_path / folder / "mine.py").write_text(code, encoding="utf-8")
        (tmp_path / folder / "helper.py").write_text(helper, encoding="utf-8")
        return made(f"{tmp_path / folder / 'mine.py'}:{name}")

    case = put_code("a", "X = 1\n")
    assert put_code("b", "X = 1\n").id == case.id
    assert put_code("c", "X = 2\n").id != case.id
    assert put_code("d", "X = 1\n", name="other").id != case.id


# --- as rows say it ----------------------------------------------------------------------------


def test_settings_of_a_row_before_anything_is_read_back() -> None:
    case = made("rtdetr-l", nc=3)
    assert case.settings() == {
        "imgsz": "640x640", "batch": 1, "nc": 3, "fused": False, "device": "cpu",
        "dtype": "float32", "memory_format": "contiguous", "runtime": "eager", "threads": None,
    }  # fmt: skip
    assert list(case.settings())[:3] == ["imgsz", "batch", "nc"]
    assert case.settings_of_counts(80) == {
        "imgsz": "640x640", "batch": 1, "nc": 80, "fused": False,
    }  # fmt: skip


def test_a_row_names_what_is_not_as_usual() -> None:
    asked = Execution(stages=True, tf32=True, cold_l2=True, extra_work=5).asked()
    assert (asked["stages"], asked["cold_l2"]) == (True, True)
    assert (asked["tf32_conv"], asked["tf32_matmul"]) == (True, True)
    assert not {"extra_work", "tf32", "cudnn_benchmark"} & set(asked)


@pytest.mark.parametrize(
    "change",
    [
        lambda plain: plain.pop("name"),
        lambda plain: plain.pop("model"),
        lambda plain: plain["execution"].pop("imgsz"),
        lambda plain: plain["execution"].update(imgsz=[640]),
        lambda plain: plain["execution"].update(imgsz=[640, None]),
        lambda plain: plain["execution"].update(later=1),
        lambda plain: plain["execution"].update(fused=1),
        lambda plain: plain["execution"].update(threads="2"),
        lambda plain: plain["model"].update(nc=[]),
        lambda plain: plain["model"].update(files=[{"path": "x"}]),
        lambda plain: plain["model"].update(files=3),
    ],
)
def test_what_is_no_case_is_refused(change: Any) -> None:
    plain = made("rtdetr-l").to_dict()
    change(plain)
    with pytest.raises((TypeError, KeyError, ValueError)):
        Case.from_dict(plain)


def test_a_case_written_before_a_setting_was_invented_has_its_usual_value() -> None:
    plain = made("rtdetr-l", batch=8).to_dict()
    for key in ("cold_l2", "stages", "extra_work"):
        del plain["execution"][key]
    assert Case.from_dict(plain) == made("rtdetr-l", batch=8)
