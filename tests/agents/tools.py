"""Where the official clients are that nimad is tried with (packaging/fetch_agents.py)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
NIMACTL = [str(Path(sys.executable).parent / "nimactl")]


def place(name: str) -> Path:
    """A folder of clients; without it the test is skipped, or fails where CI is set."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    root = Path(os.environ.get("NIMAD_AGENTS") or cache / "nimad" / "agents")
    if not (root / name / "complete").is_file():
        reason = f"the clients in {root / name} are not here: `make test-agents` installs them"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return root / name


def python_of(name: str) -> str:
    """The interpreter of one environment."""
    return str(place(name) / "bin" / "python")


def newest_node() -> str:
    """Node.js 24, which the inspector and OpenClaw need."""
    (found,) = place("node").glob("node_modules/node-linux-*/bin/node")
    return str(found)


def run(command: list[str], **more: Any) -> str:
    """What a command prints; it must end well."""
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, **more)
    assert ran.returncode == 0, f"{command}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


def run_json(command: list[str], **more: Any) -> Any:
    """The JSON document that a command prints in its last line."""
    return json.loads(run(command, **more).strip().splitlines()[-1])
