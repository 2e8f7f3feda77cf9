"""The card as a power cut would have left it, made of what a card has taken, and mounted.

What was flushed is there.  What came later is a matter of chance, and `Cut` says of which:

| cut       | what becomes of each later write                                                  |
|-----------|-----------------------------------------------------------------------------------|
| nothing   | lost                                                                              |
| some      | lost or there, in any order                                                       |
| torn      | any of its sectors of 512 bytes are there, in any order                           |
| shredded  | the same, and one sector ends in the middle or holds what nobody wrote            |
| lied      | as torn, and the card told that some dozen flushes were done which were not       |
"""

from __future__ import annotations

import enum
import os
import random
import subprocess
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.system.card.device import SIZE, Entry

SECTOR = 512
"""What a card writes whole, unless it is shredded [bytes]."""


class Cut(enum.StrEnum):
    """What becomes of writes that were not flushed."""

    NOTHING = "nothing"
    SOME = "some"
    TORN = "torn"
    SHREDDED = "shredded"
    LIED = "lied"


class Moment(NamedTuple):
    """A power cut: all entries before `kept` are on the card, none from `end` on."""

    kept: int
    end: int
    cut: Cut
    seed: int


def moments(
    log: list[Entry], began: int, answered: list[int], count: int, chance: random.Random
) -> list[Moment]:
    """So many cuts from a position on, in the order of what is kept; a third of them directly after
    an answer."""
    flushes = [number + 1 for number, entry in enumerate(log) if not entry.data]
    first = bisect_right(flushes, began) - 1
    waiting = [number for number in range(began, len(log)) if log[number].data]
    made = []
    for number in range(count):
        end = chance.choice(answered) if number % 3 == 0 else chance.choice(waiting) + 1
        place = bisect_right(flushes, end) - 1
        cut = list(Cut)[number % len(Cut)]
        if cut is Cut.LIED:
            place = max(place - chance.randrange(1, 50), first)
        made.append(Moment(flushes[place], end, cut, chance.randrange(1 << 32)))
    return sorted(made)


def images(log: list[Entry], cuts: Iterable[Moment], place: Path) -> Iterator[tuple[Moment, Path]]:
    """Each moment with a file that is the card; the next one takes its place."""
    flushed, image, done = place / "flushed", place / "image", 0
    with flushed.open("wb") as file:
        file.truncate(SIZE)
    for moment in cuts:
        _write(flushed, log[done : moment.kept])
        done = moment.kept
        copy(flushed, image)
        later = [entry for entry in log[done : moment.end] if entry.data]
        _write(image, _left(later, moment.cut, random.Random(moment.seed)))
        yield moment, image


def _write(image: Path, entries: Iterable[Entry]) -> None:
    file = os.open(image, os.O_WRONLY)
    for offset, data in entries:
        os.pwrite(file, data, offset)
    os.close(file)


def _left(later: list[Entry], cut: Cut, chance: random.Random) -> list[Entry]:
    """What of some writes is on the card, in the order in which it came there."""
    if cut is Cut.NOTHING:
        return []
    there = [entry for entry in later if chance.random() < 0.5]
    if cut is not Cut.SOME:
        there = [
            Entry(offset + at, data[at : at + SECTOR])
            for offset, data in there
            for at in range(0, len(data), SECTOR)
            if chance.random() < 0.7
        ]
    if cut is Cut.SHREDDED and there:
        offset, data = there.pop()
        end = chance.randrange(SECTOR)
        rest = chance.choice([b"", b"\xff" * (SECTOR - end), chance.randbytes(SECTOR - end)])
        there.append(Entry(offset, data[:end] + rest))
    chance.shuffle(there)
    return there


class Unusable(Exception):
    """The file system cannot be mounted any more."""


@contextmanager
def mounted(file: Path, place: Path, *, mend: bool = False) -> Iterator[Path]:
    """An image, mounted as a board does it: its journal is replayed.

    With `mend` e2fsck looks at it first and answers yes, as a board's does after errors.
    """
    place.mkdir(exist_ok=True)
    if mend:
        done = subprocess.run(["e2fsck", "-fy", file], capture_output=True)
        if done.returncode > 2:
            raise Unusable(done.stdout.decode("utf-8", "replace")[-400:])
    command = ["mount", "-o", "loop,noatime,errors=remount-ro", file, place]
    done = subprocess.run(command, capture_output=True)
    if done.returncode:
        raise Unusable(done.stderr.decode())
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def copy(image: Path, place: Path) -> Path:
    """A copy of an image, in a place."""
    place.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "--sparse=always", image, place], check=True)
    return place
