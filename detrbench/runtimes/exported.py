"""What the runtimes that execute an ONNX graph on the processor have in common."""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from detrbench.core.errors import DetrbenchError, first_line
from detrbench.models.graph_file import GraphFile
from detrbench.models.outputs import tensors
from detrbench.reports.case import Execution
from detrbench.runtimes.agreement import check_agreement, check_finite, given, observed
from detrbench.runtimes.clocks import Clock
from detrbench.runtimes.devices import Device
from detrbench.runtimes.eager import Eager, ModelStep
from detrbench.runtimes.graph import Homes, Outputs, exported
from detrbench.runtimes.int8 import Batches, quantised

INT8 = "int8"

PRECISIONS = {"float32": "f32", "float16": "f16", "bfloat16": "bf16", INT8: "f32"}
"""Of ours, as OpenVINO calls them; of a graph in int8, what the rest of it computes in."""

Run = Callable[[], list[Tensor]]
"""Executes the graph once; its outputs, which may be the same tensors every time."""


class Kernel(NamedTuple):
    """One of a call."""

    names: tuple[str, ...]  # that it goes by, the runtime's own and the graph's
    is_product: bool  # whether it is a convolution or a matrix product
    seconds: float


Kernels = list[Kernel]


class KernelTimes(ModelStep):
    """A step whose kernels are timed.

    Args:
        run: executes the graph.
        read: of all calls, the kernels; asked once, when all is done.
        homes: of the graph.
    """

    def __init__(
        self, run: Run, read: Callable[[], list[Kernels]], homes: Homes, clock: Clock
    ) -> None:
        super().__init__(run, clock)
        self._read, self._homes = read, homes

    @cached_property
    def seconds(self) -> list[dict[str | None, float]]:
        """Of every call, in order: path of a module -> what its kernels took; `None` for those that
        the runtime named after nothing in the graph."""
        return [self._by_home(kernels) for kernels in self._read()]

    def _by_home(self, kernels: Kernels) -> dict[str | None, float]:
        found: dict[str | None, float] = {}
        for names, is_product, seconds in kernels:
            home = self._homes.find(names, is_product)
            found[home] = found.get(home, 0.0) + seconds
        return found


class Exported(Eager):
    """The model's graph in another runtime, compared with eager given the same queries."""

    distribution: str
    """What is installed of it, whose version a row names."""

    quantised_file: str
    quantisers: tuple[str, ...]
    """What a graph in int8 is called, and the distributions that make it."""

    def __init__(self, device: Device, execution: Execution | None = None) -> None:
        super().__init__(device, execution)
        # The graph's; in what a runtime computes is its own affair, and read back.
        self._dtype = torch.float32
        self._is_file = False

    def prepare(self, model: nn.Module, images: Tensor) -> ModelStep:
        """The step that executes the graph of `model`; raises as `Runtime.prepare`, and if it
        cannot be exported or the runtime does not take it."""
        super().prepare(model, images)
        self._is_file = isinstance(model, GraphFile)
        placed = self.place(images)
        if isinstance(model, GraphFile):
            return self._as_it_is(model, placed)
        with torch.inference_mode():
            example, selected = observed(model)(placed)
        if not any(True for _ in tensors(example)):
            raise DetrbenchError("the model returned no tensor")
        outputs = Outputs(example, selected is not None)
        file, facts = self.export(model, images)
        began = time.perf_counter()
        run = self.load(str(file), placed)
        self.prepared |= {**facts, "load_s": time.perf_counter() - began}
        with torch.inference_mode():
            found = run()
            reference = given(model, placed, outputs.selected(found))
            self.compare(outputs.arranged(found), reference, f"in {self.distribution}")
        return ModelStep(lambda: outputs.arranged(run()), self.device.clock)

    def _as_it_is(self, model: GraphFile, images: Tensor) -> ModelStep:
        """The step that executes somebody's graph, which there is nothing to compare with."""
        began = time.perf_counter()
        try:
            run = self.load(model.path, images)
            found = run()
        except DetrbenchError:
            raise
        except Exception as error:  # whatever a runtime raises where shapes or types do not fit
            shape = " x ".join(map(str, images.shape))
            raise DetrbenchError(
                f"it does not run on images of {shape} in float32: {first_line(error)}",
                where=model.path,
                hint="Give --imgsz and --batch as it was exported for.",
            ) from error
        check_finite([each for each in found if each.is_floating_point()])
        self.prepared |= {"load_s": time.perf_counter() - began}
        return ModelStep(run, self.device.clock)

    def export(self, model: nn.Module, images: Tensor) -> tuple[Path, dict[str, Any]]:
        """The model's graph, from the cache where it is there; see `graph.exported`. In int8 where
        that was asked for; see `int8.quantised`."""
        file, facts = exported(model.eval(), self.place(images), self.identity)
        if self.execution.dtype != INT8:
            return file, facts
        made = self.quantised_file, self.quantisers
        quantised_graph, more = quantised(file, self.place(images), self.quantise, *made)
        return quantised_graph, {**facts, **more}

    def profiled(self, model: nn.Module, images: Tensor) -> KernelTimes:
        """A step that executes the graph with every kernel timed by the runtime itself, which makes
        it slower; raises as `prepare`."""
        file, _ = self.export(model, images)
        return KernelTimes(
            *self.profile(str(file), self.place(images)), Homes(file), self.device.clock
        )

    def profile(self, file: str, images: Tensor) -> tuple[Run, Callable[[], list[Kernels]]]:
        """What executes the graph in `file`, and what says, after all calls, for each of them the
        kernels."""
        raise NotImplementedError

    def note_products(self, counts: Mapping[str, float]) -> None:
        """Have `prepared` say how many convolutions and matrix products run in which precision, as
        the runtime tells it. Somebody's graph may compute in int8 as well.

        Raises:
            DetrbenchError: others than were asked for, or where int8 was, none.
        """
        wanted = PRECISIONS[self.execution.dtype]
        quantised_graph = self._is_file or self.execution.dtype == INT8
        allowed = {f"products_{each}" for each in (wanted, INT8 if quantised_graph else wanted)}
        others = counts.keys() - allowed
        lacking = self.execution.dtype == INT8 and not counts.get(f"products_{INT8}")
        if others or lacking:
            ran = " and ".join(
                f"{counts[each]} in {each.removeprefix('products_')}"
                for each in sorted(others or counts)
            )
            raise DetrbenchError(
                f"{self.distribution} was asked for {INT8 if lacking else wanted}, and would run "
                f"{ran or 'none'} of its convolutions and matrix products",
                hint="Leave --dtype out, or give one that this processor computes in.",
            )
        self.prepared |= counts

    def quantise(self, graph: str, batches: Batches, file: Path) -> None:
        """Write the graph in a file to another one, in int8 by the ranges that `batches` give."""
        raise NotImplementedError

    @abstractmethod
    def load(self, file: str, images: Tensor) -> Run:
        """What executes the graph in `file` on `images`. Raises DetrbenchError where the runtime
        does not take it, or would compute in another precision than was asked for."""

    def compare(self, outputs: object, reference: object, what: str) -> None:
        """Also of int8 how far outputs are from eager's, which nothing excuses or forbids."""
        if self.execution.dtype == INT8:
            found = check_agreement(outputs, reference, math.inf, what)
            self.prepared |= {"int8_deviation": found}
        else:
            super().compare(outputs, reference, what)

    def _cast(self, model: nn.Module, images: Tensor) -> None:
        model.to(self._dtype)

    def threads(self) -> int:
        """As many as torch would have."""
        return self.execution.threads or torch.get_num_threads()

    def settings(self, images: Tensor) -> Mapping[str, Any]:
        version = f"{self.distribution} {metadata.version(self.distribution)}"
        return {
            **super().settings(images),
            "dtype": self.execution.dtype,
            "threads": self.threads(),
            "runtime_version": version,
        }
