"""What does not fit in one frame: answers are cut, a record that must stay whole goes in pieces."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Mapping
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
    memories = [result["memory"]] if "memory" in result else []
    for found in result.get("results", ()):
        memories += [found, *found.get("context", {}).get("memories", ())]
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
            value = memory[name]
            if isinstance(value, str):
                keep = share - size_of(CUT)
                text = value[:keep]
                while (taken := size_of(text)) > keep:
                    text = text[: len(text) * keep // taken]
                memory[name] = text + CUT
            else:  # what is no text cannot be shortened, only left out
                memory[name] = [] if isinstance(value, list) else None
            memory["cut"] = True
    excess = size_of(result) - room
    if excess > 0 and result.get("results"):
        result["cut"] = True
        excess += _MARK
    while excess > 0 and result.get("results"):
        excess -= size_of(result["results"].pop()) + 1
    return result


class Document:
    """The JSON of one memory, of which any part can be had without making the whole.

    `blobs` are the sizes of its blobs by name, and `read` gets (name, first byte, size) of one.
    The text is that of `wire.memory_json`, compact.
    """

    def __init__(
        self,
        record: dict[str, Any],
        blobs: Mapping[str, int] | None = None,
        read: Callable[[str, int, int], bytes] = lambda name, first, size: b"",
    ) -> None:
        self._id = record["id"]
        self._read = read
        head = encode(record).decode()
        self._parts: list[tuple[str, int]] = [(head, 0)]
        """Either text and 0, or the name of a blob and its size [bytes]."""
        if blobs:
            between = head[:-1] + ',"blobs":{'
            self._parts.clear()
            for name, size in blobs.items():
                self._parts.append((f'{between}{encode(name).decode()}:"', 0))
                if size:
                    self._parts.append((name, size))
                between = '",'
            self._parts.append(('"}}', 0))
        self._crc32 = zlib.crc32(head.encode())

    def piece(self, offset: int) -> dict[str, Any]:
        """The characters from `offset` on, as many as fit in a frame.

        {"id", "offset", "length": characters of the whole, "crc32", "json": the characters}.
        Pieces belong together while their crc32 is the same; it is that of the JSON without its
        blobs, which never change.
        """
        found: list[str] = []
        position = 0
        for text, size in self._parts:
            length = 4 * -(-size // 3) if size else len(text)
            first = max(offset - position, 0)
            stop = min(offset + MAX_PAYLOAD - position, length)
            if first < stop and size:
                data = self._read(text, first // 4 * 3, (-(-stop // 4) - first // 4) * 3)
                found.append(base64.b64encode(data).decode()[first % 4 :][: stop - first])
            elif first < stop:
                found.append(text[first:stop])
            position += length
        text = "".join(found)
        while (size := size_of(text)) > MAX_PAYLOAD:
            text = text[: len(text) * MAX_PAYLOAD // size]
        return {
            "id": self._id,
            "offset": offset,
            "length": position,
            "crc32": self._crc32,
            "json": text,
        }
