"""docs/graph.md: its ten questions are answered by both engines, its tables are the graph's."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from nimad.core.store import MemoryStore
from nimad.graph.cypher import CALLS
from nimad.graph.tables import TABLES
from nimad.keys import ENGINES
from tests.legacy import stores
from tests.legacy.moving import migrate, opened

TEXT = (Path(__file__).parents[2] / "docs" / "graph.md").read_text(encoding="utf-8")
QUESTIONS = [
    " ".join(line.strip() for line in block.splitlines())
    for block in re.findall(r"```cypher\n(.*?)```", TEXT, re.DOTALL)
]
VALUES = {"$id": 1, "$from": 1, "$to": 3}
NONE = {6: "each turn has an output"}
"""Questions, counted from 0, that nothing answers in the store of the test, and why."""


@pytest.fixture(scope="module", params=ENGINES)
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MemoryStore]:
    if request.param == "kuzu" and os.sysconf("SC_PAGE_SIZE") != 4096:
        pytest.skip("kuzu works with memory pages of 4 KiB only")
    home = tmp_path_factory.mktemp("home")
    source = stores.small_store(home / "graph.sqlite")
    stores.insert(source, "memory_nodes", [stores.node(99, turn_id="")])
    with opened(home / "state", graph__engine=request.param) as (made, manager):
        assert migrate(manager, source)["state"] == "verified"
        yield made


def test_there_are_ten() -> None:
    assert len(QUESTIONS) == 10


@pytest.mark.parametrize("number", range(10))
def test_each_question_has_an_answer(store: MemoryStore, number: int) -> None:
    cypher = QUESTIONS[number]
    parameters = {name[1:]: value for name, value in VALUES.items() if name in cypher}
    answer = store.graph.query(cypher, parameters)
    assert answer.behind == 0
    assert bool(answer.rows) is (number not in NONE), answer.rows


def test_answers_are_right(store: MemoryStore) -> None:
    assert store.graph.query(QUESTIONS[0]).rows == [["triggered", 20]]
    steps = store.graph.query(QUESTIONS[3], {"id": 1}).rows
    assert steps == [[2, 1], [3, 2]]
    assert store.graph.query(QUESTIONS[4], {"from": 1, "to": 3}).rows == [[[1, 2, 3], 2]]
    assert store.graph.query(QUESTIONS[5]).rows[0] == ["turn_0", 1, 3]
    assert [row[1] for row in store.graph.query(QUESTIONS[7]).rows] == [1]


def test_the_tables_are_told() -> None:
    told = dict(re.findall(r"^\| `(\w+)` \| .*? \| (.*) \|$", TEXT, re.MULTILINE))
    assert told.keys() == TABLES.keys()
    for table, properties in told.items():
        columns = re.findall(r"(\w+) (?:INT64|STRING|DOUBLE)", TABLES[table])
        assert re.findall(r"`(\w+)`", properties) == columns, table


def test_what_may_be_called_is_told() -> None:
    for name in CALLS:
        assert f"`{name.lower()}`" in TEXT
