"""Ways the field counts FLOPs, each emulated from one trace.

A convention says how many multiply-accumulates a counter books for one operator; a counter's figure
in FLOPs is twice their sum, whatever the counter itself calls the number. Facts about the counters
were read off their behaviour and, where the licence allows, their sources; `installed_counters.py`
runs the real ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from detrbench.core.errors import UsageError, nearest
from detrbench.counting import formulas

if TYPE_CHECKING:
    from detrbench.counting.tracing import Op


@dataclass(frozen=True)
class Convention:
    """A named way to count."""

    name: str  # as on the command line
    stands_for: str  # the counter and version whose figures this reproduces
    explanation: str  # what it adds to, or misses from, the core
    macs: Callable[[Op], int]  # what the counter books for one operator

    def flops(self, ops: Iterable[Op]) -> int:
        """2 x the MACs that the counter books for these operators."""
        return 2 * sum(self.macs(op) for op in ops)

    def components(self, ops: Iterable[Op]) -> dict[str, int]:
        """MACs by component, products before the rest."""
        booked: dict[str, int] = defaultdict(int)
        for op in ops:
            if macs := self.macs(op):
                booked[component(op)] += macs
        return {part: booked[part] for part in (*_PRODUCTS, *sorted(booked)) if part in booked}


def find_convention(name: str) -> Convention:
    """Look a convention up by name. Raises UsageError where there is none such."""
    if name not in CONVENTIONS:
        hint = nearest(name, CONVENTIONS)
        raise UsageError(f"unknown convention {name!r}", where="--convention", hint=hint)
    return CONVENTIONS[name]


def component(op: Op) -> str:
    """The row of the reconcile table that an operator belongs to."""
    if op.part_of in formulas.RECURRENT and op.kind == formulas.MATMUL:
        return "recurrent layers"
    if op.kind != formulas.MATMUL:
        named = {formulas.CONVOLUTION: "convolutions", formulas.ATTENTION: "attention products"}
        return named.get(op.kind, op.kind)
    has_weights = any(t.parameter for t in op.inputs)
    if _within(op, "MultiheadAttention"):
        return "attention projections" if has_weights else "attention products"
    return "linear layers" if has_weights else "other matrix products"


_PRODUCTS = (
    "convolutions",
    "linear layers",
    "recurrent layers",
    "attention projections",
    "attention products",
    "other matrix products",
)


# --- what a module class or an operator is worth -----------------------------------------------


def _is(op: Op, *names: str) -> bool:
    """Whether the innermost module is exactly one of these torch.nn classes (thop's way)."""
    return op.module_type.__module__.startswith("torch.nn.") and op.module_type.__name__ in names


def _within(op: Op, *names: str) -> bool:
    """Whether the innermost module is one of these torch.nn classes or inherits from one."""
    return any(
        base.__module__.startswith("torch.nn.") and base.__name__ in names
        for base in op.module_type.__mro__
    )


_BATCH_NORMS = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm")
_INSTANCE_NORMS = ("InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d")
_UPSAMPLES = ("Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d")
_AVERAGES = ("AvgPool1d", "AvgPool2d", "AvgPool3d")
_CONVOLUTIONS = ("Conv1d", "Conv2d", "Conv3d")
_TRANSPOSED = ("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d")
_RECURRENT = ("RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell")
_INTERPOLATION_MACS = {
    "upsample_linear1d": 5,
    "upsample_bilinear2d": 11,
    "upsample_bicubic2d": 259,  # 224 to solve for the kernel, 35 to apply it
}


def _affine(op: Op) -> bool:
    """Whether a normalisation scales and shifts: its weight is given."""
    return op.arg(2 if op.name == "native_layer_norm" else 1, "weight") is not None


def _elements(op: Op) -> tuple[int, int]:
    """Of its first tensor and of its first result; 0 where it has none."""
    first = op.inputs[0].numel if op.inputs else 0
    return first, op.out.numel if op.outputs else 0


def _softmax_macs(op: Op) -> int:
    """Exponentials, additions and divisions of each row, as both thops book them."""
    if op.kind == formulas.ATTENTION:
        rows, length = prod(op.out.shape[:-1]), int(op.args[1].shape[-2])
    else:
        x = op.inputs[0]
        length = x.shape[op.arg(1, "dim")] if x.shape else 1
        rows = x.numel // length if length else 0
    return rows * (3 * length - 1)


class _Recurrence(NamedTuple):
    """A call of a recurrent layer as both thops see it, who know its module's widths."""

    gates: int
    steps: int  # of every sequence of the batch, in every direction
    widths: tuple[int, ...]  # of what each layer is given
    hidden: int
    biased: bool

    @classmethod
    def of(cls, call: formulas.Call) -> _Recurrence:
        gates = formulas.RECURRENT[call.name]
        x = call.args[0]
        if call.name.endswith("_cell"):
            into, back, *biases = call.args[2:]
            biased = any(b is not None for b in biases)
            return cls(gates, prod(x.shape[:-1]), into.shape[-1:], back.shape[1], biased)
        # Packed sequences come with how many of them have each step, and shorter ones with air.
        packed = isinstance(call.args[3], list)
        state, weights, biased, layers = call.args[2:6] if packed else call.args[1:5]
        states = state if isinstance(state, list) else [state]
        longest = call.args[1].numel * states[0].shape[1] if packed else prod(x.shape[:2])
        directions = 1 + bool(call.args[7])
        hidden = weights[1].shape[0] // gates
        widths = (weights[0].shape[1], *[hidden * directions] * (layers - 1))
        return cls(gates, longest * directions, widths, hidden, biased)

    def products(self) -> int:
        """Of inputs and states with their weights, as if no state were projected."""
        return sum(
            self.steps * self.gates * self.hidden * (width + self.hidden) for width in self.widths
        )

    def rest(self) -> int:
        """What is booked beside them: each gate's sum and biases, and how states are mixed."""
        mixed = 0 if self.gates == 1 else 4
        each = self.gates * (1 + 2 * self.biased) + mixed
        return self.steps * len(self.widths) * self.hidden * each


def _products(op: Op) -> int:
    """What counters that know an operator book for its products: they take complex numbers for
    real ones, and know no deformable convolution."""
    if op.kind == formulas.DEFORMABLE:
        return 0
    complex_ = any(t.is_complex for t in op.inputs)
    return op.cost.macs // formulas.COMPLEX_MACS if complex_ else op.cost.macs


def _hooked(op: Op, is_one: Callable[..., bool], *also: str) -> int:
    """What both thops book for modules, told by `_is` or `_within`; `also` are more norms."""
    first, out = _elements(op)
    norms = (*_BATCH_NORMS, *_INSTANCE_NORMS, "LayerNorm", *also)
    if op.kind in (formulas.BATCH_NORM, formulas.LAYER_NORM) and is_one(op, *norms):
        return first * (4 if _affine(op) else 2)
    if op.kind == formulas.SOFTMAX and is_one(op, "Softmax"):
        return _softmax_macs(op)
    if op.kind == formulas.UPSAMPLE and is_one(op, *_UPSAMPLES):
        return out * _INTERPOLATION_MACS.get(op.name, 0)
    if op.kind == formulas.POOLING and is_one(op, "AdaptiveAvgPool2d"):
        return first + out  # the window's additions and one division per output
    return first if is_one(op, "PReLU") else 0


def _thop(op: Op) -> int:
    """thop 0.1.1: forward hooks on exact torch.nn classes; functional calls go unseen."""
    if op.begins and _is(op, *_RECURRENT):
        recurrence = _Recurrence.of(op.begins)
        return recurrence.products() + recurrence.rest()
    if op.kind == formulas.CONVOLUTION and _is(op, *_CONVOLUTIONS):
        return _products(op)
    if op.kind == formulas.CONVOLUTION and _is(op, *_TRANSPOSED):
        return _thop_transposed(op)
    if op.kind == formulas.MATMUL and _is(op, "Linear"):
        return _products(op)
    if op.name.startswith("upsample_nearest") and _is(op, *_UPSAMPLES):
        return op.out.numel
    if op.kind == formulas.POOLING and _is(op, *_AVERAGES):
        return op.out.numel
    return _hooked(op, _is)


def _thop_transposed(op: Op) -> int:
    """Booked like a forward convolution: output elements x c_in / g x k^2."""
    x, weight = op.inputs[:2]
    if not weight.numel:
        return 0
    groups = op.out.shape[1] // weight.shape[1]
    return op.out.numel * (x.shape[1] // groups) * prod(weight.shape[2:])


def _ultralytics_thop(op: Op) -> int:
    """ultralytics-thop 2.2.3: every product, wherever it is called, and hooks for some modules."""
    in_attention = _within(op, "MultiheadAttention")
    if op.kind == formulas.ATTENTION and in_attention:
        return _products(op) + _softmax_macs(op)
    if op.begins and _within(op, *_RECURRENT):
        return _products(op) + _Recurrence.of(op.begins).rest()
    if op.cost.macs:
        return _products(op)
    if op.kind == formulas.SOFTMAX and in_attention:
        return _softmax_macs(op)
    if op.kind == formulas.POOLING and _within(op, *_AVERAGES):
        return op.cost.elementwise_flops + op.out.numel
    return _hooked(op, _within, "GroupNorm")


def _fvcore(op: Op) -> int:
    """fvcore 0.1.5: handles for a dozen operators, by name, wherever they are called."""
    first, out = _elements(op)
    if op.part_of and not op.part_of.endswith("_cell"):
        return 0  # attention or an LSTM in parts is one call to it, which it has no handle for
    if op.kind == formulas.CONVOLUTION or op.name in ("mm", "bmm", "addmm"):
        return _products(op)
    if op.kind == formulas.BATCH_NORM and not _within(op, *_INSTANCE_NORMS):
        return first * (2 if _affine(op) else 1)
    if op.kind in (formulas.BATCH_NORM, formulas.LAYER_NORM):
        return first * (5 if _affine(op) else 4)
    if op.name == "adaptive_avg_pool2d":
        return first
    per_output = {"upsample_nearest2d": 1, "upsample_bilinear2d": 4, "grid_sampler_2d": 4}
    return out * per_output.get(op.name, 0)


def _torch(op: Op) -> int:
    """FlopCounterMode: convolutions and matrix products; fused attention on a CPU counts 0, and
    what a CPU does not fuse (other than four dimensions, unequal widths) as its products. A CPU
    fuses an LSTM in single precision, too (use_mkldnn in torch's RNN.cpp)."""
    products = ("mm", "addmm", "bmm", "baddbmm")
    return _products(op) if op.kind == formulas.CONVOLUTION or op.name in products else 0


CONVENTIONS: Mapping[str, Convention] = {
    rule.name: rule
    for rule in (
        Convention(
            "core",
            "detrbench",
            "multiply-accumulates of convolutions, linear layers and attention, nothing else",
            lambda op: op.cost.macs,
        ),
        Convention(
            "thop",
            "thop 0.1.1 (ultralytics-thop before 2.1.3 counts alike)",
            "misses attention and every functional product; adds normalisation at 4 and nearest "
            "upsampling at 1 per element",
            _thop,
        ),
        Convention(
            "ultralytics-thop",
            "ultralytics-thop 2.2.3",
            "core, plus normalisation at 4 per element and attention's softmax",
            _ultralytics_thop,
        ),
        Convention(
            "fvcore",
            "fvcore 0.1.5",
            "core without fused attention, plus batch norm at 2, layer norm at 5, upsampling and "
            "grid sampling per element; it calls MACs FLOPs",
            _fvcore,
        ),
        Convention(
            "torch",
            "torch.utils.flop_counter.FlopCounterMode",
            "convolutions and matrix products; what a CPU fuses (attention, an LSTM) counts 0",
            _torch,
        ),
    )
}
