"""What recall is worth when memories tell less: no sessions, no times, the speaker in the text.

    python packaging/recall_forms.py SET

SET is a labelled set of talk (recall_sets.py).  Every form is a store of its own, asked in this
process, in hybrid mode as shipped.  The last two forms are turns in an order that means nothing,
the worst for a rule that takes what arrives together for talk.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dialogues import DEPTH, mean, score
from recall_sets import LabelledSet, Store, read_set
from recall_signals import where_of
from recall_store import ASKED, loaded_set

Fields = dict[str, Any]
Form = Callable[[Fields], Fields]
UNTIMED = 1_700_000_000_000
"""An import without times gives one moment to all that arrives at once."""


def _without(fields: Fields, *names: str) -> Fields:
    return {name: value for name, value in fields.items() if name not in names}


def _untold(fields: Fields) -> Fields:
    return _without(fields, "conversation", "session", "turn")


def _untimed(fields: Fields) -> Fields:
    return {**_untold(fields), "timestamp": UNTIMED}


def _headed(fields: Fields) -> Fields:
    headed = {**_untold(fields), "text": f"{fields['who']}: {fields['text']}"}
    return _without(headed, "who")


def _alone(fields: Fields) -> Fields:
    return {**_untimed(fields), "who": "Anna"}


FORMS: Sequence[tuple[str, Form, bool]] = (
    ("session, who, time", lambda fields: fields, False),
    ("conversation, who, time", lambda fields: _without(fields, "session"), False),
    ("who, time", _untold, False),
    ("who", _untimed, False),
    ('"Anna: ..." in the text, time', _headed, False),
    ('"Anna: ..." in the text', lambda fields: _untimed(_headed(fields)), False),
    ("time", lambda fields: _without(_untold(fields), "who"), False),
    ("who, in an order that means nothing", _untimed, True),
    ("the same `who` for all, in such an order", _alone, True),
)
HEAD = """
## When memories tell less

What `nimad.recall.session_neighbours` and `nimad.recall.speaker_prefix` make of the turns of
{name} without sessions (`python packaging/recall_forms.py SET` prints this part alone).

| a memory has | recall@10 | nDCG@10 |
|---|---|---|"""


def _told(store: Store, form: Form, *, shuffled: bool) -> Store:
    order = list(range(len(store.keys)))
    if shuffled:
        random.Random(1).shuffle(order)
    return replace(
        store,
        keys=[store.keys[row] for row in order],
        fields=[form(store.fields[row]) for row in order],
    )


def study(given: LabelledSet, say: Callable[[str], None]) -> None:
    """Say the table."""
    say(HEAD.format(name=given.name))
    for name, form, shuffled in FORMS:
        told = replace(given, stores=[_told(s, form, shuffled=shuffled) for s in given.stores])
        scores = []
        with loaded_set(told, "static") as store:
            for place, question in told.asked():
                where = where_of(told.stores[place].name, question)
                hits = store.recall.query(
                    question.text, DEPTH, "hybrid", where, question.as_of or ASKED
                )
                found = [str((hit.memory.extra or {}).get("key")) for hit in hits]
                scores.append(score(found, question.evidence))
        figures = mean(scores)
        say(f"| {name} | {figures['recall@10']:.3f} | {figures['ndcg@10']:.3f} |")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    study(read_set(parser.parse_args().data), print)
    return 0


if __name__ == "__main__":
    sys.exit(main())
