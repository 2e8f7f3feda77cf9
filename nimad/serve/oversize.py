"""What does not fit in one frame: answers are cut, a record that must stay whole goes in pieces."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from nimad.limits import MAX_PAYLOAD
from nimad.serve.protocol import encode, size_of
from nimad.store.bounded import CUT, fair_share

SHORTEST = 200
"""Smallest size a value is cut to; below that, results are left out instead [bytes]."""
_MARK = len(',"cut":true')


def cut_to_fit(result: dict[str, Any], room: int = MAX_PAYLOAD) -> dict[str, Any]:
    """Shorten the long values of the memories in a result until it takes at most `room` bytes.

    Each gets a fair share, so that short memories stay whole; a memory that lost something says
    `"cut": true`.  Where even that is not enough, the last results are left out, and the result
    itself says `"cut": true`.  Changes `result` and returns it.
    """
    memories = list(_memories(result))
    values = [
        (memory, name, size_of(value))
        for memory in memories
        for name, value in memory.items()
        if name not in ("context", "parts", "cut") and isinstance(value, (str, dict, list))
    ]
    sizes = [size for *_, size in values]
    fixed = size_of(result) - sum(sizes) + _MARK * len(memories)
    share = max(fair_share(sizes, room - fixed), SHORTEST)
    for memory, name, size in values:
        if size > share:
            memory[name] = _shortened(memory[name], share)
            memory["cut"] = True
    excess = size_of(result) + _MARK - room
    while excess > 0 and result.get("results"):
        excess -= size_of(result["results"].pop()) + 1
        result["cut"] = True
    return result


def _memories(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "memory" in result:
        yield result["memory"]
    for found in result.get("results", ()):
        yield found
        yield from found.get("context", {}).get("memories", ())


def _shortened(value: Any, room: int) -> Any:
    """Text of at most `room` bytes of JSON; what is no text cannot be shortened, only left out."""
    if not isinstance(value, str):
        return [] if isinstance(value, list) else None
    keep = room - size_of(CUT)
    text = value[:keep]
    while (size := size_of(text)) > keep:
        text = text[: len(text) * keep // size]
    return text + CUT


def piece_of(record: dict[str, Any], offset: int) -> dict[str, Any]:
    """What of a record's JSON begins at character `offset` and fits in a frame.

    {"id", "offset", "length": characters of the whole JSON, "crc32": of the whole JSON in UTF-8,
    "json": the characters from `offset` on}.  Pieces belong together while their crc32 is the
    same.  Each builds the whole JSON anew: nothing is kept between two requests.
    """
    document = encode(record).decode()
    text = document[offset : offset + MAX_PAYLOAD]
    while (size := size_of(text)) > MAX_PAYLOAD:
        text = text[: len(text) * MAX_PAYLOAD // size]
    return {
        "id": record["id"],
        "offset": offset,
        "length": len(document),
        "crc32": zlib.crc32(document.encode()),
        "json": text,
    }
