"""What one model file may ask for as a whole, counted while its rows are built and run on shapes.

The largest detectors here have 934 modules, 68 million parameters and 4,100 kernels. A file that
asks for much more is a mistake, or meant to keep us busy: it is refused as soon as that shows, in
the middle of a row if need be.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from torch import nn

from detrbench.core.units import show_count
from detrbench.models.shapes import ShapesOnly
from detrbench.models.yaml_spec import ModelSpec

MAX_MODULES = 10_000
MAX_PARAMETERS = 4_000_000_000  # 16 GB in float32; the largest detectors published have 3 billion
MAX_KERNELS = 10_000  # those that fill a new module's parameters counted with it


class Bounded(ShapesOnly):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Shapes alone, for all rows of a file, and no more of them than a file may ask for.

    Args:
        own: names of the user's own blocks, whose kernels are not counted: their code may do
            anything, such as scan a map pixel by pixel, and the user named it.

    Attributes:
        row: the one that is being built or run.
    """

    def __init__(self, spec: ModelSpec, own: Collection[str] = ()) -> None:
        super().__init__()
        self.row = spec.rows[0]
        self._spec, self._own = spec, own
        self._kernels = self._modules = self._parameters = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Raises SpecError where it is one kernel too many."""
        self._kernels += self.row.module not in self._own
        self._check(self._kernels, MAX_KERNELS, "kernels")
        return super().__torch_dispatch__(func, types, args, kwargs)

    def admit(self, modules: Iterable[nn.Module]) -> None:
        """Count what the present row was built as. Raises SpecError where that is too much."""
        for module in modules:
            self._modules += sum(1 for _ in module.modules())
            self._check(self._modules, MAX_MODULES, "modules")
            self._parameters += sum(each.numel() for each in module.parameters())
            self._check(self._parameters, MAX_PARAMETERS, "parameters")

    def _check(self, count: int, most: int, things: str) -> None:
        if count > most:
            what = f"up to here, the file asks for more than {show_count(most)} {things}"
            raise self._spec.error(self.row, what, "name a detector; nothing of this size is one.")
