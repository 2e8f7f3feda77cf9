"""Prints what a set scores when a result counts for its copies, too: all its stores as one.

    python packaging/recall_copies.py SET

nimad shows a sentence of the same speaker once and names the other memories that say it (`copies`);
the usual ways show each.  A label names one of them.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

from dialogues import DEPTH, mean, score
from recall_sets import LabelledSet, read_set
from recall_signals import where_of
from recall_store import loaded_set


def scores(given: LabelledSet) -> list[str]:
    """The rows of a table: by the memory that a result shows, and by any that it names."""
    shown, named = [], []
    with loaded_set(given, "static") as store:
        extras = store.records.rows("SELECT id, extra FROM memories")
        keys = {number: str(json.loads(extra)["key"]) for number, extra in extras}
        for _, question in given.asked():
            where = where_of(None, question)
            hits = store.recall.query(question.text, DEPTH, "hybrid", where, question.as_of)
            says = [[keys[number] for number in (hit.memory.id, *hit.copies)] for hit in hits]
            shown.append(score([one[0] for one in says], question.evidence))
            best = [max(one, key=question.evidence.__contains__) for one in says]
            named.append(score(best, question.evidence))
    return [
        f"| {way} | {figures['recall@10']:.3f} | {figures['ndcg@10']:.3f} |"
        for way, figures in (("what it shows", mean(shown)), ("and its copies", mean(named)))
    ]


def main() -> int:
    """The command."""
    given = read_set(Path(sys.argv[1]))
    texts = {
        key: (fields.get("who"), fields["text"])
        for store in given.stores
        for key, fields in zip(store.keys, store.fields, strict=True)
    }
    said = Counter(texts.values())
    wanted = {key for _, question in given.asked() for key in question.evidence}
    again = sum(said[texts[key]] > 1 for key in wanted)
    print(f"{again} of {len(wanted)} memories that answer are said word for word elsewhere.\n")
    print("| a result counts for | recall@10 | nDCG@10 |\n|---|---|---|")
    print("\n".join(scores(given)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
