"""The guides' VSAMigrator: checkpoints into a state directory, looked at, compared, undone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nimad.cognition import MigrationConfig, SparseBlockMemory, VSAMigrator
from nimad.cognition.embedded import embedded
from nimad.errors import NotFound, SourceMissing, SourceNotRecognised
from nimad.model import Memory
from tests.legacy import checkpoints, stores


def checkpoint(path: Path, count: int, dimension: int = 2000) -> Path:
    rows = np.random.default_rng(5).standard_normal((count, dimension)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    episodes = [checkpoints.episode(number) for number in range(count)]
    content = checkpoints.nested(episodes, checkpoints.tensor(rows))
    return checkpoints.save(path, content, checksum=True)


@pytest.fixture
def config(tmp_path: Path) -> MigrationConfig:
    sessions = tmp_path / "sessions"
    (sessions / "archive").mkdir(parents=True)
    checkpoint(sessions / "archive" / "old.pt", 20)
    checkpoint(sessions / "latest.pt", 50)
    return MigrationConfig(source_dir=sessions, target_dir=tmp_path / "sparse", batch_size=16)


def bytes_of(directory: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def test_looking_writes_nothing(config: MigrationConfig) -> None:
    migrator = VSAMigrator(config)
    status = migrator.check_status()
    assert (status["source_count"], status["target_exists"], status["migrated"]) == (50, False, 0)
    assert status["estimated_minutes"] >= 0 and status["problems"] == []
    result = migrator.migrate(dry_run=True)
    assert (result["memories"], result["errors"], result["dry_run"]) == (50, 0, True)
    assert not Path(config.target_dir).exists()


def test_everything_comes_over_once(config: MigrationConfig) -> None:
    before = bytes_of(Path(config.source_dir))
    migrator = VSAMigrator(config)
    result = migrator.migrate()
    assert (result["memories"], result["errors"], result["problems"]) == (50, 0, [])
    assert result["compression"] > 0 and result["elapsed_seconds"] > 0
    assert VSAMigrator(config).migrate()["memories"] == 50
    assert migrator.check_status()["migrated"] == 50
    assert bytes_of(Path(config.source_dir)) == before
    memory = SparseBlockMemory()
    memory.load(Path(config.target_dir) / "sparse_memory.pkl")
    assert len(memory.memory_vectors) == 50
    assert memory.memory_metadata[7] == checkpoints.episode(7)
    assert len(memory.semantic_query("the garden", top_k=5)) == 5


def test_a_rollback_leaves_what_came_otherwise(config: MigrationConfig) -> None:
    migrator = VSAMigrator(config)
    migrator.migrate()
    home = embedded(Path(config.target_dir))
    home.store.remember(Memory(text="said since"))
    assert migrator.rollback()["memories"] == 50
    assert [m.text for m in home.store.export(0, 100)] == ["said since"]
    assert migrator.migrate()["memories"] == 50


def test_without_a_backup_none_is_kept(config: MigrationConfig) -> None:
    values = {**config.__dict__, "preserve_backup": False}
    migrator = VSAMigrator(MigrationConfig(**values))
    migrator.migrate()
    assert list((Path(config.target_dir) / "snapshots").iterdir()) == []
    home = embedded(Path(config.target_dir))
    with pytest.raises(NotFound):
        home.manager.verify("sessions")


def test_a_damaged_store_is_told_and_the_others_come_over(config: MigrationConfig) -> None:
    root = Path(config.source_dir).parent / "mixture"
    root.mkdir()
    (root / "good").mkdir()
    checkpoint(root / "good" / "latest.pt", 5)
    stores.small_store(root / "graph.sqlite")
    (root / "notes.db").write_bytes(b"not a database")
    values: dict[str, Any] = {**config.__dict__, "source_dir": root}
    result = VSAMigrator(MigrationConfig(**values)).migrate()
    assert result["memories"] == 35 and result["errors"] == 1
    assert "notes.db" in result["problems"][0]


def test_nothing_to_migrate_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing):
        VSAMigrator(MigrationConfig(tmp_path / "none", tmp_path / "t")).migrate()
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceNotRecognised):
        VSAMigrator(MigrationConfig(tmp_path / "empty", tmp_path / "t")).check_status()
    assert not (tmp_path / "t").exists()


def test_from_a_shell(config: MigrationConfig) -> None:
    command = [sys.executable, "-m", "nimad.cognition.migrate_to_sparse_block"]
    places = ["--source", str(config.source_dir), "--target", str(config.target_dir)]
    helped = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
    assert "--dry-run" in helped.stdout
    tried = subprocess.run([*command, *places, "--dry-run"], capture_output=True, text=True)
    assert tried.returncode == 0 and "50 memories would be migrated" in tried.stdout
    done = subprocess.run([*command, *places], capture_output=True, text=True)
    assert done.returncode == 0 and "50 memories migrated" in done.stdout
    bad = subprocess.run([*command, "--source", "/nope"], capture_output=True, text=True)
    assert bad.returncode == SourceMissing.exit and "/nope" in bad.stderr


def test_the_real_stores(legacy_dir: Path, tmp_path: Path) -> None:
    expected = json.loads((legacy_dir / "expected.json").read_text())
    for name, count in (
        ("sessions", expected["sessions/latest.pt"]["memories"]),
        ("sparse_memories", expected["sparse_memories/sparse_memory.pkl"]["pickle_memories"]),
        ("metadata_only", expected["metadata_only/latest.pt"]["memories"]),
    ):
        migrator = VSAMigrator(MigrationConfig(legacy_dir / name, tmp_path / name))
        result = migrator.migrate()
        assert (result["memories"], result["errors"]) == (count, 0)
        memory = SparseBlockMemory()
        memory.load(tmp_path / name)
        assert len(memory) == count
        assert len(memory.semantic_query("consciousness", top_k=5)) == 5
