"""The file of a backup: every byte counts, others read it too, and nothing hostile gets through."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import tarfile
import zlib
from pathlib import Path

import pytest

from nimad.disk import backup_file
from nimad.disk.backup_file import BackupReader, BackupWriter
from nimad.errors import BackupDamaged, BackupTooNew
from tests.system.tools import need

FILES = {
    "records.sqlite": b"SQLite" * 90,
    "snapshots/old graph.tar": b"",
    f"snapshots/{'ä' * 100}.sqlite": b"x" * 512,
    "dense/dns-1.nsd": b"\0" * 700,
}


def written(files: dict[str, bytes] = FILES) -> bytes:
    made = io.BytesIO()
    sizes = {name: len(data) for name, data in files.items()}
    writer = BackupWriter(made, {"memories": 3}, sizes)
    for name, data in files.items():
        writer.add(name, len(data), [data[:100], data[100:]])
    writer.finish()
    assert writer.bytes == len(made.getvalue())
    return made.getvalue()


def read(data: bytes) -> dict[str, bytes]:
    reader = BackupReader(io.BytesIO(data), "b.tar.gz")
    return {name: b"".join(chunks) for name, _, chunks in reader.files()}


@pytest.mark.parametrize(
    "name", ["records.sqlite", "x" * 100, "x" * 101, "ä" * 60, "dense/" + "y" * 240]
)
def test_headers_are_those_of_tar(name: str) -> None:
    for size in (0, 1, 8**11 - 1, 8**11, 1 << 45):
        made = tarfile.TarInfo(name)
        made.size, made.mode = size, 0o600
        assert backup_file.header(name, size) == made.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")


def test_what_was_written_is_read() -> None:
    assert read(written()) == FILES


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_the_size_of_the_pieces_does_not_matter(
    monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    data = written()
    monkeypatch.setattr(backup_file, "CHUNK", chunk)
    assert read(data) == FILES


def test_tar_and_sha256sum_read_it_too(tmp_path: Path) -> None:
    (tmp_path / "b.tar.gz").write_bytes(written())
    subprocess.run([need("tar", "tar"), "xzf", "b.tar.gz"], cwd=tmp_path, check=True)
    told = subprocess.run(
        ["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=tmp_path, capture_output=True
    )
    assert told.returncode == 0 and told.stdout.count(b": OK") == len(FILES) + 1
    assert (tmp_path / "records.sqlite").read_bytes() == FILES["records.sqlite"]


def test_each_flipped_byte_is_refused() -> None:
    data = written()
    for at in range(len(data)):
        for bits in (0x01, 0x80, 0xFF):
            flipped = bytearray(data)
            flipped[at] ^= bits
            with pytest.raises(BackupDamaged, match=r"b\.tar\.gz"):
                read(bytes(flipped))


def test_each_shorter_and_each_longer_file_is_refused() -> None:
    data = written()
    for length in range(len(data)):
        with pytest.raises(BackupDamaged):
            read(data[:length])
    for more in (b"\0", gzip.compress(b""), data):
        with pytest.raises(BackupDamaged):
            read(data + more)


def resealed(tar: bytes) -> bytes:
    """A tar as a backup whose checksum of the whole is right."""
    deflate = zlib.compressobj(1, zlib.DEFLATED, 31)
    body = deflate.compress(tar) + deflate.flush()
    return body + backup_file.trailer(backup_file.hashlib.sha256(body).hexdigest())


def test_a_tar_that_is_sealed_anew_is_read_only_as_we_write_it() -> None:
    tar = gzip.decompress(written())
    assert read(resealed(tar)) == FILES
    begin = tar.index(b"records.sqlite", 1024)  # its header: the manifest is before it
    for change in (
        tar.replace(b"SQLite", b"sQLite", 1),
        tar + bytes(512),
        tar[:-512],
        tar[:begin] + b"/etc/passwd\0\0\0" + tar[begin + 14 :],
        tar[: begin + 156] + b"2" + tar[begin + 157 :],  # a link
    ):
        with pytest.raises(BackupDamaged):
            read(resealed(change))


@pytest.mark.parametrize(
    "name",
    ["../x", "snapshots/../x", "/etc/x", "dense/.x", "snapshots/a/b", "other", "dense/a\nb", ""],
)
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(BackupDamaged, match="it would write"):
        read(written({"records.sqlite": b"x", name: b"y"}))


def with_manifest(text: str) -> bytes:
    data = text.encode()
    tar = backup_file.header("manifest.json", len(data)) + data + backup_file.filler(len(data))
    return resealed(tar + bytes(1024))


@pytest.mark.parametrize(
    "manifest",
    [
        "{}",
        "[]",
        "null",
        "[" * 100_000,
        '{"format": 1, "files": []}',
        '{"format": 1, "files": [{"name": "records.sqlite", "bytes": -1}]}',
        '{"format": 1, "files": [{"name": "records.sqlite", "bytes": 1e3}]}',
        '{"format": 1, "files": [{"name": "dense/x", "bytes": 1}]}',
        json.dumps({"format": 1, "files": [{"name": "records.sqlite", "bytes": 1}] * 2}),
        '{"format": 1, "files": [{"name": "records.sqlite", "bytes": 1}]}',
        "x" * (backup_file.MAX_MANIFEST + 1),
    ],
)
def test_manifests_that_are_none_are_refused(manifest: str) -> None:
    with pytest.raises(BackupDamaged):
        read(with_manifest(manifest))


def test_a_newer_format_is_told_as_such() -> None:
    with pytest.raises(BackupTooNew, match="version 2"):
        read(with_manifest('{"format": 2, "files": [{"name": "records.sqlite", "bytes": 1}]}'))


def test_other_files_are_refused(tmp_path: Path) -> None:
    foreign = io.BytesIO()
    with tarfile.open(fileobj=foreign, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("records.sqlite"))
    for data in (b"", b"x" * 500, foreign.getvalue(), gzip.compress(b"x" * 5000)):
        with pytest.raises(BackupDamaged):
            read(data)


def test_a_file_of_another_size_is_a_bug_and_no_backup() -> None:
    writer = BackupWriter(io.BytesIO(), {}, {"records.sqlite": 5})
    with pytest.raises(ValueError, match="3 bytes instead of 5"):
        writer.add("records.sqlite", 5, [b"abc"])
