"""Which two cases can be explained against each other: said before anything is built, no torch."""

from __future__ import annotations

from collections.abc import Sequence

from detrbench.core.errors import UsageError
from detrbench.machine.devices import parse_device
from detrbench.models.sources.onnx import is_graph
from detrbench.reports.case import Case, baseline_of
from detrbench.runtimes import NEEDS


def check_pair(cases: Sequence[Case], by: str = "stage") -> None:
    """Raises UsageError where `cases` are no two that can be taken apart so and compared."""
    if len(cases) != 2:
        raise UsageError(
            f"{len(cases)} models cannot be a pair",
            hint="Name a baseline and a variant, and give every flag one value.",
        )
    for case in cases:
        _check_seams(case, by)
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


def _check_seams(case: Case, by: str) -> None:
    runtime, problem = case.execution.runtime, ""
    hint = f"Explain it in eager; --try runtime={runtime} measures the gain."
    if runtime in NEEDS:
        if is_graph(case.model.reference):
            problem = "an ONNX graph has no modules, and its operators are not counted"
            hint = "Explain the module that it was made from."
        elif by == "op":
            problem = f"{runtime} fuses operators, so that they cannot be told apart"
            hint = "Give --by stage or --by module."
        elif case.execution.dtype == "int8":
            problem = "there are no ceilings to hold int8 against"
            hint = "Leave --dtype out."
    elif runtime != "eager":
        problem = f"under the runtime {runtime} a model has no seams between its parts"
    if problem:
        raise UsageError(problem, where=case.name, hint=hint)
    if case.execution.stages:
        raise UsageError(
            "stages from the camera's bytes to boxes are the business of `detrbench latency`",
            where=case.name,
            hint="Leave stages out: --by stage takes the model itself apart.",
        )


def _device(case: Case) -> tuple[str, int]:
    kind, index = parse_device(case.execution.device)
    return kind, index or 0
