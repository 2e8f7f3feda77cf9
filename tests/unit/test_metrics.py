"""Figures for Prometheus: its own parser takes them, counters only rise, labels are ours."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nimad.background.worker import Worker
from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.ctl.metrics_command import exposition
from nimad.errors import all_errors
from nimad.keys import EMBEDDERS, ENGINES
from nimad.migrate.manager import MigrationManager
from nimad.serve.access import Access, Peer
from nimad.serve.dispatch import Dispatcher
from nimad.serve.frames import Frame
from nimad.serve.request_counts import BOUNDS, UNKNOWN, UNREADABLE
from nimad.serve.service_verbs import Traffic
from nimad.serve.verb_table import verbs
from tests import forked
from tests.dispatching import answer_to
from tests.threads import Background, setting

CANARY = "zyxgnu"
ME = Peer(1, 0, 0)
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Served:
    """A store behind a dispatcher."""

    def __init__(self, state: Path) -> None:
        self.store = MemoryStore.open(state, Config().replace(embedder="hash"))
        migrations = MigrationManager(self.store, Worker(lambda: self.store.config))
        traffic = Traffic(counts=lambda: self.dispatcher.counts)
        self.verbs = [verb.name for verb in verbs(self.store, migrations, traffic)]
        access = Access("", "", owner=0)
        self.dispatcher = Dispatcher(
            verbs(self.store, migrations, traffic, access), access, threads=1
        )
        self.loop = asyncio.new_event_loop()

    def send(self, data: bytes) -> dict[str, Any]:
        line = self.loop.run_until_complete(answer_to(self.dispatcher, Frame(data, []), ME))
        found: dict[str, Any] = json.loads(line or b"{}")
        return found

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return self.send(json.dumps(request).encode())

    def text(self) -> str:
        return exposition(self.ask("metrics")["result"]["families"])

    def close(self) -> None:
        self.dispatcher.abandon()
        self.loop.close()
        self.store.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path / "s")
    yield made
    made.close()


def parsed(text: str) -> Samples:
    """Every sample, read by Prometheus' own parser."""
    parser = pytest.importorskip("prometheus_client.parser", reason="make setup installs it")
    found: Samples = {}
    for family in parser.text_string_to_metric_families(text):
        assert family.documentation and family.type in ("gauge", "counter", "histogram"), family
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def busy(served: Served) -> None:
    """A little of everything, with a word that must not be told."""
    more = {"who": CANARY, "where": CANARY, "tags": [CANARY], "namespace": CANARY}
    served.ask("remember", text=f"The kettle of {CANARY}", **more, agent=CANARY)
    served.ask("query", text=f"kettle {CANARY}")
    served.ask("query", text="xylophone")
    served.ask("get", id=999)
    served.ask(CANARY, id=1)
    served.ask("remember", text=CANARY, **{CANARY: 1})
    served.send(f'{{"{CANARY}'.encode())
    served.ask("doctor")


def test_prometheus_reads_it_and_counters_only_rise(served: Served) -> None:
    before: Samples = {}
    for _ in range(3):
        busy(served)
        now = parsed(served.text())
        for (name, labels), value in before.items():
            if re.search(r"_(total|count|sum|bucket)$", name):
                assert now[name, labels] >= value
        before = now
    asked = ("method", "query"), ("outcome", "ok")
    assert before["nimad_requests_total", asked] == 6
    assert before["nimad_requests_total", (("method", "get"), ("outcome", "not_found"))] == 3
    assert before["nimad_queries_silent_total", ()] == 3
    assert before["nimad_up", ()] == 1 and before["nimad_memories", ()] == 3
    assert before["nimad_request_duration_seconds_count", (("method", "query"),)] == 6
    buckets = [
        before["nimad_request_duration_seconds_bucket", (("le", bound), ("method", "query"))]
        for bound in (*map(str, BOUNDS), "+Inf")
    ]
    assert buckets == sorted(buckets) and buckets[-1] == 6


def test_no_label_comes_from_what_is_stored_or_asked(served: Served) -> None:
    busy(served)
    text = served.text()
    assert CANARY not in text
    codes = {error.code for error in all_errors()} | {"ok"}
    allowed = {
        "method": {*served.verbs, UNKNOWN, UNREADABLE},
        "outcome": codes,
        "embedder": set(EMBEDDERS),
        "graph": {*ENGINES, "none"},
        "le": {*map(str, BOUNDS), "+Inf"},
        "kind": {"encode", "encode_again"},
        "stage": {"total", "copied", "encoded", "linked", "verified"},
        "part": {
            *(projection.name for projection in served.store.projections),
            *("records", "snapshots", "aside", "log", "disk", "embedder"),
        },
    }
    for _, labels in parsed(text):
        for label, value in labels:
            assert value in allowed.get(label, {value} if label == "version" else ()), (
                label,
                value,
            )


def test_every_family_of_the_manual_is_there(served: Served) -> None:
    table = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| `(nimad_\w+)", table, re.MULTILINE))
    assert told == set(re.findall(r"^# TYPE (\S+)", served.text(), re.MULTILINE))


def test_a_label_is_escaped() -> None:
    family = {"name": "x", "type": "gauge", "help": "X.", "samples": [["", {"l": 'a"\\\nb'}, 1.5]]}
    ((_, labels),) = parsed(exposition([family]))
    assert labels == (("l", 'a"\\\nb'),)


def nimactl(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nimad.ctl.main", *map(str, args)]
    return forked.run(command, capture_output=True, text=True)


def test_without_a_daemon_the_file_says_so(tmp_path: Path) -> None:
    output = tmp_path / "nimad.prom"
    done = nimactl("--socket", tmp_path / "none", "metrics", "--output", output)
    assert done.returncode == 69 and "nimad" in done.stderr
    assert parsed(output.read_text()) == {("nimad_up", ()): 0}
    assert output.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["nimad.prom"]
    there = nimactl("--socket", tmp_path / "none", "metrics", "--output", tmp_path / "no" / "x")
    assert there.returncode == 73


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    from nimad.ctl.metrics_command import _replace

    output = tmp_path / "nimad.prom"
    whole = {letter * 300_000 for letter in "ab"}
    _replace(output, "a" * 300_000)
    done = threading.Event()
    seen: set[str] = set()

    def read() -> None:
        while not done.is_set():
            seen.add(output.read_text())

    with Background(read), setting(done):
        for n in range(60):
            _replace(output, "ab"[n % 2] * 300_000)
    assert seen <= whole
