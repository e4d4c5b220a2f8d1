"""Mutants of our model files: each is built, or refused with a UsageError, and nothing else.

DETRBENCH_FUZZ=N tries N mutants with other seeds, for as long as that takes.
"""

from __future__ import annotations

import os
import random
import re
import warnings
from pathlib import Path

import pytest

from detrbench.core.errors import UsageError
from detrbench.models.builder import build
from detrbench.models.catalog import find_model
from detrbench.models.nn import BLOCKS

MUTANTS = int(os.environ.get("DETRBENCH_FUZZ", "300"))
FIRST_SEED = 0 if MUTANTS == 300 else 10_000
OTHERS = ("yolo11n", "yolov10n", "shufflev2-x0.5", "mobilenetv2-x0.6", "rtdetr-r18", "rtdetr-l")
FILES = ("yolov8n", *(OTHERS if MUTANTS > 300 else ()))  # the one that is built soonest
CHUNK = 50  # mutants of one test

NUMBERS = ("0", "-1", "1", "2", "3", "7", "1000", "1000001", "-2147483648", "99999999999", "0.5")
WORDS = (
    "None",
    "nc",
    "true",
    "nearest",
    "[]",
    "[1, 2]",
    "{a: 1}",
    "''",
    "nan",
    ".inf",
    "&a 1",
    "*a",
)
MODULES = (
    "nn.Conv2d",
    "nn.Identity",
    "nn.LSTM",
    "nn.Transformer",
    "nn.Flatten",
    "nn.Softmax",
    "Nope",
)


def mutant(rng: random.Random) -> str:
    """A model file with one to three things changed."""
    text = find_model(rng.choice(FILES)).read_text(encoding="utf-8")
    for _ in range(rng.randint(1, 3)):
        text = rng.choice((_number, _word, _module, _line, _character))(text, rng)
    return text


def _number(text: str, rng: random.Random) -> str:
    return _in_place_of(r"(?<=[\[ ,])-?\d+(?=[\],])", NUMBERS, text, rng)


def _word(text: str, rng: random.Random) -> str:
    return _in_place_of(r"(?<=[\[ ,])[\w.]+(?=[\],])", WORDS, text, rng)


def _module(text: str, rng: random.Random) -> str:
    return _in_place_of(r"(?<=, )[A-Z]\w+(?=, \[)", (*BLOCKS, *MODULES), text, rng)


def _in_place_of(pattern: str, others: tuple[str, ...], text: str, rng: random.Random) -> str:
    found = list(re.finditer(pattern, text))
    if not found:
        return text
    one = rng.choice(found)
    return text[: one.start()] + rng.choice(others) + text[one.end() :]


def _line(text: str, rng: random.Random) -> str:
    """One line is lost, doubled, or put elsewhere."""
    lines = text.splitlines(keepends=True)
    at, to = rng.randrange(len(lines)), rng.randrange(len(lines))
    line = lines[at]
    if rng.random() < 0.5:
        del lines[at]
    if rng.random() < 0.7:
        lines.insert(to, line)
    return "".join(lines)


def _character(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text))
    return text[:at] + rng.choice("[]{}:,-#'\"&*!|>%@\t\n\0 0é") + text[at + rng.randint(0, 1) :]


@pytest.mark.parametrize("chunk", range(-(-MUTANTS // CHUNK)))
def test_a_mutant_is_built_or_refused(chunk: int, tmp_path: Path) -> None:
    first = FIRST_SEED + chunk * CHUNK
    ends = [_end(seed, tmp_path / "mutant.yaml") for seed in range(first, first + CHUNK)]
    assert {"built", "refused"} == set(ends), "it tries nothing if all are of one kind"


def _end(seed: int, file: Path) -> str:
    text = mutant(random.Random(seed))
    file.write_text(text, encoding="utf-8")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            build(file, device="meta")
    except UsageError as error:
        return "refused" if error.hint else f"seed {seed}: no hint in {error}"
    except Exception as error:
        return f"seed {seed}: {type(error).__name__}: {error}"
    return "built"
