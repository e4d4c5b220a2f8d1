"""The probes: small steps that do one thing as fast as the device can, timed like models.

Their shapes are typical of detectors. Which is the fastest differs between devices, number formats
and layouts, so each ceiling is the best of a few.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from detrbench.analysis.probe.ceilings import KINDS, Ceiling, Ceilings
from detrbench.core.errors import DetrbenchError
from detrbench.core.stats import median, quantile
from detrbench.core.units import show_quantity
from detrbench.machine.caches import cache_from_sweep, last_level_bytes
from detrbench.runtimes.clocks import Clock, Step
from detrbench.runtimes.eager import ModelStep
from detrbench.timing.rounds import Series

if TYPE_CHECKING:
    from detrbench.runtimes.eager import Eager

# Output channels, input channels, kernel, height and width.
_CONVOLUTIONS = ((128, 128, 3, 80), (256, 256, 3, 40), (256, 256, 1, 80), (512, 1024, 1, 40))
# Rows, inner size, columns: a linear layer over all cells of an image, and a square product.
_PRODUCTS = ((8400, 256, 256), (1024, 1024, 1024))

_LEAST_S = 4e-3  # of a compute probe: shorter, and starting the threads would be part of its rate
_MOST_BATCH = 64
_CACHE_PASSES = 40  # the first finds what other steps left in the cache, the others its own data
_LAUNCHES = 400
_LOOKED_AT = 1024  # numbers of a stream's result
_SWEEP_BYTES = tuple(2**power for power in range(20, 30))
_LARGEST = 2**31


@dataclass(frozen=True)
class Probe:
    """One attempt at a ceiling."""

    ceiling: str  # a key of `KINDS`
    source: str  # what it does, in words
    amount: float  # of it in one call: FLOPs, bytes, or launches
    step: Step


class Bench:
    """Makes the probes of one opened runtime: its device, number format and layout."""

    def __init__(self, runtime: Eager) -> None:
        self._place, self._device = runtime.place, runtime.device.name
        self._clock: Clock = runtime.device.clock
        self._draw = torch.Generator().manual_seed(0)
        self.cache_bytes = self._cache_bytes()

    def probes(self) -> tuple[Probe, ...]:
        """All probes, ready to run."""
        streams = (
            ("memory", min(4 * self.cache_bytes, _LARGEST), 1),
            ("cache", self.cache_bytes // 4, _CACHE_PASSES),
        )
        return (
            *(self._convolution(*shape) for shape in _CONVOLUTIONS),
            *(self._product(*shape) for shape in _PRODUCTS),
            *(self._stream(name, *stream) for stream in streams for name in _STREAMS),
            self._launches(),
        )

    def _convolution(self, outputs: int, inputs: int, kernel: int, side: int) -> Probe:
        weight = self._random(outputs, inputs, kernel, kernel) / (inputs * kernel**2) ** 0.5

        def of_batch(batch: int) -> Callable[[], Tensor]:
            images = self._random(batch, inputs, side, side)
            return lambda: F.conv2d(images, weight, padding=kernel // 2)

        batch, call = self._long_enough(of_batch)
        flops = 2 * batch * outputs * inputs * kernel**2 * side**2
        source = f"{kernel}x{kernel}, {inputs} to {outputs} channels, {side}x{side}, batch {batch}"
        return Probe("convolution", source, flops, ModelStep(call, self._clock))

    def _product(self, rows: int, inner: int, columns: int) -> Probe:
        weight = self._random(columns, inner) / inner**0.5

        def of_batch(batch: int) -> Callable[[], Tensor]:
            values = self._random(batch, rows, inner)
            return lambda: F.linear(values, weight)

        batch, call = self._long_enough(of_batch)
        source = f"({batch * rows}, {inner}) x ({inner}, {columns})"
        flops = 2 * batch * rows * inner * columns
        return Probe("matmul", source, flops, ModelStep(call, self._clock))

    def _stream(self, name: str, ceiling: str, nbytes: int, passes: int) -> Probe:
        """Element-wise work over `nbytes` in all, by the rule that each input is read and each
        output written once."""
        number, work = _STREAMS[name]
        tensors = [self._filled(nbytes // number) for _ in range(number)]

        def call() -> Tensor:
            for _ in range(passes - 1):
                work(*tensors)
            return work(*tensors)

        # A tensor alone is read and written, of several each is one or the other.
        once = max(2, number) * tensors[0].numel() * tensors[0].element_size()
        source = f"{name}, {nbytes // 2**20} MiB"
        return Probe(ceiling, source, passes * once, _Stream(call, self._clock))

    def _launches(self) -> Probe:
        tiny = self._random(1, 1, 1, 16)

        def call() -> Tensor:
            for _ in range(_LAUNCHES - 1):
                tiny.add(tiny)
            return tiny.add(tiny)

        source = "an addition of 16 numbers"
        return Probe("dispatch", source, _LAUNCHES, ModelStep(call, self._clock))

    def _random(self, *shape: int) -> Tensor:
        values = torch.randn(*shape, generator=self._draw)
        if len(shape) == 4:
            return self._place(values)
        # Layouts are of images; whatever has fewer dimensions borrows some on its way.
        return self._place(values.reshape(1, 1, -1, shape[-1])).reshape(shape)

    def _filled(self, nbytes: int) -> Tensor:
        """A flat tensor of about `nbytes`, every page of it written."""
        one = self._random(1)
        return one.new_full((max(1, nbytes // one.element_size()),), 1.5)

    def _long_enough(
        self, of_batch: Callable[[int], Callable[[], Tensor]]
    ) -> tuple[int, Callable[[], Tensor]]:
        batch = 1
        while True:
            call = of_batch(batch)
            step = ModelStep(call, self._clock)
            # The first call also builds what later ones find ready.
            seconds = min(self._clock.time(step)[0] for _ in range(3))
            if seconds >= _LEAST_S or batch >= _MOST_BATCH:
                return batch, call
            batch *= 2

    def _cache_bytes(self) -> int:
        if torch.device(self._device).type == "cuda":
            size: int = torch.cuda.get_device_properties(self._device).L2_cache_size
            return size
        return last_level_bytes() or cache_from_sweep(
            {nbytes: self._in_place_rate(nbytes) for nbytes in _SWEEP_BYTES}
        )

    def _in_place_rate(self, nbytes: int) -> float:
        probe = self._stream("scaling in place", "cache", nbytes, passes=max(2, 2**28 // nbytes))
        return probe.amount / min(self._clock.time(probe.step)[0] for _ in range(3))


class _Stream(ModelStep):
    """One over numbers that are all the same: looking at each would take longer than the work."""

    def verify(self, outcome: object) -> None:
        assert isinstance(outcome, Tensor)
        super().verify(outcome[:_LOOKED_AT])


def _add(left: Tensor, right: Tensor, result: Tensor) -> Tensor:
    return torch.add(left, right, out=result)


_STREAMS: dict[str, tuple[int, Callable[..., Tensor]]] = {
    "scaling in place": (1, lambda values: values.mul_(1.0)),
    "copying": (2, lambda here, there: there.copy_(here)),
    "adding two to a third": (3, _add),
}
"""What is done -> with how many tensors of one size, and how."""


def ceilings(probes: Sequence[Probe], serieses: Sequence[Series], cache_bytes: int) -> Ceilings:
    """What the probes' samples say: of each kind the one with the best median.

    Raises DetrbenchError where none of a kind ran, such as convolutions in a number format that the
    device has not.
    """
    best: dict[str, Ceiling] = {}
    for name, (_, what) in KINDS.items():
        pairs = zip(probes, serieses, strict=True)
        tried = [(probe, series) for probe, series in pairs if probe.ceiling == name]
        found = [
            _ceiling(probe, series)
            for probe, series in tried
            if series.status != "failed" and series.latency_s
        ]
        if not found:
            reasons = [series.reason or "no round was finished" for _, series in tried]
            raise DetrbenchError(
                f"no ceiling was found for {what}: {[*reasons, 'nothing was tried'][0]}",
                hint="Choose another --dtype, or a longer --budget.",
            )
        value = attrgetter("value")
        best[name] = min(found, key=value) if name == "dispatch" else max(found, key=value)
    return Ceilings(best, cache_bytes)


def _ceiling(probe: Probe, series: Series) -> Ceiling:
    launches = probe.ceiling == "dispatch"
    samples = series.latency_s
    values = [one / probe.amount if launches else probe.amount / one for one in samples]
    return Ceiling(
        probe.ceiling,
        median(values),
        quantile(values, 0.25),
        quantile(values, 0.75),
        probe.source + (_host_share(probe, series) if launches else ""),
    )


def _host_share(probe: Probe, series: Series) -> str:
    """Back to back, kernels follow each other as fast as the host enqueues or the device takes
    them, whichever is slower; where the clock tells them apart, the host's is said as well."""
    enqueued = series.samples.get("enqueue_s")
    if not enqueued:
        return ""
    return f", enqueued in {show_quantity(median(enqueued) / probe.amount, 'fine s')}"
