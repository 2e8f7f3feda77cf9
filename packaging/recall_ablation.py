"""Prints what each part of the ranking is worth on every kind of data: one part off at a time.

    python packaging/recall_ablation.py DATA

DATA is a labelled set or a folder of them (recall_sets.py).  Everything passes: what is silent is
measured elsewhere.  Figures are the nDCG at 10 with the part less that without it, in thousandths,
each store asked by itself.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from dialogues import DEPTH, mean, score
from recall_sets import LabelledSet, read_sets
from recall_signals import where_of
from recall_store import loaded_set, recall_with

from nimad.recall import lexical
from nimad.recall.ranking import Recall
from nimad.recall.weights import DEFAULT

MOST = 600
"""Questions asked of a set [questions]."""
HEAD = """
## What the parts for other kinds of data are worth

One part off at a time, everything else as it is; nDCG@10 with the part less that without it, in
thousandths, everything passing (`python packaging/recall_ablation.py DATA` prints this part
alone). An empty cell is a part that such data do not touch. When the parts were made, halves of
the questions, by a hash, were looked at apart; a part stayed that had the same sign on both.
"""
FOOT = """
Tried, no good: the small words of Chinese left out of a question, or at a quarter; beginnings of
words for Latin languages; the bonus for a date where a text has the date and the time does not; a
bonus of .3 for instructions.

What lost in Chinese was looked for question by question. Of a name of three or more characters
every pair counted as a word; that inner pairs count less brought xquad-zh .009 to .012, and .006 in
articles that nothing was chosen on. Tried beside it: every pair of a run less, the longer the
run (+.007, articles +.001); pairs that are as rare as their neighbour taken as one word (+.003);
pairs that are no word of the lexicon at .7 or .8 (+.001; +.002 beside the inner ones, which is not
worth a look into the lexicon for each pair); inner pairs of Thai, too (xquad-th -.002 to -.023: its
pairs are no words). The share of meaning at .48 in place of .24 brought .004; at .6 memdaily lost
.004. In messages before a question (memdaily, noisy) the 16 rarest words were those of the whole
index, of which a namespace of ten memories held one or none; now they are those that it holds:
memdaily +.005, and 1.6 % silent, not 2.6. 24 words in place of 16: memdaily +.001, English messages
-.005; the words of the wanted part in any case: German -.002.

What memdaily missed in its own stores was read once more. Three of its 312 questions are
"[ERRORQ]", which rightly stays silent, and is .010 of recall. A sentence of a Chinese message ended
with "。" only, for wide question marks are usual ones by then and have no blank behind, and it
ended inside of quotations: of XQuAD in Chinese behind 110 characters of memdaily's notes and
questions 13.5 % stay silent, not 24.5, and .825 are found, not .712. And in stores of fewer
memories than are asked for, what shares no word with a question was shown from the cosine on that
texts about one thing have in English; of pairs .8 of that is enough: recall .979, not .973, and 6.4
memories shown, not 6.1. Tried beside it: every memory that shares a word with the best (.978, and
up to .7 memories more in small stores of other kinds); earlier questions of a message beside the
last one (memdaily .974, XQuAD behind other messages -.013 in English, -.28 in Chinese); numbers of
a message as heavy as its last sentence (memdaily .980, merged nDCG -.001).

Later a question that compares was looked at, "有几个人身高在165cm及以上", which four heights could
not answer: half of its pairs of characters belong to the comparison, and no memory holds those.
None needs to now (`nimad/recall/comparisons.py`): memdaily .982, and 1.0 % silent, not 1.3; other
sets have no such question that stayed silent. Tried beside it: the meaning of the question without
what is compared (.980); the same for languages with blanks between words, which answer such
questions anyway, and where "older than 40" then found heights.

Talk: the share of meaning at .55 brought locomo_dev .003 and recall .005, but cost beam100k .007,
and .003 and .005 in German and Turkish articles that nothing was chosen on. So it is taken where a
speaker is named. A lower bonus for dates (.2) brought locomo_dev .001 and cost timelineqa .003.

BM25's k1 at .9 in place of 1.2, merged: xquad-de +.004, locomo_dev +.004, memdaily -.002; in sets
that nothing was chosen on: Italian +.005 (SQuAD-it), English +.004 (SQuAD 2.0), Spanish articles
+.003, Japanese +.002 (JaQuAD), Turkish +.002, German articles .000. Tried beside it: b at .5,
too: English +.004 to +.009, xquad-de +.007, locomo_dev +.004 but recall -.003, memdaily -.002,
merged -.006. Neither was taken: of 1,000,000 memories the ten best are then those of scoring every
one .994 of the time, with k1 1.2 .998. The share of meaning at .5 for German: xquad-de .000, German
articles -.004.

A word that no memory holds is asked for by its beginning, in German also by the parts of a
compound, at half of its rarity: xquad-de +.008 and recall +.008, technical +.002 and .000,
locomo_dev +.001 and +.002, xquad-en -.001 and -.002; in sets that nothing was chosen on: German
articles +.014 and +.005, Spanish articles +.008 and +.005, Italian +.006 and +.002, English (SQuAD
2.0) .000. In German the beginning alone has +.005 and +.013, the parts alone +.003 and +.001; at
the whole rarity both have +.007 and +.016.
"""


def nothing(*_: object) -> None:
    """In place of a step that is left out."""


def twice(sums: Any, on_dates: Any, once: Any = lexical._Sums.add_dates) -> None:
    """Dates by their words and by the times, added up."""
    sums.dated, words = None, sums.dated
    once(sums, on_dates)
    if words is not None:
        sums.own += words


Patch = tuple[str, object]
PARTS: Sequence[tuple[str, dict[str, Any], Sequence[Patch]]] = (
    ("a date counts once", {}, [("nimad.recall.lexical._Sums.add_dates", twice)]),
    ("date: a part of its own", {"on_date": 0}, []),
    ("literals", {"literal": 0}, [("nimad.recall.lexical._Sums.add_literal", nothing)]),
    ("literal: a part of its own", {"literal": 0}, []),
    ("layer: who is asked", {"layer": 0}, []),
    ("statements may end as questions", {}, [("nimad.recall.scoring.INPUT", "")]),
    ("b for mixed lengths", {}, [("nimad.recall.scopes.MIXED", (8.0, 9.0))]),
    ("standing instructions", {"instruction": 0}, []),
    ("beginnings of words with endings", {}, [("nimad.store.analysis.asked_for", str)]),
    ("words that none holds by their parts", {"alike": 0}, []),
    ("small words of other languages", {}, [("nimad.store.words._OTHERS", [frozenset()])]),
    ("small words of Chinese count half", {}, [("nimad.store.words.GRAMMAR_SHARE", 1.0)]),
    ("inner pairs of ideographs count less", {"inner": 1}, []),
    ("vectors of paired scripts count less", {"dense": 1}, []),
    (
        "the last sentence of a message",
        {},
        [("nimad.recall.parsed_query._SENTENCE", re.compile("(?!)"))],
    ),
)


def ndcg(recall: Recall, given: LabelledSet, most: int) -> float:
    """The nDCG at 10 of a ranking, everything passing, of at most so many questions."""
    scores = []
    for place, question in given.asked(most):
        where = where_of(given.stores[place].name, question)
        hits = recall.query(question.text, DEPTH, "hybrid", where, question.as_of, strictness=0.0)
        found = [str((hit.memory.extra or {}).get("key")) for hit in hits]
        scores.append(score(found, question.evidence))
    recall.close()
    return mean(scores)["ndcg@10"]


def ablate(given: LabelledSet) -> list[float]:
    """The recipe's figure, and for each of PARTS what it adds to that without it."""
    with loaded_set(given, "static") as store:
        whole = ndcg(recall_with(store, DEFAULT), given, MOST)
        found = [whole]
        for _, changes, patches in PARTS:
            with ExitStack() as undo:
                for name, value in patches:
                    undo.enter_context(mock.patch(name, value))
                without = recall_with(store, replace(DEFAULT, **changes))
                found.append(whole - ndcg(without, given, MOST))
        return found


def table(sets: Sequence[LabelledSet]) -> list[str]:
    """A row for each part, a column for each set."""
    columns = [ablate(given) for given in sets]
    lines = ["| part | " + " | ".join(given.name for given in sets) + " |"]
    lines.append("|---" * (len(sets) + 1) + "|")
    lines.append("| nDCG@10 of the recipe | " + " | ".join(f"{c[0]:.3f}" for c in columns) + " |")
    for place, (name, _, _) in enumerate(PARTS, 1):
        cells = [f"{1000 * c[place]:+.0f}" if abs(c[place]) >= 5e-4 else "" for c in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path)
    print("\n".join([HEAD, *table(read_sets(parser.parse_args().data)), FOOT]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
