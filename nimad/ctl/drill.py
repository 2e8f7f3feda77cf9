"""`nimactl backup --drill`: a backup is restored beside, and what answers there is compared.

A nimad of its own serves what was restored, in a private directory that goes afterwards.  Memories
are compared field by field but for their count of accesses, which goes on changing; what came or
was forgotten since the backup is counted, not a difference.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, field
from pathlib import Path
from typing import Any

import nimad
from nimad import config
from nimad.ctl.client import Client
from nimad.ctl.export_command import pages
from nimad.ctl.screen import Progress, bar
from nimad.dataclass import dataclass
from nimad.errors import DaemonAbsent, NimadError
from nimad.human import share

QUESTIONS = 20
"""Number of memories whose text is asked for [memories]."""
QUESTION_CHARS = 200
"""Length of such a question [characters]."""
NAMED = 20
"""Number of memories that are named, of those that differ or are lost [ids]."""
START_SECONDS = 120.0
"""Time in which the nimad beside must answer [seconds]."""
GOES_ON = {"access_count": 0, "last_accessed": None}
"""Fields that questions change."""
BESIDE = {"openclaw.config": "", "graph.engine": "none"}
"""Settings of the nimad beside: it takes nothing over."""
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    " from nimad.daemon import main; sys.exit(main(sys.argv[2:]))"
)


@dataclass
class Compared:
    """What a comparison found: counts, and the ids of memories that differ or are lost."""

    identical: int = 0
    differing: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    newer: int = 0
    forgotten_since: int = 0
    asked: int = 0
    alike: int = 0

    @property
    def good(self) -> bool:
        """Whether it is the same store: no memory differs, and hardly an answer."""
        return not self.differing and not self.lost and self.alike >= self.asked * 0.9

    def result(self) -> dict[str, Any]:
        """As JSON, with no more ids than NAMED."""
        return {**asdict(self), "differing": self.differing[:NAMED], "lost": self.lost[:NAMED]}


def write_settings(place: Path) -> Path:
    """The configuration of the nimad beside: the system's, but for BESIDE."""
    found = config.load(None)
    plain = {
        name: value
        for name, value in found.values.items()
        if isinstance(value, (bool, int, float, str)) and value != config.KEYS[name].default
    }
    path = place / "nimad.yaml"
    path.write_text("".join(f"{n}: {json.dumps(v)}\n" for n, v in {**plain, **BESIDE}.items()))
    return path


@contextmanager
def served(place: Path, state: Path, settings: Path) -> Iterator[Client]:
    """A nimad on a state directory, for as long as the block takes."""
    paths = [str(Path(nimad.__file__).parents[1]), *sys.path]
    socket = place / "s"
    options = ["--state", state, "--socket", socket, "--config", settings]
    environment = {n: v for n, v in os.environ.items() if n != "NOTIFY_SOCKET"}
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _BOOT, json.dumps(paths), *map(str, options)],
            stderr=log,
            env=environment,
        )
    try:
        with Client(str(socket)) as client:
            until = time.monotonic() + START_SECONDS
            while True:
                try:
                    client.call("ping")
                    break
                except DaemonAbsent:
                    if process.poll() is not None or time.monotonic() > until:
                        told = (place / "log").read_text(errors="replace")[-500:]
                        raise NimadError(
                            detail=f"the restored store is not served: {told}"
                        ) from None
                time.sleep(0.01)
            yield client
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()
        process.wait()


def compare(live: Client, beside: Client, memories: int, progress: Progress) -> Compared:
    """Compare every memory, and the answers to some questions."""
    found, texts = Compared(), list[str]()
    every = max(memories // QUESTIONS, 1)
    ours, theirs = _memories(live), _memories(beside)
    mine, other = next(ours, None), next(theirs, None)
    while mine is not None or other is not None:
        if other is None:
            found.newer += 1
            mine = next(ours, None)
        elif mine is None or mine["id"] > other["id"]:
            found.forgotten_since += 1
            other = next(theirs, None)
        elif mine["id"] < other["id"]:
            found.lost.append(mine["id"])
            mine = next(ours, None)
        else:
            if {**mine, **GOES_ON} == {**other, **GOES_ON}:
                found.identical += 1
            else:
                found.differing.append(mine["id"])
            if found.identical % every == 1 % every and len(texts) < QUESTIONS:
                texts.append(mine["text"])
            mine, other = next(ours, None), next(theirs, None)
        done = found.identical + len(found.differing)
        progress.show(f"comparing  {bar(done / max(memories, 1))}  {share(done, memories or 1)}")
    for text in filter(str.strip, texts):
        found.asked += 1
        question = text[:QUESTION_CHARS]
        # by their texts: copies of a memory are as good
        best = [
            [hit["text"] for hit in client.call("query", text=question, k=1)["results"]]
            for client in (live, beside)
        ]
        found.alike += best[0] == best[1]
    return found


def _memories(client: Client) -> Iterator[dict[str, Any]]:
    for _, lines in pages(client):
        yield from map(json.loads, lines.splitlines())
