"""The checksum that lies beside a legacy file: `FILE.sha256`.

NIMA writes JSON, {"hash": hex, "algorithm": "sha256"}, to which its signed exports add an
`hmac_signature` made with a secret of theirs; sha256sum writes "hex  name".  A checksum that fits
is all that is asked for: a signature whose secret is not here proves nothing either way.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

from nimad.errors import SourceAltered

MAX_BYTES = 64 << 10
"""Length of a checksum file that is read [bytes]."""
CHUNK = 4 << 20
SUM = re.compile(r"([0-9a-fA-F]{64})\b")
SIGNATURES = ("hmac_signature", "hmac", "signature")


def check(
    view: memoryview, said: memoryview, path: Path | str, seen: Callable[[], None]
) -> list[str]:
    """Compare a file with its checksum; what is to be noted.  Raises SourceAltered.

    `seen` is called after each piece of `CHUNK` bytes.  Cost: the file is read once.
    """
    due, notes = _read(bytes(said[:MAX_BYTES]))
    if due is None:
        return notes
    digest = hashlib.sha256()
    for start in range(0, len(view), CHUNK):
        digest.update(view[start : start + CHUNK])
        seen()
    if digest.hexdigest() != due:
        detail = f"its SHA-256 is {digest.hexdigest()[:12]}..., not {due[:12]}..."
        raise SourceAltered(path=path, detail=detail)
    return notes


def _read(said: bytes) -> tuple[str | None, list[str]]:
    """The SHA-256 that a sidecar tells, None when it tells none; what is to be noted."""
    text = said.decode("utf-8", "replace")
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        found = SUM.match(text.strip())
        return (found[1].lower(), []) if found else (None, ["its checksum file cannot be read"])
    notes = [
        f"its {name} cannot be verified: the secret it was made with is not here"
        for name in SIGNATURES
        if told.get(name)
    ]
    digest, algorithm = told.get("hash"), str(told.get("algorithm", "sha256")).lower()
    if algorithm not in ("sha256", "sha-256") or not isinstance(digest, str):
        return None, [*notes, "its checksum is of a kind that is not known"]
    if not SUM.fullmatch(digest):
        return None, [*notes, "its checksum file cannot be read"]
    return digest.lower(), notes
