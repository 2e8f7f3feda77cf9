"""Who is in a store: the names in `who`, and the words that may name them."""

from __future__ import annotations

import re

NOBODY = -1

_WORD = re.compile(r"\w+")


class Subjects:
    """Names and their codes, the same however a name is cased.

    Attributes:
        codes: names, case-folded, and their codes, in the order they came.
        parts, named_by, capitals: the words of a name, the names of a word (case-folded), and
            which words of a name of several words begin with a capital letter.
    """

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}
        self.named_by: dict[str, list[str]] = {}
        self.parts: dict[str, frozenset[str]] = {}
        self.capitals: dict[str, set[str]] = {}
        self._spelled: dict[str, int] = {}

    def code(self, name: str | None) -> int:
        """The code of a name, given when it is new; NOBODY for none."""
        if not name:
            return NOBODY
        code = self._spelled.get(name)
        return self._new(name) if code is None else code

    def spellings(self) -> list[str]:
        """Every name as it was written; `code` gives the same codes for them in this order."""
        return list(self._spelled)

    def _new(self, name: str) -> int:
        folded = name.casefold()
        code = self._spelled[name] = self.codes.setdefault(folded, len(self.codes))
        spelled = _WORD.findall(name)
        if folded not in self.parts:
            self.parts[folded] = frozenset(word.casefold() for word in spelled)
            for word in self.parts[folded]:
                self.named_by.setdefault(word, []).append(folded)
        capital = {word.casefold() for word in spelled if word[:1].isupper()}
        if capital and len(spelled) > 1:
            self.capitals.setdefault(folded, set()).update(capital)
        return code
