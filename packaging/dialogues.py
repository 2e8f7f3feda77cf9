"""Labelled dialogues in the format of LoCoMo, read and scored: for measuring recall, nothing else.

A file is a list of {"sample_id", "conversation", "qa"}: `conversation` holds "session_N" (a list of
turns with "speaker", "dia_id", "text") and "session_N_date_time"; each of `qa` has "question",
"category" and "evidence", the ids of the turns that answer it.  Categories 1 to 4 have answers.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop"}
DEPTH = 20
_ID = re.compile(r"D\s?:?(\d+)\s?:\s?0*(\d+)")
_RANGE = re.compile(r"D\s?:?(\d+)\s?:\s?0*(\d+)\s?-\s?D?\s?:?\1\s?:\s?0*(\d+)")


@dataclass(frozen=True, slots=True)
class Turn:
    """One memory to be; `moment` is in epoch milliseconds."""

    id: str
    who: str
    text: str
    session: int
    moment: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and the ids of the turns that answer it."""

    text: str
    category: int
    evidence: frozenset[str]

    @property
    def kind(self) -> str:
        """The name of its category."""
        return CATEGORIES[self.category]


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One conversation."""

    name: str
    turns: list[Turn]
    questions: list[Asked]


def read_dialogues(path: Path) -> list[Dialogue]:
    """Every conversation of a file."""
    return parse_dialogues(json.loads(path.read_text()))


def parse_dialogues(samples: Sequence[Mapping[str, Any]]) -> list[Dialogue]:
    """Those of a file that was read; questions without a turn that answers them are left out."""
    return [_dialogue(sample) for sample in samples]


def _dialogue(sample: Mapping[str, Any]) -> Dialogue:
    turns = list(_turns(sample["conversation"]))
    known = {turn.id for turn in turns}
    questions = []
    for one in sample["qa"]:
        evidence = frozenset(_ids(one.get("evidence") or ())) & known
        if one["category"] in CATEGORIES and evidence:
            questions.append(Asked(one["question"], one["category"], evidence))
    return Dialogue(sample["sample_id"], turns, questions)


def _turns(conversation: Mapping[str, Any]) -> Iterator[Turn]:
    numbers = sorted(
        int(key[8:])
        for key, value in conversation.items()
        if re.fullmatch(r"session_\d+", key) and isinstance(value, list)
    )
    for number in numbers:
        moment = _moment(conversation.get(f"session_{number}_date_time", ""), number)
        for turn in conversation[f"session_{number}"]:
            yield Turn(turn["dia_id"], turn["speaker"], turn.get("text") or "-", number, moment)


def _moment(written: str, number: int) -> int:
    """ "1:56 pm on 8 May, 2023", in UTC; without a date, sessions are a day apart."""
    try:
        found = datetime.strptime(written, "%I:%M %p on %d %B, %Y")
    except ValueError:
        return number * 86_400_000
    return round(found.replace(tzinfo=UTC).timestamp() * 1000)


def _ids(labels: Sequence[str]) -> Iterator[str]:
    """Turn ids of labels as people wrote them: "D8:6; D9:17", "D30:05", "D2:1-D2:4"."""
    for label in labels:
        for session, first, last in _RANGE.findall(label):
            yield from (f"D{session}:{n}" for n in range(int(first), int(last) + 1))
        yield from (f"D{session}:{turn}" for session, turn in _ID.findall(label))


def score(found: Sequence[str], evidence: frozenset[str]) -> dict[str, float]:
    """Recall at 5, 10 and 20, and nDCG at 10 (a turn is right or wrong), of one question."""
    ranked = list(dict.fromkeys(found))
    gains = [1 / math.log2(place + 2) for place in range(10)]
    gained = sum(gain for gain, turn in zip(gains, ranked, strict=False) if turn in evidence)
    recall = {f"recall@{k}": len(evidence & set(ranked[:k])) / len(evidence) for k in (5, 10, 20)}
    return {**recall, "ndcg@10": gained / sum(gains[: len(evidence)])}


def mean(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each figure."""
    if not scores:
        return {}
    return {name: sum(one[name] for one in scores) / len(scores) for name in scores[0]}


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of the values does not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0
