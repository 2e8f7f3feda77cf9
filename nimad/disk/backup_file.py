"""The file of a backup: a compressed tar, all of whose bytes are accounted for.

`tar xzf` unpacks it and `sha256sum -c SHA256SUMS` checks what came out, without nimad.

============== =====================================================================================
part           what it is
============== =====================================================================================
gzip member 1  a tar in GNU's form, with nothing but these files, each of mode 0600, owner 0, time 0
manifest.json  {"format": 1, "files": [{"name", "bytes"}], ...}: the files that follow, in order
records.sqlite the records
the others     `snapshots/NAME`, `dense/NAME`: what the records name and nothing can make anew
SHA256SUMS     a line for each of the above, as sha256sum(1) writes it
gzip member 2  no bytes; its comment is `sha256:` and the SHA-256 of gzip member 1
============== =====================================================================================

The reader parses nothing but the manifest: every header, every filler and gzip member 2 follow from
it, and are compared with what is there.  So any other byte anywhere is found, links and names that
lead elsewhere cannot be said, and what comes out is as long as the manifest tells, or refused.
That says nothing of who made it: what it holds is checked before it is used
(nimad/backup/restoring.py).
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, NoReturn

from nimad.errors import BackupDamaged, BackupTooNew

FORMAT = 1
RECORDS, MANIFEST, SUMS = "records.sqlite", "manifest.json", "SHA256SUMS"
NAME = re.compile(r"records\.sqlite|(snapshots|dense)/[^/\x00-\x1f.][^/\x00-\x1f]{0,250}")
"""Names of files in it; nimad/backup/restoring.py is stricter."""
MAX_MANIFEST = 1 << 20
"""Size of the largest manifest [bytes]."""
MAX_FILES = 5000
"""Number of files in a backup [files]."""
CHUNK = 1 << 20
"""Size of the pieces in which it is read and written [bytes]."""
LEVEL = 1
"""zlib's level: the quickest."""
_GZIP = 31  # zlib's window bits for a gzip member
_BLOCK = 512


def header(name: str, size: int) -> bytes:
    """The blocks of a tar before the bytes of a file, as Python's tarfile makes them today.

    Made here, because a backup must be readable when tarfile will make others.  Source: "Basic Tar
    Format" and "GNU extensions" in the manual of GNU tar.
    """
    plain, long = name.encode(), b""
    if len(plain) > 100:
        whole = plain + b"\0"
        long = _block(b"././@LongLink", len(whole), b"L", mode=0) + whole + filler(len(whole))
    return long + _block(plain[:100], size, b"0", mode=0o600)


def _block(name: bytes, size: int, kind: bytes, mode: int) -> bytes:
    octal = b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    begin = name.ljust(100, b"\0") + b"%07o\0" % mode + b"0000000\0" * 2 + octal + b"%011o\0" % 0
    end = (kind + bytes(100) + b"ustar  \0").ljust(_BLOCK - 156, b"\0")
    return begin + b"%06o\0 " % (sum(begin) + 8 * ord(" ") + sum(end)) + end


def filler(size: int) -> bytes:
    """The zeros of a tar behind a file of a size."""
    return bytes(-size % _BLOCK)


def trailer(digest: str) -> bytes:
    """Gzip member 2 (RFC 1952: no time, an unknown system, a comment; then an empty block)."""
    comment = f"sha256:{digest}".encode()
    return b"\x1f\x8b\x08\x10" + bytes(5) + b"\xff" + comment + b"\0\x03\0" + bytes(8)


TRAILER_BYTES = len(trailer("0" * 64))


class BackupWriter:
    """Writes one backup: `add` each file that the manifest names, in order, then `finish`."""

    def __init__(self, file: BinaryIO, manifest: dict[str, Any], files: dict[str, int]) -> None:
        """`files`: name → size [bytes]; the manifest gets them, and the format."""
        self._file, self.bytes = file, 0
        self._whole, self._sums = hashlib.sha256(), ""
        self._deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP)
        listed = [{"name": name, "bytes": size} for name, size in files.items()]
        self.manifest = {"format": FORMAT, **manifest, "files": listed}
        self._add_text(MANIFEST, json.dumps(self.manifest, ensure_ascii=False, indent=1) + "\n")

    def add(self, name: str, size: int, chunks: Iterable[bytes]) -> None:
        """Write a file.  Raises ValueError when it is not as long as it was said to be."""
        self._put(self._deflate.compress(header(name, size)))
        digest, done = hashlib.sha256(), 0
        for chunk in chunks:
            digest.update(chunk)
            done += len(chunk)
            self._put(self._deflate.compress(chunk))
        if done != size:
            raise ValueError(f"{name} has {done} bytes instead of {size}")
        self._put(self._deflate.compress(filler(size)))
        self._sums += f"{digest.hexdigest()}  {name}\n"

    def _add_text(self, name: str, text: str) -> None:
        data = text.encode()
        self.add(name, len(data), [data])

    def finish(self) -> None:
        """Write what tells that it is whole."""
        self._add_text(SUMS, self._sums)
        self._put(self._deflate.compress(bytes(2 * _BLOCK)) + self._deflate.flush())
        self._put(trailer(self._whole.hexdigest()))

    def _put(self, data: bytes) -> None:
        self._whole.update(data)
        self.bytes += len(data)
        self._file.write(data)


class BackupReader:
    """Reads a backup of anybody, in one pass and a few MB of memory."""

    def __init__(self, file: BinaryIO, path: str) -> None:
        """Reads the manifest.  `path` stands in errors.  Raises BackupDamaged, BackupTooNew."""
        self._file, self._path = file, path
        self._whole, self._trailer = hashlib.sha256(), b""
        self._stream, self._ready = self._inflated(), b""
        self._sums = ""
        block = self._all(_BLOCK)
        size = block[124:135]
        length = int(size, 8) if re.fullmatch(b"[0-7]{11}", size) else MAX_MANIFEST + 1
        if length > MAX_MANIFEST or block != header(MANIFEST, length):
            self._refuse("it does not begin as one")
        try:
            self.manifest = json.loads(b"".join(self._content(MANIFEST, length)))
            found = int(self.manifest["format"])
            self._files = [(str(each["name"]), each["bytes"]) for each in self.manifest["files"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            self._refuse("its manifest cannot be read")
        if found > FORMAT:
            raise BackupTooNew(path=path, found=found, oldest=1, newest=FORMAT)
        names = [name for name, _ in self._files]
        sizes = [size for _, size in self._files]
        if names[:1] != [RECORDS] or len({*names}) < len(names) or len(names) > MAX_FILES:
            self._refuse("its manifest names other files than a backup has")
        if not all(isinstance(size, int) and 0 <= size < 1 << 50 for size in sizes):
            self._refuse("its manifest has sizes that are none")
        if strange := [name for name in names if not NAME.fullmatch(name)]:
            self._refuse(f"it would write {strange[0]!r}")
        self.bytes: int = sum(sizes)
        """Size of the files in it [bytes]."""

    def files(self) -> Iterator[tuple[str, int, Iterator[bytes]]]:
        """Each file: name, size, and its bytes, to be taken before the next one.

        Raises BackupDamaged; only when this ends without it, every byte was what was written.
        """
        for name, size in self._files:
            if self._all(len(expected := header(name, size))) != expected:
                self._refuse(f"the header of {name} is not what was written")
            yield name, size, self._content(name, size)
        sums = self._sums.encode()
        if self._all(len(expected := header(SUMS, len(sums)))) != expected:
            self._refuse(f"the header of {SUMS} is not what was written")
        if b"".join(self._content(SUMS, len(sums))) != sums:
            self._refuse("the checksums of its files differ")
        if any(self._all(2 * _BLOCK)) or self._ready or any(self._stream):
            self._refuse("there is more in it than its manifest tells")
        if self._trailer != trailer(self._whole.hexdigest()):
            self._refuse("the checksum of the whole file differs")

    def _content(self, name: str, size: int) -> Iterator[bytes]:
        digest = hashlib.sha256()
        for chunk in self._bytes(size):
            digest.update(chunk)
            yield chunk
        if self._all(len(filler(size))) != filler(size):
            self._refuse(f"what follows {name} is not what was written")
        self._sums += f"{digest.hexdigest()}  {name}\n"

    def _all(self, size: int) -> bytes:
        return b"".join(self._bytes(size))

    def _bytes(self, size: int) -> Iterator[bytes]:
        """The next bytes of the tar, in pieces."""
        while size:
            while not self._ready:
                try:
                    self._ready = next(self._stream)
                except StopIteration:
                    self._refuse("it is cut off")
            part, self._ready = self._ready[:size], self._ready[size:]
            size -= len(part)
            yield part

    def _inflated(self) -> Iterator[bytes]:
        """The tar, in pieces of at most CHUNK, some of them empty."""
        inflater = zlib.decompressobj(_GZIP)
        for data in self._compressed():
            while True:
                if inflater.eof and data:
                    self._refuse("bytes follow its end")
                try:
                    made = inflater.decompress(data, CHUNK)
                except zlib.error as error:
                    self._refuse(f"it cannot be unpacked ({error})")
                yield made
                data = inflater.unconsumed_tail or inflater.unused_data
                if not data and len(made) < CHUNK:
                    break
        if not inflater.eof:
            self._refuse("it is cut off")

    def _compressed(self) -> Iterator[bytes]:
        """Gzip member 1 in pieces, as far as one can tell: all but the last TRAILER_BYTES."""
        while data := self._file.read(CHUNK):
            data = self._trailer + data
            data, self._trailer = data[:-TRAILER_BYTES], data[-TRAILER_BYTES:]
            self._whole.update(data)
            yield data

    def _refuse(self, detail: str) -> NoReturn:
        raise BackupDamaged(path=self._path, detail=detail)
