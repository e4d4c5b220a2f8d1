"""What one ATen call costs: pure formulas of shapes, one per operator.

A formula sees a `Call`, in which every tensor argument has been replaced by a `TensorInfo`; nothing
here imports torch. One MAC is two FLOPs. Element-wise work (everything that is not a
multiply-accumulate of a convolution, a matrix product or an attention product) is counted beside
the MACs, never in them, at one FLOP per arithmetic operation or transcendental and per element.

Bytes follow one rule with few exceptions: a kernel reads every distinct element of its inputs once
and writes every distinct element of its outputs once, at their real size, with no reuse between
kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple


class TensorInfo(NamedTuple):
    """One tensor as a cost formula sees it."""

    shape: tuple[int, ...]
    itemsize: int
    distinct: int  # elements really there: what is broadcast, or lies in two windows, counts once
    storage: int  # its identity within one trace; views share it
    offset: int  # where in the storage a view begins: two halves of a split are different tensors
    version: int  # how often the storage had been written when this tensor was seen
    parameter: bool
    whole: bool  # whether it is all of its storage, not a part of it
    is_complex: bool = False

    @property
    def numel(self) -> int:
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.distinct * self.itemsize

    @property
    def value(self) -> tuple[int, int]:
        """What the storage held at that moment; an in-place operator makes a new value."""
        return self.storage, self.version


@dataclass(frozen=True)
class Call:
    """One ATen call: its base name (no namespace, no in-place underscore), its arguments with
    every tensor as `TensorInfo`, and its tensors."""

    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]

    @property
    def out(self) -> TensorInfo:
        return self.outputs[0]

    def arg(self, position: int, name: str, default: Any = None) -> Any:
        """An argument given by position or by keyword."""
        if position < len(self.args):
            return self.args[position]
        return self.kwargs.get(name, default)


@dataclass(frozen=True)
class Cost:
    """What a kernel asks of the machine."""

    macs: int = 0
    elementwise_flops: int = 0
    read_bytes: int = 0
    write_bytes: int = 0

    @property
    def flops(self) -> int:
        """Two per MAC; element-wise work stands beside it, never in it."""
        return 2 * self.macs

    @property
    def nbytes(self) -> int:
        return self.read_bytes + self.write_bytes


Count = Callable[[Call], int]


def _nothing(call: Call) -> int:
    return 0


def _always(call: Call) -> bool:
    return True


def _read_inputs(call: Call) -> int:
    return sum(t.nbytes for t in set(call.inputs))  # the same data given twice is read once


@dataclass(frozen=True)
class Formula:
    """How one operator is counted. `kind` is the component it belongs to in every table; `reads`
    replaces the default "each input once" where a kernel touches less (or more) than that; `knows`
    says whether it holds for a call at all."""

    kind: str
    macs: Count = _nothing
    elementwise: Count = _nothing
    reads: Count = _read_inputs
    knows: Callable[[Call], bool] = _always

    def holds(self, call: Call) -> bool:
        """Whether it counts all of this call."""
        return self.knows(call) and self._real_flops(call) is not None

    def _real_flops(self, call: Call) -> int | None:
        """How many operations on real numbers one of those in `elementwise` is; None where that is
        not known."""
        if not _is_complex(call):
            return 1
        if self.kind in (CONVOLUTION, MATMUL):  # of these it counts sums
            return COMPLEX_FLOPS["add"]
        return COMPLEX_FLOPS.get(call.name, None if self.elementwise(call) else 0)

    def cost(self, call: Call) -> Cost:
        """Of a call for which it holds."""
        return Cost(
            macs=self.macs(call) * (COMPLEX_MACS if _is_complex(call) else 1),
            elementwise_flops=self.elementwise(call) * (self._real_flops(call) or 0),
            read_bytes=self.reads(call),
            write_bytes=sum(t.nbytes for t in call.outputs),
        )


def _is_complex(call: Call) -> bool:
    """Also where only its result is: a real tensor times i is promoted first."""
    return any(t.is_complex for t in (*call.inputs, *call.outputs))


COMPLEX_MACS = 4
"""(a + bi)(c + di) takes four real products, and as many sums with those before."""

COMPLEX_FLOPS: Mapping[str, int] = {
    **dict.fromkeys(("add", "sub", "rsub", "neg", "sum", "mean", "cumsum"), 2),
    **dict.fromkeys(("eq", "ne", "where", "masked_fill"), 2),
    "mul": 6,  # four products, two sums
    "div": 11,  # times the conjugate (6), the squared length (3), two quotients
    "polar": 4,  # a cosine, a sine, two products
    "abs": 4,  # two squares, their sum, its root
}
"""Operations on real numbers that one on complex numbers takes. Others are not counted."""


UNFIT = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a formula raises for a call of other arguments than it knows, of an operator of its name."""


def memory_access_elements(call: Call, kind: str, in_linear: bool = False) -> int:
    """The ShuffleNet V2 paper's memory access cost of one call, in elements.

    arXiv 1807.11164, Eq. 1 and 2: hw(c1 + c2) + c1 c2 k^2 / g, that is input, output and weights of
    a convolution; a linear layer is a 1x1 convolution. Products of two activations have no weights
    and are not layers, so they count 0, as do biases; `in_linear` says that a linear layer makes
    this product, whose weight may be computed.
    """
    if kind in (CONVOLUTION, DEFORMABLE):
        x, weight = call.args[0], call.args[1]
        return int(x.distinct + weight.numel + call.out.numel)
    if call.name == "mkldnn_rnn_layer":
        return int(sum(t.distinct for t in call.args[:3]) + call.out.numel)
    if call.name == "_trilinear":
        weighted = any(t.parameter for t in call.inputs)
        return sum(t.distinct for t in call.inputs) + call.out.numel if weighted else 0
    if kind == MATMUL:
        matrices = _matrices(call)
        if in_linear or any(m.parameter for m in matrices):
            return sum(m.distinct for m in matrices) + call.out.numel
    return 0


# --- bytes -------------------------------------------------------------------------------------


def _read_source(call: Call) -> int:
    """copy_(self, source) overwrites self without reading it."""
    source = call.arg(1, "src")
    return source.nbytes if isinstance(source, TensorInfo) else 0


def _read_gathered(call: Call) -> int:
    """gather, index, embedding: the rows that are taken, and the indices."""
    table, *indices = call.inputs
    taken = min(call.out.numel * table.itemsize, table.nbytes)
    return taken + sum(t.nbytes for t in indices)


def _read_taps(call: Call) -> int:
    """grid_sample reads the whole input or four taps per output (bilinear), whichever is less."""
    image, grid = call.args[0], call.args[1]
    return int(min(image.nbytes, 4 * call.out.numel * image.itemsize) + grid.nbytes)


# --- multiply-accumulates ----------------------------------------------------------------------


def _convolution_macs(call: Call) -> int:
    """c_in / g * k^2 MACs per output element; transposed, c_out / g * k^2 per input element."""
    x, weight = call.args[0], call.args[1]
    transposed = bool(call.arg(6, "transposed", False))
    elements = x.numel if transposed else call.out.numel
    return int(elements * (weight.numel // weight.shape[0]))


def _matrices(call: Call) -> tuple[TensorInfo, TensorInfo]:
    """The two factors; the add* forms have the summand in front."""
    first = 1 if call.name in ("addmm", "baddbmm", "addmv", "addbmm") else 0
    return call.args[first], call.args[first + 1]


def _matmul_macs(call: Call) -> int:
    """(..., n, k) x (..., k, m): n k m for every batch entry."""
    left, right = _matrices(call)
    columns = right.shape[-1] if len(right.shape) > 1 else 1
    return left.numel * columns


def _trilinear_macs(call: Call) -> int:
    """x A y of a bilinear layer, as torch's Linear.cpp does it for each output: the sum over what
    only the first two factors have, then over what the third has, too."""
    sizes = []
    for tensor, expanded in zip(call.args[:3], call.args[3:6], strict=True):
        rest = iter(tensor.shape)
        rank = len(tensor.shape) + len(expanded)
        sizes.append([1 if dim in expanded else next(rest) for dim in range(rank)])
    first, second, third = sizes
    summed, alone = call.args[6], call.args[5]
    pair = [max(sides) for sides in zip(first, second, strict=True)]
    left = [1 if dim in summed and dim in alone else n for dim, n in enumerate(pair)]
    return int(prod(pair) + prod(max(sides) for sides in zip(left, third, strict=True)))


def _distance_macs(call: Call) -> int:
    """Distances of (..., n, k) and (..., m, k) as a product of rows that have their squared length
    and a one beside them: n m (k + 2) (torch's Distance.cpp)."""
    return int(call.out.numel * (call.args[0].shape[-1] + 2))


def _recurrent_macs(call: Call) -> int:
    """An LSTM's gates: input and state times their weights, for every step of every sequence."""
    steps = prod(call.args[0].shape[:2])
    return int(steps * sum(weight.numel for weight in call.args[1:3]))


def _attention_pairs(call: Call) -> int:
    """Queries x keys, of every head of the output: query, key and value may be broadcast to it."""
    return int(prod(call.out.shape[:-1]) * call.args[1].shape[-2])


def _attention_macs(call: Call) -> int:
    """Q K^T and P V: per (query, key), one product over the head width, one over the value's."""
    query, _, value = call.args[:3]
    return _attention_pairs(call) * int(query.shape[-1] + value.shape[-1])


def _deformed_macs(call: Call) -> int:
    weight = call.args[1]
    return int(call.out.numel * (weight.numel // weight.shape[0]))


def _samples(call: Call) -> int:
    """A deformable convolution (arXiv 1703.06211) reads each channel of the input at k^2 places of
    its own for every pixel of the output."""
    x, weight = call.args[0], call.args[1]
    pixels = prod(call.out.shape[2:])
    return int(x.shape[0] * x.shape[1] * prod(weight.shape[2:]) * pixels)


def _deformed_flops(call: Call) -> int:
    """A bilinear sample (7), its modulation (1; arXiv 1811.11168), the bias."""
    modulated = bool(call.arg(13, "use_mask", False))
    return _samples(call) * (7 + modulated) + call.out.numel


def _read_deformed(call: Call) -> int:
    """Of the input four taps per sample or all of it, whichever is less; weights and offsets."""
    x, *others = call.inputs
    return min(x.nbytes, 4 * _samples(call) * x.itemsize) + sum(t.nbytes for t in others)


def _pooled_regions(call: Call) -> int:
    """Bilinear samples of RoIAlign (arXiv 1703.06870): a square grid of them in each bin."""
    return int(call.out.numel * call.arg(5, "sampling_ratio") ** 2)


def _knows_its_grid(call: Call) -> bool:
    """Otherwise the grid of RoIAlign is as fine as each region is large."""
    return int(call.arg(5, "sampling_ratio", -1)) > 0


def _read_recurrent(call: Call) -> int:
    """Zeros stand for biases that it does not have."""
    biases = () if call.arg(12, "has_biases") else call.args[3:5]
    return int(_read_inputs(call) - sum(t.nbytes for t in biases))


def _read_regions(call: Call) -> int:
    x, regions = call.args[0], call.args[1]
    return int(min(x.nbytes, 4 * _pooled_regions(call) * x.itemsize) + regions.nbytes)


# --- element-wise work -------------------------------------------------------------------------


def _per_output(flops: int) -> Count:
    return lambda call: flops * call.out.numel


def _per_input(flops: int) -> Count:
    return lambda call: flops * call.inputs[0].numel


def _bias(call: Call) -> int:
    """A convolution's bias: one addition per output element."""
    return call.out.numel if isinstance(call.arg(2, "bias"), TensorInfo) else 0


def _pool(call: Call) -> int:
    window = call.arg(1, "kernel_size")
    sides = [window] if isinstance(window, int) else list(window)
    spatial = 2 if "2d" in call.name else 3 if "3d" in call.name else 1
    return call.out.numel * (prod(sides) if len(sides) == spatial else sides[0] ** spatial)


def _recurrent_flops(call: Call) -> int:
    """Of each unit (Hochreiter and Schmidhuber 1997, as torch.nn.LSTM writes it): the sums of four
    gates, three sigmoids and two hyperbolic tangents at 4 each, three products and a sum; biases
    add 4 x 2."""
    return call.out.numel * (4 + 5 * 4 + 4 + 8 * bool(call.arg(12, "has_biases")))


def _distance_flops(call: Call) -> int:
    """Squares and their sum, times -2 on one side; a lower bound of 0 and a root of each."""
    x, y = call.args[:2]
    return int(3 * x.numel + 2 * y.numel + 2 * call.out.numel)


def _cdist_flops(call: Call) -> int:
    """A difference, its power and a sum for each side of each pair, and a root."""
    return int(call.out.numel * (3 * call.args[0].shape[-1] + 1))


def _attention_softmax(call: Call) -> int:
    return 6 * _attention_pairs(call)  # scale, and the five of a softmax


# --- the table ---------------------------------------------------------------------------------

CONVOLUTION = "convolution"
DEFORMABLE = "deformable convolution"
MATMUL = "matrix product"
ATTENTION = "fused attention"
BATCH_NORM = "batch norm"
LAYER_NORM = "layer norm"
SOFTMAX = "softmax"
POOLING = "pooling"
UPSAMPLE = "upsample"
GRID_SAMPLE = "grid sample"
POINTWISE = "element-wise"
REDUCTION = "reduction"
SELECTION = "top-k and sort"
MOVEMENT = "data movement"
FREE = "free"  # allocates or aliases without running a kernel
UNCOUNTED = Formula("uncounted")  # without a formula only an operator's bytes are known

_BY_NAMES: Mapping[str, Formula] = {
    "convolution _convolution convolution_overrideable mkldnn_convolution": Formula(
        CONVOLUTION, macs=_convolution_macs, elementwise=_bias
    ),
    "mm bmm mv dot vdot matmul _int_mm _scaled_mm": Formula(MATMUL, macs=_matmul_macs),
    "addmm baddbmm addmv addbmm": Formula(MATMUL, macs=_matmul_macs, elementwise=_per_output(1)),
    "_trilinear": Formula(MATMUL, macs=_trilinear_macs),
    "_euclidean_dist": Formula(MATMUL, macs=_distance_macs, elementwise=_distance_flops),
    "mkldnn_rnn_layer": Formula(
        MATMUL, macs=_recurrent_macs, elementwise=_recurrent_flops, reads=_read_recurrent
    ),
    """scaled_dot_product_attention _scaled_dot_product_flash_attention_for_cpu
    _scaled_dot_product_flash_attention _scaled_dot_product_efficient_attention
    _scaled_dot_product_cudnn_attention
    _scaled_dot_product_fused_attention_overrideable""": Formula(
        ATTENTION, macs=_attention_macs, elementwise=_attention_softmax
    ),
    # In evaluation statistics, weight and bias collapse into one multiply and one add.
    """native_batch_norm _native_batch_norm_legit_no_training _native_batch_norm_legit
    _batch_norm_no_update cudnn_batch_norm miopen_batch_norm""": Formula(
        BATCH_NORM, elementwise=_per_output(2)
    ),
    "torchvision.deform_conv2d": Formula(
        DEFORMABLE, macs=_deformed_macs, elementwise=_deformed_flops, reads=_read_deformed
    ),
    # Four products and three sums per sample, and the mean of them.
    "torchvision.roi_align": Formula(
        GRID_SAMPLE,
        elementwise=lambda call: 8 * _pooled_regions(call),
        reads=_read_regions,
        knows=_knows_its_grid,
    ),
    # Mean, centre, square, sum; scale, weight, bias.
    "native_layer_norm native_group_norm": Formula(LAYER_NORM, elementwise=_per_output(7)),
    # Maximum, subtract, exp, sum, divide.
    "_softmax _log_softmax _safe_softmax": Formula(SOFTMAX, elementwise=_per_output(5)),
    """max_pool2d_with_indices max_pool2d max_pool3d_with_indices max_pool3d
    avg_pool1d avg_pool2d avg_pool3d""": Formula(POOLING, elementwise=_pool),
    """adaptive_avg_pool2d _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d
    adaptive_max_pool3d""": Formula(POOLING, elementwise=_per_input(1)),
    """upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d
    _upsample_nearest_exact2d _upsample_nearest_exact3d""": Formula(UPSAMPLE),
    # Two products and a sum per output and side; bicubic: sixteen and fifteen.
    "upsample_linear1d": Formula(UPSAMPLE, elementwise=_per_output(3)),
    "upsample_trilinear3d": Formula(UPSAMPLE, elementwise=_per_output(15)),
    "upsample_bilinear2d _upsample_bilinear2d_aa": Formula(UPSAMPLE, elementwise=_per_output(7)),
    "upsample_bicubic2d _upsample_bicubic2d_aa": Formula(UPSAMPLE, elementwise=_per_output(31)),
    "grid_sampler_2d cudnn_grid_sampler": Formula(
        GRID_SAMPLE, elementwise=_per_output(7), reads=_read_taps
    ),
    "grid_sampler_3d": Formula(GRID_SAMPLE, elementwise=_per_output(15)),
    # A sum, or the like, for each element that is brought somewhere: the last tensor's.
    "scatter_add scatter_reduce index_add": Formula(
        REDUCTION, elementwise=lambda call: call.inputs[-1].numel
    ),
    """mean sum prod amax amin max min any all _is_all_true _is_any_true argmax argmin cumsum
    logsumexp logcumsumexp cumprod cummax cummin _cummax_helper _cummin_helper norm aminmax
    median nanmedian
    count_nonzero""": Formula(REDUCTION, elementwise=_per_input(1)),
    "var std var_mean std_mean linalg_vector_norm": Formula(REDUCTION, elementwise=_per_input(3)),
    "_cdist_forward": Formula(REDUCTION, elementwise=_cdist_flops),
    # The length of each row of weights, and the quotient that scales them to it.
    "_weight_norm_interface": Formula(
        REDUCTION,
        elementwise=lambda call: 4 * call.args[0].numel + call.args[1].numel,
    ),
    "topk sort kthvalue mode": Formula(SELECTION, elementwise=_per_input(1)),
    """add sub rsub mul div neg abs relu exp exp2 log log2 log1p sqrt sin cos tan pow reciprocal
    maximum minimum threshold eq ne gt ge lt le where masked_fill logical_and logical_or logical_not
    logical_xor bitwise_and bitwise_or bitwise_not bitwise_xor __and__ __or__ floor ceil round trunc
    sign fmod remainder floor_divide isnan isinf isfinite clamp_min clamp_max erf atan atan2 square
    expm1 cosh sinh asin acos asinh acosh atanh erfc erfinv frac sgn fmax fmin copysign signbit
    isposinf isneginf __xor__ heaviside nan_to_num xlogy hypot gcd
    digamma lgamma sinc i0 angle polar bitwise_left_shift bitwise_right_shift __lshift__ __rshift__
    conj_physical deg2rad rad2deg
    """: Formula(POINTWISE, elementwise=_per_output(1)),
    """clamp hardtanh rsqrt leaky_relu _prelu_kernel prelu addcmul addcdiv lerp addr softshrink
    hardshrink rrelu_with_noise""": Formula(POINTWISE, elementwise=_per_output(2)),
    "sigmoid tanh hardsigmoid elu softplus log_sigmoid_forward logaddexp logaddexp2 celu": Formula(
        POINTWISE, elementwise=_per_output(4)
    ),
    "silu hardswish gelu mish logit glu": Formula(POINTWISE, elementwise=_per_output(5)),
    """clone cat stack index_put slice_scatter select_scatter scatter constant_pad_nd repeat roll
    reflection_pad2d replication_pad2d flip _to_copy pixel_shuffle pixel_unshuffle channel_shuffle
    im2col col2im unfold_copy tril triu complex rot90 diag_embed
    reflection_pad1d reflection_pad3d replication_pad1d replication_pad3d index_copy index_fill
    masked_scatter max_unpool2d max_unpool3d native_channel_shuffle""": Formula(MOVEMENT),
    "copy": Formula(MOVEMENT, reads=_read_source),
    """arange full full_like zeros zeros_like ones ones_like new_zeros new_ones new_full fill zero
    eye linspace scalar_tensor normal uniform bernoulli rand randn randint
    randperm rand_like randn_like randint_like logspace tril_indices triu_indices exponential
    """: Formula(MOVEMENT, reads=_nothing),
    "gather index index_select embedding take": Formula(MOVEMENT, reads=_read_gathered),
    """empty empty_like empty_strided empty_permuted new_empty new_empty_strided lift_fresh
    detach _local_scalar_dense""": Formula(FREE),
}

FORMULAS: Mapping[str, Formula] = {
    name: formula for names, formula in _BY_NAMES.items() for name in names.split()
}
"""ATen base name -> formula. To count a new operator, add its name to a line above, or a line."""

RECURRENT: Mapping[str, int] = {
    "rnn_tanh": 1,
    "rnn_relu": 1,
    "gru": 3,
    "lstm": 4,
    "rnn_tanh_cell": 1,
    "rnn_relu_cell": 1,
    "gru_cell": 3,
    "lstm_cell": 4,
}
"""Recurrent layers, and single steps of them -> how many gates each has."""

EPILOGUES = frozenset({POINTWISE, BATCH_NORM, LAYER_NORM})
"""Kinds that a compiler folds into the kernel that produced their input."""
