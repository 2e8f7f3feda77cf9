"""Statements of which only one is true at a time: where somebody lives, what their favourite is.

Only the form is looked at, in English and German; the later of two statements is likely the one
that holds, and that is a suggestion.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from nimad.reflection.quotes import sentences
from nimad.text import common_form

_NAME = r"(?P<name>I|ich|Ich|[A-Z][\w'’-]+(?: [A-Z][\w'’-]+)?)"
_NOW = r"(?: now| currently)?"
_VALUE = r"(?P<value>[^.,;:!?()\"\n]{2,60})"
_FORMS = [
    ("lives in", rf"\b{_NAME}{_NOW} (?:lives?|am living|is living) in {_VALUE}"),
    ("lives in", rf"\b{_NAME} (?:wohnt?e?|lebt?e?)(?: jetzt)? in {_VALUE}"),
    ("lives in", rf"\b{_NAME}(?:'ve| have| has)?{_NOW} moved to {_VALUE}"),
    ("works at", rf"\b{_NAME}{_NOW} (?:works?|am working|is working) (?:at|for) {_VALUE}"),
    ("works at", rf"\b{_NAME} arbeitet?e?(?: jetzt)? (?:bei|für) {_VALUE}"),
    ("is married to", rf"\b{_NAME} (?:am|is) married to {_VALUE}"),
    ("drives", rf"\b{_NAME}{_NOW} (?:drives?) an? {_VALUE}"),
]  # fmt: skip
_OWN = re.compile(
    r"\b(?P<name>[Mm]y|[Mm]eine?|[A-Z][\w-]+['’]s) (?P<what>favou?rite [\w-]+(?: [\w-]+)?"
    r"|birthday|(?:phone|telephone) number|e-?mail(?: address)?|address|name|job"
    rf"|Lieblings[\w-]+) (?:is|ist)(?: now| jetzt)?(?: on)? {_VALUE}"
)
_PATTERNS = [(key, re.compile(form)) for key, form in _FORMS]
_HINT = re.compile(
    r"\b(?:liv(?:e|es|ing)|moved|wohn\w*|leb\w*|work\w*|arbeite\w*|married|drives?|is|ist)\b"
)
_END = re.compile(
    r"\s+(?:and|but|since|because|with|now|anymore|as|for|which|where|who|until|so|und|aber|seit"
    r"|weil|mit|jetzt)\b.*|\s+(?:in|on) (?:19|20)\d\d\b.*"
)
_FIRST = ("i", "ich", "my", "mein", "meine")
_NO_NAMES = """
he she it they we you who that this there what the somebody someone everybody everyone nobody er sie
es wir ihr der die das
"""
_NOBODY = frozenset(_NO_NAMES.split())
_ARTICLES = re.compile(r"^(?:the|a|an|der|die|das|dem|den|einer?|einem) ")


class Statement(NamedTuple):
    """What a sentence says of somebody: whom (in the common form; "": its speaker, who has no
    name), what of them, and what it is."""

    subject: str
    key: str
    value: str


def statements(text: str, who: str | None) -> Iterator[Statement]:
    """The statements in the beginning of a text by `who`; none of a question."""
    if not _HINT.search(text):
        return
    for sentence in sentences(text):
        if sentence.endswith("?"):
            continue
        for key, pattern in _PATTERNS:
            if found := pattern.search(sentence):
                yield from _read(found["name"], key, found["value"], who)
        if found := _OWN.search(sentence):
            name = re.sub(r"['’]s$", "", found["name"])
            key = common_form(found["what"]).replace("favorite", "favourite")
            yield from _read(name, key, found["value"], who)


def _read(name: str, key: str, value: str, who: str | None) -> Iterator[Statement]:
    subject = common_form(name)
    subject = common_form(who or "") if subject in _FIRST else subject
    value = _END.sub("", value).strip()
    if subject not in _NOBODY and len(value) > 1:
        yield Statement(subject, key, value)


def differ(values: Iterable[str]) -> bool:
    """Whether some values of one key are not all the same; "Berlin" is "the city of Berlin"."""
    forms = sorted({_ARTICLES.sub("", common_form(value)) for value in values}, key=len)
    return any(not re.search(rf"\b{re.escape(forms[0])}\b", form) for form in forms[1:])
