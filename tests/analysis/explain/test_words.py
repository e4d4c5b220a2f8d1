"""The paragraph, word by word, of explanations whose numbers are known."""

from __future__ import annotations

import dataclasses
import re

import pytest

from detrbench.analysis.explain.account import LAYOUT, saving
from detrbench.analysis.explain.findings import Try
from detrbench.analysis.explain.tables import document
from detrbench.analysis.explain.words import unchanged_shares
from detrbench.machine.circumstances import Circumstances
from tests.analysis.explain.pairs import (
    BUSY,
    CASES,
    LARGE,
    SPOILT,
    a_report,
    explained,
    text_of,
)

GOLDEN: dict[str, str] = {
    "part of it": """
small does 50.0% fewer FLOPs than large and takes 38.1% less time: 76.2% of the FLOP saving
reached the clock. The neck does the same work in both; it takes 42.9% of large's time, so
that a change elsewhere saves at most 57.1%. The FLOPs that changed are where large spends
more time per FLOP than on average, which gives 15.0 ms against the promise. The backbone
takes 140.0 ms more than its FLOPs would at large's rate there: the nearest limit, memory,
explains 45.0% of its time, in large arithmetic 83.3%. 69.2% of small's time is in parts
whose nearest limit is arithmetic and 30.8% in those of memory; its floors add up to 75.4%
of its time. To try next, with what the floors predict to be saved: --runtime compile, which
spares the traffic and launches of element-wise operators that can be folded (2.6%). By the
floors there is little in a --batch 8 times as large, per image (0.4%). What --memory-format
channels_last does, the floors do not say; --try measures it.
""",
    "more than promised": """
small does 27.8% fewer FLOPs than large and takes 38.1% less time: 137.1% of what the FLOPs
promised. The neck does the same work in both; it takes 42.9% of large's time, so that a
change elsewhere saves at most 57.1%. The backbone takes 100.0 ms less than its FLOPs would
at large's rate there: it is bound by arithmetic at 125.0% efficiency (its shapes suit the
device better than those of the probes), in large 83.3%. The nearest limit of all parts of
small is arithmetic; its floors add up to 100.0% of its time.
By the floors there is little in --runtime compile (1.9%) and a --batch 8 times as large,
per image (0.4%). What --memory-format channels_last does, the floors do not say; --try
measures it.
""",
    "slower": """
small does 27.8% fewer FLOPs than large, yet takes 28.6% more time: nothing of the FLOP
saving reached the clock. The neck does the same work in both; it takes 42.9% of large's
time, so that a change elsewhere saves at most 57.1%. The backbone takes 600.0 ms more than
its FLOPs would at large's rate there: it is bound by memory at 77.8% efficiency, in large
arithmetic 83.3%. 66.7% of small's time is in parts whose nearest limit is memory and 33.3%
in those of arithmetic; its floors add up to 81.5% of its time. To try next, with what the
floors predict to be saved: --runtime compile, which spares the traffic and launches of
element-wise operators that can be folded (5.7%). By the floors there is little in a --batch
8 times as large, per image (0.2%). What --memory-format channels_last does, the floors do
not say; --try measures it.
""",
    "the same": """
small does as many FLOPs as large and takes the same time as it. The quartiles of both times
overlap: these rounds do not show a difference. The nearest limit of all parts of small is
arithmetic; its floors add up to 85.7% of its time. To try next, with what the floors
predict to be saved: --runtime compile, which spares the traffic and launches of
element-wise operators that can be folded (2.2%). By the floors there is little in a --batch
8 times as large, per image (0.3%). What --memory-format channels_last does, the floors do
not say; --try measures it.
""",
    "as many FLOPs, faster": """
small does as many FLOPs as large and takes 7.6% less time than it. The neck does the same
work in both; it takes 42.9% of large's time, so that a change elsewhere saves at most
57.1%. The backbone takes 80.0 ms less than its FLOPs would at large's rate there: it is
bound by arithmetic at 96.2% efficiency, in large 83.3%. The nearest limit of all parts of
small is arithmetic; its floors add up to 92.8% of its time. By the floors there is little
in --runtime compile (1.7%) and a --batch 8 times as large, per image (0.3%). What
--memory-format channels_last does, the floors do not say; --try measures it.
""",
    "more FLOPs": """
small does 27.8% more FLOPs than large and takes 14.3% more time: 51.4% of the FLOP increase
shows on the clock. The neck does the same work in both; it takes 42.9% of large's time, so
that a change elsewhere saves at most 57.1%. The backbone takes 150.0 ms less than its FLOPs
would at large's rate there: it is bound by arithmetic at 100.0% efficiency, in large 83.3%.
The nearest limit of all parts of small is arithmetic; its floors add up to 95.8% of its
time. By the floors there is little in --runtime compile (2.0%) and a --batch 8 times as
large, per image (0.3%). What --memory-format channels_last does, the floors do not say;
--try measures it.
""",
    "more FLOPs, faster": """
small does 27.8% more FLOPs than large, yet takes 1.0% less time: nothing of the FLOP
increase shows on the clock. The quartiles of both times overlap: these rounds do not show a
difference. The neck does the same work in both; it takes 42.9% of large's time, so that a
change elsewhere saves at most 57.1%. The backbone takes 310.0 ms less than its FLOPs would
at large's rate there: it is bound by arithmetic at 127.1% efficiency (its shapes suit the
device better than those of the probes), in large 83.3%. The nearest limit of all parts of
small is arithmetic; its floors add up to 110.6% of its time (its shapes suit the device
better than those of the probes).
By the floors there is little in --runtime compile (1.3%) and a --batch 8 times as large,
per image (0.2%). What --memory-format channels_last does, the floors do not say; --try
measures it.
""",
    "no FLOPs": """
small takes 40.0% less time than large, which has no FLOPs to compare. The all, without
FLOPs in large, takes 40.0 ms less in small: it is bound by memory at 83.3% efficiency, in
large 90.0%. The nearest limit of all parts of small is memory; its floors add up to 83.3%
of its time. To try next, with what the floors predict to be saved: --runtime compile, which
spares the traffic and launches of element-wise operators that can be folded (8.4%). By the
floors there is little in a --batch 8 times as large, per image (0.1%). What --memory-format
channels_last does, the floors do not say; --try measures it.
""",
    "bound by launches": """
small does 50.0% fewer FLOPs than large and takes 1.7% less time: 3.3% of the FLOP saving
reached the clock. The all takes 29.0 ms more than its FLOPs would at large's rate there: it
is bound by launches at 66.1% efficiency, in large 66.7%. The nearest limit of all parts of
small is launches; its floors add up to 66.1% of its time. To try next, with what the floors
predict to be saved: a --batch 8 times as large, per image, which spares the launches that
the further images share (57.8%), --runtime cudagraph, which spares launches where they
bind, down to the next floor (57.6%) and --runtime compile, which spares the traffic and
launches of element-wise operators that can be folded (33.3%). What --memory-format
channels_last does, the floors do not say; --try measures it.
""",
    "parts that do not add up": """
small does 50.0% fewer FLOPs than large and takes 22.2% less time: 44.4% of the FLOP saving
reached the clock. The parts of large take 16.7% more time than the whole, too far off to
explain it: what follows is rough. The parts of small take 7.1% less time than the whole,
too far off to explain it: what follows is rough. The neck does the same work in both; it
takes 42.9% of large's time, so that a change elsewhere saves at most 57.1%. The FLOPs that
changed are where large spends more time per FLOP than on average, which gives 90.0 ms
against the promise. The backbone takes 140.0 ms more than its FLOPs would at large's rate
there: the nearest limit, memory, explains 45.0% of its time, in large arithmetic 83.3%.
What lies between the parts costs 200.0 ms. 69.2% of small's time is in parts whose nearest
limit is arithmetic and 30.8% in those of memory; its floors add up to 70.0% of its time. To
try next, with what the floors predict to be saved: --runtime compile, which spares the
traffic and launches of element-wise operators that can be folded (2.4%). By the floors
there is little in a --batch 8 times as large, per image (0.4%). What --memory-format
channels_last does, the floors do not say; --try measures it.
""",
    "tried": """
small does 50.0% fewer FLOPs than large and takes 38.1% less time: 76.2% of the FLOP saving
reached the clock. The neck does the same work in both; it takes 42.9% of large's time, so
that a change elsewhere saves at most 57.1%. The FLOPs that changed are where large spends
more time per FLOP than on average, which gives 15.0 ms against the promise. The backbone
takes 140.0 ms more than its FLOPs would at large's rate there: the nearest limit, memory,
explains 45.0% of its time, in large arithmetic 83.3%. 69.2% of small's time is in parts
whose nearest limit is arithmetic and 30.8% in those of memory; its floors add up to 75.4%
of its time. Measured here, --memory-format channels_last takes 20.0% less time. Measured
here, --runtime compile takes 3.1% more time. By the floors there is little in a --batch 8
times as large, per image (0.4%).
""",
    "the machine moved": """
small does 50.0% fewer FLOPs than large and takes 33.3% less time: 66.7% of the FLOP saving
reached the clock. The neck does the same work in both; it takes 42.9% of large's time, so
that a change elsewhere saves at most 57.1%. The FLOPs that changed are where large spends
more time per FLOP than on average, which gives 15.0 ms against the promise. The backbone
takes 140.0 ms more than its FLOPs would at large's rate there: the nearest limit, memory,
explains 45.0% of its time, in large arithmetic 83.3%. The neck takes 50.0 ms more in small,
though it asks for the same FLOPs, traffic and kernels. 71.4% of small's time is in parts
whose nearest limit is arithmetic and 28.6% in those of memory; its floors add up to 70.0%
of its time. To try next, with what the floors predict to be saved: --runtime compile, which
spares the traffic and launches of element-wise operators that can be folded (2.4%). By the
floors there is little in a --batch 8 times as large, per image (0.4%). What --memory-format
channels_last does, the floors do not say; --try measures it.
""",
}


@pytest.mark.parametrize("name", CASES)
def test_the_paragraph_of(name: str) -> None:
    assert text_of(CASES[name]) == " ".join(GOLDEN[name].split())


@pytest.mark.parametrize("name", CASES)
def test_every_number_of_the_paragraph_is_in_the_tables(name: str) -> None:
    explanation = CASES[name]
    tables = document(a_report(explanation)).tables
    cells = " ".join(
        text for table in tables for line in table.lines for text in (line.label, *line.cells)
    )
    numbers = re.findall(r"[0-9][0-9,]*(?:\.[0-9]+)?%?", text_of(explanation))
    assert numbers
    known = set(re.findall(r"[0-9][0-9,]*(?:\.[0-9]+)?%?", cells))
    assert {number for number in numbers if number not in known} == set()


def test_what_was_measured_on_a_busy_machine_says_so_before_anything_else() -> None:
    quiet = CASES["part of it"]
    assert text_of(dataclasses.replace(quiet, circumstances=Circumstances())) == text_of(quiet)
    busy = text_of(dataclasses.replace(quiet, circumstances=BUSY))
    assert ". Measured on a busy machine (foreign work): what follows is rough. The neck" in busy
    spoilt = text_of(dataclasses.replace(quiet, circumstances=SPOILT))
    said = "Measured on a busy machine (contended): what follows says more of that than of the"
    assert said in spoilt


def test_a_remedy_that_was_measured_on_a_busy_machine_says_so() -> None:
    one = Try(LAYOUT, 0.8, True, "12 rounds", 0.79, 0.82, BUSY.disturbed)
    told = text_of(dataclasses.replace(CASES["part of it"], tried=(one,)))
    assert "Measured here on a busy machine (foreign work), --memory-format channels_last" in told


def test_no_efficiency_beyond_a_ceiling_goes_without_its_cause() -> None:
    """Of every paragraph: what is above 105 % has its cause right behind it."""
    for name, explanation in CASES.items():
        told = text_of(explanation)
        for found in re.finditer(r"at ([0-9.]+)% efficiency|add up to ([0-9.]+)% of its", told):
            above = float(found[1] or found[2]) > 105
            behind = told[found.end() :].removeprefix(" time")
            assert behind.startswith(" (") is above, name


def test_no_part_of_a_time_is_more_than_all_of_it() -> None:
    """Parts that take longer than the whole may all be the same in both models."""
    odd = explained(LARGE, LARGE, wholes=(900.0, 900.0))
    assert odd.baseline.parts_s > odd.baseline.seconds
    assert unchanged_shares(odd, saving(odd)) == ("100.0%", "0.0%")


@pytest.mark.parametrize("name", CASES)
def test_the_account_adds_up_to_what_the_clock_shows(name: str) -> None:
    account = saving(CASES[name])
    kept = account.cheap_s + sum(group.kept_s for group in account.groups) + account.between_s
    assert account.promised_s - kept == pytest.approx(account.saved_s)
