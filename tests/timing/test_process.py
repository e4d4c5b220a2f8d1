from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from detrbench.core.errors import UsageError
from detrbench.models.sources.built import Built
from detrbench.reports.case import Case
from detrbench.reports.parse_cases import make_cases
from detrbench.timing.journal import Journal, read_journal
from detrbench.timing.process import Measurement, Request, measure_process, part_name
from detrbench.timing.records import Outcome
from detrbench.timing.rounds import OUT_OF_TIME, Progress
from detrbench.timing.selfcheck import case_with_load
from detrbench.timing.stop_rules import Plan
from tests.timing.fakes import FakeClock
from tests.timing.runs import asked, case

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
    return asked(*models, imgsz=(8, 12), plan=PLAN, **arguments)


def small(case: Case) -> Built:
    return fused_if_asked(case, {"conv": Fusable, "nan": NotANumber}[case.name]())


def fused_if_asked(case: Case, module: nn.Module) -> Built:
    built = Built(module, case.name)
    return built.fused() if case.execution.fused else built


def by_json(made: Request | Measurement) -> dict[str, Any]:
    """Plain data, as it is read from a disk."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(made)))
    return plain


def test_a_request_survives_json() -> None:
    other = case("b", nc=3, dtype="bfloat16", memory_format="channels_last", threads=2)
    made = dataclasses.replace(request("a"), cases=(case("a"), other), resources=False)
    assert Request.from_dict(by_json(made)) == made


def test_a_measurement_survives_json_to_the_last_digit() -> None:
    measured = measure_process(request("conv"), build=small)
    again = Measurement.from_dict(by_json(measured))
    assert again == measured
    assert all(len(samples) == 6 for samples in again.series[0].samples.values())
    assert again.subjects[0].settings["runtime"] == "eager"


def test_models_are_measured_in_the_order_asked_for() -> None:
    measured = measure_process(request("nan", "conv"), build=small)
    assert [subject.case for subject in measured.subjects] == ["nan", "conv"]
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
    def build(case: Case) -> Built:
        raise UsageError("no such model")

    with pytest.raises(UsageError, match="no such model"):
        measure_process(request("conv"), build=build)


def test_an_interrupt_while_building_times_nothing() -> None:
    def build(case: Case) -> Built:
        if case.name == "second":
            raise KeyboardInterrupt
        return Built(Fusable(), case.name)

    measured = measure_process(request("first", "second", "third"), build=build)
    assert [series.status for series in measured.series] == ["interrupted"] * 3
    assert "before it was timed" in str(measured.series[0].reason)
    assert "before it was built" in str(measured.series[2].reason)
    assert measured.series[0].latency_s == []


def test_the_deadline_while_building_times_nothing_and_is_no_interrupt() -> None:
    clock, built = FakeClock(), []

    def build(case: Case) -> Built:
        built.append(case.name)
        clock.seconds += 6.0
        return Built(Fusable(), case.name)

    measured = measure_process(
        request("first", "second", "third"), build=build, now=clock.now, deadline=10.0
    )
    assert built == ["first", "second"], "at 12 s there is no time for the third"
    assert [series.status for series in measured.series] == ["interrupted"] * 3
    assert [series.reason for series in measured.series] == [
        f"{OUT_OF_TIME} before it was timed",
        f"{OUT_OF_TIME} before it was timed",
        f"{OUT_OF_TIME} before it was built",
    ]
    assert Outcome.of(1, measured, 12.0).status == "cut"


def test_the_deadline_while_building_leaves_a_failure_a_failure() -> None:
    clock = FakeClock()

    def build(case: Case) -> Built:
        clock.seconds += 20.0
        return small(case)

    measured = measure_process(
        request("missing", "conv"), build=build, now=clock.now, deadline=10.0
    )
    assert [series.status for series in measured.series] == ["failed", "interrupted"]


def test_time_for_timing_that_is_over_when_all_is_built_is_a_cut(tmp_path: Path) -> None:
    clock = FakeClock()

    def build(case: Case) -> Built:
        clock.seconds += 20.0
        return small(case)

    journal = Journal(tmp_path / "x.jsonl")
    made = dataclasses.replace(request("conv"), resources=True)
    measured = measure_process(made, build=build, now=clock.now, deadline=10.0, journal=journal)
    journal.close()
    (series,) = measured.series
    assert series.status == "interrupted"
    assert str(series.reason).startswith(OUT_OF_TIME)
    assert not series.resources
    assert not series.unmeasured, "nobody looked, for there was no time"


class Slow(nn.Conv2d):
    """Each call takes the next of its seconds on a clock of ours, and then the last for ever."""

    def __init__(self, clock: FakeClock, *seconds: float) -> None:
        super().__init__(3, 2, 1)
        self.clock, self.seconds = clock, list(seconds)

    def forward(self, images: Tensor) -> Tensor:
        self.clock.seconds += self.seconds.pop(0) if len(self.seconds) > 1 else self.seconds[0]
        return super().forward(images)


def test_what_starts_is_counted_until_the_rounds_that_count(tmp_path: Path) -> None:
    """The cost of a process that another would have too: its warm-up, not its samples."""
    clock = FakeClock()
    journal = Journal(tmp_path / "x.jsonl")
    measured = measure_process(
        dataclasses.replace(request("a"), resources=False),
        build=lambda case: Built(Slow(clock, 1.0), case.name),
        now=clock.now,
        journal=journal,
    )
    journal.close()
    # Calls of 1 s on this clock: six samples are at its end, whatever real time said of settling.
    assert measured.took_s - measured.started_s == pytest.approx(6.0)
    assert measured.timed_s >= 6.0
    assert len(read_journal(tmp_path / "x.jsonl").rounds["a"]["latency_s"]) == 6


def test_no_resources_are_looked_for_where_there_is_no_time() -> None:
    clock = FakeClock()

    def timed(deadline: float) -> Measurement:
        return measure_process(
            dataclasses.replace(request("a"), plan=Plan(budget_s=None, rounds=2), resources=True),
            build=lambda case: Built(Slow(clock, 1.0), case.name),
            now=clock.now,
            deadline=clock.seconds + deadline,
        )

    # A first call, a round that does not count, four timed; to look takes as long as these.
    (looked,), (saved,) = timed(1000.0).series, timed(8.0).series
    assert looked.status == saved.status == "ok"
    assert looked.resources or looked.unmeasured
    assert saved.resources == saved.unmeasured == {}


def test_fusing_is_asked_of_the_model() -> None:
    built: list[nn.Module] = []

    def build(case: Case) -> Built:
        built.append(Fusable())
        return fused_if_asked(case, built[-1])

    measure_process(request("a", fused=True), build=build)
    measure_process(request("a"), build=build)
    assert [getattr(model, "fused", None) for model in built] == [True, False]


def test_models_that_are_executed_alike_in_another_way_are_compared_too() -> None:
    """In each way but the first case's, whose first model is the baseline of all."""
    cases = make_cases(["rtdetr-l", "shufflev2"], {"runtime": ["eager", "compile"]})
    one, two = "rtdetr-l", "shufflev2"
    names = [f"{model}@runtime={way}" for way in ("eager", "compile") for model in (one, two)]
    assert sorted(Request(cases).names) == sorted(names)
    first, _, third, fourth = names
    assert Request(cases).pairs == (
        *((first, name) for name in Request(cases).names if name != first),
        (third, fourth),
    )
    alone = make_cases([one, f"{one}@runtime=compile", two], {})
    assert len(Request(alone).pairs) == 2
    sizes = make_cases([one, two], {"imgsz": [(320, 320), (640, 640)]})
    assert len(Request(sizes).pairs) == 2


def test_a_model_that_cannot_fuse_says_so() -> None:
    with pytest.raises(UsageError, match="a NotANumber cannot be fused"):
        measure_process(request("nan", fused=True), build=small)


def test_threads_are_set_before_building_said_and_put_back() -> None:
    before = torch.get_num_threads()
    seen: list[int] = []

    def build(case: Case) -> Built:
        seen.append(torch.get_num_threads())
        return Built(Fusable(), case.name)

    measured = measure_process(request("a", threads=before + 1), build=build)
    assert seen == [before + 1]
    assert measured.subjects[0].settings["threads"] == before + 1
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
        ({"names": ()}, "no model"),
        ({"names": ("a", "a")}, "a is named twice"),
        ({"batch": 0}, "a batch of '0'"),
        ({"imgsz": (0, 640)}, "0x640"),
        ({"imgsz": (640, -1)}, "640x-1"),
        ({"threads": 0}, "a thread count of '0'"),
        ({"device": "tpu"}, "unknown device 'tpu'"),
        ({"runtime": "compile", "stages": True}, "the runtime compile knows no stages"),
        ({"runtime": "cudagraph"}, "does not run on cpu"),
        ({"dtype": "float8"}, "float8"),
        ({"cold_l2": True}, "cold_l2 is a setting of cuda devices"),
        ({"runtime": "onnx"}, "unknown runtime 'onnx'"),
    ],
)
def test_requests_that_are_wrong_in_themselves(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        asked(*arguments.pop("names", ("a",)), **arguments)  # type: ignore[misc]
    assert caught.value.exit_code == 2


def test_a_detector_in_stages_is_a_whole_and_its_parts() -> None:
    settings = {"imgsz": [(64, 64)], "nc": [1], "threads": [1], "stages": [True]}
    cases = make_cases(["shufflev2-x0.5"], settings)
    plan = Plan(budget_s=None, rounds=2, most_windows=1)
    measured = measure_process(Request(cases, plan=plan))
    names = [subject.case for subject in measured.subjects]
    assert names[0] == "shufflev2-x0.5"
    assert names[1:] == [
        part_name("shufflev2-x0.5", part)
        for part in ("preprocess", "backbone", "neck", "decoder", "postprocess")
    ]
    assert [series.status for series in measured.series] == ["ok"] * 6
    assert all(len(series.latency_s) == 2 for series in measured.series)
    whole, *parts = measured.series
    assert "peak_rss_growth_bytes" in whole.resources | whole.unmeasured
    assert not any(part.resources for part in parts)


def test_only_detectors_have_stages() -> None:
    with pytest.raises(UsageError, match="a Fusable has no stages"):
        measure_process(request("conv", stages=True), build=small)


def test_an_extra_burden_is_work_and_leaves_the_outputs_alone() -> None:
    calls: list[int] = []

    class Counted(nn.Conv2d):
        def forward(self, images: Tensor) -> Tensor:
            calls.append(1)
            return super().forward(images)

    plain_one = case("plain", imgsz=(64, 64), threads=1)
    made = Request(
        (plain_one, case_with_load(plain_one, "more", 300)),
        resources=False,
        plan=Plan(budget_s=None, rounds=6),
    )
    measured = measure_process(made, build=lambda case: Built(Counted(3, 2, 1), case.name))
    plain, more = measured.series
    assert [subject.case for subject in measured.subjects] == ["plain", "more"]
    assert (plain.status, more.status) == ("ok", "ok")
    assert min(more.latency_s) > min(plain.latency_s), "300 convolutions are not nothing"


def test_every_case_is_sampled_in_the_state_it_asks_for() -> None:
    """Threads belong to the process: each case finds its own number, whoever ran before it."""
    seen: dict[str, set[int]] = {"one": set(), "two": set()}

    class Counting(nn.Conv2d):
        def __init__(self, name: str) -> None:
            super().__init__(3, 2, 1)
            self.name = name

        def forward(self, images: Tensor) -> Tensor:
            seen[self.name].add(torch.get_num_threads())
            return super().forward(images)

    before = torch.get_num_threads()
    cases = (case("one", imgsz=(8, 8), threads=1), case("two", imgsz=(8, 8), threads=2))
    measured = measure_process(
        Request(cases, plan=PLAN), build=lambda case: Built(Counting(case.name), case.name)
    )
    assert seen == {"one": {1}, "two": {2}}
    assert [subject.settings["threads"] for subject in measured.subjects] == [1, 2]
    assert torch.get_num_threads() == before


def test_cases_of_other_settings_share_the_rounds() -> None:
    cases = (
        case("plain", imgsz=(16, 16)),
        case("plain@memory_format=channels_last", imgsz=(16, 16), memory_format="channels_last"),
        case("plain@dtype=bfloat16", imgsz=(16, 16), dtype="bfloat16"),
        case("plain@batch=2", imgsz=(16, 16), batch=2),
    )
    seen: list[tuple[int, ...]] = []

    class Seeing(nn.Conv2d):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(tuple(images.shape))
            return super().forward(images)

    made = Request(cases, plan=PLAN)
    measured = measure_process(made, build=lambda case: Built(Seeing(3, 2, 1), case.name))
    assert [series.status for series in measured.series] == ["ok"] * 4
    assert [subject.settings["dtype"] for subject in measured.subjects] == [
        "float32", "float32", "bfloat16", "float32",
    ]  # fmt: skip
    assert measured.subjects[1].settings["memory_format"] == "channels_last"
    assert {(1, 3, 16, 16), (2, 3, 16, 16)} == set(seen)
    assert made.compared == ("plain@memory_format=channels_last", "plain@dtype=bfloat16")
    assert made.baseline("plain@batch=2") is None, "another workload"
