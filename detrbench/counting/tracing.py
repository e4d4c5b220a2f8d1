"""One pass over a model that counts everything and computes nothing.

The model is copied onto the `meta` device (shapes without values), called once, and every ATen call
is recorded below autograd by a dispatch mode. Models that look at values, that insist on a device,
or that choose types by it (autocast) are traced again with fake tensors. The caller's process is
never touched: where the system can copy one, the forward runs in a copy of it, and what it caches,
draws or hands to hooks is gone with that; elsewhere, and where there is nothing of the kind, it
runs on a copy of the model.
"""

from __future__ import annotations

import copy
import functools
import gc
import logging
import sys
import threading
import weakref
from collections import OrderedDict, defaultdict
from collections.abc import (
    AsyncGenerator,
    Callable,
    Coroutine,
    Generator,
    Iterator,
    Mapping,
    Sequence,
    Set,
)
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, fields, replace
from functools import cache, partial
from itertools import count
from math import prod
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn

import torch
from torch import Tensor, nn
from torch._ops import HigherOrderOperator
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle

from detrbench.core.apart import CAN_COPY, Unfinished, call_apart
from detrbench.core.errors import DetrbenchError, UsageError, nearest, told
from detrbench.core.units import show_count
from detrbench.counting.formulas import (
    EPILOGUES,
    FORMULAS,
    FREE,
    RECURRENT,
    UNCOUNTED,
    UNFIT,
    Call,
    Cost,
    Formula,
    TensorInfo,
    memory_access_elements,
)
from detrbench.counting.keeping import copied, keeps_nothing
from detrbench.counting.known import Answers, Known, keep_value
from detrbench.models.fast_path import takes_fast_path
from detrbench.models.recurrent import has_one_kernel_per_layer, lstm_by_layer
from detrbench.models.shapes import ShapesOnly, attends_in_one_kernel, normalise_groups, on_shapes

if TYPE_CHECKING:
    from detrbench.models.detector import Detector

Grouping = Literal["stage", "module", "op"]
GROUPINGS: tuple[Grouping, ...] = ("stage", "module", "op")


class TraceError(DetrbenchError):
    """The forward could not be followed without computing it."""


@dataclass(frozen=True)
class Op(Call):
    """One ATen call that does work (views are not recorded)."""

    kind: str
    module: str  # the innermost that is being called
    module_type: type[nn.Module]  # its exact class, since some conventions count by class
    stage: str
    cost: Cost
    memory_access_elements: int
    live_bytes: int
    # What is left of the traffic when normalisation and element-wise work are folded into the
    # kernel before them.
    fused_bytes: int = 0
    # Of the model's input, where it is the first to read it, and of outputs that it writes last.
    edge_bytes: int = 0
    # The operator that other counters take for one and that this one is a part of.
    part_of: str = ""
    # That call, if it is of a recurrent layer and this is the first of its products.
    begins: Call | None = None


@dataclass(frozen=True)
class ParameterInfo:
    """One parameter tensor and the first operator of the call that touches it, if any does."""

    name: str
    numel: int
    nbytes: int
    touched_by: int | None


@dataclass(frozen=True)
class Totals:
    """The counts of a model or a part of it; parts add up to the whole, except peak and intensity.

    Attributes:
        params: parameter elements; params_unused: those that no evaluation call touches.
        macs: multiply-accumulates of convolutions, matrix products and attention.
        elementwise_flops: all other arithmetic, not part of `flops`.
        memory_access_elements: the ShuffleNet V2 paper's cost over convolutions and linear layers.
        traffic_eager_bytes: every kernel reads its inputs and writes its outputs, no reuse.
        traffic_fused_bytes: lower bound with normalisation and element-wise epilogues folded.
        traffic_min_bytes: parameters, model input and model output, once each.
        peak_activation_bytes: largest sum of live storages that are no parameters or buffers, the
            input image included; a tensor-level lower bound of what an allocator takes.
        kernels: operators that are not views.
    """

    params: int = 0
    params_unused: int = 0
    macs: int = 0
    elementwise_flops: int = 0
    memory_access_elements: int = 0
    traffic_eager_bytes: int = 0
    traffic_fused_bytes: int = 0
    traffic_min_bytes: int = 0
    peak_activation_bytes: int = 0
    kernels: int = 0

    @property
    def flops(self) -> int:
        """1 MAC = 2 FLOPs."""
        return 2 * self.macs

    @property
    def arithmetic_intensity(self) -> float | None:
        """FLOPs per byte of eager traffic; None where nothing moves."""
        return self.flops / self.traffic_eager_bytes if self.traffic_eager_bytes else None


COUNTED = (*(f.name for f in fields(Totals)), "flops", "arithmetic_intensity")
"""What every total says, by attribute name."""


@dataclass(frozen=True)
class Part:
    """A part of a model: its operators, and what they and its parameters add up to."""

    name: str
    ops: tuple[Op, ...]
    totals: Totals


@dataclass(frozen=True)
class Trace(Totals):
    """Everything one evaluation call of a model costs; its totals are its own attributes."""

    ops: tuple[Op, ...] = ()
    parameters: tuple[ParameterInfo, ...] = ()
    modules: Mapping[str, type[nn.Module]] = field(default_factory=dict)
    stages: Mapping[str, str] = field(default_factory=dict)
    # From which operator on, and in which module, it depends on the image's values what is done:
    # that is not counted.
    unfollowed: str = ""
    # Modules that torch runs as one kernel each outside of a trace, which follows their parts.
    fast: tuple[str, ...] = ()
    # Other reasons why figures may not be whole, as sentences.
    doubts: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every operator is counted."""
        return not (self.uncounted or self.unfollowed or self.doubts)

    @property
    def uncounted(self) -> tuple[Part, ...]:
        """Operators without a formula, largest traffic first: their FLOPs are unknown, not zero."""
        unknown = [p for p in self.parts("op") if p.ops and p.ops[0].kind == UNCOUNTED.kind]
        return tuple(sorted(unknown, key=lambda part: -part.totals.traffic_eager_bytes))

    def by(self, grouping: Grouping, depth: int | None = None) -> dict[str, Totals]:
        """Totals per stage, per module path (cut to `depth` names) or per operator name.

        Parameters count where they live; under "op" they count at the first operator that reads
        them, and those that nothing reads under "(no operator)".
        """
        return {part.name: part.totals for part in self.parts(grouping, depth)}

    def part_of(
        self, path: str, grouping: Literal["stage", "module"], depth: int | None = None
    ) -> str:
        """The part that the module at `path` belongs to."""
        if grouping == "stage":
            return stage_of(path, self.stages)
        return ".".join(path.split(".")[:depth]) or "(model)"

    def parts(self, grouping: Grouping, depth: int | None = None) -> tuple[Part, ...]:
        """The parts behind `by` with their operators, in the order of first use."""
        if grouping not in GROUPINGS:
            raise UsageError(f"unknown grouping {grouping!r}", hint=nearest(grouping, GROUPINGS))

        def key(path: str, op: Op | None) -> str:
            if grouping == "op":
                return qualified(op.name) if op else "(no operator)"
            return self.part_of(path, grouping, depth)

        ops: dict[str, list[Op]] = defaultdict(list)
        parameters: dict[str, list[ParameterInfo]] = defaultdict(list)
        for op in self.ops:
            ops[key(op.module, op)].append(op)
        for parameter in self.parameters:
            home = parameter.name.rpartition(".")[0]
            toucher = None if parameter.touched_by is None else self.ops[parameter.touched_by]
            parameters[key(home, toucher)].append(parameter)
        return tuple(
            Part(name, tuple(ops[name]), _totals(ops[name], parameters[name]))
            for name in dict.fromkeys((*ops, *parameters))
        )


def qualified(operator: str) -> str:
    """An operator's name with its namespace, which operators of other libraries carry already."""
    return operator if "." in operator else f"aten.{operator}"


def stage_of(path: str, stages: Mapping[str, str]) -> str:
    """The stage of a module path: the one declared for it or an ancestor, else its first name."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        if stage := stages.get(".".join(parts[:length])):
            return stage
    return "(model)" if not path or stages else parts[0]


def trace(
    model: nn.Module,
    imgsz: int | tuple[int, int] = 640,
    batch: int = 1,
    channels: int = 3,
    *,
    in_place: bool = False,
) -> Trace:
    """Count one evaluation call of `model` on images of shape (batch, channels, H, W).

    Nothing is computed: time and memory do not depend on the image size. The model, its mode,
    hooks, buffers and caches stay as they are; the copy that is traced is in evaluation mode. On
    Linux that copy lives in a copy of the process, so that caches of the whole process, random
    states and what the model's hooks collect stay as they are, too; the hooks are called there,
    with tensors without values, since they may be part of the work. Elsewhere the hooks of the
    copied model are called in this process. Models of torch's and torchvision's modules alone keep
    nothing and have no hooks: they are copied within this process everywhere.

    Args:
        model: any module whose forward takes one image tensor, on any device, `meta` included.
        imgsz: H = W, or (H, W), in pixels.
        in_place: spare the copies; for a model on `meta`, in evaluation mode, whose forward keeps
            nothing.

    Raises UsageError where a size is below 1, TraceError where the forward fails, or depends on
    values from its first operator on.
    """
    height, width = (imgsz, imgsz) if isinstance(imgsz, int) else imgsz
    shape = (batch, channels, height, width)
    if min(shape) < 1:
        raise UsageError(f"an image batch of shape {shape} has no elements", where="imgsz")
    if in_place:
        return _traced(model, shape, _itself)
    if keeps_nothing(model):
        with suppress(_Untraceable):  # what is wrong, or wanted, is found out below
            return _trace_with(_meta, model, shape, _shadow_of_library)
    if not CAN_COPY:
        return _traced_here(model, shape)
    try:
        return _traced_apart(model, shape)
    except Unfinished as error:
        raise TraceError(_failed(shape, str(error)), where=type(model).__name__) from None
    except OSError:  # no memory or no processes left for a copy
        return _traced_here(model, shape)


def _traced_apart(model: nn.Module, shape: tuple[int, ...]) -> Trace:
    """The trace, made in a copy of the process. Most models need neither the copy of themselves
    there nor a search through everything that the process holds: that comes second.

    Raises TraceError as `trace`, Unfinished and OSError as `call_apart`.
    """
    classes = _classes(model)
    quick = call_apart(lambda: _traced_quickly(model, shape), classes, _OF_ONE_PROCESS)
    if quick is not None:
        return quick
    caches = _caches_of_tensors()
    return call_apart(lambda: _traced_in_copy(model, shape, caches), classes, _OF_ONE_PROCESS)


def _classes(model: nn.Module) -> list[type]:
    """Of the modules, each once, in an order that is the same in a copy of the process."""
    return list(dict.fromkeys(type(module) for module in model.modules()))


_OF_ONE_PROCESS = (torch.SymInt, torch.SymFloat, torch.SymBool, torch.Generator)
"""Arguments that mean nothing outside of it: symbols of values, states of chance."""


def _settle_in_copy() -> None:
    gc.freeze()  # to look for garbage among what was there before would copy all of its memory
    # The threads of the original's pools are not here; a model that asks is told of them.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.get_num_threads = lambda: threads


def _traced_quickly(model: nn.Module, shape: tuple[int, ...]) -> Trace | None:
    """The trace of the model itself, which lives in a copy of the process; None where that fails,
    or needs a tensor that neither the model holds nor an operator made: a cached one, perhaps."""
    _settle_in_copy()
    held: set[int] = set()
    with suppress(Exception):
        return _trace_with(_meta, model, shape, partial(_emptied, held=held), held, asks=True)
    return None


def _traced_in_copy(model: nn.Module, shape: tuple[int, ...], caches: list[Any]) -> Trace:
    _settle_in_copy()
    for one in caches:
        one.cache_clear()
    return _traced(model, shape)


def _traced_here(model: nn.Module, shape: tuple[int, ...]) -> Trace:
    forget_cached_tensors()
    try:
        return _traced(model, shape)
    finally:
        forget_cached_tensors()


def _traced(model: nn.Module, shape: tuple[int, ...], ready: Readier | None = None) -> Trace:
    try:
        return _trace_with(_meta, model, shape, ready or _shadow, asks=ready is None)
    except _Untraceable as on_meta:
        try:
            return _trace_with(_fake, model, shape, asks=True)
        except _Untraceable as error:
            hint = "Check that the model takes one image tensor of that shape."
            if str(on_meta) != str(error):
                hint += f" Without values the failure was: {on_meta}"
            raise TraceError(
                _failed(shape, str(error)),
                where=error.where,
                hint=None if _depends_on_values(error.__cause__) else hint,
            ) from error.__cause__


def _failed(shape: tuple[int, ...], why: str) -> str:
    return f"the forward failed on images of shape {shape}: {why}"


def forget_cached_tensors() -> None:
    """Empty the `functools` caches that hold tensors, wherever they are: what they hold is of
    another call, with values or without, and they make it again."""
    for one in _caches_of_tensors():
        one.cache_clear()


def _caches_of_tensors() -> list[Any]:
    found = []
    # What refers to the class is its instances: all objects there are would be twice the work.
    for one in gc.get_referrers(functools._lru_cache_wrapper):
        if type(one) is functools._lru_cache_wrapper and _may_hold_tensors(one):
            held = (value for value in gc.get_referents(one) if not callable(value))
            if any(isinstance(leaf, Tensor) for leaf in tree_leaves(list(held))):
                found.append(one)
    return found


def _may_hold_tensors(cache: Any) -> bool:
    return not _is_of_torch(cache) and cache.cache_info().currsize > 0


def _is_of_torch(function: Any) -> bool:
    """Torch keeps no model's tensors, but a great many other things."""
    return (getattr(function, "__module__", None) or "").partition(".")[0] in ("torch", "sympy")


def trace_decoders(
    detectors: Sequence[Detector], imgsz: tuple[int, int], batch: int
) -> tuple[Trace, ...]:
    """`trace` in place of detectors that share all rows but the last: those are followed once.

    Raises TraceError as `trace`.
    """
    first = detectors[0]
    try:
        with ExitStack() as stack:
            device = _meta(stack)
            images = stack.enter_context(_evaluation(first, (batch, 3, *imgsz), device))
            recorder = _Recorder(first, images)
            stack.callback(recorder.let_go)
            with recorder:
                inputs = first.decoder_inputs(images)
            return tuple(recorder.decoded(each, inputs) for each in detectors)
    except Exception:  # alone, each says what is wrong with it
        return tuple(trace(each, imgsz, batch, in_place=True) for each in detectors)


# --- following the forward ---------------------------------------------------------------------


class _NeedsDevice(Exception):
    """Autocast chooses types by the device, which tensors of shapes alone do not have."""


class _Untraceable(Exception):
    def __init__(self, where: str, error: BaseException) -> None:
        super().__init__(told(error))
        self.where = where or "the model's forward"


Placer = Callable[[ExitStack], str]
"""Enters whatever contexts shape-only tensors need; returns the device they are made on."""

Readier = Callable[[nn.Module, str], nn.Module]
"""Makes of a model what is called in its place, with tensors on that device."""


def _meta(stack: ExitStack) -> str:
    stack.enter_context(torch.device("meta"))  # tensors that the forward creates
    stack.enter_context(_refusing_autocast())
    return "meta"


@contextmanager
def _refusing_autocast() -> Iterator[None]:
    """Inside, raises _NeedsDevice where autocast is switched on, by whomever and however deep: it
    would be without effect on `meta`, and below autograd nobody can tell any more that it is on."""
    switch = torch.autocast.__enter__

    def enter(self: Any) -> Any:
        if self._enabled:
            raise _NeedsDevice("autocast chooses types by the device")
        return switch(self)  # type: ignore[no-untyped-call]

    torch.autocast.__enter__ = enter  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.autocast.__enter__ = switch  # type: ignore[method-assign]


def _fake(stack: ExitStack) -> str:
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    # Models that read values (`.item()`, boolean masks) get symbols for them.
    shapes = ShapeEnv(allow_scalar_outputs=True, allow_dynamic_output_shape_ops=True)
    mode = FakeTensorMode(allow_non_fake_inputs=True, shape_env=shapes)
    stack.enter_context(mode)
    # It logs the traceback of whatever fails, which becomes one clear error here.
    speaker = logging.getLogger("torch._subclasses.fake_tensor")
    stack.callback(setattr, speaker, "disabled", speaker.disabled)
    speaker.disabled = True
    return "cpu"


def _shadow(model: nn.Module, device: str) -> nn.Module:
    """A copy of the model whose tensors have shapes only, in evaluation mode."""
    _refuse_hidden(model)
    memo: dict[int, Any] = {}
    try:
        for tensor in tensors_in(model):
            memo[id(tensor)] = _twin(tensor, device)
        shadow = copy.deepcopy(model, memo)
        _name_classes(model, memo)
        return _uncompiled(shadow).eval()
    except Exception as error:
        _refuse_quantised(model, error)
        raise TraceError(
            f"the model cannot be copied: {told(error)}",
            where=type(model).__name__,
            hint="Remove what cannot be deep-copied (open files, locks, generators) first, and "
            "call a lazy module once.",
        ) from error


def _shadow_of_library(model: nn.Module, device: str) -> nn.Module:
    """The same of a model that `keeps_nothing`, nor asks what is in a tensor."""
    _refuse_hidden(model)
    try:
        return copied(model, partial(_shape_of, device=device)).eval()
    except Exception as error:
        _refuse_quantised(model, error)
        raise _Untraceable("", error) from error


def _name_classes(model: nn.Module, copies: Mapping[int, Any]) -> None:
    """torch.fx makes a class for each copy of its modules, and forgets what it called the first."""
    for module in model.modules():
        old, new = type(module), type(copies.get(id(module)))
        if new is not old and new.__qualname__ == old.__qualname__:
            new.__name__ = old.__name__


def _refuse_hidden(model: nn.Module) -> None:
    """Raises TraceError where a part of the model is a TorchScript module, or a tensor of a class
    that computes in its own ways: what either of them runs would not be seen."""
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise TraceError(
                "a TorchScript module does not tell what it calls",
                where=name or type(module).__name__,
                hint="Give the module that it was made from.",
            )
        for key, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None and _computes_itself(tensor):
                raise TraceError(
                    f"{key} is a {type(tensor).__name__}, a class of tensors that computes in ways "
                    "of its own, such as dequantising, which shapes do not show",
                    where=name or type(module).__name__,
                    hint="Profile the model before its tensors were changed into that class.",
                )


def _computes_itself(tensor: Tensor) -> bool:
    return not _is_plain(type(tensor)) and not is_lazy(tensor)


@cache
def _is_plain(kind: type[Tensor]) -> bool:
    """Whether operators run on tensors of this class as they do on any; of a fake one, the shapes
    are all there is."""
    function: Any = kind.__torch_function__
    usual = (Tensor.__torch_function__.__func__, nn.Parameter.__torch_function__)  # type: ignore[attr-defined]
    runs_as_any = kind.__torch_dispatch__ is Tensor.__torch_dispatch__
    asks_nobody = getattr(function, "__func__", function) in usual
    return (runs_as_any and asks_nobody) or kind.__name__ == "FakeTensor"


def _refuse_quantised(model: nn.Module, error: BaseException) -> None:
    """Raises TraceError where a part of the model, which failed with `error`, is quantised."""
    for name, module in model.named_modules():
        if _is_quantised(module):
            raise TraceError(
                "it is quantised: its weights are packed for integer kernels, which cannot be "
                "followed without their values",
                where=name or type(module).__name__,
                hint="Profile the floating-point model that it was made from: it has as many "
                "parameters and multiply-accumulates.",
            ) from error


def _is_quantised(module: nn.Module) -> bool:
    held = (*module.parameters(recurse=False), *module.buffers(recurse=False))
    packed = isinstance(vars(module).get("_packed_params"), torch.ScriptObject)
    return packed or any(tensor.is_quantized for tensor in held)


def _twin(tensor: Tensor, device: str) -> Tensor:
    """A tensor of the same shape, layout and type, which remembers what is in a small one."""
    twin = _shape_of(tensor, device)
    keep_value(twin, tensor)
    return twin


def _shape_of(tensor: Tensor, device: str) -> Tensor:
    layout = tensor.shape, tensor.stride()
    twin = torch.empty_strided(*layout, dtype=tensor.dtype, device=device)
    is_parameter = isinstance(tensor, nn.Parameter)
    return nn.Parameter(twin, tensor.requires_grad) if is_parameter else twin


def _itself(model: nn.Module, device: str) -> nn.Module:
    return model


def _emptied(model: nn.Module, device: str, held: set[int]) -> nn.Module:
    """The model itself, which keeps the shapes of its tensors and loses their values, in evaluation
    mode. `held` takes the addresses of their storages. Raises what torch raises where somebody else
    refers to a tensor, too."""
    _refuse_hidden(model)
    for tensor in list(tensors_in(model)):
        twin = _twin(tensor, device)
        torch.utils.swap_tensors(tensor, twin)  # type: ignore[no-untyped-call]
        held.add(tensor.untyped_storage()._cdata)
    return _uncompiled(model).eval()


def _trace_with(
    placer: Placer,
    model: nn.Module,
    shape: tuple[int, ...],
    ready: Readier = _shadow,
    held: Set[int] | None = None,
    *,
    asks: bool = False,
) -> Trace:
    """The trace of the model made `ready`. Where it is said what the model holds, by addresses of
    storages, tensors from anywhere else are not followed. A model that is not ours `asks` tensors
    where they live and what is in them, and may hide its work."""
    with ExitStack() as stack:
        if placer is _meta and any(map(torch.is_autocast_enabled, ("cpu", "cuda"))):
            raise _Untraceable("", _NeedsDevice("autocast chooses types by the device"))
        device = placer(stack)
        shadow = ready(model, device)
        images = stack.enter_context(_evaluation(shadow, shape, device))
        recorder = _Recorder(shadow, images)
        stack.callback(recorder.let_go)
        if shadow is not model:
            recorder.know_original(model)
        recorder.has_symbols = placer is _fake
        output: Any = ()
        try:
            with recorder, recorder.answers(device) if asks else nullcontext():
                output = shadow(images)
        except TraceError:
            raise
        # Whatever the user's forward raises becomes one clear error.
        except (Exception, SystemExit) as error:
            followed = recorder.ops or recorder.unfollowed
            if not (followed and _depends_on_values(error)):
                raise _Untraceable(recorder.path, error) from error
            recorder.leave_off("a decision")
        if recorder.unfollowed and placer is _meta:  # it went on without the values it asked for
            raise _Untraceable("", ValueError("a value was asked for"))
        if asks:
            own = held or {t.untyped_storage()._cdata for t in tensors_in(shadow)}
            recorder.look_for_hidden_work(output, own)
        traced = recorder.finish(output)
        recorder.let_go()
        if asks and traced.complete:
            traced = _checked_by_another_call(traced, shadow, images, device)
        if held is not None and recorder.storages.strangers - held:
            raise _Untraceable("", ValueError("a tensor is from somewhere else"))
        return traced


def _checked_by_another_call(
    traced: Trace, shadow: nn.Module, images: Tensor, device: str
) -> Trace:
    """The trace of the first call, with a doubt where a second one does other products: models keep
    what they have made, or draw what they do, and what is timed are later calls."""
    again = _Recorder(shadow, images)
    again.has_symbols = getattr(images, "fake_mode", None) is not None
    try:
        with again, again.answers(device):
            shadow(images)
    except (Exception, SystemExit) as error:
        doubt = f"a second call fails: {told(error)}"
        return replace(traced, doubts=(*traced.doubts, doubt))
    finally:
        again.let_go()
    macs = sum(op.cost.macs for op in again.ops)
    if macs == traced.macs and not again.unfollowed:
        return traced
    first, second = (f"{show_count(2 * one)} FLOPs" for one in (traced.macs, macs))
    doubt = f"a second call does other work than the first: {second} after {first}"
    return replace(traced, doubts=(*traced.doubts, doubt))


def _depends_on_values(error: BaseException | None) -> bool:
    """Whether torch gave up on fake tensors because it would have had to know what is in them."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & _VALUES_WANTED) or (
        error is not None and _depends_on_values(error.__cause__)
    )


class _OfValues(Exception):
    """An operator whose work depends on values: which branch, how often, how long a sequence is."""


_VALUES_WANTED = frozenset(
    {"GuardOnDataDependentSymNode", "DataDependentOutputException", "DynamicOutputShapeException"}
    | {_OfValues.__name__}
)

_OF_VALUES = frozenset({"cond", "while_loop", "_pack_padded_sequence"})


@contextmanager
def _evaluation(model: nn.Module, shape: tuple[int, ...], device: str) -> Iterator[Tensor]:
    """Inside, `model` is called for its outputs alone, on these images."""
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    images = torch.empty(shape, dtype=dtype, device=device)
    with attention_in_full(), _compiling_nothing(), torch.inference_mode():
        yield images


def _uncompiled(model: nn.Module) -> nn.Module:
    """The model that `torch.compile` was given: what is compiled does the same work, and would be
    compiled first."""
    for module in list(model.modules()):
        module._compiled_call_impl = None
        for name, child in module.named_children():
            if _is_compiled(child):
                setattr(module, name, child._orig_mod)
    return model._orig_mod if _is_compiled(model) else model  # type: ignore[return-value]


def _is_compiled(module: nn.Module) -> bool:
    return type(module).__module__ == "torch._dynamo.eval_frame" and hasattr(module, "_orig_mod")


@contextmanager
def _compiling_nothing() -> Iterator[None]:
    """Inside, functions that `torch.compile` was given run as they were written."""
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def tensors_in(value: Any) -> Iterator[Tensor]:
    """All tensors that a value holds, each once: in collections, dataclasses, modules and any other
    objects, such as a model's outputs or its cached anchors."""
    seen: set[int] = set()
    slots: dict[type, tuple[str, ...]] = {}
    waiting = [value]
    while waiting:
        one = waiting.pop()
        kind = type(one)
        if kind in _PLAIN or (kind in _DICTS and not one) or isinstance(one, _HOLDS_NOTHING):
            continue
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, Tensor):
            yield one
            continue
        if kind in _DICTS or isinstance(one, Mapping):
            waiting.extend(reversed(list(one.values())))
        elif isinstance(one, (list, tuple, set, frozenset)):
            waiting.extend(reversed(list(one)))
        held = getattr(one, "__dict__", {})
        waiting.extend(reversed(list(held.values())))
        if kind not in slots:
            names = (name for base in kind.__mro__ for name in getattr(base, "__slots__", ()))
            slots[kind] = tuple(name for name in names if name != "__dict__")
        waiting.extend(getattr(one, name, None) for name in slots[kind])


_PLAIN = frozenset({int, float, bool, str, bytes, type(None), torch.dtype, torch.device})
"""What holds no tensors, told at a glance."""

_DICTS = frozenset({dict, OrderedDict})

_HOLDS_NOTHING = (
    *(str, bytes, int, float, complex, type(None), type),
    *(ModuleType, FunctionType, BuiltinFunctionType, MethodType),
    *(torch.dtype, torch.device, weakref.ref),
)


@contextmanager
def attention_in_full() -> Iterator[None]:
    """Keep nn.MultiheadAttention off its fused fast path, which hides its work from counters."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


_COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd
_dispatch_has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key

_WHOLE = frozenset({"scaled_dot_product_attention", "adaptive_avg_pool2d"})
"""Composite operators kept whole, because other counters name them and their parts would not."""

_NAMED = frozenset(
    {*RECURRENT, "tensordot", "inner", "chain_matmul", "linalg_multi_dot"}
    | {"matrix_power", "linalg_matrix_power"}
)
"""Composite operators that other counters take for one; their parts are counted here."""

_ATTENTION = torch.ops.aten.scaled_dot_product_attention.default
_LSTM = torch.ops.aten.lstm.input
_BATCH_NORM, _IN_EVALUATION = (
    torch.ops.aten.batch_norm.default,
    torch.ops.aten.native_batch_norm.default,
)


def aten_name(func: Any) -> str:
    """What an operator is called here: ATen's own by their name, others with their namespace."""
    name: str = func._schema.name.removeprefix("aten::").replace("::", ".")
    return name


def is_composite(func: Any) -> bool:
    """Whether torch has an operator only as others, which are then what is counted."""
    return aten_name(func) not in _WHOLE and bool(_dispatch_has_kernel(func.name(), _COMPOSITE))


class _Operator(NamedTuple):
    """What an operator's schema and the table of formulas say of it."""

    name: str  # without an in-place underscore
    formula: Formula
    composite: bool
    writes: bool  # into what it is given
    destinations: frozenset[str]  # keywords that are written, never read


@cache
def _operator(func: Any) -> _Operator:
    name, schema = aten_name(func), func._schema
    base = name if name.startswith("__") else name.rstrip("_")
    return _Operator(
        base,
        FORMULAS.get(base, UNCOUNTED),
        is_composite(func),
        # `unsqueeze_` and its like change how a tensor is seen, not what is in it.
        schema.is_mutable and torch.Tag.inplace_view not in func.tags,
        frozenset(argument.name for argument in schema.arguments if argument.is_out),
    )


def decomposed(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a composite operator as the others that it is made of."""
    return func._op_dk(_COMPOSITE, *args, **kwargs)


@contextmanager
def _watching_threads(tell: Callable[[], None]) -> Iterator[None]:
    """Inside, `tell` hears of every thread that is started: what it calls goes past the recorder,
    which is of one thread alone."""
    start = threading.Thread.start

    def told_of(thread: threading.Thread) -> None:
        if threading.current_thread() is caller:
            tell()
        start(thread)

    caller = threading.current_thread()
    threading.Thread.start = told_of  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        threading.Thread.start = start  # type: ignore[method-assign]


class _Recorder(ShapesOnly):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Sees every ATen call of one forward and writes down what it costs and who asked for it."""

    supports_higher_order_operators = True  # it is told of them, and refuses them in plain words

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        super().__init__()
        self.model = model
        self.modules: dict[str, type[nn.Module]] = {}
        self.stages: Mapping[str, str] = dict(getattr(model, "detrbench_stages", {}))
        self.ops: list[Op] = []
        self.stack = [""]
        self.has_symbols = False  # whether sizes may stand for values that are not known
        self.unfollowed = ""
        self.fast: list[str] = []
        self.part_of = ""
        self.begun: Call | None = None
        self.doubts: dict[str, None] = {}
        self.known: Known | None = None
        self.depth = 0  # of operators that are being followed
        self.storages = _Storages()
        self.parameters: dict[str, int] = {}
        self._handles: list[RemovableHandle] = []
        self._follow(model)
        self.image = self.storages.see(images, made=True)
        self.image_mode: Any = getattr(images, "fake_mode", None)
        self.touched: dict[int, int] = {}

    @property
    def path(self) -> str:
        return self.stack[-1]

    def _follow(self, module: nn.Module, prefix: str = "") -> None:
        """Know a module's tensors, and hooks say which of its own is being called; a shared one
        keeps its first name."""

        def enter(name: str) -> Callable[..., None]:
            return lambda module, args: self.stack.append(name)

        def leave(module: nn.Module, args: Any, output: Any) -> None:
            self.stack.pop()

        for name, each in module.named_modules(prefix=prefix):
            self.modules[name] = type(each)
            self._handles.append(each.register_forward_pre_hook(enter(name), prepend=True))
            self._handles.append(each.register_forward_hook(leave))
            if isinstance(each, (nn.MultiheadAttention, nn.TransformerEncoderLayer)):
                hook = each.register_forward_pre_hook(self._note_fast, with_kwargs=True)
                self._handles.append(hook)
        for name, parameter in module.named_parameters(prefix=prefix):
            self.parameters[name] = self.storages.keep(parameter, parameter=True)
        for buffer in module.buffers():
            self.storages.keep(buffer, parameter=False)

    def _note_fast(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        inside = any(one == self.path or self.path.startswith(f"{one}.") for one in self.fast)
        if not inside and takes_fast_path(module, args, kwargs):
            self.fast.append(self.path)

    def know_original(self, model: nn.Module) -> None:
        """Know the parameters of the model that was copied: functions that it holds, such as hooks,
        may still use those."""
        for name, parameter in model.named_parameters():
            if name in self.parameters:  # one that was compiled calls them otherwise
                self.storages.same(parameter, self.parameters[name])

    def let_go(self) -> None:
        """Take the hooks off again: the model may be traced once more."""
        for handle in self._handles:
            handle.remove()

    def decoded(self, detector: Detector, inputs: Any) -> Trace:
        """The trace of a detector whose rows before the last were seen, on to its end."""
        branch = copy.copy(self)  # what lives, and where it is called, is the same for all
        branch.ops, branch.touched = list(self.ops), dict(self.touched)
        branch.fast = list(self.fast)
        if detector is not self.model:
            branch.model, branch.modules = detector, dict(self.modules)
            branch.parameters = dict(self.parameters)
            branch._follow(detector.model[-1], f"model.{len(detector.model) - 1}")
        with branch:
            output = detector.decode(inputs)
        return branch.finish(output)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The result of one operator, which is written down."""
        if isinstance(func, HigherOrderOperator):
            self._refuse(func._name)
        with torch._C.DisableTorchFunction():  # nobody need be asked how large a tensor is
            self.depth += 1
            try:
                return self._follow_operator(func, args, kwargs or {})
            finally:
                self.depth -= 1

    def _follow_operator(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if func.namespace == "prim":  # a fake tensor asked where it lives: no operator of a model
            return func(*args, **kwargs)
        operator = _operator(func)
        if operator.name in _OF_VALUES:
            self._refuse(operator.name)
        if func is _ATTENTION and not attends_in_one_kernel(*args, **kwargs):
            return self._in_parts(func, args, kwargs, operator.name)
        if func is _BATCH_NORM and len(args) == 9 and not args[5]:  # what it would come to, at once
            return self._follow_operator(_IN_EVALUATION, args[:8], kwargs)[0]
        if operator.composite:
            whole = operator.name if operator.name in _NAMED else ""
            return self._in_parts(func, args, kwargs, whole)
        run = self.known.run if self.known else on_shapes
        result = run(func, args, kwargs)
        if self.has_symbols and not _is_sized((args, kwargs, result)):
            self.leave_off(qualified(operator.name))
            return result
        sources = {k: value for k, value in kwargs.items() if k not in operator.destinations}
        self._record(operator, args, sources, result)
        return result

    def _refuse(self, name: str) -> NoReturn:
        """Raises _OfValues for what depends on values, TraceError for other operators that call
        functions of their own."""
        if name in _OF_VALUES:
            self.leave_off(f"torch's {name}")
            raise _OfValues(f"what torch's {name} does depends on values")
        raise TraceError(
            f"torch's {name} calls functions of its own, and is not followed",
            where=self.path or "the model's forward",
            hint="Profile a variant of the model that does the same without it.",
        )

    def _in_parts(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], whole: str = ""
    ) -> Any:
        before = self.part_of
        if whole and not self.part_of:
            self.part_of, self.begun = whole, self._described(whole, args, kwargs)
        try:
            with self:
                if func is torch.ops.aten.group_norm.default:
                    return normalise_groups(*args, **kwargs)
                if func is _LSTM and has_one_kernel_per_layer(*args, **kwargs):
                    return lstm_by_layer(*args, **kwargs)
                return decomposed(func, args, kwargs)
        finally:
            self.part_of = before
            if not before:
                self.begun = None

    def _described(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
        """The call of a recurrent layer; None of anything else, or where a size is not known."""
        if name not in RECURRENT or not _is_sized((args, kwargs)):
            return None
        inputs: list[TensorInfo] = []
        seen = self._see(args, inputs)
        return Call(name, seen, self._see(kwargs, inputs), tuple(inputs), ())

    @contextmanager
    def answers(self, device: str) -> Iterator[None]:
        """Inside, a model that asks tensors where they live, or what is in them, is answered as far
        as that does not depend on the images, and what cannot be answered is remembered."""
        self.known = Known(device, self.leave_off)
        with ExitStack() as stack:
            if self.has_symbols:
                stack.enter_context(self._watching_symbols())
            made = partial(self.storages.see, made=True)
            stack.enter_context(Answers(self.known, made, self._addressed))
            stack.enter_context(_watching_threads(self._threaded))
            yield

    def look_for_hidden_work(self, output: Any, held: Set[int]) -> None:
        """Remember what shows that operators ran where none is seen. `held` are the addresses of
        the model's own storages. Raises TraceError where a call runs nothing."""
        if isinstance(output, (Generator, Coroutine, AsyncGenerator)):
            raise TraceError(
                "its forward is a generator or a coroutine: a call of it runs nothing",
                where=type(self.model).__name__,
                hint="Give a module whose forward returns what it computes.",
            )
        if self.unfollowed:
            return
        for tensor in tensors_in(output):
            self.storages.see(tensor)
        if self.storages.shapes_of_strangers - held:
            self.doubts["tensors come from work that is not seen, such as another thread's"] = None
        elif not self.ops and any(True for _ in self.model.parameters()):
            self.doubts["no operator was seen, though there are parameters"] = None

    def _threaded(self) -> None:
        where = self.path or "the forward itself"
        self.doubts[f"{where} starts another thread, whose work is not seen"] = None

    def _addressed(self) -> None:
        where = self.path or "the forward itself"
        self.doubts[f"{where} asks where in memory a tensor lies, which nobody knows here"] = None

    @contextmanager
    def _watching_symbols(self) -> Iterator[None]:
        """Inside, a decision on a symbol that nobody knows is remembered, caught or not."""
        shapes = self.image_mode.shape_env
        evaluate = shapes.evaluate_expr

        def watched(*args: Any, **kwargs: Any) -> Any:
            try:
                return evaluate(*args, **kwargs)
            except Exception:
                if not self.depth:  # operators say themselves what they miss
                    self.leave_off("a decision")
                raise

        shapes.evaluate_expr = watched
        try:
            yield
        finally:
            del shapes.evaluate_expr

    def leave_off(self, what: str) -> None:
        """Remember the first thing that depends on values."""
        self.unfollowed = self.unfollowed or f"{what} in {self.path or 'the forward itself'}"

    def _record(
        self, operator: _Operator, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> None:
        inputs: list[TensorInfo] = []
        outputs: list[TensorInfo] = []
        # What these are given was made of numbers just now.
        detached = operator.name == "detach" and bool(args) and result is args[0]
        fresh = operator.name == "lift_fresh" or detached
        seen_args = self._see(args, inputs, fresh)
        seen_kwargs = self._see(kwargs, inputs, fresh) if kwargs else kwargs
        self._see(result, outputs, True, operator.writes)
        known = {t.storage for t in inputs}
        is_view = outputs and not operator.writes and all(t.storage in known for t in outputs)
        formula = operator.formula
        if is_view or formula.kind == FREE or not (inputs or outputs):
            return
        made = tuple(t for t in outputs if t.distinct) or tuple(outputs[:1])
        call = Call(operator.name, seen_args, seen_kwargs, tuple(inputs), made)
        try:
            op = self._counted(call, formula if formula.holds(call) else UNCOUNTED)
        except UNFIT:
            op = self._counted(call, UNCOUNTED)
        for tensor in inputs:
            self.touched.setdefault(tensor.storage, len(self.ops))
        if op.cost.macs:
            self.begun = None
        self.ops.append(op)

    def _counted(self, call: Call, formula: Formula) -> Op:
        cost = formula.cost(call)
        return Op(
            **vars(call),
            kind=formula.kind,
            module=self.path,
            module_type=self.modules[self.path],
            stage=stage_of(self.path, self.stages),
            cost=cost,
            memory_access_elements=memory_access_elements(call, formula.kind, self._in_linear()),
            live_bytes=self.storages.live_bytes,
            part_of=self.part_of,
            begins=self.begun if cost.macs else None,
        )

    def _in_linear(self) -> bool:
        """Whether a linear layer itself is being called, whatever its weight is computed from."""
        return issubclass(self.modules[self.path], nn.Linear)

    def _see(
        self, value: Any, seen: list[TensorInfo], made: bool = False, written: bool = False
    ) -> Any:
        """`value`, an operator's arguments or results, with each tensor described; also in `seen`.
        What torch's own `tree_map` does here takes longer than everything else."""
        kind = type(value)
        if kind in _PLAIN:
            return value
        if isinstance(value, Tensor):
            info = self.storages.see(value, made=made, written=written)
            seen.append(info)
            return info
        if isinstance(value, (tuple, list)):
            items = [self._see(one, seen, made, written) for one in value]
            return tuple(items) if isinstance(value, tuple) else items
        if isinstance(value, dict):
            return {key: self._see(one, seen, made, written) for key, one in value.items()}
        return value

    def finish(self, output: Any) -> Trace:
        """Close the books: which outputs, who touched which parameter, what folding leaves."""
        results = [self.storages.see(t) for t in tensors_in(output) if _is_sized(t)]
        fused = _fold_epilogues(self.ops, {t.value for t in results})
        edges = _edges(self.ops, self.image, results)
        ops = tuple(
            replace(op, fused_bytes=left, edge_bytes=edges.get(index, 0))
            for index, (op, left) in enumerate(zip(self.ops, fused, strict=True))
        )
        made = [name for name, _ in self.model.named_parameters() if name not in self.parameters]
        if made:
            raise TraceError(
                f"its first forward makes parameters, such as {made[0]}: which of them there are "
                "depends on what it was called with before",
                where=type(self.model).__name__,
                hint="Make them where the model is built, or call it once there.",
            )
        parameters = tuple(
            ParameterInfo(name, p.numel(), p.nbytes, self.touched.get(self.parameters[name]))
            for name, p in self.model.named_parameters()
        )
        return Trace(
            **vars(_totals(ops, parameters)),
            ops=ops,
            parameters=parameters,
            modules=self.modules,
            stages=self.stages,
            unfollowed=self.unfollowed,
            fast=tuple(self.fast),
            doubts=tuple(self.doubts),
        )


def _is_sized(value: Any) -> bool:
    """Whether no tensor's size depends on values."""
    tensors = (leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor))
    return all(type(side) is int for tensor in tensors for side in tensor.shape)


class _Storages:
    """Who is alive: names storages, counts their versions, adds up their bytes, but for those of
    parameters and buffers. Liveness comes from weak references, so it follows the forward's own
    reference counts, as a real allocator would see them."""

    def __init__(self) -> None:
        self.live_bytes = 0
        self._numbers = count()
        self._known: dict[int, tuple[int, weakref.ref[Any]]] = {}
        self._versions: dict[int, int] = {}
        self._parameters: set[int] = set()
        # Addresses of those that no operator made: the model holds them, or somebody else does.
        self.strangers: set[int] = set()
        self.shapes_of_strangers: set[int] = set()  # and that have no values

    def keep(self, tensor: Tensor, *, parameter: bool) -> int:
        """Know a parameter or buffer beforehand; the name of its storage."""
        number = self._admit(tensor.untyped_storage(), nbytes=0)
        if parameter:
            self._parameters.add(number)
        return number

    def same(self, tensor: Tensor, number: int) -> None:
        """Take a tensor that is alive all the while for another one, unless it is known."""
        storage = tensor.untyped_storage()
        self._known.setdefault(storage._cdata, (number, weakref.ref(storage)))

    def see(self, tensor: Tensor, *, made: bool = False, written: bool = False) -> TensorInfo:
        """Describe a tensor, admitting its storage when it is new; `made` says that an operator has
        just made it, if it is."""
        storage = tensor.untyped_storage()
        address, size = storage._cdata, storage.nbytes()
        if address in self._known:
            number = self._known[address][0]
            self._versions[number] += written
        else:
            number = self._admit(storage, size)
            if not made:
                self.strangers.add(address)
                if tensor.is_meta or type(tensor).__name__ == "FakeTensor":
                    self.shapes_of_strangers.add(address)
        shape, itemsize = tuple(tensor.shape), tensor.itemsize
        plain = tensor.is_contiguous()
        distinct = tensor.numel() if plain else _distinct(shape, tensor.stride())
        return TensorInfo(
            shape,
            itemsize,
            distinct,
            number,
            offset=int(tensor.storage_offset()),
            version=self._versions[number],
            parameter=number in self._parameters,
            whole=distinct * itemsize >= size,
            is_complex=tensor.is_complex(),
        )

    def _admit(self, storage: Any, nbytes: int) -> int:
        number, address = next(self._numbers), storage._cdata

        def forget(_: Any) -> None:
            self.live_bytes -= nbytes
            del self._known[address]

        self._known[address] = number, weakref.ref(storage, forget)
        self._versions[number] = 0
        self.live_bytes += nbytes
        return number


def _distinct(shape: Sequence[int], strides: Sequence[int]) -> int:
    """Elements of a view that are there: those that its strides tell apart, within its reach."""
    if not all(shape):
        return 0
    steps = [(size, stride) for size, stride in zip(shape, strides, strict=True) if stride]
    return min(prod(size for size, _ in steps), 1 + sum((n - 1) * stride for n, stride in steps))


# --- deriving ----------------------------------------------------------------------------------


def _fold_epilogues(ops: Sequence[Op], results: Set[tuple[int, int]]) -> list[int]:
    """Bytes left of each operator when epilogues join the kernel that made their input.

    Within a joined group a value that nobody outside reads is never written, and an outside value
    is read once. A lower bound: it asks for no more fusion than compilers do for convolutions, and
    ignores whether tiles fit. What is written into a part of a tensor joins nothing and is joined
    by nothing: the rest of the tensor is somebody else's.
    """
    maker: dict[tuple[int, int], int] = {}
    group = list(range(len(ops)))
    wanted_by: dict[tuple[int, int], set[int]] = defaultdict(set)
    for index, op in enumerate(ops):
        in_part = any(t.version and not t.whole for t in op.outputs)
        if op.kind in EPILOGUES and op.outputs and not in_part:
            size = op.outputs[0].numel
            makers = [maker[t.value] for t in op.inputs if t.numel == size and t.value in maker]
            if makers:
                group[index] = group[max(makers)]
        for tensor in op.inputs:
            wanted_by[tensor.value].add(group[index])
        for tensor in () if in_part else op.outputs:
            maker[tensor.value] = index
    left, already_read = [], set()
    for index, op in enumerate(ops):
        home, spared = group[index], 0
        for tensor in set(op.inputs):
            inside = tensor.value in maker and group[maker[tensor.value]] == home
            if inside or (home, tensor) in already_read:
                spared += tensor.nbytes
            already_read.add((home, tensor))
        kept = [
            t
            for t in op.outputs
            if t.value in results
            or wanted_by[t.value] - {home}
            or (op.kind not in EPILOGUES and not wanted_by[t.value])
        ]
        written = sum(t.nbytes for t in kept)
        left.append(max(0, op.cost.read_bytes - spared) + written)
    return left


def _edges(ops: Sequence[Op], image: TensorInfo, results: Sequence[TensorInfo]) -> dict[int, int]:
    """Where the model's input is first read and where its outputs are written, with their bytes."""
    bytes_at: dict[int, int] = defaultdict(int)
    for index, op in enumerate(ops):
        if any(t.storage == image.storage for t in op.inputs):
            bytes_at[index] += image.nbytes
            break
    writers = {t.storage: i for i, op in enumerate(ops) for t in op.outputs}
    for result in dict.fromkeys(results):
        if result.storage in writers:
            bytes_at[writers[result.storage]] += result.nbytes
    return bytes_at


def _totals(ops: Sequence[Op], parameters: Sequence[ParameterInfo]) -> Totals:
    edge_bytes = sum(op.edge_bytes for op in ops)
    return Totals(
        params=sum(p.numel for p in parameters),
        params_unused=sum(p.numel for p in parameters if p.touched_by is None),
        macs=sum(op.cost.macs for op in ops),
        elementwise_flops=sum(op.cost.elementwise_flops for op in ops),
        memory_access_elements=sum(op.memory_access_elements for op in ops),
        traffic_eager_bytes=sum(op.cost.nbytes for op in ops),
        traffic_fused_bytes=sum(op.fused_bytes for op in ops),
        traffic_min_bytes=sum(p.nbytes for p in parameters) + edge_bytes,
        peak_activation_bytes=max((op.live_bytes for op in ops), default=0),
        kernels=len(ops),
    )
