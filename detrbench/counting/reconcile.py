"""Where every MAC is by every counter, and which settings print somebody's figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from typing import NamedTuple

from detrbench.core.errors import UsageError, told
from detrbench.core.units import Printed
from detrbench.counting.conventions import CONVENTIONS
from detrbench.counting.installed_counters import COUNTERS, Counted, CounterMissing, run_counter
from detrbench.counting.profiling import build_to_count, not_counted, trace_case
from detrbench.models.sources import build_model
from detrbench.models.sources.built import Built
from detrbench.reports.case import Case

Progress = Callable[[str, str], None]
"""Told what is being done, and the phase it belongs to."""


# --- components --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reconciliation:
    """What each convention books for each component, and what the real counters say."""

    model: str
    nc: int | None
    components: dict[str, dict[str, int]]  # component -> conventions that know it -> MACs
    counted: tuple[Counted, ...]  # the real counters that ran here
    missing: dict[str, str]  # why others did not, by import name
    not_counted: tuple[str, ...] = ()  # what is in no component, in words

    def total(self, convention: str) -> int:
        """MACs of all components."""
        return sum(booked.get(convention, 0) for booked in self.components.values())

    def counter_of(self, convention: str) -> Counted | None:
        """The real counter of a convention, if it ran."""
        return next((c for c in self.counted if c.convention == convention), None)

    def residual(self, convention: str) -> int | None:
        """FLOPs by which the components miss the real counter; None where none ran."""
        counter = self.counter_of(convention)
        return None if counter is None else counter.flops - 2 * self.total(convention)

    @property
    def unexplained(self) -> tuple[Counted, ...]:
        """The real counters that the components do not add up to."""
        return tuple(c for c in self.counted if self.residual(c.convention))


def reconcile(case: Case, progress: Progress = lambda text, phase: None) -> Reconciliation:
    """Break a model's FLOPs down by component and convention, and run the counters installed here.

    The counters run the model for real: a few seconds each. Those that are not installed are named
    in the result. Raises UsageError where a model, file, size or number cannot be used.
    """
    traced = trace_case(case, build_to_count(case))
    components: dict[str, dict[str, int]] = {}
    for name, rule in CONVENTIONS.items():
        for part, macs in rule.components(traced.ops).items():
            components.setdefault(part, {})[name] = macs
    real = build_model(case.model)
    how = case.execution
    real = real.fused(how.imgsz) if how.fused else real
    counted, missing = [], {}
    for name in COUNTERS:
        progress(f"running {name}", "running the counters")
        try:
            counted.append(run_counter(name, real.module, how.imgsz, how.batch))
        except CounterMissing as error:
            missing[name] = str(error)
        except Exception as error:  # whatever it raises of a model that it does not take
            missing[name] = f"it fails on this model: {told(error)}"
    unknown = not_counted(traced)
    return Reconciliation(_title(case, real), real.nc, components, tuple(counted), missing, unknown)


# --- searching ---------------------------------------------------------------------------------

SIZES = (640, 320, 416, 512, 608, 800, 1024, 1280)
"""Square image sizes that the field publishes at, the commonest first."""

MOST_CLASSES = 1300
"""LVIS, the largest common label set, has 1,203."""


class Settings(NamedTuple):
    """One way to count; `doubled` says whether a MAC is two FLOPs or one."""

    fused: bool
    imgsz: int
    convention: str
    doubled: bool


@dataclass(frozen=True)
class Match:
    """Class counts `nc_low` to `nc_high` under one way to count, with the figures at both; None
    where nobody can change the model's own."""

    settings: Settings
    nc_low: int | None
    nc_high: int | None
    params: tuple[int, int]
    flops: tuple[int, int]  # MACs where not doubled


@dataclass(frozen=True)
class Search:
    """Which settings print the figures asked for."""

    model: str
    matches: tuple[Match, ...]  # all that print exactly these digits; empty when none does
    closest: Match  # where none does, the one whose worst relative deviation is least
    deviation: float  # that deviation
    sizes: tuple[int, ...]  # the image sizes tried
    not_counted: tuple[str, ...] = ()  # what is in no figure that was tried, in words
    fixed: tuple[str, ...] = ()  # what could not be tried: "classes", "fusing"


def search(
    case: Case,
    params: Printed | None,
    gflops: Printed | None,
    progress: Progress = lambda text, phase: None,
) -> Search:
    """Find class count, fusing, convention, doubling and image size behind printed figures.

    Parameters and FLOPs grow by the same step with each class, so two traces tell all class counts;
    what is found is traced once more, to be sure. Of the case, the model, its batch and blocks are
    taken. The figures are above 0. Raises UsageError where neither is given.
    """
    if params is None and gflops is None:
        raise UsageError("nothing to search for", hint="give --params, --gflops or both")
    # Parameters depend on neither image nor convention: without FLOPs one of each will do.
    lines = list(_lines(case, progress, everything=gflops is not None))
    matches, tried = [], []
    for line in lines:
        most = MOST_CLASSES if line.has_classes else 1
        fitting = [nc for nc in range(1, most + 1) if line.prints(nc, params, gflops)]
        matches += [line.match(run[0], run[-1]) for run in _runs(fitting)]
        likely = (1, 80, line.nearest(params, gflops)) if line.has_classes else (1,)
        tried += [(line.deviation(nc, params, gflops), line.match(nc, nc)) for nc in likely]
    # Every stride divides 640, so there is at least one line.
    deviation, closest = min(tried, key=lambda pair: pair[0])
    confirmed = tuple(match for match in matches if _confirmed(case, match))
    sizes = tuple(dict.fromkeys(line.settings.imgsz for line in lines))
    built = build_to_count(case)
    unknown = not_counted(trace_case(case.replace(imgsz=(sizes[0], sizes[0])), built))
    fixed = [] if any(line.has_classes for line in lines) else ["classes"]
    fixed += [] if any(line.settings.fused for line in lines) else ["fusing"]
    title = _title(case, built)
    return Search(title, confirmed, closest, deviation, sizes, unknown, tuple(fixed))


@dataclass(frozen=True)
class _Line:
    """Figures over the class count: those at one class, and what each further class adds; or those
    of a model that has its own."""

    settings: Settings
    params: tuple[int, int]
    flops: tuple[int, int]
    has_classes: bool = True

    def at(self, nc: int) -> tuple[int, int]:
        (params, per_class), (flops, more) = self.params, self.flops
        return params + (nc - 1) * per_class, flops + (nc - 1) * more

    def prints(self, nc: int, params: Printed | None, gflops: Printed | None) -> bool:
        ours = self.at(nc)
        wanted = zip((params, gflops), ours, strict=True)
        return all(printed.matches(value) for printed, value in wanted if printed)

    def deviation(self, nc: int, params: Printed | None, gflops: Printed | None) -> float:
        wanted = zip((params, gflops), self.at(nc), strict=True)
        return max(abs(value / printed.value - 1) for printed, value in wanted if printed)

    def nearest(self, params: Printed | None, gflops: Printed | None) -> int:
        """The class count that would come closest in the figure that moves most with it."""
        base, step, wanted = (*self.flops, gflops) if params is None else (*self.params, params)
        if wanted is None or step <= 0:
            return 1
        return min(MOST_CLASSES, max(1, 1 + round((wanted.value - base) / step)))

    def match(self, low: int, high: int) -> Match:
        params, flops = zip(self.at(low), self.at(high), strict=True)
        if not self.has_classes:
            return Match(self.settings, None, None, params, flops)
        return Match(self.settings, low, high, params, flops)


def _lines(case: Case, progress: Progress, everything: bool) -> Iterator[_Line]:
    for fused in (False, True):
        pair, builts = _varied(case.replace(fused=fused))
        if not builts:
            continue
        stride = 1 if builts[0].detector is None else builts[0].detector.stride
        fitting = [size for size in SIZES if size % stride == 0]
        for size in fitting if everything else fitting[:1]:
            state = "fused" if fused else "unfused"
            progress(f"tracing {state} at {size}x{size}", "searching settings")
            traces = [
                trace_case(one.replace(imgsz=(size, size)), built)
                for one, built in zip(pair, builts, strict=True)
            ]
            one, two = traces[0], traces[-1]
            rules = CONVENTIONS.items() if everything else [("core", CONVENTIONS["core"])]
            for (name, rule), doubled in product(rules, (True, False) if everything else (True,)):
                at_one, at_two = (rule.flops(t.ops) // (1 if doubled else 2) for t in (one, two))
                yield _Line(
                    Settings(fused, size, name, doubled),
                    (one.params, two.params - one.params),
                    (at_one, at_two - at_one),
                    len(traces) > 1,
                )


def _varied(case: Case) -> tuple[list[Case], list[Built]]:
    """The case with one and with two classes, or as it is, where nobody can change these; nothing
    where it cannot be fused. Raises UsageError where it cannot be built at all."""
    refused: UsageError | None = None
    for cases in ([case.with_classes(nc) for nc in (1, 2)], [case.with_classes(None)]):
        try:
            return cases, [build_to_count(one) for one in cases]
        except UsageError as error:
            refused = refused or error
    if case.execution.fused:
        return [], []
    assert refused is not None
    raise refused


def _title(case: Case, built: Built) -> str:
    """What sentences call the model: the name in its file, where it has one."""
    return case.model.name if built.detector is None else built.detector.spec.name


def _runs(numbers: Sequence[int]) -> Iterator[list[int]]:
    """Consecutive numbers: 1 2 3 7 8 -> [1 2 3] [7 8]."""
    for _, run in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        yield [number for _, number in run]


def _confirmed(case: Case, match: Match) -> bool:
    """Whether the ends of a match, really traced, have these figures."""
    fused, size, convention, doubled = match.settings
    for end, nc in enumerate((match.nc_low, match.nc_high)):
        traced = trace_case(case.with_classes(nc).replace(fused=fused, imgsz=(size, size)))
        flops = CONVENTIONS[convention].flops(traced.ops) // (1 if doubled else 2)
        if (traced.params, flops) != (match.params[end], match.flops[end]):
            return False
    return True
