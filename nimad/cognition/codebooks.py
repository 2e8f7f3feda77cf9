"""Codebooks of the legacy guides: labelled hypervectors, the nearest of which names an unknown one.

Hypervectors come in as arrays, tensors or SparseBlockHDVectors and are compared as float32.  A
codebook whose hypervectors are mostly zero keeps only what is not: 1,000 words of 10 one-hot blocks
take 120 kB, not 200 MB.
"""

from __future__ import annotations

import io
import json
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.cognition import episodes
from nimad.cognition.sparse_block_vsa import SparseBlockHDVector
from nimad.dataclass import dataclass
from nimad.disk.durable import write_durable
from nimad.text import words_of
from nimad.vsa.algebra import BLOCKS, DIMS, length
from nimad.vsa.sparse import ACTIVE, Sparse

Flat = NDArray[np.float32]

FEW = 8
"""Factor by which values must be rarer than coordinates for a codebook to keep them one by one."""
TOPIC_WORDS = 20
"""Number of words of a text that its topic is taken from [words]."""
TOPIC_LETTERS = 4
"""Length above which a word may be a topic [characters]."""
STOP_WORDS = """
about after again because before being could every other should their there these thing things think
those through under where which while would
"""
"""Words that are no topic."""
META = "codebook_meta.json"
"""File beside the arrays: roles, labels and shapes."""


def flat(vector: Any) -> Flat:
    """A hypervector of any kind as float32[n]: an array, a tensor, a SparseBlockHDVector."""
    if isinstance(vector, SparseBlockHDVector):
        return vector.to_dense()
    return np.ascontiguousarray(vector, np.float32).reshape(-1)


class _Rows:
    """Hypervectors of one length, to be multiplied with many others."""

    def __init__(self, vectors: Iterable[Any]) -> None:
        places, values, sizes = [], [], set()
        for vector in vectors:
            place, value, size = _entries(vector)
            places.append(place)
            values.append(value)
            sizes.add(size)
        if len(sizes) > 1:
            raise ValueError(f"hypervectors of a codebook have one length, not {sorted(sizes)}")
        self.count = len(places)
        self.size = max(sizes, default=0)
        self._owners = np.repeat(np.arange(self.count), [len(place) for place in places])
        self._places = np.concatenate([np.zeros(0, np.int32), *places])
        self._values = np.concatenate([np.zeros(0, np.float32), *values])
        self.norms = np.sqrt(self._summed(self._values.astype(np.float64) ** 2))
        self._whole: Flat | None = None
        if len(self._values) * FEW > self.count * self.size:
            self._whole = np.zeros((self.count, self.size), np.float32)
            self._whole[self._owners, self._places] = self._values

    def _summed(self, products: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(self._owners, products, self.count).astype(np.float64)

    def cosines(self, query: Flat) -> NDArray[np.float64]:
        """float64[n]: the cosine with each; 0 where one of both is zero."""
        if len(query) != self.size:
            raise ValueError(f"a hypervector of {self.size} is needed, not of {len(query)}")
        if self._whole is not None:
            products = (self._whole @ query).astype(np.float64)
        else:
            products = self._summed(self._values.astype(np.float64) * query[self._places])
        lengths = self.norms * length(query)
        return np.divide(products, lengths, out=np.zeros(self.count), where=lengths > 0)


def _entries(vector: Any) -> tuple[NDArray[np.int32], Flat, int]:
    """The places and values of what is not zero, and the length."""
    if isinstance(vector, SparseBlockHDVector):
        content = vector.content
        rows, columns = np.nonzero(content.values)
        places = content.active[rows] * vector.block_dim + columns
        return (
            places.astype(np.int32),
            content.values[rows, columns],
            content.blocks * vector.block_dim,
        )
    whole = flat(vector)
    places = np.flatnonzero(whole)
    return places.astype(np.int32), whole[places], len(whole)


@dataclass
class Codebook:
    """Labelled hypervectors, `vectors`: label → hypervector, as it was given."""

    name: str
    vectors: dict[str, Any] = field(default_factory=dict)
    _made: tuple[list[Any], _Rows] | None = field(default=None, repr=False, compare=False)
    _drawn: int = field(default=0, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.vectors)

    def add(self, label: str, vector: Any) -> None:
        """Add a hypervector, or replace the one of that label."""
        self.vectors[label] = vector

    def get(self, label: str) -> Any:
        """The hypervector of a label; None when it is unknown."""
        return self.vectors.get(label)

    def nearest(self, query: Any, top_k: int = 1) -> list[tuple[str, float]]:
        """The labels nearest to a hypervector with their cosines, best first; equal ones in the
        order of the codebook.  [] when it is empty.

        Raises:
            ValueError: when lengths differ.
        """
        if not self.vectors:
            return []
        now, made = list(self.vectors.values()), self._made
        # `vectors` may have been changed in place
        if made is None or len(now) != len(made[0]) or not all(map(operator.is_, now, made[0])):
            self._made = made = (now, _Rows(now))
        cosines = made[1].cosines(flat(query))
        labels = list(self.vectors)
        best = np.argsort(-cosines, kind="stable")[:top_k]
        return [(labels[place], float(cosines[place])) for place in best]

    def random(self) -> tuple[str, Any]:
        """A label and its hypervector, another one each time, in the same order in every process.

        Raises:
            ValueError: when the codebook is empty.
        """
        if not self.vectors:
            raise ValueError(f"the codebook {self.name!r} is empty")
        self._drawn += 1
        number = int(np.random.default_rng(self._drawn).integers(len(self.vectors)))
        label = list(self.vectors)[number]
        return label, self.vectors[label]


class CodebookBuilder:
    """Makes codebooks of the values that memories have.

    A value's hypervector is that of its words (`episodes.filler`), so it is the same everywhere and
    is the filler in `memory_vectors`.  `embedder` is kept for programs that hand one over; what
    embedders make is too short to be a filler.
    """

    def __init__(self, embedder: Any = None) -> None:
        self.embedder = embedder

    def build_from_memories(
        self, memories: Iterable[Mapping[str, Any]], roles: Sequence[str] = ("who", "what", "topic")
    ) -> dict[str, Codebook]:
        """Role → the codebook of all values of that role; `memories` are dicts of metadata.

        "topic" is of the first words of `raw_text` that are long enough and say something.
        """
        labels: dict[str, dict[str, None]] = {role: {} for role in roles}
        for meta in memories:
            for role, found in labels.items():
                found.update(dict.fromkeys(_values(meta, role)))
        return {role: self.codebook(role, found) for role, found in labels.items()}

    def codebook(self, name: str, labels: Iterable[str]) -> Codebook:
        """The codebook of labels."""
        made = ((label, episodes.filler(label, BLOCKS, DIMS, ACTIVE)) for label in labels)
        return Codebook(name, {label: SparseBlockHDVector.of(vector) for label, vector in made})

    def save_codebooks(self, codebooks: Mapping[str, Codebook], path: str | Path) -> None:
        """Write codebooks into a directory: arrays, and the labels (words of memories) as JSON.

        They are the caller's files: a purge of memories does not reach them.
        """
        place = Path(path)
        place.mkdir(parents=True, exist_ok=True)
        meta: list[dict[str, Any]] = []
        for number, (role, codebook) in enumerate(sorted(codebooks.items())):
            entries = [_entries(vector) for vector in codebook.vectors.values()]
            file = io.BytesIO()
            np.savez_compressed(
                file,
                counts=np.array([len(places) for places, _, _ in entries], np.int64),
                places=np.concatenate([np.zeros(0, np.int32), *(e[0] for e in entries)]),
                values=np.concatenate([np.zeros(0, np.float32), *(e[1] for e in entries)]),
            )
            name = f"codebook_{number}.npz"
            write_durable(place / name, [file.getvalue()])
            sizes = {size for _, _, size in entries}
            shapes = {getattr(v, "block_dim", None) for v in codebook.vectors.values()}
            meta.append(
                {
                    "role": role,
                    "name": codebook.name,
                    "file": name,
                    "labels": list(codebook.vectors),
                    "size": max(sizes, default=0),
                    "block_dim": shapes.pop() if len(shapes) == 1 else None,
                }
            )
        write_durable(place / META, [json.dumps(meta, ensure_ascii=False).encode()])

    def load_codebooks(self, path: str | Path) -> dict[str, Codebook]:
        """Read what `save_codebooks` wrote; pickles are not read.

        Raises:
            OSError, ValueError: when files are missing or are none of these.
        """
        place = Path(path)
        found = {}
        for each in json.loads((place / META).read_bytes()):
            with np.load(place / Path(each["file"]).name, allow_pickle=False) as arrays:
                starts = np.cumsum(arrays["counts"])[:-1]
                places = np.split(arrays["places"], starts)
                values = np.split(arrays["values"], starts)
            vectors: list[Flat | SparseBlockHDVector] = []
            for where, what in zip(places, values, strict=True):
                whole = np.zeros(each["size"], np.float32)
                whole[where] = what
                if each["block_dim"] is None:
                    vectors.append(whole)
                    continue
                blocks = whole.reshape(-1, each["block_dim"])
                active = np.flatnonzero(blocks.any(axis=1))
                made = Sparse(active, blocks[active], len(blocks))
                vectors.append(SparseBlockHDVector.of(made))
            labelled = dict(zip(each["labels"], vectors, strict=False))
            found[each["role"]] = Codebook(each["name"], labelled)
        return found


def _values(meta: Mapping[str, Any], role: str) -> list[str]:
    """The values that a memory has in a role."""
    if role == "topic":
        words = words_of(str(meta.get("raw_text") or meta.get("what") or ""))[:TOPIC_WORDS]
        folded = [word.casefold() for word in words if len(word) > TOPIC_LETTERS]
        return [word for word in folded if word not in STOP_WORDS.split()]
    value = meta.get(episodes.FIELDS.get(role.upper(), role), "")
    return [str(each) for each in (value if isinstance(value, list) else [value]) if each]
