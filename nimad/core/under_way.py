"""How far work is that a request waits for: told by ping, so that a client can draw it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class UnderWay:
    """Verbs that take long, and how much of each is done; safe to use from many threads.  Of two
    at a time of one verb the later one is told."""

    def __init__(self) -> None:
        self._fractions: dict[str, Callable[[], float]] = {}

    @contextmanager
    def tell(self, verb: str, fraction: Callable[[], float]) -> Iterator[None]:
        """While the block runs, `fraction` tells how much is done: from 0 to 1."""
        self._fractions[verb] = fraction
        try:
            yield
        finally:
            if self._fractions.get(verb) is fraction:
                del self._fractions[verb]

    def fractions(self) -> dict[str, float]:
        """Verb → from 0 to 1."""
        if not self._fractions:
            return {}
        return {
            verb: round(min(max(fraction(), 0.0), 1.0), 3)
            for verb, fraction in dict(self._fractions).items()
        }
