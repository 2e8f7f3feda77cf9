"""Embedder http: a real HTTP server, the real helper process, and a store that survives both."""

from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nimad.check import check
from nimad.config import Config
from nimad.core import maintenance, status
from nimad.core.store import MemoryStore
from nimad.embed.http import FIRST_PAUSE, HttpEmbedder
from nimad.embed.registry import get_embedder
from nimad.endpoint import remote
from nimad.endpoint.main import listen
from nimad.endpoint.remote import Endpoint, EndpointError
from nimad.errors import ConfigError, Degraded, SocketBusy, SocketUnusable
from nimad.model import Memory
from tests.threads import PATIENCE, Background, Callers

DIMS = 64
TEXTS = [
    "Maya planted basil on the balcony",
    "Jonas repaired the bicycle brake",
    "The gate squeaks",
]


class Api(ThreadingHTTPServer):
    """Embeds by spelling; what it is told to do wrong, it does, once for each item."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.wrongs: list[tuple[int, bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/embeddings"


class _Handler(BaseHTTPRequestHandler):
    server: Api

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(request)
        self.server.keys.append(self.headers.get("Authorization"))
        if self.server.wrongs:
            status, body = self.server.wrongs.pop(0)
        else:
            rows = get_embedder("hash").embed(request["input"])[:, :DIMS].tolist()
            data = [{"index": n, "embedding": row} for n, row in enumerate(rows)]
            status, body = 200, json.dumps({"data": data[::-1]}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def api() -> Iterator[Api]:
    server = Api()
    with Background(server.serve_forever):
        yield server
        server.shutdown()
    server.server_close()


class Helper:
    """The process nimad-embedder."""

    def __init__(self, folder: Path, url: str, **more: object) -> None:
        self.place = folder / "embedder.sock"
        self.log = folder / "embedder.log"
        (folder / "key").write_text("open sesame\n")
        lines = {"url": url, "model": "tiny", "dims": DIMS, "socket": str(self.place)}
        lines |= {"key_file": str(folder / "key"), "batch": 2, **more}
        self.file = folder / "nimad.yaml"
        self.file.write_text(json.dumps({"embedder": "http", "http": lines}))
        self.process: subprocess.Popen[bytes] | None = None
        self.config = Config().replace(
            embedder="http",
            graph__engine="none",
            **{f"http__{name}": value for name, value in lines.items()},
        )

    def start(self) -> Helper:
        command = [sys.executable, "-m", "nimad.endpoint.main", "--config", str(self.file)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while not self.listens():
            assert self.process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        return self

    def listens(self) -> bool:
        """Whether a caller gets through: the file is there a moment before."""
        with socket.socket(socket.AF_UNIX) as caller:
            return caller.connect_ex(str(self.place)) == 0

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(PATIENCE)
            self.process = None
            self.place.unlink(missing_ok=True)


@pytest.fixture(autouse=True)
def room_for_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a pause or two, and waits for a processor, are too long for a single text."""
    monkeypatch.setattr("nimad.embed.http.QUICK_SECONDS", PATIENCE)


@pytest.fixture
def helper(api: Api, tmp_path: Path) -> Iterator[Helper]:
    made = Helper(tmp_path, api.url)
    yield made
    made.stop()


def test_vectors_come_in_order_at_length_one_with_the_key(api: Api, helper: Helper) -> None:
    embedder = HttpEmbedder(helper.start().config)
    rows = embedder.embed([*TEXTS, "", "\ud800"])
    wanted = get_embedder("hash").embed(TEXTS)[:, :DIMS]
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    assert np.allclose(rows[:3], wanted, atol=1e-6) and not rows[3].any()
    assert [len(request["input"]) for request in api.asked] == [2, 2]
    assert api.asked[0]["model"] == "tiny" and api.keys[0] == "Bearer open sesame"


def test_passing_failures_are_tried_again_and_others_told(api: Api, helper: Helper) -> None:
    embedder = HttpEmbedder(helper.start().config)
    api.wrongs = [(503, b"warming up"), (429, b"slowly")]
    assert embedder.embed(TEXTS[:1]).any() and len(api.asked) == 3
    api.wrongs = [(401, b"no such key")]
    with pytest.raises(Degraded, match="401 Unauthorized"):
        embedder.embed(TEXTS[:1])
    assert len(api.asked) == 4 and "401" in str(embedder.trouble)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b'{"data": []}',
        b'{"data": [{"index": 0, "embedding": [1, 2]}]}',
        b'{"data": [{"index": 5, "embedding": [1]}]}',
        b'{"data": [{"index": 0, "embedding": ["x"]}]}',
        b'{"data": [{"index": 0, "embedding": [1e400]}]}',
    ],
)
def test_an_odd_answer_is_refused(api: Api, helper: Helper, body: bytes) -> None:
    embedder = HttpEmbedder(helper.start().config)
    api.wrongs = [(200, body)]
    with pytest.raises(Degraded):
        embedder.embed(TEXTS[:1])


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b'{"error": "cannot embed: SECRET"}'),
        (500, b"SECRET"),
        (200, b'{"data": [{"index": 0, "embedding": ["SECRET"]}]}'),
        (200, b'{"data": [{"index": "SECRET", "embedding": [1]}]}'),
        (200, b'{"data": "SECRET"}'),
    ],
)
def test_an_endpoint_that_quotes_a_text_gets_it_into_no_log(
    api: Api, helper: Helper, status: int, body: bytes
) -> None:
    embedder = HttpEmbedder(helper.start().config)
    api.wrongs = [(status, body)] * 4
    with pytest.raises(Degraded) as found:
        embedder.embed(TEXTS[:1])
    assert "SECRET" not in found.value.message and "SECRET" not in str(embedder.trouble)
    log = helper.log.read_text()
    assert "endpoint" in log or "answered" in log
    assert "SECRET" not in log


def test_a_line_that_is_no_http_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "ATTEMPTS", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"

        def answer(caller: socket.socket) -> None:
            caller.recv(1 << 16)
            caller.sendall(b"SECRET SECRET\r\n\r\n")

        endpoint = Endpoint(Config().replace(http__url=url))
        refused = pytest.raises(EndpointError, match="does not speak HTTP")
        with Callers(server, answer), refused as found:
            endpoint.embed(["a"], 60)
    assert "SECRET" not in str(found.value)


def test_a_try_that_begins_too_late_tells_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause on a busy machine may end behind the deadline."""
    began = time.monotonic
    late = itertools.chain([0.0], itertools.repeat(60.0))
    monkeypatch.setattr(remote.time, "monotonic", lambda: began() + next(late))
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    endpoint = Endpoint(Config().replace(http__url=f"http://127.0.0.1:{port}/"))
    with pytest.raises(EndpointError, match="Connection refused"):
        endpoint.embed(["a"], 3)


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_the_helper_replaces_nothing_but_a_socket_of_its_own(tmp_path: Path, kind: str) -> None:
    place, precious = tmp_path / "place", tmp_path / "precious"
    precious.write_text("precious")
    if kind == "file":
        precious = precious.rename(place)
    elif kind == "link":
        place.symlink_to(precious)
    else:
        place.mkdir()
    with pytest.raises(SocketUnusable):
        listen(place)
    assert precious.read_text() == "precious" and os.path.lexists(place)


def test_the_helper_replaces_a_socket_that_a_crash_left_but_not_one_in_use(tmp_path: Path) -> None:
    place = tmp_path / "place"
    with listen(place):
        assert place.stat().st_mode & 0o777 == 0o600
        with pytest.raises(SocketBusy):
            listen(place)
    with listen(place), socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(place))


def test_a_long_text_is_cut(api: Api, tmp_path: Path) -> None:
    helper = Helper(tmp_path, api.url, max_chars=100).start()
    try:
        HttpEmbedder(helper.config).embed(["word " * 1000])
        assert len(api.asked[0]["input"][0]) == 100
    finally:
        helper.stop()


def test_nobody_waits_for_a_helper_that_is_away(helper: Helper) -> None:
    now = [0.0]
    embedder = HttpEmbedder(helper.config, clock=lambda: now[0])
    with pytest.raises(Degraded, match="nimad-embedder does not run"):
        embedder.embed(TEXTS)
    helper.start()
    with pytest.raises(Degraded):  # still in its pause
        embedder.embed(TEXTS)
    now[0] += FIRST_PAUSE
    assert embedder.embed(TEXTS).any() and embedder.trouble is None


def test_memories_wait_for_it_and_words_find_them(
    api: Api, helper: Helper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nimad.embed.http.FIRST_PAUSE", 0.0)
    monkeypatch.setattr("nimad.embed.http.LONGEST_PAUSE", 0.0)
    state = tmp_path / "state"
    store = MemoryStore.open(state, helper.start().config)
    first = store.remember(Memory(text=TEXTS[0]))
    helper.stop()
    late = store.remember(Memory(text=TEXTS[1]))
    answer = store.query("bicycle")
    assert [hit.memory.id for hit in answer.hits] == [late] and answer.degraded == ["embedder"]
    maintenance.finish(store)
    assert "nimad-embedder" in store.setbacks.reasons()["blocks"]
    store.close()
    store = MemoryStore.open(state, helper.config)  # and a restart does not forget who waits
    late_too = store.remember(Memory(text=TEXTS[2]))
    assert store.blocks.ids().tolist() == [first]
    helper.start()
    maintenance.finish(store)
    assert store.blocks.ids().tolist() == [first, late, late_too]
    answer = store.query(TEXTS[1], mode="meaning")
    assert answer.hits[0].memory.id == late and answer.degraded == []
    assert check(store) == []
    store.close()


def test_switching_to_it_waits_for_it(api: Api, helper: Helper, tmp_path: Path) -> None:
    store = MemoryStore.open(tmp_path / "state", Config().replace(graph__engine="none"))
    ids = store.remember_many([Memory(text=text) for text in TEXTS])
    store.configure(helper.config)
    maintenance.finish(store)
    assert "nimad-embedder" in store.setbacks.reasons()["blocks"]
    shown = status.describe(store)["embedder"]
    assert shown["name"] == "static" and "nimad-embedder" in shown["trouble"]
    assert store.query("basil").hits[0].memory.id == ids[0] and not store.degraded()
    helper.start()
    store.semantic.wanted_embedder._not_before = 0.0  # type: ignore[attr-defined]
    store.setbacks.clear()
    maintenance.finish(store)
    assert store.embedder.name == "http" and check(store) == []
    store.close()


def test_another_way_to_the_same_vectors_is_taken_without_encoding_anew(
    api: Api, helper: Helper, tmp_path: Path
) -> None:
    store = MemoryStore.open(tmp_path / "state", helper.start().config)
    store.remember_many([Memory(text=text) for text in TEXTS])
    maintenance.finish(store)
    api.asked.clear()
    store.configure(helper.config.replace(http__batch=1))
    assert not store.semantic.due
    store.remember_many([Memory(text="A fox in the snow"), Memory(text="The ferry was late")])
    maintenance.finish(store)
    asked = [request["input"] for request in api.asked]
    assert asked == [["A fox in the snow"], ["The ferry was late"]]
    store.close()


def test_without_an_address_it_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"http\.url"):
        get_embedder("http")
    run = subprocess.run(
        [sys.executable, "-m", "nimad.endpoint.main", "--config", "/dev/null"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 78 and "http.url" in run.stderr
