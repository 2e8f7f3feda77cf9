"""Laws of the common form: for random texts of random scripts, as they may come."""

from __future__ import annotations

import tempfile
import unicodedata
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from nimad.embed.registry import get_embedder
from nimad.model import Memory
from nimad.store.records import Records
from nimad.text import (
    FAR_MARKS,
    NEAR_MARKS,
    _Table,
    common_bytes,
    common_form,
    composed,
    indexed,
    marks,
    tokens,
)

SCRIPTS = [
    (0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x52F), (0x591, 0x5F4),
    (0x600, 0x6FF), (0x900, 0x97F), (0x980, 0xDFF), (0xE00, 0xE7F), (0xE80, 0xFFF),
    (0x1000, 0x11FF), (0x1780, 0x17FF), (0x1E00, 0x1FFF), (0x2000, 0x27BF), (0x3040, 0x30FF),
    (0x4E00, 0x4FFF), (0xAC00, 0xADFF), (0xFB00, 0xFFEF), (0x1F300, 0x1FAFF), (0xE0100, 0xE01EF),
]  # fmt: skip
LETTERS = st.sampled_from(SCRIPTS).flatmap(lambda span: st.integers(*span)).map(chr)
TEXTS = st.lists(LETTERS, min_size=1, max_size=16).map("".join)
ANY = st.text(max_size=16)


@given(TEXTS | ANY)
@settings(max_examples=400, deadline=None)
def test_the_common_form_of_itself_is_itself(text: str) -> None:
    form = common_form(text)
    assert common_form(form) == form
    assert tokens(form) == tokens(text)
    assert tokens(" ".join(tokens(text))) == tokens(text)
    assert text.isascii() or set(tokens(text)) <= set(indexed(text)[0].split())


@settings(deadline=None)
@given(st.text(max_size=20) | st.text(" \t\n\v\f\r\x1c\x1d\x1e\x1fAb\0_", max_size=8))
def test_the_common_form_as_bytes_is_that_of_the_text(text: str) -> None:
    assert common_bytes(text) == common_form(text).encode("utf-8", "surrogatepass")


@given(TEXTS | ANY)
@settings(max_examples=400, deadline=None)
def test_normal_forms_are_one(text: str) -> None:
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert common_form(unicodedata.normalize(form, text)) == common_form(text)
    assert common_form(composed(text)) == common_form(text)


@given(TEXTS)
@settings(max_examples=100, deadline=None)
def test_vectors_do_not_depend_on_the_normal_form(text: str) -> None:
    for name in ("static", "hash"):
        rows = get_embedder(name).embed([unicodedata.normalize(f, text) for f in ("NFC", "NFD")])
        assert (rows[0] == rows[1]).all()


@given(st.lists(TEXTS, min_size=1, max_size=5))
@settings(max_examples=25, deadline=None)
def test_what_is_stored_comes_back_byte_for_byte(texts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        records = Records.open(Path(directory) / "records.sqlite")
        with records.write() as tx:
            tx.add_memories([Memory(text, who=text, where=text, tags=(text,)) for text in texts])
        kept = records.get(range(1, len(texts) + 1)).values()
        assert [(m.text, m.who, m.where, m.tags) for m in kept] == [
            (text, text, text, (text,)) for text in texts
        ]
        records.close()


def test_no_mark_is_missed_where_none_is_looked_for() -> None:
    """Of the Unicode of this Python."""
    assert marks(NEAR_MARKS) == marks((range(0x300, 0x10000),))
    assert marks(FAR_MARKS) == marks((range(0x10000, 0x1F000),))


def test_what_comes_after_a_text_of_many_letters_is_remembered() -> None:
    """A table that an odd text had filled would look each later letter up again, for ever."""
    asked: list[str] = []

    def become(letter: str) -> str:
        asked.append(letter)
        return letter

    table = _Table(become)
    many = "".join(map(chr, range(0x4E00, 0x4E00 + 20_000)))
    assert many.translate(table) == many and len(table) < 10_000
    asked.clear()
    assert ("ё" * 1000).translate(table) == "ё" * 1000 and len(asked) == 1
