"""The common form of text, and its words: the one place that says when two texts are the same.

Text is stored as it came and compared in its common form (`common_form`):

1. NFKC: composed or decomposed, full or half width, ligature or two letters are one;
2. case-folded (ß is ss), the decimal digits of every script as 0 to 9;
3. without code points that are not shown (joiners, soft hyphens, variation selectors, skin tones);
4. without marks in Latin, Greek and Cyrillic (ё is е, but й, ї and ў are letters), Hebrew points
   and Arabic vowel signs.  The vowel signs of Indic and other scripts are letters and stay, and so
   do the voicing marks of kana;
5. Arabic alef, yeh, kaf and teh marbuta in one shape, without tatweel; ı, ł, ø, đ, æ, œ as people
   write them without such a key;
6. blanks are one space, and none at the edges.

The words of it (`tokens`) are runs of letters, marks and digits.  Scripts without spaces between
words, and Hangul, whose words carry endings, are cut into overlapping pairs of characters.  Signs
that are no punctuation, emoji say, stand beside the words (`signs`): they are asked for where there
are no words, and do not count in the length of a text.

Sources: Unicode Standard Annex 15 (normalization forms), Unicode 5.18 (NFKC_Casefold); for Arabic
L. Larkey et al., Light Stemming for Arabic Information Retrieval (2007).
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect
from collections.abc import Callable
from functools import cache, lru_cache
from itertools import chain, groupby
from operator import itemgetter
from typing import Literal, TypeAlias

from nimad.patterns import lazy_pattern

FORM = f"1-{unicodedata.unidata_version}"
"""Of the rules here and of Unicode's tables: what is indexed by another one is indexed anew."""

Form: TypeAlias = Literal["NFC", "NFD", "NFKC", "NFKD"]
_KEPT = 8192
"""Code points remembered in a table: no text, however odd, makes it large."""
_SHORT = 24
"""Longest word that is remembered [characters]."""
FIRST_DENSE = "\u3000"
"""Before every sign of Chinese and Japanese."""
_WIDE = lazy_pattern("[\u3000\uff01-\uffee]+")
"""Characters of full and half width."""
_PART = lazy_pattern(r"[^\W\d_]+|\d+")
_RUN_OF_MARKS = lazy_pattern(r"(?:[^\w\s]|[\uff9e\uff9f]){64,}")
"""What may be marks, of which `unicodedata` sorts each run by insertion; the two named ones are the
only letters that become nothing but marks."""
_IGNORED = (
    (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5),
    (0x180B, 0x180F), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164),
    (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A), (0x1F3FB, 0x1F3FF), (0xE0000, 0xE0FFF),
)  # fmt: skip
"""Default_Ignorable_Code_Point, and the skin tones of emoji."""
_MARKS = (
    (0x300, 0x36F), (0x483, 0x489), (0x591, 0x5C7), (0x610, 0x61A), (0x64B, 0x65F), (0x670, 0x670),
    (0x6D6, 0x6ED), (0x898, 0x89F), (0x8CA, 0x8FF), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF),
    (0x20D0, 0x20FF), (0x2DE0, 0x2DFF), (0xA66F, 0xA67D), (0xFB1E, 0xFB1E), (0xFE20, 0xFE2F),
)  # fmt: skip
"""Where the marks stand that are taken off."""
NEAR_MARKS = (range(0x300, 0x3400), range(0xA640, 0xAC00), range(0xFB00, 0x10000))
FAR_MARKS = (
    *(range(0x10000, 0x12000), range(0x13430, 0x13460), range(0x16100, 0x17000)),
    range(0x1BC00, 0x1F000),
)
"""Where marks are looked for: blocks of ideographs, syllables and private use have none, and to
look at them all takes 5 ms of a start."""
_SHAPES = {
    **dict(zip("ıłøđ", "ilod", strict=True)),
    "æ": "ae",
    "œ": "oe",
    "ٱ": "ا",
    "ى": "ي",
    "ی": "ي",
    "ک": "ك",
    "ة": "ه",
    "ـ": "",
}
_CYRILLIC = lazy_pattern("(?:и|у)\u0306|\u0456\u0308")
"""Letters of their own that Unicode decomposes: й, ў and ї."""
_DENSE = (
    "\u0e00-\u0fff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u1950-\u19ff\u3005-\u3007\u3040-\u30ff"
    "\u3100-\u318f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\ua960-\ua97f"
    "\ua9e0-\ua9ff\uaa60-\uaadf\uac00-\ud7ff\uf900-\ufaff\U0001b000-\U0001b16f"
    "\U00020000-\U0003ffff"
)
_IDEOGRAPHS = lazy_pattern("[\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]+")
_PAIRED = lazy_pattern(f"[{_DENSE}]")
_RUN = lazy_pattern(f"[{_DENSE}]+|[^{_DENSE}]+")


ANY_ENDING = "*"
"""At the end of a term of a question: every term of the index that begins so.  No token has it."""
_BEGINNING, _ENDING = 4, 2
"""Letters that are kept of a word with endings at least, and that are cut off at most."""


class _Table(dict[int, str]):
    """What code points become, for `str.translate`; filled as they are met."""

    def __init__(self, become: Callable[[str], str]) -> None:
        super().__init__()
        self._become = become

    def __missing__(self, code: int) -> str:
        made = self._become(chr(code))
        if len(self) >= _KEPT:  # of one odd text, maybe: what comes now is to be quick, too
            self.clear()
        self[code] = made
        return made


def _within(code: int, spans: tuple[tuple[int, int], ...]) -> bool:
    """Whether a code point is in one of the spans, which ascend."""
    at = bisect(spans, code, key=itemgetter(0))
    return at > 0 and code <= spans[at - 1][1]


def _fold(letter: str) -> str:
    """What a code point of a decomposed, case-folded text is in the common form."""
    code, kind = ord(letter), unicodedata.category(letter)
    if _within(code, _IGNORED) or (kind[0] == "M" and _within(code, _MARKS)):
        return ""
    if kind == "Nd":
        return str(unicodedata.decimal(letter))
    return _SHAPES.get(letter, letter)


def _sign(letter: str) -> str:
    kind = unicodedata.category(letter)
    known = kind in ("Sc", "Sm", "So", "Co") and not letter.isascii()
    return f" {letter} " if known or kind == "Cn" else " "


_FOLDED, _SIGNS = _Table(_fold), _Table(_sign)
_WORDS = _Table(lambda letter: letter if unicodedata.category(letter)[0] in "LNM" else " ")
ASCII_WORDS = bytes(ord(_WORDS[ord(chr(code).casefold())]) for code in range(128)).ljust(256)
"""The same of ASCII, as `bytes.translate` takes it, which is faster; in small letters."""

_OTHER_BLANKS = bytes(code for code in range(128) if chr(code).isspace() and chr(code) != " ")


def normalized(form: Form, text: str) -> str:
    """`unicodedata.normalize` in time that is linear: of 40,000 marks that takes 1.4 s and holds
    the interpreter."""
    return unicodedata.normalize(form, _RUN_OF_MARKS.sub(lambda run: _sorted(form, run[0]), text))


def _sorted(form: Form, run: str) -> str:
    """A run of marks decomposed and in order: what means the same to a normalization."""
    each: Form = "NFKD" if "K" in form else "NFD"
    signs = {ord(sign): unicodedata.normalize(each, sign) for sign in {*run}}
    places = {sign: unicodedata.combining(sign) for sign in {*"".join(signs.values())}}
    if not any(places.values()):  # emoji, say
        return run
    apart, place = run.translate(signs), places.__getitem__
    parts = groupby(apart, lambda sign: place(sign) > 0)
    return "".join(chain.from_iterable(sorted(part, key=place) if m else part for m, part in parts))


def composed(text: str) -> str:
    """The text in NFC and usual width, as embedders and readers of dates get it: ordinary text is
    left as it is, capitals, marks and signs as well."""
    if text.isascii():
        return text
    return normalized("NFC", _WIDE.sub(lambda found: normalized("NFKC", found[0]), text))


def common_form(text: str) -> str:
    """The form in which texts and names are compared; of itself it is itself."""
    if text.isascii():
        return " ".join(text.casefold().split())
    # no rule looks beyond a blank, so words that were met before need not be read again
    return " ".join(" ".join(_folded(word) for word in text.split()).split())


def common_bytes(text: str) -> bytes:
    """The common form as UTF-8, quicker where a text of ASCII has but one space between words."""
    if text.isascii():
        raw = text.encode()
        if len(raw.translate(None, _OTHER_BLANKS)) == len(raw) and b"  " not in b" %b " % raw:
            return raw.lower()
    return common_form(text).encode("utf-8", "surrogatepass")


def tokens(text: str) -> list[str]:
    """The words of a text in the common form, in order, dense scripts as pairs of characters."""
    if text.isascii():
        return text.encode().translate(ASCII_WORDS).decode().split()
    return [token for word in text.split() for token in _tokens(word)]


def signs(text: str) -> list[str]:
    """The signs of a text that are no punctuation, such as emoji, each by itself.  What this
    Python's Unicode does not know yet is one."""
    return [] if text.isascii() else common_form(text).translate(_SIGNS).split()


def indexed(text: str) -> tuple[str, str]:
    """What the words index is given of a text: its tokens, and its signs, a space between any two.

    Text of ASCII is given as it is: the index cuts and folds that in the same way.  The last
    character of a dense run stands there by itself, too: so each character begins exactly one
    token, and is found by the beginnings of tokens.
    """
    if text.isascii():
        return text, ""
    found = [token for word in text.split() for token in _tokens(word, True)]
    return " ".join(found), " ".join(signs(text))


def _folded(word: str) -> str:
    return _fold_short(word) if len(word) <= _SHORT else _fold_short.__wrapped__(word)


def _tokens(word: str, all_characters: bool = False) -> tuple[str, ...]:
    cut = _cut_short if len(word) <= _SHORT else _cut_short.__wrapped__
    return cut(word, all_characters)


@lru_cache(maxsize=_KEPT)
def _fold_short(word: str) -> str:
    """The common form of what stands between two blanks."""
    word = normalized("NFKD", normalized("NFKD", word).casefold())
    if "\u0306" in word or "\u0308" in word:
        word = _CYRILLIC.sub(lambda found: unicodedata.normalize("NFC", found[0]), word)
    return normalized("NFC", word.translate(_FOLDED))


@lru_cache(maxsize=_KEPT)
def _cut_short(word: str, all_characters: bool) -> tuple[str, ...]:
    """Its tokens; with `all_characters` the last one of a dense run, too, as `indexed` has it."""
    found: list[str] = []
    for part in _folded(word).translate(_WORDS).split():
        for run in _RUN.findall(part):
            dense = is_paired(run)
            found += pairs(run) if dense else [run]
            if dense and all_characters and len(run) > 1:
                found.append(run[-1])
    return tuple(found)


def pairs(run: str) -> list[str]:
    """A run of a dense script as overlapping pairs; one character alone stays alone."""
    return [run[n : n + 2] for n in range(len(run) - 1)] or [run]


def is_paired(token: str) -> bool:
    """Whether a token is of a dense script."""
    return not token.isascii() and _PAIRED.match(token) is not None


def is_ideographs(token: str) -> bool:
    """Whether a token is a pair of ideographs, which are Chinese, or of Japanese Chinese words."""
    return len(token) == 2 and _IDEOGRAPHS.fullmatch(token) is not None


def asked_for(token: str) -> str:
    """What a question asks for that has a token: words of Cyrillic, Greek and other scripts with
    endings, that the stemmer of the words index does not know, by their beginning.

    Cutting words short does for them what a stemmer of each language would; J. McNamee and P.
    Mayfield, Character N-Gram Tokenization for European Language Text Retrieval (2004).
    """
    if token[:1] < "\u0370" or is_paired(token):
        return token
    kept = max(_BEGINNING, len(token) - _ENDING)
    return token if len(token) <= kept else token[:kept] + ANY_ENDING


def beginning(term: str) -> str | None:
    """What all terms begin with that a term of a question stands for; None for one that stands for
    itself alone.  One character of a dense script is looked for as the beginning of pairs."""
    if term.endswith(ANY_ENDING):
        return term.removesuffix(ANY_ENDING)
    return term if len(term) == 1 and is_paired(term) else None


@cache
def word_pattern(ascii_only: bool) -> re.Pattern[str]:
    """A word as it is written, in texts of ASCII or in any: letters, digits, underscores, marks."""
    return re.compile(r"\w+" if ascii_only else rf"(?:[\w{marks()}]|[{marks(FAR_MARKS)}])+")


@cache
def marks(places: tuple[range, ...] = NEAR_MARKS) -> str:
    """The marks that may stand in a word, for a set of characters in a regular expression.  Sets
    that lie within the first 65,536 code points are looked up at once, others are searched."""
    found: list[list[str]] = []
    for letter in map(chr, chain(*places)):
        if unicodedata.category(letter)[0] == "M" and not _within(ord(letter), _IGNORED):
            if found and ord(found[-1][1]) + 1 == ord(letter):
                found[-1][1] = letter
            else:
                found.append([letter, letter])
    return "".join(f"{low}-{high}" for low, high in found)


def words_of(text: str) -> list[str]:
    """The words of a text in order, as they are written."""
    return word_pattern(text.isascii()).findall(text)


def letters_and_numbers(text: str) -> list[str]:
    """The runs of letters and the runs of digits, in order: "8th" is "8" and "th"."""
    return _PART.findall(text)
