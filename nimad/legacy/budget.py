"""What reading one bundle may cost: one budget for all its files, and for all that walks them.

A pickle may name the same value many times: 72 bytes can stand for a tree of millions.  So values
are counted as a walk meets them, before anything walks them: an episode that is larger than any of
NIMA's becomes
`TOO_LARGE`, and a bundle that holds too much of them is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nimad.dataclass import dataclass
from nimad.errors import SourceTooLarge
from nimad.legacy.values import Kept

MAX_BYTES = 512 << 20
"""Memory that the values of one bundle may take, as estimated [bytes]."""
MAX_VALUES = 20_000_000
"""Values in the episodes of one bundle, as a walk meets them."""
MAX_EPISODE_VALUES = 100_000
"""Values in one episode, as a walk meets them."""
MAX_EPISODE_TEXT = 4 << 20
"""Length of all texts in one episode, as a walk meets them; four for each character where not all
are ASCII [bytes]."""
MAX_DEPTH = 64
"""Levels that are walked."""
EPISODE = 400
"""Memory that an episode takes besides its values: its key and its place [bytes]."""
NO_EPISODE = 4096
"""Memory charged for what stands where an episode should: many of it are no store [bytes]."""


TOO_LARGE = Kept("TooLarge")
"""Stands for an episode that is larger than any of NIMA's."""


@dataclass
class Budget:
    """What may still be read: `bytes` of memory (of `limit`), and `values` of episodes."""

    bytes: int = MAX_BYTES
    values: int = MAX_VALUES
    limit: int = 0

    def __post_init__(self) -> None:
        self.limit = self.limit or self.bytes

    def exceeded(self, path: Path | str) -> SourceTooLarge:
        """What is raised when it is spent."""
        limit = f"{self.limit >> 20} MiB" if self.values >= 0 else f"{MAX_VALUES} values"
        detail = f"what it holds would take more memory than a NIMA file ever does here ({limit})"
        return SourceTooLarge(path=path, detail=detail)

    def check_episodes(self, episodes: list[Any], path: Path | str) -> None:
        """Charge for a list of episodes; those that are too large become `TOO_LARGE`.

        Raises SourceTooLarge when the budget is spent.  Cost: one walk.
        """
        for row, episode in enumerate(episodes):
            counted = _count(episode)
            self.values -= counted
            self.bytes -= EPISODE if isinstance(episode, dict) else NO_EPISODE
            if counted > MAX_EPISODE_VALUES:
                episodes[row] = TOO_LARGE
            if self.bytes < 0 or self.values < 0:
                raise self.exceeded(path)


def _count(value: Any) -> int:
    """The values in one, level by level; more than MAX_EPISODE_VALUES where it is too large."""
    level: list[Any] = [value]
    counted = text = 0
    for _ in range(MAX_DEPTH):
        counted += len(level)
        below: list[Any] = []
        for item in level:
            if isinstance(item, (str, bytes)):
                text += len(item) * (1 if item.isascii() else 4)
            elif isinstance(item, dict):
                below += item
                below += item.values()
            elif isinstance(item, (list, tuple, set, frozenset)):
                below += item
            if counted + len(below) > MAX_EPISODE_VALUES or text > MAX_EPISODE_TEXT:
                return MAX_EPISODE_VALUES + 1
        if not below:
            break
        level = below
    return counted
