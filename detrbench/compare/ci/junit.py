"""JUnit XML, which most services show beside their tests: one test case for every check.

A regression is a failure, what could not be checked an error, and what is undecided is skipped, for
the format knows no fourth outcome. The elements are those of Jenkins' schema, which others follow.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from detrbench.compare.gate import Check, GateResult, Outcome
from detrbench.compare.gate.tables import change, figure, headline, limit, subject, value

_ELEMENTS = {
    Outcome.REGRESSION: "failure",
    Outcome.INVALID: "error",
    Outcome.INCONCLUSIVE: "skipped",
}
_COUNTS = {"failures": "failure", "errors": "error", "skipped": "skipped"}

# What XML 1.0 cannot hold in any spelling (section 2.2).
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(result: GateResult) -> str:
    """The result as JUnit XML."""
    cases = [_case(check) for check in result.checks]
    counts = {
        name: str(sum(case.find(element) is not None for case in cases))
        for name, element in _COUNTS.items()
    }
    suite = ElementTree.Element(
        "testsuite", {"name": "detrbench gate", "tests": str(len(cases)), **counts}
    )
    suite.extend(cases)
    ElementTree.SubElement(suite, "system-out").text = _clean(
        "\n".join((headline(result), *result.notes))
    )
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites, " ")
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _case(check: Check) -> ElementTree.Element:
    case = ElementTree.Element(
        "testcase",
        {"classname": _clean(subject(check) or "report"), "name": _clean(_name(check))},
    )
    element = _ELEMENTS.get(check.outcome)
    if element is not None:
        message = "; ".join(check.reasons)
        told = ElementTree.SubElement(case, element, {"message": _clean(message)})
        if element != "skipped":
            told.set("type", check.outcome.value)
        told.text = _clean("\n".join(_facts(check)))
    return case


def _name(check: Check) -> str:
    return f"{figure(check)}, largest value" if check.ceiling else figure(check)


def _facts(check: Check) -> list[str]:
    facts = {
        "before": value(check, check.baseline),
        "now": value(check, check.value),
        "change": change(check),
        "limit": limit(check),
        "next": check.hint or "",
    }
    return [f"{name}: {fact}" for name, fact in facts.items() if fact]


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
