"""What is found below a directory, how it is packed while it changes, and hostile bundles."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nimad.errors import (
    NimadError,
    SourceChanged,
    SourceCorrupt,
    SourceMissing,
    SourceNotRecognised,
    SourceUnreadable,
)
from nimad.legacy import bundle as packing
from nimad.legacy.bundle import Bundle, strip, take_bundle
from nimad.legacy.detect import Member
from nimad.legacy.files import LegacyFiles
from nimad.legacy.snapshot import take_snapshot
from nimad.legacy.stores import find
from tests.legacy import stores
from tests.legacy.bundles import bundle
from tests.legacy.checkpoints import episode, save


def checkpoint(path: Path, checksum: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return save(path, {"metadata": [episode(1), episode(2)]}, checksum=checksum)


def test_each_store_by_itself(tmp_path: Path) -> None:
    root = tmp_path / "nima"
    checkpoint(root / "sessions" / "latest.pt", checksum=True)
    checkpoint(root / "sessions" / "archive" / "a b.pt")
    checkpoint(root / "loose" / "archive" / "only.pt")
    checkpoint(root / ".hidden" / "latest.pt")
    (root / "memory").mkdir()
    stores.small_store(root / "memory" / "graph.sqlite")
    (root / "memory" / "sparse_memory.pkl").write_bytes(b"\x80\x04}.")
    (root / "memory" / "sparse_memory.json").write_text('{"config": {"num_blocks": 1}}')
    (root / "memory" / "settings.json").write_text('{"a": 1}')
    (root / "memory" / "notes.txt").write_text("PK")
    (root / "memory" / "cache.db").write_bytes(b"no database")
    found = find(root)
    told = {
        str(store.path.relative_to(root)): [member.name for member in store.members]
        for store in found.stores
    }
    assert told == {
        "memory/graph.sqlite": [],
        "sessions": ["latest.pt", "latest.pt.sha256", "archive/a_b.pt"],
        "loose/archive": ["only.pt"],
        "memory/sparse_memory.pkl": ["sparse_memory.json", "sparse_memory.pkl"],
    }
    assert [path.name for path, _ in found.refused] == ["cache.db"]
    assert [store.path for store in find(root / "sessions" / "archive").stores] == [
        root / "sessions" / "archive"
    ]


def test_nothing_to_find(tmp_path: Path) -> None:
    with pytest.raises(SourceNotRecognised, match="no NIMA store in that directory"):
        find(tmp_path)
    with pytest.raises(SourceMissing):
        find(tmp_path / "none")


def test_links_that_lead_round_are_not_followed(tmp_path: Path) -> None:
    checkpoint(tmp_path / "a" / "latest.pt")
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    assert len(find(tmp_path).stores) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
def test_what_is_not_the_owners_is_left_alone(tmp_path: Path) -> None:
    """A link, a hard link or a checksum in a user's directory leads to what only root may read."""
    secret = tmp_path / "shadow"
    checkpoint(secret.with_suffix(".pt")).rename(secret)
    home = tmp_path / "evil"
    for name in ("link.pt", "hard.pt", "side.pt", "good.pt", "own.pt", "data.json", "log.sqlite"):
        checkpoint(home / name)
    for name in ("link.pt", "hard.pt", "data.json"):
        (home / name).unlink()
    (home / "own.pt").rename(home / "real.pt")
    (home / "own.pt").symlink_to("real.pt")
    (home / "link.pt").symlink_to(secret)
    (home / "hard.pt").hardlink_to(secret)
    (home / "side.pt.sha256").symlink_to(secret)
    (home / "data.json").symlink_to("data.json")
    stores.small_store(home / "graph.sqlite")
    (home / "graph.sqlite-journal").symlink_to(secret)
    for path in (home, *home.iterdir()):
        os.chown(path, 65534, 65534, follow_symlinks=False)
    os.chown(secret, 0, 0)
    found = find(home)
    (files, database) = sorted(found.stores, key=lambda store: store.kind)
    assert [member.name for member in files.members] == ["good.pt", "own.pt", "real.pt"]
    refused = {path.name for path, error in found.refused if type(error) is SourceUnreadable}
    assert refused == {"link.pt", "hard.pt", "side.pt"}
    with pytest.raises(SourceUnreadable, match="it is a link"):
        take_snapshot(database.path)
    member = files.members[0].path
    member.unlink()
    member.symlink_to(secret)  # between the look and the copy
    with pytest.raises(NimadError):
        take_bundle(files.members, home, tmp_path)


# --- packing --------------------------------------------------------------------------------------


def test_a_file_that_is_written_meanwhile_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkpoint(tmp_path / "latest.pt")
    good, real, copies = path.read_bytes(), packing._write, [0]

    def overtaken(*given: Any) -> None:
        copies[0] += 1
        if copies[0] <= 2:  # half of it is there while it is copied, all of it a moment later
            path.write_bytes(good[: len(good) // 2])
        real(*given)
        if copies[0] <= 2:
            path.write_bytes(good)

    monkeypatch.setattr(packing, "_write", overtaken)
    with LegacyFiles.open(bundle(path, tmp_path / "b.tar")) as files:
        assert files.survey().nodes == 2
    assert copies[0] == 3


def test_a_writer_that_never_pauses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, real = checkpoint(tmp_path / "latest.pt"), packing._write

    def overtaken(*given: Any) -> None:
        real(*given)
        path.write_bytes(path.read_bytes() + b"x")

    monkeypatch.setattr(packing, "_write", overtaken)
    with pytest.raises(SourceChanged):
        take_bundle([Member("latest.pt", path)], path, tmp_path)
    assert list(tmp_path.glob("nimad-snapshot-*")) == []


# --- hostile bundles ------------------------------------------------------------------------------


def tar(path: Path, *members: tarfile.TarInfo, data: bytes = b"") -> Path:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for member in members:
            member.size = len(data) if member.isfile() else 0
            archive.addfile(member, io.BytesIO(data))
    return path


def test_names_and_kinds_that_are_none_of_ours(tmp_path: Path) -> None:
    for name in ("../evil.pt", "/etc/passwd", "a//b", "a/./b", "a\\b"):
        with pytest.raises(SourceCorrupt):
            Bundle(tar(tmp_path / "b.tar", tarfile.TarInfo(name), data=b"x"))
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
        member = tarfile.TarInfo("a.pt")
        member.type = kind
        with pytest.raises(SourceCorrupt):
            Bundle(tar(tmp_path / "b.tar", member))
    with pytest.raises(SourceCorrupt, match="twice"):
        Bundle(tar(tmp_path / "b.tar", tarfile.TarInfo("a"), tarfile.TarInfo("a"), data=b"x"))


def test_a_bundle_that_is_cut_short(tmp_path: Path) -> None:
    path = bundle(checkpoint(tmp_path / "latest.pt"), tmp_path / "b.tar")
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1024, 211):
        path.write_bytes(whole[:length])
        with pytest.raises(NimadError):
            LegacyFiles.open(path)


def test_stripping_leaves_the_others(tmp_path: Path) -> None:
    home = tmp_path / "s"
    checkpoint(home / "latest.pt", checksum=True)
    checkpoint(home / "other.pt", checksum=True)
    path = bundle(home, tmp_path / "b.tar")
    strip(path, ["other.pt"])
    kept = Bundle(path)
    assert list(kept.files) == ["latest.pt", "latest.pt.sha256"]
    kept.close()


@pytest.fixture(scope="module")
def two_bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A bundle of a checkpoint, and one of a sparse memory."""
    place = tmp_path_factory.mktemp("fuzz")
    checkpoint(place / "latest.pt")
    text = json.dumps({"metadata": [episode(1)], "vectors": [], "config": {}})
    (place / "sparse_memory.json").write_text(text)
    names = ("latest.pt", "sparse_memory.json")
    return [bundle(place / name, place / f"{name}.tar") for name in names]


def change_bytes(two_bundles: list[Path], data: st.DataObject) -> None:
    """A bundle with up to five bytes changed is read, or refused with a reason."""
    source = data.draw(st.sampled_from(two_bundles))
    path = source.with_name("changed.tar")
    whole = bytearray(source.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(whole))
    try:
        with LegacyFiles.open(path) as files:
            files.survey()
            files.nodes(files.mapper("x"), None, 10)
    except NimadError:
        pass


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_changed_bytes_anywhere_end_in_memories_or_a_reason(
    two_bundles: list[Path], data: st.DataObject
) -> None:
    change_bytes(two_bundles, data)


@pytest.mark.slow
@given(st.data())
@settings(max_examples=500, deadline=None)
def test_many_changed_bytes_end_in_memories_or_a_reason(
    two_bundles: list[Path], data: st.DataObject
) -> None:
    change_bytes(two_bundles, data)
