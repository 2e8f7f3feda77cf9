"""Which memories a rule names: `layer=contemplation and before=90d`, as people write it.

    term {"and" term}      term: field "=" value      a value with blanks stands in quotes

The fields are those that a query filters by, and two of their own:

============== =====================================================================
field          holds for a memory
============== =====================================================================
who, where     of that speaker, at that place, whatever the case of letters
layer          input, contemplation, output, legacy_vsa or note
namespace      of that namespace;  agent: that belongs to that agent
origin         owner, agent, untrusted, system, imported or unknown; twice: either
tag            that has that tag; twice: both
before, after  that happened before, or since, a date or an age (90d)
stored_before  that was stored before
found=never    that was in no answer so far
============== =====================================================================

What has no date passes no term of time.
"""

from __future__ import annotations

import re
from datetime import UTC, tzinfo
from typing import Any

from nimad import when
from nimad.dataclass import dataclass
from nimad.model import LAYERS, MAX_NAME, ORIGINS, UNKNOWN, Filter, now_ms
from nimad.namespaces import Namespaces
from nimad.patterns import lazy_pattern

MAX_LENGTH = 4000
"""Length of the longest selection [characters]."""
NAMES = ("who", "where", "layer", "namespace", "agent")
MANY = ("origin", "tag")
DATES = ("before", "after", "stored_before")
FIELDS = (*NAMES, *MANY, *DATES, "found")
CHOICES = {"layer": LAYERS, "origin": (*ORIGINS, UNKNOWN), "found": ("never",)}
_TERM = lazy_pattern(r"""\s*(\w+)\s*=\s*("[^"]*"|'[^']*'|[^\s"'=]+)\s*(and\s|\Z)""", re.IGNORECASE)


@dataclass(frozen=True)
class Selection:
    """What a rule names; made by `read`.  `terms` are (field, value), in their order."""

    terms: tuple[tuple[str, str], ...]

    @property
    def fields(self) -> str:
        """The names of its fields, none of its values: for a log."""
        return " and ".join(dict.fromkeys(name for name, _ in self.terms))

    @property
    def never_found(self) -> bool:
        """Whether only what was in no answer is meant."""
        return ("found", "never") in self.terms

    def filter(self, now: int, zone: tzinfo, within: Namespaces | None = None) -> Filter:
        """The filter that it is at a time [epoch milliseconds]; `stored_before` and `found` are
        none of a filter."""
        one = dict(self.terms)
        return Filter(
            who=one.get("who"),
            where=one.get("where"),
            layer=one.get("layer"),
            namespace=one.get("namespace"),
            agent=one.get("agent"),
            origin=tuple(value for name, value in self.terms if name == "origin"),
            tags=tuple(value for name, value in self.terms if name == "tag"),
            after=self.moment("after", now, zone),
            before=self.moment("before", now, zone),
            within=within,
        )

    def moment(self, field: str, now: int, zone: tzinfo) -> int | None:
        """The first moment of the date in a field [epoch milliseconds]; None where it has none."""
        value = dict(self.terms).get(field)
        return None if value is None else when.read(value, now, zone).first


def read(text: Any) -> Selection:
    """The selection that a text is; ValueError("must ...") says what is wrong with it."""
    if not isinstance(text, str) or not 0 < len(text) <= MAX_LENGTH:
        raise ValueError("must be text such as layer=contemplation and before=90d")
    terms: list[tuple[str, str]] = []
    place, more = 0, True
    while more:
        found = _TERM.match(text, place)
        if found is None:
            raise ValueError('must be terms such as layer=contemplation, joined by "and"')
        name, value, joint = found[1].lower(), found[2], found[3]
        if value[0] in "\"'":
            value = value[1:-1]
        if name in dict(terms) and name not in MANY:
            raise ValueError(f"must name {name} once")
        if name not in FIELDS:
            raise ValueError(f"must name fields among {', '.join(FIELDS)}")
        if name in CHOICES and value not in CHOICES[name]:
            raise ValueError(f"must name as {name} one of {', '.join(CHOICES[name])}")
        if not 0 < len(value.strip()) <= MAX_NAME:
            raise ValueError(f"must name a {name}")
        if name in DATES:
            try:
                when.read(value, now_ms(), UTC)
            except ValueError as error:
                raise ValueError(f"must give {name} a date: it {error}") from None
        terms.append((name, value))
        place, more = found.end(), bool(joint)
    return Selection(tuple(terms))


def read_rules(value: Any) -> tuple[Selection, ...]:
    """The rules of the configuration; ValueError says which one is wrong."""
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)):
        raise ValueError("must be a list of rules")
    rules = []
    for number, each in enumerate(value, 1):
        try:
            rules.append(each if isinstance(each, Selection) else read(each))
        except ValueError as error:
            raise ValueError(f"(rule {number}) {error}") from None
    return tuple(rules)
