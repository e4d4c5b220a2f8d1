"""Predictions: floors by class by hand, coefficients that are known, and what is refused."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from detrbench import trace
from detrbench.analysis import predict as predicting
from detrbench.analysis import predict_tables
from detrbench.analysis.predict import (
    CLASSES,
    GROUPED,
    LAUNCHED,
    LEAST,
    MOVED,
    POINTWISE,
    PRODUCTS,
    SHARE,
    WIDE,
    Learned,
    Lesson,
    class_floors,
    fit,
    floors_of,
    learn,
    measured_in,
    predict,
    short_text,
    what_is_predicted,
)
from detrbench.analysis.probe.ceilings import Ceiling, Ceilings
from detrbench.analysis.probe.device_profile import DeviceProfile, keep
from detrbench.cli import main
from detrbench.cli.predict import predict as predict_command
from detrbench.core.errors import DetrbenchError, UsageError
from detrbench.core.units import show_imgsz, show_part
from detrbench.counting import profiling
from detrbench.machine.circumstances import (
    Circumstances,
    circumstances_from,
    circumstances_of,
)
from detrbench.machine.threads import allowed_threads
from detrbench.machine.validity import Entry
from detrbench.render import FORMATS
from detrbench.reports.case import Case
from detrbench.reports.parse_cases import make_cases
from detrbench.reports.report import Report, Result
from tests.counting.once import counted_once

VALUES = {"convolution": 100e9, "matmul": 50e9, "memory": 10e9, "cache": 40e9, "dispatch": 10e-6}
CEILINGS = Ceilings(
    {name: Ceiling(name, value, 0.9 * value, 1.1 * value) for name, value in VALUES.items()},
    cache_bytes=2**20,
)
SETTINGS = {"device": "cpu", "dtype": "float32", "memory_format": "contiguous", "threads": 2}
PROFILE = DeviceProfile(
    SETTINGS,
    {"processor": "x"},
    CEILINGS,
    12,
    "2026-01-02T03:04:05+00:00",
    circumstances=Circumstances(),
)
OTHERS = dataclasses.asdict(Entry(cpus=2, own_cpu_s=10.0, foreign_cpu_s=8.0))
"""Of ten seconds in which others used 40 % of the processors."""

WAITING = dataclasses.asdict(Entry(cpus=2, own_cpu_s=1.0, waited_s=9.0))
BUSY = dataclasses.replace(PROFILE, circumstances=circumstances_of([(OTHERS, 10.0)]))

MODELS = ("rtdetr-l", "shufflev2", "shufflev2-x0.5", "mobilenetv2-x0.6", "densenet")
KNOWN = {WIDE: 1.2, POINTWISE: 1.5, GROUPED: 3.0, PRODUCTS: 1.4, MOVED: 2.0, LAUNCHED: 4.0}


@pytest.fixture(autouse=True, scope="module")
def each_case_is_counted_once() -> Iterator[None]:
    """Whoever asks: every lesson wants the floors of the same models again."""
    with counted_once(profiling):
        yield


def measured_with(known: dict[str, float]) -> dict[Case, float]:
    """Latencies of a device for which the model of the world is exactly true."""
    found = {}
    for model in MODELS:
        for size in (64, 128):
            case = what_is_predicted(model, (size, size), nc=1)
            floors = floors_of(case, PROFILE)
            found[case] = sum(known[name] * floors[name] for name in CLASSES)
    return found


@pytest.fixture(scope="module")
def measured() -> dict[Case, float]:
    return measured_with(KNOWN)


@pytest.fixture(scope="module")
def lesson(measured: dict[Case, float]) -> Lesson:
    return learn(measured, PROFILE)


# --- floors by class -----------------------------------------------------------------------------


def test_floors_by_class_by_hand() -> None:
    block = nn.Sequential(
        nn.Conv2d(64, 64, 3, padding=1, bias=False),
        nn.Conv2d(64, 64, 1, bias=False),
        nn.Conv2d(64, 64, 3, padding=1, groups=64, bias=False),
        nn.ReLU(),
        nn.Linear(40, 40, bias=False),
    )
    floors = class_floors(trace(block, imgsz=40, channels=64).ops, CEILINGS)
    cells, image = 1600, 4 * 64 * 1600
    assert floors[WIDE] == pytest.approx(2 * cells * 64 * 64 * 9 / 100e9)
    assert floors[POINTWISE] == pytest.approx(2 * cells * 64 * 64 / 100e9)
    # 1.8 MFLOP in 18 us, but 0.8 MB in 20 us from the cache, which they fit.
    assert floors[GROUPED] == pytest.approx((2 * image + 4 * 64 * 9) / 40e9)
    assert floors[MOVED] == pytest.approx(2 * image / 40e9)
    assert floors[PRODUCTS] == pytest.approx(2 * 64 * 40 * 40 * 40 / 50e9)
    assert floors[LAUNCHED] == pytest.approx(5 * 10e-6)


def test_the_profile_s_number_format_is_traced() -> None:
    half = dataclasses.replace(PROFILE, settings={**SETTINGS, "dtype": "bfloat16"})
    case = what_is_predicted("shufflev2-x0.5", (64, 64), nc=1)
    # Halving every element halves what is bound by traffic.
    assert floors_of(case, half)[MOVED] < 0.8 * floors_of(case, PROFILE)[MOVED]


# --- learning ------------------------------------------------------------------------------------


def test_known_coefficients_are_found_again(lesson: Lesson) -> None:
    # The pull to a common coefficient keeps them from being exact.
    assert lesson.median_error < 0.02
    assert lesson.bar < 0.10
    for one in lesson.models:
        assert one.fitted_s == pytest.approx(one.measured_s, rel=0.03)


def test_no_coefficient_is_below_its_least() -> None:
    """The first class takes less than its floor here, which nothing does."""
    seen = []
    for first, second in ((1.0, 1.0), (2.0, 1.0), (1.0, 3.0), (3.0, 2.0)):
        floors = {**dict.fromkeys(CLASSES, 0.0), WIDE: first, MOVED: second}
        seen.append((floors, 4 * second + 0.3 * first))
    found = fit(seen)
    assert all(found[name] >= LEAST[name] for name in CLASSES)
    assert found[WIDE] == 1
    assert found[MOVED] > 1


def test_launches_may_be_hidden_behind_what_they_start() -> None:
    seen = []
    for work, launches in ((1.0, 1.0), (2.0, 1.0), (1.0, 0.5), (3.0, 2.0)):
        floors = {**dict.fromkeys(CLASSES, 0.0), WIDE: work, LAUNCHED: launches}
        seen.append((floors, 1.5 * work))
    assert fit(seen)[LAUNCHED] == pytest.approx(0, abs=0.05)


def test_classes_that_nobody_has_take_the_common_coefficient() -> None:
    seen = [({**dict.fromkeys(CLASSES, 0.0), WIDE: each}, 1.5 * each) for each in (1.0, 2.0, 3.0)]
    assert fit(seen) == pytest.approx(dict.fromkeys(CLASSES, 1.5))


def test_errors_are_those_of_models_left_out(measured: dict[Case, float]) -> None:
    """One model that is not like the others is not predicted by them, however well it is fitted."""
    odd = {
        one: seconds * (3 if one.model.name == "densenet" else 1)
        for one, seconds in measured.items()
    }
    found = learn(odd, PROFILE)
    errors = {one.case: one.error for one in found.models}
    for case, error in errors.items():
        if case.model.name == "densenet":
            assert error < -0.5
    assert found.bar > 0.4


def test_statistics_of_a_lesson_by_hand() -> None:
    models = tuple(
        Learned(what_is_predicted(str(n)), 1.0, 1.0, 1 + error)
        for n, error in enumerate((0.1, -0.2, 0.0, 0.05, -0.15))
    )
    found = Lesson(dict.fromkeys(CLASSES, 1.0), models)
    assert found.median_error == pytest.approx(0.1)
    assert found.bar == pytest.approx(0.18)  # 90 % of 0, 0.05, 0.1, 0.15, 0.2


def test_a_lesson_survives_the_journey(lesson: Lesson, tmp_path: Path) -> None:
    path = tmp_path / "device.json"
    dataclasses.replace(PROFILE, learned=lesson.to_dict()).save(path)
    again = DeviceProfile.load(path).learned
    assert again is not None
    assert Lesson.from_dict(again, "x") == lesson
    assert again["median_abs_error"] == lesson.median_error
    with pytest.raises(UsageError, match="cannot be read"):
        Lesson.from_dict({"models": [], "coefficients": {}}, "x")


def test_a_profile_holds_settings_as_it_always_has(lesson: Lesson) -> None:
    first = lesson.to_dict()["models"][0]
    assert list(first) == ["settings", "measured_s", "fitted_s", "left_out_s"]
    assert first["settings"] == {
        "model": "rtdetr-l",
        "imgsz": [64, 64],
        "batch": 1,
        "nc": 1,
        "fuse": False,
        "blocks": None,
    }


def test_what_was_learned_before_there_were_cases_is_read() -> None:
    """Of a saved profile, as it is."""
    (folder,) = (Path(__file__).parents[2] / "reports").glob("*-predict")
    plain = DeviceProfile.load(folder / "device.json").learned
    assert plain is not None
    found = Lesson.from_dict(plain, "x")
    assert found.to_dict() == {**plain, "circumstances": None}
    assert not found.beneath
    assert {short_text(one.case) for one in found.models} == {"320x320, nc=80"}


# --- a fit that fails ----------------------------------------------------------------------------


@pytest.fixture
def alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model has a floor of 10 ms in each class, and nothing is traced."""
    floors = dict.fromkeys(CLASSES, 0.01)
    monkeypatch.setattr(predicting, "floors_of", lambda *_: floors)


def timed(*seconds: float) -> dict[Case, float]:
    return {what_is_predicted(name): one for name, one in zip(MODELS, seconds, strict=False)}


@pytest.mark.usefixtures("alike")
def test_what_takes_less_than_its_floor_teaches_nothing() -> None:
    """Ceilings of a busy machine, for instance: models seem to undercut them."""
    odd = timed(0.1, 0.1, 0.03)
    said = "the fit fails and is not kept: shufflev2-x0.5 takes 30.0 ms, less than its floor of 50"
    with pytest.raises(DetrbenchError, match=re.escape(said)):
        learn(odd, PROFILE)
    with pytest.raises(DetrbenchError, match=r"; ceilings measured on a busy machine \(foreign wo"):
        learn(odd, BUSY)
    assert learn(timed(0.1, 0.1, 0.049), PROFILE).coefficients[WIDE] >= 1, "a ceiling scatters"


@pytest.mark.usefixtures("alike")
def test_a_fit_without_an_end_to_its_error_bar_fails() -> None:
    with pytest.raises(DetrbenchError, match=r"models predicted from the others are .*% off"):
        learn(timed(0.08, 0.8, 9.0, 9.0), PROFILE)


@pytest.mark.usefixtures("alike")
@pytest.mark.parametrize("remembered", [False, True])
def test_a_fit_that_fails_leaves_the_profile_as_it_was(
    remembered: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    device, run = tmp_path / "device.json", tmp_path / "run.json"
    here = dataclasses.replace(PROFILE, settings={**SETTINGS, "threads": allowed_threads()})
    here.save(device)
    path = keep(here) if remembered else device
    before = path.read_bytes()
    settings = here.settings
    rows = tuple(a_row(case.name, 0.03, **settings) for case in timed(0.03, 0.03, 0.03))
    Report(rows, environment={"processor": "x"}).save(run)
    named = [] if remembered else ["--device-profile", str(device)]
    assert main(["predict", "--learn", str(run), *named]) == 4
    told = capsys.readouterr()
    assert "the fit fails and is not kept" in told.err
    assert "kept in" not in told.err
    assert path.read_bytes() == before


def test_too_few_models_teach_nothing(measured: dict[Case, float]) -> None:
    few = {one: seconds for one, seconds in measured.items() if one.model.name in MODELS[:2]}
    with pytest.raises(UsageError, match="2 models"):
        learn(few, PROFILE)


# --- predicting ----------------------------------------------------------------------------------


def test_a_model_that_was_never_measured_is_predicted(lesson: Lesson) -> None:
    case = what_is_predicted("shufflev1", (96, 96), nc=1)
    found = predict(case, PROFILE, lesson)
    floors = floors_of(case, PROFILE)
    truth = sum(KNOWN[name] * floors[name] for name in CLASSES)
    assert found.seconds == pytest.approx(truth, rel=0.05)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.seconds < found.high
    assert sum(found.by_class.values()) == pytest.approx(found.seconds)


def test_without_a_lesson_the_floor_is_all_there_is() -> None:
    case = what_is_predicted("shufflev2-x0.5", (64, 64), nc=1)
    found = predict(case, PROFILE, None)
    assert found.seconds == pytest.approx(sum(floors_of(case, PROFILE).values()))
    assert (found.low, found.high) == (None, None)


def test_only_what_is_not_usual_is_said_of_a_case() -> None:
    assert short_text(what_is_predicted("m")) == "640x640"
    case = what_is_predicted("m", (480, 640), 8, 1, True)
    assert short_text(case) == "480x640, batch 8, nc=1, fused"


@pytest.mark.parametrize(
    "asked", ["threads=1", "dtype=bfloat16", "runtime=compile", "device=cuda", "stages=true"]
)
def test_what_only_another_profile_could_tell_is_refused(asked: str) -> None:
    (case,) = make_cases([f"shufflev2-x0.5@{asked}"])
    with pytest.raises(UsageError, match="the settings of its profile") as caught:
        predict(case, PROFILE, None)
    assert caught.value.where == f"shufflev2-x0.5@{asked}"
    assert "2 threads" in (caught.value.hint or "")


def test_what_the_profile_is_of_may_be_said() -> None:
    plain, told = make_cases(["shufflev2-x0.5", "shufflev2-x0.5@threads=2"], {"imgsz": [(64, 64)]})
    assert predict(told, PROFILE, None).seconds == predict(plain, PROFILE, None).seconds


# --- what the measurements behind it were like ---------------------------------------------------

LITTLE = ["shufflev2-x0.5", "--imgsz", "64", "--nc", "1"]


def predicted(profile: DeviceProfile, path: Path, format: str) -> int:
    profile.save(path)
    return main(["predict", *LITTLE, "--device-profile", str(path), "--format", format])


@pytest.mark.parametrize("format", FORMATS)
def test_the_least_latency_is_not_said_by_the_ceilings_of_a_busy_machine(
    format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predicted(BUSY, tmp_path / "device.json", format) == 0
    told = capsys.readouterr().out
    assert "measured on a busy machine" in told
    assert "foreign work" in told
    assert "least latency" not in told.lower()
    if format == "json":
        (one,) = json.loads(told)["predictions"]
        assert (one["seconds"], one["by_class"]) == (None, {})
        assert one["missing"].startswith("ceilings measured on a busy machine")
    if format == "csv":
        names, values = csv.reader(io.StringIO(told))
        one = dict(zip(names, values, strict=True))
        assert (one["predicted_s"], one[f"{LAUNCHED}_s"]) == ("", "")
        assert one["missing"] == "ceilings measured on a busy machine (foreign work)"
    if format in ("table", "markdown"):
        assert "No latency: ceilings measured" in told
        assert "n/a" in told


@pytest.mark.parametrize(
    ("circumstances", "title"),
    [(Circumstances(), "The least latency, by floors alone: "), (None, "Floors alone: ")],
)
def test_the_least_latency_is_said_by_those_of_a_machine_known_to_be_quiet(
    circumstances: Circumstances | None,
    title: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    profile = dataclasses.replace(PROFILE, circumstances=circumstances)
    assert predicted(profile, tmp_path / "device.json", "table") == 0
    told = " ".join(capsys.readouterr().out.split())
    assert title in told
    assert ("was not kept" in told) is (circumstances is None)


def test_a_prediction_that_was_learned_says_how_its_ceilings_were_measured(
    lesson: Lesson, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learned = dataclasses.replace(lesson, circumstances=circumstances_of([(OTHERS, 10.0)]))
    marked = dataclasses.replace(BUSY, learned=learned.to_dict())
    assert predicted(marked, tmp_path / "device.json", "table") == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "error bar" in told
    assert "ceilings measured on a busy machine (foreign work): what it did then" in told
    assert "models to learn from measured on a busy machine (foreign work)" in told
    older = dataclasses.replace(lesson, coefficients={**lesson.coefficients, WIDE: 0.5})
    old = dataclasses.replace(PROFILE, learned=older.to_dict())
    assert predicted(old, tmp_path / "device.json", "table") == 0
    assert f"{WIDE} are given less time than their floor" in capsys.readouterr().out


def test_each_runtime_has_a_lesson_of_its_own(
    lesson: Lesson, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A planned graph does element-wise work in other kernels: less than its floor makes sense."""
    folding = measured_with({**dict.fromkeys(CLASSES, 1.1), MOVED: 0.1, LAUNCHED: 0.0})
    found = learn(folding, PROFILE, runtime="openvino")
    assert found.coefficients[MOVED] < 1
    assert not found.beneath
    both = PROFILE.with_lesson("eager", lesson.to_dict())
    both = both.with_lesson("openvino", found.to_dict())
    file = tmp_path / "device.json"
    both.save(file)
    kept = DeviceProfile.load(file)
    assert kept.learned == lesson.to_dict()
    assert Lesson.from_dict(kept.learned_under["openvino"], "x").runtime == "openvino"
    case = next(iter(folding))
    quicker, usual = (predict(case, PROFILE, one, one.runtime) for one in (found, lesson))
    assert (quicker.seconds or 0) < (usual.seconds or 0)
    asked = ["predict", *LITTLE, "--device-profile", str(file), "--runtime"]
    assert main([*asked, "openvino"]) == 0
    assert "openvino" in capsys.readouterr().out.partition("\n")[0]
    assert main([*asked, "onnxruntime", "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["runtime"] == "onnxruntime"
    assert told["predictions"][0]["seconds"] is None
    assert told["predictions"][0]["missing"].startswith("nothing was learned under onnxruntime")
    assert main([*asked, "tensorrt"]) == 2


def test_a_runtime_is_learned_from_its_own_rows() -> None:
    rows = (a_row(), a_row("rtdetr-l", runtime="openvino"))
    found, (left,), _ = measured_in({"a.json": Report(rows)}, PROFILE, "openvino")
    assert [case.name for case in found] == ["rtdetr-l"]
    assert left == "a.json: shufflev2: runtime eager, and this learns of openvino: --runtime"


def watched(*ledgers: dict[str, Any]) -> dict[str, Any]:
    return {"ledger": list(ledgers), "timed_s": [10.0] * len(ledgers)}


def test_what_a_spoilt_run_measured_is_not_learned_from_and_the_rest_is_marked() -> None:
    rows = (
        dataclasses.replace(a_row(), samples=watched(OTHERS, OTHERS)),
        dataclasses.replace(a_row("rtdetr-l"), samples=watched(OTHERS, OTHERS)),
        dataclasses.replace(a_row("shufflev1"), samples=watched(WAITING, OTHERS)),
    )
    found, (left,), seen = measured_in({"a.json": Report(rows)}, PROFILE)
    assert [case.name for case in found] == ["shufflev2", "rtdetr-l"]
    assert left.startswith("a.json: shufflev1: its latency says nothing: contended in 1 of 2 proc")
    assert seen is not None
    assert seen.disturbed == "on a busy machine (foreign work)"
    lesson = Lesson(dict.fromkeys(CLASSES, 1.0), (), seen)
    assert circumstances_from(lesson_kept(lesson)) == seen


def lesson_kept(lesson: Lesson) -> Any:
    models = (Learned(what_is_predicted("m"), 1.0, 1.0, 1.0),)
    kept = dataclasses.replace(lesson, models=models).to_dict()
    return json.loads(json.dumps(kept))["circumstances"]


def test_the_share_within_the_error_bar_is_one_number(
    lesson: Lesson, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict_tables, "SHARE", 0.75)
    (table,) = predict_tables.document(PROFILE, [], lesson, learned_now=True).tables
    assert "; 75% within " in table.notes[0]
    assert predict_command.__doc__ is not None
    assert f"holds {show_part(SHARE)} of those models" in predict_command.__doc__


# --- reports to learn from -----------------------------------------------------------------------


def a_row(model: str = "shufflev2", seconds: float | None = 0.1, **settings: object) -> Result:
    usual = {"imgsz": "64x64", "batch": 1, "nc": 1, "fused": False, "runtime": "eager", **SETTINGS}
    return Result(model, model, {**usual, **settings}, {"latency_median_s": seconds})


def test_only_what_was_measured_alike_is_learned_from() -> None:
    rows = (
        a_row(),
        a_row(seconds=None),
        a_row(threads=1),
        a_row(runtime="compile"),
        a_row(stages=True),
        a_row("no-such-model"),
        a_row("shufflev2-x0.5", imgsz="65x65"),
        a_row("rtdetr-l", fused=True, seconds=0.2),
    )
    found, left, seen = measured_in({"a.json": Report(rows), "b.json": Report(rows[:1])}, PROFILE)
    assert found == {
        what_is_predicted("shufflev2", (64, 64), 1, 1): 0.1,
        what_is_predicted("rtdetr-l", (64, 64), 1, 1, True): 0.2,
    }
    assert [each.split(": ", 2)[2].split(",")[0].split(" ")[0] for each in left[:4]] == [
        "no",
        "threads",
        "runtime",
        "its",
    ]
    assert len(left) == 7
    assert "earlier report" in left[-1]
    assert seen is None, "nobody kept a ledger"


def test_rows_that_name_their_case_are_learned_from_like_those_that_do_not() -> None:
    settings = {"imgsz": [(64, 64)], "nc": [1]}
    case, copy = make_cases(["shufflev2", "shufflev2@name=copy"], settings)
    rows = (
        dataclasses.replace(a_row(), case=case),
        dataclasses.replace(a_row("copy"), case=copy),
    )
    found, left, _ = measured_in({"a.json": Report(rows), "b.json": Report((a_row(),))}, PROFILE)
    assert found == {what_is_predicted("shufflev2", (64, 64), 1, 1): 0.1}
    assert [each.split(": ")[-1] for each in left] == ["stands in an earlier report"] * 2


def test_code_is_run_for_a_report_only_if_it_is_what_was_measured(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text("from torch import nn\ndef make():\n    return nn.Conv2d(3, 8, 3)\n")
    (case,) = make_cases([f"{file}:make"], {"imgsz": [(64, 64)]})
    row = dataclasses.replace(a_row(case.model.name, nc=None), case=case)
    (found,), left, _ = measured_in({"a.json": Report((row,))}, PROFILE)
    assert (found.model.reference, left) == (case.model.reference, [])
    unsaid = dataclasses.replace(row, case=None)
    file.write_text("raise SystemExit('run')\ndef make(): ...\n")
    for other in (row, unsaid):
        found_now, (why,), _ = measured_in({"a.json": Report((other,))}, PROFILE)
        assert not found_now
        assert "is not the code that was measured" in why


UNKNOWN = """
import torch
from torch import nn

class Net(nn.Conv2d):
    def __init__(self):
        super().__init__(3, 8, 3)

    def forward(self, x):
        return torch.special.i0e(super().forward(x))
"""


def test_a_model_that_is_not_wholly_counted_teaches_nothing(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(UNKNOWN)
    (case,) = make_cases([f"{tmp_path}/net.py:Net"], {"imgsz": [(64, 64)]})
    row = dataclasses.replace(a_row(case.model.name, nc=None), case=case)
    found, (why,), _ = measured_in({"a.json": Report((row,))}, PROFILE)
    assert not found
    assert "no formula for aten.special_i0e: 1 of 2 kernels" in why


@pytest.mark.parametrize("format", FORMATS)
def test_a_prediction_of_what_is_not_wholly_counted_says_so(
    format: str, lesson: Lesson, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.py").write_text(UNKNOWN)
    dataclasses.replace(PROFILE, learned=lesson.to_dict()).save(tmp_path / "device.json")
    command = ["predict", f"{tmp_path}/net.py:Net", "--imgsz", "64"]
    command += ["--device-profile", str(tmp_path / "device.json"), "--format", format]
    assert main(command) == 4
    told = " ".join(capsys.readouterr().out.split())
    assert "partial" in told
    assert "special" in told
    if format == "json":
        (one,) = json.loads(told)["predictions"]
        assert (one["status"], one["low"], one["high"]) == ("partial", None, None)


def test_another_machine_s_report_is_refused() -> None:
    other = Report((a_row(),), environment={"processor": "y"})
    with pytest.raises(UsageError, match=r"processor \(y, x\)"):
        measured_in({"a.json": other}, PROFILE)


# --- the command ---------------------------------------------------------------------------------


def test_learn_then_predict(
    measured: dict[Case, float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    device, run = tmp_path / "device.json", tmp_path / "run.json"
    PROFILE.save(device)
    assert main(["predict", "rtdetr-x", "--device-profile", str(device), "--imgsz", "64"]) == 0
    told = capsys.readouterr().out
    assert "by floors alone" in told
    assert "--learn" in told
    rows = tuple(
        a_row(one.model.name, seconds, imgsz=show_imgsz(one.execution.imgsz))
        for one, seconds in measured.items()
    )
    Report(rows, environment={"processor": "x"}).save(run)
    assert main(["predict", "--learn", str(run), "--device-profile", str(device)]) == 0
    told = capsys.readouterr().out
    assert "median absolute error" in told
    assert "densenet" in told
    assert json.loads(device.read_text())["learned"]["median_abs_error"] < 0.02
    asked = ["predict", "rtdetr-x", "--device-profile", str(device), "--imgsz", "64"]
    assert main([*asked, "--format", "csv"]) == 0
    names = capsys.readouterr().out.splitlines()[0].split(",")
    assert names[:5] == ["model", "settings", "predicted_s", "low_s", "high_s"]
    several = ["shufflev2-x0.5@nc=1", "--batch", "1,2", "--format", "csv"]
    assert main(["predict", *several, "--device-profile", str(device), "--imgsz", "64"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.rpartition('"')[0] for line in lines] == [
        'shufflev2-x0.5,"64x64, nc=1',
        'shufflev2-x0.5,"64x64, batch 2, nc=1',
    ]
    assert main(asked) == 0
    told = capsys.readouterr().out
    assert "error bar" in told
    assert "Made by detrbench" in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no model to predict"),
        (["rtdetr-l"], "has not been probed"),
        (["rtdetr-l", "--device-profile", "absent.json"], "absent.json is not a file that can"),
        (["rtdetr-m"], "did you mean"),
        (["--learn", "absent.json"], "--learn: absent.json is not a file that can be read"),
    ],
)
def test_what_cannot_be_is_said(
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert main(["predict", *arguments]) == 2
    assert said in capsys.readouterr().err
