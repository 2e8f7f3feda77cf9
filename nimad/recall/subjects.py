"""Who is in a store: the names in `who`, and the words that may name them."""

from __future__ import annotations

from collections.abc import Iterable

from nimad.text import common_form, composed, tokens, words_of

NO_SUBJECT = -1
"""As a code: no subject."""


class Subjects:
    """Names and their codes, the same for names that are equal in the common form.

    Attributes:
        codes: names in the common form, and their codes.
        next_code: above every code.
        parts, named_by, capitals: the tokens of a name, the names of a token, and which tokens of
            a name of several words begin with a capital letter.
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
        if not name or name.isspace():
            return NO_SUBJECT
        code = self._spelled.get(name)
        if code is None:
            code = self.codes.get(common_form(name), self.next_code)
            self.next_code = max(self.next_code, code + 1)
            self._enter(name, code)
        return code

    def spellings(self) -> list[tuple[str, int]]:
        """Every name as it was written, and its code."""
        return list(self._spelled.items())

    def _enter(self, name: str, code: int) -> None:
        folded = common_form(name)
        self.codes[folded] = self._spelled[name] = code
        spelled = words_of(composed(name))
        if folded not in self.parts:
            self.parts[folded] = frozenset(tokens(name))
            for word in self.parts[folded]:
                self.named_by.setdefault(word, []).append(folded)
        capital = {token for word in spelled if word[:1].isupper() for token in tokens(word)}
        if capital and len(spelled) > 1:
            self.capitals.setdefault(folded, set()).update(capital)
