"""What both sides of the socket keep to: the largest frame, and which verbs take long."""

from __future__ import annotations

MAX_FRAME = 1 << 20
"""Length of the longest frame, newline not counted [bytes]."""
ENVELOPE = 4096
"""Room that a frame leaves for what stands around a result or the memories of an import [bytes]."""
MAX_PAYLOAD = MAX_FRAME - ENVELOPE
"""Length of the largest result, and of the largest memory of an import, as JSON [bytes]."""
MAX_IMPORT = 500
"""Number of memories in one import [memories]."""

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
"""Verbs that a client gives as long as they take: lengthy ones, and those as long as their list."""
