"""Any value that a legacy file can hold, as JSON can hold it; the same value, the same JSON.

{"$text": base64}  a text that is not UTF-8
{"$blob": base64}  bytes
{"$real": "nan"}   a number that JSON has no word for
{"$kept": "..."}   numbers of a tensor or an array, which stay in the backup
{"$pairs": [...]}  a dict whose keys are not all texts, or one that looks like one of these
"""

from __future__ import annotations

import base64
import json
import math
from typing import Any

from nimad.legacy.values import BrokenText

MAX_DEPTH = 24
"""Values nested deeper than this are cut off: {"$kept": "nested too deeply"}."""


class _Absent:
    """Stands for a field that is not there."""


absent = _Absent()


def normal(value: Any, depth: int = 0) -> Any:
    """The value as str, int, finite float, bool, None, list, and dict with text keys.

    Doing it twice changes nothing but the wrappers' own dicts, which only this function makes.
    """
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$real": repr(value)}
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bytes):
        name = "$text" if isinstance(value, BrokenText) else "$blob"
        return {name: base64.b64encode(value).decode()}
    if isinstance(value, _Absent):
        return {"$absent": True}
    if depth >= MAX_DEPTH:
        return {"$kept": "nested too deeply"}
    if isinstance(value, dict):
        return _dict(value, depth + 1)
    if isinstance(value, (list, tuple)):
        return [normal(item, depth + 1) for item in value]
    if isinstance(value, (set, frozenset)):
        items = [normal(item, depth + 1) for item in value]
        return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))
    return {"$kept": type(value).__name__}


def _text(value: str) -> Any:
    """A text; half of a surrogate pair, which JSON can spell, is none."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raw = value.encode("utf-8", "surrogatepass")
        return {"$text": base64.b64encode(raw).decode()}
    return value


def _dict(value: dict[Any, Any], depth: int) -> Any:
    pairs = [(normal(key, depth), normal(item, depth)) for key, item in value.items()]
    plain = all(isinstance(key, str) for key, _ in pairs)
    if plain and not (len(pairs) == 1 and pairs[0][0].startswith("$")):
        return dict(pairs)
    ordered = sorted(pairs, key=lambda pair: json.dumps(pair[0], sort_keys=True))
    return {"$pairs": [list(pair) for pair in ordered]}
