"""The token table's file: what was written is what is read, or a clear refusal."""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.disk.container import write_container
from nimad.embed import registry, static
from nimad.embed.lexicon import Lexicon, write_lexicon
from nimad.embed.static import StaticEmbedder
from nimad.embed.table import FORMAT, VERSION, TokenTable, read_table, write_table
from nimad.embed.wordpiece import Span
from nimad.errors import FormatCorrupt, TableDamaged
from nimad.model import Memory


def small_table() -> TokenTable:
    tokens = ["!", "house", "boat", "##boat"]
    rows = np.random.default_rng(1).integers(-127, 128, (len(tokens), 256)).astype(np.int8)
    weights = np.array([10, 3000, 4095, 2000], np.uint16)
    spans = [Span(32, 32, " "), Span(33, 33, None), Span(0xE0, 0xE5, "a"), Span(0xFFFD, 0xFFFD, "")]
    return TokenTable(tokens, spans, rows, weights, first=999, hashed=7000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "small.tokens"
    write(path, small_table())
    return path


def write(path: Path, table: TokenTable) -> None:
    """Write a table, and a lexicon without words beside it."""
    digest = write_table(path, table).digest
    none = np.zeros(1, np.uint32), np.zeros((1, 4), np.uint16), np.zeros(4, np.int8)
    write_lexicon(path.with_suffix(".lexicon"), Lexicon(digest, *none))


def test_reads_what_was_written(path: Path) -> None:
    wrote, read = small_table(), read_table(path)
    assert (read.tokens, list(read.spans)) == (wrote.tokens, wrote.spans)
    assert (read.first, read.hashed) == (wrote.first, wrote.hashed)
    assert np.array_equal(read.rows, wrote.rows)
    assert np.array_equal(read.weights, wrote.weights)
    assert not read.rows.flags.writeable


def test_writing_is_deterministic_and_the_digest_follows_the_content(path: Path) -> None:
    again = path.with_name("again.tokens")
    write(again, small_table())
    assert again.read_bytes() == path.read_bytes()
    write(again, replace(small_table(), hashed=7001))
    assert read_table(again).digest != read_table(path).digest
    assert StaticEmbedder(again).revision != StaticEmbedder(path).revision


def test_a_vector_is_the_weighted_sum_of_its_tokens(path: Path) -> None:
    table = small_table()
    vectors = table.rows.astype(float) * table.weights[:, None]
    expected = vectors[1] + vectors[3] + vectors[0]
    expected /= np.linalg.norm(expected)
    found = StaticEmbedder(path).embed(["houseboat !", "houseboat!"])
    assert np.allclose(found, expected, atol=1e-6)


def test_every_changed_byte_is_found(path: Path) -> None:
    whole = path.read_bytes()
    for at in range(0, len(whole), 37):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with pytest.raises(TableDamaged, match=r"small\.tokens is damaged"):
            read_table(path)
        with pytest.raises(TableDamaged, match=r"small\.tokens is damaged"):
            StaticEmbedder(path).check()


@pytest.mark.parametrize("size", [0, 10, 500, -1])
def test_a_file_cut_short_is_refused(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(TableDamaged):
        StaticEmbedder(path)


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FormatCorrupt) as caught:
        StaticEmbedder(tmp_path / "absent.tokens")
    assert "absent.tokens" in caught.value.message
    assert "install nimad again" in caught.value.next_step


def test_another_version_and_another_format_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.tokens"
    write_container(path, FORMAT, VERSION + 1, [("numbers", [b""])])
    with pytest.raises(TableDamaged, match="format version 2, this nimad reads 1"):
        read_table(path)
    write_container(path, "segment", VERSION, [("numbers", [b""])])
    with pytest.raises(TableDamaged, match="segment"):
        read_table(path)


def test_a_whole_file_whose_parts_do_not_fit_is_refused(path: Path) -> None:
    table = small_table()
    write_table(path, replace(table, weights=table.weights[:-1]))
    with pytest.raises(TableDamaged, match="4 tokens, 4 rows, 3 weights"):
        read_table(path)
    write_table(path, replace(table, rows=table.rows[:, :100]))
    with pytest.raises(TableDamaged, match="does not fit together"):
        read_table(path)
    write_container(path, FORMAT, VERSION, [("numbers", [b"123"])])
    with pytest.raises(TableDamaged, match="does not fit together"):
        read_table(path)


# --- a store on a damaged table ------------------------------------------------------------------


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """The shipped table with a flipped bit among its vectors, which no start compares."""
    for source in (static.TABLE, static.LEXICON):
        shutil.copyfile(source, tmp_path / source.name)
    path = tmp_path / static.TABLE.name
    with path.open("r+b") as file:
        file.seek(4_000_000)
        byte = file.read(1)[0]
        file.seek(4_000_000)
        file.write(bytes([byte ^ 1]))
    return path


def test_no_vector_comes_from_a_damaged_table(
    damaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memories are kept and found by words, and `degraded` tells why; later they get vectors."""
    settings = Config().replace(graph__engine="none")

    def opened(table: Path) -> closing[MemoryStore]:
        monkeypatch.setattr(registry, "_made", {})
        monkeypatch.setattr(static.StaticEmbedder, "create", lambda _: static.StaticEmbedder(table))
        return closing(MemoryStore.open(tmp_path / "state", settings))

    with pytest.raises(TableDamaged, match=r"static\.tokens is damaged"), opened(damaged):
        pass  # nothing has vectors yet
    with opened(static.TABLE) as store:
        old = store.remember(Memory("The kettle is in the shed"))
    with opened(damaged) as store:
        new = store.remember(Memory("The anvil is in the barn"))
        for words, found in (("kettle shed", old), ("anvil barn", new)):
            answer = store.query(words)
            assert [hit.memory.id for hit in answer.hits] == [found]
            assert "embedder" in answer.degraded
        assert "static.tokens is damaged" in store.degraded()["embedder"]
        assert store.blocks.ids().tolist() == []  # a start encodes the latest again
    with opened(static.TABLE) as store:
        assert store.blocks.ids().tolist() == [old, new] and not store.degraded()
