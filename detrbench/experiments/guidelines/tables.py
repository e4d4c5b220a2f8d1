"""Tables of the guidelines' experiments: what each network costs and takes, and what that shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from detrbench.core.units import header, ratio, show, show_change, show_part
from detrbench.experiments.guidelines.paper import SIDE, WIDTHS
from detrbench.experiments.guidelines.rules import Finding, Trial, findings, label_of, paper_ratio
from detrbench.machine.circumstances import circumstances_of, watched_in
from detrbench.render.layout import Document, Line, Table, columns, interval_text, provenance
from detrbench.reports.report import Report, Result
from detrbench.reports.settings import settings_text

OPEN_POINTS = (
    "The paper leaves open, and it was decided here: the batch (its figures allow one image only); "
    "normalisation, biases and activations of tables 1 to 3 (none); the widths of fragments (c "
    "over the root of their number) and how parallel ones are joined (added); the inner width of "
    "the bottleneck (c/4, as in ResNet). In table 2, x1, 180 channels are not divided by 8: 176."
)


def document(report: Report) -> Document:
    """A table per guideline, and one of verdicts; records and data are those of the report, the
    records with the conditions of each."""
    found = findings(report)
    tables = (*(_table(finding) for finding in found), _verdicts(found, report))
    pairs = zip(report.records(), report.rows, strict=True)
    records = [{**record, "conditions": _conditions(row)} for record, row in pairs]
    return Document(tables, records, report.to_dict())


def _conditions(row: Result) -> str | None:
    """What happened around its samples; None where that was not kept."""
    watched = watched_in(row.samples)
    return circumstances_of(watched).in_short if watched else None


def _table(finding: Finding) -> Table:
    guideline, machine = finding.guideline, _machine(finding)
    lines = [line for trial in finding.trials for line in _trial_lines(trial)]
    settings = _settings(finding.trials[0].cells[0])
    return Table(
        caption=f"{guideline.name}: {guideline.title}. Table {guideline.table} of the paper, "
        f"{guideline.what}, on maps of {SIDE}x{SIDE}{settings}.",
        columns=columns(
            "lrrrrrllr",
            "Network",
            header("MACs", "fine MAC"),
            header("Memory access", "element"),
            "against first",
            header("Latency", "short s"),
            "against first",
            "Interval",
            "Verdict",
            "Paper",
        ),
        lines=tuple(lines),
        notes=(
            *_remarks(finding),
            "Latency against first: paired within rounds, like its interval and its verdict",
            f"Paper: time against the first row on {machine}",
        ),
    )


def _trial_lines(trial: Trial) -> Iterator[Line]:
    yield Line(trial.column, ("",) * 8)
    first = trial.cells[0]
    for cell in trial.cells:
        pair = trial.pairs.get(label_of(cell))
        printed = paper_ratio(cell, first)
        yield Line(
            f"{label_of(cell)} ({cell.model.partition('/')[2]})",
            (
                _value(cell, "macs", "fine MAC"),
                _value(cell, "memory_access_elements", "element"),
                "" if cell is first else _change(cell, first, "memory_access_elements"),
                _value(cell, "latency_median_s", "short s"),
                show_change(pair.ratio) if pair and pair.ratio else "",
                (interval_text(pair) or "n/a") if pair else "",
                str(pair.verdict) if pair else cell.status if cell.status != "ok" else "",
                "" if cell is first or printed is None else show_change(printed),
            ),
            level=1,
        )


def _value(cell: Result, key: str, unit: str) -> str:
    value = cell.metrics.get(key)
    return "n/a" if value is None else show(value, unit)


def _change(cell: Result, first: Result, key: str) -> str:
    value, reference = cell.metrics.get(key), first.metrics.get(key)
    change = None if value is None or reference is None else ratio(value, reference)
    return "" if change is None else show_change(change)


def _settings(cell: Result) -> str:
    of_networks = ("guideline", "experiment", "network", "imgsz")
    text = settings_text({k: v for k, v in cell.settings.items() if k not in of_networks})
    return f": {text}" if text else ""


def _machine(finding: Finding) -> str:
    labels = [str(each["label"]) for each in finding.trials[0].cells[0].published]
    found = [one.machine for one in WIDTHS.values() if any(one.machine in each for each in labels)]
    return " and ".join(found) or "its own machine"


def _remarks(finding: Finding) -> list[str]:
    """Reasons and remarks of all rows, each once, with how many rows it is of."""
    cells = [cell for trial in finding.trials for cell in trial.cells]
    said = Counter(
        remark
        for one in cells
        for remark in (*([f"{one.status}: {one.reason}"] if one.status != "ok" else []), *one.notes)
    )
    return [
        remark if times == len(cells) else f"{times} of {len(cells)} networks: {remark}"
        for remark, times in said.items()
    ]


def _verdicts(found: Sequence[Finding], report: Report) -> Table:
    sizes = list(dict.fromkeys(trial.column for one in found for trial in one.trials))
    margins = sorted({pair.margin for pair in report.comparisons if pair.margin})
    margin = f" The margin is {' and '.join(map(show_part, margins))}." if margins else ""
    return Table(
        caption=f"Do the guidelines hold on this device?{margin}",
        columns=columns("l" * (len(sizes) + 2), "Guideline", *sizes, "Verdict"),
        lines=tuple(
            Line(
                f"{one.guideline.name} {one.guideline.title}",
                (*(_answer(one, size) for size in sizes), one.answer.value),
            )
            for one in found
        ),
        notes=(
            *(one.sentence() for one in found),
            "A guideline holds where, in every experiment, the rows farthest from the first are "
            "beyond the margin on the side the paper found, and none is beyond it on the other.",
            OPEN_POINTS,
            *provenance(report),
        ),
    )


def _answer(finding: Finding, column: str) -> str:
    return next((each.answer.value for each in finding.trials if each.column == column), "")
