"""The one table of settings: how each is read, spelt and put into words, and what depends on it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detrbench.core.errors import UsageError
from detrbench.machine.devices import KINDS
from detrbench.models.model import Model
from detrbench.reports.case import Execution
from detrbench.reports.parse_cases import parse_setting
from detrbench.reports.settings import (
    DTYPES,
    MEMORY_FORMATS,
    SETTINGS,
    Setting,
    not_of,
    plain_value,
    setting,
    settings_text,
)
from detrbench.runtimes import RUNTIMES

SET = [one for one in SETTINGS.values() if one.of != "reading"]

READ: list[tuple[str, str, Any]] = [
    ("imgsz", "640", (640, 640)),
    ("imgsz", "480x640", (480, 640)),
    ("batch", "8", 8),
    ("nc", "1", 1),
    ("scale", "n", "n"),
    ("fused", "true", True),
    ("fused", "No", False),
    ("device", "cuda:1", "cuda:1"),
    ("dtype", "bfloat16", "bfloat16"),
    ("memory_format", "channels_last", "channels_last"),
    ("runtime", "compile", "compile"),
    ("threads", "4096", 4096),
    ("stages", "1", True),
    ("tf32", "off", False),
    ("cudnn_benchmark", "on", True),
    ("cold_l2", "yes", True),
    ("extra_work", "0", 0),
    ("seed", "0", 0),
    ("blocks", "my blocks.py", "my blocks.py"),
    ("backbone_weights", "w.pth", "w.pth"),
    ("weights", "w.pth", "w.pth"),
    ("trust", "yes", True),
    ("name", "copy", "copy"),
    ("convention", "thop", "thop"),
    ("confirmation", "2", 2),
    ("runtime_version", "onnxruntime 1.32.0", "onnxruntime 1.32.0"),
    ("tf32_conv", "true", True),
    ("tf32_matmul", "false", False),
]

REFUSED: list[tuple[str, str, str]] = [
    ("imgsz", "0", "480x640"),
    ("imgsz", "big", "480x640"),
    ("batch", "0", "a batch of '0' is not a whole number from 1"),
    ("batch", "-1", "not a whole number"),
    ("batch", "1.0", "not a whole number"),
    ("batch", "²", "not a whole number"),
    ("batch", "٣", "not a whole number"),
    ("batch", "9" * 5000, "not a whole number"),
    ("batch", "", "not a whole number"),
    ("nc", "0", "a class count of '0'"),
    ("threads", "4097", "from 1 to 4096"),
    ("seed", "-1", "from 0"),
    ("fused", "maybe", "fused 'maybe' is neither true nor false"),
    ("stages", "", "neither true nor false"),
    ("device", "cdua", "did you mean cuda"),
    ("device", "cuda:x", "unknown device"),
    ("dtype", "float8", "did you mean float"),
    ("memory_format", "chanels_last", "did you mean channels_last"),
    ("runtime", "", "a value is empty"),
    ("name", "", "a value is empty"),
]


@pytest.mark.parametrize(("key", "text", "value"), READ)
def test_a_text_is_read_as_the_value_of_its_setting(key: str, text: str, value: Any) -> None:
    parsed = SETTINGS[key].parse(text)
    assert parsed == value
    assert type(parsed) is type(value)


def test_every_setting_is_read_above() -> None:
    assert {key for key, _, _ in READ} == set(SETTINGS)


@pytest.mark.parametrize(("key", "text", "said"), REFUSED)
def test_what_is_no_value_is_refused_with_what_was_typed(key: str, text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_setting(key, text, f"--{key}")
    assert said in str(caught.value)
    assert caught.value.where == f"--{key}"
    assert caught.value.hint
    assert caught.value.exit_code == 2


@given(key=st.sampled_from(list(SETTINGS)), text=st.text(max_size=8))
def test_any_text_is_a_value_or_refused(key: str, text: str) -> None:
    try:
        value = SETTINGS[key].parse(text)
    except UsageError:
        return
    assert SETTINGS[key].words(value)


# --- how they are called -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spelt", "key"),
    [
        ("fused", "fused"), ("fuse", "fused"), ("memory_format", "memory_format"),
        ("memory-format", "memory_format"), ("cold-l2", "cold_l2"), ("nc", "nc"), ("name", "name"),
    ],
)  # fmt: skip
def test_a_setting_is_found_by_each_of_its_spellings(spelt: str, key: str) -> None:
    assert setting(spelt) is SETTINGS[key]


@pytest.mark.parametrize(
    ("spelt", "near"),
    [
        ("bacth", "batch"), ("thread", "threads"), ("memoryformat", "memory_format"),
        ("runtimes", "runtime"), ("tf23", "tf32"), ("stage", "stages"),
    ],
)  # fmt: skip
def test_an_unknown_setting_suggests_the_nearest(spelt: str, near: str) -> None:
    with pytest.raises(UsageError, match=f"unknown setting '{spelt}'") as caught:
        setting(spelt, where=f"rtdetr-l@{spelt}=1")
    assert near in str(caught.value.hint)
    assert caught.value.where == f"rtdetr-l@{spelt}=1"


@pytest.mark.parametrize("key", ["convention", "confirmation", "tf32_conv", "extra_work"])
def test_what_is_only_read_back_or_our_own_cannot_be_set(key: str) -> None:
    with pytest.raises(UsageError, match="unknown setting") as caught:
        setting(key)
    assert key not in str(caught.value.hint)


def test_flags_have_dashes_and_their_usual_names() -> None:
    flags = {key: one.flag for key, one in SETTINGS.items()}
    assert flags["fused"] == "--fuse"
    assert flags["memory_format"] == "--memory-format"
    assert flags["imgsz"] == "--imgsz"
    assert len(set(flags.values())) == len(flags)


def test_every_setting_that_users_may_set_is_explained() -> None:
    for one in SET:
        if one.offered:
            assert one.help.endswith((".", "]")), one.key
            switch = {one.default} <= {None, False} and not one.metavar
            assert one.metavar or switch, one.key


# --- the table and what is made of it ----------------------------------------------------------


def test_every_field_of_an_execution_has_a_line_and_every_line_a_field() -> None:
    fields = {field.name: field.default for field in dataclasses.fields(Execution)}
    lines = {key: one.default for key, one in SETTINGS.items() if one.of == "execution"}
    assert fields == lines, "names and usual values"


def test_every_field_of_a_model_that_can_be_set_has_a_line_and_every_line_a_field() -> None:
    fields = {field.name: field.default for field in dataclasses.fields(Model)}
    found = {key: one.default for key, one in SETTINGS.items() if one.of == "model"}
    assert set(found) == set(fields) - {"reference", "files"}
    assert {key: fields[key] for key in found if key != "name"} == {
        key: default for key, default in found.items() if key != "name"
    }


def test_values_and_devices_and_runtimes_that_the_table_names_exist() -> None:
    assert SETTINGS["dtype"].default in DTYPES
    assert SETTINGS["memory_format"].default in MEMORY_FORMATS
    for one in SETTINGS.values():
        assert set(one.devices or ()) <= set(KINDS)
        assert set(one.runtimes or ()) <= set(RUNTIMES)


def test_what_no_count_and_what_no_time_depends_on() -> None:
    assert not_of("counts") == {
        "convention", "device", "dtype", "memory_format", "runtime", "runtime_version", "threads",
        "stages", "tf32", "tf32_conv", "tf32_matmul", "cudnn_benchmark", "cold_l2", "extra_work",
        "backbone_weights", "weights", "trust", "seed", "name",
    }  # fmt: skip
    assert not_of("time") == {"convention", "seed", "trust"}


def test_what_makes_a_workload_of_its_own() -> None:
    apart = {one.key for one in SETTINGS.values() if not one.comparable}
    assert apart == {"imgsz", "batch", "stages"}
    usual, other = Execution(), Execution(device="cuda", runtime="compile", threads=1, fused=True)
    assert usual.workload == other.workload == ((640, 640), 1, False)
    assert Execution(batch=8).workload != usual.workload


# --- words -------------------------------------------------------------------------------------

ROW = {
    "runtime": "eager", "threads": 2, "device": "cpu", "fused": False, "nc": 80, "batch": 1,
    "imgsz": "640x640", "memory_format": "contiguous", "dtype": "float32", "convention": "core",
}  # fmt: skip


def test_settings_are_told_in_the_order_of_the_table() -> None:
    assert settings_text(ROW) == (
        "image 640x640, batch 1, nc=80, unfused, convention core, on cpu, float32, contiguous, "
        "eager, 2 threads"
    )
    assert settings_text({"imgsz": "320x320", "convention": "thop"}, short=True) == "320x320, thop"


def test_settings_that_nobody_knows_follow_and_missing_ones_are_not_told() -> None:
    assert settings_text({"zeta": 1, "batch": 2, "alpha": "x", "nc": None}) == (
        "batch 2, zeta=1, alpha=x"
    )
    assert settings_text({}) == ""


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("fused", True, "fused"),
        ("threads", 1, "1 thread"),
        ("stages", True, "stages timed"),
        ("stages", False, "stages not timed"),
        ("confirmation", None, ""),
        ("confirmation", 2, "run 2"),
        ("runtime_version", "openvino 2026.4", "openvino 2026.4"),
        ("tf32_conv", True, "tf32_conv=True"),
        ("cold_l2", True, "cold_l2=True"),
        ("seed", 3, "seed 3"),
    ],
)
def test_a_setting_in_words(key: str, value: Any, text: str) -> None:
    assert settings_text({key: value}) == text


def test_what_goes_without_saying_behind_a_name_leaves_no_comma() -> None:
    settings = {"runtime": "openvino", "runtime_version": "openvino 2026.4", "threads": 2}
    assert settings_text(settings, short=True) == "openvino, 2 threads"


@pytest.mark.parametrize("one", SET, ids=[one.key for one in SET])
def test_every_usual_value_can_be_told(one: Setting) -> None:
    assert settings_text({one.key: plain_value(one.key, one.default)}) or one.default is None


def test_rows_hold_an_image_size_as_text_and_anything_else_as_it_is() -> None:
    assert plain_value("imgsz", (480, 640)) == "480x640"
    assert plain_value("imgsz", "480x640") == "480x640"
    assert plain_value("batch", 8) == 8
