"""What LangGraph asks of a store, and langmem's two tools, on a running daemon ($NIMAD_SOCKET).

The cases are those of LangGraph's own tests of its SQLite store (langgraph:libs/checkpoint-sqlite/
tests/test_store.py), as far as they are about stores and not about SQL or an embedder of one's own.
Run by tests/agents/test_langgraph.py in an environment of its own.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest
from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchItem,
    SearchOp,
)
from langmem import create_manage_memory_tool, create_search_memory_tool
from nimad_client.langgraph import NimadStore

ROOTS = itertools.count()


@pytest.fixture
def store() -> Iterator[NimadStore]:
    """Each case has a root of its own in the one daemon."""
    yield NimadStore(root=(f"case{next(ROOTS)}",))


# --- operations in a batch ------------------------------------------------------------------------


def test_results_come_in_the_order_of_the_operations(store: NimadStore) -> None:
    store.put(("test", "foo"), "key1", {"data": "value1"})
    store.put(("test", "bar"), "key2", {"data": "value2"})
    got, put, sought, listed, absent = store.batch(
        [
            GetOp(("test", "foo"), "key1"),
            PutOp(("test", "bar"), "key2", {"data": "new"}),
            SearchOp(("test",), filter={"data": "value1"}, limit=10, offset=0),
            ListNamespacesOp(match_conditions=None, max_depth=None, limit=10, offset=0),
            GetOp(("test",), "key3"),
        ]
    )
    assert isinstance(got, Item) and (got.value, got.key) == ({"data": "value1"}, "key1")
    assert got.namespace == ("test", "foo") and put is None and absent is None
    assert [item.key for item in sought] == ["key1"] and isinstance(sought[0], SearchItem)
    assert set(listed) == {("test", "foo"), ("test", "bar")}
    assert store.get(("test", "bar"), "key2").value == {"data": "new"}


def test_puts_of_a_batch_delete_too_and_of_a_key_the_last_counts(store: NimadStore) -> None:
    values = [("key1", {"n": 1}), ("key2", {"n": 2}), ("key3", None), ("key1", {"n": 3})]
    done = store.batch([PutOp(("test",), key, value) for key, value in values])
    assert done == [None] * 4
    found = [store.get(("test",), f"key{n}") for n in (1, 2, 3)]
    assert [item and item.value for item in found] == [{"n": 3}, {"n": 2}, None]


def test_searches_and_lists_of_a_batch(store: NimadStore) -> None:
    for space, tag in (("foo", "a"), ("bar", "a"), ("baz", "b")):
        store.put(("test", space), f"k-{space}", {"tag": tag})
    tagged, two, foo = store.batch(
        [
            SearchOp(("test",), filter={"tag": "a"}, limit=10, offset=0),
            SearchOp(("test",), filter=None, limit=2, offset=0),
            SearchOp(("test", "foo"), filter=None, limit=10, offset=0),
        ]
    )
    assert {item.value["tag"] for item in tagged} == {"a"} and len(tagged) == 2
    assert len(two) == 2 and [item.namespace for item in foo] == [("test", "foo")]


def test_what_abatch_does_is_the_same(store: NimadStore) -> None:
    async def main() -> Any:
        await store.aput(("a",), "k", {"text": "green tea"})
        assert (await store.aget(("a",), "k")).value == {"text": "green tea"}
        found = await store.asearch(("a",), query="tea")
        await store.adelete(("a",), "k")
        return found, await store.aget(("a",), "k"), await store.alist_namespaces()

    found, gone, spaces = asyncio.run(main())
    assert [item.key for item in found] == ["k"] and gone is None and spaces == []


# --- items ----------------------------------------------------------------------------------------


def test_an_item_is_put_replaced_and_deleted(store: NimadStore) -> None:
    space = ("test", "documents")
    store.put(space, "doc1", {"title": "Test Document", "content": "Hello, World!"})
    item = store.get(space, "doc1")
    assert (item.namespace, item.key) == (space, "doc1") and item.value["title"] == "Test Document"
    time.sleep(0.01)
    store.put(space, "doc1", {"title": "Updated"})
    updated = store.get(space, "doc1")
    assert updated.value == {"title": "Updated"}
    assert updated.created_at == item.created_at and updated.updated_at > item.updated_at
    assert store.get(("test", "other_documents"), "doc1") is None
    store.delete(space, "doc1")
    assert store.get(space, "doc1") is None and store.search(("test",)) == []


@pytest.mark.parametrize("labels", [(), ("a.b",), ("a", ""), ("langgraph", "x")])
def test_a_namespace_that_is_none_is_refused(store: NimadStore, labels: tuple[str, ...]) -> None:
    with pytest.raises(InvalidNamespaceError):
        store.put(labels, "k", {"v": 1})
    if labels and labels[0] != "langgraph":
        with pytest.raises(InvalidNamespaceError):
            store.batch([GetOp(labels, "k")])


def test_values_of_any_json_come_back(store: NimadStore) -> None:
    value = {"n": 1.5, "none": None, "deep": {"list": [1, "ä", True]}, "語": "猫", "empty": {}}
    store.put(("test",), "k\n/ä", value)
    assert store.get(("test",), "k\n/ä").value == value
    store.put(("test",), "empty", {})
    assert store.get(("test",), "empty").value == {}


# --- filters --------------------------------------------------------------------------------------


def keys(store: NimadStore, *labels: str, **more: Any) -> list[str]:
    return [item.key for item in store.search(labels, **more)]


def test_values_are_filtered_and_pages_do_not_overlap(store: NimadStore) -> None:
    people = ["John", "Jane", "John", "Alice"]
    for n, author in enumerate(people):
        value = {"author": author, "tags": ["draft"] if n % 2 else ["final"]}
        store.put(("base", "docs" if n < 2 else "reports", f"u{n}"), f"item{n}", value)
    assert len(store.search(["base", "docs"])) == 2
    assert set(keys(store, "base", filter={"author": "John"})) == {"item0", "item2"}
    assert set(keys(store, "base", filter={"tags": ["draft"]})) == {"item1", "item3"}
    first, second = keys(store, "base", limit=2), keys(store, "base", limit=2, offset=2)
    assert len({*first, *second}) == 4


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"price": {"$gt": 15}}, {"2", "3"}),
        ({"price": {"$gte": 20, "$lt": 30}}, {"2"}),
        ({"price": {"$lt": float("inf")}}, {"1", "2", "3", "4"}),
        ({"price": {"$gt": float("-inf")}}, {"1", "2", "3", "4"}),
        ({"price": {"$eq": float("nan")}}, set()),
        ({"price": {"$lt": 10**100}}, {"1", "2", "3", "4"}),
        ({"price": {"$lt": 0}}, {"4"}),
        ({"price": {"$ne": 10}}, {"2", "3", "4"}),
        ({"on": True}, {"1", "3"}),
        ({"on": False}, {"2", "4"}),
        ({"name": "O'Brien's"}, {"4"}),
        ({"name": "x' OR '1'='1"}, set()),
        ({"name": "x\x00' OR '1'='1"}, set()),
        ({"access') = 'x' OR '1'='1": "y"}, set()),
        ({"access-level": "public"}, {"1"}),
        ({"user.access-level": "nested"}, {"1"}),
        ({"123abc": "ok", "user.123abc": "ok2"}, {"2"}),
    ],
)
def test_filters_of_each_kind(store: NimadStore, wanted: Any, expected: set[str]) -> None:
    values: list[dict[str, Any]] = [
        {"price": 10, "on": True, "access-level": "public", "user": {"access-level": "nested"}},
        {"price": 20, "on": False, "123abc": "ok", "user": {"123abc": "ok2"}},
        {"price": 30, "on": True},
        {"price": -10, "on": False, "name": "O'Brien's"},
    ]
    for n, value in enumerate(values, 1):
        store.put(("items",), str(n), value)
    assert set(keys(store, "items", filter=wanted)) == expected


# --- searches -------------------------------------------------------------------------------------


def test_the_nearest_come_first_and_follow_a_change(store: NimadStore) -> None:
    store.put(("test",), "doc1", {"text": "zany zebra Xerxes"})
    store.put(("test",), "doc2", {"text": "something about dogs"})
    store.put(("test",), "doc3", {"text": "text about birds"})
    before = store.search(("test",), query="Zany Xerxes")
    assert before[0].key == "doc1"
    store.put(("test",), "doc1", {"text": "new text about dogs"})
    after = {item.key: item.score for item in store.search(("test",), query="Zany Xerxes")}
    assert after["doc1"] < before[0].score
    assert store.search(("test",), query="new text about dogs")[0].key == "doc1"
    store.put(("test",), "doc4", {"text": "new text about dogs"}, index=False)
    assert "doc4" not in keys(store, "test", query="new text about dogs", limit=3)


def test_a_search_with_a_filter(store: NimadStore) -> None:
    for key, text, colour in (("1", "red apple", "red"), ("2", "red car", "red")):
        store.put(("test",), key, {"text": text, "color": colour, "score": 4.5})
    store.put(("test",), "3", {"text": "green apple", "color": "green", "score": 4.0})
    store.put(("test",), "4", {"text": "blue car", "color": "blue", "score": 3.5})
    assert keys(store, "test", query="apple", filter={"color": "red"}) == ["1", "2"]
    assert keys(store, "test", query="car", filter={"color": "red"})[0] == "2"
    wanted = {"score": {"$gte": 4.0}, "color": "green"}
    assert keys(store, "test", query="apple", filter=wanted) == ["3"]


def test_pages_of_a_search(store: NimadStore) -> None:
    for n in range(5):
        store.put(("test",), f"doc{n}", {"text": f"test document number {n}"})
    first = store.search(("test",), query="test", limit=2)
    second = store.search(("test",), query="test", limit=2, offset=2)
    both = [*first, *second]
    assert len({item.key for item in both}) == 4
    scores = [item.score for item in store.search(("test",), query="test")]
    assert len(scores) == 5 and scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("query", ["", None, "test " * 100, "test!@#$%^&*()"])
def test_odd_queries(store: NimadStore, query: str | None) -> None:
    store.put(("test",), "doc1", {"text": "test document"})
    assert keys(store, "test", query=query) == ["doc1"]


def test_only_the_fields_that_are_named_are_searched(store: NimadStore) -> None:
    chosen = NimadStore(root=(f"case{next(ROOTS)}",), fields=["title", "parts[*].name"])
    apple = {"title": "apple", "body": "violin", "parts": [{"name": "seed"}, {"name": "stalk"}]}
    chosen.put(("test",), "doc1", apple)
    chosen.put(("test",), "doc2", {"title": "violin", "body": "apple"})
    assert keys(chosen, "test", query="violin")[0] == "doc2"
    assert keys(chosen, "test", query="stalk")[0] == "doc1"
    chosen.put(("test",), "doc3", {"title": "apple", "note": "trumpet"}, index=["note"])
    assert keys(chosen, "test", query="trumpet")[0] == "doc3"


def test_texts_in_any_script(store: NimadStore) -> None:
    texts = ["这是中文", "これは日本語です", "이건 한국어야", "Это русский", "यह रूसी है"]
    for n, text in enumerate(texts):
        store.put(("user_123", "memories"), str(n), {"text": text})
    for n, text in enumerate(texts):
        assert keys(store, "user_123", "memories", query=text)[0] == str(n)


# --- namespaces -----------------------------------------------------------------------------------


def put_in(store: NimadStore, *spaces: tuple[str, ...]) -> None:
    store.batch([PutOp(space, "k", {"v": 1}) for space in spaces])


def test_namespaces_are_listed_by_prefix_suffix_depth_and_page(store: NimadStore) -> None:
    spaces = [
        ("test", "documents", "public", "z"),
        ("test", "documents", "private", "z"),
        ("test", "images", "public", "z"),
        ("test", "images", "private", "z"),
        ("prod", "documents", "public", "z"),
        ("prod", "documents", "some", "nesting", "public", "z"),
        ("prod", "documents", "private", "z"),
    ]
    put_in(store, *spaces)
    listed = store.list_namespaces
    assert set(listed()) == set(spaces) and len(listed(limit=3)) == 3
    assert len(listed(offset=3)) == 4
    assert len(listed(prefix=("test",))) == 4 and len(listed(prefix=("test", "documents"))) == 2
    assert len(listed(suffix=("public", "z"))) == 4
    assert len(listed(prefix=("test",), suffix=("public", "z"))) == 2
    assert len(listed(prefix=("*", "documents"))) == 5
    assert len(listed(suffix=("*", "public", "z"))) == 4
    assert listed(suffix=("some", "*", "public", "z")) == [spaces[5]]
    assert all(len(space) <= 2 for space in listed(max_depth=2))
    assert len(listed(max_depth=3, prefix=("*", "documents"))) == 5
    (ends,) = store.batch(
        [ListNamespacesOp((MatchCondition("suffix", ("private", "z")),), None, 10, 0)]
    )
    assert len(ends) == 3


def test_a_prefix_ends_where_a_label_does(store: NimadStore) -> None:
    put_in(store, ("foo",), ("foo", "child"), ("foo", "child", "deep"), ("foobar",), ("foo2",))

    def below(*labels: str) -> set[tuple[str, ...]]:
        found = {item.namespace for item in store.search(labels, limit=100)}
        assert set(store.list_namespaces(prefix=labels)) == found
        return found

    assert below("foo") == {("foo",), ("foo", "child"), ("foo", "child", "deep")}
    assert below("foobar") == {("foobar",)} and below("foo2") == {("foo2",)}
    assert below("fo") == set()
    assert len({item.namespace for item in store.search((), limit=100)}) == 5


def test_labels_are_taken_as_they_are(store: NimadStore) -> None:
    pairs = [("star*", "starX"), ("q?m", "qXm"), ("br[a]t", "brat"), ("u_1", "uX1"), ("a%b", "axb")]
    pairs += [("Foo", "foo"), ("alice\n", "alice")]
    for label, other in pairs:
        put_in(store, (label,), (other,), (label, "child"))
    for label, other in pairs:
        found = {item.namespace for item in store.search((label,), limit=100)}
        assert found == {(label,), (label, "child")} == set(store.list_namespaces(prefix=(label,)))
        assert (other,) in store.list_namespaces(suffix=(other,))
        assert (label,) not in store.list_namespaces(suffix=(other,))


# --- langmem's tools ------------------------------------------------------------------------------


def test_langmem_manages_and_finds_memories(store: NimadStore) -> None:
    space = ("memories", "{langgraph_user_id}")
    manage = create_manage_memory_tool(namespace=space, store=store)
    search = create_search_memory_tool(namespace=space, store=store)
    anna, bert = ({"configurable": {"langgraph_user_id": name}} for name in ("anna", "bert"))
    said = manage.invoke({"content": "Anna likes green tea.", "action": "create"}, config=anna)
    ident = said.split()[-1]
    manage.invoke({"content": "Bert drinks coffee."}, config=bert)
    assert "green tea" in search.invoke({"query": "what does she drink?"}, config=anna)
    assert "green tea" not in search.invoke({"query": "what does he drink?"}, config=bert)
    update = {"id": ident, "content": "Anna likes black tea.", "action": "update"}
    manage.invoke(update, config=anna)
    assert [item.value for item in store.search(("memories", "anna"))] == [
        {"content": "Anna likes black tea."}
    ]
    asyncio.run(manage.ainvoke({"id": ident, "action": "delete"}, config=anna))
    assert "tea" not in asyncio.run(search.ainvoke({"query": "tea"}, config=anna))
    assert store.search(("memories", "anna")) == []
