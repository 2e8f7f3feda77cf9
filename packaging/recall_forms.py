"""What recall is worth when memories tell less: no sessions, no times, the speaker in the text.

    python packaging/recall_forms.py DATA [--embedder NAME]

DATA as in bench_recall.py.  Every form is a store of its own, asked in this process, in hybrid mode
with the floors as shipped.  The last two forms are turns in an order that means nothing, the worst
for a rule that takes what arrives together for talk.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from dialogues import Dialogue, read_dialogues
from recall_store import figures, loaded, overall

from nimad.model import Memory

Form = Callable[[Memory], Memory]
UNTIMED = 1_700_000_000_000
"""An import without times gives one moment to all that arrives at once."""


def _untold(memory: Memory) -> Memory:
    return replace(memory, conversation=None, session=None)


def _untimed(memory: Memory) -> Memory:
    return replace(_untold(memory), timestamp=UNTIMED)


def _headed(memory: Memory) -> Memory:
    return replace(_untold(memory), text=f"{memory.who}: {memory.text}", who=None)


def _alone(memory: Memory) -> Memory:
    return replace(_untimed(memory), who="Anna")


FORMS: Sequence[tuple[str, Form, bool]] = (
    ("session, who, time", lambda memory: memory, False),
    ("conversation, who, time", lambda memory: replace(memory, session=None), False),
    ("who, time", _untold, False),
    ("who", _untimed, False),
    ('"Anna: ..." in the text, time', _headed, False),
    ('"Anna: ..." in the text', lambda memory: _untimed(_headed(memory)), False),
    ("time", lambda memory: replace(_untold(memory), who=None), False),
    ("who, in an order that means nothing", _untimed, True),
    ("the same `who` for all, in such an order", _alone, True),
)
HEAD = """
## When memories tell less

What `nimad.recall.session_neighbours` and `nimad.recall.speaker_prefix` make of the same turns
without sessions (`python packaging/recall_forms.py DATA` prints this part alone).

| a memory has | recall@10 | nDCG@10 |
|---|---|---|"""


def study(dialogues: Sequence[Dialogue], embedder: str, say: Callable[[str], None]) -> None:
    """Say the table."""
    say(HEAD)
    for name, form, shuffled in FORMS:
        told = list(dialogues)
        if shuffled:
            chance = random.Random(1)
            told = [replace(d, turns=chance.sample(d.turns, len(d.turns))) for d in dialogues]
        with loaded(told, embedder, form) as store:
            made = figures(store.recall, dialogues, False)
        cells = [f"{overall(made, figure):.3f}" for figure in ("recall@10", "ndcg@10")]
        say(f"| {name} | {' | '.join(cells)} |")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--embedder", default="static")
    given = parser.parse_args()
    study(read_dialogues(given.data), given.embedder, print)
    return 0


if __name__ == "__main__":
    sys.exit(main())
