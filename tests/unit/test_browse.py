"""The verbs browse and timeline against a list in Python: every filter, order, page and edge."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.errors import UsageError
from nimad.limits import MAX_PAYLOAD
from nimad.model import Memory
from nimad.serve import protocol
from nimad.serve.access import Peer
from nimad.serve.browse_verbs import BrowseVerbs
from nimad.serve.verbs import Call, Verb

DAY = 86_400_000
START = 19_000 * DAY
ME = Peer(1, 0, 0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryStore]:
    """Memories of few people, days and namespaces; some have no date, some are forgotten."""
    opened = MemoryStore.open(tmp_path_factory.mktemp("browse"), Config().replace(embedder="hash"))
    dice = random.Random(7)
    made = [
        Memory(
            f"number {n}",
            who=dice.choice(["Maya", "Jonas", None]),
            namespace=dice.choice(["default", "garden"]),
            origin=dice.choice(["owner", "untrusted", None]),
            tags=("pets",) if n % 5 == 0 else (),
            timestamp=dice.choice([None, START + dice.randrange(10) * DAY, -DAY]),
        )
        for n in range(120)
    ]
    opened.remember_many(made)
    opened.forget(range(20, 30))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def verbs(store: MemoryStore) -> dict[str, Verb]:
    return {verb.name: verb for verb in BrowseVerbs(store).all()}


FILTERS: list[tuple[dict[str, Any], Any]] = [
    ({}, lambda m: True),
    ({"who": "maya"}, lambda m: m.who == "Maya"),
    ({"namespace": "garden"}, lambda m: m.namespace == "garden"),
    ({"tags": ["pets"]}, lambda m: m.tags == ("pets",)),
    ({"origin": "untrusted"}, lambda m: m.origin == "untrusted"),
    ({"after": START + DAY}, lambda m: m.timestamp is not None and m.timestamp >= START + DAY),
    ({"before": START}, lambda m: m.timestamp is not None and m.timestamp < START),
    ({"who": "nobody"}, lambda m: False),
]


@pytest.mark.parametrize(("given", "passes"), FILTERS)
def test_pages_together_are_the_whole(
    store: MemoryStore, verbs: dict[str, Verb], given: dict[str, Any], passes: Any
) -> None:
    own = [memory for memory in store.export(0, 1000) if passes(memory)]
    newest = [memory.id for memory in reversed(own)]
    by_time = [m.id for m in sorted(own, key=lambda m: (m.timestamp is None, m.timestamp, m.id))]
    for order, wanted in (("stored", newest), ("time", by_time)):
        got: list[int] = []
        for offset in itertools.count(0, 7):
            asked = {**given, "order": order, "limit": 7, "offset": offset}
            page = verbs["browse"].answer(Call(asked, ME))
            got += [memory["id"] for memory in page["results"]]
            assert page["more"] == (len(got) < len(wanted))
            if not page["more"]:
                break
        assert got == wanted
    if newest:
        below = newest[len(newest) // 2]
        page = verbs["browse"].answer(Call({**given, "below": below, "limit": 1000}, ME))
        assert [memory["id"] for memory in page["results"]] == [i for i in newest if i < below]


@pytest.mark.parametrize(("given", "passes"), FILTERS)
def test_a_timeline_counts_what_lies_between_edges(
    store: MemoryStore, verbs: dict[str, Verb], given: dict[str, Any], passes: Any
) -> None:
    moments = [memory.timestamp for memory in store.export(0, 1000) if passes(memory)]
    dated = sorted(moment for moment in moments if moment is not None)
    edges = [-2 * DAY, -DAY, START, START + 3 * DAY, START + 3 * DAY + 1, START + 5 * DAY]
    found = verbs["timeline"].answer(Call({**given, "edges": edges}, ME))
    assert found == {
        "first": dated[0] if dated else None,
        "last": dated[-1] if dated else None,
        "dated": len(dated),
        "undated": len(moments) - len(dated),
        "counts": [sum(a <= m < b for m in dated) for a, b in itertools.pairwise(edges)],
    }
    for few in ([], [START]):
        assert verbs["timeline"].answer(Call({**given, "edges": few}, ME))["counts"] == []


@pytest.mark.parametrize(
    "wrong",
    [{"order": "best"}, {"limit": 1001}, {"below": 0}, {"offset": -1}, {"after": "no date"}],
)
def test_what_is_wrong_is_named(verbs: dict[str, Verb], wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        verbs["browse"].answer(Call(wrong, ME))
    with pytest.raises(UsageError, match="edges"):
        verbs["timeline"].answer(Call({"edges": [0] * 1001}, ME))


def test_long_memories_are_cut_to_a_frame(tmp_path: Path) -> None:
    store = MemoryStore.open(tmp_path, Config().replace(embedder="hash"))
    store.remember_many([Memory(f"{n} " + "x" * 90_000) for n in range(20)])
    verb = BrowseVerbs(store).all()[0]
    assert verb.shorten is not None
    result = verb.shorten(verb.answer(Call({}, ME)))
    assert protocol.size_of(result) <= MAX_PAYLOAD
    assert len(result["results"]) == 20
    store.close()
