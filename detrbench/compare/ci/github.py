"""GitHub Actions: the summary of a job, and annotations on the files of a change.

The environment says whether this is GitHub, where the summary is appended, and where the checkout
lies; the commands are those of "Workflow commands for GitHub Actions" in GitHub's documentation.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

from detrbench.compare.gate import Check, GateResult, Outcome
from detrbench.compare.gate.tables import change, figure, limit
from detrbench.compare.revisions import file_of
from detrbench.core.errors import DetrbenchWarning, UsageError
from detrbench.core.visible import visible
from detrbench.reports.parse_cases import split_reference

_LEVELS = {
    Outcome.REGRESSION: "error",
    Outcome.EXCEEDED: "error",
    Outcome.INVALID: "error",
    Outcome.INCONCLUSIVE: "warning",
}
"""Which annotation an outcome has; a pass has none."""


def on_github(environment: Mapping[str, str]) -> bool:
    """Whether this runs in a job of GitHub Actions, or of what speaks its language."""
    return environment.get("GITHUB_ACTIONS") == "true"


def append_summary(markdown: str, environment: Mapping[str, str]) -> None:
    """Append to the job's summary, if there is one; failing to changes no outcome, and is said."""
    path = environment.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with Path(path).open("a", encoding="utf-8", errors="replace") as file:
            file.write(f"{markdown.rstrip()}\n\n")
    except OSError as error:
        said = f"the job's summary cannot be written: {error}"
        warnings.warn(said, DetrbenchWarning, stacklevel=2)


def workflow_commands(result: GateResult, environment: Mapping[str, str]) -> list[str]:
    """One workflow command for every check that is no pass, on its model's file where it has one.

    GitHub shows no more than ten errors and ten warnings of a step: those that decide come first.
    """
    return [_command(check, environment) for check in result.ordered if check.outcome in _LEVELS]


def _command(check: Check, environment: Mapping[str, str]) -> str:
    of = " of ".join(part for part in (figure(check), check.model) if part)
    properties = {
        "file": _file(check.model, environment),
        "title": visible(f"detrbench {check.outcome.value}: {of}"),
    }
    named = [f"{name}={_property(text)}" for name, text in properties.items() if text is not None]
    message = visible(_message(check), lines=True)
    return f"::{_LEVELS[check.outcome]} {','.join(named)}::{_data(message)}"


def _file(model: str, environment: Mapping[str, str]) -> str | None:
    """The model's file as GitHub knows it, from the top of the checkout; `None` for a name."""
    try:
        path = file_of(split_reference(model)[0])
    except (UsageError, OSError, ValueError):  # or what no file can be called: a NUL, too long
        return None
    top = Path(environment.get("GITHUB_WORKSPACE") or Path.cwd()).resolve()
    there = path.resolve()
    return there.relative_to(top).as_posix() if there.is_relative_to(top) else path.as_posix()


def _message(check: Check) -> str:
    numbers = filter(None, (change(check), f"limit {limit(check)}" if limit(check) else ""))
    said = (", ".join(numbers), "; ".join(check.reasons), check.hint)
    return "\n".join(filter(None, said))


def _data(text: str) -> str:
    """Text that ends no command: a percent sign first, for the others bring some along."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
