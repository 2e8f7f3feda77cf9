"""Checkpoints without torch: both forms, every number format, strides, damage, refusals."""

from __future__ import annotations

import zipfile
from collections import Counter, OrderedDict
from datetime import UTC, time
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nimad.errors import (
    NimadError,
    SourceAltered,
    SourceCorrupt,
    SourceNotRecognised,
    SourceUnsafe,
    SourceUnsupported,
)
from nimad.legacy.files import LegacyFiles
from nimad.legacy.source import LegacyNode, Unreadable
from tests.legacy.bundles import bundle, nodes, opened, texts
from tests.legacy.checkpoints import Storage, Tensor, episode, nested, save, sign, tensor

EPISODES = [episode(number) for number in range(7)]
D = 40


@pytest.fixture
def rows() -> Any:
    return np.random.default_rng(5).standard_normal((7, D)).astype(np.float32)


@pytest.mark.parametrize("form", ["nested", "flat"])
@pytest.mark.parametrize(
    ("dtype", "precision"), [("float32", 0), ("float64", 0), ("float16", 1e-3), ("bfloat16", 1e-2)]
)
def test_the_forms_and_formats(
    tmp_path: Path, rows: Any, form: str, dtype: str, precision: float
) -> None:
    table = tensor(rows, dtype)
    names = {name: tensor(rows[n], dtype) for n, name in enumerate(("sea", "garden"))}
    value = nested(EPISODES, table, names) if form == "nested" else None
    save(tmp_path / "latest.pt", value or {"vectors": table, "metadata": EPISODES})
    with opened(tmp_path / "latest.pt", tmp_path) as files:
        totals = files.survey()
        assert (totals.nodes, totals.vectors, totals.dimension) == (7, 7, D)
        assert totals.by_layer == {"legacy_vsa": 7} and totals.notes == []
        assert texts(nodes(files)) == [each["raw_text"] for each in EPISODES]
        dense = files.dense()
        assert dense is not None and (dense.dimension, dense.block_size) == (D, None)
        assert list(dense.keys()) == [node.key for node in nodes(files)]
        np.testing.assert_allclose(dense.rows(dense.keys()), rows, rtol=precision, atol=1e-6)
        back = dense.rows(dense.keys()[::-1][:3])
        np.testing.assert_allclose(back, rows[::-1][:3], rtol=precision, atol=1e-6)
        items = {(kind, name): vector for kind, name, vector in dense.items()}
        if form == "nested":
            assert set(items) == {("filler", "sea"), ("filler", "garden")}
            np.testing.assert_allclose(items["filler", "garden"], rows[1], precision, 1e-6)
        else:
            assert items == {}
        del dense, back, items


def test_views_that_share_a_storage(tmp_path: Path, rows: Any) -> None:
    """A transposed table, a slice of a wider one, and vectors that are rows of one storage."""
    turned = Tensor(Storage(rows.T, "float32"), 0, (7, D), (1, 7))
    wide = np.concatenate([rows, rows + 1], axis=1)
    part = Tensor(Storage(wide, "float32"), 0, (7, D), (2 * D, 1))
    shared = Storage(rows, "float32")
    listed = [Tensor(shared, n * D, (D,), (1,)) for n in range(7)]
    for number, vectors in enumerate((turned, part, listed)):
        save(tmp_path / "latest.pt", {"vectors": vectors, "metadata": EPISODES})
        (tmp_path / f"{number}").mkdir()
        with opened(tmp_path / "latest.pt", tmp_path / f"{number}") as files:
            dense = files.dense()
            assert dense is not None
            np.testing.assert_array_equal(dense.rows(dense.keys()), rows)
            del dense


@pytest.mark.parametrize("kind", [list, tuple])
def test_without_vectors_the_text_is_enough(tmp_path: Path, kind: Any) -> None:
    save(tmp_path / "latest.pt", {"metadata": kind(EPISODES)})
    with opened(tmp_path / "latest.pt", tmp_path) as files:
        assert len(nodes(files)) == 7 and files.dense() is None
        assert files.survey().vectors == 0


def test_latest_and_archive_are_one(tmp_path: Path, rows: Any) -> None:
    home = tmp_path / "sessions"
    (home / "archive").mkdir(parents=True)
    older = [{**each, "importance": 0.99} for each in EPISODES[:5]]
    gone = episode(100)
    save(home / "archive" / "a.pt", nested([*older, gone], tensor(np.vstack([rows[:5], rows[:1]]))))
    save(home / "latest.pt", nested(EPISODES, tensor(rows * 2)))
    with opened(home, tmp_path) as files:
        found = nodes(files)
        assert len(found) == 8, "those of both, and the one that is only in the archive"
        assert all(node.memory.importance != 0.99 for node in found[:7]), "the newest one's fields"
        dense = files.dense()
        assert dense is not None
        due = np.vstack([rows * 2, rows[:1]])
        np.testing.assert_array_equal(dense.rows([node.key for node in found]), due)
        del dense
        keys = [node.key for node in found]
    save(home / "archive" / "b.pt", nested([episode(3), episode(50)], None))
    with opened(home, tmp_path) as files:
        assert len(nodes(files)) == 9
        assert set(keys) < {node.key for node in nodes(files)}, "keys stay when files come"


def test_the_same_twice_in_one_file_is_kept_twice(tmp_path: Path) -> None:
    save(tmp_path / "latest.pt", {"metadata": [EPISODES[0]] * 3})
    with opened(tmp_path / "latest.pt", tmp_path) as files:
        assert texts(nodes(files)) == [EPISODES[0]["raw_text"]] * 3


def test_keys_are_in_the_order_of_time(tmp_path: Path) -> None:
    timeless = episode(1, timestamp=None)
    save(tmp_path / "latest.pt", {"metadata": [timeless, *reversed(EPISODES)]})
    with opened(tmp_path / "latest.pt", tmp_path) as files:
        assert texts(nodes(files))[:7] == [each["raw_text"] for each in EPISODES]


def test_rows_without_a_whole_vector_have_none(tmp_path: Path, rows: Any) -> None:
    rows[2, 5] = np.nan
    rows[3, 0] = np.inf
    save(tmp_path / "latest.pt", {"vectors": tensor(rows[:6]), "metadata": EPISODES})
    with opened(tmp_path / "latest.pt", tmp_path) as files:
        dense, found = files.dense(), nodes(files)
        assert dense is not None
        assert list(dense.keys()) == [found[n].key for n in (0, 1, 4, 5)]
        assert files.survey().notes == ["latest.pt: 6 hypervectors for 7 memories"]
        del dense


def test_damaged_rows_are_left_out_one_by_one(tmp_path: Path) -> None:
    odd: list[Any] = [EPISODES[0], 17, {"raw_text": 5}, None, {"raw_text": b"\xff" * 3}, {}]
    save(tmp_path / "latest.pt", {"metadata": odd})
    with opened(tmp_path / "latest.pt", tmp_path) as files:
        found = files.nodes(files.mapper("x"), None, 100)
        assert sum(isinstance(node, LegacyNode) for node in found) == 2
        reasons = {node.reason for node in found if isinstance(node, Unreadable)}
        assert "its text is a number" in reasons and "it is a int, not an episode" in reasons
        assert files.survey().unreadable == 4


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["table", "list", "wide table"])
def test_vectors_that_are_arrays_of_numpy(tmp_path: Path, rows: Any, form: str) -> None:
    vectors = {"table": rows, "list": list(rows), "wide table": rows.astype(np.float64)}[form]
    save(tmp_path / "latest.pt", {"vectors": vectors, "metadata": EPISODES})
    with opened(tmp_path / "latest.pt", tmp_path) as files:
        assert files.survey().notes == []
        dense = files.dense()
        assert dense is not None
        np.testing.assert_array_equal(dense.rows(dense.keys()), rows)


def test_a_view_with_the_negative_bit(tmp_path: Path, rows: Any) -> None:
    storage = Storage(rows, "float32")
    table = Tensor(storage, 0, (7, D), (D, 1), ({"neg": True},))
    listed = [Tensor(storage, n * D, (D,), (1,), ({"neg": n % 2 == 1},)) for n in range(7)]
    signs = np.where(np.arange(7) % 2, -1, 1)[:, None]
    for number, (vectors, due) in enumerate(((table, -rows), (listed, signs * rows))):
        save(tmp_path / "latest.pt", {"vectors": vectors, "metadata": EPISODES})
        (tmp_path / f"{number}").mkdir()
        with opened(tmp_path / "latest.pt", tmp_path / f"{number}") as files:
            dense = files.dense()
            assert dense is not None
            np.testing.assert_array_equal(dense.rows(dense.keys()), due)
            del dense


class OrderedWithState(OrderedDict[str, Any]):
    """As torch's state_dict(): attributes of a dict come as its state."""

    def __reduce__(self) -> Any:
        return OrderedDict, (), {"_metadata": OrderedDict(version=1)}, None, iter(self.items())


def test_harmless_values_do_not_stop_a_file(tmp_path: Path, rows: Any) -> None:
    odd = {
        "moods": {"calm"},
        "frozen": frozenset({1, (2, "b")}),
        "bytes": bytearray(b"abc"),
        "pinned": np.bool_(True),
        "level": np.uint8(3),
        "big": np.uint64(1 << 63),
        "mood": np.str_("cälm"),
        "path": PurePosixPath("/home/maya"),
        "exact": Decimal("1.5"),
        "seen": np.datetime64("2024-05-08T10:00"),
        "words": np.array(["a", "b"]),
        "turned": np.asfortranarray(rows),
        "imaginary": 1 + 2j,
        "steps": range(3),
        "turned_round": np.arange(3, dtype=">f8"),
        "masked": np.ma.array([1, 2], mask=[0, 1]),
        "names": SimpleNamespace(a=1),
        "rest": ...,
        "share": Fraction(1, 3),
        "hour": time(7, 30, tzinfo=UTC),
        "pairs": Counter([("a", "b"), ("a", "b"), (1, ("c", None))]),
    }
    value = nested([episode(1, **odd), episode(2)], tensor(rows[:2]))
    save(tmp_path / "latest.pt", {**value, "projection": OrderedWithState(weight=tensor(rows))})
    with opened(tmp_path / "latest.pt", tmp_path) as files:
        totals = files.survey()
        assert (totals.nodes, totals.unreadable, totals.vectors) == (2, 0, 2)
        node = next(n for n in files.nodes(files.mapper("s"), None, 9) if n.key)
        assert isinstance(node, LegacyNode) and node.memory.extra is not None
        extra = node.memory.extra
        assert extra["moods"] == ["calm"] and extra["mood"] == "cälm" and extra["pinned"] is True
        assert (extra["level"], extra["big"], extra["exact"]) == (3, 1 << 63, "1.5")
        assert extra["path"] == "/home/maya" and extra["bytes"] == {"$blob": "YWJj"}
        kept = {name for name, said in extra.items() if isinstance(said, dict) and "$kept" in said}
        assert kept == {"seen", "words", "turned", "imaginary", "steps"} | {
            *("turned_round", "masked", "names", "rest")
        }
        assert (extra["share"], extra["hour"]) == ("1/3", "07:30:00")
        pairs = [[["a", "b"], 2], [[1, ["c", None]], 1]]
        assert sorted(extra["pairs"]["$pairs"], key=str) == sorted(pairs, key=str)
        assert kept == {name for name, _ in node.notes}, "and the report says so"


def refused(path: Path, into: Path) -> NimadError:
    with pytest.raises(NimadError) as caught, opened(path, into) as files:
        files.survey()
    return caught.value


def test_a_checksum_is_compared(tmp_path: Path, rows: Any) -> None:
    path = save(tmp_path / "a.pt", nested(EPISODES, tensor(rows)), checksum=True)
    with opened(path, tmp_path) as files:
        assert files.survey().notes == []
    data = bytearray(path.read_bytes())
    data[data.find(b"PK\x05\x06") + 20 : data.find(b"PK\x05\x06") + 22] = b"\1\0"
    path.write_bytes(bytes(data) + b" ")  # a comment: only the checksum can tell
    assert type(refused(path, tmp_path)) is SourceAltered
    sign(path, hmac_signature="ab" * 32)
    with opened(path, tmp_path) as files:
        (note,) = files.survey().notes
        assert "hmac_signature cannot be verified" in note, "and the sha256 counts"
    Path(f"{path}.sha256").write_text(f"{'0' * 64}  a.pt\n")
    assert type(refused(path, tmp_path)) is SourceAltered


def test_every_flipped_bit_of_the_numbers_is_found(tmp_path: Path, rows: Any) -> None:
    path = save(tmp_path / "a.pt", nested(EPISODES, tensor(rows)))
    whole = path.read_bytes()
    begin = whole.find(rows.tobytes())
    for at in (begin, begin + 513, begin + rows.nbytes - 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        error = refused(path, tmp_path)
        assert type(error) is SourceCorrupt and "data/0 in it has changed" in error.message


def test_a_file_that_is_cut_short(tmp_path: Path, rows: Any) -> None:
    path = save(tmp_path / "a.pt", nested(EPISODES, tensor(rows)))
    whole = path.read_bytes()
    for length in range(1, len(whole), 97):
        path.write_bytes(whole[:length])
        if length >= 4:
            assert type(refused(path, tmp_path)) is SourceCorrupt, length


def test_what_is_no_checkpoint_of_nimas(tmp_path: Path, rows: Any) -> None:
    path = tmp_path / "a.pt"
    save(path, {"model": tensor(rows)})
    assert type(refused(path, tmp_path)) is SourceNotRecognised
    save(path, nested(EPISODES, tensor(rows)), byteorder=b"big")
    assert type(refused(path, tmp_path)) is SourceUnsupported
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}." * 100)
    error = refused(path, tmp_path)
    assert type(error) is SourceUnsupported and "compressed" in error.message


def test_entries_that_share_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    save(path, {"metadata": EPISODES})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a/again", b"")
        pickle = archive.getinfo(next(n for n in archive.namelist() if n.endswith("data.pkl")))
        archive.getinfo("a/again").header_offset = pickle.header_offset
        archive.getinfo("a/again").file_size = pickle.file_size
        archive.getinfo("a/again").compress_size = pickle.compress_size
    error = refused(path, tmp_path)
    assert type(error) is SourceCorrupt and "share the same bytes" in error.message


def test_a_crc_of_zero_means_that_there_is_none(tmp_path: Path, rows: Any) -> None:
    path = save(tmp_path / "a.pt", nested(EPISODES, tensor(rows)))
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            crc = info.CRC.to_bytes(4, "little")
            data = data.replace(crc, bytes(4)) if info.CRC else data
    path.write_bytes(data)
    with opened(path, tmp_path) as files:
        assert files.survey().nodes == len(EPISODES)


def test_a_tensor_beyond_its_storage(tmp_path: Path, rows: Any) -> None:
    path = tmp_path / "a.pt"
    storage = Storage(rows, "float32")
    for bad in (
        Tensor(storage, 1, (7, D), (D, 1)),
        Tensor(storage, 0, (7, D), (D, 2)),
        Tensor(storage, 0, (1 << 40, D), (D, 1)),
    ):
        save(path, {"vectors": bad, "metadata": EPISODES})
        assert type(refused(path, tmp_path)) is SourceCorrupt
    storage.items *= 2  # the storage says that it is longer than its entry
    save(path, {"vectors": Tensor(storage, 0, (14, D), (D, 1)), "metadata": EPISODES})
    error = refused(path, tmp_path)
    assert type(error) is SourceCorrupt and "too short" in error.message


def test_one_bad_file_of_several_is_left_out(tmp_path: Path) -> None:
    home = tmp_path / "sessions"
    (home / "archive").mkdir(parents=True)
    save(home / "latest.pt", {"metadata": EPISODES})
    save(home / "archive" / "old.pt", {"metadata": [episode(9)]}, checksum=True)
    Path(home / "archive" / "old.pt.sha256").write_text('{"hash": "' + "0" * 64 + '"}')
    (home / "archive" / "bad.pt").write_bytes(b"PK\x03\x04nothing")
    with opened(home, tmp_path) as files:
        totals = files.survey()
        assert totals.nodes == 7
        told = {name: type(error) for name, error in totals.refused}
        assert told == {"archive/old.pt": SourceAltered, "archive/bad.pt": SourceCorrupt}
        assert len([note for note in totals.notes if "is left out" in note]) == 2


def test_a_global_is_never_looked_up(tmp_path: Path) -> None:
    path, trace = tmp_path / "a.pt", tmp_path / "trace"
    for name in ("posix\nsystem", "nt\nsystem", "builtins\neval", "torch\nload", "os\nsystem"):
        program = b"\x80\x02c" + name.encode() + b"\nX\x05\0\0\0touchq\0\x85R."
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/data.pkl", program)
        error = refused(path, tmp_path)
        assert type(error) is SourceUnsafe and name.replace("\n", ".") in error.message
    assert not trace.exists()


def test_the_bundle_can_be_read_by_tar(tmp_path: Path) -> None:
    import tarfile

    save(tmp_path / "latest.pt", {"metadata": EPISODES}, checksum=True)
    with tarfile.open(bundle(tmp_path / "latest.pt", tmp_path / "b.tar")) as archive:
        assert archive.getnames() == ["latest.pt", "latest.pt.sha256"]
        member = archive.extractfile("latest.pt")
        assert member is not None and member.read() == (tmp_path / "latest.pt").read_bytes()
    assert LegacyFiles.open(tmp_path / "b.tar").survey().nodes == 7
