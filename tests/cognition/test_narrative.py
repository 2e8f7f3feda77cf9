"""A narrative quotes and counts: each id exists, each quotation stands in the memory it cites."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nimad.core.store import MemoryStore
from nimad.embed.tokens import TokenCounter
from nimad.model import EVERYTHING, Filter, Memory
from nimad.reflection import goals, lines, quotes
from nimad.reflection.narrative import NOTHING, Narrative, narrate
from tests.cognition import talk
from tests.cognition.talk import DAY, START, dialogues, opened

ZONE = ZoneInfo("Europe/Berlin")
QUOTED = {"quote", "goal"}


def told(store: MemoryStore, where: Filter = EVERYTHING, budget: int = 600) -> Narrative:
    return narrate(store, where, ZONE, budget, TokenCounter(store.embedder).count)


def check_cited(store: MemoryStore, found: Narrative) -> None:
    """Every line names memories that exist; what is quoted stands in them."""
    for line in found.lines:
        memories = store.records.get(line.ids)
        assert line.ids and len(memories) == len(line.ids), line
        if line.kind in QUOTED:
            assert line.text and line.text in memories[line.ids[0]].text, line


@pytest.fixture
def store(tmp_path: Path) -> MemoryStore:
    return opened(tmp_path / "state", talk.talk())


def test_it_counts_people_and_quotes(store: MemoryStore) -> None:
    with closing(store):
        found = told(store)
        check_cited(store, found)
        text = lines.told(found.lines, ZONE)
    assert found.memories == found.looked == 12
    people = {line.more["who"]: line.more["count"] for line in found.lines if line.kind == "person"}
    assert people == {"Maya": 6, "Wren": 4, "Tom": 2}
    assert found.lines[0].kind == "head" and found.lines[0].text.startswith("12 memories, ")
    names = " ".join(line.text for line in found.lines if line.kind == "theme")
    assert "train" in names
    tone = next(line for line in found.lines if line.kind == "tone")
    assert next(iter(tone.more["affect"])) == "SEEKING" and tone.ids[0] == 5
    assert all(each.endswith("]") for each in text.splitlines())


def test_of_a_person_it_tells_what_they_say_of_themselves_most(store: MemoryStore) -> None:
    with closing(store):
        found = told(store, Filter(who="maya"))
        check_cited(store, found)
    statements = [line for line in found.lines if "also" in line.more]
    assert {statements[0].ids[0], *statements[0].more["also"]} == {3, 8}, "said twice: first"
    assert {line.more["who"] for line in found.lines if line.kind == "quote"} == {"Maya"}
    assert {line.more["who"] for line in found.lines if line.kind == "person"} == {"Wren", "Tom"}


def test_of_a_day_it_tells_that_day_alone(store: MemoryStore) -> None:
    with closing(store):
        found = told(store, Filter(after=START, before=START + DAY // 2))
        check_cited(store, found)
        nothing = told(store, Filter(after=START - 2 * DAY, before=START - DAY))
    assert {number for line in found.lines for number in line.ids} <= set(range(1, 7))
    assert [(line.text, line.ids) for line in nothing.lines] == [(NOTHING, [])]


def test_it_keeps_to_its_budget(store: MemoryStore) -> None:
    with closing(store):
        sizes = [told(store, budget=budget).tokens for budget in (1, 30, 100, 300, 5000)]
        assert sizes == sorted(sizes) and sizes[0] == 0
        for budget in (30, 100, 300):
            found = told(store, budget=budget)
            assert found.tokens <= budget and found.lines[0].kind == "head"
            check_cited(store, found)


def test_what_is_forgotten_is_told_no_more(store: MemoryStore) -> None:
    with closing(store):
        goals.add(store, Memory("find a school for Tom"))
        found = told(store)
        quoted = next(line for line in found.lines if line.kind == "quote")
        goal = next(line for line in found.lines if line.kind == "goal")
        store.forget([quoted.ids[0], goal.ids[0]], purge=True)
        after = told(store)
        check_cited(store, after)
        assert {*quoted.ids, *goal.ids}.isdisjoint(n for line in after.lines for n in line.ids)
        assert quoted.text not in lines.told(after.lines, ZONE)


def test_real_dialogues_are_quoted_as_they_are(tmp_path: Path) -> None:
    memories = dialogues()
    with closing(opened(tmp_path / "state", memories)) as store:
        speaker = memories[0].who
        for where in (Filter(), Filter(who=speaker), Filter(after=memories[200].timestamp)):
            found = told(store, where)
            check_cited(store, found)
            assert {"head", "person", "theme", "quote"} <= {line.kind for line in found.lines}
            number = next(line.ids[0] for line in found.lines if line.kind == "quote")
            store.forget([number])
            again = told(store, where)
            check_cited(store, again)
            assert number not in {n for line in again.lines for n in line.ids}


SCRIPT = """
import sys
from pathlib import Path
from datetime import UTC
from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.model import Filter
from nimad.reflection import lines
from nimad.reflection.narrative import narrate
import random, numpy
random.seed(int(sys.argv[2])); numpy.random.seed(int(sys.argv[2]))
before = random.getstate(), numpy.random.get_state()[1].tolist()
store = MemoryStore.open(Path(sys.argv[1]), Config().replace(graph__engine="none"))
found = narrate(store, Filter(), UTC, 500, len)
assert (random.getstate(), numpy.random.get_state()[1].tolist()) == before
store.close()
print(lines.told(found.lines, UTC))
"""


def test_it_is_the_same_in_every_process(store: MemoryStore, tmp_path: Path) -> None:
    store.close()
    texts = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT, str(tmp_path / "state"), seed],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1 and "12 memories" in texts.pop()


@given(st.text(max_size=400))
def test_a_quotation_stands_in_its_text(text: str) -> None:
    assert quotes.quotation(text) in text
    for sentence in quotes.sentences(text):
        assert sentence in text and sentence.strip() == sentence
    if text.strip():
        assert quotes.quotation(text).strip()


@pytest.mark.parametrize(
    ("sentence", "own", "promise"),
    [
        ("I am seven years old.", True, False),
        ("I'll bring the lamp.", False, True),
        ("Am I late, or was I early?", False, False),
        ("The willow is old.", False, False),
        ("Ich bin aus Bremen.", True, False),
    ],
)
def test_kinds_of_sentences_go_by_their_form(sentence: str, own: bool, promise: bool) -> None:
    assert quotes.is_about_self(sentence) == own
    assert quotes.is_promise(sentence) == promise
