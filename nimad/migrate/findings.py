"""What a comparison with the snapshot found: counts, and the differences without their text."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from nimad.legacy.values import Value

LISTED = 100
"""So many differences are told one by one; all are counted."""


@dataclass
class Tally:
    """What was found of one kind of row."""

    expected: int = 0
    found: int = 0
    identical: int = 0
    differing: int = 0
    missing: int = 0
    added: int = 0

    @property
    def wrong(self) -> int:
        """Rows that are not as they must be."""
        return self.differing + self.missing + self.added


@dataclass
class Findings:
    """The result of a comparison; `digest` is SHA-256 over the rows of the identical memories."""

    memories: Tally = field(default_factory=Tally)
    relations: Tally = field(default_factory=Tally)
    turns: Tally = field(default_factory=Tally)
    vectors_missing: int = 0
    vectors_waiting: int = 0
    hypervectors: Tally = field(default_factory=Tally)
    differences: list[dict[str, Any]] = field(default_factory=list)
    digest: str = ""
    took_ms: float = 0.0

    @property
    def wrong(self) -> int:
        """Rows that are not as they must be, in all."""
        rows = self.memories.wrong + self.relations.wrong + self.turns.wrong
        return rows + self.vectors_missing + self.hypervectors.wrong

    def differ(self, kind: str, key: int | str, name: str, detail: str) -> None:
        """Note a difference; no text of a memory stands in it."""
        if len(self.differences) < LISTED:
            told = {"kind": kind, "id": key, "field": name, "detail": detail}
            self.differences.append(told)

    def summary(self) -> dict[str, Any]:
        """As the protocol shows it, and as the ledger keeps it."""
        return {
            "ok": not self.wrong,
            "memories": asdict(self.memories),
            "relations": asdict(self.relations),
            "turns": asdict(self.turns),
            "vectors_missing": self.vectors_missing,
            "vectors_waiting": self.vectors_waiting,
            "hypervectors": asdict(self.hypervectors),
            "digest": self.digest,
            "differences": self.differences,
            "took_ms": round(self.took_ms, 3),
        }


def shape(value: Value) -> str:
    """What a value is, without saying it."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f"{len(value)} characters"
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return repr(value)
