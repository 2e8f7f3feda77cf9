"""Writes the distribution nimad-client: the daemon's client without the daemon, in pure Python.

    python packaging/build_client.py [DIRECTORY]   writes nimad_client-VERSION-py3-none-any.whl

Its package nimad_client is made of nimad's own files, under other names: there is one client.  The
wheel is written here, because it is a few texts in a zip file, and so the same bytes each time.
Format: https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

from __future__ import annotations

import base64
import hashlib
import re
import sys
import zipfile
from pathlib import Path

from nimad import __version__

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "nimad"
TAKEN = {
    "closing.py": "closing.py",
    "errors.py": "errors.py",
    "limits.py": "limits.py",
    "client/places.py": "places.py",
    "client/connection.py": "connection.py",
    "client/types.py": "types.py",
    "client/client.py": "client.py",
    "client/aio.py": "aio.py",
    "client/langgraph.py": "langgraph.py",
}
"""Files of nimad, and what they are called there."""
FIRST = '''"""Ask the memory daemon nimad: `Client` for threads, `AsyncClient` for asyncio."""

from nimad_client.aio import AsyncClient
from nimad_client.client import Client
from nimad_client.errors import NimadError, RemoteError

__all__ = ["AsyncClient", "Client", "NimadError", "RemoteError"]
__version__ = "{version}"
'''
METADATA = """Metadata-Version: 2.1
Name: nimad-client
Version: {version}
Summary: Client of nimad, the on-device memory daemon for AI agents
License: MIT
Requires-Python: >=3.11
Provides-Extra: langgraph
Requires-Dist: langgraph-checkpoint>=4; extra == 'langgraph'
Description-Content-Type: text/markdown

{about}"""
WHEEL = "Wheel-Version: 1.0\nGenerator: nimad\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
STAMP = (1980, 1, 1, 0, 0, 0)
"""The time of every file in the zip: the same sources give the same bytes."""


def sources() -> dict[str, str]:
    """Every file of the package, by its path in the wheel."""
    found = {"__init__.py": FIRST.format(version=__version__), "py.typed": ""}
    for name, target in TAKEN.items():
        text = (SOURCE / name).read_text(encoding="utf-8")
        text = re.sub(r"\bnimad\.client\.(?=\w)", "nimad_client.", text)
        found[target] = re.sub(r"^from nimad\.", "from nimad_client.", text, flags=re.MULTILINE)
    return {f"nimad_client/{name}": text for name, text in found.items()}


def build(directory: Path) -> Path:
    """Write the wheel; its path."""
    directory.mkdir(parents=True, exist_ok=True)
    info = f"nimad_client-{__version__}.dist-info"
    about = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
    files = {
        **sources(),
        f"{info}/METADATA": METADATA.format(version=__version__, about=about),
        f"{info}/WHEEL": WHEEL,
        f"{info}/licenses/LICENSE": (ROOT / "LICENSE").read_text(encoding="utf-8"),
    }
    lines = [f"{name},{_digest(text)},{len(text.encode())}" for name, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,", ""])
    made = directory / f"nimad_client-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name, STAMP)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            wheel.writestr(entry, text.encode())
    return made


def _digest(text: str) -> str:
    raw = hashlib.sha256(text.encode()).digest()
    return f"sha256={base64.urlsafe_b64encode(raw).rstrip(b'=').decode()}"


if __name__ == "__main__":
    print(build(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "dist")))
