"""SelfNarrative of the legacy guides: what a workspace broadcast, in its own words.

Themes gather entries whose vectors are alike; they are named by the words that recur in what the
entries say.  A line about a memory ends in its id.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import field
from datetime import datetime
from typing import Any

import numpy as np

from nimad.cognition.codebooks import flat
from nimad.cognition.consciousness_workspace import (
    ConsciousnessMetacognitive,
    GlobalWorkspace,
    WorkspaceEntry,
    now,
    similarity,
)
from nimad.dataclass import dataclass
from nimad.reflection import affects
from nimad.reflection.themes import SMALL_TALK
from nimad.store.words import STOP_WORDS
from nimad.text import common_form, words_of

SAMPLES = 5
"""Number of entries that a theme quotes [entries]."""
NOTHING = "There is nothing to tell: nothing was broadcast yet."


@dataclass
class NarrativeTheme:
    """Entries that are alike; `vector` is their mean."""

    name: str
    vector: Any
    count: int
    first_seen: datetime
    last_seen: datetime
    sample_content: list[str] = field(default_factory=list)


@dataclass
class SelfNarrative:
    """What was broadcast.  `timeline`: dicts of timestamp, source, content, surprise and id."""

    timestamp: datetime
    summary_vector: Any
    themes: list[NarrativeTheme]
    timeline: list[dict[str, Any]]
    affective_tone: str
    recursion_depth: int = 0

    def to_natural_language(self) -> str:
        """The same as lines of text; each entry ends in the id of its memory."""
        if not self.timeline:
            return NOTHING
        lines = [f"{len(self.timeline)} moments, {self.affective_tone}."]
        for theme in self.themes[:3]:
            lines.append(f"{theme.name or 'Other'}: {theme.count} of them.")
        for item in self.timeline:
            ident = f" [{item['id']}]" if item.get("id") is not None else ""
            lines.append(f"  {item['timestamp']:%H:%M} {item['source']}: {item['content']}{ident}")
        return "\n".join(lines)


class SelfNarrativeGenerator:
    """Makes narratives of a workspace."""

    def __init__(self, dimension: int = 50_000) -> None:
        self.dimension = dimension
        self.similarity_threshold = 0.3
        self.max_themes = 5
        self.narrative_history: deque[SelfNarrative] = deque(maxlen=50)
        self.current_narrative: SelfNarrative | None = None

    def generate_narrative(
        self, workspace: GlobalWorkspace, lookback_window: int = 20
    ) -> SelfNarrative:
        """The last entries of a workspace's history."""
        entries = list(workspace.history)[-lookback_window:] if lookback_window > 0 else []
        masks = [int(entry.affect_vector or 0) for entry in entries]
        tone = affects.leading(masks[-1]).tone if masks else "neutral"
        depth = max((int(e.metadata.get("recursion_depth", 0)) for e in entries), default=0)
        mean = _mean([entry.bound for entry in entries])
        made = SelfNarrative(now(), mean, self._themes(entries), _timeline(entries), tone, depth)
        self.narrative_history.append(made)
        self.current_narrative = made
        return made

    def _themes(self, entries: Sequence[WorkspaceEntry]) -> list[NarrativeTheme]:
        """Each entry joins the theme that it is most alike, or opens one."""
        groups: list[list[WorkspaceEntry]] = []
        for entry in entries:
            alike = [similarity(entry.bound, _mean([e.bound for e in group])) for group in groups]
            best = int(np.argmax(alike)) if alike else -1
            if alike and alike[best] > self.similarity_threshold:
                groups[best].append(entry)
            else:
                groups.append([entry])
        groups.sort(key=len, reverse=True)
        themes = []
        for group in groups[: self.max_themes]:
            words: Counter[str] = Counter()
            for entry in group:
                said = dict.fromkeys(words_of(common_form(str(entry.metadata.get("what") or ""))))
                words.update(w for w in said if w not in STOP_WORDS | SMALL_TALK and len(w) > 2)
            names = sorted(words, key=lambda word: (-words[word], word))[:2]
            mean, contents = _mean([e.bound for e in group]), [e.content for e in group[:SAMPLES]]
            span = group[0].timestamp, group[-1].timestamp
            themes.append(NarrativeTheme(", ".join(names), mean, len(group), *span, contents))
        return themes

    def answer_what_have_i_been_thinking(
        self, workspace: GlobalWorkspace, lookback_window: int = 20
    ) -> str:
        """The narrative as text."""
        return self.generate_narrative(workspace, lookback_window).to_natural_language()

    def get_current_identity(self) -> Any:
        """The mean of the last narrative's vectors; None before the first."""
        return self.current_narrative.summary_vector if self.current_narrative else None


def _timeline(entries: Sequence[WorkspaceEntry]) -> list[dict[str, Any]]:
    return [
        {
            "timestamp": entry.timestamp,
            "source": entry.metadata.get("who") or entry.source_agent,
            "content": entry.content,
            "surprise": entry.surprise_score,
            "id": entry.metadata.get("id"),
        }
        for entry in entries
    ]


def _mean(vectors: Sequence[Any]) -> Any:
    """The mean of those that are as long as the last one; None of none."""
    rows = [flat(vector) for vector in vectors]
    alike = [row for row in rows if row.shape == rows[-1].shape]
    return np.mean(alike, axis=0) if alike else None


class NarrativeMetacognitive(ConsciousnessMetacognitive):
    """The guides' questions, answered in text."""

    def __init__(self, workspace: GlobalWorkspace) -> None:
        super().__init__(workspace)
        self.generator = SelfNarrativeGenerator()

    def what_have_i_been_thinking(self, lookback_window: int = 20) -> str:
        """The last entries, as text."""
        return self.generator.answer_what_have_i_been_thinking(self.workspace, lookback_window)

    def who_am_i_right_now(self) -> str:
        """The themes of the last entries; for what memories tell, see the core's `who_am_i`."""
        found = self.generator.generate_narrative(self.workspace)
        if not found.timeline:
            return NOTHING
        names = [theme.name for theme in found.themes[:3] if theme.name]
        return f"{len(found.timeline)} moments, {found.affective_tone}: {'; '.join(names)}."

    def summarize_my_day(self) -> str:
        """The entries of today, local time."""
        today = now().date()
        entries = [e for e in self.workspace.history if e.timestamp.astimezone().date() == today]
        made = SelfNarrative(now(), None, [], _timeline(entries), "neutral")
        return made.to_natural_language()
