"""nimactl import and export: batches, the line that is wrong, how to go on, files kept whole."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from nimad.ctl import import_command
from nimad.ctl.import_command import LineReader, json_list
from nimad.ctl.main import main
from nimad.errors import BadRecord, Busy, ReplyTooLarge
from nimad.limits import BATCH_BYTES
from tests.fake_daemon import FakeDaemon, memory


class Ran(NamedTuple):
    code: int
    out: str
    err: str


class Store:
    """Takes imports as the daemon does: all or nothing, lines counted from the first."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.batches: list[dict[str, Any]] = []

    def take(self, params: dict[str, Any]) -> dict[str, Any]:
        self.batches.append(params)
        name, _, first = params["where"].rpartition(":")
        for place, fields in enumerate(params["memories"]):
            if fields.get("importance", 0) > 1:
                detail = "importance must be a number from 0 to 1"
                raise BadRecord(where=f"{name}:{int(first) + place}", detail=detail)
        before = len(self.texts)
        self.texts += [fields["text"] for fields in params["memories"]]
        return {"ids": list(range(before + 1, len(self.texts) + 1))}


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def daemon(tmp_path: Path, store: Store) -> Iterator[FakeDaemon]:
    with FakeDaemon(tmp_path / "s", **{"import": store.take}) as daemon:
        yield daemon


@pytest.fixture
def run(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Ran]:
    monkeypatch.setenv("NIMAD_SOCKET", str(daemon.path))

    def run(*args: object) -> Ran:
        code = main([str(arg) for arg in args])
        return Ran(code, *capsys.readouterr())

    return run


Run = Callable[..., Ran]


def written(path: Path, *lines: object) -> Path:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return path


def many(number: int) -> list[dict[str, Any]]:
    return [{"text": f"memory {place}"} for place in range(1, number + 1)]


def test_everything_goes_in_in_order(run: Run, store: Store, tmp_path: Path) -> None:
    file = written(tmp_path / "f.jsonl", *many(1203))
    ran = run("import", file, "--namespace", "n")
    assert ran == Ran(0, "imported 1,203 memories as 1 to 1203\n", "")
    assert store.texts == [f"memory {place}" for place in range(1, 1204)]
    assert [len(batch["memories"]) for batch in store.batches] == [500, 500, 203]
    assert [batch["where"] for batch in store.batches] == [f"{file}:{n}" for n in (1, 501, 1001)]
    assert {batch["namespace"] for batch in store.batches} == {"n"}


def test_frames_stay_below_the_limit(run: Run, daemon: FakeDaemon, tmp_path: Path) -> None:
    file = written(tmp_path / "f.jsonl", *({"text": "ü" * 100_000} for _ in range(20)))
    assert run("import", file).code == 0
    assert max(daemon.frames) < 1 << 20
    assert len(daemon.sent("import")) >= 5


@pytest.mark.parametrize("line", [1, 2, 17, 500, 501, 900])
def test_a_refused_line_is_named_and_those_before_it_are_stored(
    run: Run, store: Store, tmp_path: Path, line: int
) -> None:
    memories = many(900)
    memories[line - 1]["importance"] = 7
    file = written(tmp_path / "f.jsonl", *memories)
    ran = run("import", file)
    assert ran.code == 65
    assert f"nimactl: {file}:{line}: importance must be a number from 0 to 1. Mend" in ran.err
    assert store.texts == [f"memory {place}" for place in range(1, line)]
    assert (f"--from-line {line}" in ran.err) == (line > 1)
    written(file, *many(900))
    assert run("import", file, "--from-line", line).code == 0
    assert store.texts == [f"memory {place}" for place in range(1, 901)]


@pytest.mark.parametrize(
    ("bad", "detail"),
    [
        ("{", "it is not JSON (Expecting property name"),
        ("[1]", "it is not a JSON object"),
        ('{"text": NaN}', "NaN is not JSON"),
        ('{"text": "a", "text": "b"}', "the key 'text' appears twice"),
        ('{"text": "\\ud800"}', "a text in it is not Unicode (a lone surrogate)"),
        ('{"text": 1e999}', "a number in it is too large"),
        ("[" * 100_000, "it is nested too deeply"),
        ('{"text": "' + "x" * 1_100_000 + '"}', "the memory has 1.1 MB; at most 1.0 MB fit"),
        ("x" * 2_000_005, "the line is longer than 2.0 MB"),
    ],
)
def test_what_is_no_memory_is_named(
    run: Run, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: str, detail: str
) -> None:
    monkeypatch.setattr(import_command, "MAX_RECORD", 1_000_000)
    monkeypatch.setattr(import_command, "LINE_BYTES", 2_000_000)
    file = written(tmp_path / "f.jsonl", *many(2), "", bad, {"text": "after"})
    ran = run("import", file)
    assert ran.code == 65
    assert f"{file}:4: {detail}" in ran.err
    assert store.texts == ["memory 1", "memory 2"]
    assert run("import", file, "--from-line", 5).code == 0
    assert store.texts[2:] == ["after"]


@pytest.mark.parametrize(
    ("begin", "form"),
    [
        (gzip.compress(b'{"text": "a"}\n'), "packed by gzip"),
        (b"PK\x03\x04\x14\0", "a zip that is cut short"),
        ('{"text": "a"}'.encode("utf-16"), "UTF-16"),
        (b'[{"text": "a"}]', "a list of JSON"),
    ],
    ids=["gzip", "zip", "UTF-16", "list"],  # what gzip packs tells the time
)
def test_a_file_of_another_form_is_told_as_that(
    run: Run, store: Store, tmp_path: Path, begin: bytes, form: str
) -> None:
    (tmp_path / "f").write_bytes(begin)
    ran = run("import", tmp_path / "f")
    assert ran.code == 65 and f"{tmp_path}/f:1: the file is {form}" in ran.err
    assert store.texts == []


def test_bytes_that_are_not_utf8(run: Run, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b'{"text": "a"}\n{"text": "\xff"}\n')
    assert f"{tmp_path}/f:2: byte 11 is not UTF-8" in run("import", tmp_path / "f").err


def test_blank_lines_marks_and_missing_ends_do_no_harm(
    run: Run, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "f").write_bytes(b'\xef\xbb\xbf{"text": "a"}\r\n\n  \n{"text": "b"}')
    assert run("import", tmp_path / "f").out == "imported 2 memories as 1 to 2\n"
    assert store.texts == ["a", "b"]
    (tmp_path / "g").write_bytes(b'{"text": "a"}\n\n{"text": "b", "importance": 9}')
    assert f"{tmp_path}/g:3: importance" in run("import", tmp_path / "g").err


def test_nothing_to_import(run: Run, tmp_path: Path) -> None:
    file = written(tmp_path / "f.jsonl")
    assert run("import", file) == Ran(0, f"imported nothing: there is no memory in {file}\n", "")
    shown = json.loads(run("import", file, "--json").out)
    assert shown == {"imported": 0, "first_id": None, "last_id": None}


def test_standard_input(run: Run, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"".join(json.dumps(one).encode() + b"\n" for one in many(3))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert run("import", "-", "--json").out == '{"imported":3,"first_id":1,"last_id":3}\n'
    assert store.batches[0]["where"] == "stdin:1"


@pytest.mark.parametrize("name", ["missing", "."])
def test_files_that_cannot_be_read(run: Run, tmp_path: Path, name: str) -> None:
    ran = run("import", tmp_path / name)
    assert ran.code == 66 and "cannot be read" in ran.err


def test_a_daemon_that_goes_away_leaves_no_doubt_unsaid(
    run: Run, store: Store, daemon: FakeDaemon, tmp_path: Path
) -> None:
    def fail_second(params: dict[str, Any]) -> Any:
        return FakeDaemon.DROP if store.batches else store.take(params)

    daemon.answers["import"] = fail_second
    file = written(tmp_path / "f.jsonl", *many(1203))
    ran = run("import", file)
    assert ran.code == 69
    assert "whether lines 501 to 1000 were stored is not known" in ran.err
    assert f"500 memories stored; go on with: nimactl import {file} --from-line 501" in ran.err


def test_programs_learn_where_to_go_on(
    run: Run, store: Store, daemon: FakeDaemon, tmp_path: Path
) -> None:
    def busy_later(params: dict[str, Any]) -> Any:
        if store.batches:
            raise Busy(detail="it is stopping")
        return store.take(params)

    daemon.answers["import"] = busy_later
    ran = run("--json", "import", written(tmp_path / "f.jsonl", *many(600)))
    error = json.loads(ran.err)["error"]
    assert (ran.code, error["code"]) == (75, "busy")
    assert (error["imported"], error["next_line"], error["unsure"]) == (500, 501, None)


def test_batches_hold_every_line_once() -> None:
    rng = random.Random(5)
    sizes = [rng.choice([1, 10, 1000, 300_000]) for _ in range(300)]
    data = b"".join(json.dumps({"text": "x" * size}).encode() + b"\n" for size in sizes)
    batches = list(LineReader(io.BytesIO(data), "f").batches())
    lists = [json_list(batch.memories) for batch in batches]
    assert [len(m["text"]) for each in lists for m in json.loads(each)] == sizes
    assert [n for batch in batches for n in batch.numbers] == list(range(1, 301))
    for batch, each in zip(batches, lists, strict=True):
        assert len(each) <= BATCH_BYTES + 2 or len(batch.memories) == 1


# --- export ---------------------------------------------------------------------------------------


def pages(params: dict[str, Any]) -> dict[str, Any]:
    after = params.get("after", 0)
    if after:
        return {"memories": [memory(after + 1, "zwei\u2028", blobs={"e": "AAE="})], "next": None}
    return {"memories": [memory(1, "eins")], "next": 1}


def test_export_writes_every_page(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers["export"] = pages
    ran = run("export", "--namespace", "n")
    found = [json.loads(line) for line in ran.out.splitlines()]
    assert [one["id"] for one in found] == [1, 2]
    assert found[1]["text"] == "zwei\u2028" and found[1]["blobs"] == {"e": "AAE="}
    assert daemon.sent("export") == [{"namespace": "n"}, {"namespace": "n", "after": 1}]


def test_export_gets_a_memory_larger_than_a_frame_in_pieces(run: Run, daemon: FakeDaemon) -> None:
    texts = {1: "eins", 2: "zwei\u2028" * 10, 3: "drei"}
    changed = iter(["zw", "zwei\u2028" * 10])

    def answer(params: dict[str, Any]) -> Any:
        number = params.get("after", 0) + 1
        following = number if number < 3 else None
        offset = params.get("offset")
        if offset is None:
            if number == 2:
                raise ReplyTooLarge(limit=1 << 20)
            return {"memories": [memory(number, texts[number])], "next": following}
        whole = json.dumps(memory(2, next(changed) if offset == 0 else texts[2]))
        piece = {"length": len(whole), "crc32": zlib.crc32(whole.encode())}
        piece["json"] = whole[offset : offset + 50]
        return {"memories": [], "piece": piece, "next": following}

    daemon.answers["export"] = answer
    ran = run("export")
    assert [json.loads(line)["text"] for line in ran.out.splitlines()] == [*texts.values()]
    assert "\u2028" not in ran.out, "what could confuse a terminal or a reader of lines is escaped"
    assert [p["offset"] for p in daemon.sent("export") if "offset" in p][:3] == [0, 50, 0]


def test_export_replaces_a_file_only_when_all_is_there(
    run: Run, daemon: FakeDaemon, tmp_path: Path
) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("old")

    def fails(params: dict[str, Any]) -> Any:
        return FakeDaemon.DROP if params.get("after") else pages(params)

    daemon.answers["export"] = fails
    assert run("export", "--output", target).code == 69
    assert target.read_text() == "old"
    daemon.answers["export"] = pages
    assert run("export", "--output", target).out == f"exported 2 memories to {target}\n"
    assert len(target.read_text(encoding="utf-8").splitlines()) == 2
    assert target.stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.jsonl", "s"]


def test_export_writes_into_what_is_no_file(run: Run, daemon: FakeDaemon, tmp_path: Path) -> None:
    daemon.answers["export"] = pages
    assert run("export", "--output", "/dev/null", "--json").code == 0
    assert Path("/dev/null").is_char_device()
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    run("export", "--output", tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and "eins" in (tmp_path / "real").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's link")
def test_export_does_not_follow_the_link_of_another_user(
    run: Run, daemon: FakeDaemon, tmp_path: Path
) -> None:
    daemon.answers["export"] = pages
    victim = tmp_path / "victim"
    victim.write_text("old")
    planted = tmp_path / "all.jsonl"
    planted.symlink_to(victim)
    os.chown(planted, 65534, 65534, follow_symlinks=False)
    ran = run("export", "--output", planted)
    assert ran.code != 0 and "link of another user" in ran.err
    own = tmp_path / "own"
    own.symlink_to(planted)
    assert run("export", "--output", own).code == ran.code
    assert victim.read_text() == "old" and planted.is_symlink()


def test_export_to_where_nothing_can_be_written(run: Run, tmp_path: Path) -> None:
    ran = run("export", "--output", tmp_path / "no" / "such")
    assert ran.code == 73 and "cannot be written" in ran.err
    assert run("export", "--output", tmp_path).code == 73
