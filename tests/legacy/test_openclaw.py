"""What an OpenClaw file wishes is done once, at start; the guide's command is a face of nimactl."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nimad.errors import ConfigError
from nimad.openclaw import Wish, default_path, find_problems, read_wish
from tests import forked
from tests.legacy import stores
from tests.pace import measure_pace
from tests.process import DaemonProcess
from tests.threads import PATIENCE

Make = Callable[..., DaemonProcess]


def write(path: Path, database: Any, plugin: bool = True) -> Path:
    entries = {"plugins": {"entries": {"nima-memory": {"database": database}}}}
    path.write_text(json.dumps(entries if plugin else {"database": database}))
    return path


def ladybug(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nimad.migrate_to_ladybug", *map(str, arguments)]
    return forked.run(command, capture_output=True, text=True, timeout=120, check=False)


# --- what keeps the plugin from remembering -------------------------------------------------------

ALLOW = "openclaw config set plugins.entries.nimad.hooks.allowConversationAccess true"
INJECT = "openclaw config set plugins.entries.nimad.hooks.allowPromptInjection true"
INSTALL = "openclaw plugins install /usr/share/nimad/openclaw --force --accept-capabilities"


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("{}", None),
        ("[]", None),
        ("{plugins: {entries: {other: {}}, slots: {memory: 'memory-core'}}}", None),
        ("{plugins: {entries: {nimad: {}}}}", ALLOW),
        ("{plugins: {slots: {memory: 'nimad'}}}", ALLOW),
        ("{plugins: {entries: {nimad: {hooks: {allowConversationAccess: false}}}}}", ALLOW),
        ("{plugins: {entries: {nimad: {config: {allowConversationAccess: true}}}}}", ALLOW),
        ("{plugins: {entries: {nimad: {enabled: false}}}}", None),
        ("{plugins: {entries: {nimad: {hooks: {allowConversationAccess: true, /* on */}}}}}", None),
        (
            "{plugins: {entries: {nimad: {hooks:"
            " {allowConversationAccess: true, allowPromptInjection: false}}}}}",
            INJECT,
        ),
        ("{plugins: {slots: {memory: 'nima-memory'}}}", INSTALL),
        ("{plugins: {entries: {'nima-memory': {config: {}}}}}", INSTALL),
        ("{plugins: {entries: {'nima-memory': {enabled: false}}}}", None),
        ("{plugins: {entries: {'nima-memory': {}, nimad: {}}}}", ALLOW),
    ],
)
def test_doctor_names_the_command_that_lets_the_plugin_remember(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, fix: str | None
) -> None:
    path = tmp_path / "openclaw.json"
    path.write_text(text)
    monkeypatch.setenv("OPENCLAW_CONFIG_PATH", str(path))
    found = find_problems(default_path())
    assert [one["fix"] for one in found] == ([fix] if fix else [])
    assert all(one["part"] == "openclaw" and str(path) in one["what"] for one in found)
    assert [one["severity"] for one in found if fix == INSTALL] == ["note"] * (fix == INSTALL)


def test_where_the_configuration_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENCLAW_CONFIG_PATH")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_path() == tmp_path / ".openclaw" / "openclaw.json"
    assert find_problems(default_path()) == []
    monkeypatch.setenv("OPENCLAW_STATE_DIR", "/state")
    assert default_path() == Path("/state/openclaw.json")


# --- the file -------------------------------------------------------------------------------------


@pytest.mark.parametrize("plugin", [True, False])
def test_a_wish_is_read_from_either_place(tmp_path: Path, plugin: bool) -> None:
    wishes = {"backend": "ladybugdb", "auto_migrate": True, "migration_batch_size": 300}
    path = write(tmp_path / "openclaw.json", wishes, plugin)
    assert read_wish(path) == Wish(True, 300, None, "")


JSON5 = """\ufeff{ // the memory's "moves"
 plugins: {entries: {'nima-memory': {enabled: true, /* a , } */ config: {database: {
   backend: 'ladybug\\x64b', auto_migrate: true, "path": "a//b\\
c,}", migration_batch_size: +0x10, 'it\\'s "x"': .5,
   },},},},}, list: [1, 2., -Infinity,], // end
}"""


def test_json5_with_the_settings_under_config(tmp_path: Path) -> None:
    path = tmp_path / "openclaw.json"
    path.write_text(JSON5)
    assert read_wish(path) == Wish(True, 16, "a//bc,}", "")
    for damaged in (JSON5[:-1], JSON5.replace("2.", "2. 3"), JSON5.replace('"path"', '"path')):
        path.write_text(damaged)
        with pytest.raises(ConfigError, match="JSON5"):
            read_wish(path)


@given(
    st.recursive(
        st.text() | st.floats() | st.integers() | st.none() | st.booleans(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_json_means_the_same_as_json5(value: Any) -> None:
    database = {"backend": "ladybugdb", "auto_migrate": True, "path": json.dumps(value)}
    for indent, plain in ((None, True), (2, False)):
        with tempfile.TemporaryDirectory() as home:
            path = Path(home, "openclaw.json")
            told = {"other": value, "nima-memory": {"config": {"database": database}}}
            path.write_bytes(json.dumps(told, indent=indent, ensure_ascii=plain).encode())
            assert read_wish(path).database == json.dumps(value)


@pytest.mark.parametrize("evil", ['"', "/*", "/* ", ", /* */ ", "\\", ", ", "[", "'\\"])
def test_a_hostile_file_costs_its_length(tmp_path: Path, evil: str) -> None:
    path = tmp_path / "openclaw.json"
    path.write_text(evil * 100_000)
    with measure_pace() as pace, pytest.raises(ConfigError):
        read_wish(path)
    assert pace.seconds < 3


@pytest.mark.parametrize(
    "database",
    [
        {"backend": "sqlite", "auto_migrate": True},
        {"backend": "ladybugdb", "auto_migrate": False},
        {"backend": "ladybugdb"},
        {},
        None,
    ],
)
def test_both_keys_are_needed(tmp_path: Path, database: Any) -> None:
    wish = read_wish(write(tmp_path / "openclaw.json", database))
    assert not wish.migrate and wish.reason


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "JSON"),
        (b"\xff", "JSON"),
        (b"[" * 100_000, "JSON"),
        (b'{"database": {"backend": "oracle"}}', "backend"),
        (b'{"database": {"backend": "ladybugdb", "auto_migrate": 1}}', "auto_migrate"),
        (b'{"database": {"migration_batch_size": -1}}', "migration_batch_size"),
        (b'{"database": {"migration_batch_size": true}}', "migration_batch_size"),
        (b'{"database": {"path": 7}}', "path"),
        (b" " * ((4 << 20) + 1), "larger"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "openclaw.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=says):
        read_wish(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_wish(tmp_path / "none.json")


# --- at start -------------------------------------------------------------------------------------


def settled(daemon: DaemonProcess, count: int) -> list[dict[str, Any]]:
    """The sources, when `count` are verified; fails after a while."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        found: list[dict[str, Any]] = daemon.call("migrate.status")["sources"]
        if [source["state"] for source in found] == ["verified"] * count:
            return found
        time.sleep(0.05)
    raise AssertionError(found)


def test_it_migrates_once_at_start(tmp_path: Path, make_daemon: Make) -> None:
    store = stores.small_store(tmp_path / "graph.sqlite")
    wishes = {"backend": "ladybugdb", "auto_migrate": True, "path": str(store)}
    claw = write(tmp_path / "openclaw.json", {**wishes, "migration_batch_size": 7})
    config = f"openclaw:\n  config: {claw}\nmigration:\n  strategy: full\n"
    daemon = make_daemon("home", config=config).start()
    (source,) = settled(daemon, 1)
    assert (source["total"], source["batch_size"]) == (30, 7)
    daemon.call("migrate.rollback", {"name": source["name"]})
    daemon.restart()
    time.sleep(0.5)
    (again,) = daemon.call("migrate.status")["sources"]
    assert again["state"] == "rolled_back"  # once means once: the user may have undone it


def test_killed_before_it_is_noted_it_is_done_once_all_the_same(
    tmp_path: Path, make_daemon: Make
) -> None:
    store = stores.small_store(tmp_path / "graph.sqlite")
    wishes = {"backend": "ladybugdb", "auto_migrate": True, "path": str(store)}
    claw = write(tmp_path / "openclaw.json", wishes)
    config = f"openclaw:\n  config: {claw}\nmigration:\n  strategy: full\n"
    daemon = make_daemon("home", config=config, environment={"NIMAD_CRASH_AT": "auto.attached"})
    daemon.spawn()
    assert daemon.wait() == -signal.SIGKILL
    daemon.environment.clear()
    daemon.start()
    (source,) = settled(daemon, 1)
    assert source["verified"] == daemon.call("status")["memories"] == 30


def test_what_stands_in_the_way_is_logged_and_the_daemon_serves(
    tmp_path: Path, make_daemon: Make
) -> None:
    wishes = {"backend": "ladybugdb", "auto_migrate": True, "path": str(tmp_path / "none")}
    claw = write(tmp_path / "openclaw.json", wishes)
    daemon = make_daemon("home", config=f"openclaw:\n  config: {claw}\n").start()
    until = time.monotonic() + PATIENCE
    while "no auto-migration" not in daemon.log() and time.monotonic() < until:
        time.sleep(0.05)
    assert "nimactl migrate" in daemon.log()
    assert daemon.call("migrate.status")["sources"] == []


# --- the guide's command --------------------------------------------------------------------------


def test_the_command_of_the_guide(tmp_path: Path, daemon: DaemonProcess) -> None:
    store = stores.small_store(tmp_path / "graph.sqlite", count=31)
    common = ("--db", store, "--socket", daemon.socket, "--json")
    tried = ladybug("--batch-size", 500, "--dry-run", *common)
    assert tried.returncode == 0, tried.stderr
    assert json.loads(tried.stdout)["total"] == 31
    assert daemon.call("migrate.status")["sources"] == []
    done = ladybug("--batch-size", 10, *common)
    assert done.returncode == 0, done.stderr
    (source,) = settled(daemon, 1)
    assert source["verified"] == 31 and source["batch_size"] == 10
    again = ladybug(*common)
    assert again.returncode == 0
    assert daemon.call("status")["memories"] == 31


def test_a_start_offset_leaves_the_first_rows_out(tmp_path: Path, daemon: DaemonProcess) -> None:
    store = stores.small_store(tmp_path / "graph.sqlite", count=30)
    done = ladybug("--db", store, "--socket", daemon.socket, "--start-offset", 20)
    assert done.returncode == 0, done.stderr
    assert settled(daemon, 1)[0]["verified"] == 10


def test_auto_does_what_the_file_wishes(tmp_path: Path, daemon: DaemonProcess) -> None:
    store = stores.small_store(tmp_path / "graph.sqlite")
    claw = tmp_path / "openclaw.json"
    config = tmp_path / "nimad.yaml"
    config.write_text(f"openclaw:\n  config: {claw}\n")
    common = ("--auto", "--config", config, "--socket", daemon.socket)
    missing = ladybug(*common)
    assert missing.returncode == ConfigError.exit and str(claw) in missing.stderr
    write(claw, {"backend": "sqlite", "path": str(store)})
    nothing = ladybug(*common)
    assert nothing.returncode == 0 and "Nothing was migrated" in nothing.stdout
    wishes = {"backend": "ladybugdb", "auto_migrate": True, "migration_batch_size": 9}
    write(claw, {**wishes, "path": str(store)})
    assert ladybug(*common).returncode == 0
    assert settled(daemon, 1)[0]["batch_size"] == 9


def test_without_a_daemon_it_says_so(tmp_path: Path) -> None:
    store = stores.small_store(tmp_path / "graph.sqlite")
    tried = ladybug("--db", store, "--socket", tmp_path / "none.sock")
    assert tried.returncode == 69 and "nimad" in tried.stderr
