"""The experiments of section 2 of the ShuffleNetV2 paper (arXiv 1807.11164), as data.

Tables 1 to 4: networks of ten blocks on maps of 56x56, on a GTX 1080 Ti (batches per second) and on
one thread of a Snapdragon 810 (images per second), at widths of their own for each, times 1, 2, 4.

What the paper leaves open, and what is done here:

- The batch of tables 1 to 4. One image: at x4 table 1's 232 batches per second of 16.4 G
  multiply-accumulates would, with two images, be 7.6 T a second, and the GTX 1080 Ti's peak is 5.7.
- Batch norms, biases and, but for table 4, activations. There are none, so that a block is its
  convolutions, and its memory access cost Eq. 1 or 2.
- 180 channels in 8 groups (table 2, x1 of the ARM column): they do not divide. There are 176.
- The widths of fragments (table 3: "adjusted so that the FLOPs is the same"). n convolutions have
  the c / sqrt(n) of one, rounded down as the paper's own widths are.
- How parallel fragments come together. They are added, which needs those very widths;
  concatenated, no width would need adjusting.
- The inner width of table 4's bottleneck. A quarter of c, as in ResNet, where the unit is from:
  with c inside, the GPU's 1,436 batches per second at c = 128 would be 8.1 T multiply-accumulates
  a second.
- The map of table 4. 56x56, as in the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from detrbench.core.errors import UsageError, nearest

SOURCE = "Ma et al., ShuffleNet V2, arXiv 1807.11164"
SIDE = 56  # pixels of a map
BLOCKS = 10
FACTORS = (1, 2, 4)  # of the widths: a table's columns


@dataclass(frozen=True)
class Widths:
    """Which of the paper's two machines the widths are from."""

    machine: str
    speed: str


WIDTHS: dict[str, Widths] = {
    "gpu": Widths("GTX 1080 Ti", "batches/s"),
    "arm": Widths("Snapdragon 810, one thread", "images/s"),
}


@dataclass(frozen=True)
class Network:
    """One cell of a table."""

    guideline: str
    label: str  # its row, as the paper calls it
    arguments: Mapping[str, int]  # of the network that is built; see `networks`
    speed: str  # as the paper printed it

    @property
    def name(self) -> str:
        """What rows call it: "guideline:G1/c1=32,c2=32"."""
        arguments = ",".join(f"{key}={value}" for key, value in self.arguments.items())
        return f"guideline:{self.guideline}/{arguments}"

    def callable(self, batch: int) -> str:
        """What `networks` calls that which builds it: "G1_c1_32_c2_32_batch_1"."""
        named = {**self.arguments, "batch": batch}
        return "_".join([self.guideline, *(f"{key}_{value}" for key, value in named.items())])


@dataclass(frozen=True)
class Experiment:
    """One column of a table: networks of about the same FLOPs, the first being the baseline."""

    column: str  # "x1", "x2" or "x4"
    networks: tuple[Network, ...]


@dataclass(frozen=True)
class Guideline:
    """One guideline, and what its table should show where it holds."""

    name: str
    title: str  # as the paper words it
    table: int
    what: str  # the networks, in words
    faster: bool  # whether the rows after the first are expected to be faster, instead of slower
    decisive: tuple[str, ...]  # labels of the rows that are farthest from the first


GUIDELINES: dict[str, Guideline] = {
    one.name: one
    for one in (
        Guideline(
            "G1", "Equal channel width minimizes memory access cost", 1,
            "ten blocks of two 1x1 convolutions, c1 to c2 and back",
            False, ("1:12",),
        ),
        Guideline(
            "G2", "Excessive group convolution increases memory access cost", 2,
            "ten 1x1 convolutions in g groups, c to c",
            False, ("g=8",),
        ),
        Guideline(
            "G3", "Network fragmentation reduces the degree of parallelism", 3,
            "ten blocks of one to four 1x1 convolutions, in series or in parallel and added",
            False, ("4 in series", "4 in parallel"),
        ),
        Guideline(
            "G4", "Element-wise operations are non-negligible", 4,
            "ten bottlenecks, 1x1, 3x3, 1x1, inner width c/4, with and without ReLU and shortcut",
            True, ("neither",),
        ),
    )
}  # fmt: skip


def experiments(guideline: str, widths: str) -> tuple[Experiment, ...]:
    """The columns of a guideline's table, at the widths of the "gpu" or of the "arm". Raises
    UsageError where there is no such guideline, or no such widths."""
    check_guideline(guideline)
    if widths not in WIDTHS:
        raise UsageError(f"unknown widths {widths!r}", hint=nearest(widths, WIDTHS))
    return tuple(
        Experiment(f"x{factor}", tuple(_networks(guideline, widths, column)))
        for column, factor in enumerate(FACTORS)
    )


def _networks(guideline: str, widths: str, column: int) -> Iterator[Network]:
    for label, on_gpu, gpu_speeds, on_arm, arm_speeds in _ROWS[guideline]:
        numbers, speeds = (on_gpu, gpu_speeds) if widths == "gpu" else (on_arm, arm_speeds)
        arguments = _ARGUMENTS[guideline](FACTORS[column], *numbers)
        yield Network(guideline, label, arguments, speeds.split()[column])


def check_guideline(name: str) -> str:
    """`name`, if a guideline is called so. Raises UsageError where none is."""
    if name not in GUIDELINES:
        raise UsageError(f"unknown guideline {name!r}", hint=nearest(name, GUIDELINES))
    return name


_Row = tuple[str, tuple[int, ...], str, tuple[int, ...], str]
"""A label; of the GPU and then of the ARM, numbers (with widths at x1) and speeds (x1, x2, x4)."""

_ROWS: dict[str, tuple[_Row, ...]] = {
    "G1": (
        ("1:1", (128, 128), "1480 723 232", (32, 32), "76.2 21.7 5.3"),
        ("1:2", (90, 180), "1296 586 206", (22, 44), "72.9 20.5 5.1"),
        ("1:6", (52, 312), "876 489 189", (13, 78), "69.1 17.9 4.6"),
        ("1:12", (36, 432), "748 392 163", (9, 108), "57.6 15.1 4.4"),
    ),
    "G2": (
        ("g=1", (128, 1), "2451 1289 437", (64, 1), "40.0 10.2 2.3"),
        ("g=2", (180, 2), "1725 873 341", (90, 2), "35.0 9.5 2.2"),
        ("g=4", (256, 4), "1026 644 338", (128, 4), "32.9 8.7 2.1"),
        ("g=8", (360, 8), "634 445 230", (180, 8), "27.8 7.5 1.8"),
    ),
    "G3": (
        ("1", (128, 1, 0), "2446 1274 434", (64, 1, 0), "40.2 10.1 2.3"),
        ("2 in series", (128, 2, 0), "1790 909 336", (64, 2, 0), "38.6 10.1 2.2"),
        ("4 in series", (128, 4, 0), "752 745 349", (64, 4, 0), "38.4 10.1 2.3"),
        ("2 in parallel", (128, 2, 1), "1537 803 320", (64, 2, 1), "33.4 9.1 2.2"),
        ("4 in parallel", (128, 4, 1), "691 572 292", (64, 4, 1), "35.0 8.4 2.1"),
    ),
    "G4": (
        ("both", (32, 1, 1), "2427 2066 1436", (32, 1, 1), "56.7 16.9 5.0"),
        ("ReLU alone", (32, 1, 0), "2647 2256 1735", (32, 1, 0), "61.9 18.8 5.2"),
        ("shortcut alone", (32, 0, 1), "2672 2121 1458", (32, 0, 1), "57.3 18.2 5.1"),
        ("neither", (32, 0, 0), "2842 2376 1782", (32, 0, 0), "66.3 20.2 5.4"),
    ),
}

_ARGUMENTS: dict[str, Callable[..., dict[str, int]]] = {
    "G1": lambda factor, c1, c2: {"c1": c1 * factor, "c2": c2 * factor},
    "G2": lambda factor, c, groups: {"c": c * factor // groups * groups, "groups": groups},
    "G3": lambda factor, c, fragments, parallel: {
        "c": math.isqrt(c * c // fragments) * factor,
        "fragments": fragments,
        "parallel": parallel,
    },
    "G4": lambda factor, c, relu, shortcut: {"c": c * factor, "relu": relu, "shortcut": shortcut},
}
"""Guideline -> the arguments of a network, from a column's factor and a row's numbers."""
