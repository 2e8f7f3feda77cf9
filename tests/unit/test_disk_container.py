"""The container: what was written comes back, and nothing else is taken for it."""

from __future__ import annotations

import gc
import mmap
from pathlib import Path

import pytest

from nimad.disk.container import Container, write_container
from nimad.errors import FormatCorrupt, FormatTooNew, FormatTooOld

REGIONS = [("text", [b"hello ", b"world"]), ("empty", []), ("numbers", [bytes(range(70))])]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_container(tmp_path / "box", "kind", 3, REGIONS)
    return tmp_path / "box"


def test_regions_come_back(path: Path) -> None:
    box = Container.open(path, "kind", 1, 3)
    box.verify()
    assert bytes(box.region("text")) == b"hello world"
    assert bytes(box.region("empty")) == b""
    assert bytes(box.region("numbers")) == bytes(range(70))
    assert box.version == 3
    assert box.bytes == path.stat().st_size
    assert box.region("text").readonly
    assert all(region.offset % 64 == 0 for region in box.regions.values())
    box.advise("numbers", mmap.MADV_RANDOM)


def test_equal_content_has_equal_bytes(path: Path, tmp_path: Path) -> None:
    summary = write_container(tmp_path / "again", "kind", 3, REGIONS)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()
    assert summary.digest == Container.open(path, "kind", 3, 3).digest
    other = write_container(tmp_path / "other", "kind", 3, [("text", [b"hello World"])])
    assert other.digest != summary.digest


def test_every_flipped_bit_is_found(path: Path) -> None:
    raw = path.read_bytes()
    for bit in range(len(raw) * 8):
        damaged = bytearray(raw)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises((FormatCorrupt, FormatTooNew, FormatTooOld)):
            Container.open(path, "kind", 1, 3).verify()


def test_every_missing_or_added_byte_is_found(path: Path) -> None:
    raw = path.read_bytes()
    for length in [*range(0, len(raw), 7), len(raw) - 1, len(raw) + 1]:
        path.write_bytes((raw + b"\0")[:length])
        with pytest.raises(FormatCorrupt):
            Container.open(path, "kind", 1, 3)


def test_a_region_of_other_bytes_is_named_with_both_checksums(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"hello")] ^= 1
    path.write_bytes(raw)
    box = Container.open(path, "kind", 1, 3)
    with pytest.raises(FormatCorrupt, match=r"region text has checksum \w{8}, \w{8} was written"):
        box.verify()
    box.verify(["numbers"])


def test_refusals_give_actual_and_expected(path: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatTooNew, match="version 3; this nimad reads 1 to 2"):
        Container.open(path, "kind", 1, 2)
    with pytest.raises(FormatTooOld, match="version 3; this nimad reads 4 to 5"):
        Container.open(path, "kind", 4, 5)
    with pytest.raises(FormatCorrupt, match="holds 'kind', expected 'other'"):
        Container.open(path, "other", 1, 3)
    with pytest.raises(FormatCorrupt, match="No such file"):
        Container.open(tmp_path / "missing", "kind", 1, 3)
    (tmp_path / "text").write_text("this is not a container but a line of text, long enough\n" * 3)
    with pytest.raises(FormatCorrupt, match="it begins with"):
        Container.open(tmp_path / "text", "kind", 1, 3)
    with pytest.raises(FormatCorrupt, match="no region nothing"):
        Container.open(path, "kind", 1, 3).region("nothing")


def test_what_was_mapped_outlives_the_file(path: Path) -> None:
    region = Container.open(path, "kind", 1, 3).region("numbers")
    write_container(path, "kind", 3, [("numbers", [b"other"])])
    path.unlink()
    gc.collect()
    assert bytes(region) == bytes(range(70))


def test_names_are_checked_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unique"):
        write_container(tmp_path / "box", "kind", 1, [("a", []), ("a", [])])
    with pytest.raises(ValueError, match="1 to 16"):
        write_container(tmp_path / "box", "a format name too long", 1, [])
    assert list(tmp_path.iterdir()) == []
