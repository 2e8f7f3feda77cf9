"""A real PostgreSQL with pgvector: start it, kill it, start it again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
import pytest

from tests.threads import PATIENCE

BASE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
ROOT = BASE / "nimad" / "rig" / "postgres"
BIN = "/usr/lib/postgresql/17/bin"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "dynamic_shared_memory_type": "mmap",
    "max_connections": 60,
    "log_min_messages": "warning",
}
HBA = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"


def need_postgres() -> None:
    """Skip, or with CI set fail, where the tests cannot have one."""
    if os.geteuid() == 0 and ROOT.is_dir():
        return
    reason = "packaging/make_postgres.py makes a PostgreSQL for these tests, and root starts it"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


class Postgres:
    """One server on a port of 127.0.0.1, its files in a directory of its own below ROOT/srv."""

    def __init__(self, **settings: object) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.place = Path(tempfile.mkdtemp(prefix="pg-", dir=ROOT / "srv"))
        self.settings = {**SETTINGS, "port": self.port, **settings}
        self.process: subprocess.Popen[bytes] | None = None
        owner = (ROOT / "var/lib/postgresql").stat()
        os.chown(self.place, owner.st_uid, owner.st_gid)
        self.place.chmod(0o700)
        self.data = f"/srv/{self.place.name}/data"
        auth = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8"]
        subprocess.run(
            [*self._as_postgres, f"{BIN}/initdb", "-D", self.data, "--no-sync", *auth],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        (self.place / "data" / "pg_hba.conf").write_text(HBA)

    @property
    def _as_postgres(self) -> list[str]:
        return ["chroot", "--userspec=postgres:postgres", str(ROOT)]

    def start(self) -> Postgres:
        """Start it and wait until it answers."""
        deadline = time.monotonic() + PATIENCE
        options = [f"-c{name}={value}" for name, value in self.settings.items()]
        while True:
            if self.process is None or self.process.poll() is not None:
                with (self.place / "log").open("ab") as log:
                    command = [*self._as_postgres, f"{BIN}/postgres", "-D", self.data, *options]
                    self.process = subprocess.Popen(command, stdout=log, stderr=log)
            try:
                psycopg.connect(self.url(database="postgres"), connect_timeout=5).close()
                return self
            except psycopg.Error:
                if time.monotonic() > deadline:
                    raise AssertionError((self.place / "log").read_text()[-2000:]) from None
                time.sleep(0.1)

    def url(self, user: str = "postgres", password: str = "", database: str = "nimad") -> str:
        """A connection of a user."""
        login = f"{user}:{password}" if password else user
        return f"postgresql://{login}@127.0.0.1:{self.port}/{database}?sslmode=disable"

    def execute(self, *statements: str, database: str = "nimad") -> list[tuple[object, ...]]:
        """Run statements as the superuser; the rows of the last one."""
        with psycopg.connect(self.url(database=database), autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def kill(self) -> None:
        """SIGKILL: its children end as they notice."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def finish_process(self) -> None:
        """End it at once, its children included."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(PATIENCE)

    def finish(self) -> None:
        """End it and delete its files."""
        self.finish_process()
        shutil.rmtree(self.place, ignore_errors=True)
