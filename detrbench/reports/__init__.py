"""The only truth on disk: a report, its metrics, what one row says of another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

VIEWS: dict[str, Callable[[Any], str]] = {}
"""How a report looks: as "text" when it is printed, as "html" in a notebook. Filled by the
package's `__init__`, since a report knows no format."""
