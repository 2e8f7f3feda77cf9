"""The configuration: every key, its default, unit and check; yaml is read here and nowhere else.

A configuration is resolved once, at start (and again on SIGHUP), into one frozen `Config`.  Unknown
keys are refused by name, with the nearest valid one.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nimad.errors import ConfigError

SYSTEM_CONFIG = Path("/etc/nimad/nimad.yaml")
SYSTEM_STATE = Path("/var/lib/nimad")
SYSTEM_SOCKET = Path("/run/nimad/nimad.sock")


def default_state() -> Path:
    """systemd's StateDirectory, root's system directory, or the user's own XDG state directory."""
    if given := os.environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    if os.geteuid() == 0:
        return SYSTEM_STATE
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local/state") / "nimad"


def default_socket() -> Path:
    """/run/nimad for root, else $XDG_RUNTIME_DIR/nimad.sock, else beside the state."""
    if os.geteuid() == 0:
        return SYSTEM_SOCKET
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime) / "nimad.sock" if runtime else default_state() / "nimad.sock"


@dataclass(frozen=True)
class Key:
    """One configuration key: its default, what it must be, and how the manual describes it."""

    default: Any
    check: Callable[[Any], Any]
    about: str
    unit: str = ""
    live: bool = False
    """True when SIGHUP applies a new value without a restart."""


def _integer(low: int, high: int) -> Callable[[Any], Any]:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return value

    return check


def _number(low: float, high: float) -> Callable[[Any], Any]:
    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"must be a number from {low} to {high}")
        if not low <= value <= high:
            raise ValueError(f"must be a number from {low} to {high}")
        return float(value)

    return check


def _choice(*names: str) -> Callable[[Any], Any]:
    def check(value: Any) -> str:
        if value is False and "none" in names:  # yaml reads an unquoted `off` or `no` as false
            return "none"
        if value not in names:
            raise ValueError(f"must be one of {', '.join(names)}")
        return str(value)

    return check


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")
    return value


KEYS: dict[str, Key] = {
    "log_level": Key(
        "info",
        _choice("debug", "info", "warning", "error"),
        "How much goes to the journal.",
        live=True,
    ),
    "embedder": Key(
        "static",
        _choice("static", "hash", "minilm"),
        "What turns text into vectors: static (distilled, shipped with the package), minilm (a "
        "transformer, in the package nimad-minilm) or hash (no model at all). After a change and "
        "a restart the memories are encoded again in idle time, while the old vectors serve.",
    ),
    "minilm.threads": Key(
        1, _integer(1, 16), "Threads that the transformer of embedder minilm works with.", "threads"
    ),
    "graph.engine": Key(
        "ladybug",
        _choice("ladybug", "kuzu", "none"),
        "The graph database: ladybug, kuzu (4 KiB pages only: not on a Raspberry Pi 5), or none.",
    ),
    "graph.buffer_pool_mb": Key(
        0,
        _integer(0, 65536),
        "Most memory the graph database may use for its pages; 0 sizes it to the board "
        "(1/32 of the RAM, 64 to 256).",
        "MiB",
    ),
    "graph.max_db_size_mb": Key(
        4096,
        _integer(64, 1 << 20),
        "Address space the graph database reserves; also the largest it can grow.",
        "MiB",
    ),
    "blocks.flush_rows": Key(
        2000,
        _integer(100, 100_000),
        "So many new memories are kept in the records before they become a segment of the index.",
        "memories",
        live=True,
    ),
    "blocks.merge_segments": Key(
        8,
        _integer(2, 64),
        "When there are more segments than this, the small ones are merged in idle time.",
        "segments",
        live=True,
    ),
    "migration.strategy": Key(
        "incremental",
        _choice("incremental", "full"),
        "How sources move on when `nimactl migrate` does not say: incremental (in idle time) or "
        "full (at once).",
        live=True,
    ),
    "migration.batch_size": Key(
        0,
        _integer(0, 100_000),
        "Rows in a batch; 0 lets the batches follow free memory and time.",
        "rows",
        live=True,
    ),
    "migration.min_batch": Key(
        50, _integer(1, 100_000), "Smallest automatic batch.", "rows", live=True
    ),
    "migration.max_batch": Key(
        5000, _integer(1, 100_000), "Largest automatic batch.", "rows", live=True
    ),
    "migration.batch_seconds": Key(
        2.0, _number(0.1, 60), "What an automatic batch should take.", "seconds", live=True
    ),
    "migration.reserve_mb": Key(
        128,
        _integer(16, 65536),
        "Memory that a batch must leave free for everything else.",
        "MiB",
        live=True,
    ),
    "migration.idle_seconds": Key(
        3.0,
        _number(0, 3600),
        "Without a request for so long, the daemon counts as idle.",
        "seconds",
        live=True,
    ),
    "openclaw.config": Key(
        "",
        _text,
        "An OpenClaw JSON file. When its plugin nima-memory has database.backend ladybugdb and"
        " database.auto_migrate true, the store database.path (default"
        " ~/.nima/memory/graph.sqlite) is taken over once, at start. nimad must be able to read"
        " both files; the packaged unit hides home directories from it.",
    ),
    "recall.results": Key(
        10, _integer(1, 1000), "Results of a query that does not say how many.", live=True
    ),
    "server.max_clients": Key(
        64, _integer(1, 4096), "Connections at the same time; more wait in the kernel's queue."
    ),
    "server.threads": Key(
        2,
        _integer(1, 64),
        "Reading requests answered at the same time; writing and lengthy ones have two each.",
        "threads",
    ),
    "server.idle_timeout": Key(
        600.0,
        _number(1, 86400),
        "A connection without a complete request for so long is closed.",
        "seconds",
    ),
    "server.drain_seconds": Key(
        10.0, _number(0, 600), "On stop, requests under way may take so long to finish.", "seconds"
    ),
    "access.read_group": Key(
        "nimad",
        _text,
        "Members may query; root, the daemon's own user and the control group always may. "
        '"" lets everyone who reaches the socket.',
        live=True,
    ),
    "access.control_group": Key(
        "nimad",
        _text,
        "Members may remember, forget and migrate; root and the daemon's own user always may.",
        live=True,
    ),
}


@dataclass(frozen=True)
class Config:
    """The resolved configuration: `config["graph.engine"]`; `path` says where it came from."""

    values: dict[str, Any] = field(default_factory=lambda: {n: k.default for n, k in KEYS.items()})
    path: Path | None = None

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def replace(self, **changes: Any) -> Config:
        """A copy with some keys changed; dots are written as two underscores."""
        named = {name.replace("__", "."): value for name, value in changes.items()}
        return Config({**self.values, **_checked(named, "(given)")}, self.path)


def load(path: Path | None) -> Config:
    """Read a configuration file; None takes the system's when it exists, else the defaults.

    Raises ConfigError when the file is missing (if named), is not YAML, has an unknown key, or a
    value that its key does not allow.
    """
    if path is None:
        if not SYSTEM_CONFIG.exists() or not os.access(SYSTEM_CONFIG, os.R_OK):
            return Config()
        path = SYSTEM_CONFIG
    import yaml  # here, so that those who need no file do not pay for it

    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(path=path, detail="there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(path=path, detail=f"cannot be read ({error})") from error
    except yaml.YAMLError as error:
        raise ConfigError(path=path, detail=f"is not YAML ({_one_line(error)})") from error
    if loaded is None:
        loaded = {}
    if not isinstance(loaded, dict):
        raise ConfigError(path=path, detail="must hold keys and values")
    values = {name: key.default for name, key in KEYS.items()}
    values.update(_checked(_flatten(loaded), path))
    if values["migration.min_batch"] > values["migration.max_batch"]:
        raise ConfigError(path=path, detail="migration.min_batch is larger than max_batch")
    return Config(values, path)


def _flatten(tree: dict[Any, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        full = f"{prefix}{name}"
        if isinstance(value, dict) and full not in KEYS:
            flat.update(_flatten(value, full + "."))
        elif value is None and any(key.startswith(full + ".") for key in KEYS):
            continue  # a section whose every line is commented out
        else:
            flat[full] = value
    return flat


def _checked(values: dict[str, Any], path: Path | str) -> dict[str, Any]:
    checked: dict[str, Any] = {}
    for name, value in values.items():
        if name not in KEYS:
            near = difflib.get_close_matches(name, KEYS, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(path=path, detail=f"there is no key {name}{hint}")
        try:
            checked[name] = KEYS[name].check(value)
        except ValueError as error:
            raise ConfigError(path=path, detail=f"{name} {error}, not {value!r}") from None
    return checked


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
