"""A report against a baseline: which limits hold, which do not, and which nobody can tell. Pure.

Counts are exact: one more than allowed is a regression, on whatever machines they were made. Time
is not: it passes or fails only when its whole interval lies on one side of the limit, and a doubt
about the runs themselves never passes. Whatever cannot be compared is INVALID rather than left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime

from detrbench.compare.gate.counts import count_checks, value_checks
from detrbench.compare.gate.outcomes import Check, GateResult, Outcome, unreadable
from detrbench.compare.gate.policy import Policy
from detrbench.compare.gate.rows import TIME, invalid_row, match, missing, unfinished
from detrbench.compare.gate.times import Known, time_check, time_checks
from detrbench.machine.environment import Environment
from detrbench.reports.merge import in_words, machine_differences, shown_differences
from detrbench.reports.report import Report, Result

__all__ = ["Check", "GateResult", "Outcome", "Policy", "gate", "time_check", "unreadable"]


def gate(
    report: Report,
    baseline: Report | None = None,
    policy: Policy | None = None,
    *,
    known: Known | None = None,
    timed: Sequence[Check] | None = None,
    new: Collection[str] = (),
) -> GateResult:
    """Check `report` against `baseline`, and against the absolute limits of `policy`.

    Args:
        baseline: what it is compared with; `None` leaves only absolute limits.
        policy: by default no count may grow, and latency by no more than 5 %.
        known: device -> what its machine can tell apart; a limit below that never passes.
        timed: checks of time made otherwise, such as from a paired run; by default they are made
            from the two reports' ratios to a common reference.
        new: models that the baseline may be without; any other such is INVALID.

    Raises:
        ReportError: a comparison in one of the reports is not one.
    """
    policy = policy or Policy()
    checks = [*unfinished(report.rows), *value_checks(report, policy)]
    notes = [f"this run: {_origin(report)}"]
    checks += _empty(report, "this run")
    if baseline is not None:
        if not all(_is_new(row, report, new) for row in report.rows):
            checks += _empty(baseline, "the baseline")
        matches = match(baseline, report)
        checks += unfinished(baseline.rows, "in the baseline, ")
        for one in matches:
            if one.now is None:
                checks.append(missing(one.before, report.rows))
            elif one.both is not None:
                checks += count_checks(*one.both, policy)
        if timed is None and (policy.judges_time or policy.reference_limit is not None):
            timed = list(time_checks(baseline, report, matches, policy, known or {}))
        checks += timed or ()
        added = [row for row in report.rows if row not in [one.now for one in matches]]
        checks += _unasked(added, report, new)
        notes.append(f"baseline: {_origin(baseline)}")
        notes += _notes(baseline, report, added, checks)
    return GateResult(tuple(checks) or (_NOTHING,), policy, tuple(notes))


_NOTHING = Check(
    Outcome.INVALID,
    reasons=("there is nothing to check: the files hold no rows, or no limit is set",),
    hint="Give reports that hold rows: detrbench profile MODEL -o run.json.",
)


def _empty(report: Report, which: str) -> Iterator[Check]:
    if not report.rows:
        yield Check(Outcome.INVALID, reasons=(f"{which} holds no rows",), hint=_NOTHING.hint)


def _unasked(added: Sequence[Result], report: Report, new: Collection[str]) -> Iterator[Check]:
    """A check for every row that the baseline has no other of, and that nobody said is new."""
    for row in added:
        if not _is_new(row, report, new):
            hint = f"If it is new, say so: --new {row.model}; else measure it in the baseline too."
            yield invalid_row(row, "the baseline does not have it", hint)


def _is_new(row: Result, report: Report, new: Collection[str]) -> bool:
    """Whether somebody said of a row of `report` that it is new."""
    reference = row.case and row.case.model.reference
    return bool({row.model, report.label(row), reference} & {*new})


def _notes(
    baseline: Report, report: Report, added: Sequence[Result], checks: Sequence[Check]
) -> Iterator[str]:
    if added:
        labels = ", ".join(map(report.label, added))
        yield f"not in the baseline, and compared with nothing: {labels}"
    if references := dict.fromkeys(check.reference for check in checks if check.reference):
        limit = "--max-reference-increase"
        judged = {check.model for check in checks if check.metric == TIME.key}
        unjudged = [name for name in references if name not in judged]
        said = f", whose own time is not judged: {limit}" if unjudged else ""
        yield f"times are measured by {', '.join(references)}{said}"
    if _made_after(baseline, report):
        yield f"the baseline was made after this run, {baseline.created}: are the two exchanged?"
    if shown := shown_differences(baseline, report):
        yield f"differs, and moves neither times nor counts: {in_words(shown)}"
    facts = machine_differences(baseline, report)
    versions = {name: values for name, values in facts.items() if name in ("detrbench", "torch")}
    if versions:
        yield (
            f"other versions counted (baseline, this run): {in_words(versions)}; where a count "
            "changed and no file did, that may be why"
        )


def _made_after(baseline: Report, report: Report) -> bool:
    """Whether both say when they were made, and the baseline later."""
    try:
        then, now = (datetime.fromisoformat(each.created) for each in (baseline, report))
        return then > now
    except (ValueError, TypeError):  # no date, or one without and one with its offset
        return False


def _origin(report: Report) -> str:
    """What a report is of, when it was made, of which revision, with what and on what."""
    environment = Environment.from_dict(report.environment)
    facts = (
        report.title,
        report.created,
        f"revision {environment.revision}" if environment.revision else "",
        f"detrbench {report.detrbench_version}" if report.detrbench_version else "",
        environment.one_line(),
    )
    return ", ".join(fact for fact in facts if fact) or "it does not say where it is from"
