"""What both sides of the socket keep to: the bounds of requests, and which verbs take long."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_FRAME = 1 << 20
"""Length of the longest frame, newline not counted [bytes]."""
ENVELOPE = 4096
"""Room that a frame leaves for what stands around a result or the memories of an import [bytes]."""
MAX_PAYLOAD = MAX_FRAME - ENVELOPE
"""Length of the largest result, and of the largest memory of an import, as JSON [bytes]."""
MAX_RECORD = 12 << 20
"""Length of the largest memory of an import that comes as a file, as JSON, of whose blobs a quarter
counts.  While it is stored it takes four times as much, its blobs twice, and no client may make
the daemon take 100 MB [bytes]."""
MAX_RECORD_FILE = 3 * MAX_RECORD
"""Length of the longest JSON of such a memory [bytes]."""
MAX_RECORD_NODES = 500_000
"""Number of values in such a memory [values]."""
MAX_NODES = 20_000
"""Number of values in a request, those within others counted [values]."""
MAX_IMPORT = 500
"""Number of memories in one import [memories]."""
BATCH_BYTES = 200_000
"""Size of what nimactl sends in one of the requests of an import, as JSON, unless one memory alone
is larger [bytes]."""
MAX_TURNS = 200
"""Number of turns in one capture [turns]."""
MAX_DOCUMENTS = 500
"""Number of documents in one `documents.put` [documents]."""
MAX_KEYS = 100
"""Number of keys in one `documents.find` [keys]."""
MAX_RESULTS = 1000
"""Number of results of one query [memories]."""
MAX_DEPTH = 5
"""Number of relations that `related` follows one after the other [relations]."""
MAX_ROWS = 10_000
"""Number of rows of one answer of the graph [rows]."""
AUDIT_KINDS = (
    "duplicate",
    "near_duplicate",
    "junk",
    "contradiction",
    "undated",
    "large",
    "never_found",
)
"""Kinds of findings of an audit, in the order in which they are told."""
MAX_FINDINGS = 1000
"""Number of findings of a kind in one audit [findings]."""
MAX_IDS = 10_000
"""Number of memories that one `forget` or `redate` names [ids]."""
MAX_BUDGET = 10_000_000
"""Budget of a query for a prompt [tokens]."""
MAX_BATCH = 100_000
"""Size of a migration's batch [rows]."""

LENGTHY = frozenset(
    {
        "audit",
        "backup",
        "doctor",
        "dream",
        "export.all",
        "fleet.apply",
        "fleet.changes",
        "graph",
        "import.all",
        "phi",
        "rebuild",
        "migrate.attach",
        "migrate.append",
        "migrate.pause",
        "migrate.resume",
        "migrate.now",
        "migrate.verify",
        "migrate.rollback",
        "migrate.forget_backup",
        "migrate.retry_quarantined",
        "migrate.restore",
    }
)
"""Verbs that take seconds, or wait for one that does: they have threads of their own, and clients
wait for them."""
UNHURRIED = LENGTHY | {"capture", "import", "import.put", "forget"}
"""Verbs that a client sets no time limit: lengthy ones, and those whose list sets the time."""


def is_lengthy(verb: str, params: dict[str, Any]) -> bool:
    """Whether a request takes seconds and more; a purge does, and a memory that comes as a file."""
    return (
        verb in LENGTHY
        or (verb == "forget" and bool(params.get("purge") or params.get("where")))
        or (verb == "query" and bool(params.get("fleet")))
        or (verb == "import" and "size" in params)
    )


def refuse_constant(name: str) -> Any:
    """The `parse_constant` of `json`: NaN and Infinity are Python's.  Raises ValueError."""
    raise ValueError(f"{name} is not JSON")


def refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The `object_pairs_hook` of `json`: of a key that comes twice Python drops the first value.
    Raises ValueError."""
    made = dict(pairs)
    if len(made) != len(pairs):
        left = [name for name, _ in pairs]
        for name in made:
            left.remove(name)
        raise ValueError(f"the key {left[0][:60]!r} appears twice")
    return made


def count_nodes(data: bytes, most: int = MAX_NODES) -> int:
    """Number of values that a JSON text holds, at most: one for each bracket and comma.

    What stands in quotes is only left out where it matters, above `most`.  Cost: 4 ms for the
    worst frame.
    """
    found = count_separators(data)
    if found > most:
        parts = data.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"', 4 * most)
        if len(parts) <= 4 * most:
            found = count_separators(b"".join(parts[::2]))
    return found


def count_separators(data: bytes) -> int:
    """Number of brackets and commas, those in texts as well; under a millisecond for a frame."""
    return data.count(b",") + data.count(b"[") + data.count(b"{")
