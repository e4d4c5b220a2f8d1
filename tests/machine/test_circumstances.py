"""Ledgers judged together: what is noted, what disturbs, what spoils, and in which words."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from detrbench.machine.circumstances import (
    Circumstances,
    Noted,
    Watched,
    circumstances_from,
    circumstances_of,
    watched_in,
)
from detrbench.machine.validity import Entry


def kept(**seen: Any) -> Watched:
    """A ledger of ten seconds on two processors."""
    return dataclasses.asdict(Entry(cpus=2, own_cpu_s=10.0, **seen)), 10.0


QUIET, OTHERS, WAITING = kept(), kept(foreign_cpu_s=8.0), kept(waited_s=30.0)
GOVERNED = kept(governor="powersave")


def test_a_quiet_machine_has_nothing_to_say() -> None:
    seen = circumstances_of([QUIET, QUIET])
    assert seen == Circumstances()
    assert (seen.notes, seen.in_short, seen.disturbed, seen.spoilt) == ((), "", None, ())


def test_each_cause_is_noted_once_with_how_many_processes_it_touched() -> None:
    seen = circumstances_of([OTHERS, WAITING, OTHERS, (None, 0.0)])
    assert [one.said(one.touched) for one in seen.noted] == [
        "foreign work in 2 of 4 processes: others used 40% of the 2 processors' time",
        "contended in 1 of 4 processes: this process waited 75% of the time that it wanted a "
        "processor",
    ]
    assert seen.in_short.count("; ") == 1
    assert seen.notes[0].endswith("Stop other work (`top` shows it), or measure later.")
    assert seen.disturbed == "on a busy machine (foreign work, contended)"


def test_what_is_told_is_the_worst_of_the_processes() -> None:
    (one,) = circumstances_of([kept(foreign_cpu_s=2.0), OTHERS, kept(foreign_cpu_s=4.0)]).noted
    assert one.text.startswith("others used 40%")
    (one,) = circumstances_of([kept(waited_s=1.0), WAITING]).noted
    assert (one.touched, one.invalidating) == (2, 1)
    assert one.text.startswith("this process waited 75%")


def test_of_one_process_alone_the_number_goes_without_saying() -> None:
    (note,) = circumstances_of([OTHERS]).notes
    assert note.startswith("foreign work: others used 40% of")


@pytest.mark.parametrize(("spoilt", "others"), [(1, 0), (1, 1), (2, 2), (3, 2)])
def test_what_half_of_the_processes_suffered_from_spoils_all(spoilt: int, others: int) -> None:
    seen = circumstances_of([*[WAITING] * spoilt, *[QUIET] * others])
    assert len(seen.spoilt) == 1
    assert not circumstances_of([*[WAITING] * spoilt, *[QUIET] * (spoilt + 1)]).spoilt


def test_how_a_machine_is_set_up_disturbs_nothing() -> None:
    seen = circumstances_of([GOVERNED])
    assert len(seen.notes) == 1
    assert seen.disturbed is None


def test_what_is_not_other_work_makes_no_machine_busy() -> None:
    seen = circumstances_of([kept(throttled_periods=3, throttled_s=0.1)])
    assert seen.disturbed == "on a disturbed machine (throttled)"


def test_the_quieter_of_two_is_the_less_severe() -> None:
    each = [circumstances_of([one]) for one in (WAITING, OTHERS, GOVERNED, QUIET)]
    severities = [one.severity for one in each]
    assert severities == sorted(severities, reverse=True)
    assert severities[2] == severities[3]


def test_it_survives_the_journey() -> None:
    seen = circumstances_of([OTHERS, WAITING])
    assert circumstances_from(json.loads(json.dumps(seen.to_list()))) == seen
    assert circumstances_from([]) == Circumstances()
    assert circumstances_from(None) is None
    assert circumstances_from([{"of": "another version"}]) is None
    assert circumstances_from(7) is None


def test_a_row_s_ledgers_are_judged_where_it_says_how_long_they_were_kept() -> None:
    (entry, seconds), (other, _) = OTHERS, QUIET
    samples = {"ledger": [entry, None, other], "timed_s": [seconds, None, seconds]}
    assert watched_in(samples) == [OTHERS, QUIET]
    assert watched_in({"ledger": [entry]}) == watched_in({}) == []


def test_what_measured_values_say_themselves_is_noted_alike() -> None:
    seen = Circumstances((Noted("ceilings", "the cache is slow", "Probe again."),))
    assert seen.notes == ("ceilings: the cache is slow. Probe again.",)
    assert seen.disturbed == "on a disturbed machine (ceilings)"
    assert not seen.spoilt
