"""What can be tuned in the index, and the small records its methods return."""

from __future__ import annotations

from dataclasses import dataclass

from nimad.errors import NimadError


@dataclass(frozen=True)
class BlockParams:
    """The form of the code and the effort of a search.

    `blocks` and `dims` shape segments when they are written; the rest may change at any time.

    Attributes:
        blocks: learned blocks of a segment, at most 1,024.
        dims: learned dimensions within a block, at most 500: with 100 blocks 50,000 posting lists.
        learn_rows: from so many rows on, a segment learns blocks; a smaller one is scanned flat,
            which is as fast up to about 50,000 rows and misses nothing.
        probes: blocks that a query activates.
        scan_share, scan_least, scan_most: a query scans this share of a segment's rows, but between
            these bounds; the strongest dimensions of the active blocks come first.
        candidates: rows rescored per segment, at least; more are when more results are wanted.
        exact_rows: so few rows (of a filter, or a segment) are scored exactly, without codes.
    """

    blocks: int = 100
    dims: int = 500
    learn_rows: int = 50_000
    probes: int = 30
    scan_share: float = 0.1
    scan_least: int = 10_000
    scan_most: int = 40_000
    candidates: int = 64
    exact_rows: int = 512
    exact_filter: int = 4096

    def rescored(self, k: int) -> int:
        """How many rows of a segment are rescored for k results: 72 for 10, 432 for 100."""
        return max(self.candidates, 4 * k + 32)

    def scanned(self, rows: int) -> int:
        """How many of a segment's rows are scanned when it has learned blocks."""
        return int(min(max(rows * self.scan_share, self.scan_least), self.scan_most))


@dataclass(frozen=True)
class SegmentInfo:
    """A written segment: `bytes` of the file, `digest` of its content, lowest and highest id.

    Without rows, `first_id` is 0 and `last_id` -1.
    """

    name: str
    rows: int
    bytes: int
    digest: str
    first_id: int
    last_id: int


@dataclass(frozen=True)
class Damage:
    """A segment that cannot be used, and why."""

    name: str
    error: NimadError
