"""Purging from a bundle: nothing of the episode is left, everything else is as it was."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nimad.legacy.files import LegacyFiles
from nimad.legacy.redact_database import scrub_snapshot
from tests.legacy.bundles import bundle, nodes, texts
from tests.legacy.checkpoints import Storage, Tensor, episode, nested, save, sign, sparse, tensor

SECRET = "My password for the harbour office is Pfannkuchen-77."
D = 64


def secret(number: int = 3) -> dict[str, Any]:
    return episode(
        number, raw_text=SECRET, what=SECRET[:40], context="the harbour", themes=["harbour office"]
    )


def vectors(count: int) -> Any:
    return np.random.default_rng(2).standard_normal((count, D)).astype(np.float32)


def sessions(home: Path) -> Path:
    """Two checkpoints with the secret in both, and as a filler."""
    (home / "archive").mkdir(parents=True)
    episodes, rows = [episode(n) for n in range(6)], vectors(6)
    episodes[3] = secret()
    fillers = {each["what"]: tensor(rows[n] + 9) for n, each in enumerate(episodes)}
    save(home / "archive" / "old.pt", nested(episodes[:4], tensor(rows[:4]), fillers))
    save(home / "latest.pt", nested(episodes, tensor(rows), fillers), checksum=True)
    return home


def sparse_memories(home: Path) -> Path:
    home.mkdir()
    episodes = [episode(n) for n in range(6)]
    episodes[3] = secret()
    rows = np.repeat(vectors(6).astype(np.float64), 10, axis=1)
    value = sparse(episodes, rows, 10, as_json=False)
    (home / "sparse_memory.pkl").write_bytes(pickle.dumps(value, 4))
    value = sparse(episodes, rows, 10, as_json=True)
    (home / "sparse_memory.json").write_text(json.dumps(value))
    sign(home / "sparse_memory.json")
    return home


@pytest.mark.parametrize("make", [sessions, sparse_memories])
def test_nothing_is_left_and_nothing_else_goes(tmp_path: Path, make: Any) -> None:
    path = bundle(make(tmp_path / "store"), tmp_path / "kept.tar")
    with LegacyFiles.open(path) as files:
        before = nodes(files)
        (doomed,) = [node.key for node in before if node.memory.text == SECRET]
        dense = files.dense()
        assert dense is not None
        stay = [node.key for node in before if node.key != doomed]
        rows, gone = dense.rows(stay), dense.rows([doomed])[0]
        names = {name for _, name, _ in dense.items()}
        del dense
    done = scrub_snapshot(path, [doomed], "nima-files")
    data = path.read_bytes()
    assert done.rows == 1 and hashlib.sha256(data).hexdigest() == done.sha256
    assert len(data) == done.bytes and oct(path.stat().st_mode)[-3:] == "600"
    for said in (SECRET, SECRET[:40], "Pfannkuchen", "the harbour", "harbour office"):
        assert said.encode() not in data, said
    for kind in ("<f4", "<f8"):
        assert gone[:10].astype(kind).tobytes() not in data
    with LegacyFiles.open(path) as files:
        assert files.survey().refused == [], "CRCs and checksums hold"
        after = nodes(files)
        assert [node.key for node in after] == stay
        assert texts(after) == [node.memory.text for node in before if node.key != doomed]
        dense = files.dense()
        assert dense is not None
        np.testing.assert_array_equal(dense.rows(stay), rows)
        assert SECRET[:40] not in {name for _, name, _ in dense.items()}
        assert len({name for _, name, _ in dense.items()} & names) == max(0, len(names) - 1)
        del dense
    assert scrub_snapshot(path, [doomed], "nima-files").rows == 0, "it may be done again"
    assert [child.name for child in tmp_path.glob("*.tmp")] == []


def test_the_files_of_the_backup_still_open(tmp_path: Path) -> None:
    path = bundle(sessions(tmp_path / "store"), tmp_path / "kept.tar")
    with LegacyFiles.open(path) as files:
        keys = [node.key for node in nodes(files) if node.memory.text == SECRET]
    scrub_snapshot(path, keys, "nima-files")
    with tarfile.open(path) as archive:
        for name in ("latest.pt", "archive/old.pt"):
            member = archive.extractfile(name)
            assert member is not None
            assert zipfile.ZipFile(io.BytesIO(member.read())).testzip() is None


def test_one_after_the_other(tmp_path: Path) -> None:
    path = bundle(sessions(tmp_path / "store"), tmp_path / "kept.tar")
    with LegacyFiles.open(path) as files:
        keys = [node.key for node in nodes(files)]
    for number, key in enumerate(keys[:4], 1):
        assert scrub_snapshot(path, [key], "nima-files").rows == 1
        with LegacyFiles.open(path) as files:
            assert [node.key for node in nodes(files)] == keys[number:]
    with tarfile.open(path) as archive:
        assert archive.getnames().count("nimad-purged.json") == 1


def test_of_two_that_say_the_same_one_stays(tmp_path: Path) -> None:
    save(tmp_path / "latest.pt", {"metadata": [secret(), episode(1), secret()]})
    path = bundle(tmp_path / "latest.pt", tmp_path / "kept.tar")
    with LegacyFiles.open(path) as files:
        first, second = [node.key for node in nodes(files) if node.memory.text == SECRET]
    scrub_snapshot(path, [first], "nima-files")
    with LegacyFiles.open(path) as files:
        assert [n.key for n in nodes(files) if n.memory.text == SECRET] == [second]
    scrub_snapshot(path, [second], "nima-files")
    assert SECRET.encode() not in path.read_bytes()


def test_what_cannot_be_overwritten_is_said(tmp_path: Path) -> None:
    rows = vectors(3)
    overlapping = Tensor(Storage(rows, "float32"), 0, (3, D), (1, 1))
    save(tmp_path / "latest.pt", {"vectors": overlapping, "metadata": [secret(), episode(1)]})
    path = bundle(tmp_path / "latest.pt", tmp_path / "kept.tar")
    with LegacyFiles.open(path) as files:
        keys = [node.key for node in nodes(files)]
    before = path.read_bytes()
    with pytest.raises(ValueError, match="overlap"):
        scrub_snapshot(path, keys[:1], "nima-files")
    with pytest.raises(ValueError, match="nothing would be left"):
        scrub_snapshot(path, keys, "nima-files")
    assert path.read_bytes() == before
