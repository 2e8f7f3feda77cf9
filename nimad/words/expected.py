"""Words of long texts that are being stored: cut before, by who stores them.

Whoever follows the records first, a question as a rule, takes them as they are: others would wait
while it cuts 200,000 characters.  An entry is there from within the transaction on until the one
who stores has followed the records, or was refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from nimad.words.segment import Segment

LARGE = 1 << 14
"""Length of the texts that are cut before they are stored, if they are no bulk [characters]."""


class Expected:
    """For many threads."""

    def __init__(self) -> None:
        self._by_first: dict[int, tuple[Sequence[str], Segment]] = {}

    def add(self, ids: Sequence[int], texts: Sequence[str], segment: Segment) -> None:
        """Texts get these ids; ones that are not in a row are not expected."""
        if len(ids) == ids[-1] - ids[0] + 1 == segment.documents:
            self._by_first[ids[0]] = texts, segment.moved(ids[0])

    def forget(self, ids: Sequence[int]) -> None:
        """They are known, or were not stored."""
        for first in ids[:1]:
            self._by_first.pop(first, None)

    def find(
        self, ids: Sequence[int], texts: Sequence[str], seen: int
    ) -> tuple[int, int, Segment] | None:
        """The first of these memories, above an id, whose words are here: from where, to where, and
        the words.  Texts are compared: an id is given again where a transaction was undone."""
        for start, number in enumerate(ids if self._by_first else ()):
            if number > seen and (known := self._by_first.get(number)):
                end = start + len(known[0])
                last = ids[min(end, len(ids)) - 1]
                if last == known[1].last and [*texts[start:end]] == [*known[0]]:
                    return start, end, known[1]
        return None
