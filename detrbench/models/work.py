"""What one call of a module does, as far as counts depend on it."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map


def work_of(module: nn.Module, *inputs: Any) -> tuple[Any, ...]:
    """The shapes of its parameters, and each operator with the shapes and whole numbers that it
    gets: two modules of the same work count the same."""
    with _Operators() as operators:
        output = module(*inputs)
    shapes = sorted(tuple(p.shape) for p in module.parameters())
    return shapes, operators.seen, str(tree_map(_counted, output))


class _Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[str] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(f"{func}{tree_map(_counted, (args, kwargs))}")
        return func(*args, **(kwargs or {}))


def _counted(each: Any) -> Any:
    """What a count may depend on: a shape, or a number that is no fraction."""
    if isinstance(each, Tensor):
        return tuple(each.shape)
    return None if isinstance(each, float) else each
