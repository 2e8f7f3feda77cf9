"""What a question in Chinese or Japanese compares with: "超过170cm", "35岁及以下", "3日以上".

Who asks so looks for memories that hold another number, so none needs to hold this one.  Where no
blank ends a word, it brings pairs of characters besides ("高超", "在1"), which no memory holds
either, and a question of few words was silent for them.  With blanks one number is one word, and
what is compared ("older than 40") has to be held.
"""

from __future__ import annotations

import re

from nimad.patterns import lazy_pattern
from nimad.text import FIRST_DENSE, tokens

_NUMBER = r"[\d零一二两三四五六七八九十百千万亿億]+(?:\.\d+)?(?:[a-z]{1,3}|[^\W\d_])?"
"""With its unit."""
_COMPARED = lazy_pattern(
    rf"(?:超过|大于|高于|多于|小于|低于|少于|不到|不足|不少于|不超过|至少|最多){_NUMBER}"
    rf"|[在は]?{_NUMBER}(?:[及或和]?(?:以上|以下|以内|之上|之下)|未満|より|を超え)",
    re.IGNORECASE,
)


def compared_words(text: str) -> set[str]:
    """The tokens of a question that are there only for what it compares with."""
    if max(text, default="") < FIRST_DENSE:
        return set()
    rest = _COMPARED.sub(" ", text)
    return set() if rest == text else set(tokens(text)).difference(tokens(rest))
