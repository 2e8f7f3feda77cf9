"""The engine's process: builds one file, or answers questions about one until it is closed.

It is started by `process` and speaks JSON, one object a line: requests on standard input, one reply
for each on standard output.  It ends when its input does, whatever it is busy with.

| request | reply |
|---|---|
| `{"do": "copy", "table": T}` | `{}`: the rows in the file `rows` are in the table |
| `{"do": "checkpoint"}` | `{}` |
| `{"do": "finish"}` | `{"counts": {T: rows}}`: the file is whole |
| `{"do": "ask", "cypher", "parameters", "limit", "seconds"}` | `{"columns", "rows", "more"}` |

A reply may be `{"error": {"class", "fields"}}` instead.

A process that answers questions has its file open before it takes one, and can open no other
afterwards (RLIMIT_NOFILE), nor write one (RLIMIT_FSIZE): a question that gets past `cypher`
reaches nothing.  Nor can it take more memory than ANSWER_BYTES beside the engine's pool
(RLIMIT_DATA): the question fails, and the process goes on.
"""

from __future__ import annotations

import ctypes
import datetime
import json
import math
import os
import queue
import re
import resource
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from nimad.errors import NimadError, ReplyTooLarge
from nimad.graph import tables
from nimad.graph.engine import Engine, asked_wrong
from nimad.graph.limits import GraphLimits, Settings

ANSWER_BYTES = 128 << 20
"""Memory that a question may take beside the engine's pool [bytes]."""
REPLY_BYTES = 900_000
"""Longest answer: the rest of the rows is left out [bytes]."""
KILL_FIRST = 900
"""Place in the kernel's order of what ends when memory runs out: before the daemon."""
NICE = 5
"""How much the engine gives way to the daemon, which answers everybody else meanwhile."""
INTERNAL = ("_id", "_src", "_dst")
"""Keys of a node or relation that are the engine's own: places in its file."""
PR_SET_THP_DISABLE = 41  # <linux/prctl.h>


def main(given: str) -> None:
    """Serve requests until standard input ends."""
    settings = Settings(**json.loads(given))
    os.umask(0o077)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C is for the daemon, which ends this process
    ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(KILL_FIRST))
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            requests.put(line)
        os._exit(0)  # the daemon is gone, or has no more questions

    threading.Thread(target=read, daemon=True).start()
    os.nice(NICE)  # before it begins threads of its own
    try:
        engine = _open(settings)
    except NimadError as error:
        _reply(_failure(error))
        os._exit(0)
    _reply({})
    while True:
        try:
            reply = _perform(engine, settings, json.loads(requests.get()))
        except NimadError as error:
            reply = _failure(error)
        _reply(reply)


def _reply(reply: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(reply, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _failure(error: NimadError) -> dict[str, Any]:
    return {"error": {"class": type(error).__name__, "fields": error.fields}}


def _open(settings: Settings) -> Engine:
    limits = GraphLimits(settings.pool, settings.size)
    path = Path(settings.path)
    if settings.rows >= 0:
        engine = Engine(path, settings.engine, limits, read_only=False)
        tables.create_tables(engine, in_parts=settings.in_parts)
        return engine
    engine = Engine(path, settings.engine, limits, read_only=True)
    warm_up = {"a": 1, "b": "", "c": 0.5, "d": [1], "e": None, "f": True, "g": {"h": 1}}
    engine.ask(f"RETURN ${', $'.join(warm_up)}", warm_up, 10).close()  # it loads modules only now
    # from now on this process opens no file, writes none, and takes a bounded amount of memory
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    found = re.search(r"VmData:\s+(\d+) kB", Path("/proc/self/status").read_text())
    most = (int(found[1]) << 10 if found else 1 << 33) + ANSWER_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    lowest = os.open("/dev/null", os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, lowest))
    return engine


def _perform(engine: Engine, settings: Settings, request: dict[str, Any]) -> dict[str, Any]:
    do = request.pop("do")
    if do == "ask":
        return _ask(engine, **request)
    if do == "copy":
        tables.copy(engine, request["table"], settings.rows)
    elif do == "checkpoint":
        engine.checkpoint()
    elif do == "finish":
        engine.checkpoint()
        counts = tables.counts(engine)
        engine.close()
        return {"counts": counts}
    return {}


def _ask(
    engine: Engine, cypher: str, parameters: dict[str, Any], limit: int, seconds: float
) -> dict[str, Any]:
    result = engine.ask(cypher, parameters, seconds)
    rows: list[Any] = []
    room, more = REPLY_BYTES, False
    try:
        columns = result.get_column_names()
        while result.has_next():
            if len(rows) == limit:
                more = True
                break
            row = [as_json(value) for value in result.get_next()]
            room -= len(json.dumps(row, ensure_ascii=False).encode(errors="replace")) + 2
            if room < 0:
                if not rows:
                    raise ReplyTooLarge(limit=REPLY_BYTES)
                more = True
                break
            rows.append(row)
    except (RuntimeError, MemoryError) as error:
        rows.clear()
        raise asked_wrong(error, seconds) from error
    finally:
        result.close()
    return {"columns": columns, "rows": rows, "more": more}


def as_json(value: Any) -> Any:
    """A value as JSON: nodes and relations as objects with their `label`, times as ISO 8601, bytes
    in hex, numbers that JSON does not have (NaN) as null."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        shown = {"_label": "label", "_nodes": "nodes", "_rels": "relations"}
        return {
            shown.get(str(key).lower(), str(key)): as_json(item)
            for key, item in value.items()
            if str(key).lower() not in INTERNAL or not isinstance(item, dict)
        }
    if isinstance(value, (list, tuple, set)):
        return [as_json(item) for item in value]
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    return str(value)
