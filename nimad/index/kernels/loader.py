"""Picks the form of the kernels that runs here: an object, numba, or numpy.

In this order:

1. the best object of `nimad/index/native/` for this CPU, compiled ahead by
   packaging/build_kernels.py: loaded in a millisecond, nothing is compiled, numba is not imported;
2. numba in place, only when `NIMAD_KERNELS=numba` asks for it: seconds to compile, 66 MB;
3. numpy, the reference: slower by 5 to 10 times, and always there.

All give the same bits, so the choice is never visible in an answer.  `NIMAD_KERNELS` = `numpy`,
`numba` or an object's name (`x86-64-v2`) forces one, for tests and measurements.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.index.kernels.compiled import BRIEF, PROTOTYPES, Compiled
from nimad.index.kernels.contract import Kernels, Parted, Space
from nimad.index.kernels.reference import Reference

NATIVE = Path(__file__).resolve().parent.parent / "native"
CPUINFO = Path("/proc/cpuinfo")
ABI = 12

_SOURCES = (
    "contract.py",
    "cutting.py",
    "intrinsics.py",
    "postings.py",
    "scanning.py",
    "sign_codes.py",
    "source.py",
    "spelling.py",
    "texts.py",
    "tokens.py",
)


@functools.cache
def load_kernels() -> Kernels:
    """The kernels for this process; the first call decides.

    Raises:
        ValueError: when NIMAD_KERNELS names a form that cannot run here.
    """
    wanted = os.environ.get("NIMAD_KERNELS", "")
    if wanted == "numpy":
        return Reference()
    if wanted == "numba":
        return numba_kernels()
    for kernels in objects():
        if not wanted or kernels.name == wanted:
            return kernels
    if wanted:
        raise ValueError(f"NIMAD_KERNELS={wanted} does not fit this machine")
    return Reference()


def objects() -> Iterator[Kernels]:
    """Every object that this machine can run and that is right, the best first."""
    for entry in fitting():
        kernels = _load(NATIVE / entry["file"], entry)
        if kernels is not None and _agrees(kernels):
            yield kernels


def fitting() -> list[dict[str, Any]]:
    """The manifest's entries for what this CPU can do, the best first."""
    try:
        listed = json.loads((NATIVE / "manifest.json").read_text())["objects"]
    except (OSError, ValueError):
        return []
    machine = os.uname().machine
    features, part = cpu()
    usable = [e for e in listed if e["arch"] == machine and features.issuperset(e["needs"])]
    return sorted(usable, key=lambda e: (part in e["parts"], e["rank"]), reverse=True)


def numba_kernels() -> Kernels:
    """The kernels compiled in place by numba; takes seconds.

    Raises:
        ImportError: when numba is not installed.
    """
    from nimad.index.kernels.source import compile_kernel

    functions: dict[str, Any] = {}
    for name, (result, arguments) in PROTOTYPES.items():
        compiled = compile_kernel(name)
        functions[name] = ctypes.CFUNCTYPE(result, *arguments)(compiled.address)
        # The code lives as long as its owner, which nothing else would keep.
        functions[name].owner = compiled
    brief = {
        name: ctypes.PYFUNCTYPE(PROTOTYPES[name][0], *PROTOTYPES[name][1])(
            functions[name].owner.address
        )
        for name in BRIEF
    }
    return Compiled("numba", functions, brief)


def cpu() -> tuple[frozenset[str], str]:
    """The features of this CPU and, on ARM, its part ("0xd0b"), as /proc/cpuinfo names them."""
    features: frozenset[str] = frozenset()
    part = ""
    try:
        text = CPUINFO.read_text()
    except OSError:
        return features, part
    for line in text.splitlines():
        key, _, value = line.partition(":")
        # A board may join two kinds of cores: only what all of them can do counts.
        if key.strip() in ("flags", "Features"):
            mine = frozenset(value.split())
            features = features & mine if features else mine
        elif key.strip() == "CPU part":
            part = part or value.strip()
    return features, part


def source_digest() -> str:
    """BLAKE2b-128 of the source of the kernels: an object built from another one is stale."""
    here = Path(__file__).resolve().parent
    digest = hashlib.blake2b(digest_size=16)
    for name in _SOURCES:
        digest.update((here / name).read_bytes())
    return digest.hexdigest()


def _load(path: Path, entry: dict[str, Any]) -> Kernels | None:
    try:
        if hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest() != entry["digest"]:
            return None
        library = ctypes.CDLL(str(path))
        if library.nimad_abi() != ABI:
            return None
        functions = {name: _typed(library, name) for name in PROTOTYPES}
        holding = ctypes.PyDLL(str(path))
        brief = {name: _typed(holding, name) for name in BRIEF}
    except (OSError, AttributeError):
        return None
    return Compiled(entry["name"], functions, brief)


def _typed(library: ctypes.CDLL, name: str) -> Any:
    function = getattr(library, f"nimad_{name}")
    function.restype, function.argtypes = PROTOTYPES[name]
    return function


def _agrees(kernels: Kernels) -> bool:
    """A quick look at whether an object computes what the reference does (2 milliseconds)."""
    reference = Reference()
    numbers = (np.arange(40 * 24) * 37 % 255 - 127).astype(np.int8).reshape(40, 24)
    mean = np.linspace(-0.1, 0.1, 24, dtype=np.float32)
    query, picks = numbers[7].astype(np.int16) * 128, np.arange(40)
    codes, planes = reference.encode(numbers, mean), reference.planes(query, mean)
    spans = np.array([[1, 9], [20, 40]])
    edges = np.array([0, 3, 24, 40], np.uint32)
    space = Space(mean, numbers[:2], edges[[0, 1, 3]] // 13, codes[:1], edges, codes, numbers)
    packed = np.array([4, 1, 130, 2, 3, 255, 1, 6], np.uint8)

    def results(form: Kernels) -> list[NDArray[Any]]:
        return [
            form.encode(numbers, mean),
            form.planes(query, mean),
            form.distances(codes, 40, planes),
            form.scan(codes, spans, planes, None, 5),
            *form.find(space, query, None, 1, 20, 5),
            *form.dots(numbers, picks, query),
            form.cosines(numbers, picks - 1, query).view(np.uint32),
            form.ranked(codes[0, 0, :2], np.array([0, 33], np.uint32), None, picks),
            *form.postings(packed, packed, 5, 7, 900),
            *_scored(form),
        ]

    return all(map(np.array_equal, results(reference), results(kernels)))


def _scored(form: Kernels) -> list[NDArray[Any]]:
    """Six rows in two parts, each the neighbour of the next, two of them with a score."""
    own = np.zeros(6, np.float32)
    rows, counts = np.array([1, 4], np.uint32), np.array([1, 3], np.uint16)
    words = Parted(np.array([9, 5, 7], np.uint16), np.array([300, 4, 2], np.uint16))
    before, after = (np.arange(6, dtype=np.int32) + step for step in (-1, 1))
    terms = [(rows, counts), (rows[1:].copy(), counts[1:].copy())]
    fresh = form.weigh(own, terms, words, (1.5, 0.5), (2.2, 1.2, 0.25, 0.75, 6.0))
    sides = Parted(before[:3], before[3:]), Parted(after[:3], after[3:])
    shares = sides[0], sides[1], (0.5, 0.3, 0.4)
    best = form.leaders(own, rows, *shares, np.arange(6) != 3, 1, 3)
    covered = form.cover([rows, rows[1:]], (0.5, 0.25), np.arange(6))
    order = np.array([3, 0, 2, 1], np.uint32)
    places = form.seek(np.array([5, 9, 5, -7]), order, np.array([9, 5, 6, -7]))
    return [own, fresh, form.shares(own, np.arange(6), *shares), *best, covered, places]
