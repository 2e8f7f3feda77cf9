"""The listed files of converted hypervectors, open behind one view that never changes in place."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass
from nimad.dense.basis import Basis
from nimad.dense.spectrum import Shape
from nimad.dense.vectors import ITEMS, MEMORIES, VectorFile
from nimad.disk.durable import own_files
from nimad.disk.mapped import is_waiting, remove_file
from nimad.errors import FormatCorrupt, NimadError

SUFFIX = ".nsd"


@dataclass(frozen=True)
class Listed:
    """A file that the records name: `kind` is "basis", "items" or "rows"."""

    name: str
    source: int
    kind: str


@dataclass(frozen=True)
class Damage:
    """A listed file that cannot be used, and why."""

    listed: Listed
    error: NimadError


@dataclass(frozen=True, eq=False)
class Opened:
    """A file of vectors with the basis that it is coded with."""

    listed: Listed
    file: VectorFile
    basis: Basis


class DenseFiles:
    """Every usable file of a directory; `opened` is a snapshot that a reader may keep."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._lock = threading.Lock()
        self._files: tuple[Opened, ...] = ()

    @property
    def opened(self) -> tuple[Opened, ...]:
        """The files of vectors that are open now."""
        return self._files

    def path(self, name: str) -> Path:
        """Where the file of that name is."""
        return self.directory / f"{name}{SUFFIX}"

    def open(self, listed: Sequence[Listed]) -> list[Damage]:
        """Open exactly these; what cannot be opened is told and left out."""
        bases, damaged = self._bases(listed)
        files: list[Opened] = []
        for each in listed:
            if each.kind == "basis":
                continue
            try:
                files.append(self._open(each, bases))
            except NimadError as error:
                damaged.append(Damage(each, error))
        with self._lock:
            self._files = tuple(files)
        return damaged

    def add(self, listed: Sequence[Listed]) -> None:
        """Open files that were just written, besides those that are open.  Raises FormatCorrupt."""
        bases, damaged = self._bases(listed)
        bases.update({each.basis.id: each.basis for each in self._files})
        made = [self._open(each, bases) for each in listed if each.kind != "basis"]
        for each in damaged:
            raise each.error
        with self._lock:
            self._files = (*self._files, *made)

    def remove(self, names: Iterable[str]) -> None:
        """Forget files and delete them; a reader that has them open keeps them."""
        gone = set(names)
        with self._lock:
            self._files = tuple(each for each in self._files if each.listed.name not in gone)
        for name in gone:
            remove_file(self.path(name))

    def _bases(self, listed: Sequence[Listed]) -> tuple[dict[bytes, Basis], list[Damage]]:
        bases: dict[bytes, Basis] = {}
        damaged: list[Damage] = []
        for each in listed:
            if each.kind != "basis":
                continue
            try:
                basis = Basis.open(self.path(each.name))
            except NimadError as error:
                damaged.append(Damage(each, error))
            else:
                bases[basis.id] = basis
        return bases, damaged

    def _open(self, listed: Listed, bases: dict[bytes, Basis]) -> Opened:
        file = VectorFile.open(self.path(listed.name))
        empty = Basis.empty(file.shape)
        # every shape has an empty basis, and all of those have one id
        basis = empty if file.basis_id == empty.id else bases.get(file.basis_id, empty)
        if basis.id != file.basis_id or basis.shape != file.shape:
            raise FormatCorrupt(path=file.path, detail="the basis that it was made with is missing")
        if file.kind != {"rows": MEMORIES, "items": ITEMS}[listed.kind]:
            raise FormatCorrupt(path=file.path, detail="it is of another kind than it is listed as")
        return Opened(listed, file, basis)

    def unlisted(self, listed: Iterable[str]) -> list[Path]:
        """Files of ours in the directory that no record names."""
        known = set(listed)
        found = own_files(self.directory, rf"dns-\d+{re.escape(SUFFIX)}")
        return [path for path in found if path.stem not in known and not is_waiting(path)]

    def verify(self, listed: Sequence[Listed]) -> list[Damage]:
        """Read all of these whole, and tell which are damaged."""
        damaged = []
        for each in listed:
            try:
                if each.kind == "basis":
                    Basis.open(self.path(each.name))
                else:
                    VectorFile.open(self.path(each.name)).verify()
            except NimadError as error:
                damaged.append(Damage(each, error))
        return damaged

    # --- what is in them --------------------------------------------------------------------------

    def rows(self, source: int | None = None) -> list[Opened]:
        """The files of memories, of one source or of all."""
        return self._of("rows", source)

    def items(self, source: int | None = None) -> list[Opened]:
        """The files of fillers and roles, of one source or of all."""
        return self._of("items", source)

    def _of(self, kind: str, source: int | None) -> list[Opened]:
        return [
            each
            for each in self._files
            if each.listed.kind == kind and source in (None, each.listed.source)
        ]

    def find(self, memory: int) -> tuple[Opened, int] | None:
        """The file and row of a memory's hypervector; None when it has none."""
        for each in self.rows():
            row = each.file.row_of(memory)
            if row is not None:
                return each, row
        return None

    def ids(self, source: int | None = None) -> NDArray[np.int64]:
        """The ids of all memories with a hypervector, ascending."""
        parts = [each.file.ids for each in self.rows(source)]
        return np.sort(np.concatenate([np.zeros(0, np.int64), *parts]))

    def shapes(self) -> set[Shape]:
        """The shapes that there are hypervectors of."""
        return {each.file.shape for each in self.rows()}
