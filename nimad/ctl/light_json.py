"""JSON by the part of Python's that is written in C, without the rest of it.

`import json` takes longer than the interpreter needs to start: it loads `re`.  What `_json` offers
is no promise of Python's, so where it is another than expected `json` does the same.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Settings:
    """What the scanner asks of a decoder."""

    strict, parse_float, parse_int, memo = True, float, int, dict[str, str]()
    object_hook = object_pairs_hook = None

    @staticmethod
    def parse_constant(name: str) -> float:
        return float(name)  # NaN, Infinity, -Infinity


def loads(text: str) -> Any:
    """The value of a JSON text.  Raises ValueError."""
    try:
        import _json

        scanner: Any = _json.make_scanner
        value, end = scanner(_Settings)(text, 0)
        if not text[end:].strip():
            return value
    except (ImportError, AttributeError, TypeError, StopIteration):
        pass
    import json

    return json.loads(text)


def dumps(value: Any) -> str:
    """A JSON text in one line, without spaces, every character but controls as it is."""
    try:
        import _json

        make: Any = _json.make_encoder
        encoder = make({}, None, _json.encode_basestring, None, ":", ",", False, False, True)
        return "".join(encoder(value, 0))
    except (ImportError, AttributeError, TypeError):
        import json

        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
