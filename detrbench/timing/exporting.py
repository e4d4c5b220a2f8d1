"""Graphs for the runtimes that execute one: exported before a run's first process, in one of its
own, so that neither a budget nor a sample pays for it.

    python -m detrbench.timing.exporting < case.json
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from detrbench.core.processes import environment, module_command, own_stdout
from detrbench.core.units import show_eta, show_quantity
from detrbench.models.sources.onnx import is_graph
from detrbench.reports.case import Case
from detrbench.runtimes import NEEDS, NEEDS_FOR_INT8
from detrbench.runtimes.artefacts import artefact, exporters, kept_facts, key_of, versions
from detrbench.timing.rounds import OnProgress, Progress

COMMAND = module_command("detrbench.timing.exporting")
KIND = "exported-cases"
"""Which graph each case has: that is known without building it."""

_LOOK_S = 0.5


def export_first(
    cases: Sequence[Case],
    progress: OnProgress | None = None,
    announce: Callable[[str], None] | None = None,
    *,
    command: Sequence[str] = COMMAND,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Export what the runtimes of `cases` execute, where it is not in the cache. What cannot be
    exported is left to the process that times it, which says why."""
    graphs = {
        _key(case): case
        for case in cases
        if case.execution.runtime in NEEDS and not is_graph(case.model.reference)
    }
    missing = [case for key, case in graphs.items() if not _is_exported(key)]
    for done, case in enumerate(missing):
        began = now()
        facts = _export(case, command, partial(_tell, progress, case, done, len(missing)))
        if announce is not None and facts is not None:
            size = show_quantity(facts["file_bytes"], "B")
            announce(
                f"exported {case.model.name} in {show_eta(now() - began)}, {size}, to "
                f"{facts['folder']}"
            )


def _tell(progress: OnProgress | None, case: Case, done: int, total: int) -> None:
    if progress is not None:
        also = " and quantising it" if case.execution.dtype == "int8" else ""
        phase = f"exporting {case.model.name} to ONNX{also}, once, outside of the budget"
        progress(Progress(phase, done, total))


def _key(case: Case) -> str:
    how = case.execution
    content: dict[str, Any] = {
        "model": {**dataclasses.asdict(case.model), "name": ""},
        "execution": [how.fused, how.imgsz, how.batch],
        "versions": exporters(),
    }
    if how.dtype == "int8":  # each runtime has its own way to it
        packages = (*NEEDS[how.runtime], *NEEDS_FOR_INT8.get(how.runtime, ()))
        content["int8"] = [how.runtime, versions(packages)]
    return key_of(content)


def _is_exported(key: str) -> bool:
    facts = kept_facts(KIND, key)
    return facts is not None and kept_facts(facts["kind"], facts["graph"]) is not None


def _export(case: Case, command: Sequence[str], tell: Callable[[], None]) -> dict[str, Any] | None:
    """What the process says of it; `None` where it failed."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env=environment(),
    ) as process:  # fmt: skip
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(case.to_dict()).encode())
            process.stdin.close()
            while process.poll() is None:
                tell()
                time.sleep(_LOOK_S)
            said = process.stdout.read()
        except BaseException:
            process.kill()
            raise
    try:
        found: dict[str, Any] = json.loads(said)
    except ValueError:
        return None
    return found


# --- in the process ----------------------------------------------------------------------------


def main() -> int:
    """Export the case on stdin, and say on stdout where it is."""
    from detrbench.runtimes.exported import Exported
    from detrbench.timing.opened import Opened

    channel = own_stdout()
    case = Case.from_dict(json.loads(sys.stdin.read()))
    opened = Opened(case)
    built, images = opened.build()
    assert isinstance(opened.runtime, Exported)
    file, facts = opened.runtime.export(built.module, images)
    where = {"kind": file.parent.parent.name, "graph": file.parent.name}
    artefact(KIND, _key(case), lambda _: where)
    channel.write(json.dumps({**facts, "folder": str(file.parent)}))
    channel.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
