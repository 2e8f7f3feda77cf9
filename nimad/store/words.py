"""The words index: FTS5 over text and who, in the same file and transaction as the records."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any
from zlib import crc32

from nimad.disk.durable import crash_point
from nimad.errors import RecordsDamaged
from nimad.store.records import Records, records_errors
from nimad.store.schema import EMPTY_WORDS, INDEX, INDEXED, WORDS, connect, index_row
from nimad.store.transaction import WORDS_GAP, read_gap
from nimad.text import signs, words_of

FILLED = 500
"""Memories that are indexed in one transaction: some 20 ms [memories]."""
LONG = 2000
"""Length of text that counts as much as a memory there [characters]."""

_PLAIN_WORD = re.compile(r"(?<![^\s.,;:!?])[A-Za-z]{3,}(?![^\s.,;:!?])")
"""A word that every tokenizer takes as one: letters of ASCII between blanks or marks."""

# Words that carry no content in a question.  BM25 would rank them low anyway; leaving them out
# spares scoring nearly every row of the store.
_STOP_TEXT = """
a about am an and any are as at be been being but by can could did do does doing for
from had has have having he her hers him his how i if in into is it its just me my no
nor not of on or our ours she should so some such than that the their theirs them then
there these they this those to too us was we were what when where which who whom whose
why will with would you your yours
"""
STOP_WORDS = frozenset(_STOP_TEXT.split())


_SHARED_TEXT = "a am an as be by do he him if in is it me my no nor on or so them us we you"
ENGLISH = STOP_WORDS - frozenset(_SHARED_TEXT.split())
"""Those that are hardly words of another language in Latin letters."""
_ASKING = re.compile(
    "[为為]?什[么麼](?:时候|時候)?|哪[里裡儿兒个個些]?|怎[么麼][样樣]?|多少|[谁誰吗嗎呢何]"
    "|どこ|どれ|どの|いつ|なぜ|[でま]しょうか|(?:です|ます|ました)か"
)
"""Words that ask in Chinese and Japanese, and are no part of what is asked for."""
_HIRAGANA = re.compile("[\u3041-\u309f]+")

_GERMAN_TEXT = """
aus auf bei beim dann das dem den denn der dich dir du ein eine einem einen einer eines er euch
euer für gegen haben hatte hatten ich ihm ihn ihr ihre ihrem ihren ihrer im ist kann keine können
mein meine meinem meinen meiner mich mir mit muss nach nicht noch nur oder schon sein seine seinem
seinen seiner seit sich sie sind soll über und uns unser unsere unserem unseren unserer vom von vor
wann warum welche welchem welchen welcher welches wem wen wenn wer werden wessen wie wir wird wo
woher wohin womit wurde wurden zu zum zur zwischen
"""
_SURE = frozenset(_GERMAN_TEXT.split())
GERMAN = _SURE | {
    *("am", "an", "die", "des", "es", "hat", "in", "man"),
    *("so", "um", "war", "was"),
}
"""The same of German; the last ones are words of English, too."""


def is_german(spoken: Sequence[str]) -> bool:
    """Whether the words of a text, as they are written, are German by the small ones."""
    return not _SURE.isdisjoint([word.lower() for word in spoken[:1]] + list(spoken[1:]))


def terms(text: str) -> list[str]:
    """The distinct words of a text, lower case, in order; without stop words if others are left.

    Of a text without words, its signs.
    """
    if not text.isascii():
        text = _ASKING.sub(" ", text)
    spoken = words_of(text)
    found = list(dict.fromkeys(word.lower() for word in spoken))
    stop = STOP_WORDS | GERMAN if is_german(spoken) else STOP_WORDS
    return [word for word in found if word not in stop] or found or signs(text)


def content(found: Iterable[str]) -> list[str]:
    """Terms in order, each once, without those of hiragana alone, which is grammar, if others are
    left."""
    distinct = list(dict.fromkeys(found))
    if "".join(distinct).isascii():
        return distinct
    return [term for term in distinct if not _HIRAGANA.fullmatch(term)] or distinct


def gap(records: Records) -> tuple[int, int] | None:
    """Memories above the first id up to the second are not in the index yet; None: all are."""
    return read_gap([value for (value,) in records.rows(WORDS_GAP)])


def rebuild(records: Records) -> int:
    """Make the index anew from the records; the number of memories."""
    empty(records)
    while fill(records):
        pass
    return int(records.value("SELECT count(*) FROM memories"))


def empty(records: Records) -> None:
    """Take everything out of the index, however damaged it is; `fill` makes it anew.

    From here on new memories are indexed as they come, and what was there is in the gap.
    """
    with records.write() as tx:
        for statement in EMPTY_WORDS.split(";\n"):
            tx.execute(statement)
        tx.execute("INSERT INTO words (words) VALUES ('delete-all')")  # what SQLite kept of it


def fill(records: Records) -> bool:
    """Index the next memories of the gap, in one transaction; whether more are left.

    A crash leaves the gap as far as it was closed, and idle time goes on from there.
    """
    with records.write() as tx:
        bounds = tx.words_gap()
        if bounds is None:
            return False
        sql = f"{INDEXED} id > ? AND id <= ? ORDER BY id"
        page = next(_pages(tx.connection.execute(sql, bounds)), [])
        tx.many(INDEX, (index_row(*row) for row in page))
        left = bool(page) and page[-1][0] < bounds[1]
        if left:
            tx.set_meta("words_gap", f"{page[-1][0]}-{bounds[1]}")
        else:  # the columns in a file have no lengths of what was missing
            tx.execute("DELETE FROM meta WHERE key IN ('words_gap', 'columns')")
    crash_point("words.filled")
    return left


def _pages(rows: Iterable[tuple[int, str, str | None]]) -> Iterator[list[tuple[Any, ...]]]:
    """Rows of id, text and who in lists of FILLED, of fewer where texts are long."""
    page: list[tuple[Any, ...]] = []
    taken = 0
    for row in rows:
        page.append(row)
        taken += 1 + len(row[1]) // LONG
        if taken >= FILLED:
            yield page
            page, taken = [], 0
    if page:
        yield page


def optimise(records: Records) -> None:
    """Merge the index into one b-tree: deleted words are then gone from the file."""
    with records.write() as tx:
        tx.execute("INSERT INTO words (words) VALUES ('optimize')")


def problem(records: Records) -> str | None:
    """What is wrong with the index compared with the records, or None. Cost: reads both whole.

    Every place of every term counts in a sum, as the index has them and as they should be.
    """
    try:
        records.maintain("INSERT INTO words (words) VALUES ('integrity-check')")
    except RecordsDamaged as error:
        return f"they do not match the records ({error.fields['detail']})"
    with records_errors(records.path), closing(connect(records.path, readonly=True)) as reader:
        reader.execute("BEGIN")  # both are of one moment
        try:
            stands = _sums(reader, "temp.terms")
        except sqlite3.DatabaseError as error:
            return f"they do not match the records ({error})"
        if stands != _expected(reader):
            return "they do not match the records"
    return None


def _sums(connection: sqlite3.Connection, vocabulary: str) -> tuple[int, int]:
    """How many places of terms an index has, and the sum of a hash of each."""
    connection.create_function("place", 4, _hash, deterministic=True)
    sql = f"SELECT count(*), ifnull(sum(place(term, doc, col, offset)), 0) FROM {vocabulary}"
    count, total = connection.execute(sql).fetchone()
    return count, total


def _hash(term: str, doc: int, column: str, offset: int) -> int:
    return crc32(f"{term} {doc} {column} {offset}".encode())


def _expected(reader: sqlite3.Connection) -> tuple[int, int]:
    """The same of an index that is made, a page at a time, of the memories outside the gap."""
    after, upto = read_gap([value for (value,) in reader.execute(WORDS_GAP)]) or (0, 0)
    rows = reader.execute(f"{INDEXED} NOT (id > ? AND id <= ?)", (after, upto))
    count = total = 0
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as page:
        page.execute(f"CREATE VIRTUAL TABLE words USING fts5 ({WORDS})")
        page.execute("CREATE VIRTUAL TABLE terms USING fts5vocab (words, instance)")
        for some in _pages(rows):
            page.execute("INSERT INTO words (words) VALUES ('delete-all')")
            page.executemany(INDEX, (index_row(*row) for row in some))
            more = _sums(page, "terms")
            count, total = count + more[0], total + more[1]
    return count, total


def size_bytes(records: Records) -> int:
    """Bytes of the index within records.sqlite."""
    return int(
        records.value("SELECT coalesce(sum(length(block)), 0) FROM words_data")
        + records.value("SELECT coalesce(sum(length(sz)), 0) FROM words_docsize")
    )


def missing_of_sample(records: Records, size: int = 64) -> int:
    """How many of some memories, spread over all, are not found by a word of their own text.

    Cost: a look into the index for each.  Raises RecordsDamaged when it cannot be read.
    """
    first, last = records.rows("SELECT min(id), max(id) FROM memories")[0]
    if first is None:
        return 0
    missing = 0
    for number in {first + (last - first) * part // size for part in range(size + 1)}:
        for memory, text in records.texts(number - 1, 1):
            if found := _PLAIN_WORD.search(text):
                match = f'text : "{found[0]}"'
                sql = "SELECT 1 FROM words WHERE words MATCH ? AND rowid = ?"
                missing += not records.rows(sql, (match, memory))
    return missing
