"""The lexicon: words of other languages, each as the English tokens that mean about the same.

The file is a container (`nimad.disk.container`: magic, checksums, refusals) of the format
"lexicon", made by packaging/distill_lexicon.py for one table of tokens.  Everything is
little-endian.  Version 1 has these regions, for S slots and the T tokens of the table:

    name        type        meaning
    ----------  ----------  ----------------------------------------------------------------------
    tokens      UTF-8       digest of the table whose tokens are meant
    checks      u32[S]      upper half of the hash of a slot's word; 0: the slot is empty
    entries     u16[S, 4]   numbers of tokens of the table (the first one is 0), the nearest first
    votes       i8[T]       whether the token, as a word, speaks for English (1), for another
                            language (-1) or for neither (0)

A word is in the lexicon when its hash is: BLAKE2b of 8 bytes of its common form.  The lower half
gives the first slot, `low * S >> 32`; from there on the slots are tried in a row, up to an empty
one.  The words themselves are not kept: another word has the hash of one by chance once in 2**32.

That a word of one language can be told by its nearest neighbours among the words of another is
bilingual lexicon induction; the measure of nearness is CSLS (A. Conneau et al., Word Translation
Without Parallel Data, 2018).
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass
from nimad.disk.container import Summary, write_container
from nimad.embed.table import opened, verify
from nimad.errors import TableDamaged

FORMAT = "lexicon"
VERSION = 1
SHARES = (8, 4, 2, 2)
"""What each token of an entry counts; a token may stand in several places."""
WHOLE = sum(SHARES)
"""What a token of the text itself counts, in the same unit."""
LONGEST = 24
"""Longest word in the lexicon [characters]."""


@dataclass(frozen=True)
class Lexicon:
    """Which words there are and what they mean; with `read_lexicon`, mapped from the file.

    Attributes:
        table: digest of the table of tokens that it was made for.
        checks: uint32[S]; 0 for an empty slot, of which there is at least one.
        entries: uint16[S, 4]
        votes: int8[T]
        digest: of the content; "" before it is written.
        unmap: gives the mapped slots back to the system; the next use reads them again.
        verify: compares what `read_lexicon` has left for later; raises TableDamaged.
    """

    table: str
    checks: NDArray[np.uint32]
    entries: NDArray[np.uint16]
    votes: NDArray[np.int8]
    digest: str = ""
    unmap: Callable[[], None] = lambda: None
    verify: Callable[[], None] = lambda: None

    def find(self, word: str) -> int | None:
        """The slot of a word in its common form; None when it is not in the lexicon."""
        if len(word) > LONGEST:
            return None
        checks = self._checks
        slots = len(checks)
        slot, check = place(word, slots)
        while found := checks[slot]:  # some 20 are tried for a word that is not there
            if found == check:
                return slot
            slot += 1
            if slot == slots:
                slot = 0
        return None

    @cached_property
    def _checks(self) -> memoryview:
        """The same as `checks`: single numbers are read from it ten times faster."""
        return memoryview(self.checks)  # type: ignore[arg-type]


def place(word: str, slots: int) -> tuple[int, int]:
    """The first slot of a word among so many, and its check."""
    digest = blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    number = int.from_bytes(digest, "little")
    return (number & 0xFFFFFFFF) * slots >> 32, number >> 32 or 1


def write_lexicon(path: Path, lexicon: Lexicon) -> Summary:
    """Write a lexicon durably; the same lexicon gives the same bytes."""
    regions = [
        ("tokens", [lexicon.table.encode()]),
        ("checks", [lexicon.checks.astype("<u4").tobytes()]),
        ("entries", [lexicon.entries.astype("<u2").tobytes()]),
        ("votes", [lexicon.votes.astype("<i1").tobytes()]),
    ]
    return write_container(path, FORMAT, VERSION, regions)


def read_lexicon(path: Path, table: str, later: Sequence[str] = ()) -> Lexicon:
    """Map a lexicon after comparing every checksum but those of the regions `later`.  Raises
    TableDamaged when the file is missing, is not what was written, is of another version, or was
    made for another table of tokens."""
    with opened(path, FORMAT, VERSION, later) as container:
        made_for = str(container.region("tokens"), "utf-8")
        if made_for != table:
            detail = f"it was made for the tokens {made_for}, there are the tokens {table}"
            raise TableDamaged(path=path, detail=detail)

        def unmap() -> None:
            for name in ("checks", "entries"):
                container.advise(name, mmap.MADV_DONTNEED)

        return Lexicon(
            table=made_for,
            checks=np.frombuffer(container.region("checks"), "<u4"),
            entries=np.frombuffer(container.region("entries"), "<u2").reshape(-1, len(SHARES)),
            votes=np.frombuffer(container.region("votes"), "<i1"),
            digest=container.digest,
            unmap=unmap,
            verify=lambda: verify(container, VERSION, later),
        )
