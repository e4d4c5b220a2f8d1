"""The words of a table in other languages than English.

Layout speaks English; here finished tables are put into other words, pattern by pattern. What is
not words of ours (names, reasons, notes, sources) stays as it was written.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

from detrbench.core.errors import UsageError, nearest
from detrbench.core.units import UNITS, header
from detrbench.render.layout import Column, Document, Line, Table
from detrbench.reports.metrics import METRICS, Metric

LANGUAGES = ("en", "zh")


def check_language(lang: str, *, where: str | None = None) -> str:
    """`lang`, if tables can be put into it.

    Raises:
        UsageError: they cannot.
    """
    if lang not in LANGUAGES:
        raise UsageError(f"unknown language {lang!r}", where=where, hint=nearest(lang, LANGUAGES))
    return lang


def translated(document: Document, lang: str) -> Document:
    """`document`, its tables in the words of `lang`; records and data, for programs, stay."""
    if check_language(lang) == "en":
        return document
    return dataclasses.replace(document, tables=tuple(map(_table, document.tables)))


def _table(table: Table) -> Table:
    return Table(
        caption=_sentence(table.caption),
        columns=tuple(
            Column(_TITLES.get(column.title, column.title), column.align)
            for column in table.columns
        ),
        lines=tuple(
            Line(_label(line.label), tuple(map(_cell, line.cells)), line.level)
            for line in table.lines
        ),
        notes=tuple(map(_note, table.notes)),
    )


def _metric_title(metric: Metric) -> str:
    """As the article writes it: 参数量 (M), 计算量 (GFLOPs)."""
    shown = UNITS[metric.unit].shown
    core = metric.convention in (None, "core")
    within = ", ".join(each for each in (shown, "" if core else metric.convention) if each)
    return f"{metric.title_zh} ({within})" if within else f"{metric.title_zh}"


_TITLES = {
    "Model": "模型",
    "Model, stage": "模型, 阶段",
    "Model, module": "模型, 模块",
    "Model, op": "模型, 算子",
    "Difference": "差异",
    "Interval": "区间",
    "Processes": "进程数",
    "Verdict": "结论",
    "Executed": "执行方式",
    "Fastest first": "由快到慢",
    **{
        header(metric.title, metric.unit): _metric_title(metric)
        for metric in METRICS.values()
        if metric.title_zh
    },
}


def _replacing(*pairs: tuple[str, str]) -> Callable[[str], str]:
    """What replaces the first pattern that is all of a text, and leaves other texts alone."""

    def replace(text: str) -> str:
        for english, chinese in pairs:
            if match := re.fullmatch(english, text):
                return match.expand(chinese)
        return text

    return replace


_label = _replacing(
    (r"against (.*)", r"相对 \1"),
    (r"published (\[\d+\])", r"已发表 \1"),
    (r"ours, same set-up (\[\d+\])", r"同设置下本测 \1"),
    (r"deviation", "偏差"),
    (r"(.*)\(image (\S+)(.*)\)", r"\1(图像 \2\3)"),
)

_VERDICTS = {
    "FASTER": "更快",
    "SLOWER": "更慢",
    "EQUIVALENT": "相当",
    "INCONCLUSIVE": "无定论",
    "TOO FEW": "数据不足",
    "BUSY": "机器繁忙",
    "INVALID": "无效",
}


def _cell(text: str) -> str:
    for english, chinese in _VERDICTS.items():
        text = re.sub(rf"\b{english}\b", chinese, text)
    return text.replace(" to ", " 至 ")


_AGAINST = re.compile(r"Latency against (.*)(, paired within rounds.*)")
_OTHERWISE = " where a row does not say otherwise"

_phrase = _replacing(
    (r"image (\S+)", r"图像 \1"),
    (r"batch (\d+)", r"批大小 \1"),
    (r"nc=(\d+)", r"类别数 \1"),
    (r"unfused", "未融合"),
    (r"fused", "已融合"),
    (r"convention (\S+)", r"计数约定 \1"),
    (r"on (cpu|cuda\S*)", r"设备 \1"),
    (r"1 thread", "1 个线程"),
    (r"(\d+) threads", r"\1 个线程"),
    (r"margin (\S+)", r"界限 \1"),
    (r"paired within rounds", "逐轮配对"),
    (r"with the share of the whole model", "括号内为占全模型的份额"),
    (r"By stage", "按阶段"),
    (r"By module", "按模块"),
    (r"By op", "按算子"),
    (r"Cost of one forward pass", "一次前向计算的开销"),
    (r"Latency", "推理速度"),
    (r"Which model is faster", "哪个模型更快"),
    (r"by how it is executed", "按执行方式"),
    (_OTHERWISE, " (行内另有说明者除外)"),
)


def _sentence(caption: str) -> str:
    """A caption is phrases between commas and colons."""
    against = _AGAINST.fullmatch(caption)
    if against is not None:
        return f"相对 {against[1]} 的推理速度{_sentence(against[2])}"
    pieces = re.split(rf"(, |: |; |{_OTHERWISE}|\.$)", caption)
    return "".join(map(_phrase, pieces))


_note = _replacing(
    (r"Machine: (.*)", r"机器: \1"),
    (
        r"Made by detrbench (\S+), schema (\d+), on (.*?) with: (.*)",
        r"由 detrbench \1 (格式 \2) 于 \3 生成, 命令: \4",
    ),
    (
        r"Latency: in brackets the median's 95% interval over processes",
        "推理速度: 括号内为中位数在各进程间的 95% 区间",
    ),
    (
        r"Latency: in brackets the quartiles of all samples, too few processes for an interval",
        "推理速度: 括号内为全部样本的四分位数 (进程太少, 不足以给出区间)",
    ),
    (
        r"<: faster, by a verdict; =: EQUIVALENT; \?: in this order, undecided.",
        "<: 有结论的更快; =: 相当; ?: 排列如此, 尚无结论.",
    ),
    (
        r"no two models are decided one way here and the other way there",
        "没有两个模型的快慢结论随执行方式反转",
    ),
)
