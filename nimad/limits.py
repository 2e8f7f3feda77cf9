"""What both sides of the socket keep to: the bounds of requests, and which verbs take long."""

from __future__ import annotations

MAX_FRAME = 1 << 20
"""Length of the longest frame, newline not counted [bytes]."""
ENVELOPE = 4096
"""Room that a frame leaves for what stands around a result or the memories of an import [bytes]."""
MAX_PAYLOAD = MAX_FRAME - ENVELOPE
"""Length of the largest result, and of the largest memory of an import, as JSON [bytes]."""
MAX_RECORD = 64 << 20
"""Length of the largest memory of an import that comes as a file, as JSON [bytes]."""
MAX_IMPORT = 500
"""Number of memories in one import [memories]."""
MAX_RESULTS = 1000
"""Number of results of one query [memories]."""
MAX_DEPTH = 5
"""Number of relations that `related` follows one after the other [relations]."""
MAX_ROWS = 10_000
"""Number of rows of one answer of the graph [rows]."""
MAX_BUDGET = 10_000_000
"""Budget of a query for a prompt [tokens]."""
MAX_BATCH = 100_000
"""Size of a migration's batch [rows]."""

LENGTHY = frozenset(
    {
        "doctor",
        "graph",
        "rebuild",
        "migrate.attach",
        "migrate.append",
        "migrate.verify",
        "migrate.rollback",
        "migrate.forget_backup",
        "migrate.retry_quarantined",
        "migrate.restore",
    }
)
"""Verbs that take seconds and more: they have threads of their own, and clients wait for them."""
UNHURRIED = LENGTHY | {"import", "forget"}
"""Verbs that a client sets no time limit: lengthy ones, and those whose list sets the time."""
