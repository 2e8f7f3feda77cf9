"""Chats with an agent: who said it, statements that end as questions, standing instructions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.model import Memory
from nimad.recall.layers import is_instruction, layer_asked

TOLD = "I moved the sprint review to 29 March because of the audit. Can you update the plan?"
ANSWERED = """
Of course! I recommend to move the sprint review in the plan, and to tell the auditors. A sprint
review needs an agenda, a room, and the people who did the work. Here is a plan: first, book the
room for the sprint review; second, send the agenda; third, prepare the demonstration of what
the sprint has brought; fourth, write down what was said in the review. If the audit takes
longer, move the review again, and update the plan. A good plan has a date for each step, an
owner and a way to tell that it is done. Let me know whether you want to have the plan as a
table.""".replace("\n", " ").strip()
OTHERS = (
    ("input", "My cat is ill, what should I do?"),
    ("output", "Take the cat to a vet, and keep it warm."),
    ("input", "The server in Rotterdam restarts every night."),
    ("output", "Look into the journal of the server first; a probe may be set too tight."),
    ("input", "I want to learn the cello this year, is that mad?"),
    ("output", "It is never too late to learn the cello. Rent one, and find a teacher."),
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    config = Config().replace(graph__engine="none")
    with closing(MemoryStore.open(tmp_path / "state", config)) as opened:
        said = [("input", TOLD), ("output", ANSWERED), *OTHERS]
        opened.remember_many(
            [
                Memory(text, layer=layer, session="s", timestamp=n)
                for n, (layer, text) in enumerate(said, 1)
            ]
        )
        yield opened


@pytest.mark.parametrize(
    ("text", "layer"),
    [
        ("When did I move the sprint review?", "input"),
        ("What's my plan for the review?", "input"),
        ("When do we have the sprint review?", "input"),
        ("What did you recommend for the sprint review?", "output"),
        ("Which steps have you suggested to me?", "output"),
        ("What was your advice on my plan?", "output"),
        ("You told me how to plan a review, how?", "output"),
        ("When is the sprint review?", None),
        ("Could you show the plan?", None),
        ("Who was Henry I. of England?", None),
        ("Was hast du mir zum Plan geraten?", "output"),
        ("Wann habe ich den Plan geändert?", "input"),
        ("¿Qué me recomendaste para el plan?", "output"),
        ("¿Cuándo cambié mi plan?", "input"),
        ("Qu'as-tu proposé pour le plan ?", "output"),
        ("Quand ai-je changé mon plan ?", "input"),
        ("Что ты советовал по плану?", "output"),
        ("Когда я изменил план?", "input"),
        ("你推荐了什么计划？", "output"),
        ("我什么时候改了计划？", "input"),
    ],
)
def test_who_is_asked(text: str, layer: str | None) -> None:
    assert layer_asked(text) == layer


@pytest.mark.parametrize("mode", ["hybrid", "words", "meaning"])
def test_what_was_told_and_what_was_answered(store: MemoryStore, mode: str) -> None:
    for asked, first in [
        ("When did I say is the sprint review, after the audit?", TOLD),
        ("What did you recommend for the plan of the sprint review?", ANSWERED),
    ]:
        (hit, *_) = store.query(asked, 3, mode).hits
        assert hit.memory.text == first
        assert hit.parts["layer"] > 0


def test_what_a_user_tells_may_end_as_a_question(store: MemoryStore) -> None:
    store.remember(Memory("The cello lessons are on Mondays, is that right?", timestamp=20))
    hits = {hit.memory.layer: hit.parts["asks"] for hit in store.query("cello", 10).hits}
    assert hits["input"] == 0 and hits["note"] < 0


def test_a_long_answer_does_not_crowd_out_a_short_statement(store: MemoryStore) -> None:
    """Length tells who wrote: where lengths are mixed, a word in a long text says less."""
    hits = store.query("sprint review audit", 2, "words").hits
    assert [hit.memory.text for hit in hits] == [TOLD, ANSWERED]


INSTRUCTIONS = (
    "Always name the tools that you used when I ask about writing.",
    "From now on, answer me in metric units.",
    "Please never use red in diagrams.",
    "I am glad. Also always cite the paragraph when I ask about law.",
    "Nenne immer die Quelle, wenn ich nach Geschichte frage.",
    "Siempre responde con ejemplos.",
    "Toujours citer la source quand je parle d'histoire.",
    "Всегда указывай единицы измерения.",
    "以后请用公制单位回答。",
)


@pytest.mark.parametrize("text", INSTRUCTIONS)
def test_what_is_an_instruction(text: str) -> None:
    assert is_instruction(text)


@pytest.mark.parametrize(
    "text",
    [
        "I have always liked rain.",
        "She never came.",
        "He asks whenever he can",
        "我问以后怎么办",
        "",
    ],
)
def test_what_is_none(text: str) -> None:
    assert not is_instruction(text)


def test_a_standing_instruction_is_found_by_its_subject(store: MemoryStore) -> None:
    text = "Always include software version details when I ask about digital asset management."
    number = store.remember(Memory(text, layer="input", timestamp=30))
    read = store.remember(Memory(text + " Also the price.", layer="note", timestamp=31))
    hits = store.query("What are some popular ways to manage digital files?", 10).hits
    parts = {hit.memory.id: hit.parts["instruction"] for hit in hits}
    assert parts[number] > 0
    assert parts.get(read, 0) == 0, "only what the user told"


def test_length_counts_whole_where_lengths_are_mixed(tmp_path: Path) -> None:
    """A word in twenty says more than six times the same in four hundred; the usual b of BM25, .75,
    has it the other way."""
    config = Config().replace(graph__engine="none")
    with closing(MemoryStore.open(tmp_path / "mixed", config)) as store:
        made = [f"{'word ' * (4 if n % 2 else 400)} {n}" for n in range(40)]
        long = store.remember(Memory("violin " * 6 + "tone " * 394, timestamp=1))
        store.remember_many([Memory(text, timestamp=1) for text in made])
        short = store.remember(Memory("violin " + "tone " * 19, timestamp=1))
        assert [hit.memory.id for hit in store.query("violin", 2, "words").hits] == [short, long]
