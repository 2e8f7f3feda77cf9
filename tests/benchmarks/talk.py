"""Made-up talk for measuring the whole path: as long, as repetitive and as mixed as real chat is.

Words are the 21,719 plain English words of the static embedder's vocabulary, which lists them by
how often they are used; they are drawn by Zipf's law ((rank + 2.7) ** -1.25).  Two people talk in
sessions of about 20 turns; every session has words of its own, which a third of its words are.  A
turn has 20 words in the middle, at most 80, as in LoCoMo.  A question takes two to five words of
a turn (no stop words), an opening, and often its speaker's name.  So a word of a question stands
in about as many memories as in LoCoMo: all of them together in 0.23 a memory here, 0.21 there.
The same seed gives the same talk.  It means nothing: figures of time and memory can be taken from
it, and whether the turn of a question is found again, never figures of recall.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from nimad.embed.static import TABLE
from nimad.embed.table import read_table
from nimad.store.words import STOP_WORDS

NAMES = (
    *("Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Henry"),
    *("Ivy", "Jonas", "Kira", "Leo", "Mia", "Noah", "Olga", "Paul"),
)
OPENINGS = (
    "What did {} say about the",
    "When did {} first get a new",
    "What would {} like to know of the time with",
    "How long has {} been one of the two",
)
TURNS_IN_SESSION, SESSIONS_IN_TALK, OWN_WORDS = 20, 28, 40
STEEP = 1.25
"""Talk has fewer words than books, where this is about 1."""
_START = 1_600_000_000_000
_SECOND = 1000
_DAY = 86_400_000


@dataclass(frozen=True)
class Talk:
    """`memories` as `import` takes them, `questions`, and of each the place of the memory whose
    words it is made of."""

    memories: list[dict[str, Any]]
    questions: list[str]
    places: list[int]


def make_talk(size: int, questions: int, seed: int = 1, namespace: str = "default") -> Talk:
    """`size` turns and `questions` questions; everything in one namespace."""
    rng = np.random.default_rng(seed)
    words = _vocabulary()
    share = (np.arange(len(words)) + 2.7) ** -STEEP
    bounds = np.cumsum(share / share.sum())
    memories = list(_turns(size, words, bounds, rng, namespace))
    places = rng.integers(0, size, questions)
    asked = [_question(memories[place], rng) for place in places]
    return Talk(memories, asked, places.tolist())


def _vocabulary() -> list[str]:
    return [w for w in read_table(TABLE).tokens if len(w) > 1 and w.isascii() and w.isalpha()]


def _turns(
    size: int, words: list[str], bounds: Any, rng: np.random.Generator, namespace: str
) -> Iterator[dict[str, Any]]:
    moment = _START
    for number in range(size):
        session, place = divmod(number, TURNS_IN_SESSION)
        talk = session // SESSIONS_IN_TALK
        if place == 0:
            own = np.searchsorted(bounds, rng.random(OWN_WORDS))
            moment += int(rng.integers(_DAY // 4, 2 * _DAY))
        moment += int(rng.integers(5 * _SECOND, 90 * _SECOND))
        length = int(np.clip(rng.lognormal(3.0, 0.6), 3, 80))
        picks = np.searchsorted(bounds, rng.random(length))
        topical = rng.random(length) < 1 / 3
        picks[topical] = rng.choice(own, int(topical.sum()))
        said = " ".join(words[min(pick, len(words) - 1)] for pick in picks).capitalize()
        if rng.random() < 0.3:  # people call each other by name
            said = f"{NAMES[(2 * talk + 1 - number % 2) % len(NAMES)]}, {said}"
        yield {
            "text": said + ("?" if rng.random() < 0.25 else "."),
            "who": NAMES[(2 * talk + number % 2) % len(NAMES)],
            "timestamp": moment,
            "namespace": namespace,
            "conversation": f"talk-{talk}",
            "session": str(session),
            "layer": "input" if number % 2 else "output",
        }


def _question(memory: dict[str, Any], rng: np.random.Generator) -> str:
    spoken = list(dict.fromkeys(memory["text"].rstrip(".?").lower().split()))
    telling = [word for word in spoken if word not in STOP_WORDS] or spoken
    about = " ".join(rng.permutation(telling)[: int(rng.integers(2, 6))])
    name = memory["who"] if rng.random() < 0.7 else "they"
    return f"{OPENINGS[int(rng.integers(len(OPENINGS)))].format(name)} {about}?"
