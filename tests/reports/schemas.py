"""The JSON Schemas that travel with the package."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

import jsonschema

FILES = {1: "report-1.schema.json", 2: "report.schema.json"}
"""By the version that it describes; today's has no number in its name."""


@cache
def schema(version: int) -> dict[str, Any]:
    text = (resources.files("detrbench.reports") / FILES[version]).read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


@cache
def validator(version: int) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema(version))


def is_valid(plain: Any, version: int) -> bool:
    return validator(version).is_valid(plain)
