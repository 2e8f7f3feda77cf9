"""The words index: what it holds is what the texts say, whatever came, went, broke or crashed."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nimad.check import check
from nimad.config import Config
from nimad.core import maintenance, status
from nimad.core import words as core_words
from nimad.core.store import MemoryStore
from nimad.errors import DiskFull, FormatCorrupt
from nimad.model import Memory
from nimad.store import checksums
from nimad.store.analysis import Analysis
from nimad.text import _tokens, tokens
from nimad.words import index, writer
from nimad.words.bulk import CutTexts, Lexicon
from nimad.words.kept_postings import NOTHING, Kept, KeptPostings
from nimad.words.segment import Segment
from tests.benchmarks.talk import make_talk
from tests.plain import full_text, holders

CONFIG = Config().replace(graph__engine="none", embedder="hash")
TEXTS = [
    *(record["text"] for record in make_talk(60, 1, seed=3).memories),
    *("running runs run", "", "\0", "snake_case and don't", "x" * 40_000, "the the the " * 200),
    *(
        "Café café CAFE",
        "京都abc駅",
        "我的猫喜欢睡觉",
        "猫",
        "🦊 fox 🦊🦊",
        "नमस्ते दुनिया",
        "ß Straße ﬁ",
    ),
    *("a" * 7, "a" * 8, "a" * 9, "aaaaaaaab", "aaaaaaaac", "z", "zz\u00ff", "\U0001f98a"),
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    opened = MemoryStore.open(tmp_path / "state", Config())
    opened.remember_many([Memory(f"the heron number {n} stands in the brook") for n in range(40)])
    yield opened
    opened.close()


@pytest.fixture
def sealed(store: MemoryStore) -> MemoryStore:
    """All words are in one file."""
    store.words.rebuild()
    return store


# --- what it holds --------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(texts=st.lists(st.sampled_from(TEXTS) | st.text(max_size=30), min_size=1, max_size=8))
def test_terms_are_those_of_fts5(texts: list[str]) -> None:
    """The tokenizer and stemmer that the words index of nimad had before it had one of its own."""
    rows = [(number, text, "") for number, text in enumerate(texts, 1)]
    with closing(Analysis()) as analysis, closing(full_text(rows)) as base:
        sql = "SELECT term FROM terms WHERE doc = ? AND col = ?"
        for (number, *_), (terms, length) in zip(rows, analysis.of_texts(texts), strict=True):
            words = [term for (term,) in base.execute(f"{sql} ORDER BY offset", (number, "text"))]
            signs = [term for (term,) in base.execute(f"{sql} ORDER BY offset", (number, "signs"))]
            assert list(terms) == words + signs and length == len(words)


@settings(max_examples=30, deadline=None)
@given(
    texts=st.lists(st.sampled_from(TEXTS) | st.text(max_size=30), min_size=1, max_size=20),
    cut=st.sampled_from([3, 20_000]),
    part=st.sampled_from([10, 100_000]),
)
def test_a_bulk_has_the_segment_of_its_texts_one_by_one(
    texts: list[str], cut: int, part: int
) -> None:
    ids = range(5, 5 + len(texts))
    with pytest.MonkeyPatch.context() as small, closing(Analysis()) as analysis:
        small.setattr("nimad.store.analysis.CUT", cut)
        small.setattr("nimad.words.bulk._TOGETHER", cut)
        small.setattr("nimad.store.analysis.PART", part)
        small.setattr("nimad.index.kernels.tokens._TOKENS", 2)
        small.setattr("nimad.index.kernels.tokens._BYTES", cut)
        terms, lengths = zip(*analysis.of_texts(texts), strict=True)
        bulk = CutTexts(lexicon := Lexicon(analysis.terms))
        bulk.add(texts[:3])
        bulk.add(texts[3:])
        numbers = bulk.terms()
        ours = writer.of_numbers(ids, lexicon.terms, numbers, bulk.held, bulk.lengths)
        assert bulk.size == sum(map(len, terms))
        for (name, mine), (_, others) in zip(
            ours, writer.of_texts(ids, terms, lengths), strict=True
        ):
            assert b"".join(mine) == b"".join(others), name


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 60)),
        st.tuples(st.just("forget"), st.integers(0, 200)),
        st.tuples(st.sampled_from(["idle", "start", "rebuild", "purge", "query"]), st.just(0)),
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(steps=STEPS, seed=st.integers(0, 99), step=st.sampled_from([1, 50, 300_000]))
def test_it_holds_what_the_texts_say(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]], seed: int, step: int
) -> None:
    rng = random.Random(seed)
    with pytest.MonkeyPatch.context() as small:
        for place, value in (("LEAST", 20), ("MOST", 40), ("TAIL", 70), ("FILLED", 30)):
            small.setattr(core_words, place, value)
        small.setattr(index, "LISTED", 7)
        small.setattr(writer, "MERGED", step)
        small.setattr("nimad.store.words.PAGE", 13)
        state = tmp_path_factory.mktemp("words") / "state"
        store = MemoryStore.open(state, CONFIG)
        try:
            for kind, value in [*steps, ("idle", 0)]:
                match kind:
                    case "add":
                        store.remember_many([Memory(rng.choice(TEXTS)) for _ in range(value)])
                    case "forget":
                        ids = store.records.ids().tolist()
                        store.forget(rng.sample(ids, min(len(ids), value)))
                    case "purge":
                        ids = store.records.ids().tolist()
                        store.forget(rng.sample(ids, min(len(ids), 3)), purge=bool(ids))
                    case "idle":
                        maintenance.finish(store)
                    case "rebuild":
                        store.words.rebuild()
                    case "query":
                        store.query("a fox")
                    case _:
                        store.close()
                        store = MemoryStore.open(state, CONFIG)
                compare(store)
            assert store.words.check() == [] and store.degraded() == {}
        finally:
            store.close()


def compare(store: MemoryStore) -> None:
    """Every term of every text, and how often; also those that nothing holds."""
    store.recall.follow()
    terms = store.recall._terms
    if not terms.complete:
        return
    held: dict[str, dict[int, int]] = {}
    rows = store.records.rows("SELECT id, text FROM memories")
    texts = [text for _, text in rows]
    with closing(Analysis()) as analysis:
        for (number, _), (found, _) in zip(rows, analysis.of_texts(texts), strict=True):
            for term, count in Counter(found).items():
                held.setdefault(term, {})[number] = count
    alive = {number for number, _ in rows}
    for term in [*held, "nothing holds this", "猫", "a", "zzz"]:
        expected: Counter[int] = Counter()
        for other, mine in held.items():
            if other == term or (term == "猫" and other.startswith(term)):
                expected.update(mine)
        mine = holders(terms, term, max(alive, default=0) + 1000)
        assert list(mine) == sorted(mine)
        assert {n: c for n, c in mine.items() if n in alive} == expected, term
        assert terms.holders(term) >= len(expected)


def test_it_stays_few_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often idle time writes the tail."""
    monkeypatch.setattr(core_words, "LEAST", 10)
    monkeypatch.setattr(core_words, "MOST", 10)
    with closing(MemoryStore.open(tmp_path / "state", CONFIG)) as store:
        for _ in range(60):
            store.remember_many([Memory("a note of the brook") for _ in range(10)])
            maintenance.finish(store)
            assert len(store.recall._terms.sealed) <= 5
        assert len(holders(store.recall._terms, "brook", 600)) == 600
        files = {path.stem for path in (tmp_path / "state" / "words").iterdir()}
        assert files == {segment.name for segment in store.recall._terms.sealed}
        store.forget(list(range(1, 601)))
        store.words.drop_forgotten()
        maintenance.finish(store)  # a file goes once nothing has it mapped
        assert not list((tmp_path / "state" / "words").iterdir())


def test_what_comes_while_the_tail_is_written_is_held_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "LISTED", 3)
    monkeypatch.setattr(core_words, "LEAST", 10)
    plain = writer.write_file
    with closing(MemoryStore.open(tmp_path / "state", CONFIG)) as store:

        def write_slowly(*given: object) -> object:
            store.remember_many([Memory("a note of the brook") for _ in range(20)])
            store.recall.follow()
            return plain(*given)  # type: ignore[arg-type]

        store.remember_many([Memory("a note of the brook") for _ in range(20)])
        store.recall.follow()
        monkeypatch.setattr(writer, "write_file", write_slowly)
        assert store.words.follow()
        monkeypatch.undo()
        assert holders(store.recall._terms, "brook", 100) == dict.fromkeys(range(1, 41), 1)


@pytest.mark.parametrize(("cut", "listed", "segments"), [(256, 512, 1), (30, 70, 2), (30, 30, 3)])
def test_a_bulk_becomes_segments_as_it_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int, listed: int, segments: int
) -> None:
    monkeypatch.setattr(index, "CUT", cut)
    monkeypatch.setattr(index, "LISTED", listed)
    monkeypatch.setattr(index, "BULK", 20)
    rng, ways = random.Random(5), 0

    def give_way() -> None:
        nonlocal ways
        ways += 1

    with closing(MemoryStore.open(tmp_path / "state", CONFIG)) as store:
        monkeypatch.setattr(store, "give_way", give_way)
        given = [Memory(rng.choice([text for text in TEXTS[:60] if text])) for _ in range(90)]
        ids = store.remember_many(given)
        assert [store.terms.waiting, len(store.terms.freeze())] == [90, segments]
        assert ways >= -(-90 // cut) + 8 * segments, "others are let by before each step"
        store.terms.add_ahead(ids, [memory.text for memory in given], lambda: None)
        assert store.terms.waiting == 90, "what is there already is left as it is"
        compare(store)


def test_words_of_ascii_are_cut_as_those_of_all_scripts() -> None:
    for code in range(128):
        for around in ("{}", "Ab{}cD", " {} x{}"):
            text = around.replace("{}", chr(code))
            assert tokens(text) == [t for word in text.split() for t in _tokens(word)]


def test_a_file_is_written_in_portions_between_which_questions_go_first(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MERGED", 20)  # of 240 postings
    asked: list[int] = []
    monkeypatch.setattr(store.words, "_give_way", lambda: asked.append(1))
    store.recall.follow()
    store.words._replace([], store.terms.freeze())
    assert len(asked) > 24, "each portion in steps"
    assert store.words.check() == []


@pytest.mark.parametrize("count", [10, 600])
def test_a_stop_writes_what_the_next_start_would_read(tmp_path: Path, count: int) -> None:
    """As idle time would have: words and columns of many memories, not of a few."""
    state = tmp_path / "state"
    store = MemoryStore.open(state, CONFIG)
    store.remember_many([Memory(f"the heron number {n} stands in the brook") for n in range(count)])
    assert len(store.query("heron").hits) == 10 and not list((state / "words").iterdir())
    store.close()
    again = MemoryStore.open(state, CONFIG)
    assert again.terms.waiting == (count if count < core_words.LEAST else 0)
    assert len(list((state / "words").iterdir())) == (count >= core_words.LEAST)
    assert len(again.query("heron").hits) == 10
    again.close()


def test_what_was_read_of_a_word_stays_when_more_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    real = Segment.rows_of_term

    def rows_of_term(segment: Segment, *given: Any) -> Any:
        read.append(segment.first)
        return real(segment, *given)

    monkeypatch.setattr(Segment, "rows_of_term", rows_of_term)
    monkeypatch.setattr(index, "BULK", 20)
    monkeypatch.setattr(index, "JOINED", 4)
    with closing(MemoryStore.open(tmp_path / "state", CONFIG)) as store:
        for bulk in range(9):
            store.remember_many([Memory(f"a brook, {n % 3} of {bulk}") for n in range(20)])
            store.recall.follow()
            columns = store.recall._columns
            read.clear()
            for _ in range(2):
                rows, _ = store.terms.rows("brook", columns.id[:], columns.layout)
                assert rows.tolist() == [*range(20 * (bulk + 1))]
            joined = bulk in (3, 6)  # what was read and what was not became one segment
            assert read == [1 if joined else 20 * bulk + 1], bulk
        compare(store)


def test_a_tail_that_takes_much_is_written_before_more_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much came that no question has looked for."""
    monkeypatch.setattr(index, "LISTED", 10)
    monkeypatch.setattr(core_words, "TAIL_BYTES", 20_000)
    monkeypatch.setattr(core_words, "STEP_SECONDS", 0.001)
    monkeypatch.setattr("nimad.recall.ranking._FOLLOW_ROWS", 20)
    talk = iter(make_talk(800, 1, seed=4).memories)
    with closing(MemoryStore.open(tmp_path / "state", CONFIG)) as store:
        for _ in range(16):
            store.remember_many([Memory(next(talk)["text"]) for _ in range(50)])
        most = 0
        while store.words.follow():
            most = max(most, store.terms.waiting_bytes)
        assert store.terms.seen == 800
        assert 10_000 < most < 30_000
        assert store.words.check() == []


def test_what_is_remembered_writes_no_words(sealed: MemoryStore) -> None:
    before = sorted((sealed.state / "words").iterdir())
    number = sealed.remember(Memory("a badger in the snow"))
    assert sealed.query("badger", mode="words").hits[0].memory.id == number
    assert sorted((sealed.state / "words").iterdir()) == before


# --- damage ---------------------------------------------------------------------------------------


def flip(path: Path, region: str = "gaps") -> None:
    """Set every bit of a region of the file, in place."""
    segment = Segment.open(path)
    assert segment.container is not None
    place = segment.container.regions[region]
    with path.open("r+b") as file:
        file.seek(place.offset)
        file.write(b"\xff" * place.length)


def only_file(store: MemoryStore) -> Path:
    (path,) = (store.state / "words").iterdir()
    return path


HARM = {
    "flipped": flip,
    "its dictionary": lambda path: flip(path, "heads"),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "empty": lambda path: path.write_bytes(b""),
    "gone": Path.unlink,
    "another": lambda path: path.write_bytes((path.parent / "old").read_bytes()),
}


@pytest.mark.parametrize("how", HARM)
@pytest.mark.parametrize("tail", [10, 5000])
def test_a_start_and_idle_time_mend_it(
    sealed: MemoryStore, how: str, tail: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_words, "TAIL", tail)
    path = only_file(sealed)
    if how == "another":
        (path.parent / "old").write_bytes(path.read_bytes())
        sealed.remember(Memory("one more"))
        sealed.words.rebuild()
        path = next(path.parent.glob("wds-*"))
    sealed.close()
    HARM[how](path)
    with closing(MemoryStore.open(sealed.state, sealed.config)) as again:
        answer = again.query("the heron number 7 stands in the brook", k=1)
        assert answer.hits[0].memory.text == "the heron number 7 stands in the brook"
        assert answer.degraded == (["words"] if tail == 10 else [])
        assert again.degraded() == ({"words": core_words.WHY} if tail == 10 else {})
        maintenance.finish(again)
        assert again.degraded() == {}
        assert [problem for problem in check(again) if problem.severity == "error"] == []
        assert len(again.query("heron", k=50, mode="words").hits) == 40


def test_the_query_that_meets_it_goes_on_and_tells(sealed: MemoryStore) -> None:
    maintenance.finish(sealed)
    flip(only_file(sealed))
    answer = sealed.query("the heron number 7 stands in the brook", k=1)
    assert answer.hits[0].memory.text == "the heron number 7 stands in the brook"
    assert answer.degraded == ["words"] == list(status.describe(sealed)["degraded"])
    number = sealed.remember(Memory("a badger in the snow"))
    sealed.forget([1, 2], purge=True)
    maintenance.finish(sealed)
    assert sealed.degraded() == {}
    assert [problem for problem in check(sealed) if problem.severity == "error"] == []
    assert sealed.query("badger", mode="words").hits[0].memory.id == number
    assert len(sealed.query("heron", k=50, mode="words").hits) == 38


def test_silent_damage_is_looked_for_once_a_week(sealed: MemoryStore) -> None:
    maintenance.finish(sealed)
    flip(only_file(sealed), "lengths")
    for _ in sealed.words.verify_steps():
        pass
    assert list(sealed.degraded()) == ["words"]
    maintenance.finish(sealed)
    assert sealed.degraded() == {} and sealed.words.check() == []


def test_doctor_tells_and_only_tells(sealed: MemoryStore) -> None:
    with sealed.records.write() as tx:
        tx.execute("UPDATE memories SET text = 'changed', checksum = NULL WHERE id = 7")
    first = [problem for problem in check(sealed) if problem.part == "words"]
    assert first[0].severity == "error" and list(sealed.degraded()) == ["words"]
    again = [problem for problem in check(sealed) if problem.part == "words"]
    assert again[0] == first[0], "nothing was mended by looking"
    maintenance.finish(sealed)
    assert sealed.words.check() == []


def test_what_comes_while_doctor_looks_is_no_damage(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    freeze = index.TermIndex.freeze

    def let_one_come(terms: index.TermIndex) -> tuple[Segment, ...]:
        parts = freeze(terms)
        number = store.remember(Memory("a lantern in the brook"))
        store.query("lantern")
        assert terms.seen == number
        return parts

    monkeypatch.setattr(index.TermIndex, "freeze", let_one_come)
    assert store.words.check() == []


@pytest.mark.parametrize("region", ["gaps", "more", "heads", "terms", "term_ends", "gap_ends"])
def test_no_damage_reads_foreign_memory(tmp_path: Path, region: str) -> None:
    """What gets past the checksums, because it happened later, is an error or another answer."""
    terms = [("one", "two", "two"), ("two",) * 300, ("three",)] * 50
    ids = range(10, 160)
    path = tmp_path / "wds-1.nsw"
    writer.write_file(path, writer.of_texts(ids, terms, [len(t) for t in terms]))
    segment = Segment.open(path)
    flip(path, region)
    for number in range(len(segment)):
        try:
            found, counts = segment.rows_of_term(number, segment.places_in(np.arange(200)))
        except FormatCorrupt:
            continue
        assert len(found) == len(counts) == segment.holders[number]
        assert found.min() >= 10 and found.max() < 160


# --- the table of before --------------------------------------------------------------------------

FORMER = "CREATE VIRTUAL TABLE words USING fts5 (text, who, signs, content = '')"
DAMAGE = {
    "whole": "SELECT 1",
    "lost": "DELETE FROM words_data WHERE id > 10",
    "noise": "UPDATE words_data SET block = randomblob(length(block))",
    "huge": "UPDATE words_data SET block = x'b2b725541252f10e4ee8b3fb' WHERE id = 10",
}


def with_former_table(store: MemoryStore, how: str = "whole") -> MemoryStore:
    """As nimad before schema 9 left it."""
    store.close()
    with closing(sqlite3.connect(store.records.path)) as outside:
        outside.execute(FORMER)
        sql = "INSERT INTO words (rowid, text) SELECT id, text || ' ' || id FROM memories"
        outside.execute(sql)
        outside.execute("DELETE FROM meta WHERE key = 'words'")
        outside.commit()
    with closing(sqlite3.connect(store.records.path)) as outside:  # one that FTS5 is no part of
        outside.execute(DAMAGE[how])
        outside.commit()
    return MemoryStore.open(store.state, store.config)


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("by", ["idle time", "purge"])
def test_a_former_table_goes(
    store: MemoryStore, how: str, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nimad.store.words.DROPPED", 7)
    again = with_former_table(store, how)
    assert len(again.query("heron", k=50, mode="words").hits) == 40
    assert again.degraded() == {} and checksums.integrity_problems(again.records) == []
    if by == "purge":
        assert again.forget([40], purge=True).unfinished == {}
    else:
        while maintenance.step(again):
            assert checksums.integrity_problems(again.records) == [], "half dropped it is no damage"
    tables = again.records.rows("SELECT name FROM sqlite_schema WHERE name LIKE 'words%'")
    assert tables == [] and checksums.integrity_problems(again.records) == []
    again.close()


def test_access_counts_survive_a_write_that_fails(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nimad.core.accesses.FLUSH_SECONDS", -1.0)
    store.query("heron number 7", k=1)

    def fail(*_: object) -> None:
        raise DiskFull(detail="on purpose")

    with monkeypatch.context() as broken:
        broken.setattr("nimad.core.accesses.Accesses.written", lambda *_: None)
        broken.setattr("nimad.core.clock.Clock.note", fail)
        with pytest.raises(DiskFull):
            store.remember(Memory("a badger"))
    store.remember(Memory("a badger"))
    assert store.records.value("SELECT sum(access_count) FROM memories") == 1
    store.remember(Memory("an otter"))
    assert store.records.value("SELECT sum(access_count) FROM memories") == 1


def test_what_was_read_before_all_was_forgotten_is_not_kept() -> None:
    kept = KeptPostings()
    rows = np.arange(3, dtype=np.uint32), np.ones(3, np.uint16)
    known, state = Kept(rows, 3, (1, 1, 3)), (1, 1, 3)
    before = kept.forgotten
    kept.keep("kettle", known, 3, before)
    assert kept.of("kettle", before) is known and kept.whole("kettle", state) is rows
    kept.forget()
    kept.keep("kettle", known, 3, before)
    assert kept.whole("kettle", state) is None
    kept.keep("kettle", known, 3, kept.forgotten)
    assert kept.of("kettle", kept.forgotten) is known
    assert kept.of("kettle", before) is NOTHING, "its rows may be those of another layout"
