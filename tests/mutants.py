"""JSON files with one to three things changed, drawn from a seed: what editors, merges, cut disks
and attackers leave of a report or of a run's folder."""

from __future__ import annotations

import copy
import json
import os
import random
from typing import Any

LONGER = "DETRBENCH_FUZZ" in os.environ
"""Whether somebody asked for so many mutants of every kind, with seeds of their own."""

OTHERS: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 0.5, 1e-300, 1e308, 10**40, "", " ", "x", "1", "nan", "ok",
    "::error::x", "\x1b[31m", "a\nb", "\u202e", "../../x", [], {}, [None], [[]], {"a": 1}, [1, 2],
)  # fmt: skip
FACTORS = (-1, 0, 0.5, 0.9, 0.999, 1.001, 1.1, 2, 1000)
CHARACTERS = '[]{}:,-0.eE"\\\n\t\0 é'
WORDS = ("NaN", "Infinity", "-Infinity", "1e999", "null", "true", "{}", "[", '"a": 1,', "/*")


def mutant(texts: dict[str, str], rng: random.Random) -> tuple[str, str]:
    """One of `texts` by its name, changed.

    Args:
        texts: name -> JSON; what is grafted into one comes from any of them.
    """
    name = rng.choice(sorted(texts))
    plain = json.loads(texts[name])
    donor = json.loads(texts[rng.choice(sorted(texts))])
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _change(plain, donor, rng)
    text = json.dumps(plain)
    return name, _torn(text, rng) if rng.random() < 0.1 else text


def _change(plain: Any, donor: Any, rng: random.Random) -> None:
    """One place of `plain` is replaced, scaled, lost, doubled, exchanged, or grafted."""
    place = _place(plain, rng)
    if place is None:
        return
    parent, key = place
    change = rng.choice((_replace, _scale, _scale, _lose, _double, _exchange, _graft))
    change(parent, key, donor, rng)


def _place(plain: Any, rng: random.Random) -> tuple[Any, Any] | None:
    """Somewhere in it, each step down as likely as the others: few of its leaves are samples."""
    parent, key, found = plain, None, None
    while isinstance(parent, dict | list) and parent:
        key = rng.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
        found, parent = (parent, key), parent[key]
        if rng.random() < 0.15:
            break
    return found


def _replace(parent: Any, key: Any, donor: Any, rng: random.Random) -> None:
    parent[key] = copy.deepcopy(rng.choice(OTHERS))


def _scale(parent: Any, key: Any, donor: Any, rng: random.Random) -> None:
    """A number is another one, and all of a list of numbers are."""
    factor = rng.choice(FACTORS)
    parent[key] = _scaled(parent[key], factor) if rng.random() < 0.8 else _moved(parent[key], rng)


def _scaled(value: Any, factor: float) -> Any:
    if isinstance(value, list):
        return [_scaled(each, factor) for each in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    scaled = value * factor
    return int(scaled) if isinstance(value, int) else scaled


def _moved(value: Any, rng: random.Random) -> Any:
    """A number by one, a text by a character."""
    if isinstance(value, str) and value:
        at = rng.randrange(len(value))
        return value[:at] + rng.choice("xX9 é") + value[at + 1 :]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value + rng.choice((-1, 1)) if is_number else value


def _lose(parent: Any, key: Any, donor: Any, rng: random.Random) -> None:
    del parent[key]


def _double(parent: Any, key: Any, donor: Any, rng: random.Random) -> None:
    if isinstance(parent, list):
        parent.insert(rng.randrange(len(parent) + 1), copy.deepcopy(parent[key]))
    else:
        parent[f"{key}x"] = copy.deepcopy(parent[key])


def _exchange(parent: Any, key: Any, donor: Any, rng: random.Random) -> None:
    other = rng.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
    parent[key], parent[other] = parent[other], parent[key]


def _graft(parent: Any, key: Any, donor: Any, rng: random.Random) -> None:
    """What stands somewhere in another file, preferably beneath the same name."""
    same = _beneath(donor, key) if isinstance(key, str) else []
    place = _place(donor, rng)
    other = rng.choice(same) if same else (place[0][place[1]] if place else None)
    parent[key] = copy.deepcopy(other)


def _beneath(plain: Any, key: str) -> list[Any]:
    if isinstance(plain, dict):
        own = [plain[key]] if key in plain else []
        return own + [found for each in plain.values() for found in _beneath(each, key)]
    if isinstance(plain, list):
        return [found for each in plain[:20] for found in _beneath(each, key)]
    return []


def _torn(text: str, rng: random.Random) -> str:
    """The text itself is cut, or something stands in it that is not JSON."""
    at = rng.randrange(len(text))
    kind = rng.randrange(4)
    if kind == 0:
        return text[:at]
    if kind == 1:
        return text[:at] + rng.choice(CHARACTERS) + text[at + 1 :]
    if kind == 2:
        return text[:at] + rng.choice(WORDS) + text[at:]
    return text[:at] + text[min(len(text), at + rng.randrange(200)) :]
