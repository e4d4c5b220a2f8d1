"""Tie our counts to torch's own counters on detectors of Hugging Face's transformers.

    .venv-models/bin/python benchmarks/peers/huggingface_counts.py (see README.md beside this file)

Each of the nine families, as its configuration is when nothing is said, is saved as a folder that
holds a config.json and nothing else. What `detrbench profile FOLDER` counts of it, on shapes alone,
is compared with FlopCounterMode and MemTracker on real tensors of the same model with random
weights. Nothing is downloaded. The exit status is 1 where a row differs.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
import transformers
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from against_torch import HEADER, Row, compare_all, line

from detrbench.models.model import Model
from detrbench.models.sources import build_model
from detrbench.models.sources.huggingface import FAMILIES

SIZES = {"rf_detr": 560, "yolos": 512}
"""Those that other sides do not fit or suit; of the others, 320 pixels."""


def rows(folder: Path) -> Iterator[Row]:
    """Each family's class, from a folder with its configuration."""
    for kind, name in FAMILIES.items():
        config = getattr(transformers, name).config_class()
        home = folder / kind
        home.mkdir()
        (home / "config.json").write_text(config.to_json_string(use_diff=False))
        yield name, kind, SIZES.get(kind, 320), functools.partial(_built, kind, str(home))


def _built(kind: str, folder: str) -> tuple[nn.Module, nn.Module]:
    model = Model(kind, folder)
    return build_model(model, "meta").module, build_model(model).module


def main() -> int:
    """Print every row; 1 where one differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, metavar="FILE", help="JSON lines to go on from")
    arguments = parser.parse_args()
    print(f"transformers {transformers.__version__}, torch {torch.__version__}\n{HEADER}")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for row in compare_all(rows(Path(folder)), arguments.keep):
            found.append(row)
            print(line(row), flush=True)
    held = [row for row in found if not row.faults]
    print(f"{len(held)} of {len(found)} hold")
    return 0 if held == found else 1


if __name__ == "__main__":
    raise SystemExit(main())
