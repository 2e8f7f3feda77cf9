"""Theory of mind of the legacy guides, without a mind: what somebody said, and words that recur.

Affects go by cue words, whole ones; `confidence` is the share of the last messages that have a cue.
Nothing is predicted and no reply is made up: what comes back are messages as they were written.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import field
from datetime import datetime
from typing import Any

from nimad.cognition.consciousness_workspace import now
from nimad.cognition.volition import VolitionalWorkspace
from nimad.dataclass import dataclass
from nimad.reflection import affects
from nimad.reflection.affects import Affects
from nimad.reflection.themes import SMALL_TALK
from nimad.store.words import STOP_WORDS
from nimad.text import common_form, words_of

LOOKED = 10
"""Number of last messages that a model is made of [messages]."""
KEPT = 100
"""Number of messages of one person that are kept [messages]."""
MOST_CONFIDENT = 0.9
CUES = {
    Affects.SEEKING: "curious explore exploring wonder wondering interesting interested discover",
    Affects.FEAR: "worry worried concern concerned anxious nervous afraid scared risky",
    Affects.PLAY: "fun play playing playful experiment creative enjoy enjoying joke",
    Affects.CARE: "care caring support supportive love thankful grateful comfort",
    Affects.RAGE: "frustrated frustrating angry annoyed annoying furious",
    Affects.PANIC: "urgent emergency stressed overwhelmed panic help",
}
"""Words that tell an affect, whole; no negation is understood."""
_CUE_SETS = {affect: frozenset(words.split()) for affect, words in CUES.items()}

_WORD = re.compile(r"[^\W\d_]+")

Message = tuple[datetime, str, int | None]
"""When, what, and the id of the memory that holds it."""


@dataclass
class OtherMindModel:
    """What the last messages of somebody tell; `evidence` quotes them, with ids where they have."""

    agent_name: str
    inferred_affect: int = 0
    confidence: float = 0.0
    likely_themes: list[str] = field(default_factory=list)
    recent_topics: list[str] = field(default_factory=list)
    predicted_next_broadcast: str = "not known"
    evidence: list[str] = field(default_factory=list)
    last_updated: datetime = field(default_factory=now)

    @property
    def inferred_state(self) -> str:
        """The affects by name."""
        return affects.names(self.inferred_affect)

    def to_natural_language(self) -> str:
        """The same as text."""
        topics = ", ".join(self.recent_topics) or "nothing that recurs"
        cues = f"{self.confidence:.0%} of the last messages have a cue of {self.inferred_state}"
        quoted = "\n".join(f"  {line}" for line in self.evidence)
        return f"{self.agent_name} talks of {topics}; {cues}.\n{quoted}"


class TheoryOfMindEngine:
    """Messages by person; `more` tells of those that were kept elsewhere."""

    def __init__(
        self,
        own_workspace: Any = None,
        more: Callable[[str], Iterable[Message]] = lambda name: (),
    ) -> None:
        self.own_workspace = own_workspace
        self.other_minds: dict[str, OtherMindModel] = {}
        self.interaction_history: dict[str, deque[Message]] = {}
        self.topic_cooccurrence: dict[str, Counter[str]] = {}
        self.affect_transitions: dict[str, list[int]] = {}
        self._more = more

    def observe_interaction(
        self, name: str, content: str = "", timestamp: datetime | None = None
    ) -> None:
        """Note a message."""
        kept = self.interaction_history.setdefault(name, deque(maxlen=KEPT))
        kept.append((timestamp or now(), content, None))

    def messages(self, name: str) -> list[Message]:
        """What somebody said, as far as it is known, in the order of time; the same text once."""
        found: dict[str, Message] = {}
        for message in (*self._more(name), *self.interaction_history.get(name, ())):
            known = found.get(message[1])
            if known is None or known[2] is None:
                found[message[1]] = message
        return sorted(found.values(), key=lambda message: (message[0], message[2] or 0))

    def model_other_mind(self, name: str, context: str | None = None) -> OtherMindModel:
        """What the last messages tell.  Of an unknown person: that nothing is known."""
        said = self.messages(name)[-LOOKED:]
        if not said:
            return OtherMindModel(name, evidence=[f"Nothing that {name} said is known."])
        counts: Counter[Affects] = Counter()
        for _, text, _ in said:
            spoken = set(_WORD.findall(common_form(text)))
            counts.update(affect for affect, cues in _CUE_SETS.items() if spoken & cues)
        best = max(counts, key=lambda affect: (counts[affect], -affect), default=Affects(0))
        words = Counter(word for _, text, _ in said for word in _telling(text))
        topics = [w for w, n in sorted(words.items(), key=lambda item: (-item[1], item[0]))]
        model = OtherMindModel(
            name,
            int(best),
            min(MOST_CONFIDENT, counts[best] / len(said)) if counts else 0.0,
            topics[:5],
            topics[:3],
            evidence=[
                f'"{text}"' + (f" [{number}]" if number else "") for _, text, number in said[-5:]
            ],
        )
        self.other_minds[name] = model
        return model

    def what_is_other_thinking(self, name: str) -> str:
        """The model as text."""
        return self.model_other_mind(name).to_natural_language()

    def simulate_other_response(self, name: str, my_message: str) -> str:
        """The message of theirs that has most words of mine; or that there is none."""
        asked = set(_telling(my_message))
        scored = [
            (len(asked.intersection(_telling(text))), place, text, number)
            for place, (_, text, number) in enumerate(self.messages(name))
        ]
        best = max(scored, default=(0, 0, "", None))
        if not best[0]:
            return f"No message of {name} that is like it is known."
        return f'{name} said: "{best[2]}"' + (f" [{best[3]}]" if best[3] else "")

    def get_all_models(self) -> dict[str, OtherMindModel]:
        """The models that were made, by name."""
        return dict(self.other_minds)


def _telling(text: str) -> list[str]:
    """The words of a text that name a topic, each once."""
    words = dict.fromkeys(words_of(common_form(text)))
    return [w for w in words if w not in STOP_WORDS and w not in SMALL_TALK and len(w) > 3]


@dataclass
class SocialConsciousnessWorkspace(VolitionalWorkspace):
    """A workspace that hears others, too."""

    theory_of_mind: TheoryOfMindEngine = field(default_factory=TheoryOfMindEngine)
    social_context: dict[str, Any] = field(default_factory=dict)

    def observe_other(self, name: str, content: str, timestamp: datetime | None = None) -> None:
        """Note a message."""
        self.theory_of_mind.observe_interaction(name, content, timestamp)

    def model_other(self, name: str, context: str | None = None) -> OtherMindModel:
        """What the last messages of somebody tell."""
        return self.theory_of_mind.model_other_mind(name, context)

    def get_social_awareness_summary(self) -> str:
        """Every person that was heard, a line each."""
        names = sorted(self.theory_of_mind.interaction_history)
        return "\n".join(self.model_other(name).to_natural_language() for name in names)
