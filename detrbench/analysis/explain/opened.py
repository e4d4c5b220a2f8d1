"""Cases made ready in this process, each in a runtime of its own, to be timed in turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch

from detrbench.machine.threads import allowed_threads
from detrbench.models.sources.built import Built
from detrbench.reports.case import Case
from detrbench.runtimes import Runtime, open_runtime
from detrbench.runtimes.clocks import Step
from detrbench.timing.process import build_case, images_for
from detrbench.timing.rounds import Observer


class Opened:
    """A case and the runtime that carries it out.

    Attributes:
        case: as asked for, with the number of threads that it really gets.
    """

    def __init__(self, case: Case) -> None:
        self.case = case.replace(threads=case.execution.threads or allowed_threads())
        self.runtime: Runtime = open_runtime(self.case.execution)

    def build(self) -> tuple[Built, torch.Tensor]:
        """Its model and images, with the process's switches as they are to be.

        Raises:
            UsageError: there is no such model, or it does not fit.
        """
        self.runtime.activate()
        built = build_case(self.case)
        return built, images_for(self.case, built)

    def step(self) -> Step:
        """Its whole forward pass, ready to be timed.

        Raises:
            DetrbenchError: it cannot be built, or cannot run so.
        """
        built, images = self.build()
        return self.runtime.prepare(built.module, images)


@contextmanager
def opening() -> Iterator[Callable[[Case], Opened]]:
    """Inside, cases can be opened; afterwards the process's switches are as they were before."""
    with ExitStack() as undone:
        undone.callback(torch.set_num_threads, torch.get_num_threads())

        def open_case(case: Case) -> Opened:
            opened = Opened(case)
            undone.callback(opened.runtime.close)
            return opened

        yield open_case


class InTurns(Observer):
    """Has the runtime of each step active before every sample: others run between.

    Args:
        runtimes: of the steps, in their order.
    """

    def __init__(self, runtimes: Sequence[Runtime]) -> None:
        self._runtimes = runtimes

    def before(self, index: int) -> None:
        self._runtimes[index].activate()
