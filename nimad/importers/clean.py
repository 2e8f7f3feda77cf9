"""Makes what an importer read a memory that can be stored: bounds, characters, secrets."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

from nimad.importers.secrets import mask_all
from nimad.model import FIELDS, MAX_TAGS, MAX_TEXT, Memory

CUT = " …"
"""What stands at the end of a text that was cut."""
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
"""Characters that no text needs: they may be no Unicode, or make a frame six times as large."""


def plain(text: str) -> str:
    """A text without control characters and without blanks around it."""
    return _CONTROLS.sub("", text.replace("\r\n", "\n")).strip()


def cleaned(memory: Memory, *, masked: bool) -> tuple[Memory, int, str]:
    """The memory as it can be stored, how many secrets were masked, and what was cut ("": nothing).
    Its text is empty where nothing is left of it."""
    secrets = 0
    values: dict[str, Any] = {}
    for name in ("text", "who", "where", "conversation", "session", "turn", "agent", "summary"):
        value = getattr(memory, name)
        if value is not None:
            most = FIELDS[name].most if name != "text" else 1 << 30
            values[name] = plain(value)[:most] or (None if name != "text" else "")
    tags = dict.fromkeys(plain(tag)[: FIELDS["tags"].most] for tag in memory.tags)
    values["tags"] = tuple(tag for tag in tags if tag)[:MAX_TAGS]
    values["extra"] = _without_controls(memory.extra) or None
    if memory.importance is not None:
        values["importance"] = min(max(float(memory.importance), 0.0), 1.0)
    if masked:
        for name in ("text", "who", "where", "summary", "tags", "extra"):
            values[name], found = mask_all(values.get(name))
            secrets += found
    cut = ""
    if len(values["text"]) > MAX_TEXT:
        cut = f"only the first {MAX_TEXT:,} of {len(values['text']):,} characters fit"
        values["text"] = values["text"][: MAX_TEXT - len(CUT)] + CUT
    return replace(memory, **values), secrets, cut


def _without_controls(value: Any) -> Any:
    if isinstance(value, str):
        return _CONTROLS.sub("", value)
    if isinstance(value, list):
        return [_without_controls(one) for one in value]
    if isinstance(value, dict):
        return {_CONTROLS.sub("", n): _without_controls(one) for n, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
