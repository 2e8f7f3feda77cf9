"""The MemoryStore: remember, query, forget, purge, rebuild, recovery, through its public face."""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nimad.check import check
from nimad.config import Config
from nimad.core import maintenance, reencoding, segments, semantic, status, unwritten
from nimad.core.store import MemoryStore
from nimad.errors import NotFound, RecordsDamaged, StateBusy, UsageError
from nimad.model import Filter, Memory, Relation
from nimad.store import staged_segments
from tests.threads import PATIENCE, Background, setting

TEXTS = [
    "Maya planted basil and tomatoes on the balcony",
    "The gate in the garden squeaks and needs oil",
    "Jonas repaired the bicycle brake on Saturday",
    "The water meter showed 512 cubic metres in March",
    "Grandmother's plum cake recipe needs cinnamon",
    "The heating fails whenever it freezes outside",
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    opened = MemoryStore.open(tmp_path / "state", Config())
    yield opened
    opened.close()


def reopen(store: MemoryStore, **changes: object) -> MemoryStore:
    store.close()
    return MemoryStore.open(store.state, store.config.replace(**changes))


def fill(store: MemoryStore) -> list[int]:
    return store.remember_many([Memory(text=text, who="Maya") for text in TEXTS])


def errors(store: MemoryStore) -> list[str]:
    return [f"{p.part}: {p.what}" for p in check(store) if p.severity != "note"]


def test_doctor_is_right_after_each_of_many_writes(store: MemoryStore) -> None:
    """SQLite 3.46 called a table damaged that another connection had written since a check."""
    for number in range(50):
        store.remember(Memory(text=f"The lantern {number} hangs in the cellar.", who="Ada"))
        assert errors(store) == [], number


def test_what_is_remembered_is_found_at_once_and_after_a_restart(store: MemoryStore) -> None:
    ids = fill(store)
    for number, text in zip(ids, TEXTS, strict=True):
        assert store.query(text, k=1).hits[0].memory.id == number
    before = [(h.memory.id, h.score) for h in store.query("what needs oil?").hits]
    again = reopen(store)
    assert [(h.memory.id, h.score) for h in again.query("what needs oil?").hits] == before
    assert before[0][0] == ids[1]
    assert errors(again) == []
    again.close()


def after_a_kill(store: MemoryStore, place: Path, config: Config | None = None) -> MemoryStore:
    """The store as a kill now leaves it, opened again: it has every vector, and finds the same."""
    shutil.copytree(store.state, place)
    alive = store.records.ids().tolist()
    told = [(hit.memory.id, hit.score) for hit in store.similar(alive[-1]).hits]
    again = MemoryStore.open(place, config or Config())
    assert again.blocks.ids().tolist() == alive and errors(again) == []
    assert [(hit.memory.id, hit.score) for hit in again.similar(alive[-1]).hits] == told
    return again


def test_vectors_are_written_a_few_at_a_time_and_made_again_after_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unwritten, "LATE_ROWS", 5)
    chance, store = random.Random(11), MemoryStore.open(tmp_path / "0", Config())
    alive: list[int] = []
    for step in range(1, 60):
        store.remember(Memory(text=f"{chance.choice(TEXTS)}, as note {step} says"))
        alive = store.records.ids().tolist()
        if chance.random() < 0.3:
            store.forget(chance.sample(alive, 1))
        if chance.random() < 0.1:
            store.semantic.flush()
            assert store.records.hot() == []
        hot = {number for number, _ in store.records.hot()}
        sealed = store.blocks.stats()["rows"] - store.blocks.stats()["hot"]
        alive = store.records.ids().tolist()
        assert hot <= set(alive) and len(alive) - sealed - len(hot) < 5
        if step % 10 == 0:
            before, store = store, after_a_kill(store, tmp_path / str(step))
            before.close()
    store.close()


def test_many_starts_without_an_idle_minute_between_them_leave_no_memory_without_a_vector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(semantic, "BULK_ROWS", 100)
    monkeypatch.setattr(unwritten, "BULK", 5)
    monkeypatch.setattr(unwritten, "LATE_ROWS", 50)
    config = Config().replace(**{"blocks.flush_rows": 100})
    store = MemoryStore.open(tmp_path / "0", config)
    for step in range(1, 10):
        for number in range(40):
            store.remember(Memory(text=f"{TEXTS[0]}, as note {number} of day {step} says"))
        before, store = store, after_a_kill(store, tmp_path / str(step), config)
        before.close()
        store.semantic.settle()  # these two as the daemon does right after READY
        store.semantic.seal_bulk()
        assert store.blocks.stats()["hot"] < 100
    store.close()


def test_what_a_start_left_and_cannot_be_read_fails_no_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore.open(tmp_path / "0", Config())
    ids = [store.remember(Memory(text=text)) for text in TEXTS[:3]]
    shutil.copytree(store.state, tmp_path / "1")
    store.close()
    store = MemoryStore.open(tmp_path / "1", Config())

    def fails(*_: object) -> None:
        raise RecordsDamaged(path=store.records.path, detail="it says no")

    with monkeypatch.context() as patch:
        patch.setattr(segments, "encode_memories", fails)
        assert store.query(TEXTS[0], mode="words").hits and store.query(TEXTS[0]).hits
    assert store.semantic.unencoded_ids == ids
    while store.semantic.follow():
        pass
    assert store.blocks.ids().tolist() == ids
    store.close()


def test_a_write_that_waits_for_a_seal_puts_no_vector_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unwritten, "LATE_ROWS", 5)
    store = MemoryStore.open(tmp_path / "state", Config())
    first = store.remember_many([Memory(text=text) for text in TEXTS[:4]])
    waiting = Background(store.remember, Memory(text=TEXTS[4]))

    def let_one_wait(point: str) -> None:
        if point == "seal.listed":
            waiting.start()
            while not store.records.waiting_writers:
                time.sleep(0.001)

    monkeypatch.setattr(segments, "crash_point", let_one_wait)
    assert store.semantic.flush() == 4
    waiting.finish()
    store.forget(first[:1])
    shutil.copytree(store.state, tmp_path / "crashed")
    store.close()
    again = MemoryStore.open(tmp_path / "crashed", Config())
    assert errors(again) == [] and len(again.blocks.ids()) == 4
    again.close()


@pytest.mark.parametrize("mode", ["hybrid", "meaning", "words"])
def test_every_mode_finds_an_exact_sentence(store: MemoryStore, mode: str) -> None:
    ids = fill(store)
    assert store.query(TEXTS[4], k=1, mode=mode).hits[0].memory.id == ids[4]


def test_filters_never_leak(store: MemoryStore) -> None:
    store.remember(Memory(text="the secret word is heron", namespace="a"))
    store.remember(Memory(text="the secret word is magpie", namespace="b"))
    for mode in ("hybrid", "meaning", "words"):
        hits = store.query("secret word", mode=mode, where=Filter(namespace="b")).hits
        assert [hit.memory.namespace for hit in hits] == ["b"]
    assert store.query("secret word", where=Filter(namespace="c")).hits == []


def test_nothing_relevant_means_nothing(store: MemoryStore) -> None:
    assert store.query("anything").hits == []
    fill(store)
    assert store.query("quantum chromodynamics lagrangian", k=5).hits == []


def test_bad_memories_are_refused_and_leave_nothing(store: MemoryStore) -> None:
    good = Memory(text="fine")
    for bad in (
        Memory(text="\ud800"),
        Memory(text="x" * 200_001),
        Memory(text="x", layer="dream"),
        Memory(text="x", importance=float("nan")),
        Memory(text="x", namespace=""),
        Memory(text="x", timestamp=10**18),
        Memory(text="x", extra={"a": float("inf")}),
    ):
        with pytest.raises(UsageError):
            store.remember_many([good, bad])
    assert store.records.counts()["memories"] == 0


def test_one_process_owns_a_state_directory(store: MemoryStore) -> None:
    with pytest.raises(StateBusy, match="already owns"):
        MemoryStore.open(store.state, Config())


def test_similar_is_the_same_hot_and_sealed(store: MemoryStore) -> None:
    ids = fill(store)
    hot = [(hit.memory.id, hit.score) for hit in store.similar(ids[0], 3).hits]
    assert hot and ids[0] not in [memory for memory, _ in hot]
    store.blocks.write_segment("seg-1", np.array(ids), store.embedder.embed(TEXTS))
    store.blocks.publish(["seg-1"])
    store.blocks.trim(np.array(ids))
    sealed = [(hit.memory.id, hit.score) for hit in store.similar(ids[0], 3).hits]
    assert [memory for memory, _ in sealed] == [memory for memory, _ in hot]
    assert sealed[0][1] == pytest.approx(hot[0][1], abs=0.01)
    with pytest.raises(NotFound):
        store.similar(999)


def test_related_sees_what_was_just_written(store: MemoryStore) -> None:
    first, second, third = fill(store)[:3]
    with store.records.write() as tx:
        tx.add_relations([(Relation(first, second, "before", 0.5), None, None)])
        tx.add_relations([(Relation(third, first, "explains", None), None, None)])
    near = {(r.memory.id, r.relation, r.direction) for r in store.related(first)}
    assert near == {(second, "before", "out"), (third, "explains", "in")}
    with pytest.raises(NotFound):
        store.related(999)


def test_maintenance_keeps_nobody_waiting(store: MemoryStore) -> None:
    first, second = fill(store)[:2]
    with store.records.write() as tx:
        tx.add_relations([(Relation(first, second, "before", 0.5), None, None)])
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with store.maintenance:
            held.set()
            assert done.wait(PATIENCE)

    with Background(hold), setting(done):
        assert held.wait(PATIENCE)
        late = store.remember(Memory(text="written during maintenance"))
        assert store.query("written during maintenance", k=1).hits[0].memory.id == late
        with store.records.write() as tx:
            tx.add_relations([(Relation(first, late, "after", None), None, None)])
        assert [r.memory.id for r in store.related(first)] == [second, late]
        assert store.forget([late]).forgotten == [late]


def test_without_a_graph_everything_else_works(tmp_path: Path) -> None:
    store = MemoryStore.open(tmp_path / "s", Config().replace(graph__engine="none"))
    ids = fill(store)
    assert store.query(TEXTS[0], k=1).hits[0].memory.id == ids[0]
    with store.records.write() as tx:
        tx.add_relations([(Relation(ids[0], ids[1], "before", 0.5), None, None)])
    assert [r.memory.id for r in store.related(ids[0])] == [ids[1]]
    assert errors(store) == []
    store.close()


def test_forget_removes_from_every_part(store: MemoryStore) -> None:
    ids = fill(store)
    store.semantic.flush()
    receipt = store.forget([ids[0], ids[0], 999], dry_run=True)
    assert (receipt.forgotten, receipt.missing, receipt.dry_run) == ([ids[0]], [999], True)
    assert store.get(ids[0]).text == TEXTS[0]
    assert store.forget([ids[0], 999]).forgotten == [ids[0]]
    for mode in ("hybrid", "meaning", "words"):
        assert ids[0] not in [h.memory.id for h in store.query(TEXTS[0], mode=mode).hits]
    with pytest.raises(NotFound):
        store.get(ids[0])
    again = reopen(store)
    assert ids[0] not in [h.memory.id for h in again.query(TEXTS[0]).hits]
    assert errors(again) == []
    again.close()


def traces(directory: Path, *needles: bytes) -> list[str]:
    """Files below a directory that hold any of the byte strings."""
    return [
        f"{path.relative_to(directory)}: {needle!r}"
        for path in sorted(directory.rglob("*"))
        if path.is_file()
        for needle in needles
        if needle in path.read_bytes()
    ]


def test_a_purge_leaves_no_trace(store: MemoryStore) -> None:
    fill(store)
    rng = random.Random(7)
    noise = [Memory(text=" ".join(rng.choices("abcdefghij", k=300))) for _ in range(200)]
    store.remember_many(noise[:100])
    secret = Memory(
        text="The qxzvworm sleeps under the wjkplank. " * 60,
        who="Zzyzxperson",
        session="sessionqqq",
        turn="turnqqq",
        layer="input",
        where="placeqqq",
        tags=("tagqqq",),
        extra={"note": "extraqqq"},
    )
    number = store.remember(secret)
    store.remember_many(noise[100:])
    store.semantic.flush()
    store.graph.rebuild()
    needles = [b"qxzvworm", b"wjkplank", b"Zzyzxperson", b"sessionqqq", b"turnqqq", b"placeqqq"]
    needles += [b"tagqqq", b"extraqqq"]
    assert traces(store.state, b"qxzvworm")
    (store.state / "aside" / "ladybug.db.1").write_bytes(b"a damaged graph that knew Zzyzxperson")
    receipt = store.forget([number], purge=True)
    assert receipt.purged
    assert traces(store.state, *needles) == []
    assert errors(store) == []
    assert store.query(TEXTS[0], k=1).hits[0].memory.text == TEXTS[0]


@pytest.mark.parametrize("part", ["words", "blocks", "graph", "all"])
def test_every_projection_can_be_made_anew(store: MemoryStore, part: str) -> None:
    fill(store)
    store.semantic.flush()
    store.remember(Memory(text="a late one"))
    store.forget([2])
    before = [(h.memory.id, h.score) for h in store.query("bicycle brake").hits]
    made = maintenance.rebuild(store, part)
    assert set(made) == ({"words", "blocks", "graph"} if part == "all" else {part})
    assert all(item.rows == len(TEXTS) for item in made.values())
    assert [(h.memory.id, h.score) for h in store.query("bicycle brake").hits] == before
    assert errors(store) == []


def test_another_embedder_takes_over_in_idle_time(store: MemoryStore) -> None:
    ids = fill(store)
    store.semantic.flush()
    again = reopen(store, embedder="hash")
    assert again.embedder.name == "static" and again.semantic.due
    late = again.remember(Memory(text="written while the old one still serves"))
    maintenance.finish(again)
    assert again.embedder.name == "hash" and not again.semantic.due
    assert again.query(TEXTS[0], k=1, mode="meaning").hits[0].memory.id == ids[0]
    assert len(again.blocks.ids()) == len(ids) + 1 and late in again.blocks.ids()
    assert errors(again) == []
    once_more = reopen(again)
    assert once_more.embedder.name == "hash" and not once_more.semantic.due
    once_more.close()


def test_the_old_vectors_serve_until_the_new_ones_are_complete(store: MemoryStore) -> None:
    fill(store)
    again = reopen(store, embedder="hash")
    work = again.semantic.begin_reencoding()
    work._size = 2
    assert work.step()
    progress = status.describe(again)["embedder"]
    assert (progress["name"], progress["wanted"], progress["done"]) == ("static", "hash", 2)
    before = again.query(TEXTS[0], k=3, mode="meaning")
    late = again.remember(Memory(text="a late one about an umbrella"))
    assert again.query("umbrella", mode="meaning").hits[0].memory.id == late
    again.forget([1])
    again.forget([2], purge=True)
    assert before.hits[0].memory.id == 1
    while work.step():
        pass
    assert again.embedder.name == "static"
    assert work.finish() == len(TEXTS) - 1
    assert again.embedder.name == "hash" and work.finish() == len(TEXTS) - 1
    assert again.query("umbrella", mode="meaning").hits[0].memory.id == late
    assert sorted(again.blocks.ids()) == again.records.ids().tolist()
    assert errors(again) == []
    again.close()


def test_a_purge_reaches_the_vectors_that_are_not_in_use_yet(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reencoding, "SEAL_ROWS", 2)
    fill(store)
    again = reopen(store, embedder="hash")
    work = again.semantic.begin_reencoding()
    work._size = 2
    assert work.step() and again.records.value("SELECT sum(rows) FROM pending") == 2
    (noted,) = staged_segments.names(again.records)
    again.forget([1], purge=True)
    assert staged_segments.names(again.records) == [] and not again.blocks.path(noted).exists()
    maintenance.finish(again)
    assert again.embedder.name == "hash" and errors(again) == []
    assert sorted(again.blocks.ids()) == again.records.ids().tolist()
    again.close()


def test_without_room_for_a_second_index_the_old_one_stays(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    again = reopen(store, embedder="hash")
    with monkeypatch.context() as full:
        full.setattr(reencoding, "SPARE_BYTES", 1 << 60)
        maintenance.finish(again)
        assert "beside the old ones" in again.setbacks.reasons()["blocks"]
        assert again.embedder.name == "static" and again.query(TEXTS[0]).hits
    again.setbacks.clear()  # an hour later
    maintenance.finish(again)
    assert again.embedder.name == "hash" and not again.setbacks.reasons()
    again.close()


def test_a_reload_changes_the_embedder_and_changes_it_back(store: MemoryStore) -> None:
    fill(store)
    store.configure(store.config.replace(embedder="hash"))
    assert store.semantic.due and status.describe(store)["embedder"]["wanted"] == "hash"
    store.semantic.begin_reencoding().step()
    store.configure(store.config.replace(embedder="static"))
    assert not store.semantic.due
    store.configure(store.config.replace(embedder="hash"))
    maintenance.finish(store)
    assert store.embedder.name == "hash" and errors(store) == []


def test_a_damaged_segment_is_set_aside_and_made_anew(store: MemoryStore) -> None:
    ids = fill(store)
    store.semantic.flush()
    store.close()
    (segment,) = (store.state / "blocks").iterdir()
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    again = MemoryStore.open(store.state, store.config)
    assert "blocks" in again.degraded()
    answer = again.query(TEXTS[0], k=1)
    assert answer.hits[0].memory.id == ids[0] and answer.degraded == ["blocks"]
    assert list((again.state / "aside").iterdir())
    maintenance.finish(again)
    assert again.degraded() == {}
    assert again.blocks.ids().tolist() == ids
    assert errors(again) == []
    again.close()


def test_upkeep_seals_and_merges_small_segments(store: MemoryStore) -> None:
    store.configure(store.config.replace(blocks__flush_rows=100, blocks__merge_segments=2))
    for n in range(5):
        store.remember_many([Memory(text=f"note {n} {m}") for m in range(100)])
        maintenance.finish(store)
    stats = store.blocks.stats()
    assert stats["rows"] == 500 and stats["hot"] == 0 and stats["segments"] <= 2
    assert len(list((store.state / "blocks").iterdir())) == stats["segments"]
    assert errors(store) == []


def test_access_counts_are_saved_on_close(store: MemoryStore) -> None:
    ids = fill(store)
    store.query(TEXTS[0], k=1)
    store.query(TEXTS[0], k=1)
    again = reopen(store)
    assert again.get(ids[0]).access_count == 2
    assert again.get(ids[0]).last_accessed is not None
    again.close()


def test_export_pages_by_id_and_keeps_blobs(store: MemoryStore) -> None:
    fill(store)
    store.remember(Memory(text="with a blob", blobs={"embedding": b"\x00\xff"}))
    first = store.export(0, 4)
    rest = store.export(first[-1].id, 400)
    assert [m.id for m in first + rest] == list(range(1, 8))
    assert rest[-1].blobs == {"embedding": b"\x00\xff"}


def test_a_bulk_waits_in_memory_until_it_is_sealed_and_is_made_again_after_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(semantic, "BULK_ROWS", 150)
    store = MemoryStore.open(tmp_path / "state", Config())
    number = 0
    for step, (size, hot) in enumerate(((70, 70), (70, 140), (70, 0), (80, 80), (1, 81)), 1):
        given = [f"{TEXTS[n % len(TEXTS)]}, as note {n} says" for n in range(number, number + size)]
        ids = store.remember_many([Memory(text=text) for text in given])
        number += size
        assert store.records.hot() == [] and store.blocks.stats()["hot"] == hot
        crashed = after_a_kill(store, tmp_path / str(step))
        assert len(crashed.blocks.ids()) == number
        crashed.close()
    store.forget(ids)
    monkeypatch.setattr(unwritten, "LATE_ROWS", 50)
    maintenance.finish(store)  # what is left of a bulk becomes a segment when it is quiet, once
    assert store.blocks.stats() | {"hot": 0, "rows": number - 1} == store.blocks.stats()
    assert not store.semantic.follow() and errors(store) == []
    store.close()


def test_a_bulk_waits_for_no_other_maintenance_but_when_it_takes_too_much_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(semantic, "BULK_ROWS", 70)
    store = MemoryStore.open(tmp_path / "state", Config())

    def remember() -> None:
        store.remember_many([Memory(text=f"{text} {n}") for text in TEXTS for n in range(70)])

    with store.maintenance:  # a merge, say
        with Background(remember):
            pass
        waiting = store.blocks.stats()["hot"]
        assert waiting >= 70
        monkeypatch.setattr(semantic, "WAITING_BYTES", waiting * store.blocks.dims)
        late = Background(remember)
        late.start()
        while store.blocks.stats()["hot"] < 2 * waiting:
            time.sleep(0.001)
        assert late.is_alive()
    late.finish()
    assert store.blocks.stats()["hot"] == 0
    store.close()
