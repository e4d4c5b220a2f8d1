"""A report against a baseline: which limits hold, which do not, and which nobody can tell. Pure.

Counts are exact: one more than allowed is a regression, on whatever machines they were made. Time
is not: it passes or fails only when its whole interval lies on one side of the limit, and a doubt
about the runs themselves never passes. Whatever cannot be compared is INVALID rather than left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from detrbench.compare.gate.counts import count_checks, value_checks
from detrbench.compare.gate.outcomes import Check, GateResult, Outcome, unreadable
from detrbench.compare.gate.policy import Policy
from detrbench.compare.gate.rows import Match, match, missing, unfinished
from detrbench.compare.gate.times import Known, time_check, time_checks
from detrbench.machine.environment import Environment
from detrbench.reports.merge import in_words, machine_differences
from detrbench.reports.report import Report

__all__ = ["Check", "GateResult", "Outcome", "Policy", "gate", "time_check", "unreadable"]


def gate(
    report: Report,
    baseline: Report | None = None,
    policy: Policy | None = None,
    *,
    known: Known | None = None,
    timed: Sequence[Check] | None = None,
) -> GateResult:
    """Check `report` against `baseline`, and against the absolute limits of `policy`.

    Args:
        baseline: what it is compared with; `None` leaves only absolute limits.
        policy: by default no count may grow, and latency by no more than 5 %.
        known: device -> what its machine can tell apart; a limit below that never passes.
        timed: checks of time made otherwise, such as from a paired run; by default they are made
            from the two reports' ratios to a common reference.

    Raises:
        ReportError: a comparison in one of the reports is not one.
    """
    policy = policy or Policy()
    checks = [*unfinished(report.rows), *value_checks(report, policy)]
    notes = [f"this run: {_origin(report)}"]
    if baseline is not None:
        matches = match(baseline, report)
        checks += unfinished(baseline.rows, "in the baseline, ")
        for one in matches:
            if one.now is None:
                checks.append(missing(one.before, report.rows))
            elif one.both is not None:
                checks += count_checks(*one.both, policy)
        if policy.judges_time and timed is None:
            timed = list(time_checks(baseline, report, matches, policy, known or {}))
        checks += timed or ()
        notes.append(f"baseline: {_origin(baseline)}")
        notes += _notes(baseline, report, matches, checks)
    return GateResult(tuple(checks) or (_NOTHING,), policy, tuple(notes))


_NOTHING = Check(
    Outcome.INVALID,
    reasons=("there is nothing to check: the files hold no rows, or no limit is set",),
    hint="Give reports that hold rows: detrbench profile MODEL -o run.json.",
)


def _notes(
    baseline: Report, report: Report, matches: Sequence[Match], checks: Sequence[Check]
) -> Iterator[str]:
    known = [one.now for one in matches]
    if new := [report.label(row) for row in report.rows if row not in known]:
        yield f"not in the baseline, and compared with nothing: {', '.join(new)}"
    if references := dict.fromkeys(check.reference for check in checks if check.reference):
        yield f"times are measured by {', '.join(references)}, whose own time is not judged"
    facts = machine_differences(baseline, report)
    versions = {name: values for name, values in facts.items() if name in ("detrbench", "torch")}
    if versions:
        yield (
            f"other versions counted (baseline, this run): {in_words(versions)}; where a count "
            "changed and no file did, that may be why"
        )


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
