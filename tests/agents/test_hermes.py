"""The memory provider in the real Hermes Agent: its loader, its manager, a real daemon."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from nimad import __version__
from nimad.ctl.injection import CLOSE, OPEN
from tests.agents.tools import HERE, ROOT, python_of, run, run_json
from tests.process import DaemonProcess

PROVIDER = ROOT / "packaging" / "hermes"
READS = ["memory_search", "memory_get", "memory_related", "memory_status"]


@pytest.mark.slow
@pytest.mark.agents
def test_hermes_recalls_captures_and_calls_tools(daemon: DaemonProcess, tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "nimad").symlink_to(PROVIDER)
    for number in range(12):
        daemon.call("remember", text=f"Maya planted {number} rows of beans in bed {number}")
    question = "How many rows of beans did Maya plant?"
    command = [python_of("hermes"), "-P", str(HERE / "hermes_session.py"), str(tmp_path / "none")]
    told: dict[str, Any] = run_json(
        [*command, question],
        env={
            **os.environ,
            "HERMES_HOME": str(tmp_path),
            "NIMAD_SOCKET": str(daemon.socket),
            "PYTHONPATH": str(ROOT),
        },
    )
    ((name, about, available),) = told["found"]
    assert name == "nimad" and "on this machine" in about and available
    assert told["tools"][:3] == ["memory_search", "memory_get", "memory_store"]
    assert "Search it before you answer" in told["prompt"]
    assert "there is no argument 'question'" in told["wrong"]["error"]
    assert OPEN in told["recalled"] and CLOSE in told["recalled"]
    assert "Pilar is allergic to penicillin" in told["recalled"]
    assert told["silent"] == "" and "since Monday" not in told["own"]
    assert "since Monday" in told["again"]
    assert told["ids"] == [one["id"] for one in daemon.call("query", text=question)["results"]]
    for context in ("subagent", "cron", "flush"):
        assert told[context] == READS
        assert "error" in told[f"{context} stores"]
    assert told["coder sees"] == []
    assert told["away"] == "" and told["away took"] < 20
    assert "No nimad answers" in told["away tool"]["error"]
    memories = daemon.call("export")["memories"]
    assert not [one for one in memories if "zebra" in one["text"] or "raining" in one["text"]]
    kept = [one for one in memories if one["turn"] and one["namespace"] == "default"]
    assert [(one["layer"], one["who"], one["origin"], one["agent"]) for one in kept] == [
        ("input", "maya", "owner", "hermes"),
        ("contemplation", "self", "agent", "hermes"),
        ("output", "self", "agent", "hermes"),
    ]
    assert {one["session"] for one in kept} == {"one"}
    coder = [one["namespace"] for one in memories if one["agent"] == "coder"]
    assert coder == ["agent.coder"] * 2


@pytest.mark.slow
@pytest.mark.agents
def test_hermes_itself_says_that_it_is_available(tmp_path: Path) -> None:
    """The commands of docs/agents.md."""
    hermes = str(Path(python_of("hermes")).parent / "hermes")
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    environment.pop("HERMES_HOME", None)
    (tmp_path / ".hermes" / "plugins").mkdir(parents=True)
    (tmp_path / ".hermes" / "plugins" / "nimad").symlink_to(PROVIDER)
    run([hermes, "config", "set", "memory.provider", "nimad"], env=environment)
    told = run([hermes, "memory", "status"], env=environment)
    assert "nimad  (local) ← active" in told and "available ✓" in told


def test_the_manifest_tells_the_version() -> None:
    lines = (PROVIDER / "plugin.yaml").read_text().splitlines()
    assert lines[:2] == ["name: nimad", f"version: {__version__}"]
