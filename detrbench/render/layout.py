"""What every rendering of a Report says: the one description of its tables.

Formats only quote it. Nothing here names a metric: which are shown, how, and what they are compared
with is data in `detrbench.reports.metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from detrbench.core.errors import UsageError, nearest
from detrbench.core.units import (
    header,
    parse_printed,
    printed_factor,
    ratio,
    show,
    show_change,
    show_many,
    show_part,
    show_range,
    show_share,
)
from detrbench.machine.environment import Environment
from detrbench.reports.metrics import CONVENTION_METRICS, METRICS, Metric, Spread
from detrbench.reports.report import (
    Report,
    Result,
    is_of,
    measured_like,
    metric_keys,
    missing_value,
)

PARTS = ("stage", "module", "op")
"""What a model can be broken down by."""

_MEASURED = tuple(one for one in METRICS.values() if one.spread)


@dataclass(frozen=True)
class Column:
    """A header, and the side its cells are aligned to."""

    title: str
    align: Literal["left", "right"] = "right"


@dataclass(frozen=True)
class Line:
    """One line of a table: a label, `level` steps in, and a text for every further column."""

    label: str
    cells: tuple[str, ...]
    level: int = 0


@dataclass(frozen=True)
class Table:
    """A table as a reader sees it: texts, not yet quoted for any format."""

    caption: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Picture:
    """A picture of a feature's own, for formats that draw.

    Attributes:
        section: of the page that it belongs to, such as "parts".
        caption: how to read it.
        draw: makes an <svg> element, or `None` where there is nothing to see; called when shown.
    """

    section: str
    caption: str
    draw: Callable[[], str | None]


@dataclass(frozen=True)
class Document:
    """The same content three times: tables for readers, flat records for CSV, data for JSON.

    Attributes:
        report: what it is of, for formats that draw; `None` for documents of other things.
    """

    tables: tuple[Table, ...]
    records: Sequence[Mapping[str, Any]]
    data: Any
    report: Report | None = None
    pictures: tuple[Picture, ...] = ()


def document(report: Report, by: str | None = None) -> Document:
    """Lay a report out.

    Args:
        report: what to show.
        by: "stage", "module" or "op" adds a table of those parts, with their shares.

    Raises:
        UsageError: `by` is none of these, or no row of the report holds such parts.
    """
    tables = [_summary(report)]
    verdicts = _verdicts(report)
    if verdicts is not None:
        tables.append(verdicts)
    if by is not None:
        tables.append(_breakdown(report, by))
    return Document(tuple(tables), report.records(by), report.to_dict(), report)


# --- one line per model ------------------------------------------------------------------------


def _summary(report: Report) -> Table:
    shown = _summary_metrics(report.rows)
    marks = Marks()
    lines: list[Line] = []
    for row in report.rows:
        lines.append(_values_line(row, row_label(row, report.rows), shown, marks))
        reference = report.reference(row)
        if reference is not None and row.status == reference.status == "ok":
            lines.append(_difference_line(row, reference, report, shown, marks))
        for figure in row.published:
            lines.extend(_published_lines(figure, row, shown, marks))
    return Table(
        caption=_caption(report, shown),
        columns=(Column("Model", "left"), *map(_column, shown)),
        lines=tuple(lines),
        notes=(
            *marks.notes,
            *_brackets(report.rows, shown),
            *(f"{one.title}: {one.footnote}" for one in shown if one.footnote),
            *_said(report.rows),
            *provenance(report),
        ),
    )


def _summary_metrics(rows: tuple[Result, ...]) -> list[Metric]:
    asked = {row.settings.get("convention", "core") for row in rows}
    return [
        METRICS[key]
        for key in metric_keys(rows)
        if key in METRICS and METRICS[key].summary and METRICS[key].convention in {None, *asked}
    ]


def _column(shown: Metric) -> Column:
    return Column(header(shown.title, shown.unit))


def _values_line(row: Result, label: str, shown: list[Metric], marks: Marks) -> Line:
    if row.status != "ok":
        mark = marks.mark(f"{label} {row.status}: {row.reason or 'no reason was recorded'}")
        if not any(_value(row, one) is not None for one in shown):
            blanks = ("",) * (len(shown) - 1)
            return Line(label, (f"{row.status} {mark}", *blanks)[: len(shown)])
        label = f"{label} {mark}"
    return Line(label, tuple(_cell_text(row, one, marks) for one in shown))


def _value(row: Result, one: Metric) -> int | float | None:
    return row.metrics.get(one.key)


def _cell_text(row: Result, one: Metric, marks: Marks) -> str:
    text = value_text(row, one)
    return text or f"n/a {marks.mark(f'n/a: {missing_value(row, one.key)}')}"


def value_text(row: Result, one: Metric) -> str | None:
    """A value, and in brackets its spread where it has one; None where there is no value."""
    value = _value(row, one)
    if value is None:
        return None
    spread = spread_of(row, one)
    if spread is None:
        return show(value, one.unit)
    return f"{show(value, one.unit)} {show_range(*ends_of(row, spread), one.unit)}"


def spread_of(row: Result, one: Metric) -> Spread | None:
    """The first of the metric's spreads that the row holds both ends of."""
    return next((spread for spread in one.spread if None not in ends_of(row, spread)), None)


def ends_of(row: Result, spread: Spread) -> tuple[Any, Any]:
    return row.metrics.get(spread.low), row.metrics.get(spread.high)


def _brackets(rows: tuple[Result, ...], shown: list[Metric]) -> list[str]:
    """What the brackets of each column mean."""
    found = {(one, spread) for one in shown for row in rows if (spread := spread_of(row, one))}
    return [
        f"{one.title}: in brackets {spread.meaning}"
        for one in shown
        for spread in one.spread
        if (one, spread) in found
    ]


def _difference_line(
    row: Result, reference: Result, report: Report, shown: list[Metric], marks: Marks
) -> Line:
    texts = tuple(_difference_text(row, reference, report, one, marks) for one in shown)
    return Line(f"against {reference.model}", texts, level=1)


def _difference_text(
    row: Result, reference: Result, report: Report, one: Metric, marks: Marks
) -> str:
    value, before = _value(row, one), _value(reference, one)
    change = None if value is None or before is None else ratio(value, before)
    if change is None:
        return ""
    if not one.spread:
        return show_change(change)
    pair = comparison_of(row, report)
    if pair is not None:  # the ratio within rounds tells more than that of two medians
        return _pair_text(pair, marks)
    if not _overlap(row, reference, one):
        return show_change(change)
    mark = marks.mark("the intervals overlap: this run does not show a difference")
    return f"{show_change(change)} {mark}"


def _pair_text(pair: Mapping[str, Any], marks: Marks) -> str:
    """Such as "-9.5% FASTER"; its interval and its reasons are in the table of comparisons."""
    if pair.get("verdict"):
        return f"{show_change(pair['ratio'])} {pair['verdict']}"
    reasons = "; ".join(pair.get("reasons") or ())
    return show_change(pair["ratio"]) + (f" {marks.mark(reasons)}" if reasons else "")


def comparison_of(row: Result, report: Report) -> Mapping[str, Any] | None:
    """The measured pair of `row` and its reference, if there is one."""
    reference = report.reference(row)
    return next(
        (
            pair
            for pair in report.comparisons
            if is_of(pair, row) and pair.get("ratio")
            if reference is not None and pair.get("baseline") == reference.model
        ),
        None,
    )


def _overlap(row: Result, other: Result, one: Metric) -> bool:
    here, there = spread_of(row, one), spread_of(other, one)
    if here is None or there is None:
        return False
    (low, high), (other_low, other_high) = ends_of(row, here), ends_of(other, there)
    return bool(low <= other_high and other_low <= high)


# --- one line per pair -------------------------------------------------------------------------


def _verdicts(report: Report) -> Table | None:
    """Every measured pair with its interval and verdict; `None` where nothing was judged."""
    judged = [pair for pair in report.comparisons if pair.get("verdict")]
    if not judged:
        return None
    marks = Marks()
    lines = [
        Line(
            pair_label(pair, report),
            (
                show_change(pair["ratio"]) if pair.get("ratio") else "n/a",
                _pair_interval(pair),
                str(len(pair.get("process_log_ratios") or ())),
                _pair_verdict(pair, marks),
            ),
        )
        for pair in judged
    ]
    margins = sorted({float(pair["margin"]) for pair in judged if pair.get("margin")})
    margin = f", margin {' and '.join(map(show_part, margins))}" if margins else ""
    baselines = ", ".join(dict.fromkeys(str(pair["baseline"]) for pair in judged))
    return Table(
        caption=f"Latency against {baselines}, paired within rounds{margin}.",
        columns=(
            Column("Model", "left"),
            Column("Difference"),
            Column("Interval", "left"),
            Column("Processes"),
            Column("Verdict", "left"),
        ),
        lines=tuple(lines),
        notes=tuple(marks.notes),
    )


def pair_label(pair: Mapping[str, Any], report: Report) -> str:
    """As its row is called above, so that settings tell pairs apart where they must."""
    row = next((row for row in report.rows if is_of(pair, row)), None)
    return str(pair["model"]) if row is None else row_label(row, report.rows)


def _pair_interval(pair: Mapping[str, Any]) -> str:
    low, high = pair.get("ci_low"), pair.get("ci_high")
    if low is None or high is None:
        return "n/a"
    how = f" ({show_part(pair['confidence'])})" if pair.get("confidence") else ""
    return f"{show_change(low)} to {show_change(high)}{how}"


def _pair_verdict(pair: Mapping[str, Any], marks: Marks) -> str:
    notes = " ".join(marks.mark(reason) for reason in pair.get("reasons") or ())
    return f"{pair['verdict']} {notes}".strip()


# --- figures that others published -------------------------------------------------------------


def _published_lines(
    figure: Mapping[str, Any], row: Result, shown: list[Metric], marks: Marks
) -> Iterator[Line]:
    """What was printed; ours at the settings that reproduce it, unless `row` is that; by how much
    ours is off."""
    printed = tuple(_printed(figure, one) or "" for one in shown)
    if not any(printed):
        return
    deviations = tuple(_deviation(figure, one, row) for one in shown)
    mark = marks.mark(_published_note(figure, likewise=any(deviations)))
    yield Line(f"published {mark}", printed, level=1)
    ours = [_ours(figure, one, row) for one in shown]
    others = [value for value, one in zip(ours, shown, strict=True) if value != _value(row, one)]
    if any(value is not None for value in others):
        texts = [
            "" if value is None else show(value, one.unit)
            for value, one in zip(ours, shown, strict=True)
        ]
        yield Line(f"ours, same set-up {mark}", tuple(texts), level=1)
    if any(deviations):
        yield Line("deviation", deviations, level=1)


def _published_note(figure: Mapping[str, Any], likewise: bool) -> str:
    label, source = figure.get("label") or "published", figure.get("source")
    settings = settings_text(figure.get("settings") or {}, SHORT_SETTINGS)
    timed = any(figure.get(one.published_as or "") for one in _MEASURED)
    return (
        label
        + (f", {source}" if source else "")
        + (f"; our same set-up: {settings}" if settings and likewise else "")
        + (_times_note(figure) if timed else "")
    )


def _times_note(figure: Mapping[str, Any]) -> str:
    """What they are of: whoever times other images, elsewhere, must not take them for a goal."""
    size = (figure.get("settings") or {}).get("imgsz")
    of = [f"images of {size}"] if size else []
    if not _names_device(figure):
        of.append("a machine that it does not name")
    return f"; its times are of {', on '.join(of)}" if of else ""


def _names_device(figure: Mapping[str, Any]) -> bool:
    return bool((figure.get("settings") or {}).get("device"))


def _printed(figure: Mapping[str, Any], one: Metric) -> str | None:
    return figure.get(one.published_as) if one.published_as else None


def _ours(figure: Mapping[str, Any], one: Metric, row: Result) -> int | float | None:
    """Our value at the settings that reproduce a printed one; None where nothing was printed, or
    where ours was measured at others."""
    if not _printed(figure, one) or (one in _MEASURED and not measured_like(figure, row.settings)):
        return None
    ours: Mapping[str, int | float] = figure.get("ours") or {}
    return ours.get(_published_key(figure, one))


def _deviation(figure: Mapping[str, Any], one: Metric, row: Result) -> str:
    printed, ours = _printed(figure, one), _ours(figure, one, row)
    incomparable = one in _MEASURED and not _names_device(figure)
    if printed is None or ours is None or incomparable:
        return ""
    wanted = parse_printed(printed, factor=printed_factor(one.unit), where=figure.get("label"))
    change = ratio(ours, wanted.value)
    return "" if change is None else show_change(change)


def _published_key(figure: Mapping[str, Any], one: Metric) -> str:
    """The metric a published figure is of: its FLOPs are of its own convention, not of ours."""
    if one.convention is None:
        return one.key
    convention = (figure.get("settings") or {}).get("convention", one.convention)
    return CONVENTION_METRICS.get(convention, one.key)


# --- the parts of each model -------------------------------------------------------------------


def _breakdown(report: Report, by: str) -> Table:
    if by not in PARTS:
        raise UsageError(f"cannot break a model down by {by!r}", hint=nearest(by, PARTS))
    rows = [row for row in report.rows if row.parts.get(by)]
    if not rows:
        raise UsageError(
            f"the report holds no values by {by}", hint=f"make it with: detrbench profile --by {by}"
        )
    shown = part_metrics(rows, by)
    lines: list[Line] = []
    for row in rows:
        whole = tuple(_part_text(row.metrics, one) for one in shown)
        lines.append(Line(row_label(row, report.rows), whole))
        for part in row.parts[by]:
            texts = tuple(_part_text(part, one, row.metrics) for one in shown)
            lines.append(Line(part["part"], texts, level=1))
    return Table(
        caption=f"By {by}, with the share of the whole model: {_common_text(report.rows)}.",
        columns=(Column(f"Model, {by}", "left"), *map(_column, shown)),
        lines=tuple(lines),
    )


def part_metrics(rows: list[Result], by: str) -> list[Metric]:
    """Those that add up over parts, or nearly, as times do; FLOPs by the core rules where the asked
    ones know no parts."""
    held = {key for row in rows for part in row.parts[by] for key in part}
    asked = {row.settings.get("convention", "core") for row in rows}
    if not any(CONVENTION_METRICS.get(convention) in held for convention in asked):
        asked = {"core"}
    return [
        one
        for one in METRICS.values()
        if one.summary and (one.additive or one.spread)
        if one.key in held and one.convention in {None, *asked}
    ]


def _part_text(
    values: Mapping[str, Any], one: Metric, whole: Mapping[str, Any] | None = None
) -> str:
    value = values.get(one.key)
    if value is None:
        return ""
    total = (whole or {}).get(one.key)
    share = show_share(value, total) if total else ""
    return f"{show(value, one.unit)} ({share})" if share else show(value, one.unit)


# --- words -------------------------------------------------------------------------------------

SETTINGS: dict[str, Callable[[Any], str]] = {
    "imgsz": lambda size: f"image {size}",
    "batch": lambda batch: f"batch {batch}",
    "nc": lambda nc: f"nc={nc}",
    "fused": lambda fused: "fused" if fused else "unfused",
    "convention": lambda convention: f"convention {convention}",
    "device": lambda device: f"on {device}",
    "dtype": str,
    "memory_format": str,
    "runtime": str,
    "threads": lambda threads: show_many(threads, "thread"),
    "stages": lambda timed: "stages timed" if timed else "stages not timed",
    "confirmation": lambda number: f"run {number or 1}",
}
"""How a setting is put into words; any other is written `name=value`."""

SHORT_SETTINGS: dict[str, Callable[[Any], str]] = {
    **SETTINGS,
    "imgsz": str,
    "convention": str,
}


def settings_text(
    settings: Mapping[str, Any], words: Mapping[str, Callable[[Any], str]] = SETTINGS
) -> str:
    """Settings in words, such as "image 640x640, batch 1, nc=80, unfused"."""
    known = [(name, settings[name]) for name in words if name in settings]
    others = [(name, value) for name, value in settings.items() if name not in words]
    return ", ".join(
        words[name](value) if name in words else f"{name}={value}"
        for name, value in (*known, *others)
        if value is not None
    )


def _common_settings(rows: tuple[Result, ...]) -> dict[str, Any]:
    first = rows[0].settings if rows else {}
    return {
        name: value
        for name, value in first.items()
        if all(name in row.settings and row.settings[name] == value for row in rows)
    }


def _common_text(rows: tuple[Result, ...]) -> str:
    return settings_text(_common_settings(rows))


def row_label(row: Result, rows: tuple[Result, ...]) -> str:
    """The model's name, with whatever of its settings the caption cannot say for all rows."""
    common = _common_settings(rows)
    own = {name: value for name, value in row.settings.items() if name not in common}
    text = settings_text(own, SHORT_SETTINGS)
    return f"{row.model} ({text})" if text else row.model


def _caption(report: Report, shown: list[Metric]) -> str:
    doubling = "1 MAC = 2 FLOPs" if any(one.convention for one in shown) else ""
    settings = ", ".join(part for part in (_common_text(report.rows), doubling) if part)
    caption = ": ".join(part for part in (report.title, settings) if part)
    return f"{caption}." if caption else ""


def _said(rows: tuple[Result, ...]) -> list[str]:
    """The notes of all rows, each once, with the models it is of."""
    models: dict[str, list[str]] = {}
    for row in rows:
        for note in row.notes:
            models.setdefault(note, []).append(row.model)
    return [f"{', '.join(dict.fromkeys(names))}: {note}" for note, names in models.items()]


def provenance(report: Report) -> list[str]:
    """On which machine, by which version, when and with which command a report was made."""
    return made(
        report.environment,
        report.detrbench_version and f"{report.detrbench_version}, schema {report.schema_version}",
        report.created,
        report.command,
    )


def made(environment: Mapping[str, Any], version: str, created: str, command: str) -> list[str]:
    """`provenance` of anything; what is not known is left out."""
    said = (
        f"Made by detrbench {version}," if version else "",
        f"on {created}" if created else "",
        f"with: {command}" if command else "",
    )
    machine = Environment.from_dict(dict(environment)).one_line()
    notes = (f"Machine: {machine}." if machine else "", " ".join(part for part in said if part))
    return [note for note in notes if note]


@dataclass
class Marks:
    """Footnotes: the same text gets the same number."""

    notes: list[str] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)

    def mark(self, text: str) -> str:
        if text not in self._numbers:
            self._numbers[text] = len(self._numbers) + 1
            self.notes.append(f"[{self._numbers[text]}] {text}")
        return f"[{self._numbers[text]}]"
