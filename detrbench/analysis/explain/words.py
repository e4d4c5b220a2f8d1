"""One paragraph in plain words about an explanation. Pure: the same numbers, the same text.

Whatever number stands in the paragraph stands in the tables as well, in the same digits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from detrbench.analysis.explain.account import GroupSaving, Saving
from detrbench.analysis.explain.findings import INSERTED, Explanation, Group, TimedModel, Try
from detrbench.analysis.probe.ceilings import LIMITS
from detrbench.core.units import show_change, show_quantity, show_share

WORTH_A_SENTENCE = 0.01
"""Of the baseline's time: less than this is not told apart from the scatter of the rounds."""

WORTH_TRYING = 0.02
"""Of the variant's time: the margin that verdicts are about, too."""

_MOST_NAMES = 3


def paragraph(explanation: Explanation, saving: Saving, tries: Sequence[Try]) -> str:
    """How much of the FLOP saving reached the clock, where the rest stayed, what to try next."""
    return " ".join(
        (
            headline(explanation, saving),
            *_overlap(explanation),
            *_doubts(explanation),
            *_amdahl(explanation, saving),
            *_accounts(explanation, saving),
            _limits(explanation),
            *_remedies(explanation, tries),
        )
    )


def headline(explanation: Explanation, saving: Saving) -> str:
    """FLOPs against time, and the share of the one that became the other."""
    before, after = explanation.baseline.model, explanation.variant.model
    time = _compared(saving.time_ratio, "less time", "more time", "the same time")
    ratio, reached = saving.flops_ratio, saving.reached
    than = "than" if _differs(saving.time_ratio) else "as"
    if ratio is None:
        return f"{after} takes {time} {than} {before}, which has no FLOPs to compare."
    if reached is None:
        return f"{after} does as many FLOPs as {before} and takes {time} {than} it."
    flops = f"{after} does {_compared(ratio, 'fewer', 'more', '')} FLOPs than {before}"
    with_them = (ratio < 1) == (saving.time_ratio < 1) and _differs(saving.time_ratio)
    if not with_them:
        reaches = "saving reached" if ratio < 1 else "increase shows on"
        return f"{flops}, yet takes {time}: nothing of the FLOP {reaches} the clock."
    share = show_share(reached, 1)
    if ratio > 1:
        return f"{flops} and takes {time}: {share} of the FLOP increase shows on the clock."
    if reached > 1:
        return f"{flops} and takes {time}: {share} of what the FLOPs promised."
    return f"{flops} and takes {time}: {share} of the FLOP saving reached the clock."


def _overlap(explanation: Explanation) -> Iterator[str]:
    here, there = explanation.baseline.whole.timed, explanation.variant.whole.timed
    if here.low <= there.high and there.low <= here.high:
        yield "The quartiles of both times overlap: these rounds do not show a difference."


def _doubts(explanation: Explanation) -> Iterator[str]:
    seen = explanation.seen
    if seen.spoilt:
        yield f"Measured {seen.disturbed}: what follows says more of that than of the models."
    elif seen.disturbed:
        yield f"Measured {seen.disturbed}: what follows is rough."
    for side in (explanation.baseline, explanation.variant):
        if side.lacking is not None:
            yield (
                f"The counts of {side.model} are partial ({side.lacking}): what follows is rough, "
                "and FLOPs do not compare."
            )
        if not side.reconciled:
            much = _compared(side.parts_s / side.seconds, "less", "more", "as much")
            yield (
                f"The parts of {side.model} take {much} time than the whole, too far off to "
                "explain it: what follows is rough."
            )


def _amdahl(explanation: Explanation, saving: Saving) -> Iterator[str]:
    """What does not change bounds what a change elsewhere can save (Amdahl, AFIPS 1967)."""
    if len(saving.unchanged) in (0, len(saving.groups)):
        return
    before = explanation.baseline
    same, rest = unchanged_shares(explanation, saving)
    longest = sorted(saving.unchanged, key=lambda group: -group.before.seconds)
    names = [_called(group.name, explanation) for group in longest]
    if len(names) > _MOST_NAMES:
        names[_MOST_NAMES:] = ["others"]
    does, they, take = (
        ("do", "they", "take") if len(saving.unchanged) > 1 else ("does", "it", "takes")
    )
    yield (
        f"{_capital(_listed(names))} {does} the same work in both; {they} {take} {same} of "
        f"{before.model}'s time, so that a change elsewhere saves at most {rest}."
    )


def unchanged_shares(explanation: Explanation, saving: Saving) -> tuple[str, str]:
    """Of the baseline's time: what is the same in both models, and the rest. Where the parts take
    longer than the whole, of theirs: nothing is more than all of it."""
    whole = max(explanation.baseline.seconds, explanation.baseline.parts_s)
    same = sum(group.before.seconds for group in saving.unchanged)
    return show_share(same, whole), show_share(whole - same, whole)


def _accounts(explanation: Explanation, saving: Saving) -> Iterator[str]:
    before, after = explanation.baseline, explanation.variant
    least = WORTH_A_SENTENCE * before.seconds
    if abs(saving.cheap_s) >= least and saving.flops_ratio is not None:
        cheap = (saving.cheap_s > 0) == (saving.flops_ratio < 1)
        yield (
            f"The FLOPs that changed are where {before.model} spends {'less' if cheap else 'more'} "
            f"time per FLOP than on average, which {_costs(saving.cheap_s)} against the promise."
        )
    told = sorted(saving.groups, key=lambda group: -abs(group.kept_s))
    for group in [one for one in told if abs(one.kept_s) >= least][:_MOST_NAMES]:
        name, own_kernels = _called(group.name, explanation), explanation.runtime != "eager"
        yield _capital(_group_sentence(group, name, before, after, own_kernels))
    if abs(saving.between_s) >= least:
        yield f"What lies between the parts {_costs(saving.between_s)}."


def _costs(seconds: float) -> str:
    return f"{'costs' if seconds > 0 else 'gives'} {show_quantity(abs(seconds), 's')}"


def _called(group: str, explanation: Explanation) -> str:
    """With an article where it is a word: an operator is a name."""
    if group == INSERTED:
        return "the work that the runtime puts in"
    return group if explanation.by == "op" else f"the {group}"


def _capital(sentence: str) -> str:
    """The names of operators keep their letters."""
    return f"T{sentence[1:]}" if sentence.startswith("the ") else sentence


def _group_sentence(
    group: GroupSaving, name: str, before: TimedModel, after: TimedModel, own_kernels: bool
) -> str:
    amount = show_quantity(abs(group.kept_s), "s")
    direction = "more" if group.kept_s > 0 else "less"
    if group.unchanged and own_kernels:
        return f"{name} takes {amount} {direction} in {after.model}, whose runtime plans it anew."
    if group.unchanged:
        return (
            f"{name} takes {amount} {direction} in {after.model}, though it asks for the "
            "same FLOPs, traffic and kernels."
        )
    if not group.before.flops:
        return (
            f"{name}, without FLOPs in {before.model}, takes {amount} {direction} in "
            f"{after.model}{_bound(group, before)}."
        )
    return (
        f"{name} takes {amount} {direction} than its FLOPs would at {before.model}'s "
        f"rate there{_bound(group, before)}."
    )


MOSTLY = 0.5
"""A limit explains a part if its floor is more than this share of the time."""


def _bound(group: GroupSaving, before: TimedModel) -> str:
    """What binds the group in the variant, at what efficiency, and what in the baseline."""
    here, there = group.before, group.after
    if there.efficiency is None:
        return ""
    share = show_share(there.efficiency, 1)
    if there.efficiency < MOSTLY:
        now = f"the nearest limit, {LIMITS[there.limit]}, explains {share} of its time"
    else:
        now = f"it is bound by {LIMITS[there.limit]} at {share} efficiency{_because(there)}"
    if here.efficiency is None:
        return f": {now}"
    other = "" if here.limit == there.limit else f" {LIMITS[here.limit]}"
    return f": {now}, in {before.model}{other} {show_share(here.efficiency, 1)}{_because(here)}"


def _because(some: Group | TimedModel) -> str:
    """Why it is faster than its floors, in brackets, where it is."""
    return f" ({some.cause_of_excess})" if some.cause_of_excess else ""


def _limits(explanation: Explanation) -> str:
    after = explanation.variant
    shares = sorted(after.shares.items(), key=lambda each: -each[1])
    (limit, most), *others = [(limit, show_share(share, 1)) for limit, share in shares if share > 0]
    spent = [f"{most} of {after.model}'s time is in parts whose nearest limit is {LIMITS[limit]}"]
    spent += [f"{share} in those of {LIMITS[limit]}" for limit, share in others]
    if not others and most == show_share(1, 1):
        spent = [f"The nearest limit of all parts of {after.model} is {LIMITS[limit]}"]
    together = show_share(after.floor_s, after.seconds)
    mostly = after.floor_s < MOSTLY * after.seconds
    beyond = ", so that no limit explains most of it" if mostly else ""
    return (
        f"{_listed(spent)}; its floors add up to {together} of its time{_because(after)}{beyond}."
    )


def _remedies(explanation: Explanation, tries: Sequence[Try]) -> Iterator[str]:
    known = [one for one in tries if one.ratio is not None]
    measured = [one for one in known if one.measured]
    for one in measured:
        effect = _compared(one.ratio or 1.0, "less time", "more time", "the same time")
        how = f" {one.disturbed}" if one.disturbed else ""
        yield f"Measured here{how}, {one.name} takes {effect}."
    predicted = [one for one in known if not one.measured]
    worth = [one for one in predicted if 1 - (one.ratio or 1.0) >= WORTH_TRYING]
    if worth:
        spared = [f"{one.name}, which spares {one.how} ({_saved(one)})" for one in worth]
        yield f"To try next, with what the floors predict to be saved: {_listed(spared)}."
    little = [one for one in predicted if one not in worth]
    if little:
        listed = _listed([f"{one.name} ({_saved(one)})" for one in little])
        yield f"By the floors there is little in {listed}."
    unknown = [one.name for one in tries if one.ratio is None]
    if unknown:
        does = "does" if len(unknown) == 1 else "do"
        yield f"What {_listed(unknown)} {does}, the floors do not say; --try measures it."


def _saved(one: Try) -> str:
    return show_share(1 - (one.ratio or 1.0), 1)


def _differs(ratio: float) -> bool:
    """Whether a ratio is told apart from 1 in the digits that are printed."""
    return show_change(ratio) != "0.0%"


def _compared(ratio: float, less: str, more: str, same: str) -> str:
    """Such as "41.9% less time"."""
    if not _differs(ratio):
        return same
    return f"{show_change(ratio).lstrip('+-')} {less if ratio < 1 else more}"


def _listed(texts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join(part for part in (", ".join(texts[:-1]), *texts[-1:]) if part)
