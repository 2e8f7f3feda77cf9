"""Memories as rows of `memories` and back; the interning of names.

The fields of `nimad.model.Memory`, in their order, are the table: each is a column of its own name
and holds the value as it is, but for those named here.  A new field is one line in the model and
one in `nimad.store.schema`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import operator
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import chain
from json.encoder import encode_basestring
from typing import Any

from nimad.model import DATES, DEFAULT_NAMESPACE, DamagedMemory, Memory
from nimad.text import common_form
from nimad.times import iso

FIELDS = tuple(f.name for f in dataclasses.fields(Memory) if f.name != "blobs")
INTERNED = ("where", "layer", "namespace", "agent", "conversation", "session")
"""Fields whose column holds the id of a row of `names`."""
ORIGIN = "coalesce(m.origin, CASE WHEN m.source > 0 THEN 'imported' END)"
"""The origin of a row m of `memories`: what was taken over from a source need not say so; a source
below 0 is another board (`boards`)."""
RENAMED = {"where": "place"}
"""Field → column, where SQL has another use for the field's name."""

_PLACE = {name: place for place, name in enumerate(FIELDS)}
ID = _PLACE["id"]
"""Where the id stands in a row."""
_DATE_PLACES = [_PLACE[name] for name in DATES]
_NAME_PLACES = [_PLACE[name] for name in INTERNED]
_TURN, _SOURCE, _ORIGIN = (_PLACE[name] for name in ("turn", "source", "origin"))
"""Places of what is shown otherwise than it is stored."""
_TAGS, _EXTRA, _SUMMARY = (_PLACE[name] for name in ("tags", "extra", "summary"))
_IMPORTANCE = _PLACE["importance"]
_MOMENT_PLACES = [*_DATE_PLACES, _PLACE["last_accessed"]]
_ALL = operator.attrgetter(*FIELDS)
_packed = operator.itemgetter(_TAGS, _EXTRA, _SUMMARY, _SOURCE)
_COLUMN = {name: RENAMED.get(name, name) for name in FIELDS}
INTERNED_COLUMNS = tuple(_COLUMN[name] for name in INTERNED)
SHOWN = {name: f"m.{_COLUMN[name]}" for name in FIELDS}
SHOWN |= {name: f"{_COLUMN[name]}.name" for name in INTERNED}
SHOWN |= {"turn": "turns.name", "source": "coalesce(sources.name, boards.name)", "origin": ORIGIN}

CHECKSUMMED = "checksummed"
"""The key of meta which says that every memory has a checksum.  Then one without is damaged: a bit
that flips in the head of a row takes its last column, the checksum, away."""
ROWS_CHECKSUMMED = "rows_checksummed"
"""The same for the rows of all other tables; one that is due for a checksum has 0 in its place."""


def known_checksum(column: str, note: str) -> str:
    """SQL for the checksum of a row; where none is there: NULL if it may be lacking, else what
    none is.  `note` is the key of meta which says that it may not."""
    return f"ifnull({column}, (SELECT -1 FROM meta WHERE key = '{note}'))"


ROW_CHECKSUM = known_checksum("checksum", ROWS_CHECKSUMMED)
"""That of a row of any other table."""

_COLUMNS = (*_COLUMN.values(), "source_key", "checksum")
TOGETHER = (25, 5, 1)
"""Rows of one INSERT, so that few statements are kept: some 50 us without the interpreter's lock.
Of `executemany`, which gives it away for some us a row, nobody who waits for it is woken in time
[rows]."""
SELECT = f"""
SELECT {", ".join(SHOWN.values())}, m.source_key, m.turn, m.source, m.origin,
  {known_checksum("m.checksum", CHECKSUMMED)} - ifnull((SELECT sum(CASE typeof(data)
    WHEN 'blob' THEN blob_checksum(CAST(name AS BLOB), data) ELSE -1 END
  ) FROM blobs WHERE memory = m.id), 0)
FROM memories m
{" ".join(f"LEFT JOIN names {_COLUMN[n]} ON {_COLUMN[n]}.id = m.{_COLUMN[n]}" for n in INTERNED)}
LEFT JOIN turns ON turns.id = m.turn
LEFT JOIN sources ON sources.id = m.source
LEFT JOIN boards ON boards.id = m.source
"""
"""A row: the fields of a memory in their order, its key in its source, turn, source and origin as
they are stored, and the checksum that stands in it, less what its blobs add to that."""

STORED = f"""
SELECT {", ".join(f"{_COLUMN[n]}.name" if n in INTERNED else f"m.{_COLUMN[n]}" for n in FIELDS)},
  m.source_key, {known_checksum("m.checksum", CHECKSUMMED)}
FROM memories m
{" ".join(f"LEFT JOIN names {_COLUMN[n]} ON {_COLUMN[n]}.id = m.{_COLUMN[n]}" for n in INTERNED)}
"""
"""A row as `checksum` takes it, and the checksum that stands in it."""

ADDED = ("access_count", "last_accessed", "turn")
"""Columns that change: they are added to the checksum, so that an UPDATE can add the difference."""

_NUMBERS = {"id", "timestamp", "created", "source", *ADDED}
_TYPES: list[tuple[str, tuple[type, ...]]] = [
    (name, (int,) if name in _NUMBERS else (str,)) for name in FIELDS
]
_TYPES[_PLACE["importance"]] = ("importance", (float,))
_TYPES[_PLACE["summary"]] = ("summary", (str, int))
_TYPES.append(("source_key", (str, int)))
_MEMBERS = [(None if name in ADDED else f'"{name}":', types) for name, types in _TYPES]
"""How each column begins in the JSON that is summed up, None where it is added, and its types."""
_WRITTEN: dict[type, Callable[[Any], str]] = {
    str: encode_basestring,
    int: repr,
    # `json.dumps` makes an encoder each time, which takes longer than all the rest of a row
    float: lambda value: repr(value) if math.isfinite(value) else json.dumps(value),
}
"""How a value stands in JSON."""
_SUMS: dict[tuple[type, ...], Callable[[Sequence[Any]], int | None]] = {}
"""What sums up a row, by the types of its columns."""
_READ: dict[tuple[type, ...], Callable[[Sequence[Any]], int | None]] = {}
"""The same of rows of SELECT."""
NAMES_HELD = 1 << 20
"""Length of all names that are kept with their ids [characters]."""
LONG = 1 << 18
"""Length of the parts in which a longer text is summed up [characters]."""

Row = Sequence[Any]


class Names:
    """The interned strings, cached in `known`: name → id.  Only the writer uses it.

    The cache holds what is committed plus what the running transaction added; `forget()` drops it
    after a rollback, because an id given there may be given again to another name.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.known: dict[str, int] = {}
        self._held = 0

    def id(self, name: str | None) -> int | None:
        """The id of a name, made when it is new; None for None."""
        if name is None:
            return None
        known = self.known.get(name)
        if known is None:
            found = self._connection.execute("SELECT id FROM names WHERE name = ?", (name,))
            row = found.fetchone()
            if row is None:
                made = self._connection.execute(
                    "INSERT INTO names (name, folded) VALUES (?, ?)", (name, common_form(name))
                )
                known = int(made.lastrowid or 0)
            else:
                known = int(row[0])
            self._held += len(name)
            if self._held > NAMES_HELD:
                self.forget()
            self.known[name] = known
        return known

    def forget(self) -> None:
        """Drop the cache."""
        self.known.clear()
        self._held = 0


def insert(part: Sequence[Row]) -> tuple[str, list[Any]]:
    """A statement that adds rows, and its parameters.  Columns that are NULL in all of them are
    left out: Python's sqlite3 looks for adapters of each None, which takes as long as a column."""
    columns = [*zip(*part, strict=True)]
    filled = [place for place, each in enumerate(columns) if each.count(None) < len(part)]
    rows = zip(*map(columns.__getitem__, filled), strict=True)
    return _insert(len(part), *filled), [*chain.from_iterable(rows)]


@lru_cache(maxsize=64)
def _insert(rows: int, *places: int) -> str:
    """The statement; the connection keeps as many of them compiled."""
    names = ", ".join(_COLUMNS[place] for place in places)
    values = f"({', '.join('?' * len(places))})"
    return f"INSERT INTO memories ({names}) VALUES {', '.join([values] * rows)}"


def named(namespace: str) -> tuple[str, tuple[int, str]]:
    """SQL for the ids of the names that a bound user's namespace means, and its parameters."""
    begin = namespace.removesuffix("*")
    same = "name = ?2" if begin == namespace else "substr(name, 1, ?1) = ?2"
    return f"SELECT id FROM names WHERE ?1 = length(?2) AND {same}", (len(begin), begin)


def to_row(memory: Memory, names: Names, turn: int | None, source: int | None) -> Row:
    """What `insert` takes; `turn` and `source` are row ids."""
    row: list[Any] = [*_ALL(memory), memory.source[1] if memory.source else None]
    for place in _DATE_PLACES:  # no date is 0 there
        row[place] = row[place] or 0
    row[_TAGS] = json.dumps(memory.tags, ensure_ascii=False) if memory.tags else None
    row[_EXTRA] = None
    if memory.extra:
        row[_EXTRA] = json.dumps(memory.extra, ensure_ascii=False, separators=(",", ":"))
    row[_TURN], row[_SOURCE] = turn, source
    if memory.summary is not None and memory.text.startswith(memory.summary):
        row[_SUMMARY] = len(memory.summary)  # the head of the text is not stored twice
    if memory.importance is not None:
        share = memory.importance + 0.0  # as SQLite gives it back: no -0.0, NULL for nan
        row[_IMPORTANCE] = share if share == share else None
    total = checksum(row, memory.blobs.items())
    for place in _NAME_PLACES:
        if (name := row[place]) is not None:
            row[place] = names.known.get(name) or names.id(name)
    row.append(total)
    return row


def checksum(row: Row, blobs: Iterable[tuple[str, bytes]]) -> int | None:
    """What tells whether a memory is what was written; None for values of odd types.

    The sum of: CRC-32 of the JSON object (UTF-8, no blanks) of its columns that are not NULL, in
    the order of the fields, with names in place of their ids; the columns in ADDED; CRC-32 of each
    blob with its name before it.  A column that comes in a later version must be NULL in old rows.
    """
    kinds = tuple(map(type, row))
    sum_up = _SUMS.get(kinds)
    if sum_up is None:
        sum_up = _sum_of(kinds)
        if len(_SUMS) < 1000:
            _SUMS[kinds] = sum_up
    total = sum_up(row)
    for name, data in blobs:
        if not (isinstance(name, str) and isinstance(data, bytes)):
            return None
        if total is not None:
            total += blob_checksum(name.encode(), data)
    return total


def _sum_of(
    kinds: tuple[type, ...], places: Sequence[int] | None = None
) -> Callable[[Row], int | None]:
    """What sums up the columns of rows with these types, which stand at some places of the rows.

    It is compiled once: going through members and types anew took as long as all the rest of it.
    """
    there = [(place, kind) for place, kind in enumerate(kinds) if kind is not type(None)]
    if any(kind not in _MEMBERS[place][1] for place, kind in there):
        return lambda row: None
    written = {str: "encode_basestring({})", int: "{}", float: "_WRITTEN[float]({})"}
    plain, added, lengths = [], ["0"], ["0"]
    for place, kind in there:
        begin, value = _MEMBERS[place][0], f"row[{place if places is None else places[place]}]"
        if begin is None:
            added.append(value)
        else:
            plain.append(f"{begin}{{{written[kind].format(value)}}}")
        if kind is str:
            lengths.append(f"len({value})")
    whole = f"""_crc32(f'{{{{{",".join(plain)}}}}}', 0)"""
    short, more = f"{'+'.join(lengths)} <= LONG", "+".join(added)
    stored = "row" if places is None else f"[row[place] for place in {[*places]}]"
    made: Callable[[Row], int | None] = eval(
        f"lambda row: ({whole} if {short} else _in_parts({stored})) + {more}", globals()
    )
    return made


def _in_parts(row: Row) -> int:
    """The CRC-32 of a row with long texts: no client may make many copies of 12 MB."""
    plain: list[str] = []  # the members: an encoder for the whole object is slower
    crc, first = 0, "{"
    for (begin, _), value in zip(_MEMBERS, row, strict=True):
        if value is None or begin is None:
            continue
        if (kind := type(value)) is not str or len(value) <= LONG:
            plain.append(begin + _WRITTEN[kind](value))
        else:  # a part at a time
            crc = _crc32(f'{first}{",".join([*plain, begin])}"', crc)
            for start in range(0, len(value), LONG):
                crc = _crc32(encode_basestring(value[start : start + LONG])[1:-1], crc)
            first, plain = "", ['"']
    return _crc32(f"{first}{','.join(plain)}}}", crc)


def _crc32(text: str, before: int) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass"), before)


def blob_checksum(name: bytes, data: bytes) -> int:
    """What a blob adds to the checksum of its memory."""
    return zlib.crc32(data, zlib.crc32(name))


def hot_checksum(number: int, vector: bytes) -> int:
    """The checksum of a row of `hot`; `row_checksum` would write out its bytes as text first."""
    return blob_checksum(b"%d" % number, vector)


def is_hot(number: int, vector: Any, known: int | None) -> bool:
    """Whether a row of `hot` is what was written, now or by an earlier build."""
    if not isinstance(vector, bytes):
        return False
    whole = known is None or known == hot_checksum(number, vector)
    return whole or known == row_checksum(number, vector)


def row_checksum(*values: Any) -> int:
    """The checksum of a row of any other table."""
    return zlib.crc32(ascii(values).encode())


def _of_read(kinds: tuple[type, ...]) -> Callable[[Row], int | None]:
    """What sums up rows of SELECT with columns of these types."""
    stored = [*range(len(FIELDS) + 1)]
    stored[_TURN], stored[_SOURCE], stored[_ORIGIN] = (len(stored) + n for n in range(3))
    made = _sum_of(tuple(kinds[place] for place in stored), stored)
    if len(_READ) < 1000:
        _READ[kinds] = made
    return made


def from_row(row: Row) -> Memory:
    """The memory of a row of SELECT.

    A damaged row is a memory, too (DamagedMemory), with what can be read of it; one without a
    checksum is not damaged.
    """
    kinds = tuple(map(type, row))
    values, key, known = row[: len(FIELDS)], row[len(FIELDS)], row[-1]
    damaged = known is not None and (_READ.get(kinds) or _of_read(kinds))(row) != known
    if damaged:
        values = _repaired(values)
    elif kinds not in _SOUND:
        repaired = _repaired(values)
        if repaired == [*values] and len(_SOUND) < 1000:
            _SOUND.add(kinds)
        values = repaired
    kind = DamagedMemory if damaged else Memory
    memory = kind(*values)  # as it is stored; what is packed is unpacked below
    tags, extra, summary, source = _packed(values)
    if tags is not None or extra is not None:
        try:
            memory.tags = tuple(json.loads(tags)) if tags is not None else ()
            memory.extra = json.loads(extra) if extra is not None else None
        except (ValueError, TypeError):
            memory.tags, memory.extra = (), None
    else:
        memory.tags = ()
    memory.timestamp = memory.timestamp or None
    memory.source = (source, key) if source is not None else None
    if isinstance(summary, int):
        memory.summary = memory.text[:summary]
    return memory


_NEEDED: dict[str, Any] = dict.fromkeys(("id", "timestamp", "created", "access_count"), 0)
_NEEDED |= {"text": "", "layer": "note", "namespace": DEFAULT_NAMESPACE}
"""What stands for a value that a memory must have, and that cannot be read any more."""
_SOUND: set[tuple[type, ...]] = set()
"""Types of rows that were looked at and need no repair."""


def _repaired(values: Row) -> list[Any]:
    """The values of a row as their types say, whatever a flipped bit made of them."""
    made = []
    for (name, types), value in zip(_TYPES, values, strict=False):
        if name in ("turn", "source"):  # their names, here
            types = (str,)
        if isinstance(value, bytes) and types[0] is str:
            value = value.decode("utf-8", "replace")
        made.append(value if type(value) in types else _NEEDED.get(name))
    for place in _MOMENT_PLACES:
        try:
            iso(made[place] or 0)
        except OverflowError:  # beyond the calendar
            made[place] = None
    return made


def ranges(ids: Iterable[int]) -> list[tuple[int, int]]:
    """Sorted ids as inclusive ranges of consecutive numbers: [1, 2, 3, 7] → [(1, 3), (7, 7)]."""
    found: list[tuple[int, int]] = []
    for number in ids:
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found
