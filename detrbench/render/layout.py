"""What every rendering of a Report says: the one description of its tables.

Formats only quote it. Nothing here names a metric: which are shown, how, and what they are compared
with is data in `detrbench.reports.metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from detrbench.core.errors import UsageError, nearest
from detrbench.core.units import (
    header,
    parse_printed,
    printed_factor,
    ratio,
    show,
    show_change,
    show_part,
    show_range,
    show_share,
)
from detrbench.core.visible import visible
from detrbench.machine.environment import Environment
from detrbench.reports.comparison import Comparison, Side
from detrbench.reports.metrics import CONVENTION_METRICS, METRICS, Metric, Spread
from detrbench.reports.order import MIRRORED, Way, flips, headline, ways
from detrbench.reports.report import Report, Result, measured_like, metric_keys, missing_value
from detrbench.reports.settings import SETTINGS, settings_text
from detrbench.reports.verdicts import Verdict

PARTS = ("stage", "module", "op")
"""What a model can be broken down by."""

MEASURED = tuple(one for one in METRICS.values() if one.spread)
_PRINTED_TIMES = tuple(one for one in METRICS.values() if one.measured and one.published_as)
_SAID_IN = {"latency_ms": "ms", "fps": "images/s"}


@dataclass(frozen=True)
class Column:
    """A header, and the side its cells are aligned to."""

    title: str
    align: Literal["left", "right"] = "right"


def columns(sides: str, *titles: str) -> tuple[Column, ...]:
    """A column for each title; `sides` is as LaTeX has it, "lr" for one left and one right."""
    return tuple(
        Column(title, "left" if side == "l" else "right")
        for side, title in zip(sides, titles, strict=True)
    )


@dataclass(frozen=True)
class Line:
    """One line of a table: a label, `level` steps in, and a text for every further column."""

    label: str
    cells: tuple[str, ...]
    level: int = 0

    def texts(self, step: str, quote: Callable[[str], str] = str) -> list[str]:
        """Label and cells as a format quotes them, `step` before the label for each level."""
        return [step * self.level + quote(self.label), *map(quote, self.cells)]


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
    """The same content three times: tables for readers, flat records for CSV, data for JSON; and
    the report that it is of, if it is of one, for formats that draw."""

    tables: tuple[Table, ...]
    records: Sequence[Mapping[str, Any]]
    data: Any
    report: Report | None = None
    pictures: tuple[Picture, ...] = ()

    def visible(self) -> Document:
        """The same for a reader: in tables and records every control character can be seen."""
        records = [
            {
                visible(name): visible(value) if isinstance(value, str) else value
                for name, value in record.items()
            }
            for record in self.records
        ]
        return replace(self, tables=tuple(map(_visible_table, self.tables)), records=records)


def _visible_table(table: Table) -> Table:
    return Table(
        visible(table.caption),
        tuple(replace(column, title=visible(column.title)) for column in table.columns),
        tuple(
            Line(visible(line.label), tuple(map(visible, line.cells)), line.level)
            for line in table.lines
        ),
        tuple(map(visible, table.notes)),
    )


def document(report: Report, by: str | None = None) -> Document:
    """Lay a report out.

    Args:
        by: "stage", "module" or "op" adds a table of those parts, with their shares.

    Raises:
        UsageError: `by` is none of these, or no row of the report holds such parts.
    """
    parts = None if by is None else _breakdown(report, by)
    # A table for each workload that is timed: what is in one is compared.
    *summaries, last = (_summary(report, rows) for rows in workloads(report))
    last = replace(last, notes=(*last.notes, *provenance(report)))
    tables = filter(None, (*summaries, last, *_verdicts(report), *_orders(report), parts))
    return Document(tuple(tables), report.records(by), report.to_dict(), report)


# --- one line per model ------------------------------------------------------------------------


def workloads(report: Report) -> list[tuple[Result, ...]]:
    """The rows, those of one workload together: times of others say nothing beside them. What has
    no cases is one, and so is what nobody timed."""
    timed = any(one.key in row.metrics for row in report.rows for one in MEASURED)
    groups: dict[tuple[Any, ...], list[Result]] = {}
    for row in report.rows:
        workload = row.case.execution.workload if timed and row.case is not None else ()
        groups.setdefault(workload, []).append(row)
    return [tuple(rows) for rows in groups.values()] or [()]


def _summary(report: Report, rows: tuple[Result, ...]) -> Table:
    shown = summary_metrics(rows)
    marks = Marks()
    lines: list[Line] = []
    printed: set[tuple[str, tuple[Line, ...]]] = set()  # of a model, what was and how far off
    for row in rows:
        lines.append(_values_line(row, row_label(row, rows), shown, marks))
        reference = report.reference(row)
        if reference is not None and row.status == reference.status == "ok":
            changes = tuple(_difference_text(row, reference, report, one, marks) for one in shown)
            lines.append(Line(f"against {reference_label(reference, rows)}", changes, level=1))
        for figure in row.published:
            beneath = tuple(_published_lines(figure, row, shown, marks))
            ends = row.model, (*beneath[:1], *beneath[-1:])
            if row.case is None or ends not in printed:  # once for all cases of a model
                lines.extend(beneath)
                printed.add(ends)
    doubling = "1 MAC = 2 FLOPs" if any(one.convention for one in shown) else ""
    caption = ": ".join(part for part in (report.title, _common_text(rows, doubling)) if part)
    footnotes = [f"{one.title}: {one.footnote}" for one in shown if one.footnote]
    return Table(
        caption=f"{caption}." if caption else "",
        columns=(Column("Model", "left"), *map(value_column, shown)),
        lines=tuple(lines),
        notes=(*marks.notes, *_brackets(rows, shown), *footnotes, *_said(rows)),
    )


def summary_metrics(rows: tuple[Result, ...]) -> list[Metric]:
    """The metrics that a table shows unasked, FLOPs by the convention that was asked for."""
    asked = {row.settings.get("convention", "core") for row in rows}
    return [
        METRICS[key]
        for key in metric_keys(rows)
        if key in METRICS and METRICS[key].convention in {None, *asked}
        if METRICS[key].summary or any(map(_prints(METRICS[key]), rows))
    ]


def _prints(one: Metric) -> Callable[[Result], bool]:
    """Whether somebody published this metric of a row's model."""
    return lambda row: any(figure.get(one.published_as or "") for figure in row.published)


def value_column(shown: Metric) -> Column:
    return Column(header(shown.title, shown.unit))


def _values_line(row: Result, label: str, shown: list[Metric], marks: Marks) -> Line:
    if row.status != "ok":
        mark = marks.mark(f"{label} {row.status}: {row.reason or 'no reason was recorded'}")
        if all(row.metrics.get(one.key) is None for one in shown):
            blanks = ("",) * (len(shown) - 1)
            return Line(label, (f"{row.status} {mark}", *blanks)[: len(shown)])
        label = f"{label} {mark}"
    return Line(label, tuple(cell_text(row, one, marks) for one in shown))


def cell_text(row: Result, one: Metric, marks: Marks) -> str:
    """A value, or that there is none and a mark of why."""
    return value_text(row, one) or f"n/a {marks.mark(f'n/a: {missing_value(row, one.key)}')}"


def value_text(row: Result, one: Metric) -> str | None:
    """A value, and in brackets its spread where it has one; None where there is no value."""
    value, interval = row.metrics.get(one.key), interval_of(row, one)
    if value is None:
        return None
    brackets = f" {show_range(*interval, one.unit)}" if interval else ""
    return show(value, one.unit) + brackets


def interval_of(row: Result, one: Metric) -> tuple[Any, Any] | None:
    """The ends of what is printed in brackets beside a value, if the row holds both."""
    spread = _spread_of(row, one)
    return None if spread is None else (row.metrics[spread.low], row.metrics[spread.high])


def _spread_of(row: Result, one: Metric) -> Spread | None:
    held = {key for key, value in row.metrics.items() if value is not None}
    return next((spread for spread in one.spread if {spread.low, spread.high} <= held), None)


def _brackets(rows: tuple[Result, ...], shown: list[Metric]) -> list[str]:
    return [
        f"{one.title}: in brackets {spread.meaning}"
        for one in shown
        for spread in one.spread
        if any(_spread_of(row, one) == spread for row in rows)
    ]


def reference_label(reference: Result, rows: tuple[Result, ...]) -> str:
    """Its model's name; with its settings where the caption does not say what is as in it."""
    return reference.model if reference.case is None else row_label(reference, rows)


def _difference_text(
    row: Result, reference: Result, report: Report, one: Metric, marks: Marks
) -> str:
    change = change_of(row, reference, one)
    if change is None:
        return ""
    pair = comparison_of(row, report) if one.spread else None
    if pair is not None:  # the ratio within rounds tells more than that of two medians
        return _pair_text(pair, marks)
    here, there = interval_of(row, one), interval_of(reference, one)
    if here and there and here[0] <= there[1] and there[0] <= here[1]:
        mark = marks.mark("the intervals overlap: this run does not show a difference")
        return f"{show_change(change)} {mark}"
    return show_change(change)


def change_of(row: Result, reference: Result, one: Metric) -> float | None:
    """The ratio of two rows' values; None where one of them has none."""
    value, before = row.metrics.get(one.key), reference.metrics.get(one.key)
    return None if value is None or before is None else ratio(value, before)


def difference(row: Result, reference: Result, one: Metric, report: Report) -> float | None:
    """By how much a row's value is another's: of times that were measured in pairs, as their
    comparison has it, which tells more than the ratio of two medians. None where one has none."""
    pair = comparison_of(row, report) if one.spread else None
    if pair is not None and pair.baseline.is_of(reference):
        return pair.ratio
    return change_of(row, reference, one)


def _pair_text(pair: Comparison, marks: Marks) -> str:
    """Such as "-9.5% FASTER"; its interval and its reasons are in the table of comparisons."""
    change = show_change(pair.ratio or 1)
    if pair.verdict:
        return f"{change} {pair.verdict}"
    reasons = "; ".join(pair.reasons)
    return f"{change} {marks.mark(reasons)}" if reasons else change


def comparison_of(row: Result, report: Report) -> Comparison | None:
    """The measured pair of `row` and its reference, if there is one."""
    pair = report.comparison(row)
    return pair if pair is not None and pair.ratio and report.reference(row) is not None else None


# --- one line per pair -------------------------------------------------------------------------


def _verdicts(report: Report) -> Iterator[Table]:
    """Every measured pair with its interval and verdict, in a first table where it is what a row is
    read against; models that are executed alike in another way have a table for each way."""
    tables: dict[str | None, list[Comparison]] = {}
    seen: list[Side] = []
    for pair in headline(report):
        if pair.verdict:
            baseline = baseline_label(pair, report) if pair.case in seen else None
            tables.setdefault(baseline, []).append(pair)
            seen.append(pair.case)
    for judged in tables.values():
        yield _verdicts_of(judged, report)


def _verdicts_of(judged: Sequence[Comparison], report: Report) -> Table:
    marks = Marks()
    lines = []
    for pair in judged:
        change = show_change(pair.ratio) if pair.ratio else "n/a"
        how = f" ({show_part(round(pair.confidence, 4))})" if pair.confidence else ""
        interval = interval_text(pair)
        verdict = " ".join((str(pair.verdict), *map(marks.mark, pair.reasons)))
        processes = str(len(pair.process_log_ratios))
        cells = (change, f"{interval}{how}" if interval else "n/a", processes, verdict)
        lines.append(Line(side_label(pair.case, report), cells))
    margins = sorted({pair.margin for pair in judged if pair.margin})
    margin = f", margin {' and '.join(map(show_part, margins))}" if margins else ""
    baselines = ", ".join(dict.fromkeys(baseline_label(pair, report) for pair in judged))
    return Table(
        caption=f"Latency against {baselines}, paired within rounds{margin}.",
        columns=columns("lrlrl", "Model", "Difference", "Interval", "Processes", "Verdict"),
        lines=tuple(lines),
        notes=tuple(marks.notes),
    )


def _orders(report: Report) -> Iterator[Table]:
    """The order of the models in each way that they are executed, and which of them change it."""
    if not (found := ways(report)):
        return
    lines = [Line(_way_label(way, found), (_order_text(way),)) for way in found]
    turned = [_flip_text(one, other, report) for one, other in flips(report)]
    decided = any(verdict in MIRRORED for way in found for verdict in way.verdicts)
    none = (
        "no two models are decided one way here and the other way there"
        if decided
        else "no two models are decided in any way"
    )
    yield Table(
        caption="Which model is faster, by how it is executed.",
        columns=columns("ll", "Executed", "Fastest first"),
        lines=tuple(lines),
        notes=(f"{_JOINTS}.", *(turned or [none])),
    )


_JOINTS = "<: faster, by a verdict; =: EQUIVALENT; ?: in this order, undecided"
_JOINT: Mapping[Verdict | None, str] = {Verdict.SLOWER: "<", Verdict.EQUIVALENT: "="}


def _way_label(way: Way, others: Sequence[Way]) -> str:
    """The settings in which the ways differ."""
    told = [one.execution.asked() for one in others]
    own = way.execution.asked()
    differing = {key: own.get(key) for key in own if any(own[key] != one.get(key) for one in told)}
    return settings_text(differing, short=True)


def _order_text(way: Way) -> str:
    """Such as "a < b ? c"; of each but the first, what is said of it against the one before."""
    joined = (
        f" {_JOINT.get(verdict, '?')} {row.model}"
        for row, verdict in zip(way.rows[1:], way.verdicts, strict=True)
    )
    return "".join((way.rows[0].model, *joined))


def _flip_text(one: Comparison, other: Comparison, report: Report) -> str:
    said = (
        f"{side_label(pair.case, report)} is {pair.verdict} than {baseline_label(pair, report)} "
        f"({show_change(pair.ratio or 1)}, {interval_text(pair)})"
        for pair in (one, other)
    )
    return f"flip: {', but '.join(said)}"


def baseline_label(pair: Comparison, report: Report) -> str:
    """What a comparison is against, as its row is called above."""
    return pair.baseline.model if pair.baseline.case is None else side_label(pair.baseline, report)


def side_label(side: Side, report: Report) -> str:
    """As its row is called above, so that settings tell pairs apart where they must."""
    row = next((row for row in report.rows if side.is_of(row)), None)
    return side.model if row is None else row_label(row, report.rows)


def interval_text(pair: Comparison) -> str:
    """Such as "-10.4% to -8.6%"; "" where it is not known."""
    if pair.ci_low is None or pair.ci_high is None:
        return ""
    return f"{show_change(pair.ci_low)} to {show_change(pair.ci_high)}"


# --- figures that others published -------------------------------------------------------------


def _published_lines(
    figure: Mapping[str, Any], row: Result, shown: list[Metric], marks: Marks
) -> Iterator[Line]:
    """What was printed; ours at its settings, unless `row` is that; by how much ours is off."""
    printed = tuple(figure.get(one.published_as or "") or "" for one in shown)
    if not any(printed) and not _times_of(figure):
        return
    ours = [_ours(figure, one, row) for one in shown]
    deviations = tuple(
        "" if one.measured and not _names_device(figure) else deviation_text(figure, one, value)
        for one, value in zip(shown, ours, strict=True)
    )
    mark = marks.mark(published_note(figure, likewise=any(deviations)) + _times_note(figure, shown))
    yield Line(f"published {mark}", printed, level=1)
    own = [row.metrics.get(one.key) for one in shown]
    if any(value not in (None, here) for value, here in zip(ours, own, strict=True)):
        yield ours_line(shown, ours, mark)
    if any(deviations):
        yield Line("deviation", deviations, level=1)


def ours_line(shown: Sequence[Metric], ours: Sequence[float | None], mark: str) -> Line:
    """Our values at the settings that reproduce printed ones."""
    pairs = zip(shown, ours, strict=True)
    texts = ("" if value is None else show(value, one.unit) for one, value in pairs)
    return Line(f"ours, same set-up {mark}", tuple(texts), level=1)


def published_note(figure: Mapping[str, Any], likewise: bool = True) -> str:
    """Whose figure it is; where ours stands beside it `likewise`, at which settings."""
    label, source = figure.get("label") or "published", figure.get("source")
    settings = settings_text(figure.get("settings") or {}, short=True)
    set_up = f"; our same set-up: {settings}" if settings and likewise else ""
    return f"{label}, {source}{set_up}" if source else f"{label}{set_up}"


def _times_of(figure: Mapping[str, Any]) -> list[Metric]:
    return [one for one in _PRINTED_TIMES if figure.get(one.published_as or "")]


def _times_note(figure: Mapping[str, Any], shown: Sequence[Metric]) -> str:
    """What its times are of: who times other images, elsewhere, must not take them for a goal. And
    which, where they have no column, because nothing was timed."""
    times = _times_of(figure)
    if not times:
        return ""
    names = [one.published_as or "" for one in times if one not in shown]
    told = ", ".join(f"{figure[name]} {_SAID_IN[name]}" for name in names)
    told = f" ({told})" if told else ""
    size = (figure.get("settings") or {}).get("imgsz")
    of = [f"images of {size}"] if size else []
    if not _names_device(figure):
        of.append("a machine that it does not name")
    if of:
        return f"; its times{told} are of {', on '.join(of)}"
    return f"; its times{told}" if told else ""


def _names_device(figure: Mapping[str, Any]) -> bool:
    return bool((figure.get("settings") or {}).get("device"))


def _ours(figure: Mapping[str, Any], one: Metric, row: Result) -> int | float | None:
    """Our value at a printed one's settings; None where none was printed, or ours has others."""
    printed = figure.get(one.published_as or "")
    if not printed or (one.measured and not measured_like(figure, row.settings)):
        return None
    ours: Mapping[str, int | float] = figure.get("ours") or {}
    if one.convention is None:
        return ours.get(one.key)
    # The FLOPs of a published figure are of its own convention, not of ours.
    convention = (figure.get("settings") or {}).get("convention", one.convention)
    return ours.get(CONVENTION_METRICS.get(convention, one.key))


def deviation_text(figure: Mapping[str, Any], one: Metric, ours: float | None) -> str:
    """By how much ours is off what was printed; "" where one of them is missing."""
    printed = figure.get(one.published_as or "")
    if not printed or ours is None:
        return ""
    factor, label = printed_factor(one.unit), figure.get("label")
    wanted = parse_printed(printed, factor=factor, where=label, in_full=True)
    change = ratio(ours, wanted.value)
    return "" if change is None else show_change(change)


# --- the parts of each model -------------------------------------------------------------------


def _breakdown(report: Report, by: str) -> Table:
    if by not in PARTS:
        raise UsageError(f"cannot break a model down by {by!r}", hint=nearest(by, PARTS))
    rows = [row for row in report.rows if row.parts.get(by)]
    if not rows:
        hint = f"make it with: detrbench profile --by {by}"
        raise UsageError(f"the report holds no values by {by}", hint=hint)
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
        columns=(Column(f"Model, {by}", "left"), *map(value_column, shown)),
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
    share = show_share(value, (whole or {}).get(one.key) or 0)
    return f"{show(value, one.unit)} ({share})" if share else show(value, one.unit)


# --- words -------------------------------------------------------------------------------------


def _usual_settings(rows: tuple[Result, ...]) -> dict[str, Any]:
    """What all rows have. Of cases, what holds where a row says nothing else: the first row's
    settings, and where that failed before they were read back, those of the first that did not.
    What keeps workloads apart is usual in none of them, nor is what a row leaves out that could
    have it."""
    first = rows[0].settings if rows else {}
    if not rows or any(row.case is None for row in rows):
        return {
            name: value
            for name, value in first.items()
            if all(name in row.settings and row.settings[name] == value for row in rows)
        }
    sound = next((row for row in rows if row.status == "ok"), rows[0])
    told = {name: value for name, value in first.items() if value is not None}
    found = {**sound.settings, **told}
    alike = [row for row in rows if row.settings.get("device") == found.get("device")]
    return {
        name: value
        for name, value in found.items()
        if _all_have(rows, name, value)
        or (
            (name not in SETTINGS or SETTINGS[name].comparable)
            and all(name in row.settings or row.status != "ok" for row in alike)
        )
    }


def _all_have(rows: tuple[Result, ...], name: str, value: Any) -> bool:
    """Whether no row has another value; what failed may have none."""
    return all(
        row.settings.get(name) == value or (row.status != "ok" and row.settings.get(name) is None)
        for row in rows
    )


def _common_text(rows: tuple[Result, ...], *more: str) -> str:
    """What all rows have, and `more`; of cases, also what holds where a row says nothing else."""
    usual = _usual_settings(rows)
    common = {name: value for name, value in usual.items() if _all_have(rows, name, value)}
    rest = settings_text({name: value for name, value in usual.items() if name not in common})
    everywhere = ", ".join(filter(None, (settings_text(common), *more)))
    otherwise = f"{rest} where a row does not say otherwise" if rest else ""
    return "; ".join(filter(None, (everywhere, otherwise)))


def row_label(row: Result, rows: tuple[Result, ...]) -> str:
    """The model's name, with whatever of its settings the caption cannot say for all rows; of
    cases, with whatever is not usual among them, or their name if that is nothing."""
    alike = (one.case for one in rows if one.model == row.model and one.settings == row.settings)
    if row.case is not None and any(case not in (None, row.case) for case in alike):
        return row.case.name  # other cases turned out to run as this one does
    usual = _usual_settings(rows)
    own = {
        name: value
        for name, value in row.settings.items()
        if name not in usual or usual[name] != value
    }
    text = settings_text(own, short=True)
    return f"{row.model} ({text})" if text else row.model


def _said(rows: tuple[Result, ...]) -> list[str]:
    """The notes of all rows, each once, with the models, or else the cases, it is of."""
    said: dict[str, list[Result]] = {}
    for row in rows:
        for note in row.notes:
            said.setdefault(note, []).append(row)
    return [f"{', '.join(_names(of, rows))}: {note}" for note, of in said.items()]


def _names(some: list[Result], rows: tuple[Result, ...]) -> list[str]:
    """What to call some of `rows`: their models, wherever these are all rows of one."""
    others = {row.model for row in rows if not any(row is one for one in some)}
    names = [
        row_label(row, rows) if row.case is not None and row.model in others else row.model
        for row in some
    ]
    return list(dict.fromkeys(names))


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
    notes = (f"Machine: {machine}." if machine else "", " ".join(filter(None, said)))
    return [note for note in notes if note]


@dataclass
class Marks:
    """Footnotes: the same text gets the same number."""

    _numbers: dict[str, int] = field(default_factory=dict)

    @property
    def notes(self) -> list[str]:
        return [f"[{number}] {text}" for text, number in self._numbers.items()]

    def mark(self, text: str) -> str:
        return f"[{self._numbers.setdefault(text, len(self._numbers) + 1)}]"
