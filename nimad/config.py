"""The configuration, resolved: yaml is read here and nowhere else; the keys are in nimad/keys.py.

A configuration is resolved once, at start (and again on SIGHUP), into one frozen `Config`.  Unknown
keys are refused by name, with the nearest valid one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path
from typing import Any

from nimad.dataclass import dataclass
from nimad.errors import ConfigError
from nimad.keys import KEYS, Key
from nimad.limits import refuse_twice
from nimad.patterns import lazy_pattern

__all__ = ["KEYS", "Config", "Key", "default_socket", "default_state", "load"]

SYSTEM_CONFIG = Path("/etc/nimad/nimad.yaml")
SYSTEM_STATE = Path("/var/lib/nimad")
SYSTEM_SOCKET = Path("/run/nimad/nimad.sock")

_WORD = "(?!(?:y|n|yes|no|on|off|null)$)[a-z_]+"
_NAME = lazy_pattern(f"(?!true$|false$){_WORD}")
_PLAIN = lazy_pattern(f" (0|[1-9][0-9]{{0,15}})| ({_WORD})| (/[A-Za-z0-9/._-]+)|")
_TRUTH = {"true": True, "false": False}


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
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(path=path, detail="there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(path=path, detail=f"cannot be read ({error})") from error
    loaded = read_plain(text)
    if loaded is None:
        loaded = _read_yaml(text, path)
    if loaded is None:
        loaded = {}
    if not isinstance(loaded, dict):
        raise ConfigError(path=path, detail="must hold keys and values")
    values = {name: key.default for name, key in KEYS.items()}
    try:
        given = refuse_twice(list(_flatten(loaded)))
    except ValueError as error:
        raise ConfigError(path=path, detail=str(error)) from None
    values.update(_checked(given, path))
    if values["migration.min_batch"] > values["migration.max_batch"]:
        raise ConfigError(path=path, detail="migration.min_batch is larger than max_batch")
    return Config(values, path)


def read_plain(text: str) -> dict[str, Any] | None:
    """What YAML reads in a file that says no more than the one of the package does, sections of
    words, numbers and names, 20 ms sooner; None: ask YAML, which is right about everything."""
    tree: dict[str, Any] = {}
    section = ""
    for line in text.split("\n"):
        if not (said := line.strip(" ")) or said.startswith("#"):
            continue
        name, colon, value = said.partition(":")
        indented = line.startswith("  ") and line[2] != " "
        plain = _PLAIN.fullmatch(value)
        if not (colon and _NAME.fullmatch(name) and plain and (indented or line[0] != " ")):
            return None
        number, word, path = plain.groups()
        found = int(number) if number else _TRUTH.get(word, word) if word else path
        if name in (tree[section] or () if indented and section else tree):
            return None
        if not indented:
            section = "" if value else name
            tree[name] = found
        elif section and value:
            tree[section] = (tree[section] or {}) | {name: found}
        else:
            return None
    return tree


def _read_yaml(text: str, path: Path) -> Any:
    """What YAML reads, which takes the last of two values for one key; here that is an error."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            told = [pair for pair in node.value if not pair[1].tag.endswith(":null")]
            names = refuse_twice([(str(key.value), None) for key, _ in told])
            # a section may stand there empty, too: each does in the file of the package
            empty = [pair for pair in node.value if pair not in told]
            node.value = told + [pair for pair in empty if str(pair[0].value) not in names]
            found: dict[Any, Any] = super().construct_mapping(node, deep)
            return found

    try:
        return yaml.load(text, Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # 2024-13-45, say
        detail = f"is not YAML ({' '.join(str(error).split())})"
        raise ConfigError(path=path, detail=detail) from error


def _flatten(tree: dict[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        full = f"{prefix}{name}"
        if isinstance(value, dict) and full not in KEYS:
            yield from _flatten(value, full + ".")
        elif value is None and any(key.startswith(full + ".") for key in KEYS):
            continue  # a section whose every line is commented out
        else:
            yield full, value


def _checked(values: dict[str, Any], path: Path | str) -> dict[str, Any]:
    checked: dict[str, Any] = {}
    for name, value in values.items():
        if name not in KEYS:
            import difflib

            near = difflib.get_close_matches(name, KEYS, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(path=path, detail=f"there is no key {name}{hint}")
        try:
            checked[name] = KEYS[name].check(value)
        except ValueError as error:
            raise ConfigError(path=path, detail=f"{name} {error}, not {value!r}") from None
    return checked
