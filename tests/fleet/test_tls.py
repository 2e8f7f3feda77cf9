"""The hub's certificate is verified unless the URL says otherwise."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from nimad.errors import HubUnusable
from nimad.hub.session import Hub
from tests.fleet.boards import make_hub
from tests.fleet.postgres import Postgres, need_postgres

pytestmark = pytest.mark.fleet


def make_certificate(folder: Path, name: str) -> None:
    """name.crt, which is its own authority, for the host localhost; name.key."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.crt")]
    subprocess.run([*command, *files], check=True, capture_output=True)


def test_only_the_certificate_of_the_hub_itself_will_do(tmp_path: Path) -> None:
    need_postgres()
    for name in ("hub", "other"):
        make_certificate(tmp_path, name)
    plain = Postgres(fsync="off")
    data = plain.place / "data"
    for end in ("key", "crt"):
        shutil.copy(tmp_path / f"hub.{end}", data / f"server.{end}")
        shutil.chown(data / f"server.{end}", data.stat().st_uid, data.stat().st_gid)
        (data / f"server.{end}").chmod(0o600)
    try:
        plain.start()
        password = make_hub(plain, {"home": {"family": "both"}})["home"]
        right = f"sslrootcert={tmp_path}/hub.crt"
        at = f"postgresql://home:{password}@%s:{plain.port}/nimad?%s"
        with pytest.raises(HubUnusable, match="SSL"):  # it offers none
            Hub(at % ("localhost", right))
        plain.finish_process()
        plain.settings["ssl"] = "on"
        plain.start()
        Hub(at % ("localhost", right)).close()
        for host, options in (
            ("localhost", f"sslrootcert={tmp_path}/other.crt"),
            ("localhost", ""),  # the system's authorities do not know it
            ("127.0.0.1", right),  # another name than the certificate's
        ):
            with pytest.raises(HubUnusable, match=r"certificate|SSL"):
                Hub(at % (host, options))
    finally:
        plain.finish()
