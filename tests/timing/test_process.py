from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor, nn

from detrbench.core.errors import UsageError
from detrbench.runtimes.options import Options
from detrbench.timing.process import Measurement, Request, StandIn, measure_process, part_name
from detrbench.timing.schedule import Plan
from detrbench.timing.session import Progress

PLAN = Plan(budget_s=None, rounds=6)


class Fusable(nn.Conv2d):
    fused = False

    def __init__(self) -> None:
        super().__init__(3, 2, 1)

    def fuse(self) -> Fusable:
        self.fused = True
        return self


class NotANumber(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.sum() * float("nan")


def request(*models: str, **arguments: object) -> Request:
    return Request(models=models, imgsz=(8, 12), plan=PLAN, **arguments)  # type: ignore[arg-type]


def small(name: str, asked: Request) -> nn.Module:
    return {"conv": Fusable, "nan": NotANumber}[name]()


def test_a_request_survives_json() -> None:
    options = Options("bfloat16", "channels_last")
    asked = request("a", "b", nc=3, threads=2, blocks="mine.py", options=options)
    assert Request.from_json(asked.to_json()) == asked


def test_a_measurement_survives_json_to_the_last_digit() -> None:
    measured = measure_process(request("conv"), build=small)
    again = Measurement.from_json(measured.to_json())
    assert again == measured
    assert all(len(samples) == 6 for samples in again.series[0].samples.values())
    assert json.loads(measured.to_json())["settings"]["runtime"] == "eager"


def test_models_are_measured_in_the_order_asked_for() -> None:
    measured = measure_process(request("nan", "conv"), build=small)
    assert [subject.model for subject in measured.subjects] == ["nan", "conv"]
    assert [series.status for series in measured.series] == ["failed", "ok"]
    assert "NaN" in str(measured.series[0].reason)
    assert measured.series[1].build_s is not None


def test_a_model_that_cannot_be_built_is_a_failed_series() -> None:
    measured = measure_process(request("missing", "conv"), build=small)
    assert measured.series[0].status == "failed"
    assert measured.series[0].reason == "KeyError: 'missing'"
    assert measured.series[1].status == "ok"


def test_nothing_buildable_is_still_a_measurement() -> None:
    measured = measure_process(request("missing"), build=small)
    assert [series.status for series in measured.series] == ["failed"]


def test_a_wrong_request_is_the_callers_error() -> None:
    def build(name: str, asked: Request) -> nn.Module:
        raise UsageError("no such model")

    with pytest.raises(UsageError, match="no such model"):
        measure_process(request("conv"), build=build)


def test_an_interrupt_while_building_times_nothing() -> None:
    def build(name: str, asked: Request) -> nn.Module:
        if name == "second":
            raise KeyboardInterrupt
        return Fusable()

    measured = measure_process(request("first", "second", "third"), build=build)
    assert [series.status for series in measured.series] == ["interrupted"] * 3
    assert "before it was timed" in str(measured.series[0].reason)
    assert "before it was built" in str(measured.series[2].reason)
    assert measured.series[0].latency_s == []


def test_fusing_is_asked_of_the_model() -> None:
    built: list[nn.Module] = []

    def build(name: str, asked: Request) -> nn.Module:
        built.append(Fusable())
        return built[-1]

    measure_process(request("a", fuse=True), build=build)
    measure_process(request("a"), build=build)
    assert [getattr(model, "fused", None) for model in built] == [True, False]


def test_a_model_that_cannot_fuse_says_so() -> None:
    with pytest.raises(UsageError, match="a NotANumber cannot be fused"):
        measure_process(request("nan", fuse=True), build=small)


def test_threads_are_set_before_building_said_and_put_back() -> None:
    before = torch.get_num_threads()
    seen: list[int] = []

    def build(name: str, asked: Request) -> nn.Module:
        seen.append(torch.get_num_threads())
        return Fusable()

    measured = measure_process(request("a", threads=before + 1), build=build)
    assert seen == [before + 1]
    assert measured.settings["threads"] == before + 1
    assert measured.environment["threads"] == before + 1
    assert torch.get_num_threads() == before


def test_progress_begins_with_building() -> None:
    told: list[Progress] = []
    measure_process(request("conv"), build=small, progress=told.append)
    assert told[0].phase == "building"
    assert told[-1].eta_s == 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"models": ()}, "no model"),
        ({"models": ("a", "a")}, "a is named twice"),
        ({"batch": 0}, "a batch of 0"),
        ({"imgsz": (0, 640)}, "an image height of 0"),
        ({"imgsz": (640, -1)}, "an image width of -1"),
        ({"threads": 0}, "0 threads"),
        ({"device": "tpu"}, "unknown device 'tpu'"),
        ({"runtime": "compile", "stages": True}, "no stages under the runtime compile"),
        ({"runtime": "cudagraph"}, "does not run on cpu"),
        ({"options": Options("float8")}, "float8"),
        ({"options": Options(cold_l2=True)}, "a cold L2 cache"),
        ({"runtime": "onnx"}, "unknown runtime 'onnx'"),
    ],
)
def test_requests_that_are_wrong_in_themselves(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        Request(**{"models": ("a",), **arguments})  # type: ignore[arg-type]
    assert caught.value.exit_code == 2


def test_a_detector_in_stages_is_a_whole_and_its_parts() -> None:
    asked = Request(
        ("shufflev2-x0.5",), imgsz=(64, 64), nc=1, threads=1, stages=True,
        plan=Plan(budget_s=None, rounds=2, most_windows=1),
    )  # fmt: skip
    measured = measure_process(asked)
    names = [subject.model for subject in measured.subjects]
    assert names[0] == "shufflev2-x0.5"
    assert names[1:] == [
        part_name("shufflev2-x0.5", part)
        for part in ("preprocess", "backbone", "neck", "decoder", "postprocess")
    ]
    assert [series.status for series in measured.series] == ["ok"] * 6
    assert all(len(series.latency_s) == 2 for series in measured.series)
    whole, *parts = measured.series
    assert whole.weight["peak_rss_growth_bytes"] is not None or whole.unmeasured
    assert not any(part.weight for part in parts)


def test_only_detectors_have_stages() -> None:
    with pytest.raises(UsageError, match="a Fusable has no stages"):
        measure_process(request("conv", stages=True), build=small)


def test_an_extra_burden_is_work_and_leaves_the_outputs_alone() -> None:
    calls: list[int] = []

    class Counted(nn.Conv2d):
        def forward(self, images: Tensor) -> Tensor:
            calls.append(1)
            return super().forward(images)

    asked = Request(
        ("plain", "more"), imgsz=(64, 64), threads=1, weigh=False,
        stand_ins=(StandIn("more", "plain", 300),), plan=Plan(budget_s=None, rounds=6),
    )  # fmt: skip
    measured = measure_process(asked, build=lambda name, _: Counted(3, 2, 1))
    plain, more = measured.series
    assert [subject.model for subject in measured.subjects] == ["plain", "more"]
    assert (plain.status, more.status) == ("ok", "ok")
    assert min(more.latency_s) > min(plain.latency_s), "300 convolutions are not nothing"
