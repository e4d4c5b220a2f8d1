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

CSP = [
    # Half of 8 channels in, through two units of 3x3 4>4 twice, and 2 + 2 parts of 4 squeezed.
    Fixture(
        "C2f",
        (8, True),
        ONE,
        (1, 8, 16, 16),
        params=(64 + 16) + 4 * (144 + 8) + (128 + 16),
        macs=(64 + 4 * 144 + 128) * CELLS,
        options=(("n", 2),),
    ),
    # Two groups halve the second convolution.
    Fixture(
        "C2f",
        (8, False, 2),
        ONE,
        (1, 8, 16, 16),
        params=(64 + 16) + (144 + 8) + (72 + 8) + (96 + 16),
        macs=(64 + 144 + 72 + 96) * CELLS,
    ),
    # 8>4 twice; 1x1 4>4 and 3x3 4>4; both paths 8>8.
    Fixture(
        "C3",
        (8,),
        ONE,
        (1, 8, 16, 16),
        params=2 * (32 + 8) + (16 + 8) + (144 + 8) + (64 + 16),
        macs=(2 * 32 + 16 + 144 + 64) * CELLS,
    ),
    # A unit of 3x3 4>2 and 2>4.
    Fixture(
        "C3k2",
        (8,),
        ONE,
        (1, 8, 16, 16),
        params=(64 + 16) + (72 + 4) + (72 + 8) + (96 + 16),
        macs=(64 + 72 + 72 + 96) * CELLS,
    ),
    # A unit of 4>2 twice, four 3x3 2>2, 4>4: asked for by the row, and by the scale.
    *(
        Fixture(
            "C3k2",
            row,
            ONE,
            (1, 8, 16, 16),
            params=(64 + 16) + 2 * (8 + 4) + 4 * (36 + 4) + (16 + 8) + (96 + 16),
            macs=(64 + 2 * 8 + 4 * 36 + 16 + 96) * CELLS,
            options=(("deep", deep),),
        )
        for row, deep in (((8, True), 0), ((8, False), 1))
    ),
    # Depth-wise 3x3 over 4, 4>8, 3x3 over 8, 8>4, 3x3 over 4.
    Fixture(
        "C2fCIB",
        (8, True),
        ONE,
        (1, 8, 16, 16),
        params=(64 + 16) + 2 * (36 + 8) + (32 + 16) + (72 + 16) + (32 + 8) + (96 + 16),
        macs=(64 + 2 * 36 + 32 + 72 + 32 + 96) * CELLS,
    ),
    # And 7x7 over 8.
    Fixture(
        "C2fCIB",
        (8, True, True),
        ONE,
        (1, 8, 16, 16),
        params=(64 + 16) + 2 * (36 + 8) + (32 + 16) + (72 + 16) + (392 + 16) + (32 + 8) + (96 + 16),
        macs=(64 + 2 * 36 + 32 + 72 + 392 + 32 + 96) * CELLS,
    ),
    # Two branches of 4>2 twice, 3x3 and 1x1 2>2, 3x3 2>2, 4>4, 3x3 4>4; then 8 + 4 + 4 > 8.
    Fixture(
        "RepNCSPELAN4",
        (8, 8, 4, 1),
        ONE,
        (1, 8, 16, 16),
        params=(64 + 16)
        + 2 * (2 * (8 + 4) + (36 + 4) + (4 + 4) + (36 + 4) + (16 + 8) + (144 + 8))
        + (128 + 16),
        macs=(64 + 2 * (2 * 8 + 36 + 4 + 36 + 16 + 144) + 128) * CELLS,
    ),
    # 8>4 and all four maps of 4 to 16.
    *(
        Fixture(name, row, ONE, (1, 16, 16, 16), 32 + 8 + 256 + 32, (32 + 256) * CELLS)
        for name, row in (("SPP", (16,)), ("SPPF", (16,)), ("SPPELAN", (16, 4)))
    ),
    # 3x3 8>6 and 6>12.
    Fixture(
        "Bottleneck",
        (12,),
        ONE,
        (1, 12, 16, 16),
        params=(432 + 12) + (648 + 24),
        macs=(432 + 648) * CELLS,
    ),
    # 8>8, a unit of 3x3 4>4 twice, 8>8.
    Fixture(
        "C2",
        (8,),
        ONE,
        (1, 8, 16, 16),
        params=2 * (64 + 16) + 2 * (144 + 8),
        macs=(2 * 64 + 2 * 144) * CELLS,
    ),
    # 8>8, 3x3 4>4 twice, 8 + 4 + 4 > 8.
    Fixture(
        "ELAN1",
        (8, 8, 4),
        ONE,
        (1, 8, 16, 16),
        params=(64 + 16) + 2 * (144 + 8) + (128 + 16),
        macs=(64 + 2 * 144 + 128) * CELLS,
    ),
    # 8>8 and 8 + 8 > 16; a unit of 8>4 twice, 3x3 4>4 four times, 8>8.
    Fixture(
        "A2C2f",
        (16, False, -1),
        ONE,
        (1, 16, 16, 16),
        params=(64 + 16) + 2 * (32 + 8) + 4 * (144 + 8) + (64 + 16) + (256 + 32),
        macs=(64 + 2 * 32 + 4 * 144 + 64 + 256) * CELLS,
    ),
]

# At 64 channels of 16 cells: one head of keys of 32. To 32 + 32 + 64, back from 64, 3x3 over 64,
# and 64>128>64; the products are 16 x 16 x 32 and 16 x 16 x 64.
ATTENTION = (8192 + 256) + (4096 + 128) + (576 + 128) + (8192 + 256) + (8192 + 128)
ATTENTION_MACS = 16 * (8192 + 4096 + 576 + 8192 + 8192) + 16 * 16 * (32 + 64)

PSA = [
    Fixture(
        name,
        (128,),
        ((1, 128, 4, 4),),
        (1, 128, 4, 4),
        params=2 * (16384 + 256) + blocks * ATTENTION,
        macs=2 * 16 * 16384 + blocks * ATTENTION_MACS,
        options=(("n", blocks),) if name == "C2PSA" else (),
    )
    for name, blocks in (("PSA", 1), ("C2PSA", 2))
]

# One head of 32: to 3 x 32, back from 32, 7x7 over 32, without the feed-forward network.
AREA = (3072 + 192) + (1024 + 64) + (1568 + 64)
AREA_MACS = 3072 + 1024 + 1568

AREAS = [
    # 8>32 and 32 + 32 > 64; two units with 32>64>32, whose strips are a quarter of the map.
    Fixture(
        "A2C2f",
        (64, True, 4),
        ONE,
        (1, 64, 16, 16),
        params=(256 + 64) + 2 * (AREA + (2048 + 128) + (2048 + 64)) + (4096 + 128),
        macs=(256 + 2 * (AREA_MACS + 4096) + 4096) * CELLS + 2 * 64 * CELLS * (32 + 32),
    ),
    # 64>32 and back; 32>38>32, and 64 weights for what is added.
    Fixture(
        "A2C2f",
        (64,),
        ((1, 64, 4, 4),),
        (1, 64, 4, 4),
        params=(2048 + 64) + 2 * (AREA + (1216 + 76) + (1216 + 64)) + (4096 + 128) + 64,
        macs=(2048 + 2 * (AREA_MACS + 2432) + 4096) * 16 + 2 * 16 * 16 * (32 + 32),
        options=(("large", 1),),
    ),
]

DOWN = [
    Fixture(
        "SCDown",
        (16, 3, 2),
        ONE,
        (1, 16, 8, 8),
        params=(128 + 32) + (144 + 32),
        macs=128 * CELLS + 144 * 64,
    ),
    # Half of the channels each: 3x3 4>8, 4>8.
    Fixture("ADown", (16,), ONE, (1, 16, 8, 8), (288 + 16) + (32 + 16), (288 + 32) * 64),
    Fixture("AConv", (16,), ONE, (1, 16, 8, 8), 1152 + 32, 1152 * 64),
    # 3x3 over 4 x 8 channels.
    Fixture("SPDConv", (16,), ONE, (1, 16, 8, 8), 4608 + 32, 4608 * 64),
]

CHEAP = [
    # 8>8 and 5x5 over 8.
    Fixture("GhostConv", (16,), ONE, (1, 16, 16, 16), (64 + 16) + (200 + 16), (64 + 200) * CELLS),
    # 8>8 twice, 16>16; a unit of 8>2, 5x5 over 2, 4>4, 5x5 over 4.
    Fixture(
        "C3Ghost",
        (16,),
        ONE,
        (1, 16, 16, 16),
        params=2 * (64 + 16) + (16 + 4) + (50 + 4) + (16 + 8) + (100 + 8) + (256 + 32),
        macs=(2 * 64 + 16 + 50 + 16 + 100 + 256) * CELLS,
    ),
    Fixture("GSConv", (16, 3, 2), ONE, (1, 16, 8, 8), (576 + 16) + (200 + 16), (576 + 200) * 64),
    # 8>8 twice, 16>16; a unit of 8>4 and 5x5 over 4, 3x3 8>4 and 5x5 over 4, beside 8>8; and 3x3
    # 8>8 that is never called.
    Fixture(
        "VoVGSCSP",
        (16,),
        ONE,
        (1, 16, 16, 16),
        params=2 * (64 + 16)
        + (32 + 8)
        + (288 + 8)
        + 2 * (100 + 8)
        + (64 + 16)
        + (576 + 16)
        + (256 + 32),
        macs=(2 * 64 + 32 + 288 + 2 * 100 + 64 + 256) * CELLS,
    ),
]

UP = [
    # x and y of 4 groups and 4 new cells, with a bias; and without one how far they may move.
    Fixture("DySample", (), ONE, (1, 8, 32, 32), 256 + 32, 256 * CELLS),
    Fixture("DySample", (2, "lp", 4, True), ONE, (1, 8, 32, 32), 512 + 32, 512 * CELLS),
    # From 8 / 4 channels to x and y of 4 groups, at four times the cells.
    Fixture("DySample", (2, "pl"), ONE, (1, 8, 32, 32), 16 + 8, 16 * 4 * CELLS),
]

SAME = ((1, 8, 4, 4), (1, 8, 4, 4))
PYRAMID = ((1, 8, 8, 8), (1, 16, 4, 4), (1, 16, 2, 2))

JOINING = [
    Fixture("Add", (), SAME, (1, 8, 4, 4), 0, 0, listed=True),
    Fixture("Multiply", (), ((1, 8, 4, 4), (1, 1, 4, 4)), (1, 8, 4, 4), 0, 0, listed=True),
    Fixture("GetIndexOutput", (1,), PYRAMID, (1, 16, 4, 4), 0, 0, listed=True),
    Fixture("Zoom_cat", (), PYRAMID, (1, 40, 4, 4), 0, 0, listed=True),
    # 16>8 twice; 8>8 with a bias over three maps of the finest one's size.
    Fixture(
        "ScalSeq",
        (8,),
        PYRAMID,
        (1, 8, 8, 8),
        params=2 * (128 + 16) + (64 + 8 + 16),
        macs=128 * (16 + 4) + 64 * 3 * 64,
        listed=True,
    ),
    # The finest needs a convolution, too, where its width is another.
    Fixture(
        "ScalSeq",
        (4,),
        PYRAMID,
        (1, 4, 8, 8),
        params=(32 + 8) + 2 * (64 + 8) + (16 + 4 + 8),
        macs=32 * 64 + 64 * (16 + 4) + 16 * 3 * 64,
        listed=True,
    ),
]

FIXTURES = [*PRESNET, *CSP, *PSA, *AREAS, *DOWN, *CHEAP, *UP, *JOINING]
