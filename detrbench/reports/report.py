"""The Report: models x settings with their values, and everything needed to judge them.

A saved Report is the only truth on disk. Every table, page or verdict is made from it, so it keeps
full precision and raw samples, and a value that is missing says why.

The format's history:
    1: the first. A comparison names two models and one set of settings for both.
    2: a report holds its cases (what was built of which files, executed how), a row names its own,
       and a comparison names two, each with its settings.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detrbench.core.errors import UsageError
from detrbench.core.files import read_text, write_atomically
from detrbench.core.units import column_name, is_finite, parse_imgsz, show_imgsz, show_many
from detrbench.core.visible import visible_json
from detrbench.reports import VIEWS
from detrbench.reports.case import Case
from detrbench.reports.comparison import CONFIRMATION, OF_THE_MODEL, Comparison
from detrbench.reports.metrics import METRICS, metric
from detrbench.reports.schemas import first_problem
from detrbench.reports.soundness import contradictions

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 2


class ReportError(UsageError):
    """A file that cannot be read as a report, or a report that must not be written."""


@dataclass(frozen=True)
class Result:
    """One row of a Report: one model under one set of settings.

    Attributes:
        model: the name or path it was asked for by.
        title: the name a reader knows it by.
        settings: what makes the numbers mean something: imgsz "HxW", batch, nc, fused, convention.
        metrics: values in base units by metric key; None where `missing` says why.
        status: ok, partial (its figures lack what `reason` names), failed or interrupted.
        reason: why it is not ok.
        missing: metric key -> why its value is None.
        samples: raw measurements, such as {"latency_s": [seconds of each process]}.
        parts: "stage", "module" or "op" -> [{"part": its name, metric key: value, ...}].
        published: figures others printed: label, source, params, gflops, latency_ms, fps (text),
            the settings that reproduce them, and `ours`: metric key -> our value at those settings.
        notes: sentences a reader of the numbers must not miss.
        case: what was built and how it was executed, as it was asked for; `None` in reports of
            schema 1, and where nobody asked for one.
    """

    model: str
    title: str
    settings: dict[str, Any]
    metrics: dict[str, int | float | None]
    status: str = "ok"
    reason: str | None = None
    missing: dict[str, str] = field(default_factory=dict)
    samples: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    published: list[dict[str, Any]] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    case: Case | None = None

    @property
    def identity(self) -> str:
        """The model and its settings; of one case, what must be unique in a Report."""
        return json.dumps([self.model, self.settings], sort_keys=True, default=str)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as it stands in a file."""
        # Not dataclasses.asdict, which would copy every raw sample.
        return {**vars(self), "notes": list(self.notes), "case": self.case and self.case.id}


@dataclass(frozen=True)
class Report:
    """Rows of values, and the environment and command they are from.

    Attributes:
        rows: one Result per model and settings, in the order asked for.
        environment: what `detrbench.machine.environment` read on the machine.
        command: the command line or call that made it.
        created: ISO 8601 date and time with offset.
    """

    rows: tuple[Result, ...] = ()
    environment: dict[str, Any] = field(default_factory=dict)
    comparisons: tuple[Comparison, ...] = ()
    title: str = ""
    command: str = ""
    created: str = ""
    detrbench_version: str = ""
    schema_version: int = SCHEMA_VERSION

    def __repr__(self) -> str:
        """Its size; its samples would fill a screen."""
        rows = show_many(len(self.rows), "row")
        pairs = show_many(len(self.comparisons), "comparison")
        return f"<Report {self.title!r}: {rows}, {pairs}>"

    def __str__(self) -> str:
        """Its tables, where something has said how to lay them out."""
        return VIEWS.get("text", repr)(self)

    def _repr_html_(self) -> str | None:
        """What a notebook shows."""
        view = VIEWS.get("html")
        return None if view is None else view(self)

    @property
    def exit_code(self) -> int:
        """What a command ends with: 0, 4 with a failed or partial row, 130 when interrupted."""
        statuses = {row.status for row in self.rows}
        return 130 if "interrupted" in statuses else 4 if statuses & {"failed", "partial"} else 0

    def to_dict(self) -> dict[str, Any]:
        """Plain data in the order a reader of the file wants: what it is, then the rows."""
        return {
            "schema_version": SCHEMA_VERSION,  # also of what was read from an older file
            "detrbench_version": self.detrbench_version,
            "title": self.title,
            "command": self.command,
            "created": self.created,
            "environment": self.environment,
            "cases": [{"id": key, **case.to_dict()} for key, case in self.cases.items()],
            "rows": [row.to_dict() for row in self.rows],
            "comparisons": [pair.to_dict() for pair in self.comparisons],
        }

    @property
    def cases(self) -> dict[str, Case]:
        """The cases of all rows and comparisons, by id."""
        sides = (side for pair in self.comparisons for side in (pair.baseline, pair.case))
        named = [*(row.case for row in self.rows), *(side.case for side in sides)]
        return {case.id: case for case in named if case is not None}

    def to_json(self) -> str:
        """The report as JSON text, in full precision.

        Raises:
            ReportError: a value is not finite, of a wrong type, or a row stands twice; such a
                report is refused rather than written.
        """
        plain = self.to_dict()
        text = json_text(plain)
        _check(plain, "the report being written")
        return text

    @classmethod
    def from_json(cls, text: str, *, where: str = "the report") -> Report:
        """Read what `to_json` wrote.

        Args:
            where: the file it is from, for the messages.

        Raises:
            ReportError: not JSON, not a report, written by a newer version, a key missing or of the
                wrong type, a number that is not finite, or a row that stands twice.
        """
        try:
            plain = json.loads(
                text, parse_constant=_finite, parse_float=_finite, object_pairs_hook=_once
            )
        except (ValueError, RecursionError) as error:
            raise ReportError(
                f"not JSON ({error})", where=where, hint="is the file complete?"
            ) from error
        _check(plain, where)
        _check_schema_1(plain, where)
        cases = {case["id"]: Case.from_dict(case) for case in _plain_cases(plain)}
        pairs = [Comparison.from_dict(pair, cases) for pair in plain.get("comparisons", ())]
        rows = [_result(row, cases) for row in plain["rows"]]
        return cls(**{**_known(cls, plain), "rows": tuple(rows), "comparisons": tuple(pairs)})

    @classmethod
    def load(cls, path: Path | str) -> Report:
        """Read a saved report, and look whether it agrees with itself.

        Raises:
            ReportError: as `from_json`; or the file cannot be read; or what it says does not follow
                from its samples, or from the rest of it.
        """
        try:
            text = read_text(path)
        except (OSError, UnicodeDecodeError) as error:
            raise ReportError(f"cannot be read: {error}", where=str(path)) from error
        report = cls.from_json(text, where=str(path))
        found = list(contradictions(report.rows, report.comparisons, report.environment))
        if found:
            more = f"; {show_many(len(found) - 1, 'more place')} like it" if found[1:] else ""
            raise ReportError(
                f"{found[0][0]}: {found[0][1]}{more}",
                where=str(path),
                hint=f"It does not agree with itself. {_AS_WRITTEN}",
            )
        return report

    def save(self, path: Path | str) -> None:
        """Write the report as JSON; the file is either the old one or the whole new one."""
        write_atomically(path, self.to_json())

    def records(self, by: str | None = None) -> list[dict[str, Any]]:
        """One flat record per row: model, settings, values under names that carry their unit.

        Every record has the same names in the same order; None where a row has no value. Where
        models have several cases, `case` tells them apart, as `compared_with` names them; where a
        row has notes, they are the last column.

        Args:
            by: "stage", "module" or "op" adds a column `part` and a record for every such part
                beneath its row, whose own `part` is "all".
        """
        settings = list(dict.fromkeys(name for row in self.rows for name in row.settings))
        keys = metric_keys(self.rows)
        apart = any(self.label(row) != row.model for row in self.rows)
        noted = any(row.notes for row in self.rows)
        return [
            {
                "model": row.model,
                "title": row.title,
                **({"case": self.label(row)} if apart else {}),
                **({"part": part} if by else {}),
                **{name: _flat(row.settings.get(name)) for name in settings},
                **{column_name(key, metric(key).unit): values.get(key) for key in keys},
                **(self._judged(row) if self.comparisons else {}),
                "status": row.status,
                "reason": row.reason,
                "missing": "; ".join(f"{key}: {why}" for key, why in row.missing.items()) or None,
                **({"notes": "; ".join(row.notes) or None} if noted else {}),
            }
            for row in self.rows
            for part, values in (
                ("all", row.metrics),
                *((part["part"], part) for part in row.parts.get(by or "", ())),
            )
        ]

    @property
    def explanation(self) -> Mapping[str, Any] | None:
        """What `detrbench explain` kept; None where it did not make the report."""
        return next((pair.explanation for pair in self.comparisons if pair.explanation), None)

    def comparison(self, row: Result) -> Comparison | None:
        """The one that `row` is the subject of; of several runs', that of its own."""
        found = [pair for pair in self.comparisons if pair.case.is_of(row)]
        return max(found, key=lambda pair: len(pair.settings), default=None)

    def reference(self, row: Result) -> Result | None:
        """What `row` is read against: the row of its comparison's baseline, or else the first row
        of the same workload; None for that row itself."""
        pair = self.comparison(row)
        rows = self.rows if pair is None else [one for one in self.rows if pair.baseline.is_of(one)]
        first = next((one for one in rows if pair is not None or self._alike(one, row)), row)
        return None if first is row else first

    def _alike(self, one: Result, row: Result) -> bool:
        """Whether both are of one workload. Rows of schema 1 differ in nothing but their classes;
        what nobody timed may differ in whatever their figures are there to show."""
        differing = setting_differences(one.settings, row.settings).keys()
        if one.case is None or row.case is None:
            return not differing - OF_THE_MODEL
        same = one.case.execution.workload == row.case.execution.workload
        return same and CONFIRMATION not in differing

    def _judged(self, row: Result) -> dict[str, Any]:
        """The comparison that `row` is the subject of; None where it is of none."""
        pair, reference = self.comparison(row), self.reference(row)
        against = pair and (self.label(reference) if reference else pair.baseline.model)
        names = {"ratio": "ratio", "ci_low": "ratio_low", "ci_high": "ratio_high",
                 "verdict": "verdict"}  # fmt: skip
        judged = {column: getattr(pair, key, None) for key, column in names.items()}
        return {"compared_with": against, **judged}

    def label(self, row: Result) -> str:
        """What tells `row` from the others: its case's name, if others are of the same model."""
        same = [one for one in self.rows if one.model == row.model]
        return row.case.name if row.case is not None and len(same) > 1 else row.model

    def to_pandas(self) -> pd.DataFrame:
        """`records()` as a table; whole numbers stay whole (Int64) where some are missing."""
        import pandas as pd

        records = self.records()
        whole = {
            name: "Int64"
            for name in (records[0] if records else ())
            if {type(record[name]) for record in records} == {int, type(None)}
        }
        return pd.DataFrame.from_records(records).astype(whole)


def setting_differences(
    here: Mapping[str, Any], there: Mapping[str, Any], *, unsaid: bool = False
) -> dict[str, tuple[Any, Any]]:
    """Setting -> (here, there), of settings that both name and give another value.

    Args:
        unsaid: also those that only one of them names; the other's value is then None.
    """
    names = dict.fromkeys((*here, *there)) if unsaid else [name for name in here if name in there]
    both = {name: (here.get(name), there.get(name)) for name in names}
    return {name: (one, other) for name, (one, other) in both.items() if one != other}


def value_differences(here: Result, there: Result) -> dict[str, tuple[Any, Any]]:
    """Metric key -> (here, there), of what both have a value of, and not the same."""
    found = setting_differences(here.metrics, there.metrics)
    return {key: values for key, values in found.items() if None not in values}


def measured_like(figure: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Whether what was measured under `settings` may stand beside a published figure.

    It must not differ in any setting that the figure names; how its FLOPs were counted is none of
    a measurement.
    """
    named = dict(figure.get("settings") or {})
    named.pop("convention", None)
    if "imgsz" in named:
        named["imgsz"] = show_imgsz(parse_imgsz(str(named["imgsz"])))
    return not setting_differences(named, settings)


def missing_value(cell: Result, key: str) -> str:
    """Why `cell` has no value for `key`."""
    return cell.missing.get(key) or cell.reason or "not measured"


def metric_keys(rows: tuple[Result, ...]) -> list[str]:
    """The metrics that any of `rows` names: known ones in the order of METRICS, then the others."""
    present = {key for row in rows for key in (*row.metrics, *row.missing)}
    return [key for key in METRICS if key in present] + sorted(present - set(METRICS))


def json_text(plain: Any) -> str:
    """Plain data as JSON text in full precision.

    Raises:
        ReportError: a value is not finite or of a type JSON has not; the message says where.
    """
    try:
        text = json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        place = _first_unwritable(plain, "")
        raise ReportError(f"cannot be written: {error}", where=place) from error
    return visible_json(text)


def _flat(value: Any) -> Any:
    simple = value is None or isinstance(value, str | int | float)
    return value if simple else json.dumps(value, sort_keys=True, default=str)


def _result(plain: Mapping[str, Any], cases: Mapping[str, Case]) -> Result:
    values = {"title": plain["model"], **_known(Result, plain)}
    values["notes"] = tuple(plain.get("notes", ()))
    values["case"] = cases.get(plain.get("case") or "")
    return Result(**values)


def _known(kind: type[Report | Result], plain: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `kind` that are there; a file may hold more than this version knows."""
    return {f.name: plain[f.name] for f in dataclasses.fields(kind) if f.name in plain}


# --- checking plain data -------------------------------------------------------------------------


def _finite(text: str) -> float:
    value = float(text)  # json's constants NaN, Infinity, -Infinity come here too, as does 1e999
    if not is_finite(value):
        raise ValueError(f"{text} is not a number a report can hold")
    return value


_AS_WRITTEN = "Give the file as detrbench wrote it."


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of a file: of two values of a key, a reader would see one and a gate another."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return found


def _check_schema_1(plain: Mapping[str, Any], where: str) -> None:
    """Raise ReportError where a report says that it is of schema 1, and is not."""
    if plain["schema_version"] > 1:
        return
    for key, entries in (("rows", plain["rows"]), ("comparisons", plain.get("comparisons", []))):
        for index, entry in enumerate(entries):
            if isinstance(entry, dict) and entry.get("case") is not None:
                raise ReportError(
                    f"{key}[{index}].case is there, and schema_version 1 knows no cases",
                    where=where,
                    hint=_AS_WRITTEN,
                )


def _check(plain: Any, where: str) -> None:
    """Raise ReportError unless `plain` is a report this version can read."""
    if not isinstance(plain, dict) or "schema_version" not in plain:
        raise ReportError(
            "not a detrbench report: it has no schema_version",
            where=where,
            hint="give a run.json written by detrbench",
        )
    _check_version(plain["schema_version"], where)
    if problem := first_problem(plain, plain["schema_version"]):
        raise ReportError(problem, where=where, hint=_AS_WRITTEN)
    ids: set[str] = set()
    for index, case in enumerate(_plain_cases(plain)):
        if case["id"] in ids:
            said = f"cases[{index}] repeats the id {case['id']}"
            raise ReportError(said, where=where, hint=_AS_WRITTEN)
        ids.add(case["id"])
    seen: dict[tuple[str, str | None], int] = {}
    for index, row in enumerate(plain["rows"]):
        if row.get("case") is not None and row["case"] not in ids:
            said = f"rows[{index}].case names no case of `cases`"
            raise ReportError(said, where=where, hint=_AS_WRITTEN)
        # Cases that were asked for apart (two threads, and as many as there are) may run alike.
        identity = _result(row, {}).identity, row.get("case")
        if identity in seen:
            raise ReportError(
                f"rows[{index}] repeats rows[{seen[identity]}]: {row['model']} with the same "
                "settings stands twice",
                where=where,
                hint="keep one row per model and settings",
            )
        seen[identity] = index


def _plain_cases(plain: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a report of schema 1 calls so is nothing of ours."""
    cases: list[dict[str, Any]] = plain.get("cases", []) if plain["schema_version"] > 1 else []
    return cases


def _check_version(version: Any, where: str) -> None:
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        said = f"schema_version is {version!r}, not a whole number from 1"
        raise ReportError(said, where=where, hint=_AS_WRITTEN)
    if version > SCHEMA_VERSION:
        raise ReportError(
            f"written by a newer detrbench: schema_version {version}, and this one reads up to "
            f"{SCHEMA_VERSION}",
            where=where,
            hint="update detrbench: pip install --upgrade detrbench",
        )


def _first_unwritable(value: Any, path: str) -> str:
    """Where in data that JSON cannot hold the first value stands that it cannot."""
    children: dict[str, Any] = {}
    if isinstance(value, Mapping):
        children = {f".{key}": child for key, child in value.items()}
    elif isinstance(value, list | tuple):
        children = {f"[{index}]": child for index, child in enumerate(value)}
    for step, child in children.items():
        try:
            json.dumps(child, allow_nan=False)
        except (TypeError, ValueError):
            return _first_unwritable(child, f"{path}{step}")
    return path
