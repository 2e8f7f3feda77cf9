"""Who may have a state directory, and who has it."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nimad.config import Config
from nimad.core.state_directory import StateLock, prepare_state
from nimad.core.store import MemoryStore
from nimad.errors import RecordsDamaged, StateBusy, StateUnusable
from nimad.model import Memory
from tests import forked


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file can grow: what is written fails as it does on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_the_lock_names_its_holder_and_ends_with_it(tmp_path: Path) -> None:
    (tmp_path / "nimad.lock").write_text("4194304000\n")
    lock = StateLock(tmp_path)
    assert (tmp_path / "nimad.lock").read_text() == f"{os.getpid()}\n"
    with pytest.raises(StateBusy, match=f"process {os.getpid()}\\)"):
        StateLock(tmp_path)
    lock.release()
    StateLock(tmp_path).release()


def test_a_full_disk_does_not_keep_it_from_starting(tmp_path: Path) -> None:
    StateLock(tmp_path).release()
    with full_disk():
        lock = StateLock(tmp_path)
    with pytest.raises(StateBusy, match="process unknown"):  # not that of a process that is gone
        StateLock(tmp_path)
    lock.release()


def test_a_deleted_lock_lets_nobody_else_in(tmp_path: Path) -> None:
    lock = StateLock(tmp_path)
    (tmp_path / "nimad.lock").unlink()
    with pytest.raises(StateBusy):
        StateLock(tmp_path)
    lock.release()
    StateLock(tmp_path).release()


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "nimad.lock").symlink_to("precious")
    with pytest.raises(StateUnusable, match=r"nimad\.lock"):
        StateLock(tmp_path)
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_new_state_is_for_its_owner_only(tmp_path: Path) -> None:
    prepare_state(tmp_path / "new" / "state")
    for place in (tmp_path / "new" / "state", *(tmp_path / "new" / "state").iterdir()):
        assert place.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702])
def test_a_directory_that_everybody_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(StateUnusable, match=rf"mode {mode:04o}\); chmod 0700"):
        prepare_state(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_records_that_are_gone_are_not_replaced_by_a_new_store(tmp_path: Path) -> None:
    """As after an e2fsck that could not save them; what a broken off restore left hides nothing."""
    config = Config().replace(embedder="hash", graph__engine="none")
    store = MemoryStore.open(tmp_path / "state", config)
    store.remember(Memory(text="Maya planted basil"))
    store.semantic.flush()
    store.close()
    (tmp_path / "state/records.sqlite").unlink()
    with pytest.raises(RecordsDamaged, match="missing") as told:
        MemoryStore.open(tmp_path / "state", config)
    assert "lost+found" in told.value.message and "backup" in told.value.next_step
    assert list((tmp_path / "state").glob("records.sqlite*")) == []
    for part in ("blocks", "words"):
        shutil.rmtree(tmp_path / "state" / part)
    MemoryStore.open(tmp_path / "state", config).close()


def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    os.chown(tmp_path, 4242, -1)
    with pytest.raises(StateUnusable, match="it belongs to user 4242, and this is root"):
        prepare_state(tmp_path)
    assert list(tmp_path.iterdir()) == []


START = """
import os, sys
from pathlib import Path
from nimad.config import Config
from nimad.core.state_directory import StateLock, prepare_state
from nimad.core.store import MemoryStore
from nimad.model import Memory
state = Path(sys.argv[1])
prepare_state(state)
StateLock(state).release()
print("locked", flush=True)
store = MemoryStore.open(state, Config().replace(graph__engine="none"))
if sys.argv[3:]:
    store.remember(Memory(text=sys.argv[3]))
print([hit.memory.text for hit in store.query("basil").hits], flush=True)
if sys.argv[2] == "crash":
    os._exit(0)
store.close()
"""


@pytest.mark.parametrize("end", ["crash", "close"])
def test_a_start_on_a_full_disk_answers_or_says_so_and_the_next_one_has_everything(
    tmp_path: Path, end: str
) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", tmp_path]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")

    def start(*text: str) -> tuple[str, str]:
        run = [sys.executable, "-c", START, tmp_path / "state", end, *text]
        done = forked.run(run, capture_output=True, text=True)
        return done.stdout, done.stderr

    try:
        assert "basil" in start("Maya planted basil")[0]
        with (tmp_path / "rest").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        out, err = start()
        assert out.startswith("locked")
        if end == "crash":
            assert "basil" in out, err
        else:  # SQLite needs room for a new WAL; that passes, damage would not
            assert "DiskFull" in err
        (tmp_path / "rest").unlink()
        assert "basil" in start()[0]
    finally:
        subprocess.run(["umount", tmp_path], check=True)


ORPHANED = """
import os, sys, time
from pathlib import Path
from nimad.core.state_directory import StateLock
lock = StateLock(Path(sys.argv[1]))
if os.fork():
    os._exit(0)
time.sleep(0.5)
"""


def test_a_child_that_a_killed_daemon_was_starting_is_waited_for(tmp_path: Path) -> None:
    """Between fork and exec it has the locks, too."""
    subprocess.run([sys.executable, "-c", ORPHANED, tmp_path], check=True)
    StateLock(tmp_path).release()
