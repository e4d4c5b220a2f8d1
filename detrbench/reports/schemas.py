"""What a report's file may hold: the JSON Schemas that travel with the package."""

from __future__ import annotations

import json
from copy import deepcopy
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from detrbench.core.errors import shorten
from detrbench.core.units import is_finite

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

FILES = {1: "report-1.schema.json", 2: "report.schema.json"}
"""By the version that it describes; today's has no number in its name."""

_NAMES = {"object": "an object", "array": "a list", "string": "a text", "null": "null",
          "number": "a number", "integer": "a whole number", "boolean": "yes or no"}  # fmt: skip
_KINDS: dict[type, str] = {dict: "object", list: "array", str: "string"}


@cache
def schema(version: int) -> dict[str, Any]:
    """The schema of a version."""
    text = (resources.files("detrbench.reports") / FILES[version]).read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


@cache
def _reader(version: int) -> Validator:
    """Of what every reader relies on. What of a comparison cannot be read is left out, and no gate
    trusts it; a setting is compared, and shown as it is. A number is one that a float can hold, and
    a whole number is written as one: JSON Schema alone takes 10**400, and 2.0 for 2."""
    from jsonschema import Draft202012Validator, validators

    lenient = deepcopy(schema(version))
    lenient["properties"]["comparisons"]["items"] = {"type": "object"}
    lenient["$defs"]["row"]["properties"]["settings"] = {"type": "object"}
    types = Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "number": lambda _, value: is_finite(value),
            "integer": lambda _, value: is_finite(value) and isinstance(value, int),
        }
    )
    extend: Any = validators.extend  # which jsonschema leaves untyped
    reader: Validator = extend(Draft202012Validator, type_checker=types)(lenient)
    return reader


def first_problem(plain: Any, version: int) -> str | None:
    """Where a report of a version first differs from its schema, in words; None if nowhere."""
    from jsonschema.exceptions import best_match

    error = best_match(_reader(version).iter_errors(plain))
    return None if error is None else _in_words(error)


def _in_words(error: ValidationError) -> str:
    place = error.json_path.removeprefix("$").removeprefix(".") or "the report"
    found: Any = error.instance
    wanted: Any = error.validator_value
    if error.validator == "required":
        lacking = next(key for key in wanted if key not in found)
        return f"{place}.{lacking} is missing".removeprefix("the report.")
    if error.validator == "type":
        kinds = [wanted] if isinstance(wanted, str) else wanted
        here = _NAMES[_KINDS[type(found)]] if type(found) in _KINDS else shorten(json.dumps(found))
        return f"{place} is {here}, not {' or '.join(_NAMES[kind] for kind in kinds)}"
    return f"{place}: {shorten(error.message, 200)}"
