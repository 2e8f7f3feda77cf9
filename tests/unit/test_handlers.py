"""Every verb on a real store, as the dispatcher calls it: results, refusals, and the document."""

from __future__ import annotations

import asyncio
import errno
import itertools
import json
import os
import random
import re
import string
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from nimad.background.worker import Worker
from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.errors import DiskFailed, NimadError, NotFound
from nimad.limits import MAX_FRAME
from nimad.migrate.manager import MigrationManager
from nimad.model import AttachRequest, Memory, Relation, now_ms
from nimad.serve import migration_verbs, service_verbs
from nimad.serve.access import Access, Peer
from nimad.serve.dispatch import LARGE, SMALL, Dispatcher
from nimad.serve.frames import Frame
from nimad.serve.graph_verb import graph_verb
from nimad.serve.params import REQUIRED
from nimad.serve.verb_table import verbs
from nimad.serve.verbs import Call, Verb
from nimad.store.records import Records
from nimad.words.index import TermIndex
from tests.dispatching import answer_to
from tests.pace import measure_pace
from tests.silent_file import can_mount, silent_file

ME = Peer(os.getpid(), 0, 0)


class Refusal(Exception):
    """The error object of a reply."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['message']} {error['data']['hint']}")
        self.code = error["data"]["code"]


Ask = Callable[..., Any]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    opened = MemoryStore.open(tmp_path / "state", Config().replace(embedder="hash"))
    yield opened
    opened.close()


@pytest.fixture
def served(store: MemoryStore) -> dict[str, Verb]:
    migrations = MigrationManager(store, Worker(lambda: store.config))
    found = verbs(store, migrations, service_verbs.Traffic("x.sock"))
    return {verb.name: verb for verb in found}


@pytest.fixture
def ask(served: dict[str, Verb]) -> Iterator[Ask]:
    """Asks one verb through a dispatcher, from frame to frame."""

    async def answer(frame: bytes, fds: list[int]) -> bytes | None:
        dispatcher = Dispatcher(served.values(), Access("", ""), threads=1)
        try:
            return await answer_to(dispatcher, Frame(frame, fds), ME)
        finally:
            dispatcher.abandon()

    def asked(method: str, fds: tuple[int, ...] = (), **params: Any) -> Any:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        line = asyncio.run(answer(json.dumps(request).encode(), list(fds)))
        assert line is not None and len(line) <= MAX_FRAME + 1
        reply = json.loads(line)
        if "error" in reply:
            raise Refusal(reply["error"])
        return reply["result"]

    yield asked


def refused(ask: Ask, method: str, **params: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        ask(method, **params)
    return caught.value


@pytest.mark.parametrize("size", [0, SMALL + 1, LARGE + 1])
def test_every_verb_answers_a_frame_of_any_size(
    served: dict[str, Verb], ask: Ask, size: int
) -> None:
    """In whatever lane it is done, for what takes long and what does not."""
    served |= {
        name: replace(verb, run=lambda call: {}, takes=None, descriptor="")
        for name, verb in served.items()
    }
    for name, params in itertools.product(
        served, ({}, {"purge": True}, {"size": 9}, {"fleet": True})
    ):
        with suppress(Refusal):  # of parameters that it does not know
            ask(name, filled=" " * size, **params)


@pytest.mark.parametrize("code", ["EIO", "ENOSPC", "EROFS"])
def test_what_the_disk_says_is_told_by_every_verb(
    store: MemoryStore, served: dict[str, Verb], ask: Ask, code: str
) -> None:
    """Wherever it is met: an old file that cannot be deleted, say, after its rebuild."""
    error = OSError(getattr(errno, code), "it says no")

    def fails(call: Call) -> None:
        raise error

    served |= {
        name: replace(verb, run=fails, takes=None, descriptor="") for name, verb in served.items()
    }
    told = {"EIO": "disk_failed", "ENOSPC": "disk_full", "EROFS": "disk_read_only"}[code]
    assert {refused(ask, name).code for name in served} == {told}


# --- memories -------------------------------------------------------------------------------------


def test_remember_get_query_forget(ask: Ask) -> None:
    given = {"text": "The boiler makes a knocking noise", "who": "Maya", "tags": ["house"]}
    made = ask("remember", **given, timestamp="2024-05-01T10:00:00Z", extra={"floor": 2})["id"]
    memory = ask("get", id=made)["memory"]
    assert {name: memory[name] for name in given} == given
    assert memory["timestamp"] == 1714557600000 and memory["extra"] == {"floor": 2}
    assert memory["layer"] == "note" and memory["namespace"] == "default"
    found = ask("query", text="knocking boiler", mode="words", explain=True)
    assert found["results"][0]["id"] == made and found["results"][0]["parts"]
    assert found["took_ms"] >= 0 and found["degraded"] == []
    assert found["evidence"].keys() == {"met", "least", "strange", "parts"}
    assert found["timings"]["words_ms"] > 0 and "timings" not in ask("query", text="boiler")
    assert ask("query", text="knocking boiler", who="Jonas")["results"] == []
    assert ask("query", text="boiler", before="2024-05-01")["results"] == []
    assert ask("query", text="boiler", after="2024-05-01", tags=["house"])["results"]
    planned = ask("forget", ids=[made, 999], dry_run=True)
    assert (planned["forgotten"], planned["missing"], planned["dry_run"]) == ([made], [999], True)
    receipt = ask("forget", ids=[made, made, 999])
    assert receipt["forgotten"] == [made] and receipt["removed"]["records"] == 1
    assert refused(ask, "get", id=made).code == "not_found"


def test_dates_of_a_question_may_be_words(ask: Ask) -> None:
    day = 86_400_000
    now = now_ms()
    for age in range(6):
        ask("remember", text=f"The boiler was repaired, {age}", timestamp=now - age * day - 1000)

    def ages(**more: Any) -> list[int]:
        found = ask("query", text="boiler repaired", mode="words", **more)["results"]
        return sorted((now - memory["timestamp"]) // day for memory in found)

    assert ages(after="2 days ago") == [0, 1]
    assert ages(before="2d") == [2, 3, 4, 5]
    assert ages(as_of="3 days ago") == [3, 4, 5]
    assert ages(as_of=now - 3 * day, after="1d") == [3]
    assert ages(as_of="3d", before="2d") == [5]
    assert "as_of must be a date" in str(refused(ask, "query", text="x", as_of="soon"))


def test_a_query_with_context_and_a_budget(ask: Ask) -> None:
    roles = {"input": "Is the boiler mended?", "output": "The boiler was mended on Monday."}
    for n, (layer, text) in enumerate(roles.items()):
        ask("remember", text=text, layer=layer, turn="t", session="s", timestamp=n + 1)
    last = ask("remember", text="Thanks.", session="s", timestamp=9)["id"]
    (found,) = ask("query", text="boiler mended", context=True)["results"]
    around = found["context"]
    turn = around["turn"]
    assert turn["contemplation"] is None and sorted(around["hits"])[:2] == sorted(
        [turn["input"], turn["output"]]
    )
    assert [m["id"] for m in around["memories"]] == [turn["input"], turn["output"], last]
    packed = ask("query", text="boiler mended", budget=60)
    assert 0 < packed["tokens"] == sum(r["tokens"] for r in packed["results"]) <= 60
    assert "context" not in packed["results"][0] and packed["budget"] == 60
    both = ask("query", text="boiler mended", context=True, budget=25)
    assert [len(r["context"]["memories"]) for r in both["results"]] == [1]
    ask("remember", text="The kettle is old. " * 20)
    (cut,) = ask("query", text="kettle old", budget=30)["results"]
    assert cut["cut"] and cut["text"].endswith("old. …") and cut["tokens"] <= 30


def test_what_is_remembered_without_a_time_happened_now(ask: Ask) -> None:
    memory = ask("get", id=ask("remember", text="now")["id"])["memory"]
    assert memory["timestamp"] == memory["created"] > 1_600_000_000_000


def test_an_import_is_all_or_nothing_and_names_the_bad_line(ask: Ask) -> None:
    lines = [{"text": f"line {n}", "conversation": "c"} for n in range(5)]
    bad = refused(ask, "import", memories=[*lines, {"text": "x", "importance": 2}], where="f:11")
    assert bad.code == "bad_record" and str(bad).startswith("f:16: importance must be")
    assert ask("status")["memories"] == 0
    assert len(ask("import", memories=lines, namespace="box")["ids"]) == 5
    assert ask("status")["namespaces"] == {"box": 5}
    assert refused(ask, "import", memories=[]).code == "usage"
    assert refused(ask, "import", memories=[{"text": "x"}] * 501).code == "usage"


def test_an_export_comes_in_pages_that_fit(ask: Ask) -> None:
    texts = [f"{number} " + "ü\n" * 60_000 for number in range(9)]
    for text in texts:
        ask("remember", text=text)
    seen, after, pages = [], 0, 0
    while after is not None:
        page = ask("export", after=after, limit=7)
        seen += [memory["text"] for memory in page["memories"]]
        after, pages = page["next"], pages + 1
    assert seen == texts and pages > 2
    found = ask("query", text="ü", mode="words", k=9)["results"]
    assert len(found) == 9 and all("cut" in memory for memory in found)


def test_an_export_of_one_namespace_can_be_imported_into_another(ask: Ask) -> None:
    ask("import", memories=[{"text": "a", "extra": {"n": 1}}, {"text": ""}], namespace="one")
    ask("remember", text="elsewhere")
    lines = ask("export", namespace="one")["memories"]
    assert ask("export", namespace="none of these") == {"memories": [], "next": None}
    for line in lines:
        line["namespace"] = None
    ask("import", memories=lines, namespace="two")
    again = ask("export", namespace="two")["memories"]
    own = ("id", "namespace")
    assert [{k: v for k, v in m.items() if k not in own} for m in again] == [
        {k: v for k, v in m.items() if k not in own} for m in lines
    ]


def test_related_follows_a_turn(ask: Ask) -> None:
    asked = ask("remember", text="Is the gate shut?", layer="input", turn="t1")["id"]
    answered = ask("remember", text="Yes, since noon.", layer="output", turn="t1")["id"]
    found = ask("related", id=asked)
    assert found["degraded"] == []
    assert [result["id"] for result in found["results"]] == [answered]
    assert refused(ask, "related", id=999).code == "not_found"
    assert refused(ask, "related", id=asked, depth=0).code == "usage"


def test_a_turn_of_another_session_is_another_turn(ask: Ask) -> None:
    lines = [
        {"text": f"{layer} of {session}", "layer": layer, "turn": "1", "session": session}
        for session in ("monday", "tuesday")
        for layer in ("input", "output")
    ]
    ids = ask("import", memories=lines)["ids"]
    for one, other in ((0, 1), (1, 0), (2, 3), (3, 2)):
        results = ask("related", id=ids[one], depth=5)["results"]
        assert [(r["id"], r["relation"]) for r in results] == [(ids[other], "same_turn")]


def test_related_goes_as_deep_as_it_says(ask: Ask, store: MemoryStore) -> None:
    ids = [ask("remember", text=f"step {number}")["id"] for number in range(7)]
    with store.records.write() as tx:
        tx.add_relations(
            [(Relation(a, b, "next", 1.0), None, None) for a, b in itertools.pairwise(ids)]
        )
    for depth in range(1, 6):
        found = ask("related", id=ids[0], depth=depth)["results"]
        assert [r["distance"] for r in found] == [*range(1, depth + 1)]
    assert refused(ask, "related", id=ids[0], depth=6).code == "usage"


def test_graph_is_asked_in_cypher(ask: Ask) -> None:
    first = ask("remember", text="a", who="Ada")["id"]
    found = ask("graph", cypher="MATCH (m:Memory) RETURN m.id, m.who")
    assert (found["columns"], found["rows"]) == (["m.id", "m.who"], [[first, "Ada"]])
    assert (found["more"], found["behind"], found["watermark"]) == (False, 0, 1)
    second = ask("remember", text="b")["id"]
    where = {"cypher": "MATCH (m:Memory) WHERE m.id > $id RETURN m.id", "parameters": {"id": 1}}
    assert ask("graph", **where)["behind"] == 1
    assert ask("graph", **where, fresh=True)["rows"] == [[second]]
    assert refused(ask, "graph", cypher="CREATE (:Memory {id: 9})").code == "cypher_refused"
    assert refused(ask, "graph", cypher="MATCH (m RETURN m").code == "cypher_refused"
    assert refused(ask, "graph", cypher="RETURN 1", limit=0).code == "usage"
    assert refused(ask, "graph", cypher="RETURN 1", seconds=601).code == "usage"
    assert refused(ask, "graph", cypher="RETURN 1", parameters=[1]).code == "usage"
    endless = "UNWIND range(1, 1000000) AS x UNWIND range(1, 1000000) AS y RETURN sum(x * y % 7)"
    assert refused(ask, "graph", cypher=endless, seconds=0.1).code == "cypher_too_much"


def test_making_the_graph_needs_the_right_to_control(store: MemoryStore) -> None:
    reader = Peer(os.getpid(), 12_345, 12_345)
    verb = graph_verb(store, Access("", "nobody-of-this-name"))
    with pytest.raises(NimadError) as caught:
        verb.answer(Call({"cypher": "RETURN 1"}, reader))
    assert caught.value.exit == 77
    assert verb.answer(Call({"cypher": "RETURN 1"}, ME))["rows"] == [[1]]
    store.remember(Memory(text="later"))
    assert verb.answer(Call({"cypher": "RETURN 1"}, reader))["behind"] == 1
    with pytest.raises(NimadError):
        verb.answer(Call({"cypher": "RETURN 1", "fresh": True}, reader))


def test_similar_leaves_itself_out(ask: Ask) -> None:
    texts = ["The heron stood in the reeds", "A heron waited in the reeds", "Taxes are due in May"]
    ids = [ask("remember", text=text)["id"] for text in texts]
    found = ask("similar", id=ids[0])
    assert found["results"][0]["id"] == ids[1]
    assert ids[0] not in [result["id"] for result in found["results"]]
    assert 0 < found["results"][0]["score"] < 1
    assert len(ask("similar", id=ids[0], k=1)["results"]) == 1
    assert refused(ask, "similar", id=999).code == "not_found"
    assert refused(ask, "similar", id=ids[0], k=0).code == "usage"


# --- nimad itself ---------------------------------------------------------------------------------


def test_ping_status_doctor_rebuild(ask: Ask) -> None:
    for number in range(3):
        ask("remember", text=f"The clock struck {number}")
    assert ask("ping")["state"] == "ready"
    status = ask("status")
    assert status["socket"] == "x.sock" and status["memories"] == 3
    found = ask("doctor")
    assert found["problems"] == [] and found["checked"]["memories"] == 3
    rebuilt = ask("rebuild", part="all")["rebuilt"]
    assert rebuilt["words"]["rows"] == rebuilt["blocks"]["rows"] == 3
    assert refused(ask, "rebuild", part="soup").code == "usage"


# --- migrations -----------------------------------------------------------------------------------

ATTACH = {"path": "/home/x/graph.sqlite", "kind": "nima-sqlite", "sha256": "0" * 64, "size": 0}


def test_a_state_directory_that_was_moved_is_no_bug_of_nimads(ask: Ask, tmp_path: Path) -> None:
    ask("remember", text="before")
    (tmp_path / "state").rename(tmp_path / "moved")
    asked: dict[str, dict[str, Any]] = {
        "remember": {"text": "nowhere"},
        "import": {"memories": [{"text": "nowhere"}]},
        "capture": {"turns": [{"turn": "t", "session": "s", "input": "a", "output": "b"}]},
        "forget": {"ids": [1], "purge": True},
        "rebuild": {"part": "all"},
        "status": {},
    }
    for method, params in asked.items():
        assert refused(ask, method, **params).code == "state_unusable"
    (tmp_path / "moved").rename(tmp_path / "state")
    assert ask("get", id=ask("remember", text="after")["id"])["memory"]["text"] == "after"


def test_migration_verbs_are_strict(ask: Ask) -> None:
    assert ask("migrate.status")["sources"] == []
    assert ask("migrate.pause") == {"sources": []} == ask("migrate.resume")
    assert ask("migrate.now") == {"sources": []}
    assert "descriptor" in str(refused(ask, "migrate.attach", **ATTACH))
    for name, value in {
        "path": "relative",
        "sha256": "A" * 64,
        "strategy": "eager",
        "name": "../../etc",
        "batch_size": -1,
        "start_offset": 0.5,
    }.items():
        assert f"{name} must" in str(refused(ask, "migrate.attach", **{**ATTACH, name: value}))
    for verb in ("verify", "rollback", "forget_backup"):
        assert refused(ask, f"migrate.{verb}", name="nobody").code == "not_found"
        assert refused(ask, f"migrate.{verb}").code == "usage"


class Recorder:
    """Stands where the migrations do, to see what the verbs pass on."""

    def attach(self, fd: int, asked: AttachRequest) -> dict[str, Any]:
        return {"read": os.read(fd, 9).decode(), **asdict(asked)}

    def pause(self, names: list[str] | None) -> list[str]:
        return names or ["all"]

    def status(self, name: str | None = None) -> dict[str, Any]:
        raise NotFound(kind="source", id=name)

    def __getattr__(self, name: str) -> Any:
        return None  # verbs that are not asked here


def test_what_was_asked_reaches_the_migrations(tmp_path: Path) -> None:
    found = {v.name: v for v in migration_verbs.migration_verbs(Recorder())}  # type: ignore[arg-type]
    (tmp_path / "file").write_bytes(b"snapshot")
    with (tmp_path / "file").open("rb") as file:
        call = Call({**ATTACH, "batch_size": 7}, ME, [file.fileno()])
        passed = found["migrate.attach"].answer(call)
        assert call.fds == [file.fileno()], "the descriptor is only lent"
    assert passed == {
        "read": "snapshot",
        **ATTACH,
        "batch_size": 7,
        "strategy": None,
        "start_offset": 0,
        "name": None,
        "dry_run": False,
        "time_zone": None,
    }
    pause = found["migrate.pause"]
    assert pause.answer(Call({"name": "graph"}, ME)) == {"sources": ["graph"]}
    assert pause.answer(Call({}, ME)) == {"sources": ["all"]}
    with pytest.raises(NimadError):
        found["migrate.status"].answer(Call({"name": "graph"}, ME))


# --- the document ---------------------------------------------------------------------------------


def documented() -> dict[str, tuple[str, str]]:
    """method → (parameters, access), from the table of docs/protocol.md."""
    text = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
    table = re.sub(r"\\\|", "__", text)
    rows = re.findall(r"^\| (`[a-z].*?) \| (.*?) \| .* \| (read|control) \|$", table, re.MULTILINE)
    return {
        name: (params, access)
        for names, params, access in rows
        for name in re.findall("`([^`]+)`", names)
    }


def test_the_document_lists_every_verb_its_parameters_and_who_may(served: dict[str, Verb]) -> None:
    described = documented()
    assert described.keys() == served.keys()
    for name, (params, access) in described.items():
        assert served[name].access == access, name
        if name == "remember":
            continue  # "a memory's fields"
        listed = set(re.findall("`([a-z_0-9]+)`", params)) - {"graph.sqlite"}
        takes = served[name].takes
        assert takes is not None and listed == takes.keys(), name
        for parameter, value in re.findall(r"`(\w+)`=(\w+)", params):
            default = takes[parameter].default
            if default is not None and default is not REQUIRED:
                assert str(default).lower() == value.split("__")[0], (name, parameter)


# --- what a query may cost ------------------------------------------------------------------------


@pytest.mark.parametrize("count", [20, 200])  # each word is asked for; the rarest of many are
def test_a_query_that_takes_too_long_is_given_up(
    ask: Ask, store: MemoryStore, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    ask("remember", text="The kettle is in the garden")
    assert ask("query", text="kettle garden")["results"]
    store.configure(store.config.replace(recall__seconds=0.2))

    slept: list[float] = []

    def slow(work: Callable[..., Any], seconds: float = 0.05) -> Callable[..., Any]:
        def work_slowly(*given: Any) -> Any:
            slept.append(seconds)
            time.sleep(seconds)
            return work(*given)

        return work_slowly

    for name in ("holders", "rows"):
        monkeypatch.setattr(TermIndex, name, slow(getattr(TermIndex, name)))
    if count > 20:  # the words of a message are not asked for by meaning alone: it is encoded
        embedder = type(store.embedder)
        monkeypatch.setattr(embedder, "embed", slow(embedder.embed, 0.25))
    words = " ".join(f"Word{number}" for number in range(count))
    for more in ({}, {"mode": "meaning"}, {"explain": True}):
        slept.clear()
        assert refused(ask, "query", text=words, **more).code == "query_too_long"
        assert sum(slept) < 1.5  # on a busy machine the time is up after fewer of them


WORDS = string.ascii_lowercase
LONG_QUERIES = {
    "capitals": lambda rnd: " ".join(
        "".join(rnd.choices(WORDS, k=8)).title() for _ in range(22_000)
    ),
    "short words": lambda rnd: " ".join("".join(rnd.choices(WORDS, k=3)) for _ in range(49_000)),
    "one word": lambda rnd: "a" * 199_999,
    "chinese": lambda rnd: "".join(chr(0x4E00 + rnd.randrange(20_000)) for _ in range(199_000)),
    "thai": lambda rnd: "".join(chr(0x0E01 + rnd.randrange(46)) for _ in range(199_000)),
    "marks": lambda rnd: "e\u0301\u0300" * 60_000,
    "apostrophes": lambda rnd: "a'" * 99_000,
    "dates": lambda rnd: "1年1月1日" * 30_000,
    "minutes": lambda rnd: " ".join(f"{n % 9999 + 1} minutes ago" for n in range(9900)),
    "emoji": lambda rnd: "\U0001f468\u200d\U0001f469\u200d\U0001f467" * 39_000,
    "blanks": lambda rnd: "x" + " " * 199_990 + "y",
    "names": lambda rnd: "Maya " * 39_000,
}


@pytest.mark.parametrize("kind", LONG_QUERIES)
def test_the_longest_query_costs_little(ask: Ask, kind: str) -> None:
    """Processor time, as the machine may be busy; it took up to 10 s before there was a bound."""
    memories = [{"text": f"the kettle {n} of Maya", "who": "Maya"} for n in range(300)]
    ask("import", memories=memories)
    ask("query", text="warm up")
    text = LONG_QUERIES[kind](random.Random(3))
    with measure_pace() as pace:
        ask("query", text=text, mode="meaning", explain=True)
        ask("query", text=text)
    assert pace.seconds < 1


# --- descriptors ----------------------------------------------------------------------------------

DOORS: dict[str, dict[str, Any]] = {
    "migrate.attach": {"path": "/x", "kind": "nima-sqlite", "sha256": "0" * 64, "size": 1 << 20},
    "migrate.append": {"name": "x", "sha256": "0" * 64, "size": 1 << 20},
    "migrate.restore": {"name": "x"},
    "import": {"size": 1 << 20},
    "backup": {"path": "/x"},
    "export.all": {},
    "import.all": {},
}
"""Every verb that takes a descriptor, with parameters that let it get as far as looking at it."""


def test_these_are_all_verbs_that_take_a_descriptor(served: dict[str, Verb]) -> None:
    assert {name for name, verb in served.items() if verb.descriptor} | {"import"} == DOORS.keys()


@pytest.mark.parametrize("door", DOORS)
def test_what_is_no_file_to_work_with_is_a_usage_error(ask: Ask, tmp_path: Path, door: str) -> None:
    file, fifo = tmp_path / "file", tmp_path / "fifo"
    file.write_bytes(b"x" * (1 << 20))
    os.mkfifo(fifo)
    wrong = os.O_RDONLY if door in ("migrate.restore", "backup", "export.all") else os.O_WRONLY
    for fd in (
        os.open(file, os.O_PATH),
        os.open(file, wrong),
        os.open(tmp_path, os.O_RDONLY),
        os.open(fifo, os.O_RDWR),
        os.open("/dev/zero", os.O_RDWR),
        *os.pipe(),
    ):
        refusal = refused(ask, door, fds=(fd,), **DOORS[door])
        assert refusal.code == ("bad_record" if door == "import" else "usage"), str(refusal)
        assert door in str(refusal)


@pytest.mark.skipif(not can_mount(), reason="needs root and /dev/fuse")
@pytest.mark.parametrize("door", DOORS)
def test_a_file_that_never_answers_is_refused(ask: Ask, tmp_path: Path, door: str) -> None:
    place = tmp_path / "mount"
    place.mkdir()
    with silent_file(place) as file:
        fd = os.open(file, os.O_RDWR)
        assert "fuse" in str(refused(ask, door, fds=(fd,), **DOORS[door]))


def test_what_is_wrong_is_told_where_nothing_can_be_read(
    ask: Ask, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.remember(Memory(text="the kettle"))

    def fail(*_: Any, **__: Any) -> NoReturn:
        raise DiskFailed(detail="a test")

    for name in ("reading", "connect_reader", "rows", "write"):
        monkeypatch.setattr(Records, name, fail)
    status = ask("status", history=True)
    assert "a test" in status["degraded"]["records"] and status["unread"]
    assert "memories" not in status, "nobody knows how many there are"
    doctor = ask("doctor")
    assert any("a test" in problem["what"] for problem in doctor["problems"])
    assert "memories" not in doctor["checked"]
    families = {each["name"]: each["samples"] for each in ask("metrics")["families"]}
    assert families["nimad_problems"] == [["", {}, 1]] and "nimad_memories" not in families


SPELLED = ("Küche", "KÜCHE", "küche", "Ｋüche", " Küche ", unicodedata.normalize("NFD", "Küche"))
ASKED: dict[str, dict[str, Any]] = {
    "query": {"text": "kettle"},
    "browse": {},
    "timeline": {},
    "export": {},
    "complete": {"what": "kettle", "ask": "who"},
    "narrative": {"since": "2020"},
    "person": {"name": "Maya"},
    "goal.list": {},
    "dream.list": {},
    "step": {"n": 3, "dry_run": True},
}
"""Verbs that ask of one namespace, whose name is compared in the common form."""


def test_a_namespace_is_the_same_however_it_is_spelled(ask: Ask, served: dict[str, Verb]) -> None:
    number = ask("remember", text="the kettle", who="Maya", namespace="Küche")["id"]
    ask("goal.add", text="mend the kettle", namespace="Küche")
    ask("dream", seconds=1)
    as_they_are = {"import", "remember", "capture", "goal.add", "import.known"}  # names are told
    narrowed = {
        name
        for name, verb in served.items()
        if "namespace" in (verb.takes or {}) and not name.startswith(("documents.", "fleet."))
    }
    assert narrowed - as_they_are == ASKED.keys()
    for verb, params in ASKED.items():
        told = [ask(verb, **params, namespace=spelled) for spelled in SPELLED]
        for each in told:
            each.pop("took_ms", None)
        assert all(each == told[0] for each in told), verb
        found = json.dumps(told[0])
        assert verb in ("dream.list", "timeline") or "kettle" in found or "Maya" in found
    for spelled in SPELLED:
        where = f'namespace="{spelled}" and layer=note'
        assert number in ask("forget", where=where, dry_run=True)["forgotten"]


def test_a_rule_may_quote_a_name_that_has_quotes(ask: Ask) -> None:
    for name, told in (("the 'boss'", "\"the 'boss'\""), ('"Bo"', "'\"Bo\"'"), ("'", '"\'"')):
        number = ask("remember", text="x", who=name)["id"]
        assert ask("forget", where=f"who={told}", dry_run=True)["forgotten"] == [number]


def test_a_memory_gets_no_date_that_is_none(ask: Ask) -> None:
    number = ask("remember", text="x")["id"]
    with pytest.raises(Refusal, match="must be a date"):
        ask("redate", ids=[number], when=0)


def test_a_refusal_shows_no_control_characters(ask: Ask) -> None:
    for verb, params in (
        ("remember", {"text": "x", "importance": "\x1b[2J"}),
        ("fleet.changes", {"kind": "memories", "namespace": "\x1b[2J"}),
    ):
        with pytest.raises(Refusal) as refused:
            ask(verb, **params)
        assert "\x1b" not in str(refused.value)
