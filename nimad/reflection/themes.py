"""Themes of some memories: which of them are near to each other, and the words that name them."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from nimad.core.store import MemoryStore
from nimad.dataclass import dataclass
from nimad.errors import Degraded
from nimad.model import Memory
from nimad.store.words import STOP_WORDS
from nimad.text import common_form, words_of

NAMES = 3
"""Number of words that name a theme [words]."""
LETTERS = 3
"""Length of the shortest word that does, in scripts of letters [characters]."""
_SMALL_TEXT = """
again all also always amazing anything awesome back bit cool day definitely even ever every fun
get getting glad going gonna good got great guess happy haha hear hello hey hope just kind know
like look looks lot love made make makes maybe more much need new nice now one out people really
right same see something sorry sounds still stuff sure take thank thanks thing things think though
time today totally tried trying up very wait want way well wonderful wow yeah yes yet auch das
dass der die ein eine einen für gut hat ich ist ja mal mit nicht noch schön sehr sich sie und von
war wie wir
"""
SMALL_TALK = frozenset(_SMALL_TEXT.split())
"""Words that are in talk about anything."""
SOLID = 6
"""Number of words from which on a memory has a theme, where enough have so many [words]."""
ROUNDS = 4
"""Number of times that memories are shared out anew [rounds]."""

Vectors = NDArray[np.float32]


@dataclass(slots=True)
class Theme:
    """Memories that are near to each other, the nearest to their middle first; its words."""

    members: list[Memory]
    words: list[str]

    @property
    def name(self) -> str:
        """Its words, as a title."""
        return ", ".join(self.words)


def vectors_of(store: MemoryStore, memories: Sequence[Memory]) -> Vectors:
    """float32[n, dims]: a unit row for each memory, as the index has it; what is not encoded yet is
    embedded now.  Zeros where nothing is known, or the embedder is away."""
    index, embedder = store.semantic.serving
    ids = np.array([memory.id for memory in memories], np.int64)
    unique, back = np.unique(ids, return_inverse=True)
    located = index.locate(unique)
    rows = np.array(located.rows(back), np.float32)
    lost = np.flatnonzero(~located.present(back))
    if len(lost):
        with contextlib.suppress(Degraded):
            rows[lost] = embedder.embed([memories[place].text for place in lost.tolist()])
    return _unit(rows)


def cosines(rows: Vectors, others: Vectors) -> Vectors:
    """float32[n, m]: of unit rows.  Not by BLAS, whose threads would wait for each other on a busy
    board, and whose sums differ from one processor to another."""
    found: Vectors = np.einsum("id,jd->ij", rows, others)
    return found


def _unit(rows: Vectors) -> Vectors:
    """The rows at length 1; next to nothing stays next to nothing."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(lengths < 1e-6, 1, lengths)).astype(np.float32)


def themes_of(
    store: MemoryStore, memories: Sequence[Memory], most: int, people: Iterable[str] = ()
) -> list[Theme]:
    """Up to `most` themes of some memories, the largest first; `people` name none.

    Spherical k-means, begun with the memories that are farthest from each other in turn, so nothing
    is drawn by chance.  What all of them have in common is taken out first.  What has no vector, or
    next to no words, is in no theme.
    """
    solid = [m for m in memories if len(words_of(m.text[:200])) >= SOLID]
    if 2 * len(solid) >= len(memories):
        memories = solid
    rows = vectors_of(store, memories)
    known = np.flatnonzero(rows.any(axis=1))
    if not len(known):
        return []
    rows = rows[known]
    centred = _unit(rows - rows.mean(axis=0)) if len(known) > 2 else rows
    share = _shared_out(centred, min(most, max(1, round(math.sqrt(len(known) / 2)))))
    found = []
    for number in range(int(share.max()) + 1):
        mine = np.flatnonzero(share == number)
        if len(mine):
            nearness = cosines(centred[mine], centred[mine].mean(axis=0)[None])[:, 0]
            order = mine[np.argsort(-nearness, kind="stable")]
            found.append([memories[known[place]] for place in order])
    found.sort(key=lambda members: (-len(members), members[0].id))
    speakers = {*people, *(memory.who for memory in memories if memory.who)}
    parts = {part for who in speakers for part in words_of(common_form(who))}
    begun = {part[:size] for part in parts for size in range(LETTERS, len(part) + 1)}
    named = _names(found, begun)  # Mel is Melanie
    return [Theme(members, words) for members, words in zip(found, named, strict=True)]


def _shared_out(rows: Vectors, count: int) -> NDArray[np.int64]:
    """int64[n]: the number of each row's theme, of up to `count`."""
    first = int(np.argmax(cosines(rows, rows.mean(axis=0)[None])))
    chosen = [first]
    nearest = cosines(rows, rows[[first]])[:, 0]
    while len(chosen) < count and nearest.min() < 1 - 1e-6:
        chosen.append(int(np.argmin(nearest)))
        nearest = np.maximum(nearest, cosines(rows, rows[chosen[-1:]])[:, 0])
    share: NDArray[np.int64] = np.argmax(cosines(rows, rows[chosen]), axis=1)
    for _ in range(ROUNDS):
        sums = np.stack([rows[share == number].sum(axis=0) for number in range(len(chosen))])
        again = np.argmax(cosines(rows, _unit(sums)), axis=1)
        if np.array_equal(again, share):
            break
        share = again
    return share


def _names(groups: Sequence[Sequence[Memory]], people: Collection[str]) -> list[list[str]]:
    """For each group the words that most of it has and others have not, as they are written."""
    silent = STOP_WORDS | SMALL_TALK | set(people)  # words that name no theme
    spelled: dict[str, Counter[str]] = {}
    counts: list[Counter[str]] = []
    for group in groups:
        count: Counter[str] = Counter()
        for memory in group:
            own = {common_form(word): word for word in words_of(memory.text[:2000])}
            for plain, word in own.items():
                short = len(plain) < LETTERS and plain.isascii()
                if short or plain in silent or plain.isdigit():
                    continue
                count[plain] += 1
                spelled.setdefault(plain, Counter())[word] += 1
        counts.append(count)
    whole: Counter[str] = Counter()
    for count in counts:
        whole.update(count)
    total = sum(len(group) for group in groups)
    named = []
    for group, count in zip(groups, counts, strict=True):
        scores = {
            word: n * math.log((1 + total) / (whole[word] - n + 1 + total / (n + 1)))
            for word, n in count.items()
            if n > 1 or len(group) == 1
        }
        best = sorted(scores, key=lambda word: (-scores[word], word))[:NAMES]
        named.append([min(spelled[word].items(), key=lambda s: (-s[1], s[0]))[0] for word in best])
    return named
