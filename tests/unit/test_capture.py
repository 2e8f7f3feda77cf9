"""Turns that are captured: whole, once, completed, and never overwritten; against a dictionary."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nimad.check import check
from nimad.config import Config
from nimad.core.capture import RELATIONS, StoredTurn
from nimad.core.store import MemoryStore
from nimad.errors import UsageError
from nimad.model import TURN_ROLES, Filter
from nimad.serve import wire
from tests.legacy import stores
from tests.legacy.moving import migrate, opened

WHOLE = {
    "session": "s",
    "turn": "t",
    "conversation": "c",
    "when": 1_700_000_000_000,
    "agent": "main",
    "origin": "agent",
    "affect": {"CARE": 0.5},
    "input": {"text": "Is the kettle mended?", "who": "Maya", "origin": "owner"},
    "contemplation": "She means the one in the kitchen.",
    "output": {"text": "Yes, since Monday.", "who": "self", "importance": 0.4},
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    opened = MemoryStore.open(tmp_path / "state", Config().replace(embedder="hash"))
    yield opened
    assert check(opened) == []
    opened.close()


def capture(store: MemoryStore, *turns: dict[str, Any]) -> list[StoredTurn]:
    return store.capture([wire.captured(turn, UTC) for turn in turns])


def edges(store: MemoryStore) -> list[tuple[int, str, int]]:
    sql = "SELECT r.origin, n.name, r.target FROM relations r JOIN names n ON n.id = r.relation"
    return sorted(store.records.rows(sql))


def test_a_turn_is_three_memories_a_triangle_and_a_row(store: MemoryStore) -> None:
    (done,) = capture(store, WHOLE)
    assert (done.state, done.ids) == ("stored", {"input": 1, "contemplation": 2, "output": 3})
    found = [store.get(number) for number in done.ids.values()]
    assert [m.layer for m in found] == list(TURN_ROLES)
    assert [m.who for m in found] == ["Maya", None, "self"]
    assert [m.origin for m in found] == ["owner", "agent", "agent"]
    assert [m.importance for m in found] == [None, None, 0.4]
    assert {(m.turn, m.session, m.conversation, m.agent) for m in found} == {
        ("t", "s", "c", "main")
    }
    assert {(m.timestamp, m.affect) for m in found} == {(1_700_000_000_000, '{"CARE": 0.5}')}
    assert edges(store) == [
        (1, "triggered", 2),
        (2, "produced", 3),
        (3, "responded_to", 1),
    ]
    turn = "SELECT name, input, contemplation, output, timestamp, affect, listed FROM turns"
    assert store.records.rows(turn) == [("t", 1, 2, 3, 1_700_000_000_000, '{"CARE": 0.5}', 1)]
    near = {(n.memory.id, n.relation, n.direction) for n in store.related(1)}
    assert {(2, "triggered", "out"), (3, "responded_to", "in")} <= near
    assert store.query("mended kettle", where=Filter(layer="input")).hits[0].memory.id == 1


def test_the_same_again_changes_nothing_whatever_its_capitals(store: MemoryStore) -> None:
    capture(store, WHOLE)
    head = store.records.head()
    assert [t.state for t in capture(store, WHOLE, {**WHOLE, "conversation": "x"})] == [
        "unchanged"
    ] * 2
    assert capture(store, {**WHOLE, "output": " YES, since  Monday. "})[0].state == "unchanged"
    assert store.records.head() == head


def test_what_came_later_completes_the_turn_in_its_own_conversation(store: MemoryStore) -> None:
    first = {k: v for k, v in WHOLE.items() if k not in ("output", "contemplation", "affect")}
    assert capture(store, first)[0].state == "stored"
    grown = {**WHOLE, "conversation": "another"}
    (done,) = capture(store, {k: v for k, v in grown.items() if k != "contemplation"})
    assert (done.state, done.ids) == ("completed", {"input": 1, "output": 2})
    assert store.get(2).conversation == "c" and edges(store) == [(2, "responded_to", 1)]
    assert capture(store, WHOLE)[0].ids == {"input": 1, "contemplation": 3, "output": 2}
    assert len(edges(store)) == 3 and store.records.counts()["turns"] == 1
    assert store.records.value("SELECT affect FROM turns") == '{"CARE": 0.5}'


def test_another_text_is_told_and_nothing_of_that_turn_changes(store: MemoryStore) -> None:
    capture(store, {**WHOLE, "output": None})
    conflicting = {**WHOLE, "input": "Is the kettle broken?"}
    done = capture(store, conflicting, {**WHOLE, "turn": "u"})
    assert [(t.state, t.conflicts) for t in done] == [("conflict", ["input"]), ("stored", [])]
    assert done[0].ids == {"input": 1, "contemplation": 2}
    assert store.get(1).text == "Is the kettle mended?"
    assert wire.stored_turn_json(done[0])["conflicts"] == ["input"]
    assert "conflicts" not in wire.stored_turn_json(done[1])


def test_turns_of_another_namespace_or_session_are_others(store: MemoryStore) -> None:
    kinds = [WHOLE, {**WHOLE, "namespace": "n"}, {**WHOLE, "session": "r"}]
    assert [t.state for t in capture(store, *kinds)] == ["stored"] * 3
    assert [t.state for t in capture(store, *kinds)] == ["unchanged"] * 3
    assert store.records.counts() == {"memories": 9, "turns": 3, "relations": 9}


def test_a_turn_twice_in_one_call_is_one_turn(store: MemoryStore) -> None:
    half = {**WHOLE, "output": None}
    assert [t.state for t in capture(store, half, WHOLE, WHOLE)] == [
        "stored",
        "completed",
        "unchanged",
    ]
    assert len(edges(store)) == 3


def test_a_part_that_remember_stored_is_part_of_the_turn(store: MemoryStore) -> None:
    given = {"text": "Is the kettle mended?", "layer": "input", "turn": "t", "session": "s"}
    number = store.remember(wire.remembered(given))
    assert capture(store, WHOLE)[0].ids["input"] == number


def test_what_was_forgotten_of_a_turn_does_not_come_back(store: MemoryStore) -> None:
    first = {**WHOLE, "output": None}
    capture(store, first)
    store.forget([2])
    (again,) = capture(store, first)
    assert (again.state, again.ids, again.forgotten) == (
        "unchanged",
        {"input": 1},
        ["contemplation"],
    )
    (grown,) = capture(store, WHOLE)
    assert (grown.state, grown.ids) == ("completed", {"input": 1, "output": 3})
    assert edges(store) == [(3, "responded_to", 1)]
    store.forget([1, 3])
    (none,) = capture(store, WHOLE)
    assert (none.state, none.ids, len(none.forgotten)) == ("unchanged", {}, 3)
    assert wire.stored_turn_json(none)["forgotten"] == list(TURN_ROLES)
    assert store.records.counts() == {"memories": 0, "turns": 0, "relations": 0}
    number = store.remember(
        wire.remembered({"text": "Is it?", "layer": "input", "turn": "t", "session": "s"})
    )
    assert store.get(number).turn == "t" and capture(store, WHOLE)[0].state == "conflict"


def test_a_purge_leaves_no_note_of_a_turn_that_was_forgotten(store: MemoryStore) -> None:
    capture(store, WHOLE)
    assert store.forget([1, 2, 3], purge=True).purged
    assert store.records.value("SELECT count(*) FROM turns") == 0


@pytest.mark.parametrize(
    ("turn", "said"),
    [
        ("no turn", "a turn must be an object"),
        ({"turn": "t", "input": "x"}, "a turn needs session"),
        ({"session": "s", "input": "x"}, "a turn needs turn"),
        ({"session": "s", "turn": "t"}, "a turn needs one of input, contemplation, output"),
        ({"session": "s", "turn": "t", "inputs": "x"}, 'takes no "inputs"; did you mean input'),
        (
            {"session": "s", "turn": "t", "input": {"text": "x", "layer": "note"}},
            'takes no "layer"',
        ),
        ({"session": "s", "turn": "t", "input": {"txt": "x"}}, 'takes no "txt"; did you mean text'),
        ({"session": "s", "turn": "t", "input": " "}, "text must not be empty"),
        ({"session": "s", "turn": "t", "input": 7}, "input must be a text, or an object"),
        ({"session": "s", "turn": "t", "input": "x", "origin": "me"}, "origin must be one of"),
        ({"session": "s", "turn": "t", "input": "x", "when": "soon"}, "timestamp must be"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_stored(
    store: MemoryStore, turn: Any, said: str
) -> None:
    with pytest.raises(UsageError) as refused:
        capture(store, WHOLE, turn)
    assert said in refused.value.message
    assert store.records.counts()["memories"] == 0


TEXTS = {role: st.sampled_from([None, f"{role} one", f"{role} two"]) for role in TURN_ROLES}
TURNS = st.fixed_dictionaries(
    {"session": st.sampled_from("ab"), "turn": st.sampled_from("xy"), **TEXTS}
).filter(lambda turn: any(turn[role] for role in TURN_ROLES))


@given(st.lists(st.lists(TURNS, min_size=1, max_size=3), max_size=8))
@settings(max_examples=25, deadline=None)
def test_any_captures_do_what_a_dictionary_says(
    tmp_path_factory: pytest.TempPathFactory, calls: list[list[dict[str, Any]]]
) -> None:
    state = tmp_path_factory.mktemp("captured") / "state"
    store = MemoryStore.open(state, Config().replace(embedder="hash", graph__engine="none"))
    model: dict[tuple[str, str], dict[str, str]] = {}
    try:
        for turns in calls:
            for turn, done in zip(turns, capture(store, *turns), strict=True):
                said = {role: turn[role] for role in TURN_ROLES if turn[role]}
                known = model.setdefault((turn["session"], turn["turn"]), {})
                if any(known.get(role, text) != text for role, text in said.items()):
                    assert done.state == "conflict"
                    continue
                new = said.keys() - known.keys()
                grown = "completed" if known else "stored"
                assert done.state == (grown if new else "unchanged")
                known |= said
        texts = {(m.session, m.turn, m.layer): m.text for m in store.export(0, 1000)}
        assert texts == {
            (*key, role): t for key, parts in model.items() for role, t in parts.items()
        }
        wanted = sum(a in parts and b in parts for parts in model.values() for _, a, b in RELATIONS)
        assert len(edges(store)) == wanted == len(set(edges(store)))
        assert check(store) == []
    finally:
        store.close()


def test_a_store_of_nima_migrated_and_the_same_turns_captured_export_alike(tmp_path: Path) -> None:
    """What nima-core writes for a turn, in its own schema, and what `capture` makes of the turn."""
    source = tmp_path / "graph.sqlite"
    stores.create(source)
    said = {role: f"{role} of the kettle" for role in TURN_ROLES}
    who = {"input": "Maya", "contemplation": "self", "output": "self"}
    at = 1_700_000_000_000
    nodes = [
        stores.node(n, said[role], layer=role, who=who[role], timestamp=at, turn_id="turn_1")
        for n, role in enumerate(TURN_ROLES, 1)
    ]
    stores.insert(source, "memory_nodes", nodes)
    ids = dict(zip(TURN_ROLES, (1, 2, 3), strict=True))
    for relation, origin, target in RELATIONS:
        edge = {"source_id": ids[origin], "target_id": ids[target], "relation": relation}
        stores.insert(source, "memory_edges", [{**edge, "weight": 1.0}])
    turn = {f"{role}_node_id": number for role, number in ids.items()}
    turn |= {"turn_id": "turn_1", "timestamp": at, "affect_json": nodes[0]["affect_json"]}
    stores.insert(source, "memory_turns", [turn])
    with opened(tmp_path / "migrated") as (migrated, manager):
        assert migrate(manager, source)["state"] == "verified"
        with opened(tmp_path / "captured") as (captured, _):
            (first, *_) = nodes
            parts = {
                role: {
                    "text": said[role],
                    "who": who[role],
                    "summary": said[role],
                    "importance": node["fe_score"],
                }
                for role, node in zip(TURN_ROLES, nodes, strict=True)
            }
            scope = {"session": first["session_key"], "conversation": first["conversation_id"]}
            told = {"turn": "turn_1", "when": at, "origin": "imported"}
            affect = {"affect": first["affect_json"]}
            capture(captured, {**scope, **told, **affect, **parts})
            assert exported(captured) == exported(migrated)
            assert edges(captured) == edges(migrated)
            row = "SELECT name, input, contemplation, output, timestamp, affect, listed FROM turns"
            assert captured.records.rows(row) == migrated.records.rows(row)
            for number in ids.values():
                near = [
                    [(n.memory.id, n.relation, n.direction, n.weight) for n in s.related(number)]
                    for s in (captured, migrated)
                ]
                assert near[0] == near[1]


def exported(store: MemoryStore) -> list[dict[str, Any]]:
    """An export, but for what a store's own row of a source has."""
    own = ("created", "source", "extra")
    lines = [wire.exported(memory) for memory in store.export(0, 10)]
    return [{name: line[name] for name in line if name not in own} for line in lines]
