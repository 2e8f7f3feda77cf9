"""The graph follows the records exactly, answers in a fixed order, and finds its own damage."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nimad.disk.durable import set_aside
from nimad.errors import DiskFull, EngineUnsupported, GraphFailed, GraphMemory
from nimad.graph import engine as engines
from nimad.graph import files as graph_files
from nimad.graph import projection, steps
from nimad.graph.engine import Engine, GraphLimits, check_supported
from nimad.graph.projection import GraphProjection
from nimad.graph.traverse import Neighbour
from nimad.model import Memory, Relation
from nimad.store.records import Records
from tests.engines import ENGINE, KUZU_RUNS, OTHER, make_empty
from tests.feeds import DictFeed, expected, household, shown

LIMITS = GraphLimits()
ALL = 1_000_000


@pytest.fixture
def graph(tmp_path: Path) -> Iterator[GraphProjection]:
    opened = GraphProjection(tmp_path / "graph", ENGINE, LIMITS)
    opened.open()
    yield opened
    opened.close()


def family() -> DictFeed:
    """1 caused 2 and 3 (twice), 3 led to 1; a turn of 1, 4 and 5; 6 is alone; 7 loops."""
    feed = DictFeed()
    feed.add_memories(*(("input", "maya", stamp) for stamp in range(1, 8)))
    feed.add_relations(
        *((1, 2, "caused", 0.5), (1, 3, "caused", 0.25), (1, 3, "caused", 0.75)),
        *((3, 1, "led_to", None), (2, 4, "led_to", 1.0), (7, 7, "caused", 1.0)),
    )
    feed.add_turns((1, 4, 5))
    return feed


def follow(graph: GraphProjection, feed: DictFeed, max_rows: int = ALL) -> None:
    while not graph.catch_up(feed, max_rows):
        pass
    assert graph.watermark == feed.head()


# --- following ------------------------------------------------------------------------------------


def test_an_empty_graph_has_nothing(graph: GraphProjection) -> None:
    assert graph.watermark == 0
    assert graph.counts() == {"memories": 0, "turns": 0, "relations": 0}
    assert graph.related(1, 3, 50) == []
    assert graph.catch_up(DictFeed(), ALL)


@pytest.mark.parametrize("max_rows", [1, 3, 100, ALL])
def test_it_holds_what_the_feed_holds(graph: GraphProjection, max_rows: int) -> None:
    feed = family()
    feed.delete_memories([5])
    follow(graph, feed, max_rows)
    assert shown(graph) == expected(feed)


def test_a_step_is_bounded_and_a_large_change_is_cut(graph: GraphProjection) -> None:
    feed = household(300, 200, 90)
    assert not graph.catch_up(feed, 50)
    assert graph.counts() == {"memories": 50, "turns": 0, "relations": 0}
    assert graph.watermark == 0, "the first change is not wholly there"
    follow(graph, feed, 50)
    assert shown(graph) == expected(feed)


def test_a_cut_change_goes_on_after_a_restart(graph: GraphProjection) -> None:
    feed = household(300, 200, 90)
    graph.catch_up(feed, 77)
    graph.close()
    graph.open()
    assert graph.counts()["memories"] == 77
    follow(graph, feed, 60)
    assert shown(graph) == expected(feed)


def test_bulk_and_steps_give_the_same(graph: GraphProjection, tmp_path: Path) -> None:
    feed = household(900, 800, 290)
    assert graph.catch_up(feed, ALL), "one step: a new file"
    assert not graph.sparse
    other = GraphProjection(tmp_path / "other", ENGINE, LIMITS)
    other.open()
    follow(other, feed, 100)
    assert shown(other) == shown(graph) == expected(feed)
    assert other.sparse
    other.close()


def test_deleting_and_changing(graph: GraphProjection) -> None:
    feed = household(700, 600, 230)
    graph.catch_up(feed, ALL)
    feed.delete_memories([*range(1, 40), 100, 300, 302])
    feed.delete_relations(list(feed.relations)[::50])
    feed.change_turn(200, (690, None, 691))
    feed.add_relations((690, 691, "caused", 0.5), (691, 691, "caused", 0.5))
    follow(graph, feed, 100)
    assert shown(graph) == expected(feed)


def test_deleting_most_makes_a_new_file(graph: GraphProjection) -> None:
    feed = household(900, 800, 290)
    graph.catch_up(feed, ALL)
    feed.delete_memories(range(1, 880))
    assert graph.catch_up(feed, ALL)
    assert not graph.sparse
    assert shown(graph) == expected(feed)


def test_an_edge_without_an_end_is_left_out(graph: GraphProjection) -> None:
    feed = family()
    feed.add_relations((1, 99, "caused", 0.5), (98, 97, "caused", 0.5))
    feed.change_turn(1, (1, 77, 5))
    follow(graph, feed, 3)
    assert shown(graph) == expected(feed)
    graph.rebuild(feed)
    assert shown(graph) == expected(feed)


def test_a_deleted_memory_takes_its_edges_along(graph: GraphProjection) -> None:
    """Even when the log does not tell of the edges."""
    feed = household(500, 900, 160)
    graph.catch_up(feed, ALL)
    for number in range(1, 60):
        del feed.memories[number]
    feed.note("delete", "memory", range(1, 60))
    follow(graph, feed, 60)
    assert shown(graph) == expected(feed)
    assert graph.counts()["relations"] == len(expected(feed)["relations"]), "no half of an edge"


LABELS = [
    *('say "hi", then go', "two\nlines\r\n", "tab\tnul\0bell\a", "naïve 🌿 Ω", "  spaces  "),
    *("null", "NULL", "\\N", "back\\slash", "'single' {curly} $x", "12", "1.5", "true", "a,b;c|d"),
]


@pytest.mark.parametrize("max_rows", [4, ALL])
def test_labels_come_through(graph: GraphProjection, max_rows: int) -> None:
    feed = DictFeed()
    feed.add_memories(*((label, label, -5) for label in LABELS), ("input", "", 0), ("", None, 0))
    feed.add_relations(*((1, 2, label, 0.125) for label in LABELS))
    if max_rows == ALL:
        graph.rebuild(feed)
    follow(graph, feed, max_rows)
    assert shown(graph) == expected(feed)


def test_odd_values_do_not_stop_it(graph: GraphProjection) -> None:
    feed = DictFeed()
    feed.add_memories(("input", "x" * 300_000, 2**63 - 1), ("input", "lone \ud800", -(2**63)))
    feed.add_relations((1, 2, "y" * 300_000, float("inf")), (2, 1, "z", float("nan")))
    follow(graph, feed)
    assert graph.counts() == {"memories": 2, "turns": 0, "relations": 2}
    assert [n.weight for n in graph.related(1, 1, 9)] == [None, None]
    assert [n.relation for n in graph.related(1, 1, 9)] == ["y" * 200, "z"]


def test_rows_that_came_during_a_rebuild_are_not_doubled(graph: GraphProjection) -> None:
    feed = family()

    class Busy(DictFeed):
        """Its rows grow and shrink while they are read."""

        def memory_keys(self, first: int, last: int) -> list[tuple[int, str, str | None, int]]:
            if not added:
                added.extend(feed.add_memories(("note", "late", 1), ("note", "late", 2)))
                feed.add_relations((added[0], 1, "caused", 0.5))
                feed.add_turns((added[1], None, None))
                feed.delete_memories([2])
            return feed.memory_keys(first, last)

    added: list[int] = []
    busy = Busy()
    busy.__dict__ = feed.__dict__
    graph.rebuild(busy)
    assert added and graph.watermark < feed.head()
    follow(graph, feed)
    assert shown(graph) == expected(feed)


def test_a_graph_that_is_ahead_of_the_feed_is_made_anew(graph: GraphProjection) -> None:
    follow(graph, household(60, 30, 10))
    feed = DictFeed()
    feed.add_memories(("note", "of older records", 1))
    assert graph.catch_up(feed, ALL)
    assert shown(graph) == expected(feed)


def test_it_follows_real_records(graph: GraphProjection, tmp_path: Path) -> None:
    records = Records.open(tmp_path / "records.sqlite")
    with records.write() as tx:
        texts = ("good morning", "she sounds tired", "good morning, coffee?")
        roles = ("input", "contemplation", "output")
        ids = tx.add_memories(
            [
                Memory(text=text, layer=layer, turn="t1", who="maya", timestamp=5)
                for text, layer in zip(texts, roles, strict=True)
            ]
        )
        tx.add_relations([(Relation(ids[0], ids[2], "caused", 0.5), None, None)])
    assert graph.catch_up(records, 2) or graph.catch_up(records, ALL)
    assert graph.counts() == records.counts()
    assert [(n.id, n.relation) for n in graph.related(ids[0])] == [
        *((ids[2], "caused"), (ids[1], "same_turn"), (ids[2], "same_turn")),
    ]
    with records.write() as tx:
        tx.delete_memories([ids[1]])
    assert graph.catch_up(records, ALL)
    assert graph.counts() == records.counts() == {"memories": 2, "turns": 1, "relations": 1}
    assert b"coffee" not in b"".join(path.read_bytes() for path in graph.files())
    records.close()


def test_the_budget(graph: GraphProjection) -> None:
    """4,112 memories with relations and turns: in 0.8 s of work, and small."""
    feed = household()
    began = time.process_time()
    assert graph.catch_up(feed, 100_000)
    assert time.process_time() - began < 0.8
    assert graph.counts() == {"memories": 4112, "turns": 1346, "relations": 4038}
    assert graph.size_bytes() <= (400_000 if ENGINE == "ladybug" else 9_000_000)
    assert {path.suffix for path in graph.files()} == {".db", ".seal"}, "no log is left"


def test_a_graph_that_rests_wakes_for_whoever_asks(graph: GraphProjection) -> None:
    feed, woken = family(), []
    graph.woken = lambda: woken.append(True)
    graph.rebuild(feed)
    for wake in (
        lambda: graph.counts(),
        lambda: graph.related(1, 3, 50),
        lambda: graph.query("RETURN 1"),
        lambda: graph.rebuild(feed),
    ):
        graph.rest()
        assert graph.watermark == feed.head()
        assert graph._engine is None, "its memory is given back"
        wake()
        assert woken.pop() and not woken
        assert graph._engine is not None
        assert shown(graph) == expected(feed)
    graph.rest()
    feed.add_memories(("input", "maya", 99))
    follow(graph, feed)
    assert shown(graph) == expected(feed)


def test_many_wake_it_at_once(graph: GraphProjection) -> None:
    feed = family()
    graph.rebuild(feed)
    wanted = graph.related(1, 3, 50)
    for _ in range(10):
        graph.rest()
        with ThreadPoolExecutor(4) as readers:
            asked = [readers.submit(graph.related, 1, 3, 50) for _ in range(4)]
        assert [each.result() for each in asked] == [wanted] * 4


def test_a_graph_closed_while_it_rests_stays_closed(graph: GraphProjection) -> None:
    graph.rebuild(family())
    graph.rest()
    graph.close()
    with pytest.raises(GraphFailed):
        graph.counts()
    graph.open()
    assert shown(graph) == expected(family())


# --- walking --------------------------------------------------------------------------------------


def test_neighbours_come_nearest_first(graph: GraphProjection) -> None:
    follow(graph, family())
    near = [
        Neighbour(3, "caused", 0.75, "out", 1),
        Neighbour(2, "caused", 0.5, "out", 1),
        Neighbour(3, "led_to", None, "in", 1),
        Neighbour(4, "same_turn", None, "out", 1),
        Neighbour(5, "same_turn", None, "out", 1),
    ]
    assert graph.related(1) == near
    assert graph.related(1, 1, 2) == near[:2]
    assert graph.related(4) == [
        Neighbour(2, "led_to", 1.0, "in", 1),
        Neighbour(1, "same_turn", None, "in", 1),
        Neighbour(5, "same_turn", None, "out", 1),
    ]


def test_depth_is_followed_to_three(graph: GraphProjection) -> None:
    feed = DictFeed()
    feed.add_memories(*[("note", None, 0)] * 6)
    feed.add_relations(*((i, i + 1, "next", 0.5) for i in range(1, 6)), (1, 3, "next", 0.5))
    follow(graph, feed)
    distances = {n.id: n.distance for n in graph.related(1, 9, 50)}
    assert distances == {2: 1, 3: 1, 4: 2, 5: 3}, "each at its smallest distance, three at most"
    assert graph.related(1, 0, 50) == graph.related(1, 3, 0) == []
    assert [n.direction for n in graph.related(6, 2, 50)] == ["in", "in"]


def test_a_hub_with_parallel_edges(graph: GraphProjection) -> None:
    feed = DictFeed()
    feed.add_memories(*[("note", None, 0)] * 12)
    feed.add_relations(*((1, 2, "often", i / 1000) for i in range(400)))
    feed.add_relations(*((1, other, "once", 0.001) for other in range(3, 12)))
    feed.add_turns(*((1, 12, None) for _ in range(60)), (12, 1, None))
    follow(graph, feed)
    found = graph.related(1, 1, 11)
    assert found[0] == Neighbour(2, "often", 0.399, "out", 1)
    assert [n.id for n in found] == list(range(2, 13))
    assert found[-1] == Neighbour(12, "same_turn", None, "out", 1)


def test_cypher_reads_and_does_not_write(graph: GraphProjection) -> None:
    follow(graph, family())
    asked = "MATCH (a:Memory)-[r:Relation]->(b:Memory) WHERE b.id = 4 RETURN a.id, r.relation"
    assert graph.query(asked) == [[2, "led_to"]]
    with pytest.raises(GraphFailed, match="read"):
        graph.query("MATCH (n:Turn) DETACH DELETE n")
    with pytest.raises(GraphFailed, match="Parser"):
        graph.query("nonsense")
    assert graph.counts()["turns"] == 1


# --- damage ---------------------------------------------------------------------------------------


def made_anew(graph: GraphProjection, aside: Path) -> None:
    """A graph that does not open is set aside and follows the records from the beginning."""
    with pytest.raises(GraphFailed) as raised:
        graph.open()
    assert "ladybug.db" in raised.value.message or "kuzu.db" in raised.value.message
    for path in graph.files():
        set_aside(path, aside)
    graph.open()
    assert graph.watermark == 0
    feed = family()
    follow(graph, feed)
    assert shown(graph) == expected(feed)


@pytest.mark.parametrize("damage", ["bit", "cut", "empty", "text"])
def test_damage_is_found(graph: GraphProjection, tmp_path: Path, damage: str) -> None:
    follow(graph, household(300, 200, 90))
    graph.close()
    file = graph.files()[0]
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    shapes = {"bit": data, "cut": data[: len(data) // 2], "empty": b"", "text": b"rubbish" * 999}
    file.write_bytes(shapes[damage])
    made_anew(graph, tmp_path / "aside")


@pytest.mark.parametrize("damage", ["cut", "text"])
def test_damage_is_found_without_a_seal(
    graph: GraphProjection, tmp_path: Path, damage: str
) -> None:
    graph.close()
    file, seal = graph.files()
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 3] if damage == "cut" else b"rubbish" * 999)
    seal.unlink()
    made_anew(graph, tmp_path / "aside")


def test_the_file_of_the_other_engine_is_refused(tmp_path: Path) -> None:
    if not KUZU_RUNS:
        pytest.skip("kuzu works with memory pages of 4 KiB only")
    directory = tmp_path / "graph"
    make_empty(directory, OTHER)
    (directory / f"{OTHER}.db").rename(directory / f"{ENGINE}.db")
    (directory / f"{OTHER}.db.seal").unlink()
    graph = GraphProjection(directory, ENGINE, LIMITS)
    made_anew(graph, tmp_path / "aside")
    graph.close()


def test_another_version_is_refused(
    graph: GraphProjection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph.close()
    monkeypatch.setattr("nimad.graph.attach.VERSION", 2)
    with pytest.raises(GraphFailed, match="another version"):
        graph.open()


def test_a_file_that_ended_the_process_three_times_is_given_up(graph: GraphProjection) -> None:
    follow(graph, family())
    graph.close()
    seal = graph.files()[1]
    seal.write_text("open 2\n")
    graph.open()
    assert seal.read_text().startswith("sealed "), "a try that went well"
    graph.close()
    seal.write_text(f"open {graph_files.TRIES}\n")
    with pytest.raises(GraphFailed, match="3 times"):
        graph.open()


def test_a_log_that_a_crash_cut_short_loses_only_its_end(
    graph: GraphProjection, tmp_path: Path
) -> None:
    feed = household(300, 200, 90)
    graph.catch_up(feed, ALL)
    feed.add_memories(*[("note", "late", 1)] * 40)
    assert graph.catch_up(feed, ALL)
    feed.add_memories(*[("note", "later", 1)] * 40)
    assert graph.catch_up(feed, ALL)
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in graph.files():
        data = path.read_bytes()
        (copy / path.name).write_bytes(data[:-50] if path.suffix == ".wal" else data)
    cut = GraphProjection(copy, ENGINE, LIMITS)
    cut.open()
    assert (cut.watermark, cut.counts()["memories"]) == (4, 340)
    follow(cut, feed)
    assert shown(cut) == expected(feed)
    cut.close()


# --- engines and limits ---------------------------------------------------------------------------


def test_kuzu_needs_pages_of_4_kib() -> None:
    with pytest.raises(EngineUnsupported, match=r"16384 bytes.*4096"):
        check_supported("kuzu", page_size=16384)
    if ENGINE == "ladybug":
        check_supported("ladybug", page_size=16384)


def test_an_engine_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(EngineUnsupported, match="neo4j"):
        GraphProjection(tmp_path, "neo4j", LIMITS).open()
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(EngineUnsupported, match="not installed"):
        GraphProjection(tmp_path, ENGINE, LIMITS).open()
    assert list(tmp_path.iterdir()) == []


def test_limits_follow_the_board() -> None:
    mib = 1 << 20
    sizes = {512 * mib: 64, 1024 * mib: 64, 4096 * mib: 128, 8192 * mib: 256, 65536 * mib: 256}
    for total, pool in sizes.items():
        assert GraphLimits.for_memory(total).buffer_pool_bytes == pool * mib
    assert GraphLimits.for_memory(512 * mib).max_db_size_bytes == 1 << 32


def test_any_address_space_will_do(tmp_path: Path) -> None:
    limits = GraphLimits(32 << 20, 300 << 20)  # the engines want a power of two
    graph = GraphProjection(tmp_path, ENGINE, limits)
    graph.open()
    follow(graph, household(600, 500, 190))
    graph.close()


def test_changing_the_engine_leaves_nothing_of_the_old_one(tmp_path: Path) -> None:
    if not KUZU_RUNS:
        pytest.skip("kuzu works with memory pages of 4 KiB only")
    make_empty(tmp_path, OTHER)
    graph = GraphProjection(tmp_path, ENGINE, LIMITS)
    graph.open()
    assert {path.name for path in tmp_path.iterdir()} == {f"{ENGINE}.db", f"{ENGINE}.db.seal"}
    graph.close()


def test_one_process_has_one_engine(graph: GraphProjection, tmp_path: Path) -> None:
    assert graph.watermark == 0
    with pytest.raises(EngineUnsupported, match="restart"):
        GraphProjection(tmp_path, OTHER, LIMITS).open()


def test_leftovers_of_a_crash_are_swept(graph: GraphProjection) -> None:
    graph.close()
    directory = graph.files()[0].parent
    for leftover in ("ladybug-new.db", "kuzu-new.db.wal", "ladybug.db.seal.tmp"):
        (directory / leftover).write_bytes(b"half")
    graph.open()
    assert sorted(path.name for path in directory.iterdir()) == [p.name for p in graph.files()]


def test_a_closed_graph_says_so(graph: GraphProjection) -> None:
    graph.close()
    graph.close()
    for ask in (graph.counts, lambda: graph.related(1), lambda: graph.catch_up(family(), 1)):
        with pytest.raises(GraphFailed, match="closed"):
            ask()


# --- rebuilding -----------------------------------------------------------------------------------


def test_the_old_graph_serves_while_a_new_one_is_made(graph: GraphProjection) -> None:
    old = family()
    follow(graph, old)
    reading, answered = threading.Event(), threading.Event()

    class Slow(DictFeed):
        def relation_rows(self, first: int, last: int) -> list[Relation]:
            reading.set()
            assert answered.wait(10)
            return super().relation_rows(first, last)

    feed = Slow()
    feed.add_memories(*[("note", None, 0)] * 3)
    feed.add_relations((1, 2, "anew", 0.5))
    maker = threading.Thread(target=graph.rebuild, args=(feed,))
    maker.start()
    assert reading.wait(10)
    assert graph.related(1)[0].relation == "caused", "the old one"
    answered.set()
    maker.join(10)
    assert [n.relation for n in graph.related(1)] == ["anew"]
    assert graph.watermark == feed.head()


def test_a_rebuild_leaves_no_byte_of_what_was_forgotten(graph: GraphProjection) -> None:
    feed = household(300, 200, 90)
    secret = feed.add_memories(("input", "Zzyzxperson", 5))
    follow(graph, feed, 100)
    directory = graph.files()[0].parent
    assert any(b"Zzyzxperson" in path.read_bytes() for path in directory.iterdir())
    feed.delete_memories(secret)
    graph.rebuild(feed)
    for path in directory.iterdir():
        assert b"Zzyzxperson" not in path.read_bytes(), path.name


# --- faults ---------------------------------------------------------------------------------------


def test_a_failing_step_changes_nothing(
    graph: GraphProjection, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = family()
    with monkeypatch.context() as patch:
        patch.setattr(steps, "relation_line", lambda _: "not,a,number\n")
        with pytest.raises(GraphFailed):
            graph.catch_up(feed, ALL)
    assert graph.watermark == 0
    assert graph.counts() == {"memories": 0, "turns": 0, "relations": 0}
    follow(graph, feed)
    assert shown(graph) == expected(feed)


def test_what_the_engine_quotes_of_a_row_is_not_repeated(
    graph: GraphProjection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "memory_line", lambda _: 'x,"input","Zzyzxperson",5\n')
    with pytest.raises(GraphFailed) as raised:
        graph.catch_up(family(), ALL)
    assert "Zzyzxperson" not in raised.value.message


def test_a_commit_whose_checkpoint_failed_is_a_commit(
    graph: GraphProjection, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed, write = family(), Engine.write

    def committed_but(self: Engine, cypher: str) -> engines.Rows:
        rows = write(self, cypher)
        if cypher == "COMMIT":
            raise GraphFailed(
                detail="Transaction committed successfully, but the checkpoint failed"
            )
        return rows

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "write", committed_but)
        assert graph.catch_up(feed, ALL)
    assert shown(graph) == expected(feed)
    follow(graph, feed)
    assert shown(graph) == expected(feed), "not applied again"


def test_a_failing_checkpoint_loses_nothing(
    graph: GraphProjection, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = family()

    def fails(_: Engine) -> None:
        raise GraphFailed(detail="Buffer manager exception: the buffer pool is full")

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "checkpoint", fails)
        patch.setattr(projection, "FOLD_STEPS", 1)
        follow(graph, feed, 2)
        assert shown(graph) == expected(feed)
        graph.close()
    graph.open()
    assert shown(graph) == expected(feed)


POOL_IS_FULL = "Buffer manager exception: Unable to allocate memory! The buffer pool is full"


@pytest.mark.slow
def test_a_pool_that_is_really_full_is_worked_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4 MiB hold about 100,000 rows that are not folded in; then it goes on after opening again."""
    if ENGINE == "kuzu":
        pytest.skip("what fills the pool of ladybug does not fill that of kuzu")
    monkeypatch.setattr(projection, "FOLD_BYTES", 1 << 40)
    monkeypatch.setattr(projection, "FOLD_BYTES_MOST", 1 << 40)
    monkeypatch.setattr(projection, "FOLD_STEPS", 1 << 40)
    monkeypatch.setattr(projection, "BUILD_ROWS", 1 << 40)
    small = GraphProjection(tmp_path / "graph", ENGINE, GraphLimits(buffer_pool_bytes=4 << 20))
    small.open()
    feed = household(125_000, 200, 0)
    follow(small, feed)
    assert small.memory_errors > 0, "the pool was never full: this test proves nothing"
    assert shown(small) == expected(feed)
    small.close()


def fail_each(number: int, only: str, monkeypatch: pytest.MonkeyPatch, text: str) -> list[int]:
    """Every so-many-th statement of a kind fails before it does anything; counts what came."""
    seen, write = [0], Engine.write

    def sometimes(self: Engine, cypher: str) -> engines.Rows:
        if cypher == only:
            seen[0] += 1
            if seen[0] % number == 0:
                if "committed" in text:
                    write(self, cypher)
                raise engines._translated(RuntimeError(text))
        return write(self, cypher)

    monkeypatch.setattr(Engine, "write", sometimes)
    return seen


@pytest.mark.parametrize(
    "text",
    [
        POOL_IS_FULL,
        f"Transaction committed successfully, but its checkpoint failed: {POOL_IS_FULL}",
    ],
    ids=["failed", "committed"],
)
def test_every_seventh_batch_fails_and_all_is_there_once(
    graph: GraphProjection, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(projection, "BUILD_ROWS", 1 << 40)
    feed = household(3000, 2000, 900)
    seen = fail_each(7, "COMMIT", monkeypatch, text)
    abandoned = list(engines._abandoned)
    while not graph.catch_up(feed, 100):
        pass
    assert seen[0] > 21, "three failures at least"
    assert graph.watermark == feed.head()
    assert shown(graph) == expected(feed)
    assert (graph.memory_errors > 0) == ("committed" not in text)
    assert engines._abandoned == abandoned, "what ran out of memory is destroyed in order"


def test_without_memory_for_all_at_once_it_follows_in_steps(
    graph: GraphProjection, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = household(3000, 2000, 900)
    monkeypatch.setattr(projection, "BUILD_ROWS", 1)
    with monkeypatch.context() as patch:
        fail_each(1, "CHECKPOINT", patch, POOL_IS_FULL)
        follow(graph, feed)
    assert graph.memory_errors > 0
    assert shown(graph) == expected(feed)


def test_when_the_smallest_step_fails_it_says_so(
    graph: GraphProjection, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = family()
    with monkeypatch.context() as patch:
        fail_each(1, "COMMIT", patch, POOL_IS_FULL)
        with pytest.raises(GraphMemory, match="pool is full"):
            graph.catch_up(feed, ALL)
    assert graph.watermark == 0
    follow(graph, feed)
    assert shown(graph) == expected(feed)


def test_a_full_disk_is_asked_about_first(
    graph: GraphProjection, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = family()
    follow(graph, feed, 3)
    feed.add_memories(("note", None, 1))
    with monkeypatch.context() as patch:
        patch.setattr(graph_files, "SPARE", 1 << 62)
        for write in (lambda: graph.catch_up(feed, ALL), lambda: graph.rebuild(feed)):
            with pytest.raises(DiskFull):
                write()
        assert graph.counts()["memories"] == 7, "reading goes on"
        graph.close()
        graph.open()
    follow(graph, feed)
    assert shown(graph) == expected(feed)


# --- threads, memory, rest ------------------------------------------------------------------------


def test_reading_beside_writing(graph: GraphProjection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three readers always see whole transactions, through checkpoints and swaps."""
    monkeypatch.setattr(projection, "FOLD_STEPS", 7)
    feed, stop, wrong, reads = DictFeed(), threading.Event(), [], []
    both = (
        "MATCH (n:Memory) WITH count(*) AS memories"
        " OPTIONAL MATCH (:Memory)-[r:Relation]->(:Memory) RETURN memories, count(r.id)"
    )

    def read() -> None:
        while not stop.is_set():
            try:
                found = graph.query(both)
                reads.append(len(graph.related(1, 2, 20)))
                if found and found[0][0] != found[0][1]:
                    wrong.append(found)
            except Exception as error:
                wrong.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for turn in range(40):
        ids = feed.add_memories(*[("note", None, 0)] * 5)
        feed.add_relations(*((number, 1, "caused", 0.5) for number in ids))
        follow(graph, feed)
        if turn % 13 == 12:
            graph.rebuild(feed)
    stop.set()
    for reader in readers:
        reader.join(20)
    assert wrong == []
    assert len(reads) > 10
    assert shown(graph) == expected(feed)


def test_small_steps_do_not_pile_up_memory(graph: GraphProjection) -> None:
    feed = household(500, 400, 160)
    graph.catch_up(feed, ALL)
    for _ in range(20):
        feed.add_memories(("note", None, 0))
        graph.catch_up(feed, ALL)
        graph.related(3, 2, 20)
    before = anonymous_bytes()
    for _ in range(100):
        feed.add_memories(("note", None, 0))
        graph.catch_up(feed, ALL)
        graph.related(3, 2, 20)
    assert anonymous_bytes() - before < 6 << 20


def anonymous_bytes() -> int:
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no Anonymous line")


def test_an_idle_graph_wakes_nobody(tmp_path: Path) -> None:
    others = set(Path("/proc/self/task").iterdir())
    graph = GraphProjection(tmp_path, ENGINE, LIMITS)
    graph.open()
    follow(graph, family())
    graph.related(1)
    mine = set(Path("/proc/self/task").iterdir()) - others
    assert mine, "the engine has threads of its own"
    time.sleep(0.1)
    before = sum(map(switches, mine))
    time.sleep(1)
    assert sum(map(switches, mine)) - before == 0
    graph.close()


def switches(task: Path) -> int:
    status = (task / "status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in status if "ctxt_switches" in line)
