"""Boards of a fleet: a daemon and its nimad-sync each, and the hub that they share."""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nimad.client.connection import Connection
from nimad.config import load
from nimad.errors import NimadError
from nimad.hub.main import main as nimad_hub
from nimad.hub.schema import KINDS, PARTITIONS
from nimad.hub.session import Hub
from nimad.sync.main import Helper
from tests.fleet.postgres import Postgres
from tests.process import DaemonProcess
from tests.threads import PATIENCE

CONFIG = "embedder: hash\ngraph.engine: none\n"


def make_hub(postgres: Postgres, boards: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Make a database a hub for some boards, each with its namespaces; their passwords."""
    if not postgres.execute(
        "SELECT 1 FROM pg_database WHERE datname = 'nimad'", database="postgres"
    ):
        postgres.execute("CREATE DATABASE nimad", database="postgres")
    given = []
    for name, spaces in boards.items():
        given += ["--board", f"{name}:{','.join(f'{s}={way}' for s, way in spaces.items())}"]
    with contextlib.redirect_stdout(io.StringIO()) as told:
        assert nimad_hub(["init", postgres.url(), *given]) == 0
    return dict(re.findall(r"^(\S+): password (\S+)$", told.getvalue(), re.MULTILINE))


def spread(hub: Postgres, shards: Sequence[Postgres]) -> None:
    """What docs/fleet.md says: each shard is a hub of its own, whose partitions are those here.

    Never the table that they are of: postgres_fdw deletes by a row's place in its file, which is
    that of other rows in other partitions.
    """
    for n, shard in enumerate(shards):
        shard.execute("CREATE DATABASE nimad", database="postgres")
        assert nimad_hub(["init", shard.url()]) == 0
        hub.execute(
            "CREATE EXTENSION IF NOT EXISTS postgres_fdw",
            f"CREATE SERVER shard{n} FOREIGN DATA WRAPPER postgres_fdw OPTIONS"
            f" (host '127.0.0.1', port '{shard.port}', dbname 'nimad', batch_size '500')",
            f"CREATE USER MAPPING FOR PUBLIC SERVER shard{n} OPTIONS"
            " (user 'postgres', password_required 'false')",
        )
    for table in KINDS:
        for n in range(PARTITIONS):
            hub.execute(
                f"DROP TABLE nimad.{table}_{n}",
                f"CREATE FOREIGN TABLE nimad.{table}_{n} PARTITION OF nimad.{table} FOR VALUES"
                f" WITH (MODULUS {PARTITIONS}, REMAINDER {n}) SERVER shard{n % len(shards)}"
                f" OPTIONS (schema_name 'nimad', table_name '{table}_{n}')",
            )


class Board:
    """One board: `sync` makes a round of nimad-sync, `start_sync` lets it run."""

    def __init__(
        self,
        place: Path,
        name: str,
        url: str,
        spaces: Mapping[str, str],
        environment: Mapping[str, str] | None = None,
        **sync: object,
    ) -> None:
        self.name, self.spaces = name, dict(spaces)
        place.mkdir()
        values = {"url": url, "namespaces": dict(spaces), "name": name, "seconds": 0.2, **sync}
        values["socket"] = str(place / "sync.sock")
        text = f"{CONFIG}sync: {json.dumps(values)}"
        self.daemon = DaemonProcess(place, text, environment=environment)
        self.log = place / "sync.log"
        self.helper: subprocess.Popen[bytes] | None = None
        self._rounds: Helper | None = None

    def start(self) -> Board:
        self.daemon.start()
        return self

    def call(self, verb: str, **params: Any) -> Any:
        return self.daemon.call(verb, params)

    def remember(self, text: str, namespace: str = "family", **more: Any) -> int:
        return int(self.call("remember", text=text, namespace=namespace, **more)["id"])

    def start_sync(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [
            sys.executable,
            "-m",
            "nimad.sync.main",
            "--config",
            str(self.daemon.config_file),
        ]
        command += ["--socket", str(self.daemon.socket), *arguments]
        with self.log.open("ab") as log:
            self.helper = subprocess.Popen(command, stderr=log)
        return self.helper

    def round(self, seconds: float = 60.0) -> None:
        """One round in this process, over a connection that stays."""
        if self._rounds is None:
            self._rounds = Helper(
                load(self.daemon.config_file), Connection(str(self.daemon.socket))
            )
        try:
            self._rounds.round(seconds)
        except NimadError:
            self._rounds = None
            raise

    def rounds_hub(self) -> Hub:
        """The connection of `round`."""
        assert self._rounds is not None and self._rounds.hub is not None
        return self._rounds.hub

    def sync(self, code: int | None = 0) -> int:
        """One round; its exit code, which must be `code` unless that is None."""
        found = self.start_sync("--once").wait(120)
        assert code is None or found == code, self.log.read_text()[-2000:]
        return found

    def export(self, namespace: str = "family") -> list[dict[str, Any]]:
        """What a namespace holds, without what means something on this board only, in one order."""
        found, after = [], 0
        while after is not None:
            page = self.call("export", namespace=namespace, after=after)
            found += page["memories"]
            after = page["next"]
        for line in found:
            for name in ("id", "source", "access_count", "last_accessed"):
                line.pop(name, None)
        return sorted(found, key=lambda line: json.dumps(line, sort_keys=True))

    def finish(self) -> None:
        for process in (self.helper, self.daemon.process):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait(PATIENCE)


def settle(boards: Sequence[Board], rounds: int = 3) -> None:
    """Let all boards give and take until nothing is under way."""
    for _ in range(rounds):
        for board in boards:
            board.round()
