"""Who is in a store: the names in `who`, and the words that may name them."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

from nimad.text import common_form, composed, signs, tokens, words_of

NO_SUBJECT = -1
"""As a code: no subject."""
DIGEST = "\ud800"
"""Begins what stands for a long name: half of a character, which no name holds."""
LONG = 256
"""Length of the longest name that a question may say.  Of a longer one only a digest is held: there
may be one of 20,000 characters in each memory [characters]."""


class Subjects:
    """Names and their codes, the same for names that are equal in the common form.

    Attributes:
        codes: names in the common form, and their codes; `held` of each.
        spelled: names as they were written, and their codes; `held` of each.
        next_code: above every code.
        parts, named_by, capitals: the tokens of a name (its signs, if it has none), the names of
            a token, and which tokens of a name of several words begin with a capital letter.
    """

    def __init__(self, next_code: int = 0, spelled: Mapping[str, int] | None = None) -> None:
        """`next_code`: above the code of each name that is entered; `spelled`: of a copy that only
        tells how names were written."""
        self.next_code = next_code
        self.codes: dict[str, int] = {}
        self.named_by: dict[str, list[str]] = {}
        self.parts: dict[str, frozenset[str]] = {}
        self.capitals: dict[str, set[str]] = {}
        self.spelled = dict(spelled or {})

    def code(self, name: str | None) -> int:
        """The code of a name, given when it is new; NO_SUBJECT for none."""
        if not name or name.isspace():
            return NO_SUBJECT
        code = self.spelled.get(held(name))
        if code is None:
            known = self.find(name)
            code = self.next_code if known is None else known
            self.next_code = max(self.next_code, code + 1)
            self.enter(name, code)
        return code

    def find(self, name: str) -> int | None:
        """The code of a name that is equal in the common form; None where none is."""
        return self.codes.get(held(common_form(name)))

    def enter(self, name: str, code: int) -> None:
        """Take a name with its code."""
        folded = held(common_form(name))
        self.codes[folded] = self.spelled[held(name)] = code
        if len(name) > LONG or folded.startswith(DIGEST):
            return
        spelled = words_of(composed(name))
        if folded not in self.parts:
            self.parts[folded] = frozenset(tokens(name) or signs(name))
            for word in self.parts[folded]:
                self.named_by.setdefault(word, []).append(folded)
        capital = {token for word in spelled if word[:1].isupper() for token in tokens(word)}
        if capital and len(spelled) > 1:
            self.capitals.setdefault(folded, set()).update(capital)


def held(name: str) -> str:
    """What stands for a name in memory: itself, or a digest, which no text is, of a long one."""
    if len(name) <= LONG:
        return name
    return DIGEST + blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
