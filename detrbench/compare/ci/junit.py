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
    Outcome.EXCEEDED: "failure",
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
    suites = ElementTree.Element("testsuites")
    named = {"name": "detrbench gate", "tests": str(len(cases)), **counts}
    suite = ElementTree.SubElement(suites, "testsuite", named)
    suite.extend(cases)
    said = "\n".join((headline(result), *result.notes))
    ElementTree.SubElement(suite, "system-out").text = _clean(said)
    ElementTree.indent(suites, " ")
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _case(check: Check) -> ElementTree.Element:
    name = f"{figure(check)}, largest value" if check.ceiling else figure(check)
    names = {"classname": _clean(subject(check) or "report"), "name": _clean(name)}
    case = ElementTree.Element("testcase", names)
    if element := _ELEMENTS.get(check.outcome):
        message = {"message": _clean("; ".join(check.reasons))}
        told = ElementTree.SubElement(case, element, message)
        if element != "skipped":
            told.set("type", check.outcome.value)
        facts = {
            "before": value(check, check.baseline),
            "now": value(check, check.value),
            "change": change(check),
            "limit": limit(check),
            "next": check.hint,
        }
        told.text = _clean("\n".join(f"{name}: {fact}" for name, fact in facts.items() if fact))
    return case


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
