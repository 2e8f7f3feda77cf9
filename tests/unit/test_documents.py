"""Keyed documents: put, replaced, deleted, filtered, searched, listed, exported and purged."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nimad.check import check
from nimad.config import Config
from nimad.core.documents import matches, text_of
from nimad.core.store import MemoryStore
from nimad.errors import BadRecord, UsageError
from nimad.model import Filter, Memory
from nimad.serve.document_verbs import DocumentVerbs
from nimad.serve.memory_verbs import MemoryVerbs
from nimad.serve.verbs import Call
from tests.unit.test_handlers import ME

Ask = Callable[..., Any]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    opened = MemoryStore.open(tmp_path / "state", Config().replace(embedder="hash"))
    yield opened
    assert check(opened) == []
    opened.close()


@pytest.fixture
def ask(store: MemoryStore) -> Ask:
    served = {verb.name: verb for verb in [*MemoryVerbs(store).all(), *DocumentVerbs(store).all()]}
    return lambda name, **params: served[name].answer(Call(params, ME))


def put(ask: Ask, namespace: str, key: str, value: Any, **more: Any) -> dict[str, Any]:
    document = {"namespace": namespace, "key": key, "value": value, **more}
    reply: dict[str, Any] = ask("documents.put", documents=[document])
    return reply


def found(ask: Ask, **more: Any) -> list[dict[str, Any]]:
    reply: list[dict[str, Any]] = ask("documents.find", **more)["documents"]
    return reply


def keys(ask: Ask, **more: Any) -> list[str]:
    return [document["key"] for document in found(ask, **more)]


def test_a_document_is_put_got_replaced_and_deleted(store: MemoryStore, ask: Ask) -> None:
    assert put(ask, "a.b", "k", {"title": "The kettle", "n": 1}) == {"put": 1, "gone": 0}
    (one,) = found(ask, namespace="a.b", keys=["k", "absent"])
    assert (one["value"], one["key"], one["namespace"]) == (
        {"title": "The kettle", "n": 1},
        "k",
        "a.b",
    )
    put(ask, "a.b", "k", {"title": "The pot", "n": 2})
    (two,) = found(ask, namespace="a.b", keys=["k"])
    assert two["value"]["n"] == 2 and two["created"] == one["created"]
    assert two["updated"] >= one["updated"] and two["id"] > one["id"]
    assert store.records.counts()["memories"] == 1
    assert [hit.memory.id for hit in store.query("the pot").hits] == [two["id"]]
    assert not store.query("kettle", mode="words").hits
    assert put(ask, "a.b", "k", None) == {"put": 0, "gone": 1}
    assert found(ask, namespace="a.b", keys=["k"]) == []
    assert put(ask, "a.b", "k", None) == {"put": 0, "gone": 1}
    assert store.records.counts()["memories"] == 0


def test_a_batch_is_one_transaction_and_of_a_key_the_last_counts(ask: Ask) -> None:
    put(ask, "a", "old", {"n": 0})
    many = [("x", {"n": 1}), ("y", {"n": 2}), ("x", {"n": 3}), ("old", None), ("y", None)]
    documents = [{"namespace": "a", "key": key, "value": value} for key, value in many]
    assert ask("documents.put", documents=documents) == {"put": 1, "gone": 2}
    assert [(d["key"], d["value"]) for d in found(ask, tree="a")] == [("x", {"n": 3})]
    with pytest.raises(UsageError, match="document 2: a document needs key"):
        ask("documents.put", documents=[{"key": "z", "value": {}}, {"value": {}}])
    with pytest.raises(UsageError, match=r"document 1: .*value must be an object"):
        ask("documents.put", documents=[{"key": "z", "value": 7}])
    assert keys(ask, tree="") == ["x"]


def test_a_tree_has_what_is_below_it_and_nothing_that_only_begins_so(ask: Ask) -> None:
    for n, space in enumerate(["a", "a.b", "a.b.c", "ab", "b.a"]):
        put(ask, space, f"k{n}", {"n": n})
    assert keys(ask, tree="a") == ["k2", "k1", "k0"]  # the newest first
    assert keys(ask, tree="a.b") == ["k2", "k1"]
    assert keys(ask, tree="b") == ["k4"] and len(keys(ask, tree="")) == 5
    assert keys(ask, tree="", limit=2, offset=1) == ["k3", "k2"]
    put(ask, "a*", "star", {})
    assert keys(ask, tree="a*") == ["star"] and put(ask, "a*", "star", None)
    put(ask, "c\0d.e", "nul", {})
    assert keys(ask, tree="c\0d") == keys(ask, tree="c\0d.e") == ["nul"] != keys(ask, tree="c")
    put(ask, "c\0d.e", "nul", None)
    spaces = ask("documents.namespaces")["namespaces"]
    assert spaces == ["a", "a.b", "a.b.c", "ab", "b.a"]
    assert ask("documents.namespaces", tree="a", offset=1)["namespaces"] == ["a.b", "a.b.c"]


def test_memories_are_no_documents_but_documents_are_memories(store: MemoryStore, ask: Ask) -> None:
    ask("remember", text="The kettle sings.", namespace="a")
    put(ask, "a", "k", {"text": "The kettle is in the attic."})
    assert keys(ask, tree="a", query="kettle") == ["k"]
    assert len(store.query("kettle", where=Filter(namespace="a")).hits) == 2
    assert ask("documents.namespaces")["namespaces"] == ["a"]


def test_a_search_ranks_by_text_and_leaves_out_what_has_none(ask: Ask) -> None:
    put(ask, "a", "cats", {"text": "cats sleep in the sun"})
    put(ask, "a", "dogs", {"text": "dogs run after the ball"})
    put(ask, "a", "told", {"text": "cats again"}, text="birds fly south")
    put(ask, "a", "mute", {"text": "cats and cats"}, text="")
    assert keys(ask, tree="a", query="where do cats sleep")[0] == "cats"
    assert keys(ask, tree="a", query="birds")[0] == "told"
    assert "mute" not in keys(ask, tree="a", query="cats") and "mute" in keys(ask, tree="a")
    assert len(keys(ask, tree="a", query="nothing of this at all xyz")) == 3
    scores = [document["score"] for document in found(ask, tree="a", query="dogs run")]
    assert scores == sorted(scores, reverse=True) and scores[0] > 0


def test_the_same_text_under_two_keys_is_two_documents(ask: Ask) -> None:
    for key in ("x", "y"):
        put(ask, "a", key, {"text": "cats sleep in the sun"})
    assert keys(ask, tree="a", query="cats sleep") == ["x", "y"]
    assert keys(ask, tree="a", query="cats sleep", offset=1) == ["y"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"colour": "red"}, {"0", "1"}),
        ({"colour": {"$eq": "red"}, "n": {"$gt": 0}}, {"1"}),
        ({"colour": {"$ne": "red"}}, {"2", "3"}),
        ({"n": {"$gte": 1, "$lt": 3}}, {"1", "2"}),
        ({"n": {"$lte": 0}}, {"0"}),
        ({"n": {"$gt": "x"}}, set()),
        ({"tags": ["a"]}, {"3"}),
        ({"deep": {"x": 1}}, {"3"}),
        ({"deep.x": 1}, {"3"}),
        ({"deep.x.y": 1}, set()),
        ({"absent": None}, {"0", "1", "2", "3"}),
    ],
)
def test_a_filter_asks_of_fields(ask: Ask, wanted: dict[str, Any], expected: set[str]) -> None:
    values = [
        {"colour": "red", "n": 0},
        {"colour": "red", "n": 1},
        {"colour": "blue", "n": 2},
        {"n": 3, "tags": ["a"], "deep": {"x": 1}},
    ]
    for n, value in enumerate(values):
        put(ask, "a", str(n), {**value, "text": "a ball"})
    assert set(keys(ask, tree="a", filter=wanted)) == expected
    assert set(keys(ask, tree="a", filter=wanted, query="ball")) == expected


def test_an_operator_that_is_not_known_is_refused(ask: Ask) -> None:
    with pytest.raises(UsageError, match=r"may use \$eq, \$ne"):
        found(ask, filter={"n": {"$regex": "x"}})
    assert matches({"n": {"$x": 1}}, {"n": {"$eq": {"$x": 1}}})


def test_texts_of_a_value_are_its_strings() -> None:
    value = {"a": "one", "n": 3, "b": ["two", {"c": "three"}], "d": None}
    assert text_of(value) == "one\ntwo\nthree" and text_of({}) == ""


def test_large_values_come_a_frame_at_a_time(ask: Ask) -> None:
    for n in range(5):
        put(ask, "a", str(n), {"n": n, "body": "x" * 300_000}, text=f"number {n}")
    first = ask("documents.find", tree="a")
    assert first["more"] and len(first["documents"]) == 3
    rest = ask("documents.find", tree="a", offset=3)
    assert [d["value"]["n"] for d in first["documents"] + rest["documents"]] == [4, 3, 2, 1, 0]
    assert not rest["more"]


def test_an_export_and_an_import_keep_the_key_and_replace_what_has_it(
    store: MemoryStore, ask: Ask
) -> None:
    put(ask, "a", "k", {"text": "cats"}, tags=["pet"])
    (line,) = ask("export")["memories"]
    assert line["key"] == "k" and line["extra"] == {"text": "cats"}
    ask("import", memories=[line])
    assert [m["extra"] for m in ask("export")["memories"]] == [{"text": "cats"}]
    with pytest.raises(BadRecord, match="two documents have the key k"):
        ask("import", memories=[line, line])
    assert store.records.counts()["memories"] == 1


def test_random_puts_are_what_a_dictionary_says(store: MemoryStore, ask: Ask) -> None:
    chance, model = random.Random(7), dict[tuple[str, str], Any]()
    for n in range(60):
        batch = []
        for _ in range(chance.randint(1, 4)):
            name = chance.choice(["a", "a.b", "c"]), chance.choice("xyz")
            value = None if chance.random() < 0.3 else {"n": n, "text": f"ball {n}"}
            batch.append({"namespace": name[0], "key": name[1], "value": value})
            if value is None:
                model.pop(name, None)
            else:
                model[name] = value
        ask("documents.put", documents=batch)
    held = {(d["namespace"], d["key"]): d["value"] for d in found(ask, limit=100)}
    assert held == model
    sought = {(d["namespace"], d["key"]) for d in found(ask, query="ball", limit=100)}
    assert sought == model.keys()


def test_a_purge_reaches_what_a_document_was_before(store: MemoryStore, ask: Ask) -> None:
    put(ask, "a", "k", {"text": "the first zyxgnu"})
    store.semantic.flush()  # its vector is in a segment now
    put(ask, "a", "k", {"text": "the second qqfoo"})
    store.semantic.flush()
    put(ask, "a", "k", {"text": "the third"})
    (now,) = found(ask, tree="a")
    receipt = ask("forget", ids=[now["id"]], purge=True)
    assert receipt["purged"] and len(receipt["forgotten_before"]) == 2
    assert store.records.value("SELECT count(*) FROM forgotten") == 0
    held = b"".join(f.read_bytes() for f in store.state.rglob("*") if f.is_file())
    for word in (b"zyxgnu", b"qqfoo"):
        assert word not in held


def test_what_writing_costs_does_not_grow_with_what_was_forgotten(
    store: MemoryStore, ask: Ask
) -> None:
    """In steps of SQLite's virtual machine: replacing a document, forgetting it, a new memory."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    def cost() -> list[int]:
        found = []
        for work in (
            lambda: put(ask, "a", "k", {"n": 1}),
            lambda: put(ask, "a", "k", {"n": 2}),
            lambda: store.remember(Memory("a kettle")),
            lambda: store.forget([store.remember(Memory("a ladder"))]),
        ):
            before = steps
            work()
            found.append(steps - before)
        return found

    with store.records.write() as tx:
        tx.connection.set_progress_handler(count, 10)
    few = cost()
    for _ in range(10):
        many = [
            {"namespace": "b", "key": f"k{n}", "value": {"n": n}, "text": "x"} for n in range(200)
        ]
        ask("documents.put", documents=many)
    assert store.records.value("SELECT count(*) FROM forgotten") > 1500
    for before, now in zip(few, cost(), strict=True):
        assert now < 3 * before + 50
