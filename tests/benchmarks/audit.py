"""How long an audit takes, how many planted duplicates it finds, and how many others it tells.

    python -m tests.benchmarks.audit [--size 20000] [--copies 500]

The memories are sentences of words drawn by chance; every copy is exact, in capitals, with other
punctuation, with a word more, or with a date before or behind it.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import tempfile
import time
from datetime import UTC
from pathlib import Path
from typing import NamedTuple

from nimad.audit.findings import audit
from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.model import Memory
from nimad.probe.memory import own_memory
from tests.samples import english

SUBJECTS = ("Anna", "Ben", "Clara", "David", "Emma", "Felix", "Greta", "Henry", "Ida", "Jonas")
THINGS = re.findall(r"[a-z]{4,}", " ".join(english.MEMORIES))
MORE = ("really", "quickly", "probably", "again", "quite", "surely", "simply", "today")


def sentences(number: int, draw: random.Random) -> list[str]:
    """Different sentences of 9 to 15 words, of ten people."""
    made: dict[str, None] = {}
    while len(made) < number:
        words = draw.choices(THINGS, k=draw.randrange(8, 15))
        made[f"{draw.choice(SUBJECTS)} {' '.join(words)}."] = None
    return list(made)


def planted(text: str, how: int, draw: random.Random) -> str:
    """The same, exactly or nearly."""
    words = text.split()
    words.insert(draw.randrange(1, len(words)), draw.choice(MORE))
    day = f"2024-{draw.randrange(1, 13):02}-{draw.randrange(1, 29):02}"
    forms = [text, text.upper(), f"{text[:-1]} ...!", " ".join(words), f"[{day}] {text}"]
    forms.append(f"{text} ({draw.randrange(1, 29)} May 2024)")
    return forms[how % len(forms)]


class Result(NamedTuple):
    """Planted pairs that were found, pairs that were told and not planted, processor and wall time
    [seconds], and the memory that the audit took [bytes]."""

    found: int
    wrong: int
    busy: float
    took: float
    memory: int


def measure(store: MemoryStore, size: int, copies: int) -> Result:
    """Fill a store with `size` memories, `copies` of them planted, and look for these."""
    draw = random.Random(size)
    texts = sentences(size - copies, draw)
    ids: list[int] = []
    for start in range(0, len(texts), 2000):
        ids += store.remember_many([Memory(text) for text in texts[start : start + 2000]])
    chosen = draw.sample(range(len(texts)), copies)
    again = [Memory(planted(texts[place], n, draw)) for n, place in enumerate(chosen)]
    copied = store.remember_many(again)
    wanted = {(ids[place], new) for place, new in zip(chosen, copied, strict=True)}
    memory, busy, began = own_memory(), time.process_time(), time.perf_counter()
    done = audit(store, UTC, limit=size)
    took, busy, memory = (
        time.perf_counter() - began,
        time.process_time() - busy,
        own_memory() - memory,
    )
    pairs = {
        (one.ids[0], other)
        for one in done.findings
        if one.kind.endswith("duplicate")
        for other in one.ids[1:]
    }
    assert done.looked == size
    return Result(len(wanted & pairs), len(pairs - wanted), busy, took, memory)


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=20_000)
    parser.add_argument("--copies", type=int, default=500)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        store = MemoryStore.open(Path(place) / "state", Config().replace(graph__engine="none"))
        result = measure(store, args.size, args.copies)
        store.close()
    print(
        f"{args.size:,} memories: {result.found} of {args.copies} found, {result.wrong} others;"
        f" {result.busy:.1f} s of processor time, {result.took:.1f} s in all, load"
        f" {os.getloadavg()[0]:.1f}; {result.memory / 1e6:.0f} MB"
    )


if __name__ == "__main__":
    main()
