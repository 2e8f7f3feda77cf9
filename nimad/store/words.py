"""What the words index takes from the records: texts a page at a time, and the words of a question
that carry no content."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from nimad.disk.durable import crash_point
from nimad.disk.failures import translated
from nimad.patterns import lazy_pattern
from nimad.store.records import Records
from nimad.text import signs, words_of

PAGE = 1000
"""Memories whose texts are read at once: some 50 ms with what becomes of them [memories]."""
LONG = 500
"""Length of text that counts as much as a memory there: half a million characters, of which Chinese
has as many terms, take 30 MB until they are a segment [characters]."""
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
_ASKING = lazy_pattern(
    "[为為]?什[么麼](?:时候|時候)?|哪[里裡儿兒个個些]?|怎[么麼][样樣]?|多少|[谁誰吗嗎呢何]"
    "|どこ|どれ|どの|いつ|なぜ|[でま]しょうか|(?:です|ます|ました)か"
)
"""Words that ask in Chinese and Japanese, and are no part of what is asked for."""
_GRAMMAR = lazy_pattern("[的了是在和与與被从從以于於]")
GRAMMAR_SHARE = 0.5
"""Factor of the rarity of a pair of characters one of which is a small word of Chinese."""
_HIRAGANA = lazy_pattern("[\u3041-\u309f]+")

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


_ENGLISH_OR_GERMAN = STOP_WORDS | GERMAN
SHORT = 3
"""Words of a short text, of which one is enough to tell its language [words]."""


_SPANISH_TEXT = """
al cómo con cuál cuáles cuándo cuánta cuánto cuántos de del desde dónde el ella ellos en entre era
es esa ese eso esta este esto está están fue fueron ha han hay hubo la las le les lo los más mi mis
muy nos o para pero por porque que quién quiénes qué se ser si sin sobre son su sus también tiene
tu un una unos y ya yo
"""
_FRENCH_TEXT = """
au aux avec ce cela ces cette combien dans de depuis des du elle elles en est et eu il ils je la le
les leur leurs lui ma mais mes mon nous on ont ou où par pas pourquoi quand que quel quelle quelles
quels qui quoi sa ses son sont sur ta tes ton tu un une vous été était étaient être y
"""
_ITALIAN_TEXT = """
agli ai al alla anche chi che con cosa cui da dal dalla dei del della delle di dove e era fu gli ha
hanno i il la le lo ma mi mia mio nei nel nella non o per perché più quale quali quando quanti
quanto questo se si sono su sua suo tra un una uno è
"""
_PORTUGUESE_TEXT = """
ao aos com da das de dela dele dos e ela ele em era essa esse esta este está eu foi foram há isso
mais mas meu minha na nas no nos não o onde os ou para pela pelo por porque qual quais quando
quanto que quem se sem seu sua são também tem um uma é à
"""
_RUSSIAN_TEXT = """
а без более бы был была были было быть в вам вас во вот все вы где да для до его ее если есть еще ж
же за и из или им их к как какая какие какого какое какой когда которая которое который которые кто
куда ли мне мой мы на над нам нас не него нее нет ни них но о об он она они оно от по под почему
при про с сколько со так также такое там то того только ты у уже чего чем что чтобы эта эти это
этого этой этом этот я
"""
_RUSSIAN = frozenset(_RUSSIAN_TEXT.split())
_LATIN_TEXTS = (_SPANISH_TEXT, _FRENCH_TEXT, _ITALIAN_TEXT, _PORTUGUESE_TEXT)
_OTHERS = [*(frozenset(text.split()) for text in _LATIN_TEXTS), _RUSSIAN]
"""Small words of other languages.  Two of one list tell the language; one of Russian does, and one
of any in a SHORT text."""


def small_words(spoken: Sequence[str]) -> frozenset[str]:
    """The words without content for a text of these words, as they are written: those of English,
    and of the language of the text where it is another one that is known."""
    if is_german(spoken):
        return _ENGLISH_OR_GERMAN
    # in the middle of a text names have capital letters: "Charles de Gaulle", "Los Angeles"
    low = {word.lower() for word in spoken[:1]} | {word for word in spoken if word.islower()}
    if not ENGLISH.isdisjoint(low):
        return STOP_WORDS
    low -= STOP_WORDS
    most = max(_OTHERS, key=lambda words: len(low & words))
    found = low & most
    enough = len(found) >= 2 or (found and (len(spoken) <= SHORT or most is _RUSSIAN))
    return STOP_WORDS | most if enough else STOP_WORDS


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
    stop = small_words(spoken)
    return [word for word in found if word not in stop] or found or signs(text)


def content(found: Iterable[str]) -> list[str]:
    """Terms in order, each once, without those of hiragana alone, which is grammar, if others are
    left."""
    distinct = list(dict.fromkeys(found))
    if "".join(distinct).isascii():
        return distinct
    return [term for term in distinct if not _HIRAGANA.fullmatch(term)] or distinct


def has_grammar(term: str) -> bool:
    """Whether a term is a pair of characters with a small word of Chinese in it."""
    return len(term) == 2 and not term.isascii() and _GRAMMAR.search(term) is not None


def texts_between(records: Records, after: int, upto: int) -> list[tuple[int, str]]:
    """(id, text) of the next memories above the first id up to the second: PAGE, fewer where texts
    are long; what a flipped bit made of a text is read as one."""
    sql = "SELECT id, CAST(ifnull(text, '') AS TEXT) FROM memories WHERE id > ? AND id <= ?"
    with translated(records.path), records.reading() as reader:
        return next(pages(reader.execute(f"{sql} ORDER BY id", (after, upto))), [])


def pages(rows: Iterable[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    """(id, text) in such pages."""
    page: list[tuple[int, str]] = []
    taken = 0
    for number, text in rows:
        page.append((number, text))
        taken += 1 + len(text) // LONG
        if taken >= PAGE:
            yield page
            page, taken = [], 0
    if page:
        yield page


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
