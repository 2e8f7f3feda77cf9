"""Rows of the records to fields of the columns."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from nimad.recall import heads
from nimad.recall.subjects import NOBODY, Subjects
from nimad.store.terms import lengths

NONE = -1
"""In a chain: there is nobody. As a code: no value."""

Session = tuple[int, int | None, int | None]
"""Namespace, conversation and session: ids of names."""

PAGE_SQL = """
SELECT m.id, m.timestamp, m.namespace, m.layer, m.conversation, m.session, m.who, m.importance,
       m.text, d.sz
FROM memories m LEFT JOIN words_docsize d ON d.id = m.id
WHERE m.id BETWEEN ? AND ? ORDER BY m.id LIMIT ?
"""
UNSIZED_PAGE_SQL = PAGE_SQL.replace("d.sz", "NULL").replace(
    "LEFT JOIN words_docsize d ON d.id = m.id", ""
)
"""The same without a look into the words index: nothing is known of the texts' lengths."""

_QUESTION_MARKS = ("?", "？", "؟")


def fields(
    page: Sequence[tuple[Any, ...]], subjects: Subjects, sessions: dict[Session, int]
) -> dict[str, Sequence[Any]]:
    """The values of each column for rows of PAGE_SQL; new names and sessions are given codes."""
    (ids, times, spaces, layers, talks, names, who, weights, texts, sizes) = zip(*page, strict=True)
    speakers = [
        subjects.code(name) if name else heads.code(text)
        for name, text in zip(who, texts, strict=True)
    ]
    return {
        "id": ids,
        "time": times,
        "namespace": spaces,
        "layer": layers,
        "session": [
            loose(space, speaker)
            if talk is None and session is None
            else sessions.setdefault((space, talk, session), len(sessions))
            for space, talk, session, speaker in zip(spaces, talks, names, speakers, strict=True)
        ],
        "who": speakers,
        "importance": [0.5 if weight is None else weight for weight in weights],
        "words": lengths(sizes),
        "asks": [text.rstrip(" ").endswith(_QUESTION_MARKS) for text in texts],
        "print": [fingerprint(text) for text in texts],
    }


def loose(space: int, speaker: int) -> int:
    """The code in place of a session's for a memory that names none: below NONE, one for each
    namespace (an id of a name); NONE for a memory without a speaker.
    """
    return NONE if speaker == NOBODY else NONE - space


def fingerprint(text: str) -> int:
    """64 bits of a text without what does not change it, case and space; equal ones are the same
    text, but for one chance in 2**64.  About 1.5 µs for a sentence.
    """
    plain = " ".join(text.casefold().split()).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(plain, digest_size=8).digest(), "little", signed=True)
