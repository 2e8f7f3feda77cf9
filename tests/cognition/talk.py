"""Talk to reflect upon: a little one of our own, and the real dialogues of shared/quality."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from nimad import when
from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.model import Memory

DAY = 86_400_000
START = 1_795_600_000_000
"""The first moment of the talk [epoch milliseconds]."""
SAID = [
    ("Maya", "I am looking for a school with a workshop for Tom."),
    ("Wren", "The school at the river has a workshop with two kilns."),
    ("Maya", "I have a pottery class every Monday evening."),
    ("Wren", "Your pottery class is moved to Tuesday this week."),
    ("Maya", "I will call the school at the river tomorrow."),
    ("Maya", "The kettle broke this morning, it leaks at the bottom."),
    ("Wren", "The shop at the bridge repairs kettles while you wait."),
    ("Maya", "I have a pottery class on each Monday evening, you know."),
    ("Tom", "I am seven years old and I like trains."),
    ("Tom", "The night train to the sea has a dining car with red lamps."),
    ("Maya", "Tom talked about the night train to the sea all evening."),
    ("Wren", "Tickets for the night train to the sea cost forty euros."),
]
AFFECTS = {4: '{"SEEKING": 0.9}', 5: '{"RAGE": 0.4, "CARE": 0.2}', 7: '{"SEEKING": 0.5}'}


def talk() -> list[Memory]:
    """Twelve turns of two days, six each, a minute apart; two sessions."""
    return [
        Memory(
            text,
            who=who,
            timestamp=START + DAY * (n // 6) + 60_000 * n,
            session=f"s{n // 6}",
            layer="input",
            affect=AFFECTS.get(n),
            importance=0.5,
        )
        for n, (who, text) in enumerate(SAID)
    ]


def opened(state: Path, memories: list[Memory] | None = None) -> MemoryStore:
    """A store with some talk."""
    store = MemoryStore.open(state, Config().replace(graph__engine="none"))
    if memories:
        store.remember_many(memories)
    return store


def dialogues(conversations: int = 1) -> list[Memory]:
    """Turns of $NIMAD_QUALITY, or of shared/quality beside the checkout; skips without them."""
    given = os.environ.get("NIMAD_QUALITY")
    root = Path(given) if given else Path(__file__).parents[3] / "shared" / "quality"
    file = root / "locomo_dev.json"
    if not file.is_file():
        pytest.skip(f"no dialogues in {root} (NIMAD_QUALITY names another place)")
    found = []
    for sample in json.loads(file.read_text())[:conversations]:
        sessions = sample["conversation"]
        for name in sorted(n for n in sessions if re.fullmatch(r"session_\d+", n)):
            clock, day = sessions[f"{name}_date_time"].split(" on ")
            at = when.read(f"{day.replace(',', '')} {clock.replace(' ', '')}", START).first
            found += [
                Memory(
                    turn["text"],
                    who=turn["speaker"],
                    timestamp=at + 60_000 * n,
                    session=f"{sample['sample_id']} {name}",
                    layer="input",
                )
                for n, turn in enumerate(sessions[name])
            ]
    return found
