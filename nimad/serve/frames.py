"""A stream of bytes to frames: one line each, with the descriptor that rode on it.

A frame is at most `MAX_FRAME` bytes without its newline and may have one descriptor (SCM_RIGHTS).
Pure: no socket is touched and no descriptor closed here; the connection does that.
"""

from __future__ import annotations

from collections import deque
from dataclasses import field

from nimad.dataclass import dataclass
from nimad.errors import FrameTooLarge
from nimad.limits import MAX_FRAME


@dataclass
class Frame:
    """One line without its newline, its descriptor, and how many more came with it (refused)."""

    data: bytes
    fds: list[int] = field(default_factory=list)
    refused: int = 0


class FrameDecoder:
    """Cuts a stream of bytes into frames: `feed` what was received, then `take` until None.

    A descriptor belongs to the frame of the last byte it was received with: the kernel ends a read
    behind the message that carries one (unix(7)).  Each frame may have one.  Cost: every byte is
    searched once; at most one frame and one read are held.
    """

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._searched = 0
        self._start = 0  # stream offset of the buffer's first byte
        self._riders: deque[tuple[int, list[int], list[int]]] = deque()  # (offset, fds, [refused])
        self._open_has_rider = False

    def feed(self, data: bytes, fds: list[int] | None = None, truncated: bool = False) -> list[int]:
        """Add received bytes and descriptors; returns the descriptors to close at once.
        `truncated` says that the kernel had more descriptors than it could deliver."""
        if not data:
            return fds or []
        self._buffer += data
        fresh = data.rfind(b"\n", 0, len(data) - 1) >= 0
        taken = self._open_has_rider and not fresh
        surplus: list[int] = []
        if fds or truncated:
            keep = [] if taken else (fds or [])[:1]
            surplus = (fds or [])[len(keep) :]
            refused = len(surplus) + truncated
            if taken and self._riders:
                self._riders[-1][2][0] += refused
            else:
                last = self._start + len(self._buffer) - 1
                self._riders.append((last, keep, [refused]))
        carries = taken or bool(fds) or truncated
        self._open_has_rider = carries and not data.endswith(b"\n")
        return surplus

    def take(self) -> Frame | None:
        """The next whole frame, or None; FrameTooLarge when a line outgrows the limit."""
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._buffer)
        if (end if end >= 0 else len(self._buffer)) > self._limit:
            raise FrameTooLarge(limit=self._limit)
        if end < 0:
            return None
        frame = Frame(bytes(self._buffer[:end]))
        del self._buffer[: end + 1]
        self._start += end + 1
        self._searched = 0
        if self._riders and self._riders[0][0] < self._start:
            _, frame.fds, (frame.refused,) = self._riders.popleft()
        return frame

    @property
    def partial(self) -> int:
        """Bytes of a frame whose newline has not come yet."""
        return len(self._buffer)

    def abandon(self) -> list[int]:
        """Forget everything; returns the descriptors that were still waiting for their frame."""
        waiting = [fd for _, fds, _ in self._riders for fd in fds]
        self._riders.clear()
        self._buffer.clear()
        self._searched = 0
        return waiting
