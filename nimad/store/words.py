"""The words index: FTS5 over text and who, in the same file and transaction as the records."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nimad.errors import RecordsDamaged, WordsDamaged
from nimad.store.records import Records
from nimad.store.schema import TOKENIZER
from nimad.text import words_of

TEXT_WEIGHT, WHO_WEIGHT = 1.0, 0.5
"""BM25 column weights: a name in the text says as much as in `who`, but `who` is on every row of
that person, so a match there alone should not outrank a match in the text."""

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
    """The distinct words of a text, lower case, in order; without stop words if others are left."""
    spoken = words_of(text)
    found = list(dict.fromkeys(word.lower() for word in spoken))
    stop = STOP_WORDS | GERMAN if is_german(spoken) else STOP_WORDS
    return [word for word in found if word not in stop] or found


def search(records: Records, words: list[str]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Every memory with any of the words, scored by FTS5 itself.

    Recall does its own scoring (`nimad.store.terms`); this is what it is checked against.

    Returns ids: int64[n], sorted, and scores: float32[n], BM25, higher is better, all > 0.
    Source: https://www.sqlite.org/fts5.html#the_bm25_function (there the sign is reversed).
    """
    if not words:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    # quotes are doubled in an FTS5 string; it would take a NUL for the end of the query
    quoted = [word.replace('"', '""').replace("\0", " ") for word in words[:64]]
    match = " OR ".join(f'"{word}"' for word in quoted)
    found = records.rows(
        f"SELECT rowid, bm25(words, {TEXT_WEIGHT}, {WHO_WEIGHT}) FROM words WHERE words MATCH ?"
        " ORDER BY rowid",
        (match,),
    )
    # ids fit a float64 exactly up to 2**53; one conversion is faster than two
    columns = np.array(found, np.float64).reshape(-1, 2)
    ids = columns[:, 0].astype(np.int64)
    # FTS5 clamps a negative idf to a tiny positive one; a match never counts as none.
    scores = np.maximum(-columns[:, 1], 1e-6).astype(np.float32)
    return ids, scores


def rebuild(records: Records) -> int:
    """Make the index anew from the records, in one transaction; the number of memories."""
    try:
        return _rebuild(records)
    except WordsDamaged:  # so damaged that SQLite cannot even open the table
        # what a new table would hold goes into the tables behind the index; a crash before it is
        # rebuilt leaves it empty, which idle time notices (`missing_of_sample`)
        # source: https://www.sqlite.org/fts5.html#fts5_data_structures (these tables' layout)
        with records.write() as tx:
            tx.execute(
                "CREATE VIRTUAL TABLE temp.fresh USING fts5"
                f" (text, who, content = '', tokenize = '{TOKENIZER}')"
            )
            tx.execute("DELETE FROM words_data")
            tx.execute("INSERT INTO words_data SELECT * FROM temp.fresh_data")
            tx.execute("DELETE FROM words_idx")
            tx.execute("DELETE FROM words_docsize")
            tx.execute("DROP TABLE temp.fresh")
        return _rebuild(records)


def _rebuild(records: Records) -> int:
    with records.write() as tx:
        tx.execute("INSERT INTO words (words) VALUES ('rebuild')")
        return int(tx.rows("SELECT count(*) FROM memories")[0][0])


def optimise(records: Records) -> None:
    """Merge the index into one b-tree: deleted words are then gone from the file."""
    with records.write() as tx:
        tx.execute("INSERT INTO words (words) VALUES ('optimize')")


def problem(records: Records) -> str | None:
    """What is wrong with the index compared with the records, or None. Cost: reads both whole."""
    try:
        records.maintain("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
    except RecordsDamaged as error:
        return f"they do not match the records ({error.fields['detail']})"
    return None


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
            if found := _PLAIN_WORD.search(text.partition("\0")[0]):
                match = f'text : "{found[0]}"'
                sql = "SELECT 1 FROM words WHERE words MATCH ? AND rowid = ?"
                missing += not records.rows(sql, (match, memory))
    return missing
