"""The seven affects: as a mask, as numbers kept with memories, and what they change.

The mask is that of the legacy guides.  `Memory.affect` holds what an agent said of a turn, a JSON
object such as {"CARE": 0.5}: that is data, the mask is a setting.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from enum import IntFlag
from typing import NamedTuple

from nimad.model import Memory

MOST = 65_536
"""Length of the longest affect that is looked at [characters]."""


class Affects(IntFlag):
    """The affects of the guides, as bits."""

    SEEKING = 1
    RAGE = 2
    FEAR = 4
    LUST = 8
    CARE = 16
    PANIC = 32
    PLAY = 64


class Effect(NamedTuple):
    """What an affect changes: how many slots are bound and how (names of the guides), the factors
    of novelty and risk, and the word for the tone."""

    slots: int = 3
    strategy: str = "moderate"
    novelty: float = 1.0
    risk: float = 1.0
    tone: str = "neutral"


NO_EFFECT = Effect()
EFFECTS = {
    Affects.SEEKING: Effect(5, "exploratory", 1.5, 0.8, "exploratory"),
    Affects.PLAY: Effect(4, "experimental", 2.0, 0.5, "playful"),
    Affects.CARE: Effect(4, "relational", tone="caring"),
    Affects.FEAR: Effect(2, "survival", 0.7, 2.0, "cautious"),
    Affects.PANIC: Effect(2, "minimal", 0.5, 1.5, "distressed"),
    Affects.RAGE: Effect(3, "targeted", tone="frustrated"),
    Affects.LUST: Effect(3, "focused", tone="desire"),
}
"""By affect, in the order in which the first one of a mixture decides slots, strategy and tone."""


def leading(mask: int) -> Effect:
    """The effect of the first affect in a mask."""
    return next((effect for affect, effect in EFFECTS.items() if mask & affect), NO_EFFECT)


def factors(mask: int) -> tuple[float, float]:
    """The factors of novelty and of risk: those of a mixture are multiplied."""
    mixed = [effect for affect, effect in EFFECTS.items() if mask & affect]
    return math.prod(e.novelty for e in mixed), math.prod(e.risk for e in mixed)


def names(mask: int) -> str:
    """`SEEKING`, `CARE|FEAR`, or `none`."""
    return "|".join(str(a.name) for a in sorted(EFFECTS, key=int) if mask & a) or "none"


def told(memory: Memory) -> dict[str, float]:
    """What was said of a memory's affect: name → 0 to 1; {} where nothing readable was."""
    written = memory.affect or ""
    if not written.lstrip().startswith("{") or len(written) > MOST:
        return {}
    try:
        found = json.loads(written)
    except ValueError:
        return {}
    numbers = {str(name).upper(): value for name, value in found.items()}
    return {
        name: float(value)
        for name, value in numbers.items()
        if name in Affects.__members__ and isinstance(value, (int, float)) and 0 < value <= 1
    }


def tone(memories: Iterable[Memory]) -> tuple[dict[str, float], list[Memory]]:
    """The mean of each affect over the memories that tell any, strongest first, and these, those
    with most of the first affect before the others."""
    telling = [(memory, found) for memory in memories if (found := told(memory))]
    sums: dict[str, float] = {}
    for _, found in telling:
        for name, value in found.items():
            sums[name] = sums.get(name, 0.0) + value
    means = {name: round(total / len(telling), 3) for name, total in sums.items()}
    ordered = dict(sorted(means.items(), key=lambda item: (-item[1], item[0])))
    if not ordered:
        return {}, []
    first = next(iter(ordered))
    telling.sort(key=lambda item: (-item[1].get(first, 0.0), item[0].id))
    return ordered, [memory for memory, _ in telling]
