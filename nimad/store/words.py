"""What the words index takes from the records: texts a page at a time, and the words of a question
that carry no content."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from nimad.disk.durable import crash_point
from nimad.disk.failures import translated
from nimad.store.records import Records
from nimad.text import signs, words_of

PAGE = 1000
"""Memories whose texts are read at once: some 50 ms with what becomes of them [memories]."""
LONG = 2000
"""Length of text that counts as much as a memory there [characters]."""
DROPPED = 500
"""Rows of a former table that go in one transaction [rows]."""
DROP_FORMER = (
    "CREATE VIRTUAL TABLE temp.fresh USING fts5 (text)",
    "INSERT OR REPLACE INTO words_data SELECT * FROM temp.fresh_data",
    "DROP TABLE temp.fresh",
    "DROP TABLE words",
)
"""Drops it, however damaged it was: FTS5 wants to read what an empty table has.
Source: https://www.sqlite.org/fts5.html#fts5_data_structures (the layout of these tables)."""

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


def texts_between(records: Records, after: int, upto: int) -> list[tuple[int, str]]:
    """(id, text) of the next memories above the first id up to the second: PAGE, fewer where texts
    are long; what a flipped bit made of a text is read as one."""
    page: list[tuple[int, str]] = []
    taken = 0
    sql = "SELECT id, CAST(ifnull(text, '') AS TEXT) FROM memories WHERE id > ? AND id <= ?"
    with translated(records.path), records.reading() as reader:
        for number, text in reader.execute(f"{sql} ORDER BY id", (after, upto)):
            page.append((number, text))
            taken += 1 + len(text) // LONG
            if taken >= PAGE:
                break
    return page


def drop_former(records: Records) -> bool:
    """A step of taking the table `words` of nimad before schema 9 out of the file; True while more
    is left.

    Its rows go a part at a time, each in a transaction of its own, then the table: a crash leaves a
    smaller table, which nothing reads.
    """
    tables = {name for (name,) in records.rows("SELECT name FROM sqlite_schema")}
    if "words" not in tables:
        return False
    with records.write() as tx:
        for table in ("words_data", "words_docsize"):
            if table in tables and tx.execute(
                f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} LIMIT {DROPPED})"
            ):
                break
        else:
            for statement in DROP_FORMER:
                tx.execute(statement)
    crash_point("words.dropped")
    return True
