"""LaTeX: tables in the manner of the booktabs package, ready for a paper."""

from __future__ import annotations

import re

from detrbench.render.layout import Document, Table

_PREAMBLE = "% In the preamble: \\usepackage{booktabs,graphicx}\n"
_CHINESE_PREAMBLE = (
    "% In the preamble: \\usepackage{booktabs,graphicx,ctex}; compile with XeLaTeX.\n"
)

# As wide as it is, but no wider than the text: inside \resizebox, \width is the table's own.
_FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}
_TO_ESCAPE = re.compile("[" + re.escape("".join(_SPECIAL)) + "]")


def render(document: Document) -> str:
    """Each table as a float with its caption above and its notes beneath."""
    body = "\n".join(_text(table) for table in document.tables)
    chinese = re.search("[\u4e00-\u9fff]", body)
    return (_CHINESE_PREAMBLE if chinese else _PREAMBLE) + body


def _text(table: Table) -> str:
    sides = "".join("r" if column.align == "right" else "l" for column in table.columns)
    lines = [_row(line.texts("\\quad ", _quote)) for line in table.lines]
    notes = [f"\\par {_quote(note)}" for note in table.notes]
    return "\n".join(
        [
            "\\begin{table}",
            "\\centering\\footnotesize\\setlength{\\tabcolsep}{4pt}",
            *([f"\\caption{{{_quote(table.caption)}}}"] if table.caption else []),
            f"{_FIT}\n\\begin{{tabular}}{{{sides}}}",
            "\\toprule",
            _row([_quote(column.title) for column in table.columns]),
            "\\midrule",
            *lines,
            "\\bottomrule",
            "\\end{tabular}}",
            *(["\\par\\medskip\\begin{minipage}{\\linewidth}\\scriptsize", *notes,
               "\\end{minipage}"] if notes else []),
            "\\end{table}",
            "",
        ]
    )  # fmt: skip


def _row(cells: list[str]) -> str:
    # A bracket right after \\ would be read as its argument; {} in front of one keeps it text.
    return " & ".join(f"{{}}{cell}" if cell.startswith("[") else cell for cell in cells) + r" \\"


def _quote(text: str) -> str:
    """Text that LaTeX shows as it is, on one line; a minus sign before digits as such."""
    quoted = _TO_ESCAPE.sub(lambda match: _SPECIAL[match[0]], " ".join(text.split()))
    return re.sub(r"(?<![\w.\])}-])-(?=\d)", "$-$", quoted)
