"""Who is in a store: the names in `who`, and the words that may name them."""

from __future__ import annotations

from collections.abc import Iterable

from nimad.text import words_of

NO_SUBJECT = -1
"""As a code: no subject."""


class Subjects:
    """Names and their codes, the same however a name is cased.

    Attributes:
        codes: names, case-folded, and their codes.
        next_code: above every code.
        parts, named_by, capitals: the words of a name, the names of a word (case-folded), and
            which words of a name of several words begin with a capital letter.
    """

    def __init__(self, known: Iterable[tuple[str, int]] = (), next_code: int = 0) -> None:
        """`known`: spellings that have a code already; `next_code`: above all of them."""
        self.next_code = next_code
        self.codes: dict[str, int] = {}
        self.named_by: dict[str, list[str]] = {}
        self.parts: dict[str, frozenset[str]] = {}
        self.capitals: dict[str, set[str]] = {}
        self._spelled: dict[str, int] = {}
        for name, code in known:
            self._enter(name, code)

    def code(self, name: str | None) -> int:
        """The code of a name, given when it is new; NO_SUBJECT for none."""
        if not name:
            return NO_SUBJECT
        code = self._spelled.get(name)
        if code is None:
            code = self.codes.get(name.casefold(), self.next_code)
            self.next_code = max(self.next_code, code + 1)
            self._enter(name, code)
        return code

    def spellings(self) -> list[tuple[str, int]]:
        """Every name as it was written, and its code."""
        return list(self._spelled.items())

    def _enter(self, name: str, code: int) -> None:
        folded = name.casefold()
        self.codes[folded] = self._spelled[name] = code
        spelled = words_of(name)
        if folded not in self.parts:
            self.parts[folded] = frozenset(word.casefold() for word in spelled)
            for word in self.parts[folded]:
                self.named_by.setdefault(word, []).append(folded)
        capital = {word.casefold() for word in spelled if word[:1].isupper()}
        if capital and len(spelled) > 1:
            self.capitals.setdefault(folded, set()).update(capital)
