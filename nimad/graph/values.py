"""The engine's values as JSON has them."""

from __future__ import annotations

import datetime
import math
from typing import Any

INTERNAL = ("_id", "_src", "_dst")
"""Keys of a node or relation that are the engine's own: places in its file."""


def as_json(value: Any) -> Any:
    """A value as JSON: nodes and relations as objects with their `label`, times as ISO 8601, bytes
    in hex, numbers that JSON does not have (NaN) as null."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        shown = {"_label": "label", "_nodes": "nodes", "_rels": "relations"}
        return {
            shown.get(str(key).lower(), str(key)): as_json(item)
            for key, item in value.items()
            if str(key).lower() not in INTERNAL or not isinstance(item, dict)
        }
    if isinstance(value, (list, tuple, set)):
        return [as_json(item) for item in value]
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    return str(value)
