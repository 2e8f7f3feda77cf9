"""What can be tuned in the index, and the small records its methods return."""

from __future__ import annotations

from nimad.dataclass import dataclass
from nimad.errors import NimadError
from nimad.index.kernels.contract import Bounds

_CROWD, _DENSE = 50_000, 100_000


@dataclass(frozen=True)
class BlockParams:
    """The form of the code and the effort of a search.

    `blocks` and `dims` shape segments when they are written; the rest may change at any time.

    Attributes:
        blocks: learned blocks of a segment, at most 1,024.
        dims: learned dimensions within a block, at most 500: with 100 blocks 50,000 posting lists.
        learn_rows: rows from which on a segment learns blocks; a smaller one is scanned flat,
            which misses nothing and takes a third longer at 40,000 (.11 ms in place of .08).
        relearn_drift, relearn_growth: a merge learns blocks anew when what was added to them has
            drifted further, or is a larger share of what they learned from (`nimad.index.drift`).
        probes: blocks that a query activates.
        scan_share, scan_least, scan_most: a query scans this share of a segment's rows, but not
            less than the one, and not more than the other together with the dimensions that it
            compares; the strongest dimensions of the active blocks come first.
        scan_sure, reach: once `scan_sure` rows are scanned (of `scan_least`; of more the same
            share), only dimensions are that lie up to `reach` behind the nearest, in steps of
            distance // 4, at 100,000 rows; the more rows there are, the nearer lie their nearest.
        candidates: rows that may be rescored per segment, at least; more are when more results are
            wanted, and in a large segment, where more rows lie near each other than codes can tell
            apart.
        margin: rows that lie further by their codes behind the last of those wanted are not.
        exact_rows, exact_filter: up to this size a segment, or the rows that a filter allows in
            one, are scored exactly, without codes.
    """

    blocks: int = 100
    dims: int = 500
    learn_rows: int = 35_000
    relearn_drift: float = 0.03
    relearn_growth: float = 0.25
    probes: int = 30
    scan_share: float = 0.17
    scan_least: int = 14_000
    scan_most: int = 22_500
    scan_sure: int = 4_000
    reach: int = 56
    candidates: int = 64
    margin: int = 52
    exact_rows: int = 512
    exact_filter: int = 2048

    def learns(self, rows: int) -> bool:
        """Whether a segment with this number of rows (with a direction) has blocks."""
        return rows >= max(self.learn_rows, 1)

    def rescored(self, k: int, rows: int) -> int:
        """How many of a segment's rows are rescored for k results.

        For ten: 144 up to 50,000 rows, 181 of 100,000, 390 of a million, as far as `margin` lets
        them; for a hundred four times as many.  To look closer is cheaper than to look further.
        """
        crowd = max(1.0, (rows / _CROWD) ** (1 / 3))
        return max(self.candidates, int((5 * k + 94) * crowd))

    def bounds(self, wanted: int, rows: int, k: int) -> Bounds:
        """Where a search of a segment without a filter ends sooner than at what is wanted."""
        reach = int(self.reach * (_DENSE / max(rows, 1)) ** 0.2)
        return Bounds(wanted * self.scan_sure // max(self.scan_least, 1), reach, k, self.margin)

    def scanned(self, rows: int, cells: int = 0) -> int:
        """How many of a segment's rows are scanned when it has learned blocks, `cells` in all.

        17,000 of 100,000, 15,000 of a million, where 7,500 dimensions of 30 blocks come first: so
        a question touches 2 MB at most.  `bounds` says where it ends sooner.
        """
        compared = cells * min(1.0, self.probes / self.blocks)
        most = max(self.scan_most - compared, 1)
        return int(min(max(rows * self.scan_share, self.scan_least), most))

    def admitted(self, rows: int, cells: int, allowed: int) -> int:
        """How many of a segment's allowed rows are scanned under a filter.

        The nearest ten of a tenth lie as far away as the nearest hundred of all, so a larger share
        of them is looked at, growing the rarer they are.
        """
        share = self.scanned(rows, cells) / max(rows, 1)
        return max(1, int(allowed * min(1.0, share * (rows / max(allowed, 1)) ** 0.4)))


@dataclass(frozen=True)
class SegmentInfo:
    """A written segment: `bytes` of the file, `digest` of its content, lowest and highest id.

    Without rows, `first_id` is 0 and `last_id` -1.  `learned` is the number of rows its blocks were
    learned from (0: it has none), `drift` how far those added since lie off (`nimad.index.drift`).
    """

    name: str
    rows: int
    bytes: int
    digest: str
    first_id: int
    last_id: int
    learned: int = 0
    drift: float = 0.0


@dataclass(frozen=True)
class Damage:
    """A segment that cannot be used, and why."""

    name: str
    error: NimadError
