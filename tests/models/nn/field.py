"""The blocks of the field, each beside what one computes by hand."""

from __future__ import annotations

from tests.models.nn.by_hand import Fixture

ONE = ((1, 8, 16, 16),)
CELLS = 16 * 16

PRESNET = [
    # 3x3 kernels over 8 inputs and 16 outputs, halved; with a bias, and at full size.
    Fixture(
        "ConvNormLayer",
        (16, 3, 2, None, False, "relu"),
        ONE,
        (1, 16, 8, 8),
        params=1152 + 32,
        macs=1152 * 64,
    ),
    Fixture(
        "ConvNormLayer",
        (16, 3, 1, None, True),
        ONE,
        (1, 16, 16, 16),
        params=1152 + 16 + 32,
        macs=1152 * CELLS,
    ),
    # 3x3 8>4 halved, 3x3 4>4, and the shortcut 8>4 behind a pool; then 3x3 4>4 twice.
    Fixture(
        "Blocks",
        (4, "BasicBlock", 2, 3, "silu"),
        ONE,
        (1, 4, 8, 8),
        params=(288 + 8) + (144 + 8) + (32 + 8) + 2 * (144 + 8),
        macs=(288 + 144 + 32 + 2 * 144) * 64,
    ),
    # Stage 2 halves nothing. 8>4, 3x3 4>4, 4>16, the shortcut 8>16; then 16>4, 3x3 4>4, 4>16.
    Fixture(
        "Blocks",
        (4, "BottleNeck", 2, 2),
        ONE,
        (1, 16, 16, 16),
        params=(32 + 8) + (144 + 8) + (64 + 32) + (128 + 32) + (64 + 8) + (144 + 8) + (64 + 32),
        macs=(32 + 144 + 64 + 128 + 64 + 144 + 64) * CELLS,
    ),
    # Halved by the 3x3 convolution, or in variant "a" by the one before it; no pool in either.
    Fixture(
        "Blocks",
        (4, "BottleNeck", 1, 4, "relu", "b"),
        ONE,
        (1, 16, 8, 8),
        params=(32 + 8) + (144 + 8) + (64 + 32) + (128 + 32),
        macs=32 * CELLS + (144 + 64 + 128) * 64,
    ),
    Fixture(
        "Blocks",
        (4, "BottleNeck", 1, 4, "relu", "a"),
        ONE,
        (1, 16, 8, 8),
        params=(32 + 8) + (144 + 8) + (64 + 32) + (128 + 32),
        macs=(32 + 144 + 64 + 128) * 64,
    ),
]

FIXTURES = [*PRESNET]
