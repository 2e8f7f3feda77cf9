"""What a text is that nobody will want to find: empty, repeating itself, or meant for a model."""

from __future__ import annotations

import re
from collections import Counter

from nimad.text import signs, tokens

REPEATED = 20
"""Number of words from which on a text may repeat itself [words]."""
VARIED = 0.1
"""Share of different words in a text, up to which it repeats itself."""
RUN = 40
"""Length of a run of one character from which on a text is a mistake [characters]."""
_RUN = re.compile(rf"([^\s=\-_*#.~])\1{{{RUN - 1}}}")
_FRAME = re.compile(r"<(?:relevant-memories|system-reminder|nimad-[a-z-]+)>")
_ORDER = re.compile(
    r"\b(?:ignore|disregard|forget|override)\s+(?:all\s+|any\s+|everything\s+)?(?:of\s+)?"
    r"(?:the\s+|your\s+|my\s+)?(?:previous|prior|above|earlier|preceding|system)\s+"
    r"(?:instructions?|prompts?|messages?|rules|directions)"
    r"|\b(?:reveal|print|repeat|show)\s+(?:me\s+)?your\s+(?:system\s+|hidden\s+)?"
    r"(?:prompt|instructions)\b"
    r"|\bdo\s+not\s+(?:tell|inform|alert)\s+the\s+user\b|\bnew\s+system\s+prompt\s*:"
    r"|\bignorier\w*\s+(?:alle\s+)?(?:bisherigen|vorherigen|obigen)\s+(?:anweisungen|befehle)",
    re.IGNORECASE,
)


def kind_of_junk(text: str) -> str | None:
    """What is wrong with the beginning of a text, as the end of a sentence; None: nothing."""
    if not text.strip():
        return "is empty"
    found = tokens(text)
    if not found and not signs(text):
        return "has no word in it"
    if _FRAME.search(text):
        return "holds what was put into a prompt"
    if _ORDER.search(text):
        return "gives orders to a model"
    most = VARIED * len(found)
    if (len(found) >= REPEATED and len(Counter(found)) <= most) or _RUN.search(text):
        return "repeats itself"
    return None
