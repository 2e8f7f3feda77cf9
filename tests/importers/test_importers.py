"""What holds for each kind of source: nothing twice, the difference alone, all of it undone."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from nimad.background.worker import Worker
from nimad.check import check
from nimad.client.connection import Connection
from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.ctl.main import main
from nimad.importers.items import key_of
from nimad.importers.registry import IMPORTERS, recognise
from nimad.migrate.manager import MigrationManager
from nimad.serve import service_verbs
from nimad.serve.verb_table import verbs
from nimad.serve.verbs import Call
from tests.importers.sources import MADE, change, zipped
from tests.measure_code import ROOT
from tests.unit.test_handlers import ME

KINDS = sorted(IMPORTERS)
COUNTED = ("added", "changed", "gone", "unchanged", "forgotten", "relations", "refused")
Run = Callable[..., dict[str, Any]]


class Store:
    """A store that nimactl asks without a process between: `calls` are the verbs and parameters."""

    def __init__(self, place: Path) -> None:
        self.store = MemoryStore.open(place, Config().replace(embedder="hash"))
        worker = Worker(lambda: self.store.config)
        migrations = MigrationManager(self.store, worker)
        found = verbs(self.store, migrations, service_verbs.Traffic("x.sock"))
        self.verbs = {verb.name: verb for verb in found}
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def call(self, verb: str, fd: int | None = None, **params: Any) -> Any:
        given = {name: value for name, value in params.items() if value is not None}
        self.calls.append((verb, given))
        sent = json.dumps(given)
        assert len(sent) < 1 << 20
        return json.loads(json.dumps(self.verbs[verb].answer(Call(json.loads(sent), ME))))

    def export(self) -> list[dict[str, Any]]:
        """Every memory, but for what reading changes."""
        found: list[dict[str, Any]] = []
        after: int | None = 0
        while after is not None:
            page = self.call("export", after=after)
            found += page["memories"]
            after = page["next"]
        return found

    def texts(self) -> list[str]:
        return sorted(memory["text"] for memory in self.export())


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    made = Store(tmp_path / "state")
    monkeypatch.setattr(
        Connection, "call", lambda self, verb, fd=None, **params: made.call(verb, fd, **params)
    )
    monkeypatch.setenv("TZ", "Europe/Berlin")
    yield made
    assert check(made.store) == []
    made.store.close()


@pytest.fixture
def run(store: Store, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*args: object, codes: Sequence[int] = (0,)) -> dict[str, Any]:
        done = main(["import", *map(str, args), "--json"])
        out, err = capsys.readouterr()
        assert done in codes, err
        found: dict[str, Any] = json.loads(out or err)
        return found

    return run


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def source(kind: str, tmp_path: Path) -> Path:
    place = tmp_path / "source"
    place.mkdir()
    return MADE[kind].write(place)


def counts(report: dict[str, Any]) -> dict[str, int]:
    return {name: report[name] for name in COUNTED}


def test_each_kind_has_a_source_here() -> None:
    assert sorted(MADE) == KINDS


def test_each_kind_is_documented_and_completed() -> None:
    manual = (ROOT / "docs" / "import.md").read_text()
    assert re.findall(r"^\| `([a-z0-9-]+)` \|", manual, re.MULTILINE) == list(IMPORTERS)
    completion = (ROOT / "packaging" / "completion" / "nimactl.bash").read_text()
    offered = re.search(r'--from\).*?compgen -W "([^"]+)"', completion, re.DOTALL)
    assert offered is not None and offered[1].split() == list(IMPORTERS)


def test_it_is_recognised_by_one(kind: str, source: Path) -> None:
    found = recognise(source)
    assert found is not None and found.kind == kind


def test_twice_adds_nothing_and_a_dry_run_tells_the_same(
    run: Run, store: Store, kind: str, source: Path
) -> None:
    before = store.export()
    forecast = run(source, "--dry-run")
    assert store.export() == before == []
    first = run(source)
    assert counts(forecast) == counts(first), first["refusals"]
    assert (first["added"], first["refused"]) == (MADE[kind].items, MADE[kind].refused)
    exported = store.export()
    assert len(exported) == first["added"]
    assert {memory["origin"] for memory in exported} == {"imported"}
    again = run(source, "--dry-run"), run(source)
    assert counts(again[0]) == counts(again[1])
    same = dict.fromkeys(COUNTED, 0) | {"refused": first["refused"], "unchanged": first["added"]}
    assert counts(again[1]) == same
    assert store.export() == exported
    (status,) = store.call("migrate.status")["sources"]
    assert (status["state"], status["total"]) == ("verified", len(exported))
    assert status["quarantined"] == first["refused"]


def test_an_edit_brings_the_difference(run: Run, store: Store, kind: str, source: Path) -> None:
    run(source)
    kept = {memory["id"]: memory for memory in store.export()}
    added, changed, gone = MADE[kind].edit(source)
    forecast = run(source, "--dry-run")
    assert (
        f"{added + changed + gone} rows differ"
        in run(source, "--verify", codes=(65,))["error"]["message"]
    )
    report = run(source)
    assert counts(forecast) == counts(report)
    assert (report["added"], report["changed"], report["gone"]) == (added, changed, gone)
    assert counts(run(source, "--verify"))["unchanged"] == len(store.export())
    now = {memory["id"]: memory for memory in store.export()}
    assert len(now.keys() - kept.keys()) == added + changed
    assert len(kept.keys() - now.keys()) == gone + changed
    assert all(now[number] == kept[number] for number in now.keys() & kept.keys())
    again = run(source)
    assert not again["added"] and not again["changed"] and not again["gone"]


def test_a_rollback_leaves_what_was_there(run: Run, store: Store, kind: str, source: Path) -> None:
    store.call("remember", text="the kettle is mine")
    before = store.export()
    first = run(source)
    MADE[kind].edit(source)
    run(source)
    store.call("migrate.rollback", name=first["name"])
    assert store.export() == before
    assert store.store.records.counts()["relations"] == 0
    assert run(source)["added"]
    assert [each["name"] for each in store.call("migrate.status")["sources"]] == [first["name"]]


def test_what_was_forgotten_stays_so(run: Run, store: Store, kind: str, source: Path) -> None:
    first = run(source)
    doomed = store.export()[0]["id"]
    store.call("forget", ids=[doomed], purge=True)
    left = store.export()
    report = run(source)
    assert (report["forgotten"], report["added"]) == (1, 0)
    assert report["unchanged"] == first["added"] - 1
    assert store.export() == left


def test_a_lost_answer_changes_nothing(run: Run, store: Store, kind: str, source: Path) -> None:
    """Each request may be sent twice."""
    run(source)
    exported = store.export()
    for verb, params in [call for call in store.calls if call[0] == "import.put"]:
        reply = store.call(verb, **params)
        assert (reply["added"], reply["changed"], reply["gone"]) == (0, 0, 0)
    assert store.export() == exported


def test_a_source_that_moved_is_known_by_its_name(
    run: Run, store: Store, kind: str, source: Path
) -> None:
    run(source, "--name", "mine")
    moved = source.parent / f"moved-{source.name}"
    source.rename(moved)
    report = run(moved, "--name", "mine", "--from", kind)
    assert report["name"] == "mine" and report["added"] == 0
    assert counts(report)["gone"] == 0


def test_namespace_and_agent_are_as_asked(run: Run, store: Store, kind: str, source: Path) -> None:
    run(source, "--namespace", "box", "--agent", "a7", "--mask")
    assert {(m["namespace"], m["agent"]) for m in store.export()} == {("box", "a7")}


# --- hostile sources ------------------------------------------------------------------------------

DEEP = b"[" * 100_000
HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "pickle": b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00cos\nsystem\n\x94\x8c\x02id\x85R.",
    "deep": DEEP,
    "deep object": b'{"a":' * 50_000,
    "nul": b"\x00" * 5000,
    "latin": "caf\xe9 \xff".encode("latin-1") * 100,
    "text": b"not what it says\n" * 3,
    "half": b'[{"uuid": "x", "name": "half',
    "line": b'{"type": "' + b"x" * 13_000_000 + b'"}\n',
    "sqlite": b"SQLite format 3\x00" + b"\xff" * 4000,
    "zip": b"PK\x03\x04" + b"\xff" * 4000,
    "numbers": b'{"type": 1e999, "id": ' + b"9" * 5000 + b"}\n",
}

TEXTS = ("empty", "text", "numbers")
"""What any file may hold, so that what it said before is gone."""
NOTES = ("deep", "deep object", "half", "line")
"""What a note may say."""


def _files(source: Path) -> list[Path]:
    return (
        sorted(path for path in source.rglob("*") if path.is_file())
        if source.is_dir()
        else [source]
    )


def test_what_is_hostile_is_refused_and_the_rest_comes_in(
    run: Run, store: Store, kind: str, source: Path
) -> None:
    """Each file in turn: the others are read, and what they held before is not gone for it."""
    run(source)
    for file in _files(source):
        kept, data = store.texts(), file.read_bytes()
        if file.is_symlink() or b"caf\xe9" in data:  # is hostile as it is
            continue
        for damage, bad in HOSTILE.items():
            file.write_bytes(bad)
            run(source, "--from", kind, codes=(0, 65, 66))
            may_say = damage in TEXTS or (damage in NOTES and file.suffix == ".md")
            assert may_say or store.texts() == kept, damage
            if may_say:
                file.write_bytes(data)
                run(source, "--from", kind)
        file.write_bytes(data)
        run(source, "--from", kind)
        assert store.texts() == kept


def test_a_link_in_place_of_a_file_is_not_followed(
    run: Run, store: Store, kind: str, source: Path, tmp_path: Path
) -> None:
    if not source.is_dir():
        pytest.skip("one file, which its owner names: it may be a link")
    outside = tmp_path / "outside"
    shutil.copytree(source, outside, symlinks=True)
    for file in _files(source):
        if not file.is_symlink():
            file.unlink()
            file.symlink_to(outside / file.relative_to(source))
    report = run(source, "--from", kind, codes=(66,))["error"]
    assert report["added"] == 0 and report["refused"]


def test_a_purge_leaves_nothing_of_it(
    run: Run, store: Store, kind: str, source: Path, tmp_path: Path
) -> None:
    """Nor of what an edit replaced, or took out."""
    run(source)
    texts = set(store.texts())
    MADE[kind].edit(source)
    run(source)
    texts |= set(store.texts())
    ids = [memory["id"] for memory in store.export()]
    receipt = store.call("forget", ids=ids, purge=True, all_forgotten=True)
    assert receipt["purged"], receipt
    held = b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file())
    assert [text for text in texts if len(text) > 9 and text.encode() in held] == []


def test_a_secret_leaves_no_digest(run: Run, store: Store, tmp_path: Path) -> None:
    note = tmp_path / "note.md"
    note.write_text("The key is sk-abcdefghijklmnopqrstuvwx and no other.\n")
    report = run(note, "--from", "markdown", "--mask")
    (memory,) = store.export()
    assert memory["text"] == "The key is [masked key] and no other." and report["secrets"] == 1
    assert memory["source"]["id"] == f"notes/note.md#{key_of(memory['text'])}"
    assert run(note, "--from", "markdown", "--mask")["unchanged"] == 1
    again = run(note, "--from", "markdown")
    assert (again["added"], again["gone"]) == (1, 1)


def test_links_stay_when_a_note_is_edited(run: Run, store: Store, tmp_path: Path) -> None:
    vault = MADE["markdown"].write(tmp_path)
    assert run(vault)["relations"] == 1

    def linked() -> list[str]:
        ids = {memory["text"]: memory["id"] for memory in store.export()}
        found = store.call("related", id=ids["Anna works at Acme"])["results"]
        return [each["text"] for each in found if each["relation"] == "works_at"]

    assert linked() == ["Acme builds lanterns. #123 #work/lamps"]
    anna = vault / "Anna.md"
    anna.write_text(anna.read_text().replace("berlin]", "rome]"))  # the same lines, other tags
    assert run(vault)["changed"] == 6
    assert linked() == ["Acme builds lanterns. #123 #work/lamps"]
    anna.write_text(anna.read_text().replace("[[Acme]]", "Acme"))
    report = run(vault)
    assert (report["added"], report["gone"], report["changed"]) == (1, 1, 0)
    assert store.store.records.counts()["relations"] == 0


def test_pickles_of_qdrant_are_refused(run: Run, tmp_path: Path) -> None:
    place = tmp_path / "storage.sqlite"
    change(place, "CREATE TABLE points (id TEXT PRIMARY KEY, point BLOB)")
    assert "pickles" in run(place, codes=(66,))["error"]["message"]
    (empty := tmp_path / "empty").mkdir()
    assert "--from KIND" in run(empty, codes=(66,))["error"]["message"]
    assert "no kind" in run(tmp_path, "--from", "diary", codes=(64,))["error"]["message"]


def test_bombs_are_refused(run: Run, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", "[" + " " * 30_000_000 + "]")
    report = run(bomb, "--from", "chatgpt", codes=(66,))["error"]
    assert report["refusals"] == [
        {"key": "conversations.json", "reason": "it would unpack to 28 MiB"}
    ]


def test_a_conversation_without_a_way_is_told(run: Run, tmp_path: Path) -> None:
    said = {"author": {"role": "user"}, "content": {"content_type": "text", "parts": ["Hello"]}}
    lost = {"id": "c", "mapping": {"n": {"id": "n", "message": said, "parent": None}}}
    (tmp_path / "conversations.json").write_text(json.dumps([{**lost, "current_node": "gone"}]))
    report = run(tmp_path, "--from", "chatgpt", codes=(66,))
    assert "leads to none of its messages" in report["error"]["message"]
    (tmp_path / "conversations.json").write_text(json.dumps([{**lost, "current_node": "n"}]))
    assert run(tmp_path, "--from", "chatgpt")["added"] == 1


def test_a_pipe_is_left_to_the_reader_of_lines(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert recognise(pipe) is None


def test_transcripts_alone_and_other_ways_to_name_a_source(
    run: Run, store: Store, tmp_path: Path
) -> None:
    home = MADE["openclaw"].write(tmp_path)
    assert recognise(home / "workspace") is not None
    report = run(home / "agents")
    assert (report["kind"], report["layers"]) == (
        "openclaw",
        {"contemplation": 1, "input": 2, "output": 1},
    )
    assert {memory["agent"] for memory in store.export()} == {"main", "cook"}
    (session,) = home.glob("agents/*/sessions/s1.jsonl")
    assert run(session)["kind"] == "openclaw"
    claude = MADE["claude-code"].write(tmp_path)
    for path in (claude / "CLAUDE.md", *claude.glob("projects/*"), *claude.glob("*/*/*.jsonl")):
        found = recognise(path)
        assert found is not None and found.kind == "claude-code", path


def test_a_turn_that_was_captured_does_not_come_again(
    run: Run, store: Store, tmp_path: Path
) -> None:
    lines = [
        {
            "sessionId": "s1",
            "uuid": f"u{number}",
            "type": kind,
            "timestamp": f"2026-11-01T10:00:0{number}.000Z",
            "message": {"role": kind, "content": f"said {number}"},
        }
        for number, kind in enumerate(("user", "assistant") * 3)
    ]
    transcript = tmp_path / "s1.jsonl"
    transcript.write_text("".join(json.dumps(line) + "\n" for line in lines))
    captured = [
        {
            "session": "s1",
            "turn": f"u{number}",
            "input": {"text": f"said {number}", "who": "maya"},
            "output": {"text": f"said {number + 1}"},
        }
        for number in (0, 2)
    ]
    stored = store.call("capture", turns=captured)["turns"]
    store.call("forget", ids=[stored[1]["ids"]["output"]])
    for dry in (["--dry-run"], [], []):
        before = store.texts()
        report = run(transcript, *dry)
        new = 2 if before == ["said 0", "said 1", "said 2"] else 0
        assert [report[name] for name in ("added", "unchanged", "forgotten")] == [new, 5 - new, 1]
    assert store.texts() == ["said 0", "said 1", "said 2", "said 4", "said 5"]
    assert run(transcript, "--namespace", "other", "--name", "more")["added"] == 6


def test_json_exports_of_databases(run: Run, store: Store, tmp_path: Path) -> None:
    """Nothing is gone that such an export does not tell."""
    exported = tmp_path / "export.json"
    told = {"content": "Anna likes tea", "content_hash": "h1", "tags": ["tea"], "metadata": {}}
    more = {"content": "The kettle is blue", "content_hash": "h2", "created_at": 1_770_000_000.5}
    exported.write_text(json.dumps({"export_metadata": {"n": 2}, "memories": [told, more, 7]}))
    assert (report := run(exported))["kind"] == "mcp-memory-service" and report["added"] == 2
    exported.write_text(json.dumps({"export_metadata": {"n": 1}, "memories": [told]}))
    assert counts(run(exported))["gone"] == 0
    # tags as its database has them, and a time that is only told in words
    odd = {"content": "The pump is red", "content_hash": "h3", "tags": "pump, red,"}
    odd |= {"created_at_iso": "1971-05-08T00:00:00Z"}
    exported.write_text(json.dumps({"export_metadata": {"n": 1}, "memories": [odd]}))
    assert run(exported)["added"] == 1
    red = store.export()[-1]
    assert (red["tags"], red["timestamp"]) == (["pump", "red"], "1971-05-08T00:00:00+00:00")
    listed = tmp_path / "all.json"
    one = {
        "id": "m1",
        "memory": "Anna lives in Rome",
        "hash": "x",
        "user_id": "anna",
        "agent_id": "a",
    }
    one |= {"run_id": "r1", "created_at": "2026-04-01T08:00:00-07:00", "metadata": {"n": 1}}
    listed.write_text(json.dumps({"results": [one, {"id": "m2"}]}))
    report = run(listed)
    assert (report["kind"], report["added"], report["refused"]) == ("mem0", 1, 1)
    (memory,) = [each for each in store.export() if each["source"]["name"] == report["name"]]
    assert (memory["who"], memory["agent"], memory["session"]) == ("anna", "a", "r1")
    assert memory["timestamp"] == 1_775_055_600_000
    listed.write_text(json.dumps([one]))  # as older versions give it
    assert run(listed, "--from", "mem0")["unchanged"] == 1


def test_old_forms_of_exports(run: Run, tmp_path: Path) -> None:
    """One zip with everything, as both chats gave it before 2026."""
    told = [{"uuid": "c1", "chat_messages": [{"uuid": "m1", "sender": "human", "text": "Old"}]}]
    memories = [{"conversations_memory": "- one\n- two", "account_uuid": "a"}]
    old = zipped(tmp_path / "old.zip", conversations=told, memories=memories, users=[], projects=[])
    report = run(old)
    assert (report["kind"], report["added"], report["refused"]) == ("claude-ai", 3, 0)
    new = tmp_path / "new"
    zipped(new / "conversations-000.zip", conversations=told)
    report = run(new)
    assert (report["unchanged"], report["gone"]) == (1, 0)  # the same account, in the new form


def test_a_link_that_is_named_is_followed(
    run: Run, tmp_path: Path, kind: str, source: Path
) -> None:
    link = tmp_path / f"link{source.suffix}"
    link.symlink_to(source)
    report = run(link)
    assert (report["kind"], report["path"]) == (kind, str(source.resolve()))
    assert run(source)["unchanged"] == report["added"]


def spoil(data: bytes, rnd: random.Random) -> bytes:
    """Some bytes of a file changed, taken out, put in, doubled or cut off."""
    made = bytearray(data)
    for _ in range(rnd.randint(1, 8)):
        at = rnd.randrange(len(made) + 1)
        match rnd.randrange(5):
            case 0:
                made[at : at + 1] = bytes([rnd.randrange(256)])
            case 1:
                del made[at : at + rnd.randint(1, 20)]
            case 2:
                made[at:at] = rnd.choice(
                    (b"[", b'"', b"}", b"\\", b"null", b"-1", b"\xff", b"{}", b"1e9")
                )
            case 3:
                made[at:at] = made[at : at + rnd.randint(1, 200)]
            case 4 if rnd.random() < 0.1:
                del made[at:]
    return bytes(made)


def spoilt(run: Run, kind: str, source: Path, seeds: Iterable[int]) -> None:
    """Import a source again and again, each time spoilt in another way; it never crashes."""
    files = [(file, file.read_bytes()) for file in _files(source) if not file.is_symlink()]
    for seed in seeds:
        rnd = random.Random(seed)
        for file, data in files:
            file.write_bytes(spoil(data, rnd) if rnd.random() < 0.5 else data)
        run(source, "--from", kind, codes=(0, 65, 66))


def test_what_is_spoilt_never_crashes(run: Run, kind: str, source: Path) -> None:
    spoilt(run, kind, source, range(6))


@pytest.mark.slow
def test_what_is_spoilt_never_crashes_for_long(run: Run, kind: str, source: Path) -> None:
    spoilt(run, kind, source, range(1000, 1300))


@pytest.mark.parametrize("name", ["openclaw", "claude-code", "markdown"])
def test_notes_in_a_directory_that_cannot_be_read_are_not_gone(
    run: Run, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    source = MADE[name].write(tmp_path)
    run(source)
    kept = store.texts()
    read = os.scandir
    within = ("memory", "work", "daily")

    def refuse(path: Path) -> object:
        if Path(path).name in within:
            raise PermissionError(13, "Permission denied")
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr("nimad.importers.files.os.scandir", refuse)
        report = run(source)
        assert report["gone"] == 0 and report["refused"] > MADE[name].refused - 2
        assert store.texts() == kept
    for directory in [path for path in source.rglob("*") if path.name in within]:
        away = tmp_path / f"away-{directory.name}"
        directory.rename(away)
        directory.symlink_to(away)
    assert run(source)["gone"] == 0 and store.texts() == kept
    monkeypatch.setattr("nimad.importers.files.MAX_FILES", 0)
    assert run(source, codes=(66,))["error"]["gone"] == 0 and store.texts() == kept
