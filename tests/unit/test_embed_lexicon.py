"""The lexicon: its file, what is found in it, and what texts of other languages become by it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nimad.config import Config
from nimad.core import maintenance
from nimad.core import store as core_store
from nimad.core.store import MemoryStore
from nimad.embed.lexicon import LONGEST, Lexicon, place, read_lexicon, write_lexicon
from nimad.embed.registry import get_embedder
from nimad.embed.static import LEXICON, TABLE, StaticEmbedder
from nimad.embed.table import read_table, write_table
from nimad.errors import TableDamaged
from nimad.model import Memory
from tests.samples.languages import LANGUAGES, parts
from tests.unit.test_embed_table import small_table


def lexicon_of(words: dict[str, tuple[int, int, int, int]], slots: int, table: str) -> Lexicon:
    """A lexicon of some words, filled as the format says."""
    checks, entries = np.zeros(slots, np.uint32), np.zeros((slots, 4), np.uint16)
    for word, entry in words.items():
        slot, check = place(word, slots)
        while checks[slot]:
            slot = (slot + 1) % slots
        checks[slot], entries[slot] = check, entry
    return Lexicon(table, checks, entries, np.zeros(4, np.int8))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A table of four tokens, "!", "house", "boat" and "##boat", with a lexicon of one word."""
    path = tmp_path / "small.tokens"
    table = write_table(path, small_table()).digest
    lexicon = lexicon_of({"haus": (1, 1, 2, 1)}, 3, table)
    write_lexicon(path.with_suffix(".lexicon"), lexicon)
    return path


def test_reads_what_was_written(path: Path) -> None:
    table = read_table(path).digest
    wrote, read = (
        lexicon_of({"haus": (1, 1, 2, 1)}, 3, table),
        read_lexicon(path.with_suffix(".lexicon"), table),
    )
    for name in ("checks", "entries", "votes"):
        assert np.array_equal(getattr(read, name), getattr(wrote, name))
        assert not getattr(read, name).flags.writeable
    again = path.with_name("again.lexicon")
    assert write_lexicon(again, read).digest == read.digest
    assert again.read_bytes() == path.with_suffix(".lexicon").read_bytes()


@given(st.sets(st.text(min_size=1, max_size=LONGEST), max_size=60), st.text(max_size=40))
def test_every_word_is_found_and_no_other(words: set[str], other: str) -> None:
    lexicon = lexicon_of(dict.fromkeys(words, (0, 0, 0, 0)), len(words) + 1, "")
    found = [lexicon.find(word) for word in words]
    assert None not in found and len(set(found)) == len(words)
    assert (lexicon.find(other) is not None) == (other in words)


def test_a_lexicon_of_another_table_and_a_damaged_one_are_refused(path: Path) -> None:
    file = path.with_suffix(".lexicon")
    with pytest.raises(TableDamaged, match="it was made for the tokens"):
        read_lexicon(file, "of another")
    whole = file.read_bytes()
    for at in range(0, len(whole), 37):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with pytest.raises(TableDamaged, match=r"small\.lexicon is damaged"):
            StaticEmbedder(path).check()
    file.unlink()
    with pytest.raises(TableDamaged, match=r"small\.lexicon"):
        StaticEmbedder(path)


def test_a_word_counts_as_its_tokens_by_their_shares(path: Path) -> None:
    table = small_table()
    vectors = table.rows.astype(float) * table.weights[:, None]
    expected = 8 * vectors[1] + 4 * vectors[1] + 2 * vectors[2] + 2 * vectors[1]
    expected = expected + 16 * vectors[2]
    expected /= np.linalg.norm(expected)
    found = StaticEmbedder(path).embed(["Haus boat", "haus boat", "boat HAUS?"])
    assert np.allclose(found, expected, atol=1e-6)


def test_the_revision_tells_both_tables(path: Path) -> None:
    file = path.with_suffix(".lexicon")
    lexicon = read_lexicon(file, read_table(path).digest)
    first = StaticEmbedder(path).revision
    write_lexicon(file, replace(lexicon, votes=np.ones(4, np.int8)))
    assert StaticEmbedder(path).revision != first


# --- the shipped one -------------------------------------------------------------------------

TAUGHT = ("german", "french", "spanish", "italian", "portuguese", "dutch", "polish", "russian")
TAUGHT += ("turkish", "arabic", "chinese", "japanese", "korean", "thai")
LEAST = {"korean": 7, "thai": 7}
"""Questions of ten whose English note is among the three nearest: 8, but for these."""


@pytest.mark.parametrize("language", [name for name in TAUGHT if name in LANGUAGES])
def test_english_notes_are_near_to_questions_in_another_language(language: str) -> None:
    embed = get_embedder("static").embed
    notes, asked = embed(parts("english")[0]), embed(parts(language)[1])
    best = np.argsort(-(asked @ notes.T), axis=1)[:, :3]
    assert sum(n in row for n, row in enumerate(best)) >= LEAST.get(language, 8)


def test_english_is_what_it_would_be_without_the_lexicon(tmp_path: Path) -> None:
    table = read_table(TABLE)
    (tmp_path / TABLE.name).symlink_to(TABLE)
    empty = replace(
        read_lexicon(LEXICON, table.digest),
        checks=np.zeros(1, np.uint32),
        entries=np.zeros((1, 4), np.uint16),
    )
    write_lexicon(tmp_path / LEXICON.name, empty)
    texts = [text for part in parts("english") for text in part]
    texts += ["The Mona Lisa hangs in the café of the Musée d'Orsay.", "12:30!"]
    texts += ["chmod -R 775 /var/www && ls src_dir/das.tar", "He met Tom at the bar in Berlin."]
    bare = StaticEmbedder(tmp_path / TABLE.name)
    assert np.array_equal(get_embedder("static").embed(texts), bare.embed(texts))


def test_words_are_read_once_in_an_import_and_forgotten_at_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To give back what texts left behind costs no word of the texts that follow."""
    looked_up: list[str] = []
    find = Lexicon.find

    def counted(lexicon: Lexicon, word: str) -> int | None:
        looked_up.append(word)
        return find(lexicon, word)

    monkeypatch.setattr(Lexicon, "find", counted)
    monkeypatch.setattr(core_store, "TEXT", 1)
    settings = Config().replace(embedder="static", graph__engine="none")
    store = MemoryStore.open(tmp_path / "state", settings)
    found = []
    for number in range(3):
        if number != 1:  # other tests have read some of the words, too
            maintenance.rest(store)
        before = len(looked_up)
        store.remember(Memory("Der Kessel steht auf dem Herd."))
        found.append(len(looked_up) - before)
    store.close()
    assert found[0] == found[2] > 0 == found[1]


def test_the_lexicon_is_small() -> None:
    assert LEXICON.stat().st_size <= 8_000_000
