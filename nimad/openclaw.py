"""What an OpenClaw configuration wishes of the memory plugin: whether to migrate, and how; and what
in it keeps the plugin from remembering.

Read are `plugins.entries.nima-memory.config.database` (or without `config`, or `database` at the
top), with the keys `backend` ("ladybugdb" or "sqlite"), `auto_migrate`, `migration_batch_size` and,
ours, `path`; and what the plugin's hooks are allowed.  The file is JSON5, as OpenClaw reads it.
Source: https://spec.json5.org.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from nimad.dataclass import dataclass
from nimad.errors import ConfigError

PLUGIN = "nima-memory"
SUCCESSOR = "nimad"
"""Our own plugin (packaging/openclaw)."""
BACKENDS = ("ladybugdb", "ladybug", "sqlite")
MAX_BYTES = 4 << 20
MAX_BATCH = 100_000
_TOKEN = re.compile(
    r"""(?P<comment>//[^\n\r\u2028\u2029]*|/\*.*?\*/)
    |(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<open>["'].*|/\*.*)
    |(?P<word>[\w$.+-]+)
    |(?P<other>.)""",
    re.DOTALL | re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(\r\n|.)|\"|[\x00-\x1f]", re.DOTALL)
_JSON_ESCAPES = frozenset('"\\/bfnrtu')


@dataclass(frozen=True)
class Wish:
    """What the file wishes; without one, nothing.  `batch_size` is 0 and `database` None where the
    file does not say; `reason` tells why `migrate` is false."""

    migrate: bool = False
    batch_size: int = 0
    database: str | None = None
    reason: str = "nothing was asked for"


def default_path() -> Path:
    """Where OpenClaw keeps its configuration."""
    if named := os.environ.get("OPENCLAW_CONFIG_PATH"):
        return Path(named)
    state = os.environ.get("OPENCLAW_STATE_DIR")
    return (Path(state) if state else Path.home() / ".openclaw") / "openclaw.json"


def find_problems(path: Path) -> list[dict[str, str]]:
    """What keeps OpenClaw from recalling and remembering, in the form of `doctor`; nothing where
    there is no such file.  Raises ConfigError as `read_wish` does."""
    if not path.exists():
        return []
    plugins = _read_tree(path).get("plugins")
    entries = _within(plugins, "entries")
    selected = _within(plugins, "slots").get("memory")
    ours, theirs = entries.get(SUCCESSOR), entries.get(PLUGIN)
    if _within(entries, SUCCESSOR).get("enabled") is False:
        return []
    if isinstance(ours, dict) or selected == SUCCESSOR:
        hooks = _within(ours, "hooks")
        for key, wanted in (("allowConversationAccess", True), ("allowPromptInjection", None)):
            given = hooks.get(key)
            if given is False or (wanted and given is not True):
                setting = f"plugins.entries.{SUCCESSOR}.hooks.{key}"
                what = (
                    f"{path}: {setting} is not true, so OpenClaw blocks hooks of the plugin:"
                    " what it should recall or remember by itself is missing."
                )
                fix = f"openclaw config set {setting} true"
                return [{"part": "openclaw", "what": what, "fix": fix, "severity": "warning"}]
    elif selected == PLUGIN or (isinstance(theirs, dict) and theirs.get("enabled") is not False):
        fix = "openclaw plugins install /usr/share/nimad/openclaw --force --accept-capabilities"
        what = f"{path} still has {PLUGIN}, whose recall newer versions of OpenClaw do not run."
        return [{"part": "openclaw", "what": what, "fix": fix, "severity": "note"}]
    return []


def _within(value: Any, name: str) -> dict[str, Any]:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def read_wish(path: Path) -> Wish:
    """Read the file.  Raises ConfigError when it is missing, no JSON, or has a wrong value."""
    tree = _read_tree(path)
    section: dict[str, Any] = {}  # the plugin's `database`, or the one at the top
    ends = (("database",), ("config", "database"))
    starts = ((), (PLUGIN,), ("plugins", "entries", PLUGIN))
    for names in (start + end for start in starts for end in ends):
        found: Any = tree
        for name in names:
            found = found.get(name) if isinstance(found, dict) else None
        section = found if isinstance(found, dict) else section
    backend = section.get("backend", "sqlite")
    if backend not in BACKENDS:
        raise ConfigError(
            path=path, detail=f"database.backend must be ladybugdb or sqlite, not {backend!r}"
        )
    auto = section.get("auto_migrate", False)
    if not isinstance(auto, bool):
        raise ConfigError(
            path=path, detail=f"database.auto_migrate must be true or false: {auto!r}"
        )
    batch = section.get("migration_batch_size", 0)
    if isinstance(batch, bool) or not isinstance(batch, int) or not 0 <= batch <= MAX_BATCH:
        raise ConfigError(
            path=path, detail=f"database.migration_batch_size must be 0 to {MAX_BATCH}: {batch!r}"
        )
    database = section.get("path")
    if database is not None and not isinstance(database, str):
        raise ConfigError(path=path, detail="database.path must be text")
    if backend == "sqlite":
        return Wish(False, batch, database, "database.backend is sqlite")
    if not auto:
        return Wish(False, batch, database, "database.auto_migrate is not true")
    return Wish(True, batch, database, "")


def _read_tree(path: Path) -> dict[str, Any]:
    try:
        with path.expanduser().open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(path=path, detail=f"cannot be read ({error.strerror})") from error
    if len(raw) > MAX_BYTES:
        raise ConfigError(path=path, detail=f"is larger than {MAX_BYTES >> 20} MiB")
    told: list[str] = []
    try:
        for token in _TOKEN.finditer(raw.decode("utf-8-sig")):
            said = _as_json(token)
            if said in ("}", "]") and told and told[-1] == ",":
                told.pop()
            if said:
                told.append(said)
        tree = json.loads(" ".join(told))
    except (ValueError, RecursionError) as error:
        raise ConfigError(path=path, detail="is neither JSON nor JSON5") from error
    return tree if isinstance(tree, dict) else {}


def _as_json(token: re.Match[str]) -> str:
    """A token of JSON5 as one of JSON; what JSON does not take either stays as it is."""
    kind, said = token.lastgroup, token[0]
    if kind == "comment" or said.isspace() or said == "\ufeff":
        return ""
    if kind == "text":
        return f'"{_ESCAPE.sub(_escape, said[1:-1])}"'
    if kind != "word" or said in ("true", "false", "null"):
        return said
    number, sign = said.lstrip("+-").lower(), "-" * (said[0] == "-")
    if number in ("infinity", "nan"):
        return f"{sign}Infinity" if number == "infinity" else "NaN"
    if re.fullmatch("0x[0-9a-f]{1,16}", number):
        return f"{sign}{int(number, 16)}"
    if re.fullmatch(r"(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", number):
        whole = f"0{number}" if number[0] == "." else number
        return sign + re.sub(r"\.(?!\d)", "", whole)
    return json.dumps(said)  # a name without quotes


def _escape(found: re.Match[str]) -> str:
    """One character, or escape, of a JSON5 text, as JSON writes it."""
    said = found[1]
    if said is None:
        return json.dumps(found[0])[1:-1]
    if said in ("\n", "\r", "\r\n", "\u2028", "\u2029"):
        return ""  # a line that goes on
    if said == "x":
        return "\\u00"  # its two digits follow
    if said in _JSON_ESCAPES:
        return found[0]
    return json.dumps({"0": "\0", "v": "\v"}.get(said, said))[1:-1]
