"""One model's counts by detrbench beside those of torch's own counters, run on real tensors.

What FlopCounterMode leaves out is told from its own table of formulas: an operator of our trace
that has multiply-accumulates and is not in that table. Nothing here knows a model by its name.
"""

from __future__ import annotations

import gc
import json
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import nn
from torch.distributed._tools.mem_tracker import MemTracker, _MemRefType
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from detrbench.core.errors import DetrbenchError
from detrbench.counting.conventions import CONVENTIONS
from detrbench.counting.tracing import Trace, attention_in_full, trace

COUNTER_KNOWS = frozenset(str(operator).removeprefix("aten.") for operator in flop_registry)


Build = Callable[[], tuple[nn.Module, nn.Module]]
"""Makes the model that is traced and the one that is run: the same, or one of shapes only first."""


@dataclass(frozen=True)
class Compared:
    """What both say of one model, in parameters, FLOPs, bytes and seconds."""

    name: str
    family: str
    size: int
    params: int = 0
    params_expected: int = 0
    flops: int = 0
    counter_flops: int = 0
    gap: dict[str, int] = field(default_factory=dict)  # FLOPs by operator that the counter misses
    peak: int = 0
    tracked_peak: int = 0
    uncounted: list[str] = field(default_factory=list)
    unfollowed: str = ""
    seconds: float = 0.0
    traced_seconds: float = 0.0
    error: str = ""

    @property
    def faults(self) -> list[str]:
        """What does not hold, in words."""
        if self.error:
            return [self.error]
        explained = self.flops - sum(self.gap.values())
        named = {
            f"params {self.params_expected:,}": self.params == self.params_expected,
            f"FLOPs {explained - self.counter_flops:+,}": explained == self.counter_flops,
            "not explained": not any(name.startswith("(unexplained)") for name in self.gap),
            f"peak {self.peak - self.tracked_peak:+,}": self.peak == self.tracked_peak,
            f"no formula: {', '.join(self.uncounted)}": not self.uncounted,
            f"not followed: {self.unfollowed}": not self.unfollowed,
        }
        return [what for what, holds in named.items() if not holds]


def compared(name: str, family: str, size: int, build: Build) -> Compared:
    """Build a model, trace it, and run torch's counters; errors become part of the row."""
    began = time.monotonic()
    try:
        followed, model = (each.eval() for each in build())
        before = time.monotonic()
        ours = trace(followed, size)
        traced_seconds = time.monotonic() - before
        real, tracked_peak = by_torch(model, (size, size))
        return Compared(
            name,
            family,
            size,
            params=ours.params,
            params_expected=sum(p.numel() for p in model.parameters()),
            flops=ours.flops,
            counter_flops=real,
            gap=gap_of(ours),
            peak=ours.peak_activation_bytes,
            tracked_peak=tracked_peak,
            uncounted=[part.name for part in ours.uncounted],
            unfollowed=ours.unfollowed,
            seconds=round(time.monotonic() - began, 1),
            traced_seconds=round(traced_seconds, 1),
        )
    except DetrbenchError as error:
        return Compared(name, family, size, error=f"refused: {error}")
    except Exception as error:  # whatever it is, it is told and the next model follows
        raw = "".join(traceback.format_exception(error))
        return Compared(name, family, size, error=f"{type(error).__name__}: {error}\n{raw}")


def gap_of(traced: Trace) -> dict[str, int]:
    """FLOPs that FlopCounterMode misses, by operator: those that it has no formula for, parts of
    one that a CPU runs whole, and what complex numbers need beyond the real ones that it takes them
    for."""
    missed: dict[str, int] = defaultdict(int)
    booked = CONVENTIONS["torch"].macs
    for op in traced.ops:
        if left := op.cost.flops - 2 * booked(op):
            name = op.part_of or op.name
            if any(t.is_complex for t in op.inputs):
                name += " of complex numbers"
            elif name in COUNTER_KNOWS:  # then our own convention errs
                name = f"(unexplained) {name}"
            missed[name] += left
    return dict(missed)


class _EvaluationTracker(MemTracker):
    """Hooks no gradients, which parameters that are folded, and inputs of modules, do not have."""

    def _track_module_params_and_buffers(
        self, module: nn.Module, install_grad_hooks: bool = False
    ) -> tuple[int, int]:
        return super()._track_module_params_and_buffers(module, install_grad_hooks=False)


def by_torch(model: nn.Module, imgsz: tuple[int, int]) -> tuple[int, int]:
    """FLOPs by FlopCounterMode, and by MemTracker the peak live bytes of activations and input, in
    one forward on real tensors (on fake ones the tracker sees temporaries of theirs)."""
    images = torch.rand(1, 3, *imgsz)
    tracker = _EvaluationTracker()
    tracker.track_external(model.requires_grad_(False), images)
    with attention_in_full(), torch.no_grad(), tracker, FlopCounterMode(display=False) as counter:
        model(images)
    (peak,) = tracker.get_tracker_snapshot("peak").values()
    kinds = (_MemRefType.ACT, _MemRefType.TEMP, _MemRefType.OTH)
    return counter.get_total_flops(), sum(peak[kind] for kind in kinds)


Row = tuple[str, str, int, Build]
"""Name, family, image side, and how it is built."""


def compare_all(rows: Iterable[Row], kept: Path | None) -> Iterator[Compared]:
    """Every row's figures, each in a copy of this process, which ends with what it took. Figures
    are added to the file `kept` one by one, and those that are there are not computed again."""
    known = {(one.name, one.size): one for one in _read(kept)} if kept else {}
    for name, family, size, build in rows:
        row = known.get((name, size)) or _apart(name, family, size, build)
        if kept and (name, size) not in known:
            with kept.open("a") as file:
                file.write(json.dumps(asdict(row)) + "\n")
        yield row


def _read(file: Path) -> list[Compared]:
    return [Compared(**json.loads(line)) for line in _lines(file)]


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


_waiting: list[Row] = []


def _apart(*row: object) -> Compared:
    _waiting[:] = [row]  # type: ignore[list-item]  # functions travel by copying the process
    gc.collect()
    with ProcessPoolExecutor(1, get_context("fork")) as pool:
        try:
            return pool.submit(_next).result()
        except BrokenProcessPool:
            name, family, size, _ = _waiting[0]
            return Compared(name, family, size, error="the process was killed")


def _next() -> Compared:
    return compared(*_waiting[0])


HEADER = (
    f"{'model':<36} {'family':<28} {'size':>4} {'params':>11} {'MACs':>15} "
    f"{'FlopCounterMode / 2':>19} {'peak, B':>12} {'MemTracker':>12} {'trace':>6} {'all, s':>6}"
)


def line(row: Compared) -> str:
    """A row of the table, and under it what the counter misses or what does not hold."""
    told = (
        f"{row.name:<36} {row.family:<28} {row.size:>4} {row.params:>11,} {row.flops // 2:>15,} "
        f"{row.counter_flops // 2:>19,} {row.peak:>12,} {row.tracked_peak:>12,} "
        f"{row.traced_seconds:>6.1f} {row.seconds:>6.1f}  "
        f"{'DIFFERENT' if row.faults else 'explained' if row.gap else 'equal'}"
    )
    missed = (f"{operator} {flops // 2:,}" for operator, flops in row.gap.items())
    notes = [f"the counter has no formula for: {', '.join(missed)}"] if row.gap else []
    return "\n    ".join((told, *notes, *(fault.splitlines()[0] for fault in row.faults)))
