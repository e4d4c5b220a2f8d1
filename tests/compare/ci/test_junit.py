"""JUnit XML, to the letter."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from detrbench.compare.ci.junit import junit
from detrbench.compare.gate import Check, GateResult, Outcome
from tests.compare.gates import RESULT, check_golden


def test_golden() -> None:
    check_golden(Path(__file__).parent / "golden" / "junit.xml", junit(RESULT))


def test_junit_counts_what_it_holds() -> None:
    suite = ElementTree.fromstring(junit(RESULT)).find("testsuite")
    assert suite is not None
    assert len(suite.findall("testcase")) == int(suite.attrib["tests"]) == len(RESULT.checks)
    for name, element in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert len(suite.findall(f"testcase/{element}")) == int(suite.attrib[name]) > 0


@given(model=st.text(), reason=st.text(min_size=1))
def test_junit_is_xml_whatever_the_texts_hold(model: str, reason: str) -> None:
    check = Check(Outcome.INVALID, model, reasons=(reason,), hint="<&>")
    case = ElementTree.fromstring(junit(GateResult((check,))).encode()).find(".//error")
    assert case is not None
    plain = "".join(letter for letter in reason if letter.isalnum())
    assert plain == "".join(letter for letter in case.attrib["message"] if letter.isalnum())


def test_control_characters_are_replaced() -> None:
    check = Check(Outcome.INVALID, "a\x00b", reasons=("bell \x07, lone \ud800, \ufffe end",))
    error = ElementTree.fromstring(junit(GateResult((check,)))).find(".//error")
    assert error is not None
    assert error.attrib["message"] == "bell \ufffd, lone \ufffd, \ufffd end"
