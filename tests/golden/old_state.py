"""State directories of an older version: how they were made, and what they must answer for ever.

`python -m tests.golden.old_state VERSION` writes `state-VERSION.tar.xz` (the directories) and
`state-VERSION.json` (what the daemon of that version answered) beside this file.  Both are made
once, with the version they are named after, and never again.  Three directories:

- `whole`: memories of each layer with every field, some forgotten; a legacy graph, a checkpoint and
  a sparse memory taken over and verified, their snapshots kept; segments, hot vectors, tombstones,
  hypervectors, a graph, the columns cache.
- `halfway`: the same, killed after the second batch of another legacy graph.
- `purging`: the same, killed behind the commit of `forget --purge`, before anything was scrubbed.
"""

from __future__ import annotations

import json
import lzma
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.hypervectors import episodes, sparse_rows
from tests.legacy import checkpoints, stores
from tests.process import DaemonProcess

HERE = Path(__file__).parent
CONFIG = "embedder: hash\nblocks.flush_rows: 100\n"
QUESTIONS = (
    "what did Ada say about the sea",
    "a note on bees from the garden",
    "memory number 17",
    "episode about the station in May 2023",
    "what happened in the kitchen yesterday",
)
PURGED = 33
"""The memory whose purge is pending in `purging`."""
SECRET = "note 32 on bread, written in the garden"
"""What that memory says."""

NOW = 1_690_000_000_000
"""The moment at which questions are asked [epoch milliseconds]: what is recent counts a little."""

Call = Callable[..., Any]


def notes() -> list[dict[str, Any]]:
    """Memories as `remember` takes them: each layer, and every field in one of them."""
    topics = ("bees", "rivers", "bread", "a kite", "the moon")
    places = ("kitchen", "harbour", "garden")
    layers = ("note", "input", "contemplation", "output", "legacy_vsa")
    return [
        {
            "text": f"note {n} on {topics[n % 5]}, written in the {places[n % 3]}"[: 60 - n % 7],
            "who": ("Ada", "Ben", "Cleo")[n % 3],
            "where": places[n % 3],
            "layer": layers[n % 5],
            "namespace": "default" if n % 4 else "garden",
            "importance": n % 11 / 10,
            "timestamp": 1_683_500_000_000 + n * 3_600_000,
            "tags": ["diary", topics[n % 5]],
            "conversation": f"talk {n // 6}",
            "session": f"session {n // 12}",
            "turn": f"exchange {n // 3}",
        }
        for n in range(60)
    ]


def write_sources(home: Path) -> dict[str, Path]:
    """Legacy stores: a graph of schema 3, a checkpoint with codebooks, a sparse memory."""
    graph = stores.small_store(home / "graph.sqlite", count=45, schema=3)
    stores.execute(
        graph,
        "UPDATE memory_nodes SET is_ghost = 1 WHERE id = 9;"
        "INSERT INTO memory_edges(source_id, target_id, relation) VALUES (1, 999, 'lost');"
        "UPDATE memory_nodes SET layer = 'legacy_vsa' WHERE id = 12;",
    )
    with_vector = [(stores.embedding(key / 10), key) for key in (1, 2, 3)]
    for blob, key in with_vector:
        stores.execute(
            graph, f"UPDATE memory_nodes SET embedding = x'{blob.hex()}' WHERE id = {key}"
        )
    told = episodes(12, 256)
    fillers = {name: checkpoints.tensor(told.codebook[name]) for name in list(told.codebook)[:20]}
    roles = {name: checkpoints.tensor(row) for name, row in told.roles.items()}
    whole = checkpoints.nested(
        [checkpoints.episode(n) for n in range(12)], checkpoints.tensor(told.vectors), fillers
    )
    whole["tensors"]["roles"] = roles
    (home / "sessions").mkdir()
    checkpoints.save(home / "sessions" / "latest.pt", whole, checksum=True)
    rows = sparse_rows(8, blocks=20, width=20, active=4).astype(np.float64)
    sparse = checkpoints.sparse(
        [checkpoints.episode(n) for n in range(100, 108)], rows, 20, as_json=True
    )
    (home / "sparse_memories").mkdir()
    (home / "sparse_memories" / "sparse_memory.json").write_text(json.dumps(sparse))
    return {
        "graph": graph,
        "sessions": home / "sessions",
        "sparse": home / "sparse_memories" / "sparse_memory.json",
    }


def nimactl(daemon: DaemonProcess, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nimad.ctl.main", "--socket", str(daemon.socket), "--json"]
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, timeout=120
    )


def build(place: Path) -> None:
    """Make `whole`, `halfway` and `purging` in a directory."""
    (place / "sources").mkdir(parents=True)
    sources = write_sources(place / "sources")
    daemon = DaemonProcess(place, config=CONFIG).start()
    daemon.call("import", memories=notes(), where="notes")
    for path in sources.values():
        done = nimactl(daemon, "migrate", path, "--strategy", "full", "--wait")
        assert done.returncode == 0, done.stderr + done.stdout
    for _ in range(2):  # the columns cache is written after 1,000 changes
        passing = daemon.call("import", memories=[{"text": "passing"}] * 500, where="passing")
        daemon.call("query", text="bees")
        daemon.call("forget", ids=passing["ids"])
        daemon.call("query", text="bees")
    daemon.call("forget", ids=[20, 21, 70])
    again = [{**note, "turn": None, "session": "later"} for note in notes()[:10]]
    daemon.call("import", memories=again, where="notes", namespace="again")
    for question in QUESTIONS:
        daemon.call("query", text=question)
    wait_for(lambda: (daemon.state / "columns.nrc").exists())
    stop(daemon, place / "whole")

    later = stores.small_store(place / "sources" / "later.sqlite", count=60)
    stores.execute(later, "UPDATE memory_nodes SET text = 'later ' || text, timestamp = id")
    cut_off(daemon, "migrate.copied:2", "migrate", later, "--strategy", "full", "--batch-size", 20)
    shutil.move(daemon.state, place / "halfway")

    shutil.copytree(place / "whole", daemon.state)
    cut_off(daemon, "forget.committed", "forget", PURGED, "--purge")
    shutil.move(daemon.state, place / "purging")


def cut_off(daemon: DaemonProcess, point: str, *arguments: object) -> None:
    """Run a command of nimactl on a daemon that is killed at a crash point."""
    daemon.environment = {"NIMAD_CRASH_AT": point}
    daemon.start()
    nimactl(daemon, *arguments)
    assert daemon.wait() == -signal.SIGKILL


def stop(daemon: DaemonProcess, kept: Path) -> None:
    """Stop the daemon, and keep a copy of its state."""
    assert daemon.stop() == 0
    shutil.copytree(daemon.state, kept)


def wait_for(there: Callable[[], Any], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def answers(call: Call) -> dict[str, Any]:
    """What a daemon answers on one of the directories: no times and no sizes."""
    status = call("status")
    exported = call("export", limit=500)["memories"]
    ids = [memory["id"] for memory in exported]
    hypervectors = [m["id"] for m in exported if (m.get("source") or {}).get("name") == "sessions"]
    asked = {
        f"{mode}: {question}": call("query", text=question, mode=mode, k=8, as_of=NOW)["results"]
        for question in QUESTIONS
        for mode in ("hybrid", "meaning", "words")
    }
    return {
        "counts": {name: status[name] for name in ("memories", "turns", "relations")},
        "export": exported,
        "queries": {
            question: [(hit["id"], round(hit["score"], 3)) for hit in hits]
            for question, hits in asked.items()
        },
        "copies": {
            question: [number for hit in hits for number in hit.get("copy_ids", ())]
            for question, hits in asked.items()
        },
        "similar": {str(one): ids_of(call("similar", id=one)) for one in ids[::9]},
        "similar hypervectors": {
            str(one): ids_of(call("similar", id=one, dense=True)) for one in hypervectors
        },
        "related": {
            f"{one}, depth {depth}": sorted(
                [hit["distance"], hit["id"], hit["relation"], hit["direction"], hit["weight"]]
                for hit in call("related", id=one, depth=depth)["results"]
            )
            for one in ids[::4]
            for depth in (1, 2, 3)
        },
        "sources": [
            {key: source[key] for key in ("name", "kind", "state", "total", "quarantined")}
            for source in call("migrate.status")["sources"]
        ],
    }


def ids_of(reply: dict[str, Any]) -> list[int]:
    return [hit["id"] for hit in reply["results"]]


def unpack(version: str, name: str, target: Path) -> Path:
    """Put one of the kept directories at `target`."""
    with lzma.open(HERE / f"state-{version}.tar.xz") as packed, tarfile.open(fileobj=packed) as tar:
        members = [m for m in tar.getmembers() if m.name.split("/")[0] == name]
        safely: dict[str, Any] = {"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}
        tar.extractall(target.parent, members, **safely)  # Debian 12's Python has none
    (target.parent / name).rename(target)
    return target


def pack(version: str, place: Path) -> None:
    """Pack the three directories; equal files in them cost nothing."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 26}]
    with (
        lzma.open(HERE / f"state-{version}.tar.xz", "wb", filters=filters) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for name in ("whole", "halfway", "purging"):
            tar.add(place / name, name, filter=_without_owner)


def _without_owner(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uname = member.gname = ""
    return member


def main() -> None:
    version = sys.argv[1]
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        build(place)
        pack(version, place)
        (place / "again").mkdir()
        again = DaemonProcess(place / "again", config=CONFIG)
        unpack(version, "whole", again.state)
        told = answers(again.start().call)
        again.stop()
    (HERE / f"state-{version}.json").write_text(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
