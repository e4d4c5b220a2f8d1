"""Graphs in int8, for their speed alone: ranges are those of seeded images under whatever weights
the model has, and nothing is said of accuracy."""

from __future__ import annotations

import contextlib
import io
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from detrbench.core.errors import DetrbenchError, first_line
from detrbench.runtimes.artefacts import artefact, key_of, versions
from detrbench.runtimes.images import natural_images

Batches = Iterator[Any]
"""Arrays of images (B, 3, H, W) in float32."""

KIND = "int8"
CALIBRATION_BATCHES = 8

Quantise = Callable[[str, Batches, Path], None]
"""Writes the graph in a file, quantised by what batches of images give, to another file."""


def quantised(
    graph: Path, images: Tensor, quantise: Quantise, name: str, by: tuple[str, ...]
) -> tuple[Path, dict[str, Any]]:
    """The file `name` with `graph` in int8, from the cache where it is; and its `quantise_s` and
    `file_bytes`.

    Args:
        graph: of the cache, so that its folder's name stands for its content.
        images: of the shape that it takes (B, 3, H, W).
        by: the distributions that quantise.

    Raises:
        DetrbenchError: it cannot be quantised.
    """

    def make(folder: Path) -> Mapping[str, Any]:
        began = time.perf_counter()
        try:
            with _silent():
                quantise(str(graph), batches(images), folder / name)
        except DetrbenchError:
            raise
        except Exception as error:  # whatever a quantiser raises
            raise DetrbenchError(
                f"it cannot be quantised: {first_line(error) or type(error).__name__}",
                hint="Leave --dtype int8 out.",
            ) from error
        size = sum(file.stat().st_size for file in folder.iterdir())
        return {"quantise_s": time.perf_counter() - began, "file_bytes": size}

    content = {"graph": graph.parent.name, "batches": CALIBRATION_BATCHES, "by": versions(by)}
    folder, facts = artefact(KIND, key_of(content), make)
    return folder / name, facts


def batches(images: Tensor) -> Batches:
    """Seeded images like `images`, none of which is timed."""
    count, channels, height, width = images.shape
    if channels != 3:
        raise DetrbenchError(f"calibration images have 3 channels, and it takes {channels}")
    for seed in range(1, CALIBRATION_BATCHES + 1):
        yield natural_images(count, height, width, seed=seed).numpy()


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Inside, nothing is said: progress is ours to show, and what fails is raised."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)
