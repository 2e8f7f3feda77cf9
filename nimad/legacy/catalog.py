"""The catalog of a bundle: all that nimad needs of one, in a form that cannot do harm.

The reading process (reader.py) writes it to a file in memory that has no name; files.py maps it.
Little-endian; texts are JSON in UTF-8, with the halves of surrogate pairs that JSON can spell.

| part    | type          | what                                                                   |
|---------|---------------|------------------------------------------------------------------------|
| texts   | bytes         | one after the other: each episode, spelled (`values.spell`), by key,   |
|         |               | then ["filler" or "role", name] of each item of the codebooks          |
| numbers | bytes         | those of vectors that are not in the bundle as they are                |
| keys    | int64[n]      | of the episodes, ascending                                             |
| ends    | int64[n+k+1]  | 0, then where each text ends                                           |
| pieces  | PIECE[m]      | of the vectors, in the order of the texts                              |
| upto    | int64[n+k+1]  | 0, then how many pieces there are up to and with this vector           |
| state   | uint8[n+k]    | NO_VECTOR, a VECTOR, or one that is UNREADABLE                         |
| head    | JSON          | where each array is [offset, bytes], form of the vectors, notes,       |
|         |               | refusals, totals                                                       |
| tail    | int64[2], 8 B | offset and length of the head; MAGIC                                   |

`n` episodes, `k` items.  The arrays begin at multiples of 8 bytes.  A piece (parsed.py) is offset,
step, block, index of its dtype in DTYPES, flags: NEGATIVE, BASE64, and HERE for an offset that
counts from the begin of the catalog and not of the bundle.
"""

from __future__ import annotations

import json
import struct
from array import array
from collections.abc import Iterable
from typing import Any, BinaryIO

from nimad.legacy.parsed import Piece
from nimad.legacy.pickle_allowlist import ITEM_BYTES

MAGIC = b"nimacat1"
TAIL = struct.Struct("<qq8s")
PIECE = struct.Struct("<qqIBBxx")
DTYPES = tuple(ITEM_BYTES)
NEGATIVE, BASE64, HERE = 1, 2, 4
NO_VECTOR, VECTOR, UNREADABLE = 0, 1, 2
ARRAYS = ("keys", "ends", "pieces", "upto", "state")
_write_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class CatalogWriter:
    """Writes a catalog: `text` for each episode and item in order, `vector` for each, `finish`."""

    def __init__(self, out: BinaryIO, keys: Iterable[int]) -> None:
        self._out = out
        self._keys, self._ends, self._upto = array("q", keys), array("q", [0]), array("q", [0])
        self._pieces, self._state = bytearray(), bytearray()

    def text(self, spelled: Any) -> None:
        """The next text."""
        said = _write_text(spelled).encode("utf-8", "surrogatepass")
        self._ends.append(self._ends[-1] + self._out.write(said))

    def vector(self, state: int, pieces: Iterable[Piece], begin: int = 0) -> None:
        """The next vector, whose file begins at `begin` in the bundle; after all texts."""
        for piece in pieces:
            flags, place = NEGATIVE * piece.negative | BASE64 * piece.base64, begin + piece.offset
            if piece.data is not None:
                flags, place = flags | HERE, self._out.tell()
                self._out.write(piece.data)
            dtype = DTYPES.index(piece.dtype)
            self._pieces += PIECE.pack(place, piece.step, piece.block, dtype, flags)
        self._upto.append(len(self._pieces) // PIECE.size)
        self._state.append(state)

    def finish(self, told: dict[str, Any]) -> None:
        """Write the arrays and the head, which has what is `told` besides."""
        head: dict[str, Any] = {**told, "arrays": {}}
        keys, ends, upto = (part.tobytes() for part in (self._keys, self._ends, self._upto))
        parts: tuple[bytes | bytearray, ...] = (keys, ends, self._pieces, upto, self._state)
        for name, part in zip(ARRAYS, parts, strict=True):
            self._out.write(bytes(-self._out.tell() % 8))
            at = self._out.tell()
            self._out.write(part)
            head["arrays"][name] = (at, self._out.tell() - at)
        at, said = self._out.tell(), json.dumps(head).encode()
        self._out.write(said + TAIL.pack(at, len(said), MAGIC))
        self._out.flush()
