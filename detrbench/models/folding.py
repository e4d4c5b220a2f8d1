"""Folding batch normalisations of the user's modules: found while they run, compared when folded.

A normalisation is folded where a convolution alone feeds it, and it alone reads that convolution:
which of them do shows in one call of the module, whatever its code is.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from detrbench.core.errors import UsageError, told
from detrbench.models.outputs import tensors
from detrbench.models.signatures import required

# Exact types: a class derived from one of them may compute something else.
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_MARK = "_detrbench_convolution"
_TOLERANCES = {torch.float16: 2e-2, torch.bfloat16: 1e-1}
_TOLERANCE = 1e-3  # of the largest output, in others: far above rounding, far below a mistake


@dataclass(frozen=True)
class Foldable:
    """What can be folded in one module, and an input that it was called with.

    Attributes:
        pairs: path of a convolution in it -> path of its normalisation.
        inputs: the arguments of its forward, on `meta`.
        own: paths of what folds itself in it, outermost first; "" is the module.
    """

    pairs: Mapping[str, str]
    inputs: tuple[Any, ...]
    own: tuple[str, ...] = ()

    def fold_own(self, module: nn.Module) -> list[str]:
        """Let what folds itself do so, once; what it returns in its place, as the `fuse` of many a
        backbone does, stands there then. Returns the class of each that switched to deploy.

        Raises ValueError where the module computes something else afterwards: it is compared where
        it takes these inputs, by shapes alone where it has no values.
        """
        inputs, before = None, None
        with suppress(Exception):
            inputs, before = self._called(module)
        named = dict(module.named_modules())
        keys = {path: {*named[path].state_dict()} for path in self.own if path in named}
        switched = []
        for path, as_built in keys.items():
            each = dict(module.named_modules()).get(path)
            if each is None or {*each.state_dict()} != as_built:
                continue  # what it stands in has done it
            with _where(each):
                made = own_method(each)()
            if path and isinstance(made, nn.Module) and made is not each:
                module.set_submodule(path, made.train(each.training))
            if not hasattr(type(each), "fuse"):
                switched.append(type(each).__name__)
        if before is not None and not _are_same(before, _outputs(module, inputs)):
            raise ValueError("what it computes is not the same afterwards")
        return switched

    def fold(self, module: nn.Module) -> None:
        """Fold them in `module`, in place, if it computes the same afterwards; else leave all."""
        named = dict(module.named_modules())
        pairs = {c: n for c, n in self.pairs.items() if _is_pair(named.get(c), named.get(n))}
        if not pairs:
            return
        inputs, before = self._called(module)
        for convolution, normalisation in pairs.items():
            fused = fuse_conv_bn_eval(named[convolution], named[normalisation])
            module.set_submodule(convolution, fused)
            module.set_submodule(normalisation, nn.Identity())
        try:
            same = _are_same(before, _outputs(module, inputs))
        except Exception:  # its code may ask a normalisation for what nothing else has
            same = False
        if not same:
            for path in (*pairs, *pairs.values()):
                module.set_submodule(path, named[path])

    def _called(self, module: nn.Module) -> tuple[tuple[Any, ...], list[Tensor]]:
        """Inputs, and what the module makes of them: maps of a quarter of the sides are enough to
        compare by, unless its code insists on those it was drawn with."""
        with suppress(Exception):
            small = tree_map(_quartered, self.inputs)
            return small, _outputs(module, small)
        return self.inputs, _outputs(module, self.inputs)


def _quartered(each: Any) -> Any:
    """A map of a quarter of its sides, where these are whole."""
    if (
        not isinstance(each, Tensor)
        or each.dim() != 4
        or any(s % 4 or s < 32 for s in each.shape[2:])
    ):
        return each
    return each.new_empty(*each.shape[:2], *(side // 4 for side in each.shape[2:]))


def _is_pair(convolution: nn.Module | None, normalisation: nn.Module | None) -> bool:
    return type(convolution) in _CONVOLUTIONS and type(normalisation) in _NORMALISATIONS


def _where(module: nn.Module) -> AbstractContextManager[Any]:
    """Inside, new layers are made on the device that a module is on."""
    tensor = next(module.parameters(), None)
    return nullcontext() if tensor is None else tensor.device


_OWN_METHODS = ("fuse", "switch_to_deploy")


def own_method(module: nn.Module, names: Sequence[str] = _OWN_METHODS) -> Any:
    """The method by which a module folds itself, by either name that is used for it; None where it
    has none. A layer of that name is none, nor is a method that wants to be given something."""
    for name in names:
        method = getattr(type(module), name, None)
        if callable(method) and required(method) <= 1:
            return getattr(module, name)
    return None


def that_fold_themselves(module: nn.Module) -> tuple[str, ...]:
    """The paths of a module's parts, itself among them, that do so; outermost first."""
    return tuple(p for p, each in module.named_modules() if own_method(each))


def of_other_classes(module: nn.Module) -> list[str]:
    """The classes of batch normalisations in a module that are not torch's plain ones."""
    kinds = (type(module.get_submodule(path)) for path in unfolded(module))
    return sorted({kind.__name__ for kind in kinds if kind not in _NORMALISATIONS})


def unfolded(module: nn.Module) -> list[str]:
    """The paths of the batch normalisations in a module, whatever their class."""
    kind = nn.modules.batchnorm._BatchNorm
    return [path for path, each in module.named_modules() if isinstance(each, kind)]


def _outputs(module: nn.Module, inputs: Any) -> list[Tensor]:
    """Of the same inputs and the same chance each time, with values where the module has them."""
    tensor = next(module.parameters(), torch.empty(0, device="meta"))
    generator = torch.Generator().manual_seed(0)

    def filled(shape: Any) -> Any:
        if not isinstance(shape, Tensor) or tensor.is_meta:
            return shape
        values = torch.rand(shape.shape, generator=generator)
        return values.to(tensor.device, tensor.dtype)

    with torch.no_grad(), torch.random.fork_rng(devices=[]), leaving_nothing(module):
        torch.default_generator.manual_seed(0)
        return [t.clone() for t in tensors(module(*tree_map(filled, inputs)))]


@contextmanager
def leaving_nothing(module: nn.Module) -> Iterator[None]:
    """Inside, the module is called; what it keeps of that, such as a position code of these images'
    size, is gone afterwards, unless it makes layers of its own then."""
    lazy, as_built = any(map(is_lazy, module.parameters())), {*dict(module.named_parameters())}
    with ExitStack() as stack:
        for each in module.modules():
            for held in (vars(each), *vars(each).values()):
                if type(held) in (dict, OrderedDict):
                    stack.callback(held.update, dict(held))
                    stack.callback(held.clear)
                elif type(held) is list:
                    stack.callback(held.__setitem__, slice(None), list(held))
        yield
        if lazy or {*dict(module.named_parameters())} != as_built:
            stack.pop_all()


def _are_same(before: Sequence[Tensor], after: Sequence[Tensor]) -> bool:
    return len(before) == len(after) and all(map(_is_same, before, after))


def _is_same(before: Tensor, after: Tensor) -> bool:
    if before.shape != after.shape:
        return False
    if before.is_meta:
        return True
    finite = before.isfinite()
    if not torch.equal(finite, after.isfinite()):
        return False
    kind = torch.complex128 if before.is_complex() else torch.float64
    was, now = before[finite].to(kind), after[finite].to(kind)
    tolerance = _TOLERANCES.get(before.dtype, _TOLERANCE)
    return not was.numel() or bool((was - now).abs().max() <= tolerance * was.abs().max())


# --- modules from anywhere ---------------------------------------------------------------------

_SIZES = ((224, 224), (640, 640))
"""Of images that a module is tried with which has no example of its own."""


def fold_module(
    module: nn.Module, images: Tensor | None = None, imgsz: tuple[int, int] = _SIZES[-1]
) -> list[str] | None:
    """Fold what can be folded in a module in evaluation mode, in place. Returns the class of each
    part that switched to deploy; None where there is nothing to fold.

    Args:
        images: an example of its input; without, images of 224 pixels and of `imgsz` are tried.

    Raises ValueError where it computes something else afterwards, UsageError where it takes no
    such images.
    """
    foldable = _foldable_in(module, images, imgsz)
    if foldable is None:
        return None
    switched = foldable.fold_own(module)
    before = len(unfolded(module))
    foldable.fold(module)
    if foldable.pairs and not foldable.own and len(unfolded(module)) == before:
        raise ValueError("what it computes is not the same afterwards")
    return switched


def fuse_itself(
    module: nn.Module, images: Tensor | None = None, imgsz: tuple[int, int] = _SIZES[-1]
) -> tuple[Any, bool]:
    """What a module's own `fuse` returns, and whether its outputs were compared, by shapes alone
    where it has no values: they are wherever it takes images, as in `fold_module`.

    Raises ValueError where it computes something else afterwards.
    """
    inputs, before = None, None
    for each in _tried(module, images, imgsz):
        with suppress(Exception):
            inputs, before = (each,), _outputs(module, (each,))
            break
    made = own_method(module, ["fuse"])()
    fused = made.eval() if isinstance(made, nn.Module) else module.eval()
    if before is not None and not _are_same(before, _outputs(fused, inputs)):
        raise ValueError("what it computes is not the same afterwards")
    return made, before is not None


def _tried(module: nn.Module, images: Tensor | None, imgsz: tuple[int, int]) -> tuple[Tensor, ...]:
    """Images to call a module with: its own example, or else small ones, then those asked for."""
    if images is not None:
        return (images,)
    like = next(module.parameters(), torch.empty(0))
    return tuple(like.new_zeros(1, 3, *size) for size in dict.fromkeys((_SIZES[0], imgsz)))


def _foldable_in(
    module: nn.Module, images: Tensor | None, imgsz: tuple[int, int]
) -> Foldable | None:
    norms = any(type(each) in _NORMALISATIONS for each in module.modules())
    if not norms and not that_fold_themselves(module):
        return None
    tried = _tried(module, images, imgsz)
    with torch.no_grad():
        for each in tried[:-1]:
            with suppress(Exception), leaving_nothing(module):
                return run_to_fold(module, each)[1]
        try:
            with leaving_nothing(module):
                return run_to_fold(module, tried[-1])[1]
        except Exception as error:  # the user's code, which may fail in any way
            raise UsageError(
                "fusing follows one call, to see what feeds its batch norms, and that failed on "
                f"images of shape {tuple(tried[-1].shape)}: {told(error)}",
                where=type(module).__name__,
                hint="Give --imgsz, or return (module, example inputs).",
            ) from error


# --- which they are ----------------------------------------------------------------------------


@dataclass
class _Seen:
    """What one call of a module showed."""

    called: Counter[str] = field(default_factory=Counter)  # convolutions and normalisations
    fed_by: dict[str, str | None] = field(default_factory=dict)  # normalisation -> convolution
    read: Counter[str] = field(default_factory=Counter)  # operators that read a convolution's map
    touched: Counter[int] = field(default_factory=Counter)  # and a parameter, by its id


class _Reads(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Notes which operators read what a convolution made, and which parameters."""

    def __init__(self, seen: _Seen) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._seen = seen

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for each in tree_leaves((args, kwargs)):
            if isinstance(each, Tensor):
                self._seen.touched[id(each)] += 1
                if (path := getattr(each, _MARK, None)) is not None:
                    self._seen.read[path] += 1
        return func(*args, **(kwargs or {}))


@contextmanager
def _watched(module: nn.Module) -> Iterator[_Seen]:
    seen, hooks = _Seen(), []

    def convolved(path: str) -> Any:
        def hook(each: nn.Module, inputs: Any, output: Tensor) -> None:
            seen.called[path] += 1
            setattr(output, _MARK, path)

        return hook

    def normalised(path: str) -> Any:
        def hook(each: nn.Module, inputs: Any) -> None:
            seen.called[path] += 1
            seen.fed_by[path] = getattr(inputs[0], _MARK, None) if inputs else None

        return hook

    for path, each in module.named_modules():
        if type(each) in _CONVOLUTIONS and not _is_watched_already(each):
            hooks.append(each.register_forward_hook(convolved(path)))
        elif type(each) in _NORMALISATIONS and not _is_watched_already(each):
            hooks.append(each.register_forward_pre_hook(normalised(path)))
    try:
        with _Reads(seen):
            yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _is_watched_already(module: nn.Module) -> bool:
    """Whether somebody has code called with it, who would miss it or be called with other maps."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def run_to_fold(module: nn.Module, *inputs: Any) -> tuple[Any, Foldable | None]:
    """The module's output for `inputs` on `meta`, and what can be folded in it, if anything can."""
    own = that_fold_themselves(module)
    if not any(type(each) in _NORMALISATIONS for each in module.modules()):
        return module(*inputs), Foldable({}, inputs, own) if own else None
    with _watched(module) as seen:
        output = module(*inputs)
    returned = {getattr(each, _MARK, None) for each in tensors(output)}
    named = dict(module.named_modules())
    pairs = {
        convolution: normalisation
        for normalisation, convolution in seen.fed_by.items()
        if convolution is not None
        and convolution not in returned
        and seen.called[convolution] == seen.called[normalisation] == seen.read[convolution] == 1
        and _are_touched_once(named[convolution], named[normalisation], seen)
        # What folds by itself knows better.
        and not any(not path or f"{convolution}.".startswith(f"{path}.") for path in own)
    }
    return output, Foldable(pairs, inputs, own) if pairs or own else None


def _are_touched_once(convolution: nn.Module, normalisation: Any, seen: _Seen) -> bool:
    """Whether nobody else uses their parameters, and the normalisation has its own statistics."""
    tensors = [*convolution.parameters(), *normalisation.parameters()]
    statistics = normalisation.running_mean is not None and not normalisation.training
    return statistics and all(seen.touched[id(tensor)] == 1 for tensor in tensors)
