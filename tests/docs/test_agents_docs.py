"""docs/agents.md as a new user would follow it: each command is run, each configuration is used."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nimad.openclaw import find_problems
from tests.process import DaemonProcess

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "agents.md").read_text(encoding="utf-8")
STUB = """#!/bin/sh
# An agent's command that only notes how it was called.
printf '%s\\0' "${0##*/}" "$@" > "$NOTED"
"""


def blocks(kind: str) -> list[str]:
    """What stands between ```kind and ```."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    return [body for name, body in found if name == kind]


COMMANDS = [line for block in blocks("") for line in block.splitlines() if line]
MCP = [line for line in COMMANDS if " mcp add " in line]
PLUGINS = [line for line in COMMANDS if re.search(" plugins? (install|marketplace add) ", line)]
HERMES = [line for line in COMMANDS if "hermes" in line]
OPENCLAW = [line for line in COMMANDS if line.startswith("openclaw ") and line not in MCP]
SERVERS = [json.loads(block) for block in blocks("json") if '"args": ["mcp"]' in block]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with a running daemon of its own, which remembers one thing."""
    place = tmp_path_factory.mktemp("home")
    state = place / ".local" / "state" / "nimad"
    state.mkdir(parents=True)
    daemon = DaemonProcess(place, fork=True)
    daemon.socket = state / "nimad.sock"
    daemon.start()
    daemon.call("remember", text="Maya plays the cello")
    yield place
    daemon.finish()


@pytest.fixture
def environment(home: Path, tmp_path: Path) -> dict[str, str]:
    for name in ("claude", "openclaw", "hermes"):
        (tmp_path / name).write_text(STUB)
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}:{Path(sys.executable).parent}:{os.defpath}"
    return {"HOME": str(home), "PATH": path, "NOTED": str(tmp_path / "noted")}


def noted(line: str, environment: dict[str, str]) -> list[str]:
    """Run a command line; what the agent's command was given."""
    subprocess.run(["sh", "-c", line], env=environment, check=True)
    return Path(environment["NOTED"]).read_text().split("\0")[:-1]


def search(command: list[str], environment: dict[str, str]) -> Any:
    """What a bridge finds that an agent starts in this way."""
    call = {"name": "memory_search", "arguments": {"query": "what does Maya play?"}}
    request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, **pipes) as bridge:
        assert bridge.stdin is not None and bridge.stdout is not None
        bridge.stdin.write(json.dumps(request).encode() + b"\n")
        bridge.stdin.flush()
        found = json.loads(bridge.stdout.readline())
        bridge.stdin.close()
    return [memory["text"] for memory in found["result"]["structuredContent"]["memories"]]


@pytest.mark.parametrize("line", MCP)
def test_an_agent_is_told_of_the_bridge(line: str, environment: dict[str, str]) -> None:
    words = noted(line, environment)
    if "--" in words:
        command = words[words.index("--") + 1 :]
    else:
        given = dict(itertools.pairwise(words))
        command = [given["--command"], given["--arg"]]
    assert search(command, environment) == ["Maya plays the cello"]


@pytest.mark.parametrize("block", SERVERS, ids=lambda block: next(iter(block)))
def test_a_configuration_starts_the_bridge(
    block: dict[str, Any], environment: dict[str, str]
) -> None:
    ((server,),) = (found.values() for found in block.values())
    assert search([server["command"], *server["args"]], environment) == ["Maya plays the cello"]


def test_every_option_of_mcp_is_told() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "nimad.ctl.start", "mcp", "--help"], capture_output=True, text=True
    )
    for option in set(re.findall(r"--[a-z-]+", ran.stdout)) - {"--help", "--json", "--timeout"}:
        assert f"`{option}" in TEXT


@pytest.mark.parametrize("line", PLUGINS)
def test_a_plugin_is_where_it_is_said_to_be(line: str, environment: dict[str, str]) -> None:
    """The folders of the package are those of packaging/ here."""
    installed = re.sub(r"/usr/share/nimad/(\S+)", rf"{ROOT}/packaging/\1", line)
    words = noted(installed, environment)
    for path in (Path(word) for word in words if word.startswith("/")):
        assert path.is_dir() and list(path.rglob("*plugin.json"))
    for name, market in (word.split("@") for word in words if "@" in word):
        catalog = ROOT / "packaging" / "claude-code" / ".claude-plugin" / "marketplace.json"
        found = json.loads(catalog.read_text())
        assert found["name"] == market and name in [one["name"] for one in found["plugins"]]


def test_hermes_finds_the_provider_where_the_link_is(
    home: Path, environment: dict[str, str]
) -> None:
    """tests/agents/test_hermes.py does it with the real one."""
    (home / ".hermes" / "plugins").mkdir(parents=True)
    link, choose, status = HERMES
    installed = link.replace("/usr/share/nimad/", f"{ROOT}/packaging/")
    subprocess.run(["sh", "-c", installed], env=environment, check=True)
    provider = home / ".hermes" / "plugins" / "nimad"
    assert (provider / "plugin.yaml").is_file() and (provider / "__init__.py").is_file()
    assert noted(choose, environment)[-2:] == ["memory.provider", provider.name]
    assert noted(status, environment) == ["hermes", "memory", "status"]


def test_openclaw_is_told_what_doctor_asks_for(environment: dict[str, str], tmp_path: Path) -> None:
    """The commands are carried out on a configuration: then `nimactl doctor` has nothing to say."""
    config: dict[str, Any] = {}
    plugin = json.loads((ROOT / "packaging" / "openclaw" / "openclaw.plugin.json").read_text())
    found = []
    for line in OPENCLAW[:3]:
        _, *words = noted(line, environment)
        match words:
            case ["plugins", "install", folder, *_]:
                entries = config.setdefault("plugins", {}).setdefault("entries", {})
                entries[plugin["id"]] = {"enabled": True}
                assert Path(folder).name == "openclaw"
            case ["config", "set", path, value]:
                *names, last = path.split(".")
                place = config
                for name in names:
                    place = place.setdefault(name, {})
                place[last] = json.loads(value)
            case other:
                assert other[:3] == ["plugins", "inspect", plugin["id"]]
        (tmp_path / "openclaw.json").write_text(json.dumps(config))
        found.append([one["fix"] for one in find_problems(tmp_path / "openclaw.json")])
    assert found == [[OPENCLAW[1]], [], []]


def test_each_setting_of_the_openclaw_plugin_is_told() -> None:
    for folder in ("openclaw", "openclaw-beside"):
        plugin = json.loads((ROOT / "packaging" / folder / "openclaw.plugin.json").read_text())
        for name in plugin["configSchema"]["properties"]:
            assert f"`{name}" in TEXT or name == "database", name


def test_each_hook_is_told() -> None:
    hooks = json.loads((ROOT / "packaging" / "claude-code" / "hooks" / "hooks.json").read_text())
    for (group,) in hooks["hooks"].values():
        assert f"| `{group['hooks'][0]['command']}` |" in TEXT


def test_no_command_is_left_out() -> None:
    """Each line is of a kind that a test here runs."""
    assert MCP and SERVERS and PLUGINS
    assert [line for line in COMMANDS if line not in MCP + PLUGINS + OPENCLAW + HERMES] == []
