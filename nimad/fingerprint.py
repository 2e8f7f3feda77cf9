"""The fingerprint of what a source told of a memory: nimactl and nimad compute it alike.

An importer sends only what differs.  It asks nimad for the fingerprints of what is stored and
compares them with those of what it reads, so no digest is kept anywhere: it is made of the memory.
"""

from __future__ import annotations

import hashlib
import json

from nimad.model import Memory

TOLD = (
    *("text", "who", "where", "timestamp", "layer", "importance", "tags", "namespace", "agent"),
    *("conversation", "session", "turn", "affect", "summary", "extra"),
)
"""Fields that an importer fills; a difference in one of them makes it another memory."""
BYTES = 10
"""Length of a fingerprint [bytes]; chance makes two of a million items equal once in 10^12."""


def fingerprint(memory: Memory) -> str:
    """20 hexadecimal digits; an empty text or object counts as none, as the records keep it."""
    told = [getattr(memory, name) or None for name in TOLD]
    packed = json.dumps(told, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(packed.encode("utf-8", "replace"), digest_size=BYTES).hexdigest()
