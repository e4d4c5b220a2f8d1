"""Which two cases can be explained against each other: said before anything is built, no torch."""

from __future__ import annotations

from collections.abc import Sequence

from detrbench.core.errors import UsageError
from detrbench.machine.devices import parse_device
from detrbench.reports.case import Case, baseline_of


def check_pair(cases: Sequence[Case]) -> None:
    """Raises UsageError where `cases` are no two that can be taken apart and compared."""
    if len(cases) != 2:
        raise UsageError(
            f"{len(cases)} models cannot be a pair",
            hint="Name a baseline and a variant, and give every flag one value.",
        )
    for case in cases:
        _check_seams(case)
    before, after = cases
    if baseline_of(after, cases) is None:
        raise UsageError(
            f"it has another workload than {before.name}, so that their times cannot be compared",
            where=after.name,
            hint="Give both the same image size and batch.",
        )
    if _device(before) != _device(after):
        raise UsageError(
            f"it is on {after.execution.device}, and {before.name} on {before.execution.device}: "
            "the ceilings that both are held against are of one device",
            where=after.name,
            hint="Explain both on the same device; --try device=... measures another one.",
        )


def _check_seams(case: Case) -> None:
    if case.execution.runtime != "eager":
        raise UsageError(
            f"under the runtime {case.execution.runtime} a model has no seams between its parts",
            where=case.name,
            hint=f"Explain it in eager; --try runtime={case.execution.runtime} measures the gain.",
        )
    if case.execution.stages:
        raise UsageError(
            "stages from the camera's bytes to boxes are the business of `detrbench latency`",
            where=case.name,
            hint="Leave stages out: --by stage takes the model itself apart.",
        )


def _device(case: Case) -> tuple[str, int]:
    kind, index = parse_device(case.execution.device)
    return kind, index or 0
