"""Recall through the store: what is found, what is not, and that nothing leaks or drifts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nimad.config import Config
from nimad.core import maintenance
from nimad.core.store import MemoryStore
from nimad.model import Filter, Hit, Memory
from nimad.recall.columns import NONE
from nimad.recall.query_context import PARTS
from nimad.recall.ranking import Recall
from nimad.recall.scopes import Scopes
from nimad.recall.scoring import BONUSES
from nimad.recall.weights import DEFAULT, Weights
from nimad.words.index import TermIndex
from tests.plain import FollowedColumns, search_words
from tests.samples.talk import ASKED, CHAT, DAYS_ASKED, LAPS, STRANGE
from tests.threads import setting, side_by_side
from tests.unit.test_recall_session_neighbours import by_definition

CONFIG = Config().replace(graph__engine="none")
DAY = 86_400_000

GERMAN = [
    "Der Schlüssel für den Keller hängt neben der Haustür.",
    "Meine Großmutter backt jeden Sonntag Apfelkuchen.",
    "Wir haben das Fahrrad in der Werkstatt abgegeben.",
    "Am Freitag kommt der Klempner wegen der Heizung.",
    "Die Katze schläft am liebsten auf dem Sofa.",
]
JAPANESE = [
    "昨日、京都で古い寺を見ました。",
    "姉は大阪で数学を教えています。",
    "自転車の鍵は台所の引き出しにあります。",
    "猫は毎朝六時に起きます。",
    "来月、東京へ引っ越す予定です。",
]


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[Callable[..., MemoryStore]]:
    made: list[MemoryStore] = []

    def open_at(place: str = "state") -> MemoryStore:
        made.append(MemoryStore.open(tmp_path / place, CONFIG))
        return made[-1]

    yield open_at
    for store in made:
        store.close()


@pytest.fixture
def store(open_store: Callable[..., MemoryStore]) -> MemoryStore:
    return open_store()


def chat(**more: object) -> list[Memory]:
    return [
        Memory(text=text, who=who, timestamp=1_700_000_000_000 + n * 60_000, session="s", **more)  # type: ignore[arg-type]
        for n, (who, text) in enumerate(CHAT)
    ]


def texts(store: MemoryStore, query: str, **more: object) -> list[str]:
    return [hit.memory.text for hit in store.query(query, **more).hits]  # type: ignore[arg-type]


def shape(hits: list[Hit]) -> list[tuple[int, float]]:
    return [(hit.memory.id, hit.score) for hit in hits]


# --- what is found --------------------------------------------------------------------------------


@pytest.mark.parametrize(("query", "place"), ASKED)
def test_questions_about_a_chat(store: MemoryStore, query: str, place: int) -> None:
    store.remember_many(chat())
    assert texts(store, query)[0] == CHAT[place][1]


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("Wo hängt der Schlüssel?", 0),
        ("Wer backt Apfelkuchen?", 1),
        ("Wann kommt der Klempner?", 3),
        ("Wo schläft die Katze?", 4),
    ],
)
def test_german_without_names_turns_or_dates(store: MemoryStore, query: str, place: int) -> None:
    store.remember_many([Memory(text=text) for text in GERMAN])
    assert texts(store, query)[0] == GERMAN[place]


@pytest.mark.parametrize("mode", ["hybrid", "words"])
@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("京都で何を見ましたか", 0),
        ("数学を教えているのは誰", 1),
        ("自転車の鍵はどこ", 2),
        ("猫", 3),
        ("東京", 4),
    ],
)
def test_japanese_words_are_found_inside_a_run(
    store: MemoryStore, query: str, place: int, mode: str
) -> None:
    store.remember_many([Memory(text=text) for text in JAPANESE])
    assert texts(store, query, mode=mode)[0] == JAPANESE[place]
    (late,) = store.remember_many([Memory(text="京都の地図は机の上です。")])  # after what was read
    assert late in [hit.memory.id for hit in store.query("京都", mode=mode).hits]


def test_an_answer_without_a_word_of_its_question(store: MemoryStore) -> None:
    store.remember_many(chat())
    spoken = [Memory(text=m.text, who=m.who, namespace="talk") for m in chat()]
    notes = [Memory(text=m.text, namespace="notes") for m in chat()]
    store.remember_many([*spoken, *notes])
    found = texts(store, "How old is the kitten?", where=Filter(namespace="default"))
    assert CHAT[2][1] in found[:3]  # "Nine weeks", after "how old is it?"
    parts = {
        name: store.query("kitten", 20, "words", Filter(namespace=name)).hits
        for name in ("default", "talk", "notes")
    }
    assert len(parts["default"]) == 3  # the hit and the two turns after it
    assert len(parts["talk"]) == 3  # so it is where two speak, and no session is named
    assert len(parts["notes"]) == 1  # of nobody, at no time: nothing belongs together


def test_neighbours_end_with_the_session(store: MemoryStore) -> None:
    first = [
        Memory(text="We bought a telescope.", session="1"),
        Memory(text="Lovely.", session="1"),
    ]
    second = [Memory(text="Good morning, all.", session="2"), Memory(text="Sure.", session=None)]
    store.remember_many([*first, *second])
    assert texts(store, "telescope", mode="words") == ["We bought a telescope.", "Lovely."]


def test_a_name_alone_brings_what_was_said_by_whom(store: MemoryStore) -> None:
    store.remember_many(chat())
    for mode in ("hybrid", "words", "meaning"):
        hits = store.query("Ben", 4, mode).hits
        assert [hit.memory.who for hit in hits] == ["Ben"] * 4, mode


def test_a_name_in_full_means_no_other_that_shares_a_word(store: MemoryStore) -> None:
    said = "The corpus has ninety hours of meetings."
    names = ("Grad A", "Grad B", "Grad C", "PhD B", "John Smith", "John Miller")
    store.remember_many([Memory(said, who=name, timestamp=n) for n, name in enumerate(names, 1)])

    def named(text: str) -> set[str | None]:
        hits = store.query(text, 10).hits
        return {hit.memory.who for hit in hits if hit.parts["subject"] > 0}

    assert named("What did Grad B say of the corpus?") == {"Grad B"}
    assert named("What did John Smith say of the corpus?") == {"John Smith"}
    assert named("What did John say of the corpus?") == {"John Smith", "John Miller"}
    assert named("What did John Smith and Grad C say of the corpus?") == {"John Smith", "Grad C"}


def test_a_date_in_the_question(store: MemoryStore) -> None:
    noon = datetime(2023, 5, 8, 12)
    days = [noon + timedelta(days=n * 20) for n in range(6)]
    store.remember_many(
        [
            Memory(text="We met and talked for an hour.", timestamp=round(day.timestamp() * 1000))
            for day in days
        ]
    )
    for query in ("What happened on 8 May 2023?", "Was war am 8. Mai 2023?", "met 2023-05-08"):
        hits = store.query(query).hits
        assert hits and hits[0].memory.timestamp == round(noon.timestamp() * 1000), query


def test_yesterday_counts_from_now(store: MemoryStore) -> None:
    now = round(datetime(2024, 3, 5, 15).timestamp() * 1000)
    store.remember_many([Memory(text="We met here.", timestamp=now - n * DAY) for n in range(6)])
    recall = Recall(store.records, lambda: (store.blocks, store.embedder), clock=lambda: now)
    for query in ("Who met yesterday?", "Wer kam gestern? met", "met 昨日"):
        # which day comes first is asked here, not whether words of two languages are enough
        (hit,) = recall.query(query, 1, "hybrid", Filter(), strictness=0)
        assert hit.memory.timestamp == now - DAY, query


@pytest.mark.parametrize("query", STRANGE)
def test_nothing_where_nothing_fits(store: MemoryStore, query: str) -> None:
    store.remember_many(chat())
    assert texts(store, query) == []


@pytest.mark.parametrize("mode", ["hybrid", "words", "meaning"])
@pytest.mark.parametrize("size", [1, 3, 8])
def test_small_stores_answer_and_abstain(store: MemoryStore, size: int, mode: str) -> None:
    """Neither silent nor talkative, however little they know."""
    store.remember_many(chat()[:size])
    assert texts(store, "Which kitten did Anna adopt?", mode=mode)[0] == CHAT[0][1]
    for stranger in STRANGE[:3]:
        assert texts(store, stranger, mode=mode) == [], stranger


def test_german_nouns_are_no_strangers(store: MemoryStore) -> None:
    """Every noun has a capital letter there, so one that is nowhere says little."""
    store.remember_many([Memory(text=text) for text in GERMAN])
    query = "Wann kommt der Klempner mit seinem Werkzeug wegen der Heizung?"
    assert texts(store, query)[0] == GERMAN[3]
    found = store.recall.evidence(query, "hybrid", Filter())
    assert found is not None and not found.unknown_name
    other = store.recall.evidence("When did Quentin call Zebulon?", "hybrid", Filter())
    assert other is not None and other.unknown_name


def test_the_evidence_decides(store: MemoryStore) -> None:
    store.remember_many(chat())
    for query in ("Which pet did Anna adopt?", "How is Quentin's zeppelin licence going?"):
        for mode in MODES:
            found = store.recall.evidence(query, mode, Filter())
            assert found is not None
            assert found.enough == bool(store.query(query, 1, mode).hits), (query, mode)
    assert store.recall.evidence("x", "hybrid", Filter(namespace="nowhere")) is None


def test_a_date_alone_is_a_question(store: MemoryStore) -> None:
    """ "What did we do yesterday?" has no other word that says anything."""
    now = round(datetime(2024, 3, 5, 15).timestamp() * 1000)
    store.remember_many([Memory(text=text, timestamp=now - n * DAY) for n, text in enumerate(LAPS)])
    for query, days in DAYS_ASKED:
        hits = store.recall.query(query, 2, "hybrid", Filter(), now)
        assert hits and (now - hits[0].memory.timestamp) // DAY in days, query


def test_the_parts_add_up(store: MemoryStore) -> None:
    store.remember_many(chat())
    for hit in store.query("Which pet did Anna adopt?").hits:
        known = {"lexical", "semantic", *BONUSES, "asks", "importance", "recency", "exact"}
        assert known <= set(hit.parts) <= known | {"cosine"}
        assert sum(hit.parts[name] for name in known) == pytest.approx(hit.score, abs=1e-5)


# --- laws -----------------------------------------------------------------------------------------

WORDS = st.sampled_from(
    [
        "kitten",
        "violin",
        "old",
        "train",
        "we",
        "Anna",
        "Ben",
        "the",
        "2023",
        "May",
        "京都",
        "猫",
        "straße",
        "?",
        "...",
        "x",
    ]
)
TEXTS = st.lists(WORDS, min_size=1, max_size=8).map(" ".join)
MEMORY = st.tuples(TEXTS, st.sampled_from(["Anna", "Ben", None]), st.sampled_from(["a", "b"]))
LAWS = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@LAWS
@given(memories=st.lists(MEMORY, min_size=1, max_size=25), query=TEXTS)
def test_no_namespace_leaks(
    tmp_path_factory: pytest.TempPathFactory,
    memories: list[tuple[str, str | None, str]],
    query: str,
) -> None:
    """Neither results nor scores depend on what another namespace holds."""
    place = tmp_path_factory.mktemp("leak")
    made = [Memory(text=t, who=w, namespace=n, session="s", timestamp=1) for t, w, n in memories]
    both, alone = (MemoryStore.open(place / name, CONFIG) for name in ("both", "alone"))
    try:
        both.remember_many(made)
        alone.remember_many([m for m in made if m.namespace == "a"])
        for mode in ("hybrid", "words", "meaning"):
            found = both.query(query, 50, mode, Filter(namespace="a")).hits
            assert {hit.memory.namespace for hit in found} <= {"a"}
            other = alone.query(query, 50, mode, Filter(namespace="a")).hits
            assert [(h.memory.text, h.score) for h in found] == [
                (h.memory.text, h.score) for h in other
            ]
    finally:
        both.close()
        alone.close()


@pytest.mark.parametrize("mode", ["hybrid", "words", "meaning"])
def test_a_name_alone_does_not_leak(store: MemoryStore, mode: str) -> None:
    store.remember_many([*chat(namespace="a"), *chat(namespace="b")])
    found = store.query("Ben", 50, mode, Filter(namespace="a")).hits
    assert {hit.memory.namespace for hit in found} == {"a"}
    assert store.query("Ben", 50, mode, Filter(namespace="a", who="Anna")).hits == []


@LAWS
@given(memories=st.lists(MEMORY, min_size=1, max_size=25), data=st.data())
def test_the_exact_sentence_comes_first(
    tmp_path_factory: pytest.TempPathFactory,
    memories: list[tuple[str, str | None, str]],
    data: st.DataObject,
) -> None:
    store = MemoryStore.open(tmp_path_factory.mktemp("exact") / "state", CONFIG)
    try:
        store.remember_many(
            [Memory(text=t, who=w, session="s", timestamp=1) for t, w, _ in memories]
        )
        wanted = data.draw(st.sampled_from([text for text, _, _ in memories]))
        if any(char.isalnum() for char in wanted):
            assert texts(store, wanted)[0] == wanted
            assert texts(store, f"  {wanted.upper() if wanted.isascii() else wanted} ")[0] == wanted
    finally:
        store.close()


@LAWS
@given(memories=st.lists(MEMORY, min_size=1, max_size=25), data=st.data())
def test_the_exact_sentence_comes_first_in_a_large_store_and_with_filters(
    tmp_path_factory: pytest.TempPathFactory,
    memories: list[tuple[str, str | None, str]],
    data: st.DataObject,
) -> None:
    """However few candidates there are, whatever it is made of, and how often it was said."""
    store = MemoryStore.open(tmp_path_factory.mktemp("exact") / "state", CONFIG)
    large = Weights(exact_rows=0, candidates=1, furthest=8)
    recall = Recall(store.records, lambda: (store.blocks, store.embedder), large)
    try:
        store.remember_many(
            [
                Memory(text=t, who=w, session="s", timestamp=n, namespace=space)
                for n, (t, w, space) in enumerate(memories, 1)
            ]
        )
        n = data.draw(st.integers(0, len(memories) - 1))
        wanted, who, space = memories[n]
        mode = data.draw(st.sampled_from(MODES))
        for where in (Filter(), Filter(namespace=space), Filter(who=who, after=n + 1)):
            found = recall.query(wanted.upper() + " ", 30, mode, where)
            assert " ".join(found[0].memory.text.casefold().split()) == wanted.casefold()
            plain = wanted.casefold()
            same = [hit for hit in found if hit.memory.text.casefold() == plain]
            assert found[: len(same)] == same
    finally:
        recall.close()
        store.close()


def test_two_ask_and_one_writes_at_the_same_time(store: MemoryStore) -> None:
    """Nobody sees half a change; what was written before a question is in its answer."""
    store.remember_many([Memory(text=f"Note {n} about shelf {n % 9}.") for n in range(300)])
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            hits = store.query("Which note is about shelf 4?", 20).hits
            assert hits and len({hit.memory.id for hit in hits}) == len(hits)

    with side_by_side([ask] * 3), setting(done):
        for n in range(60):
            (made,) = store.remember_many([Memory(text=f"Parcel {n} came.", session="s")])
            assert store.query(f"Parcel {n} came.", 1).hits[0].memory.id == made
            if n % 3 == 0:
                store.forget([made])
                found = store.query(f"Parcel {n} came.").hits
                assert made not in [hit.memory.id for hit in found]
            if n == 30:
                maintenance.rebuild(store, "blocks")


def test_the_steps_of_a_query_are_timed(store: MemoryStore) -> None:
    store.remember_many(chat())
    answer = store.query("Which pet did Anna adopt?")
    assert list(answer.timings) == [f"{part}_ms" for part in PARTS]
    assert 0 < sum(answer.timings.values()) <= answer.took_ms + 0.01


def test_the_same_scores_after_a_restart_a_seal_and_a_rebuild(
    open_store: Callable[..., MemoryStore],
) -> None:
    store = open_store()
    store.remember_many(chat())
    queries = ["Which pet did Anna adopt?", "bicycle", "Lisbon in May 2023", CHAT[5][1]]

    def ask(it: MemoryStore) -> list[list[tuple[int, float]]]:
        return [shape(it.query(query, 10, mode).hits) for query in queries for mode in MODES]

    before = ask(store)
    assert any(before)
    store.semantic.flush()
    assert ask(store) == before
    maintenance.rebuild(store, "all" if store.graph.engine != "none" else "blocks")
    maintenance.rebuild(store, "words")
    assert ask(store) == before
    store.close()
    again = open_store()
    assert ask(again) == before


MODES = ("hybrid", "words", "meaning")


def test_a_large_store_finds_what_a_small_one_finds(store: MemoryStore) -> None:
    """Candidates instead of all rows: the same best memory, nothing outside of the filter."""
    store.remember_many(chat())
    filler = [Memory(text=f"Note {n} about shelf {n % 7}.", namespace="other") for n in range(900)]
    store.remember_many(filler)
    store.semantic.flush()
    few = Recall(
        store.records,
        lambda: (store.blocks, store.embedder),
        Weights(exact_rows=0, candidates=20, furthest=8),
    )
    for query, where in [
        ("Which pet did Anna adopt?", Filter()),
        ("My bicycle was stolen", Filter(namespace="default")),
        ("shelf 3", Filter(namespace="other")),
    ]:
        whole = store.query(query, 10, where=where).hits
        found = few.query(query, 10, "hybrid", where)
        assert found[0].memory.id == whole[0].memory.id
        assert where.namespace in {None, *(hit.memory.namespace for hit in found)}


# --- the columns and the terms follow the records -------------------------------------------------


def check_columns(store: MemoryStore, columns: FollowedColumns) -> None:
    """The columns as SQL would give them."""
    columns.sync()
    rows = store.records.rows(
        "SELECT id, timestamp, namespace, layer, conversation, session, who"
        " FROM memories ORDER BY id"
    )
    alive = np.flatnonzero(columns.alive[:])
    assert columns.id[alive].tolist() == [row[0] for row in rows]
    assert columns.time[alive].tolist() == [row[1] for row in rows]
    assert columns.namespace[alive].tolist() == [row[2] for row in rows]
    assert columns.layer[alive].tolist() == [row[3] for row in rows]
    chains: dict[object, list[tuple[int, int]]] = {}
    for number, moment, space, _, talk, session, _ in rows:
        if (talk, session) != (None, None):
            chains.setdefault((space, talk, session), []).append((moment, number))
    before = {
        later[1]: earlier[1]
        for chain in chains.values()
        for earlier, later in zip(sorted(chain), sorted(chain)[1:], strict=False)
    }
    for row in alive:
        number, place = int(columns.id[row]), int(columns.before[row])
        if columns.session[row] > NONE:
            assert (int(columns.id[place]) if place != NONE else None) == before.get(number)
        if place != NONE:
            assert columns.after[place] == row
    now = list(zip(columns.before.tolist(), columns.after.tolist(), strict=True))
    assert now == by_definition(columns)  # those without sessions, too
    for who in ("Anna", "Ben", "anna"):
        where = Filter(who=who, after=3)
        mask = Scopes(store.records, columns, DEFAULT).of(where).mask
        assert columns.id[mask].tolist() == store.records.matching(where).tolist()


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("add"),
            st.integers(1, 6),
            st.integers(1, 9),
            st.sampled_from([None, "s", "t"]),
            st.sampled_from(["Anna", "Ben", None]),
        ),
        st.tuples(st.just("forget"), st.integers(1, 30), st.integers(0, 5)),
        st.tuples(st.just("bulk"), st.integers(500, 600)),
        st.tuples(st.just("prune")),
    ),
    max_size=10,
)


@settings(max_examples=20, deadline=None)
@given(steps=STEPS)
def test_columns_and_postings_follow_the_change_log(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[object, ...]]
) -> None:
    store = MemoryStore.open(tmp_path_factory.mktemp("columns") / "state", CONFIG)
    terms = TermIndex(store.records)
    columns = FollowedColumns(store.records, terms)
    try:
        for step in steps:
            match step:
                case ("add", int(count), int(moment), session, who):
                    store.remember_many(
                        [
                            Memory(text="one two one", timestamp=moment, session=session, who=who)  # type: ignore[arg-type]
                            for _ in range(count)
                        ]
                    )
                case ("forget", int(first), int(count)):
                    store.forget(list(range(first, first + count)))
                case ("bulk", int(count)):
                    store.remember_many(
                        [Memory(text="bulk two", timestamp=n + 1) for n in range(count)]
                    )
                case ("prune",):
                    with store.records.write() as tx:
                        tx.prune_changes(store.records.head())
            check_columns(store, columns)
            for term in ("one", "two", "bulk"):
                if not columns.count:
                    continue
                rows, counts = terms.rows(terms.cut(term)[0], columns.id, columns.layout)
                mine = columns.id[rows[columns.alive[rows]]].tolist()
                ids, _ = search_words(store.records, [term])
                assert mine == ids.tolist()
                assert set(counts.tolist()) <= ({2.0} if term == "one" else {1.0})
    finally:
        terms.close()
        store.close()


def test_places_of_words_are_not_kept_for_ever(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nimad.words.index.PLACES_KEPT", 10)
    terms = TermIndex(store.records)
    for n in range(100):
        assert not len(terms.rows(f"unknown{n}", np.arange(1), 1)[0])
    assert list(terms._places) == [f"unknown{n}" for n in range(90, 100)]
    terms.close()


def test_terms_are_those_of_the_index(store: MemoryStore) -> None:
    terms = TermIndex(store.records)
    assert terms.cut("Running") == terms.cut("runs") == ("run",)
    assert terms.cut("Café") == terms.cut("cafe")
    assert terms.cut("京都abc駅") == ("京都", "abc", "駅")
    assert terms.cut("snake_case") == ("snake", "case")
    assert terms.cut("кислорода") == ("кислоро*",) and terms.cut("вода") == ("вода",)
    assert terms.cut("\0") == ()
    terms.close()
