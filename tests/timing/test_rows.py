from __future__ import annotations

import dataclasses
import math

import pytest

from detrbench.machine.validity import Entry
from detrbench.render import render
from detrbench.render.layout import document
from detrbench.reports.report import Report
from detrbench.reports.verdicts import FEW_ALPHA
from detrbench.runtimes import PARTS
from detrbench.timing.plan import RunPlan
from detrbench.timing.process import part_name
from detrbench.timing.records import Outcome
from detrbench.timing.replication import Run
from detrbench.timing.rounds import OUT_OF_TIME, Series
from detrbench.timing.rows import (
    METRIC_KEYS,
    latency_comparisons,
    latency_report,
    latency_results,
)
from tests.timing.runs import ENVIRONMENT, asked, run_of, taken

WEIGHTS = (
    "peak_allocated_bytes",
    "peak_reserved_bytes",
    "peak_rss_growth_bytes",
    "energy_per_image_j",
)
OVERHEAD = "an empty step reads 0.10 us on the same clock"
FIGURE = {"label": "the article", "latency_ms": "11.6", "params": "32.8M"}


def test_statistics_are_derived_from_samples_that_stay_beside_them() -> None:
    (cell,) = latency_results(run_of([taken(4.0, 1.0, 3.0, 2.0)], [taken(5.0, 5.0)]))
    there = {key: value for key, value in cell.metrics.items() if value is not None}
    assert there == {
        "latency_median_s": 3.75,  # of the processes' 2.5 and 5
        "latency_q1_s": 2.25,  # of all rounds
        "latency_q3_s": 4.75,
        "latency_first_s": 9.0,
        "images_per_s": 1 / 3.75,
        "latency_samples": 6,
        "latency_processes": 2,
    }
    assert set(cell.metrics) == set(METRIC_KEYS)
    assert cell.samples["latency_s"] == [[4.0, 1.0, 3.0, 2.0], [5.0, 5.0]]
    assert cell.samples["warmup_latency_s"] == [[2.0, 1.0]] * 2
    assert cell.samples["first_latency_s"] == [9.0] * 2
    assert cell.samples["build_s"] == [3.0] * 2
    assert cell.samples["process_status"] == ["ok", "ok"]
    assert "type 7" in cell.samples["quantiles"]
    assert cell.missing == {
        "latency_median_low_s": "2 processes < 6",
        "latency_median_high_s": "2 processes < 6",
        "latency_p90_s": "n=6 < 64",
        "latency_p95_s": "n=6 < 130",
        "latency_p99_s": "n=6 < 662",
        **dict.fromkeys(WEIGHTS, "not looked for"),
    }
    assert cell.notes == (OVERHEAD,)


def test_the_median_has_an_interval_from_six_processes_on() -> None:
    (cell,) = latency_results(run_of(*([taken(float(at))] for at in (5, 1, 4, 2, 3, 6))))
    assert cell.metrics["latency_median_s"] == 3.5
    assert cell.metrics["latency_median_low_s"] == 1.0
    assert cell.metrics["latency_median_high_s"] == 6.0


@pytest.mark.parametrize(
    ("rounds", "there"),
    [(63, []), (64, ["p90"]), (130, ["p90", "p95"]), (662, ["p90", "p95", "p99"])],
)
def test_percentiles_appear_as_the_samples_allow(rounds: int, there: list[str]) -> None:
    (cell,) = latency_results(run_of([taken(*map(float, range(1, rounds + 1)))]))
    found = [p for p in ("p90", "p95", "p99") if cell.metrics[f"latency_{p}_s"] is not None]
    assert found == there
    if there:
        assert cell.metrics["latency_p90_s"] == pytest.approx(1 + 0.9 * (rounds - 1))


def test_settings_say_what_was_run() -> None:
    (cell,) = latency_results(run_of([taken(1.0)]))
    assert cell.title == "A"
    assert cell.settings == {
        "imgsz": "480x640",
        "batch": 1,
        "nc": 80,
        "fused": False,
        "device": "cpu",
        "runtime": "eager",
        "threads": 2,
    }


def test_images_per_second_count_the_batch() -> None:
    run = run_of([taken(2.0)])
    run = dataclasses.replace(run, request=asked("a", batch=8))
    assert latency_results(run)[0].metrics["images_per_s"] == 4.0


def test_a_failed_model_has_reasons_instead_of_numbers() -> None:
    good, bad = latency_results(
        run_of([taken(2.0), taken(1.0, status="failed", reason="has 3 NaN")])
    )
    assert bad.status == "failed"
    assert bad.metrics == dict.fromkeys(METRIC_KEYS)
    assert bad.missing == dict.fromkeys(METRIC_KEYS, "has 3 NaN")
    assert bad.samples["latency_s"] == [[1.0]]
    assert (good.status, good.metrics["latency_median_s"]) == ("ok", 2.0)


def test_a_model_that_failed_in_one_process_has_no_number_at_all() -> None:
    broken = taken(1.0, status="failed", reason="turned to NaN")
    (cell,) = latency_results(run_of([taken(1.0)], [broken]))
    assert (cell.status, cell.reason) == ("failed", "turned to NaN")
    assert cell.metrics["latency_median_s"] is None


def test_an_interrupted_run_has_the_numbers_it_came_to() -> None:
    cut = taken(1.0, 3.0, status="interrupted", reason="interrupted after 2 timed rounds")
    run = run_of([taken(5.0)], [cut], stopped="interrupted")
    outcomes = (run.outcomes[0], dataclasses.replace(run.outcomes[1], status="interrupted"))
    (cell,) = latency_results(dataclasses.replace(run, outcomes=outcomes))
    assert cell.status == "interrupted"
    assert cell.reason == "interrupted after 1 whole process, 3 timed rounds"
    assert cell.metrics["latency_median_s"] == 3.5


def test_a_run_interrupted_before_its_first_round_has_a_reason() -> None:
    (cell,) = latency_results(
        run_of([Series(status="interrupted", reason="early")], stopped="interrupted")
    )
    assert cell.status == "interrupted"
    assert "0 timed rounds" in cell.missing["latency_median_s"]
    assert cell.samples == {}


def test_a_killed_process_keeps_its_rounds_and_is_said_to_be_missing() -> None:
    run = run_of([taken(1.0), taken(2.0)], [taken(1.0), taken(2.0)])
    killed = Outcome(
        3, "failed", "killed by SIGKILL after 2 timed rounds", 4.0,
        rounds={"a": {"latency_s": [1.5, 1.5]}, "b": {"latency_s": [2.5]}},
    )  # fmt: skip
    run = dataclasses.replace(run, outcomes=(*run.outcomes, killed))
    first, second = latency_results(run)
    assert first.samples["latency_s"] == [[1.0], [1.0], [1.5, 1.5]]
    assert second.samples["process_status"][2] == "killed by SIGKILL after 2 timed rounds"
    assert first.status == "ok"
    assert first.notes == (
        "process 3 of 3 is missing: killed by SIGKILL after 2 timed rounds; its 2 rounds are kept, "
        "but in no ratio",
        OVERHEAD,
    )
    assert len(latency_comparisons(run)[0].process_log_ratios) == 2


def test_a_process_cut_short_is_said_to_be_missing_once_the_run_went_on() -> None:
    run = run_of([taken(1.0), taken(2.0)])
    cut = Outcome(
        2, "interrupted", "interrupted after 1 timed round", 4.0, rounds={"a": {"latency_s": [1.5]}}
    )
    whole = dataclasses.replace(run.outcomes[0], index=3)
    run = dataclasses.replace(run, outcomes=(*run.outcomes, cut, whole))
    first, second = latency_results(run)
    told = "process 2 of 3 is missing: interrupted after 1 timed round"
    assert f"{told}; its 1 round is kept, but in no ratio" in first.notes
    assert told in second.notes
    first, _ = latency_results(dataclasses.replace(run, stopped="interrupted"))
    assert (first.status, [note for note in first.notes if "missing" in note]) == (
        "interrupted",
        [],
    )


def test_a_process_that_its_time_ended_is_said_to_be_missing() -> None:
    run = run_of([taken(1.0), taken(2.0)], stopped="budget")
    cut = Outcome(2, "cut", f"{OUT_OF_TIME} after 1 timed round", 4.0)
    run = dataclasses.replace(run, outcomes=(*run.outcomes, cut))
    for row in latency_results(run):
        assert (row.status, row.metrics["latency_processes"]) == ("ok", 1)
        assert row.notes[0] == "process 2 of 2 is missing: its time was over after 1 timed round"
    assert len(latency_comparisons(run)[0].process_log_ratios) == 1


def test_a_run_whose_pilot_its_time_ended_has_timed_nothing_and_says_so() -> None:
    run = run_of([taken(1.0), taken(2.0)], stopped="budget")
    cut = Outcome(1, "cut", f"{OUT_OF_TIME} while b was made ready", 4.0)
    report = latency_report(dataclasses.replace(run, outcomes=(cut,)))
    assert report.exit_code == 4
    told = "nothing was timed: its time was over while b was made ready"
    assert [(row.status, row.reason) for row in report.rows] == [("failed", told)] * 2
    assert "while b was made ready" in report.rows[0].notes[0]
    (pair,) = report.comparisons
    assert (pair.verdict, pair.ratio) == ("TOO FEW", None)
    assert pair.reasons == ("no process has a ratio; 6 more processes decide",)
    assert Report.from_json(report.to_json()) == report


def test_a_run_that_was_killed_before_its_first_process_has_timed_nothing() -> None:
    report = latency_report(dataclasses.replace(run_of([taken(1.0), taken(2.0)]), outcomes=()))
    told = "nothing was timed: there was no time"
    assert [(row.status, row.reason) for row in report.rows] == [("failed", told)] * 2


def test_a_run_whose_processes_all_died_is_failed_rows() -> None:
    run = run_of([taken(1.0), taken(2.0)], stopped="failures")
    dead = Outcome(1, "failed", "killed by SIGSEGV while b was made ready", at="b")
    report = latency_report(dataclasses.replace(run, outcomes=(dead,)))
    assert [row.status for row in report.rows] == ["failed", "failed"]
    assert "SIGSEGV" in str(report.rows[0].reason)
    assert report.comparisons[0].verdict == "INVALID"
    assert Report.from_json(report.to_json()) == report


def test_a_dropped_model_is_a_failed_row_and_the_others_are_not() -> None:
    run = run_of([taken(1.0), taken(2.0)])
    only_a = dataclasses.replace(
        run.outcomes[0],
        measurement=dataclasses.replace(
            run.outcomes[0].measurement,  # type: ignore[type-var]
            subjects=run.outcomes[0].measurement.subjects[:1],  # type: ignore[union-attr]
            series=run.outcomes[0].measurement.series[:1],  # type: ignore[union-attr]
        ),
    )
    run = dataclasses.replace(run, outcomes=(only_a,), dropped={"b": "killed by SIGKILL"})
    first, second = latency_results(run)
    assert (first.status, second.status) == ("ok", "failed")
    assert second.reason == "killed by SIGKILL"


def test_warm_up_that_did_not_settle_is_said() -> None:
    (cell,) = latency_results(run_of([taken(1.0, settled=False)], [taken(1.0)]))
    assert cell.notes == (
        "warm-up had not settled after 2 rounds in 1 of 2 processes: their first samples, "
        "which are kept, may be slow",
        OVERHEAD,
    )


@pytest.mark.parametrize(("enqueue_s", "notes"), [(0.7, 0), (0.9, 1)])
def test_a_host_that_cannot_launch_fast_enough_is_said(enqueue_s: float, notes: int) -> None:
    samples = {"latency_s": [1.0, 1.0], "enqueue_s": [enqueue_s] * 2}
    (cell,) = latency_results(run_of([taken(samples=samples)]))
    assert len(cell.notes) == notes + 1
    assert all("90%" in note for note in cell.notes[:-1])
    assert cell.samples["enqueue_s"] == [[enqueue_s] * 2]


def test_a_published_latency_stands_beside_ours() -> None:
    quiet = {"label": "others", "latency_ms": None}
    (cell,) = latency_results(run_of([taken(2.0)], published=(FIGURE, quiet)))
    assert cell.published == [{**FIGURE, "ours": {"latency_median_s": 2.0}}]


def test_published_images_per_second_stand_beside_ours() -> None:
    figure = {"label": "theirs", "latency_ms": None, "fps": "114"}
    (cell,) = latency_results(run_of([taken(2.0)], published=(figure,)))
    assert cell.published == [{**figure, "ours": {"images_per_s": 0.5}}]


def test_ratios_are_paired_within_rounds_and_judged_over_processes() -> None:
    drifting = [taken(1.0, 10.0, 2.0), taken(0.9, 9.0, 1.8), taken(1.0, 10.0)]
    first, second = latency_comparisons(run_of(*[drifting] * 6))
    assert (first.baseline.model, first.model) == ("a", "b")
    assert first.ratio == pytest.approx(0.9)
    assert second.ratio == pytest.approx(1.0)
    assert first.ci_low == pytest.approx(0.9)
    assert (first.verdict, second.verdict) == ("FASTER", "EQUIVALENT")
    assert first.process_log_ratios == pytest.approx([math.log(0.9)] * 6)
    assert first.confidence == 0.95


def test_too_few_processes_are_no_verdict() -> None:
    (pair,) = latency_comparisons(run_of([taken(1.0), taken(0.5)]))
    assert pair.ratio == pytest.approx(0.5)
    assert pair.ci_low is pair.ci_high is None
    assert pair.verdict == "TOO FEW"
    assert pair.reasons == ("faster in 1 of 1 process; 5 more processes decide",)


def test_too_few_processes_say_what_the_rest_would_take_where_there_is_a_plan() -> None:
    run = run_of(*[[taken(1.0), taken(1.01)]] * 4)
    run = dataclasses.replace(run, plan=RunPlan(4, 6, 10.0, 0.0, 0.1))
    (pair,) = latency_comparisons(run)
    assert pair.reasons == ("slower in 4 of 4 processes; 2 more processes decide: about 20 s",)
    assert pair.confidence == 0.95


def test_three_processes_far_beyond_the_margin_are_a_verdict_of_their_own_confidence() -> None:
    (pair,) = latency_comparisons(run_of(*[[taken(1.0), taken(0.5)]] * 3))
    assert (pair.verdict, pair.reasons) == ("FASTER", ())
    assert pair.confidence == pytest.approx(1 - FEW_ALPHA)
    assert pair.ci_low is not None
    assert pair.ci_high is not None
    assert pair.ci_low < 0.5 < pair.ci_high


@pytest.mark.parametrize("processes", [2, 6])
def test_a_model_that_failed_is_invalid_however_few_there_are(processes: int) -> None:
    broken = taken(1.0, status="failed", reason="turned to NaN")
    (pair,) = latency_comparisons(run_of(*[[taken(1.0), broken]] * processes))
    assert (pair.verdict, pair.reasons) == ("INVALID", ("b has no latency: turned to NaN",))


@pytest.mark.parametrize("broken", [0, 1])
def test_a_failed_model_has_no_ratio(broken: int) -> None:
    series = [taken(1.0), taken(1.0)]
    series[broken] = taken(1.0, status="failed", reason="output 0 has 3 NaN")
    (pair,) = latency_comparisons(run_of(*[series] * 6))
    assert pair.ratio is pair.ci_low is None
    assert pair.verdict == "INVALID"
    assert pair.reasons[0] == f"{'ab'[broken]} has no latency: output 0 has 3 NaN"


def test_processes_in_different_environments_are_invalid() -> None:
    other = {**ENVIRONMENT, "processor": "real", "load_average": 9.0, "revision": "x-dirty"}
    run = run_of(*[[taken(1.0), taken(1.0)]] * 6, environments=[ENVIRONMENT] * 5 + [other])
    (pair,) = latency_comparisons(run)
    assert pair.verdict == "INVALID"
    assert pair.reasons == ("the processes ran in different environments: processor",)


def with_ledgers(*entries: Entry | None, latency_s: float = 0.5) -> Run:
    run = run_of(*[[taken(1.0), taken(latency_s)]] * len(entries))
    outcomes = tuple(
        dataclasses.replace(
            outcome,
            measurement=dataclasses.replace(
                outcome.measurement,  # type: ignore[type-var]
                ledger=entry and dataclasses.asdict(entry),
                timed_s=10.0,
            ),
        )
        for outcome, entry in zip(run.outcomes, entries, strict=True)
    )
    return dataclasses.replace(run, outcomes=outcomes)


THROTTLED = Entry(throttled_periods=40, throttled_s=4.0)
SCARCELY = Entry(throttled_periods=1, throttled_s=0.01)


def test_a_machine_that_was_throttled_half_the_time_is_busy_about_small_differences() -> None:
    run = with_ledgers(*[THROTTLED] * 3, *[None] * 3, latency_s=0.95)
    (pair,) = latency_comparisons(run)
    assert pair.verdict == "BUSY"
    assert pair.reasons[0].startswith("throttled in 3 of 6 processes: the CPU quota ran out")


def test_what_a_disturbed_machine_cannot_have_made_is_a_verdict_and_a_note() -> None:
    run = with_ledgers(*[THROTTLED] * 6, latency_s=0.5)
    (pair,) = latency_comparisons(run)
    assert (pair.verdict, pair.reasons) == ("FASTER", ())
    assert latency_results(run)[0].notes[0].startswith("throttled in 6 of 6 processes")


def test_few_processes_of_a_disturbed_machine_are_too_few() -> None:
    run = with_ledgers(*[THROTTLED] * 4, latency_s=0.99)
    (pair,) = latency_comparisons(run)
    assert pair.verdict == "TOO FEW"
    assert pair.reasons[0] == "faster in 4 of 4 processes; 2 more processes decide"
    assert pair.reasons[1].startswith("throttled in 4 of 4 processes")


def test_what_matters_less_is_a_note_with_the_next_thing_to_do() -> None:
    run = with_ledgers(*[SCARCELY] * 4, THROTTLED, THROTTLED)
    (pair,) = latency_comparisons(run)
    assert pair.verdict == "FASTER"
    note = latency_results(run)[0].notes[0]
    assert note.startswith("throttled in 6 of 6 processes: the CPU quota ran out in 40 periods")
    assert "--threads" in note
    assert latency_results(run)[0].samples["ledger"][0]["throttled_periods"] == 1


def test_memory_and_energy_are_of_the_first_process_that_looked() -> None:
    weighed = taken(
        1.0,
        resources={"peak_rss_growth_bytes": 4096, "energy_per_image_j": None},
        unmeasured={"energy_per_image_j": "no NVML"},
    )
    (cell,) = latency_results(run_of([taken(1.0)], [weighed]))
    assert cell.metrics["peak_rss_growth_bytes"] == 4096
    assert cell.metrics["energy_per_image_j"] is None
    assert cell.missing["energy_per_image_j"] == "no NVML"


def test_stages_are_parts_of_their_model_and_their_sum_is_compared_with_the_whole() -> None:
    seconds = dict(zip(PARTS, (0.5, 4.0, 3.0, 2.0, 0.6), strict=True))
    names = ("a", *(part_name("a", stage) for stage in PARTS))
    run = run_of([taken(10.0), *(taken(each) for each in seconds.values())], names=names)
    request = asked("a", stages=True)
    report = latency_report(dataclasses.replace(run, request=request))
    (row,) = report.rows
    assert {part["part"]: part["latency_median_s"] for part in row.parts["stage"]} == seconds
    assert row.parts["stage"][1]["samples_s"] == [[4.0]]
    assert row.settings["stages"] is True
    assert any("add up to 10,100.0 ms, +1.0% against the whole" in note for note in row.notes)
    table = render(report, "table", by="stage")
    assert "4,000.0 (40.0%)" in table
    assert Report.from_json(report.to_json()) == report


def test_compiling_is_told_apart_and_so_is_the_agreement_with_eager() -> None:
    told = [
        {"compile_s": seconds, "agreement": off, "tolerance": 1e-3}
        for seconds, off in ((30.0, 1e-6), (20.0, 3e-6), (25.0, 2e-6))
    ]
    (cell,) = latency_results(run_of(*([taken(1.0, prepared=each)] for each in told)))
    assert cell.notes[0] == "made ready in every process, outside all samples: compile 25.0 s"
    assert cell.notes[1] == (
        "outputs differ from eager's by at most 3.0e-06 of the largest value (tolerance 1e-03)"
    )
    assert cell.samples["prepared"] == told


def test_models_that_are_executed_alike_are_compared_in_a_table_of_their_own() -> None:
    """Both twice as fast when compiled, and the second a fifth faster than the first either way."""
    run = run_of(
        *[[taken(*[s] * 6) for s in (0.2, 0.16, 0.1, 0.08)]] * 6,
        names=["a", "b", "a@runtime=compile", "b@runtime=compile"],
    )
    cases = tuple(
        case.replace(runtime="compile") if "compile" in case.name else case
        for case in run.request.cases
    )
    report = latency_report(
        dataclasses.replace(run, request=dataclasses.replace(run.request, cases=cases))
    )
    pairs = [(p.baseline.model, p.case.model, round(p.ratio or 0, 6)) for p in report.comparisons]
    compiled = ("a@runtime=compile", "b@runtime=compile")
    assert pairs == [("a", "b", 0.8), ("a", compiled[0], 0.5), ("a", compiled[1], 0.4),
                     (*compiled, 0.8)]  # fmt: skip
    assert [report.comparison(row) for row in report.rows[1:]] == list(report.comparisons[:3])
    *_, verdicts, inside, orders = document(report).tables
    assert [len(table.lines) for table in (verdicts, inside, orders)] == [3, 1, 2]
    assert verdicts.caption.startswith("Latency against a, paired")
    assert inside.caption.startswith("Latency against a@runtime=compile, paired")
