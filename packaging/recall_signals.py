"""The evidence of labelled questions: asked where they are answered, and where they are not.

A group says which: `own` in the question's own store, `merged` in all stores of the set together,
`wrong` in another store of the set, `foreign` a question of another set in the same language.
The stores of a set are also asked in parts of a few memories (`shrunk`), and the notes in many
languages of `tests/samples/languages.py` are a set, too: so no kind has one size only.
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from recall_sets import SEED, LabelledSet, Question, Store
from recall_store import ASKED, loaded_set

from nimad.core.store import MemoryStore
from nimad.model import Filter

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.samples import english, german, japanese, talk
from tests.samples.languages import LANGUAGES, parts
from tests.samples.phrases import PHRASES, phrases

ANSWERED = ("own", "merged")
"""Groups whose questions have an answer."""
NOTES = "notes in many languages"
SMALL = (5, 150)
"""Sizes of the smallest and the largest part of a store [memories]."""
NOON = 1_709_640_000_000
"""5 March 2024, 12 o'clock UTC [epoch milliseconds]."""
SMALL_STORES = 80
"""Parts taken of a set."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question to one store: its set, its group, and the signals of its evidence."""

    kind: str
    group: str
    signals: dict[str, float]


def gather(
    given: LabelledSet, foreign: Sequence[tuple[int, str]], embedder: str = "static"
) -> Iterator[Asked]:
    """Every question of a set, and those of others, see the groups above."""
    with loaded_set(given, embedder) as store:
        for place, question in given.asked():
            yield from _ask(store, given, "own", given.stores[place].name, question)
        if 1 < len(given.stores) <= len(given.asked()) / 2:
            for _, question in given.asked():
                yield from _ask(store, given, "merged", None, question)
        for place, question in given.wrong():
            yield from _ask(store, given, "wrong", given.stores[place].name, question)
        for place, text in foreign:
            asked = Question(text, frozenset(), "")
            yield from _ask(store, given, "foreign", given.stores[place].name, asked)


def _ask(
    store: MemoryStore, given: LabelledSet, group: str, name: str | None, question: Question
) -> Iterator[Asked]:
    where = where_of(name, question)
    found = store.recall.evidence(question.text, "hybrid", where, question.as_of or ASKED)
    if found is not None and math.isfinite(found.met):
        yield Asked(given.name, group, dict(found.signals))


def where_of(name: str | None, question: Question) -> Filter:
    """What a question may be answered with: the memories of a store, up to when it is asked."""
    return Filter(namespace=name, before=None if question.as_of is None else question.as_of + 1)


def shrunk(given: LabelledSet) -> LabelledSet:
    """Small stores of neighbouring memories, each with one question that they answer."""
    chance = random.Random(SEED + 3)
    stores = []
    asked = [one for one in given.asked() if len(given.stores[one[0]].keys) > SMALL[1]]
    for n, (place, question) in enumerate(chance.sample(asked, min(SMALL_STORES, len(asked)))):
        whole = given.stores[place]
        size = round(math.exp(chance.uniform(*map(math.log, SMALL))))
        wanted = [row for row, key in enumerate(whole.keys) if key in question.evidence]
        start = max(0, wanted[0] - chance.randrange(size))
        rows = sorted({*wanted, *range(start, min(start + size, len(whole.keys)))})
        stores.append(
            Store(
                f"part {n}",
                [whole.keys[row] for row in rows],
                [whole.fields[row] for row in rows],
                [question],
            )
        )
    return LabelledSet(f"{given.name}, small", given.licence, stores)


def notes_in_many_languages() -> Iterator[tuple[LabelledSet, list[tuple[int, str]]]]:
    """Ten notes in each of many languages, asked by questions and by phrases, and such that they do
    not answer."""
    samples = [(name, parts(name)) for name in LANGUAGES]
    samples += [(f"{name} phrases", phrases(name)) for name in PHRASES]
    for language, (notes, asked, strange) in samples:
        keys = [f"{language}/{n}" for n in range(len(notes))]
        questions = [
            Question(text, frozenset([key]), "") for text, key in zip(asked, keys, strict=True)
        ]
        store = Store(language, keys, [{"text": text} for text in notes], questions)
        foreign = [(0, text) for text in strange]
        yield LabelledSet(f"{NOTES}: {language}", "part of nimad", [store]), foreign


def samples() -> Iterator[tuple[LabelledSet, list[tuple[int, str]]]]:
    """Forty notes in each of three languages, and questions in other words."""
    for name, sample in (("English", english), ("German", german), ("Japanese", japanese)):
        keys = [str(place) for place in range(len(sample.MEMORIES))]
        fields = [{"text": text} for text in sample.MEMORIES]
        questions = [
            Question(text, frozenset([keys[place]]), "") for text, place in sample.QUESTIONS
        ]
        store = Store(name, keys, fields, questions)
        strange = [(0, text) for text in sample.STRANGE]
        yield LabelledSet(f"{NOTES}: {name} notes", "part of nimad", [store]), strange


def talk_samples() -> Iterator[tuple[LabelledSet, list[tuple[int, str]]]]:
    """A short talk, whole and its begin, and days that are asked for."""
    for size in (1, 3, len(talk.CHAT)):
        fields = [
            {"text": text, "who": who, "timestamp": (n + 1) * 60_000, "session": "s"}
            for n, (who, text) in enumerate(talk.CHAT[:size])
        ]
        keys = [str(n) for n in range(size)]
        asked = [(text, place) for text, place in talk.ASKED if place < size]
        questions = [Question(text, frozenset([keys[place]]), "") for text, place in asked]
        store = Store("talk", keys, fields, questions)
        strange = [(0, text) for text in talk.STRANGE]
        yield LabelledSet(f"{NOTES}: {size} turns", "part of nimad", [store]), strange
    keys = [str(n) for n in range(len(talk.LAPS))]
    fields = [
        {"text": text, "timestamp": NOON - n * 86_400_000} for n, text in enumerate(talk.LAPS)
    ]
    questions = [
        Question(text, frozenset(map(str, days)), "", NOON) for text, days in talk.DAYS_ASKED
    ]
    store = Store("laps", keys, fields, questions)
    yield LabelledSet(f"{NOTES}: laps", "part of nimad", [store]), []
    fields = [{"text": talk.VISIT, "timestamp": NOON - n * 20 * 86_400_000} for n in range(6)]
    questions = [
        Question(text, frozenset([str(n)]), "", NOON)
        for n, texts in enumerate(talk.VISITS_ASKED)
        for text in texts
    ]
    store = Store("visits", keys[:6], fields, questions)
    yield LabelledSet(f"{NOTES}: visits", "part of nimad", [store]), []


def gather_all(
    sets: Sequence[LabelledSet], say: Callable[[str], None], embedder: str = "static"
) -> list[Asked]:
    """Of all sets and of parts of them; `say` is told what is done."""
    found: list[Asked] = []
    plan = [(one, one.foreign(sets)) for one in sets]
    plan += [(small, small.foreign(sets)) for one in sets if (small := shrunk(one)).stores]
    plan += notes_in_many_languages()
    plan += talk_samples()
    embedders = [embedder] * len(plan)
    for name in (embedder, "hash"):
        plan += samples()
        embedders += [name] * (len(plan) - len(embedders))
    for (given, foreign), name in zip(plan, embedders, strict=True):
        before = len(found)
        found += gather(given, foreign, name)
        say(f"{given.name}: {len(found) - before} questions")
    return found


def write(asked: Sequence[Asked], file: Path) -> None:
    """Keep them for the next fit."""
    rows = [[one.kind, one.group, one.signals] for one in asked]
    file.write_text(json.dumps(rows))


def read(file: Path) -> list[Asked]:
    """What `write` wrote."""
    return [Asked(*row) for row in json.loads(file.read_text())]
