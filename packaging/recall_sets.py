"""Labelled sets for measuring recall: read from files, and what is asked of each of their stores.

A file is either a set, a JSON object

    {"name", "licence", "stores": [{"name", "memories": [{"key", "text", ...fields of a memory}],
     "questions": [{"q", "evidence": [keys], "kind", "as_of"?}]}]}

or labelled dialogues in the format of LoCoMo (`dialogues`), whose conversations are the stores.
Nothing of them is part of nimad, and nothing of them is kept.
"""

from __future__ import annotations

import functools
import json
import random
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dialogues import Dialogue, parse_dialogues

from nimad.store.words import ENGLISH, is_german
from nimad.text import tokens, words_of

SEED = 20261128
MOST_ASKED = 600
"""Questions asked of a set; of a larger one a sample of a fixed seed [questions]."""
MOST_WRONG = 400
"""Questions of it that are asked of a wrong store as well [questions]."""
MOST_FOREIGN = 200
"""Questions of other sets that are asked of it [questions]."""
FIELDS = [
    "text",
    "who",
    "where",
    "timestamp",
    "conversation",
    "session",
    "turn",
    "layer",
    "tags",
    "importance",
]
"""Of a memory, what is taken over."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question and the keys of the memories that answer it; `as_of` is the moment of asking
    [epoch milliseconds], None for now."""

    text: str
    evidence: frozenset[str]
    kind: str
    as_of: int | None = None


@dataclass(frozen=True)
class Store:
    """Memories that are asked together: `fields` of each as the protocol has them, and its key."""

    name: str
    keys: list[str]
    fields: list[dict[str, Any]]
    questions: list[Question]

    @functools.cached_property
    def language(self) -> str:
        """Of its questions: english, german, or the script of another one."""
        return language_of([question.text for question in self.questions[:100]])


@dataclass(frozen=True)
class LabelledSet:
    """Stores of one kind of data."""

    name: str
    licence: str
    stores: list[Store]

    def asked(self, most: int = MOST_ASKED) -> list[tuple[int, Question]]:
        """The questions that are asked, each with the place of its store; a fixed sample."""
        every = [(s, q) for s, store in enumerate(self.stores) for q in range(len(store.questions))]
        random.Random(SEED).shuffle(every)
        return [(s, self.stores[s].questions[q]) for s, q in sorted(every[:most])]

    def wrong(self, most: int = MOST_WRONG) -> list[tuple[int, Question]]:
        """Of those, some with the place of a store that does not have the answer."""
        if len(self.stores) < 2:
            return []
        chance = random.Random(SEED + 1)
        asked = self.asked()
        chance.shuffle(asked)
        places = range(len(self.stores))
        return [
            (chance.choice([place for place in places if place != own]), question)
            for own, question in asked[:most]
        ]

    def foreign(self, others: Sequence[LabelledSet]) -> list[tuple[int, str]]:
        """Questions of other sets in the same language, each with the place of a store that is
        asked: where nothing is about its subject at all."""
        chance = random.Random(SEED + 2)
        texts: dict[str, list[str]] = {}
        for other in others:
            if family(other.name) != family(self.name):
                for store in other.stores:
                    texts.setdefault(store.language, []).extend(q.text for q in store.questions)
        places = [p for p, store in enumerate(self.stores) if store.language in texts]
        picked = [chance.choice(places) for _ in range(MOST_FOREIGN if places else 0)]
        return [(place, chance.choice(texts[self.stores[place].language])) for place in picked]


def family(name: str) -> str:
    """What sets that say the same in several languages share: "xquad" of "xquad-de"."""
    return name.split("-")[0]


def language_of(texts: Sequence[str]) -> str:
    """The language of some texts: by small words of, or else by the script of most letters."""
    scripts = Counter(
        unicodedata.name(letter, "?").split()[0]
        for text in texts
        for letter in text
        if letter.isalpha()
    )
    script = scripts.most_common(1)[0][0].lower() if scripts else ""
    if script != "latin":
        return script
    german = sum(is_german(words_of(text)) for text in texts)
    english = sum(not ENGLISH.isdisjoint(tokens(text)) for text in texts)
    if 3 * max(german, english) < len(texts):
        return script
    return "german" if german > english else "english"


def read_sets(place: Path) -> list[LabelledSet]:
    """The set of a file, or those of every JSON file of a folder, by name."""
    files = sorted(place.glob("*.json")) if place.is_dir() else [place]
    return [read_set(file) for file in files]


def read_set(file: Path) -> LabelledSet:
    """One set.  Its name is the file's, whatever it calls itself."""
    data = json.loads(file.read_text())
    if isinstance(data, list):
        stores = [_store_of_dialogue(dialogue) for dialogue in parse_dialogues(data)]
        return LabelledSet(file.stem, "CC BY-NC 4.0 (snap-research/LoCoMo)", stores)
    stores = [
        Store(
            store["name"],
            [memory["key"] for memory in store["memories"]],
            [
                {name: memory[name] for name in FIELDS if memory.get(name) is not None}
                for memory in store["memories"]
            ],
            [
                Question(
                    one["q"], frozenset(one["evidence"]), one.get("kind", ""), one.get("as_of")
                )
                for one in store["questions"]
            ],
        )
        for store in data["stores"]
    ]
    return LabelledSet(file.stem, data.get("licence", "not said"), stores)


def _store_of_dialogue(dialogue: Dialogue) -> Store:
    return Store(
        dialogue.name,
        [f"{dialogue.name}/{turn.id}" for turn in dialogue.turns],
        [
            {
                "text": turn.text,
                "who": turn.who,
                "timestamp": turn.moment,
                "conversation": dialogue.name,
                "session": str(turn.session),
            }
            for turn in dialogue.turns
        ],
        [
            Question(
                asked.text,
                frozenset(f"{dialogue.name}/{turn}" for turn in asked.evidence),
                asked.kind,
            )
            for asked in dialogue.questions
        ],
    )
