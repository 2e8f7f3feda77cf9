"""Members of the group use it, others cannot; it costs little while it rests."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.system.installed.conftest import Ask
from tests.system.installed.machine import Machine
from tests.threads import PATIENCE

LARGEST_PSS = 130 * 1024
"""KiB that the resting daemon may hold."""

MEMORIES = 4200
"""As many as a well-used legacy store has."""

LONGEST_HELP = 0.15
"""Seconds of the processor for `nimactl --help`; three times as many may pass."""

WATCHED = 20.0
"""Seconds over which wake-ups are counted."""


FRUITS = ("plums", "quinces", "pears", "cherries", "apples", "currants", "elderberries")


def main_pid(machine: Machine) -> int:
    return int(machine.run("systemctl show --property MainPID --value nimad").stdout)


def test_who_is_not_in_the_group_gets_one_clear_line(machine: Machine) -> None:
    for user in ("maya", "eve"):
        done = machine.run("nimactl query anything", user=user, check=False)
        assert done.returncode == 77
        assert "usermod -aG nimad" in done.stderr
        assert len(done.stderr.strip().splitlines()) <= 2
        assert "Traceback" not in done.stderr


def test_a_member_remembers_and_finds(machine: Machine, ask: Ask) -> None:
    machine.run("usermod --append --groups nimad maya")
    made = ask("remember 'The ladder leans on the apple tree.' --who Maya")
    assert made["id"] > 0
    assert [r["id"] for r in ask("query ladder --mode words")["results"]] == [made["id"]]
    assert made["id"] in [r["id"] for r in ask("query 'Where is the ladder?'")["results"]]


def test_her_agents_find_it_through_the_bridge_and_the_hook(machine: Machine) -> None:
    """With the few variables that an agent passes on."""
    bare = "env -i HOME=/home/maya PATH=/usr/bin:/bin"
    call = {"name": "memory_search", "arguments": {"query": "Where is the ladder?"}}
    request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call})
    bridge = f"(cat; sleep 2) | {bare} nimactl mcp"
    shown = machine.run(bridge, user="maya", stdin=f"{request}\n").stdout
    (found,) = json.loads(shown)["result"]["structuredContent"]["memories"]
    assert "apple tree" in found["text"]
    asked = '{"prompt": "Where is the ladder?"}'
    assert (
        "apple tree" in machine.run(f"{bare} nimactl hook prompt", user="maya", stdin=asked).stdout
    )


def test_her_agents_plugins_are_there(machine: Machine) -> None:
    for path in ("claude-code/.mcp.json", "openclaw/index.js", "hermes/__init__.py"):
        assert machine.run(f"cat /usr/share/nimad/{path}", user="maya").stdout
    parts = ("agent_tools", "client", "injection")
    imports = f"import {', '.join(f'nimad.ctl.{part}' for part in parts)}"
    code = f"import sys; sys.path.append('/usr/lib/nimad'); {imports}"
    machine.run(f'cd / && python3 -c "{code}"', user="maya")  # what runs in Hermes' own Python


def test_somebody_else_still_cannot(machine: Machine) -> None:
    assert machine.run("nimactl query ladder", user="eve", check=False).returncode == 77
    assert machine.run("nimactl remember spam", user="eve", check=False).returncode == 77


def test_a_member_migrates_a_store_from_a_closed_home(
    machine: Machine, ask: Ask, sample_store: Path
) -> None:
    machine.put(sample_store, "/home/maya/graph.sqlite", owner="maya")
    machine.run("chmod 700 /home/maya && chmod 600 /home/maya/graph.sqlite")
    ask("migrate /home/maya/graph.sqlite --strategy full --wait")
    (source,) = ask("migrate --status")["sources"]
    assert source["state"] == "verified"
    assert source["total"] == source["copied"] == source["verified"] > 400
    found = ask("query 'What did Maya plant on the balcony?' -k 3")["results"]
    assert any("strawberries" in result["text"] for result in found)


def test_the_status_line_stays_true(machine: Machine, ask: Ask) -> None:
    count = ask("status")["memories"]
    deadline = time.monotonic() + PATIENCE
    shown = ""
    while time.monotonic() < deadline and f"{count} memories" not in shown.replace(",", ""):
        shown = machine.run("systemctl show --property StatusText --value nimad").stdout
        time.sleep(0.5)
    assert f"{count} memories" in shown.replace(",", ""), shown


def test_the_doctor_finds_nothing(machine: Machine, ask: Ask) -> None:
    assert ask("doctor")["problems"] == []


def test_help_comes_at_once(machine: Machine) -> None:
    """Some time at least: other programs run on this machine, too."""
    for _ in range(30):
        passed, used = _seconds_of(machine, "nimactl --help")
        if used < LONGEST_HELP and passed < 3 * LONGEST_HELP:
            print(f"nimactl --help in {passed:.3f} s, {used:.3f} s of the processor")
            return
    pytest.fail(f"{passed:.3f} s, {used:.3f} s of the processor")


def _seconds_of(machine: Machine, command: str) -> tuple[float, float]:
    """How long a command takes, and its share of a processor."""
    script = f"TIMEFORMAT='%R %U %S'; time {command} >/dev/null"
    passed, user, system = machine.run("bash", user="maya", stdin=script).stderr.split()
    return float(passed), float(user) + float(system)


def wakeups(machine: Machine, pid: int) -> int:
    """How often the process's threads have gone to sleep so far, which is once per wake-up."""
    shown = machine.run(f"cat /proc/{pid}/task/*/status").stdout.splitlines()
    return sum(int(line.split()[1]) for line in shown if line.startswith("voluntary_ctxt"))


def test_thousands_of_memories_come_in_from_a_file(
    machine: Machine, ask: Ask, tmp_path: Path
) -> None:
    missing = MEMORIES - ask("status")["memories"]
    lines = tmp_path / "notes.jsonl"
    with lines.open("w", encoding="utf-8") as file:
        for n in range(missing):
            text = f"Shelf {n % 97} of the cellar holds {n % 13} jars of {FRUITS[n % 7]}, lot {n}."
            file.write(json.dumps({"text": text, "who": "Maya"}) + "\n")
    machine.put(lines, "/home/maya/notes.jsonl", owner="maya")
    ask("import /home/maya/notes.jsonl")
    assert ask("status")["memories"] == MEMORIES


def test_a_resting_daemon_sleeps(machine: Machine) -> None:
    pid = main_pid(machine)
    for _ in range(20):  # what the migration left for idle time ends
        before = wakeups(machine, pid)
        time.sleep(WATCHED)
        woken = (wakeups(machine, pid) - before) / WATCHED
        if woken <= 1.0:
            break
    print(f"{woken:.2f} wake-ups a second at rest")
    assert woken <= 1.0


def test_a_resting_daemon_is_small(machine: Machine) -> None:
    shown = machine.run(f"cat /proc/{main_pid(machine)}/smaps_rollup").stdout
    sizes: dict[str, Any] = dict(line.split()[:2] for line in shown.splitlines()[1:])
    print(f"{int(sizes['Pss:']) / 1024:.0f} MiB PSS with {MEMORIES} memories")
    assert int(sizes["Pss:"]) <= LARGEST_PSS, shown


def test_no_network_socket_is_open(machine: Machine) -> None:
    shown = machine.run("cat /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6").stdout
    assert [
        line for line in shown.splitlines() if ":" in line and "local_address" not in line
    ] == []
