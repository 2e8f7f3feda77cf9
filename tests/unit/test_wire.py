"""Parameters and memories on the wire: strict in, complete out."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nimad import checks
from nimad.core.validate import MANY, are_sound, check_memory
from nimad.ctl.main import build
from nimad.errors import UsageError
from nimad.model import FIELDS, LAYERS, MAX_TIME, Hit, Memory
from nimad.serve import (
    hypervector_verbs,
    memory_verbs,
    migration_verbs,
    params,
    query_verb,
    service_verbs,
    wire,
)
from nimad.serve.params import Param

SPECS = {
    "query": query_verb.QUERY,
    "get": memory_verbs.GET,
    "similar": memory_verbs.SIMILAR,
    "related": memory_verbs.RELATED,
    "complete": hypervector_verbs.COMPLETE,
    "phi": hypervector_verbs.PHI,
    "export": memory_verbs.EXPORT,
    "import": memory_verbs.IMPORT,
    "forget": memory_verbs.FORGET,
    "rebuild": service_verbs.REBUILD,
    "remember": wire.REMEMBER,
    "migrate.attach": migration_verbs.ATTACH,
    "migrate.verify": migration_verbs.ONE_NAME,
}
SPEC = {
    "text": Param(checks.text(10)),
    "k": Param(checks.integer(1, 9), 5),
    "tags": Param(params.many(0, 2, "texts", checks.text(5)), ()),
}


def refusal(given: dict[str, Any], spec: params.Spec = SPEC) -> str:
    with pytest.raises(UsageError) as caught:
        params.read("verb", spec, given)
    return caught.value.message


def test_parameters_get_their_defaults_and_null_is_not_given() -> None:
    assert params.read("verb", SPEC, {"text": "a", "k": None}) == {"text": "a", "k": 5, "tags": ()}


def test_a_refusal_names_the_verb_the_parameter_and_what_it_must_be() -> None:
    assert refusal({"text": "a", "tgas": []}) == 'verb takes no "tgas"; did you mean tags?'
    assert refusal({"k": 1}) == "verb needs text"
    assert refusal({"text": "a", "k": 10}) == "verb: k must be a whole number from 1 to 9, not 10"
    assert refusal({"text": "a" * 11}).startswith("verb: text must have at most 10 characters (11")
    assert len(refusal({"text": "a", "k": "x" * 9999})) < 200


@pytest.mark.parametrize("value", [True, 1.0, "1", [], {}, 0, 10, 2**70])
def test_a_whole_number_is_nothing_else(value: Any) -> None:
    assert "whole number" in refusal({"text": "a", "k": value})


@pytest.mark.parametrize("value", ["x", ["a", "b", "c"], [1], [""], [None], {"a": 1}])
def test_a_list_of_texts_is_nothing_else(value: Any) -> None:
    assert "verb: tags must" in refusal({"text": "a", "tags": value})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
def test_whatever_is_given_is_read_or_refused(data: st.DataObject) -> None:
    verb = data.draw(st.sampled_from(sorted(SPECS)))
    names = st.sampled_from(sorted(SPECS[verb])) | st.text(max_size=3)
    given_params = data.draw(st.dictionaries(names, JSON, max_size=5))
    try:
        found = params.read(verb, SPECS[verb], given_params)
    except UsageError as error:
        assert verb in error.message
    else:
        assert found.keys() == SPECS[verb].keys()


# --- memories -------------------------------------------------------------------------------------

FULL: dict[str, Any] = {
    "text": "Maya oiled the gate",
    "who": "Maya",
    "where": "garden",
    "timestamp": 1683554160000,
    "layer": "output",
    "importance": 0.4,
    "tags": ["gate", "oil"],
    "namespace": "home",
    "conversation": "c1",
    "session": "s1",
    "turn": "t1",
    "affect": '{"joy": 0.3}',
    "summary": "Maya oiled",
    "extra": {"weather": ["sun", None, 1.5]},
}


def test_every_field_that_is_given_comes_back() -> None:
    memory = wire.remembered(params.read("remember", wire.REMEMBER, FULL))
    shown = wire.memory_json(memory)
    assert {name: shown[name] for name in FULL} == FULL
    assert shown["source"] is None and "blobs" not in shown


def test_what_a_user_may_not_set_is_refused() -> None:
    for name in ("id", "created", "access_count", "source", "blobs"):
        with pytest.raises(UsageError) as caught:
            params.read("remember", wire.REMEMBER, {"text": "a", name: 1})
        assert f'takes no "{name}"' in caught.value.message


@pytest.mark.parametrize("layer", LAYERS)
def test_an_export_can_be_imported(layer: str) -> None:
    before = Memory(
        text="",
        id=17,
        who="",
        layer=layer,
        tags=("a",),
        namespace="n",
        timestamp=None,
        created=5,
        last_accessed=6,
        access_count=7,
        source=("graph", 12),
        extra={"strength": 0.5},
        blobs={"embedding": bytes(range(256))},
    )
    line = json.loads(json.dumps(wire.memory_json(before, blobs=True)))
    after = wire.imported(line, "ignored: the line names one")
    assert after.id == 0 and after.source is None
    assert after.extra == {"source": {"name": "graph", "id": 12}, "strength": 0.5}
    after.id, after.source, after.extra = before.id, before.source, before.extra
    assert after == before


def test_the_namespace_of_an_import_is_for_lines_without_one() -> None:
    assert wire.imported({"text": "a"}, "box").namespace == "box"
    assert wire.imported({"text": "a", "namespace": None}, "box").namespace == "box"
    assert wire.imported({"text": "a", "namespace": "own"}, "box").namespace == "own"


@pytest.mark.parametrize(
    "line", [None, 1, "text", [], {"who": "x"}, {"text": "a", "blobs": {"b": "?"}}]
)
def test_lines_that_are_no_memory_are_refused(line: Any) -> None:
    with pytest.raises(UsageError):
        wire.imported(line, "default")


def test_the_parts_of_a_score_come_only_when_asked_for() -> None:
    hit = Hit(Memory("a"), 0.5, {"words": 0.5})
    assert "parts" not in wire.hit_json(hit, explain=False)
    assert wire.hit_json(hit, explain=True)["parts"] == {"words": 0.5}


@pytest.mark.parametrize(
    ("where", "number", "expected"),
    [
        ("file.jsonl:1", 0, "file.jsonl:1"),
        ("file.jsonl:501", 3, "file.jsonl:504"),
        ("a:b.jsonl:7", 1, "a:b.jsonl:8"),
        ("standard input", 2, "standard input, memory 3"),
        (None, 0, "memory 1"),
    ],
)
def test_a_bad_line_is_found_again(where: str | None, number: int, expected: str) -> None:
    assert memory_verbs.place(where, number) == expected


# --- one table of fields --------------------------------------------------------------------------

TOO_MUCH: dict[str, Any] = {
    "text": lambda field: "x" * (field.most + 1),
    "layer": lambda field: "cellar",
    "moment": lambda field: MAX_TIME + 1,
    "share": lambda field: 1.5,
    "count": lambda field: field.most + 1,
    "tags": lambda field: ("x" * (field.most + 1),),
    "json": lambda field: {"x": "y" * field.most},
}
"""By kind of field, a value that is just too much."""


def test_every_side_reads_the_same_table_of_fields() -> None:
    """A field that is added to Memory is on the wire, checked, an option, and shown by itself."""
    shown = wire.memory_json(Memory("a", blobs={"b": b"c"}), blobs=True)
    assert list(shown) == ["id", *FIELDS]
    assert set(wire.IMPORT) == {"id", "damaged", *FIELDS}
    assert set(wire.REMEMBER) == {name for name, field in FIELDS.items() if not field.kept}
    options = build(["remember"]).parse_args(["remember", "text"])
    assert {name for name, field in FIELDS.items() if field.flag} <= vars(options).keys()
    for name, field in FIELDS.items():
        memory = Memory("a")
        check_memory(memory)
        if field.kind in TOO_MUCH:
            setattr(memory, name, TOO_MUCH[field.kind](field))
            with pytest.raises(UsageError, match=name) as caught:
                check_memory(memory, 7)
            assert caught.value.fields["place"] == 7
            setattr(memory, name, object())
            with pytest.raises(UsageError, match=name):
                check_memory(memory)


ODD = [None, True, 1, 0, 1.0, float("nan"), "", " ", "note", ("a",), ["a"], {"a": 1}, {1}, "\ud800"]


@given(st.lists(st.tuples(st.sampled_from([*FIELDS]), st.sampled_from(ODD)), max_size=6))
def test_many_memories_are_sound_where_each_is(changes: list[tuple[str, Any]]) -> None:
    """A value that equals a sound one, as true equals 1, is looked at all the same."""
    memories = [Memory("a", access_count=1, importance=1) for _ in range(MANY)]
    for place, (name, value) in enumerate(changes):
        setattr(memories[place], name, value)
    try:
        for memory in memories:
            check_memory(memory)
        sound = True
    except UsageError:
        sound = False
    assert are_sound(memories) == sound
    assert not are_sound(memories[1:]), "of few it is not known"


def test_each_column_of_a_memory_is_a_field_of_it() -> None:
    names = {field.name for field in fields(Memory)}
    assert names == {"id", *FIELDS}, "a field without metadata is known to nobody else"
