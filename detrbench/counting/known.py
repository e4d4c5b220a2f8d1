"""What a forward may ask of tensors that have shapes only: where they live, and what is in those
that do not depend on the images.

Small parameters, buffers and constants keep their values beside their shapes, and so does what is
computed of such alone: a decision that reads them is taken as for real. Of a large tensor that is
one number throughout, such as a mask of ones, that number is kept. Whoever reads other values, and
goes on when that fails, is remembered.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

from detrbench.models.shapes import on_shapes

MOST_ELEMENTS = 1024
"""Of a tensor whose values are kept: spatial shapes, flags, scales, not weights."""

MOST_COMPUTED = 1 << 20
"""Elements of what is computed to see whether it is one number throughout."""

_VALUE = "_detrbench_value"

_FILLED = {
    getattr(torch.ops.aten, form.format(name)).default: number
    for name, number in (("ones", 1), ("zeros", 0), ("full", None))
    for form in ("{}", "new_{}", "{}_like")
}
"""Operators that make tensors of one number, and that number; None where it is their last
argument."""

_OF_VALUES = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
"""What shapes alone do not answer."""

_SYMBOLS = (torch.SymInt, torch.SymFloat, torch.SymBool)


def keep_value(twin: Tensor, tensor: Tensor) -> None:
    """Remember in `twin`, which has the shape only, what is in a small tensor on a processor."""
    if _is_real(tensor) and tensor.layout is torch.strided:
        with _disable_current_modes():
            setattr(twin, _VALUE, tensor.detach().clone())


class Known:
    """Runs operators on shapes, and on the values of what does not depend on the images."""

    def __init__(self, device: str, missed: Callable[[str], None]) -> None:
        self.device = device
        self.missed = missed  # is told what wanted values that are not known
        # Storages of kept values that are no longer those of the tensors: alive, for addresses of
        # dead ones are given to others.
        self._spoiled: dict[int, Any] = {}
        # Memory of tensors that something unknown was written into, as long as it lives: whoever
        # looks at it in other ways does not know it either.
        self._unknown: dict[int, weakref.ref[Any]] = {}

    def of(self, tensor: Tensor) -> Tensor | None:
        """The values of a tensor, where they are known."""
        value: Tensor | None = getattr(tensor, _VALUE, None)
        if value is None or value.untyped_storage()._cdata in self._spoiled:
            return None
        if tensor.untyped_storage()._cdata in self._unknown:
            return None
        return value if value.shape == tensor.shape and value.dtype == tensor.dtype else None

    def read(self, tensor: Any, *, shared: bool) -> Tensor | None:
        """The values of a tensor for somebody who reads them, and who may write into what is
        `shared` with him; None where they are not known."""
        if not isinstance(tensor, Tensor) or (shared and not self._has_its_own(tensor)):
            return None
        return self.of(tensor)

    def keep(self, result: Any, values: Any) -> None:
        """Remember the values of an operator's or a function's results."""
        for tensor, value in zip(tree_leaves(result), tree_leaves(values), strict=True):
            if isinstance(tensor, Tensor) and value is not None and value.shape == tensor.shape:
                setattr(tensor, _VALUE, value)

    def spoil(self, tensors: Any) -> None:
        """Something unknown is written into these, and into all that share their memory."""
        for tensor in tree_leaves(tensors):
            if not isinstance(tensor, Tensor) or tensor.layout is not torch.strided:
                continue
            if (value := self.of(tensor)) is not None:
                storage = value.untyped_storage()
                self._spoiled[storage._cdata] = storage
            self._lose(tensor.untyped_storage())

    def _lose(self, storage: Any) -> None:
        address, unknown = storage._cdata, self._unknown
        unknown[address] = weakref.ref(storage, lambda _: unknown.pop(address, None))

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of one ATen operator on shapes, its values kept where they can be known."""
        if func in _FILLED:
            return self._filled(func, args, kwargs)
        known = self._knows_all(func, (args, kwargs))
        known = known and not self._writes_into_less(func, args, kwargs)
        if known and _OF_VALUES & set(func.tags):
            with suppress(Exception):
                return tree_map(self._shape_of, self._computed(func, args, kwargs))
        try:
            result = on_shapes(func, args, kwargs)
        except Exception:
            if _OF_VALUES & set(func.tags):
                self.missed(func.name().partition(".")[0].replace("::", "."))
            raise
        if known and all(map(_is_computable, tree_leaves(result))):
            with suppress(Exception):
                values = self._computed(func, args, kwargs)
                self.keep(result, values if _looks(func) else tree_map(_in_little, values))
                return result
        if func._schema.is_mutable:
            self.spoil(_written(func, args, kwargs))
        return result

    def _writes_into_less(self, func: Any, args: Any, kwargs: Any) -> bool:
        """Whether an operator changes in place what is kept in less memory than it has, as one
        number for all, or a part of that, be it a single element."""
        written = tree_leaves(_written(func, args, kwargs)) if func._schema.is_mutable else []
        return any(isinstance(t, Tensor) and not self._has_its_own(t) for t in written)

    def _has_its_own(self, tensor: Tensor) -> bool:
        """Whether each element that its memory has room for has a place among the values, too."""
        value = self.of(tensor)
        return value is None or (
            value.untyped_storage().nbytes() >= tensor.untyped_storage().nbytes()
        )

    def _filled(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = on_shapes(func, args, kwargs)
        number = args[-1] if _FILLED[func] is None else _FILLED[func]
        if isinstance(number, (bool, int, float)) and all(type(n) is int for n in result.shape):
            with _disable_current_modes():
                one = torch.full((), number, dtype=result.dtype).expand(result.shape)
                self.keep(result, one.clone() if _is_small(result) else one)
        return result

    def _knows_all(self, func: Any, given: Any) -> bool:
        if torch.Tag.nondeterministic_seeded in func.tags:
            return False
        fresh = func is torch.ops.aten.lift_fresh.default  # its own values, if any
        for leaf in tree_leaves(given):
            if isinstance(leaf, _SYMBOLS):
                return False
            if (
                isinstance(leaf, Tensor)
                and self.of(leaf) is None
                and not (fresh and _is_real(leaf))
            ):
                return False
        return True

    def _computed(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        def value(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor):
                return torch.device("cpu") if isinstance(leaf, torch.device) else leaf
            return leaf if (found := self.of(leaf)) is None else found

        with _disable_current_modes():
            return func(*tree_map(value, args), **tree_map(value, kwargs))

    def _shape_of(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        layout = value.shape, value.stride()
        tensor = torch.empty_strided(*layout, dtype=value.dtype, device=self.device)
        setattr(tensor, _VALUE, value)
        return tensor


def _is_real(tensor: Tensor) -> bool:
    small = tensor.numel() <= MOST_ELEMENTS and tensor.device.type == "cpu"
    return small and type(tensor).__name__ != "FakeTensor"


def _is_small(leaf: Any, most: int = MOST_ELEMENTS) -> bool:
    if not isinstance(leaf, Tensor):
        return not isinstance(leaf, _SYMBOLS)
    return all(type(side) is int for side in leaf.shape) and leaf.numel() <= most


def _is_computable(leaf: Any) -> bool:
    return _is_small(leaf, MOST_COMPUTED)


def _is_one_number(value: Tensor | None) -> bool:
    """Whether it is kept as the one number that a large tensor is full of."""
    return value is not None and value.numel() > 1 and not any(value.stride())


def _in_little(leaf: Any) -> Any:
    """A computed value as it is kept: whole where it is small, as its number where that is all
    there is in it; None where it is not kept."""
    if not isinstance(leaf, Tensor) or leaf.numel() <= MOST_ELEMENTS or _is_one_number(leaf):
        return leaf
    with _disable_current_modes():
        first = leaf.flatten()[0]
        return first.clone().expand(leaf.shape) if bool((leaf == first).all()) else None


def _looks(func: Any) -> bool:
    """Whether its results are what it was given, seen in another way, and change with it."""
    return any(each.alias_info is not None for each in func._schema.returns)


def _written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    written = []
    for index, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            given = args[index] if index < len(args) else kwargs.get(argument.name)
            written.append(given)
    return written


_SHOWN = {
    Tensor.device.__get__: torch.device("cpu"),
    Tensor.is_meta.__get__: False,  # type: ignore[attr-defined]
    Tensor.is_cpu.__get__: True,  # type: ignore[attr-defined]
    Tensor.is_cuda.__get__: False,  # type: ignore[attr-defined]
}
"""What a tensor says of where it lives: on a processor, as it would if the counts were taken of a
call for real."""

_OF_NUMBERS = {torch.tensor, torch.as_tensor, torch.scalar_tensor, Tensor.new_tensor}

_READERS = {
    *(Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.item, Tensor.__bool__),
    *(Tensor.__int__, Tensor.__float__, Tensor.__index__, Tensor.__complex__),
}

_SHARED: set[Any] = {Tensor.numpy, Tensor.__array__}
"""Readers that hand out the memory itself: what is written into either is in both."""

_OPENED = {Tensor.untyped_storage, Tensor.storage, Tensor.__dlpack__}
"""What lets somebody write where no operator is seen."""

_BY_ELEMENT = {Tensor.apply_, Tensor.map_, Tensor.map2_}
"""What calls Python for each element, and writes what that returns."""

_ON_PROCESSOR = {"cpu", torch.device("cpu"), torch.device("cpu", 0)}


class Answers(TorchFunctionMode):
    """Inside, tensors of shapes alone answer as those on a processor would."""

    def __init__(
        self, known: Known, made: Callable[[Tensor], object], addressed: Callable[[], None]
    ) -> None:
        super().__init__()
        self.known = known
        self.made = made  # is told of tensors made of numbers, which no operator does on `meta`
        self.addressed = addressed  # is told that somebody asks where in memory a tensor lies

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The answer to one call of torch's functions, or to a question to a tensor."""
        kwargs = kwargs or {}
        if func in _SHOWN:
            return _SHOWN[func] if _has_shape_only(args[0]) else func(*args)
        if func is Tensor.data_ptr and _has_shape_only(args[0]):
            self.addressed()
            return args[0].untyped_storage()._cdata + args[0].storage_offset()
        if func is Tensor.cpu and _has_shape_only(args[0]):
            func, kwargs = Tensor.to, {"device": self.known.device, **kwargs}
        if func in _READERS:
            return self._read(func, args, kwargs)
        if func in _OPENED or func in _BY_ELEMENT:
            self.known.spoil(args[0])
        if func in _BY_ELEMENT and _has_shape_only(args[0]):
            return args[0]
        if self.known.device != "cpu":
            args, kwargs = self._moved(func, args, kwargs)
        result = func(*args, **kwargs)
        if func in _OF_NUMBERS:
            self._keep_numbers(func, args, kwargs, result)
        elif func == Tensor.data.__set__:  # type: ignore[attr-defined]
            setattr(args[0], _VALUE, self.known.of(args[1]))
        return result

    def _moved(self, func: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """The arguments with tensors of shapes alone wanted where a processor is asked for."""
        here = torch.device(self.known.device)
        if "device" in kwargs and kwargs["device"] in _ON_PROCESSOR:
            kwargs = {**kwargs, "device": here}
        if func is Tensor.to and len(args) > 1 and isinstance(args[1], (str, torch.device)):
            args = (args[0], here if args[1] in _ON_PROCESSOR else args[1], *args[2:])
        return args, kwargs

    def _read(self, func: Any, args: Any, kwargs: Any) -> Any:
        value = self.known.read(args[0], shared=func in _SHARED)
        if value is not None:
            with _disable_current_modes():
                return func(value, *args[1:], **kwargs)
        try:
            return func(*args, **kwargs)
        except Exception:
            self.known.missed("a decision")
            raise

    def _keep_numbers(self, func: Any, args: Any, kwargs: Any, result: Tensor) -> None:
        numbers = (*args, *kwargs.values())[func is Tensor.new_tensor]
        if not isinstance(numbers, Tensor):
            self.made(result)
        if not _is_small(result) or self.known.of(result) is not None:
            return

        def value(leaf: Any) -> Any:
            found = self.known.of(leaf) if isinstance(leaf, Tensor) else None
            return leaf if found is None else found

        with suppress(Exception), _disable_current_modes(), torch.device("cpu"):
            values = torch.tensor(tree_map(value, numbers), dtype=result.dtype)
            self.known.keep(result, values)


def _has_shape_only(tensor: Any) -> bool:
    with torch._C.DisableTorchFunction():
        return tensor.is_meta or type(tensor).__name__ == "FakeTensor"
