"""What can be said of a model, as data: renderers and files read this table, naming no metric.

Values are stored in base units (parameters, FLOPs, bytes, elements, seconds) and in full precision;
`detrbench.core.units` alone decides how they are printed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Better = Literal["lower", "higher"]

COUNTING = "the counting rules in the README"
TIMING = "the timing rules in the README"
ROOFLINE = "Williams et al., Roofline, CACM 52(4), 2009"
SHUFFLENETV2 = "Ma et al., ShuffleNet V2, arXiv 1807.11164, section 2"


@dataclass(frozen=True)
class Spread:
    """What is printed in brackets beside a measured value: the keys of its ends, and what it is."""

    low: str
    high: str
    meaning: str


@dataclass(frozen=True)
class Metric:
    """One number a report can hold.

    Attributes:
        key: its name in `Result.metrics`, in JSON and (with its unit) in CSV.
        title: the column header, without the unit.
        unit: a key of `detrbench.core.units.UNITS`, the unit the stored value is in.
        better: which way is better; None where neither is, such as a number of samples.
        explanation: one sentence for a reader who has never met it.
        summary: whether tables show it unasked; files always hold every metric. Others are shown
            where somebody published one.
        measured: whether it belongs to a machine and a run, unlike a count.
        additive: whether the parts of a model add up to the whole.
        convention: the way of counting that it is the FLOPs of; tables show the one asked for.
        spread: what is printed beside it, for what is measured and not counted; of several, the
            first that a row holds.
        published_as: the field of a published figure that means this metric.
        title_zh: the header in the Chinese article this project answers.
        footnote: what the title has no room for, and a reader would take for something else.
    """

    key: str
    title: str
    unit: str
    better: Better | None
    explanation: str
    source: str
    summary: bool = False
    measured: bool = False
    additive: bool = False
    convention: str | None = None
    spread: tuple[Spread, ...] = ()
    published_as: str | None = None
    title_zh: str | None = None
    footnote: str | None = None


def _flops(convention: str, key: str, title: str, explanation: str, source: str) -> Metric:
    return Metric(
        key, title, "FLOP", "lower", explanation, source, summary=True,
        additive=True, convention=convention, published_as="gflops", title_zh="计算量",
    )  # fmt: skip


def _timing(
    key: str,
    title: str,
    unit: str,
    explanation: str,
    better: Better | None = "lower",
    published_as: str | None = None,
) -> Metric:
    return Metric(
        key, title, unit, better, explanation, TIMING, measured=True, published_as=published_as
    )


def _floor(limit: str, word: str, explanation: str) -> Metric:
    key, title = f"floor_{limit}_s", f"Floor of {word}"
    return Metric(key, title, "s", "lower", explanation, ROOFLINE, measured=True)


_TABLE = (
    Metric(
        "params", "Params", "parameter", "lower",
        "Elements of all parameters, those of training-only layers included.",
        "torch.nn.Module.parameters",
        summary=True, additive=True, published_as="params", title_zh="参数量",
    ),
    Metric(
        "params_unused", "Unused params", "parameter", None,
        "Parameters that no evaluation call touches: auxiliary heads, denoising embeddings.",
        COUNTING, additive=True,
    ),
    Metric(
        "macs", "MACs", "MAC", "lower",
        "Multiply-accumulates of convolutions, linear layers and matrix products.",
        COUNTING, additive=True,
    ),
    _flops(
        "core", "flops", "FLOPs",
        "Two per multiply-accumulate of convolutions, linear layers and matrix products.", COUNTING,
    ),
    _flops(
        "thop", "flops_thop", "FLOPs (thop)",
        "What thop 0.1.1 counts, doubled: no attention; 4 per batch-norm element.", "thop 0.1.1",
    ),
    _flops(
        "ultralytics-thop", "flops_ultralytics_thop", "FLOPs (ultralytics-thop)",
        "What ultralytics-thop 2.2.3 counts, doubled: attention, norms and softmax included.",
        "ultralytics-thop 2.2.3",
    ),
    _flops(
        "fvcore", "flops_fvcore", "FLOPs (fvcore)",
        "What fvcore counts, doubled, because the flops it names are multiply-accumulates.",
        "fvcore 0.1.5, FlopCountAnalysis",
    ),
    _flops(
        "torch", "flops_torch", "FLOPs (torch)",
        "What torch's own FlopCounterMode counts.", "torch.utils.flop_counter",
    ),
    Metric(
        "elementwise_flops", "Element-wise", "FLOP", "lower",
        "Work of every other operator (activations, norms, sums, softmax), beside the FLOPs.",
        COUNTING, additive=True,
    ),
    Metric(
        "memory_access_elements", "Memory access", "element", "lower",
        "Elements of inputs, outputs and weights of convolutions and linear layers.",
        SHUFFLENETV2, summary=True, title_zh="内存访问量", additive=True,
        footnote="elements, of convolutions and linear layers",
    ),
    Metric(
        "traffic_eager_bytes", "Eager traffic", "B", "lower",
        "Bytes every kernel reads and writes when nothing is fused and no cache is reused.",
        COUNTING, summary=True, title_zh="逐算子访存", additive=True,
    ),
    Metric(
        "traffic_fused_bytes", "Fused traffic", "B", "lower",
        "The same with norms and element-wise operators fused into producers: a lower bound.",
        COUNTING, summary=True, title_zh="融合后访存", additive=True,
    ),
    Metric(
        "traffic_min_bytes", "Least traffic", "B", "lower",
        "Parameters, input and output once: no implementation can move less.", COUNTING,
    ),
    Metric(
        "peak_activation_bytes", "Peak memory", "B", "lower",
        "Most bytes of live tensors at any moment, parameters aside: a lower bound.",
        "torch.distributed._tools.mem_tracker.MemTracker", summary=True, title_zh="峰值内存",
        footnote="of activations; the parameters come on top",
    ),
    Metric(
        "kernels", "Kernels", "count", "lower",
        "Operators that are not views: what eager PyTorch launches.",
        COUNTING, summary=True, title_zh="算子数", additive=True,
    ),
    Metric(
        "arithmetic_intensity", "FLOPs per byte", "FLOP/B", None,
        "FLOPs over eager traffic: low means memory decides, not arithmetic.", ROOFLINE,
    ),
    Metric(
        "latency_median_s", "Latency", "s", "lower",
        "Median over processes of one forward pass's median time, with its interval.", TIMING,
        summary=True, measured=True,
        spread=(
            Spread("latency_median_low_s", "latency_median_high_s",
                   "the median's 95% interval over processes"),
            Spread("latency_q1_s", "latency_q3_s",
                   "the quartiles of all samples, too few processes for an interval"),
        ),
        published_as="latency_ms", title_zh="推理速度",
    ),
    _timing("latency_median_low_s", "Median, low", "s",
            "Lower end of the median's 95 % interval, "
            "an order statistic of the processes' medians."),
    _timing("latency_median_high_s", "Median, high", "s",
            "Upper end of the median's 95 % interval, "
            "an order statistic of the processes' medians."),
    _timing("latency_q1_s", "First quartile", "s", "A quarter of the samples are at or below it."),
    _timing("latency_q3_s", "Third quartile", "s",
            "Three quarters of the samples are at or below it."),
    _timing("latency_p90_s", "90th percentile", "s", "Of all samples; needs 64 of them."),
    _timing("latency_p95_s", "95th percentile", "s", "Of all samples; needs 130 of them."),
    _timing("latency_p99_s", "99th percentile", "s", "Of all samples; needs 662 of them."),
    _timing("latency_first_s", "First call", "s",
            "Time of the very first forward pass, before any warm-up."),
    _timing("images_per_s", "Images per second", "image/s", "The batch over the median latency.",
            better="higher", published_as="fps"),
    _timing("latency_samples", "Samples", "count", "Number of timed forward passes.", better=None),
    _timing("latency_processes", "Processes", "count",
            "Number of fresh processes that the samples are from.", better=None),
    _timing("peak_allocated_bytes", "Device memory", "B",
            "Weights, images and the most that a forward pass allocates on a CUDA device."),
    _timing("peak_reserved_bytes", "Device memory, reserved", "B",
            "What torch's allocator held of the device at that moment, for the whole process."),
    _timing("peak_rss_growth_bytes", "Resident growth", "B",
            "How far a forward pass raised the process's resident memory on the processor."),
    _timing("energy_per_image_j", "Energy per image", "J",
            "Of the whole GPU, its idle power included, by NVML's counter."),
    Metric(
        "working_set_bytes", "Working set", "B", "lower",
        "Most bytes of live tensors and the parameters: what a cache must hold to help.", COUNTING,
    ),
    _floor("compute", "arithmetic", "FLOPs over the rates that convolutions and products reached."),
    _floor("memory", "memory", "Eager traffic over the bandwidth of memory or of a cache."),
    _floor("dispatch", "dispatch", "Kernels times what launching the smallest of them takes."),
    Metric(
        "floor_s", "Floor", "s", "lower",
        "The largest of the floors of arithmetic, memory and dispatch.",
        ROOFLINE, summary=True, measured=True, title_zh="下限时间",
    ),
    Metric(
        "efficiency", "Efficiency", "part", "higher",
        "The floor over the measured time: how much of the time the ceilings account for.",
        ROOFLINE, summary=True, measured=True, title_zh="效率",
    ),
)  # fmt: skip

METRICS: dict[str, Metric] = {metric.key: metric for metric in _TABLE}

CONVENTION_METRICS: dict[str, str] = {
    metric.convention: metric.key for metric in _TABLE if metric.convention
}
"""Name of a counting convention -> the metric that holds its FLOPs."""


def metric(key: str) -> Metric:
    """The metric called `key`; one unknown here (from a newer file) is shown under its own name."""
    return METRICS.get(key) or Metric(key, key, "count", None, "", "")
