"""An explanation as a Report, and as the tables that `detrbench explain` prints."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from detrbench.analysis.explain.account import LAYOUT, GroupSaving, Saving, predictions, saving
from detrbench.analysis.explain.findings import (
    INSERTED,
    Explanation,
    Timed,
    TimedModel,
    TimedPart,
    Try,
)
from detrbench.analysis.explain.roofline_picture import ROOFLINE_CAPTION, roofline
from detrbench.analysis.explain.words import paragraph, unchanged_shares
from detrbench.analysis.probe.ceilings import LIMITS, Ceilings, Floor, Work
from detrbench.analysis.probe.tables import ceilings_table
from detrbench.core.errors import UsageError
from detrbench.core.units import (
    show,
    show_change,
    show_count,
    show_quantity,
    show_range,
    show_share,
)
from detrbench.machine.circumstances import circumstances_from
from detrbench.render.layout import Document, Line, Picture, Table, columns, provenance
from detrbench.reports.report import Report, Result, setting_differences
from detrbench.reports.settings import not_of, settings_text
from detrbench.timing.stop_rules import Plan

if TYPE_CHECKING:
    from detrbench.analysis.explain.measuring import Explained

ONE_PROCESS = (
    "the rounds of one process: why, not by how much; `detrbench latency` gives the ratio an "
    "interval over fresh processes"
)


def explanation_report(explained: Explained) -> Report:
    """Rows of both models with their parts and every sample; the rest of the explanation, ceilings
    and all, stands in the comparison of the two, under "explanation"."""
    from detrbench.timing.plan import Budget
    from detrbench.timing.records import Outcome
    from detrbench.timing.replication import Run
    from detrbench.timing.rows import latency_report

    measured, explanation = explained.measurement, explained.explanation
    status = "interrupted" if explained.interrupted else "ok"
    outcome = Outcome(1, status, None, measured.took_s, measurement=measured)
    stopped = "interrupted" if explained.interrupted else "processes"
    report = latency_report(Run(measured.request, Budget(), None, (outcome,), stopped))
    sides = (explanation.baseline, explanation.variant)
    rows = zip(report.rows, sides, strict=True)
    (pair,) = report.comparisons
    found = kept(explanation)
    # The account adds up by medians, so that their ratio is the one that stands everywhere.
    explained_pair = dataclasses.replace(
        pair,
        ratio=found["time_ratio"],
        process_log_ratios=(),
        verdict=None,
        reasons=(ONE_PROCESS, *explanation.seen.spoilt),
        explanation=found,
    )
    return dataclasses.replace(
        report,
        title=f"Why {sides[1].model} takes the time it takes, against {sides[0].model}",
        rows=tuple(row_of(row, side, explanation) for row, side in rows),
        comparisons=(explained_pair,),
    )


def kept(explanation: Explanation) -> dict[str, Any]:
    """What a comparison holds of it, under "explanation": see report.schema.json."""
    account = saving(explanation)
    tries = all_tries(explanation)
    return {
        "by": explanation.by,
        "rounds": explanation.rounds,
        "circumstances": explanation.circumstances and explanation.circumstances.to_list(),
        **explanation.ceilings.to_dict(),
        "wholes": [
            {"work": vars(side.whole.work), "scale": side.scale}
            for side in (explanation.baseline, explanation.variant)
        ],
        "paragraph": paragraph(explanation, account, tries),
        "flops_ratio": account.flops_ratio,
        "time_ratio": account.time_ratio,
        "reached": account.reached,
        "promised_s": account.promised_s,
        "kept_s": {
            "which FLOPs": account.cheap_s,
            **{group.name: group.kept_s for group in account.groups},
            "between parts": account.between_s,
        },
        "saved_s": account.saved_s,
        "tries": [dataclasses.asdict(one) for one in tries],
    }


def explanation_in(report: Report) -> Explanation:
    """The explanation that a report holds, every sample of it. Raises UsageError for none."""
    found = [pair.explanation for pair in report.comparisons if pair.explanation]
    try:
        (plain,) = found
        by, ceilings = str(plain["by"]), Ceilings.from_dict(plain)
        sides = [
            _side(row, by, whole) for row, whole in zip(report.rows, plain["wholes"], strict=True)
        ]
        settings = report.rows[1].settings
        return Explanation(
            by=by,
            device=str(settings["device"]),
            memory_format=str(settings["memory_format"]),
            runtime=str(settings.get("runtime", "eager")),
            rounds=int(plain["rounds"]),
            ceilings=ceilings,
            baseline=sides[0],
            variant=sides[1],
            tried=tuple(Try(**one) for one in plain["tries"] if one["measured"]),
            circumstances=circumstances_from(plain.get("circumstances")),
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UsageError(
            f"the report holds {len(found)} explanations that can be read",
            hint="Make one with: detrbench explain BASELINE VARIANT -o why.json",
        ) from error


def _side(row: Result, by: str, whole: Mapping[str, Any]) -> TimedModel:
    parts = tuple(_part(entry) for entry in row.parts[by])
    timed = Timed.of(row.samples["latency_s"][0])
    counts = {key: row.metrics[key] for key in parts[0].counts}
    work = Work(**whole["work"])
    # A whole's own floor is never looked at, for it is the sum of its parts'.
    own = TimedPart("whole", "whole", work, counts, Floor(0.0, 0.0, 0.0), timed)
    lacking = row.reason if row.status == "partial" else None
    return TimedModel(_name(row), own, parts, float(whole["scale"]), lacking)


def _name(row: Result) -> str:
    """As the case was asked for: both may be of one model."""
    return row.model if row.case is None else row.case.name


def _part(entry: Mapping[str, Any]) -> TimedPart:
    compute, memory, dispatch = (float(entry[f"floor_{limit}_s"]) for limit in LIMITS)
    return TimedPart(
        entry["part"],
        entry["group"],
        Work(**entry["work"]),
        {key: value for key, value in entry.items() if key not in _NO_COUNTS},
        Floor(compute, memory, dispatch, bool(entry["in_cache"])),
        Timed.of(entry["samples_s"][0]),
    )


def all_tries(explanation: Explanation) -> tuple[Try, ...]:
    """What was measured, then what is predicted of the rest."""
    measured = {one.name for one in explanation.tried}
    rest = [one for one in predictions(explanation) if one.name not in measured]
    layout = Try(LAYOUT, None, False, "not in the floors")
    channels_last = explanation.memory_format == "channels_last"
    known = layout.name in measured or channels_last or explanation.runtime != "eager"
    return (*explanation.tried, *rest, *([] if known else [layout]))


def row_of(cell: Result, side: TimedModel, explanation: Explanation) -> Result:
    """A timed row with what was counted of the model, its floors and its parts."""
    partial = cell.status == "ok" and side.lacking is not None
    return dataclasses.replace(
        cell,
        status="partial" if partial else cell.status,
        reason=side.lacking if partial else cell.reason,
        metrics={**cell.metrics, **side.whole.counts, **_floors(side)},
        parts={explanation.by: [_entry(part) for part in side.parts]},
        notes=(*cell.notes, *_side_notes(side, explanation)),
    )


def _floors(side: TimedModel) -> dict[str, float | int | None]:
    """Of a whole model: the sums of its parts', which run one after the other."""
    floors = [part.floor.by_limit for part in side.parts]
    return {
        "working_set_bytes": side.whole.work.working_set_bytes,
        **{f"floor_{limit}_s": sum(floor[limit] for floor in floors) for limit in LIMITS},
        "floor_s": side.floor_s,
        "efficiency": side.efficiency,
    }


def _entry(part: TimedPart) -> dict[str, Any]:
    floor, timed = part.floor, part.timed
    return {
        "part": part.name,
        **part.counts,
        "latency_median_s": timed.seconds,
        "latency_q1_s": timed.low,
        "latency_q3_s": timed.high,
        "working_set_bytes": part.work.working_set_bytes,
        **{f"floor_{limit}_s": seconds for limit, seconds in floor.by_limit.items()},
        "floor_s": floor.seconds,
        "efficiency": part.efficiency,
        "limit": floor.limit if floor.seconds else None,
        "in_cache": floor.in_cache,
        "group": part.group,
        "work": vars(part.work),
        "samples_s": [list(timed.samples)],
    }


_NOTHING = TimedPart("", "", Work(), {}, Floor(0.0, 0.0, 0.0), Timed(1.0, 1.0, 1.0))
_NO_COUNTS = _entry(_NOTHING).keys()


def _side_notes(side: TimedModel, explanation: Explanation) -> Iterator[str]:
    if side.lacking is not None:
        yield f"partial: {side.lacking}"
    if side.scale != 1.0:
        how = "operators are timed" if explanation.by == "op" else "its runtime times kernels"
        yield (
            f"{how} inside the pass, which takes {show_quantity(side.seconds, 's')} "
            f"without that: their times are {show_share(side.scale, 1)} of what was read, so that "
            "they add up to it"
            + (
                ""
                if explanation.by == "op"
                else "; a kernel made of several operators counts for the part of one of them. "
                "Traffic, kernels and floors are those of eager's operators"
            )
        )
    else:
        what = {"stage": "stages", "module": "modules"}.get(explanation.by, "parts")
        sums = f"{show_quantity(side.parts_s, 's')}, {_gap(side)}"
        yield (
            f"the {what} add up to {sums} against the whole"
            + ("" if side.reconciled else ": more than 5% off, so they explain it roughly at best")
        )
    for part in side.parts:
        if part.work.kernels and not part.seconds:
            yield f"{part.name} has no kernel of its own: the runtime does its work in others'"
    disturbed = explanation.seen.disturbed
    or_else = f"ceilings measured {disturbed}, or " if disturbed else ""
    timed: list[tuple[str, TimedModel | TimedPart]] = [("all of it", side)]
    timed += [(part.name, part) for part in side.parts]
    for name, one in timed:
        if one.cause_of_excess is not None:
            share = show_share(one.efficiency or 0, 1)
            yield f"{name} reaches {share} of its floor: {or_else}{one.cause_of_excess}"


# --- tables ------------------------------------------------------------------------------------


def document(report: Report) -> Document:
    """Parts against floors, the account of the saving with its paragraph, what to try, ceilings;
    all from what `explanation_report` kept, so that a saved report shows it again. Raises
    UsageError where it holds no explanation."""
    explanation = explanation_in(report)
    account, tries = saving(explanation), all_tries(explanation)
    return Document(
        tables=(
            _parts_table(explanation, report),
            _saving_table(explanation, account, tries),
            *([_tries_table(explanation, tries)] if tries else []),
            ceilings_table(
                explanation.ceilings,
                f"Ceilings, measured in the same rounds{_whose_ceilings(explanation, report)}.",
                provenance(report),
            ),
        ),
        records=tuple(_records(report, explanation)),
        data=report.to_dict(),
        report=report,
        pictures=(Picture("parts", ROOFLINE_CAPTION, lambda: roofline(report)),),
    )


def _differing(report: Report) -> dict[str, Any]:
    """Settings of the variant that are not the baseline's."""
    before, after = (row.settings for row in report.rows)
    found = setting_differences(after, before, unsaid=True)
    return {name: value for name, (value, _) in found.items()}


def _settings(explanation: Explanation, report: Report) -> str:
    """The baseline's in words, and in brackets what is otherwise in the variant."""
    other = settings_text(_differing(report), short=True)
    of_variant = f" ({explanation.variant.model}: {other})" if other else ""
    return settings_text(report.rows[0].settings) + of_variant


def _whose_ceilings(explanation: Explanation, report: Report) -> str:
    """Whose settings they are of, where the device works differently for both."""
    differing = _differing(report).keys() & not_of("counts")
    return f" under the settings of {explanation.baseline.model}" if differing else ""


def _parts_table(explanation: Explanation, report: Report) -> Table:
    sides = (explanation.baseline, explanation.variant)
    # A median and its quartiles of fewer samples than a 95 % interval for it needs.
    rounds, few = explanation.rounds, explanation.rounds < Plan().least_rounds
    return Table(
        caption=(
            f"Floors and times by {explanation.by}: {_settings(explanation, report)}, FLOPs by "
            f"convention core, medians over {rounds} rounds of one process, "
            "1 MAC = 2 FLOPs."
        ),
        columns=columns(
            "lrrrrrrrl",
            f"Model, {explanation.by}",
            "GFLOPs",
            "Traffic (MB)",
            "Kernels",
            "FLOPs per byte",
            "Floor (ms)",
            "Time (ms)",
            "Efficiency",
            "Nearest limit",
        ),
        lines=tuple(line for side in sides for line in _side_lines(side)),
        notes=(
            "Floor: the largest of FLOPs over their rate, traffic over bandwidth, and kernels "
            "times a launch, which is the part's nearest limit; a model's is the sum of its parts'",
            "Efficiency: floor over time; where it is low, no limit explains the part",
            "Time: in brackets the quartiles over rounds",
            *([f"only {rounds} rounds fitted in: a longer --budget says more"] if few else []),
            *(f"{side.model}: {note}" for side in sides for note in _side_notes(side, explanation)),
            *(explanation.circumstances.notes if explanation.circumstances else ()),
        ),
    )


def _side_lines(side: TimedModel) -> Iterator[Line]:
    yield Line(side.model, _cells(side.whole, side.floor_s, ""))
    for part in side.parts:
        limit = LIMITS[part.floor.limit] if part.floor.seconds else ""
        cached = " (cache)" if limit == "memory" and part.floor.in_cache else ""
        yield Line(part.name, _cells(part, part.floor.seconds, limit + cached), level=1)
    yield Line(
        "sum of parts",
        ("", "", "", "", "", f"{show(side.parts_s, 's')} ({_gap(side)})", "", ""),
        level=1,
    )


def _gap(side: TimedModel) -> str:
    return show_change(side.parts_s / side.seconds)


def _cells(part: TimedPart, floor_s: float, limit: str) -> tuple[str, ...]:
    work, timed = part.work, part.timed
    return (
        show(work.flops, "FLOP"),
        show(work.nbytes, "B"),
        show_count(work.kernels),
        "" if work.intensity is None else show(work.intensity, "FLOP/B"),
        show(floor_s, "s"),
        f"{show(timed.seconds, 's')} {show_range(timed.low, timed.high, 's')}",
        show_share(floor_s, timed.seconds) if floor_s and timed.seconds else "",
        limit,
    )


# --- the account -------------------------------------------------------------------------------


def _saving_table(explanation: Explanation, account: Saving, tries: Sequence[Try]) -> Table:
    return Table(
        caption=f"From FLOPs to time: {explanation.variant.model} against "
        f"{explanation.baseline.model}.",
        columns=columns("lrrrl", "Account", "Time (ms)", "Share", "Efficiency", "Nearest limit"),
        lines=tuple(_account_lines(explanation, account)),
        notes=(paragraph(explanation, account, tries),),
    )


_MOST_GROUPS = 12


def _account_lines(explanation: Explanation, account: Saving) -> Iterator[Line]:
    before, after = explanation.baseline, explanation.variant

    def booked(
        label: str, seconds: float, efficiency: str = "", limit: str = "", level: int = 1
    ) -> Line:
        time, share = show(seconds, "s"), show_share(seconds, before.seconds)
        return Line(label, (_unsigned_zero(time), _unsigned_zero(share), efficiency, limit), level)

    def shared(label: str, share: str, level: int = 0) -> Line:
        return Line(label, ("", share, "", ""), level)

    if account.flops_ratio is not None:
        yield shared("change of FLOPs", show_change(account.flops_ratio))
    yield shared("change of time", show_change(account.time_ratio))
    yield booked("promised, if time fell as FLOPs do", account.promised_s, level=0)
    yield booked("which FLOPs changed", -account.cheap_s)
    largest = sorted(account.groups, key=lambda group: -abs(group.kept_s))[:_MOST_GROUPS]
    for group in account.groups:
        if group in largest:
            same = ", same work" if group.unchanged and group.name != INSERTED else ""
            yield booked(f"{group.name}{same}", -group.kept_s, *_how(group))
    others = [group.kept_s for group in account.groups if group not in largest]
    if others:
        yield booked("all others", -sum(others))
    yield booked("between the parts", -account.between_s)
    yield booked("saved, by the clock", account.saved_s, level=0)
    if account.reached is not None:
        yield shared("of the promise", show_share(account.reached, 1), level=1)
    unchanged, rest = unchanged_shares(explanation, account)
    yield shared(f"{before.model}'s time where both do the same", unchanged)
    yield shared("elsewhere", rest, level=1)
    for limit, share in after.shares.items():
        label = f"{after.model}'s time, nearest limit {LIMITS[limit]}"
        yield shared(label, show_share(share, 1))
    floors = (show(after.floor_s, "s"), show_share(after.floor_s, after.seconds), "", "")
    yield Line(f"{after.model}'s floors in all", floors)


def _unsigned_zero(text: str) -> str:
    """What is rounded to nothing has no sign."""
    return text if text.strip("-0.%") else text.lstrip("-")


def _how(group: GroupSaving) -> tuple[str, str]:
    """Efficiencies and limits, the baseline's and the variant's."""
    sides = [one for one in (group.before, group.after) if one.efficiency is not None]
    efficiencies = [show_share(one.efficiency or 0, 1) for one in sides]
    limits = dict.fromkeys(LIMITS[one.limit] for one in sides)
    return " to ".join(efficiencies), " to ".join(limits)


# --- what to try -------------------------------------------------------------------------------


def _tries_table(explanation: Explanation, tries: Sequence[Try]) -> Table:
    return Table(
        caption=f"What to try next on {explanation.variant.model}.",
        columns=columns("lrll", "Try", "Time", "Known", "From"),
        lines=tuple(Line(one.name, _try_cells(one)) for one in tries),
        notes=(
            "predicted: what the floors of the work that goes take, if the rest runs as before; "
            "what is far from its floor takes longer and gives more; --try measures it instead",
            *dict.fromkeys(f"measured: {one.disturbed}" for one in tries if one.disturbed),
        ),
    )


def _try_cells(one: Try) -> tuple[str, ...]:
    if one.ratio is None:
        return ("n/a", "not predicted", one.how)
    low, high = one.low, one.high
    spread = f" [{show_change(low)} to {show_change(high)}]" if low and high else ""
    known = "measured" if one.measured else "predicted"
    return (f"{show_change(one.ratio)}{spread}", known, one.how)


# --- records -----------------------------------------------------------------------------------


def _records(report: Report, explanation: Explanation) -> Iterator[Mapping[str, Any]]:
    """A report's records by part, with the limit that binds each, and the conditions of all."""
    by, known = explanation.by, explanation.circumstances and explanation.seen.in_short
    limits = [each.get("limit") for row in report.rows for each in ({}, *row.parts[by])]
    for record, limit in zip(report.records(by), limits, strict=True):
        yield {**record, "limit": limit, "conditions": known}
