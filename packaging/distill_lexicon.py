"""Makes nimad/embed/data/static.lexicon: words of other languages as English tokens.

    make lexicon

Run once, at release time, on amd64, after static.tokens was made; nothing of it runs on a board.
It takes 20 minutes of one core and 1.5 GB.  `--check FILE` compares the result with a file that
exists, byte for byte, and exits 1 when they differ.  The teacher's vectors stay in build/lexicon
for the next run.  The input files are checked against their
digests (lexicon_files.py).

How an entry comes about:

1. The words are those that the frequency lists of the package wordfreq have, down to one in a
   million, in the languages that the teacher reads.  A word that is not ten times rarer in English
   is left out, and so is one that is no word by the rules of `nimad.embed.features`.
2. The teacher, the Universal Sentence Encoder (multilingual, version 3), gives each word by itself
   a vector.  The English words, which are tokens of static.tokens that are no common words of
   another language, get one, too.
3. The mean of each language is taken off: it says which language a word is of.
4. The nearest English words are found by CSLS: twice the cosine, less the mean cosine of the
   English word with its ten nearest foreign ones: words that are near to everything do not win.
5. A softmax of the four nearest is rounded to the shares that an entry has: the largest share goes
   to the nearest, each next one to the word that is furthest below its due.

Words of several languages that look alike get the meaning of the one where they are most frequent.
Thai has no list: the teacher's own pieces in its script are taken.

The votes, by the same lists: a token speaks for English when it is at least 10**-5.5 of English
texts and five times rarer in each other language of Latin letters, against it when it is at least
10**-3.3 of one that has entries and ten times rarer in English.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from lexicon_files import LANGUAGES, LATIN, SPACELESS, Teacher, read_frequencies
from numpy.typing import NDArray
from targets import ROOT
from teacher_files import STEADY

from nimad.embed.features import words
from nimad.embed.lexicon import LONGEST, SHARES, WHOLE, Lexicon, place, write_lexicon
from nimad.embed.static import LEXICON, TABLE
from nimad.embed.table import TokenTable, read_table
from nimad.text import common_form

RAREST = 600
"""Frequency from which on words are taken [hundredths of a power of ten below 1]."""
UNKNOWN = 900
"""Taken for a word that a list does not have."""
ENGLISH = 620
"""Frequency from which on an English word stands for others."""
CLEARLY = 100
"""Difference of frequencies that says which language a word is of."""
RATHER = 70
"""The same, for a token that speaks for English."""
NEIGHBOURS = 10
SOFTNESS = 0.1
SAMPLE = 4000
FILLED = 0.85
"""Share of the slots that hold a word."""

Floats = NDArray[np.float32]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--output", type=Path, default=LEXICON)
    parser.add_argument("--check", type=Path)
    parser.add_argument("--vectors", type=Path, default=ROOT / "build" / "lexicon")
    options = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in STEADY.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **STEADY})
    table = read_table(TABLE)
    lists = Lists()
    checks, entries = slots(found_entries(table, lists, Teacher(options.vectors)))
    lexicon = Lexicon(table.digest, checks, entries, lists.votes(table))
    written = write_lexicon(options.output, lexicon)
    options.output.chmod(0o644)  # it is to be shipped, not a secret of the daemon
    content = options.output.read_bytes()
    print(f"{options.output}: {written.bytes} bytes, sha256 {hashlib.sha256(content).hexdigest()}")
    if options.check and options.check.read_bytes() != content:
        print(f"distill_lexicon.py: {options.check} is different", file=sys.stderr)
        return 1
    return 0


class Lists:
    """How frequent words are, in hundredths of a power of ten below 1: the smaller, the more."""

    def __init__(self) -> None:
        self.english = read_frequencies("en")
        self.elsewhere = _least(LATIN)
        """In the language of Latin letters where it is most frequent."""
        self.taught = _least(language for language in LATIN if language in LANGUAGES)
        """The same of the languages of which there are entries."""

    def is_english(self, word: str) -> bool:
        rarity = self.english.get(word, UNKNOWN)
        return (
            word.isalpha()
            and rarity <= ENGLISH
            and rarity - self.elsewhere.get(word, UNKNOWN) < CLEARLY
        )

    def votes(self, table: TokenTable) -> NDArray[np.int8]:
        """int8[tokens]: see `nimad.embed.lexicon`."""
        votes = np.zeros(len(table.tokens), np.int8)
        for number, token in enumerate(table.tokens):
            if len(token) > 1 and token.isascii() and token.isalpha():
                here = self.english.get(token, UNKNOWN)
                there = self.elsewhere.get(token, UNKNOWN)
                votes[number] = here <= 550 and there - here >= RATHER
                there = self.taught.get(token, UNKNOWN)
                votes[number] -= there <= 330 and here - there >= CLEARLY
        return votes

    def foreign(self, language: str) -> Iterator[tuple[str, int]]:
        """The words of a language that are worth an entry, and how rare they are."""
        for word, rarity in read_frequencies(language).items():
            form = common_form(word)
            if rarity >= RAREST or len(form) > LONGEST or words(form) != [form]:
                continue
            latin = "a" <= form[0] <= "\u024f"
            mixed = latin != (language in LATIN) or any(letter.isdigit() for letter in form)
            short = len(word) == 1 and language not in SPACELESS
            english = latin and self.english.get(form, UNKNOWN) - rarity < CLEARLY
            if not (mixed or short or english):
                yield word, rarity


def _least(languages: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for language in languages:
        for word, rarity in read_frequencies(language).items():
            found[word] = min(rarity, found.get(word, UNKNOWN))
    return found


# --- from vectors to entries ---------------------------------------------------------------------


def found_entries(
    table: TokenTable, lists: Lists, teacher: Teacher
) -> dict[str, tuple[int, list[int]]]:
    """How rare the words are, by common form, and their tokens."""
    tokens = [n for n, token in enumerate(table.tokens) if lists.is_english(token)]
    english = centred(teacher.embed([table.tokens[n] for n in tokens]))
    found: dict[str, tuple[int, list[int]]] = {}
    for language in LANGUAGES:
        taken = list(lists.foreign(language)) or [(piece, RAREST) for piece in teacher.thai()]
        vectors = centred(teacher.embed([word for word, _ in taken]))
        for (word, rarity), entry in zip(taken, nearest(vectors, english), strict=True):
            form = common_form(word)
            if form not in found or rarity < found[form][0]:
                found[form] = rarity, [tokens[n] for n in entry]
        print(f"{language}: {len(taken)} words, {len(found)} in all", flush=True)
    return found


def centred(vectors: Floats) -> Floats:
    """The rows without their mean, at length 1."""
    moved = vectors - vectors.mean(axis=0)
    return np.asarray(moved / np.linalg.norm(moved, axis=1, keepdims=True), np.float32)


def nearest(vectors: Floats, english: Floats) -> Iterator[list[int]]:
    """For each row of `vectors` the rows of `english` that its entry has, in order."""
    sample = vectors[:: max(len(vectors) // SAMPLE, 1)]
    crowded = np.concatenate(
        [
            np.partition(sample @ part.T, -NEIGHBOURS, axis=0)[-NEIGHBOURS:].mean(axis=0)
            for part in np.array_split(english, 16)
        ]
    )
    for start in range(0, len(vectors), 2000):
        scores = 2 * (vectors[start : start + 2000] @ english.T) - crowded
        best = np.argpartition(-scores, len(SHARES), axis=1)[:, : len(SHARES)]
        for row, places in zip(scores, best, strict=True):
            order = sorted(places.tolist(), key=lambda place: (-row[place], place))
            yield shared(order, row[order])


def shared(order: list[int], scores: Floats) -> list[int]:
    """Who gets which of the SHARES."""
    due = np.exp((scores - scores[0]) / SOFTNESS)
    due *= WHOLE / due.sum()
    given = []
    for share in SHARES:
        first = int(due.argmax())
        due[first] -= share
        given.append(order[first])
    return given


def slots(found: dict[str, tuple[int, list[int]]]) -> tuple[Any, Any]:
    """checks: uint32[S], entries: uint16[S, 4], see `nimad.embed.lexicon`."""
    count = int(len(found) / FILLED) + 1
    checks = np.zeros(count, np.uint32)
    entries = np.zeros((count, len(SHARES)), np.uint16)
    for form in sorted(found):
        slot, check = place(form, count)
        while checks[slot]:
            slot = (slot + 1) % count
        checks[slot], entries[slot] = check, found[form][1]
    return checks, entries


if __name__ == "__main__":
    sys.exit(main())
