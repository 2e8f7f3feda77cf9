"""The units of nimad-embedder: started by the socket, fenced in, with a key, beside nimad."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.system.installed.conftest import AT_REST, CONFIG, Ask
from tests.system.installed.machine import Machine
from tests.system.installed.test_2_use import main_pid

KEY = "/etc/credstore/nimad-embedder.key"
LOG = "/var/tmp/api.log"
PORT, DIMS = 8099, 64
START_API = (
    "systemd-run --quiet --collect --unit=api"
    f" python3 /usr/local/lib/embedding_api.py {PORT} sesame {LOG}"
)
SETTINGS = f"""
embedder: http
http:
  url: http://127.0.0.1:{PORT}/v1/embeddings
  dims: {DIMS}
{AT_REST}"""


def wait_until(true: Callable[[], bool], told: Callable[[], Any], seconds: float = 240.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, told()
        time.sleep(0.5)


def embedder(ask: Ask) -> dict[str, Any]:
    shown: dict[str, Any] = ask("status")["embedder"]
    return shown


def state(machine: Machine, unit: str) -> str:
    return machine.run(f"systemctl is-active {unit}", check=False).stdout.strip()


def pid_of(machine: Machine) -> int:
    return int(machine.run("systemctl show -P MainPID nimad-embedder.service").stdout)


def journal(machine: Machine) -> str:
    return machine.run("journalctl --unit nimad-embedder --no-pager --lines 20").stdout


def test_the_endpoint_runs(machine: Machine) -> None:
    machine.put(Path(__file__).with_name("embedding_api.py"), "/usr/local/lib/embedding_api.py")
    machine.run(START_API)


def test_it_starts_when_somebody_asks_and_vectors_come(machine: Machine, ask: Ask) -> None:
    machine.run(f"cp {CONFIG} {CONFIG}.static")
    machine.run(f"mkdir -p /etc/credstore && (umask 077 && echo sesame > {KEY})")
    machine.run(f"cat >> {CONFIG}", stdin=SETTINGS)
    machine.run("systemctl enable --now nimad-embedder.socket")
    assert state(machine, "nimad-embedder.socket") == "active"
    assert state(machine, "nimad-embedder.service") == "inactive"
    machine.run("systemctl reload nimad")
    wait_until(lambda: embedder(ask)["name"] == "http", lambda: (embedder(ask), journal(machine)))
    assert state(machine, "nimad-embedder.service") == "active"
    count = ask("status")["memories"]
    lines = machine.run(f"cat {LOG}").stdout.splitlines()
    assert sum(int(line.split()[1]) for line in lines) >= count
    assert {line.split()[0] for line in lines} == {"200"}, "the key did not arrive"
    found = ask("query 'The ladder leans on the apple tree' --mode meaning")
    assert "ladder" in found["results"][0]["text"] and found["degraded"] == []


def test_only_nimad_may_talk_to_it(machine: Machine) -> None:
    shown = machine.run("stat --format='%a %U' /run/nimad-embedder.sock").stdout
    assert shown.strip() == "600 nimad"


def test_it_runs_as_a_user_of_its_own_without_rights(machine: Machine) -> None:
    shown = machine.run(f"cat /proc/{pid_of(machine)}/status").stdout.splitlines()
    fields = {line.split(":")[0]: line.split()[1:] for line in shown}
    nimad = machine.run("id --user nimad").stdout.strip()
    (uid,) = set(fields["Uid"])
    assert uid not in ("0", nimad) and 61184 <= int(uid) <= 65519  # systemd's range for them
    assert int(fields["CapEff"][0], 16) == int(fields["CapBnd"][0], 16) == 0
    assert fields["NoNewPrivs"] == ["1"] and fields["Seccomp"] == ["2"]


def test_the_memories_are_out_of_its_sight(machine: Machine) -> None:
    inside = f"nsenter --target {pid_of(machine)} --mount"
    for path in (
        "/var/lib/nimad/records.sqlite",
        "/home/maya/notes.jsonl",
        "/run/nimad/nimad.sock",
    ):
        machine.run(f"test -e {path}")
        assert machine.run(f"{inside} test -e {path}", check=False).returncode == 1, path
    assert machine.run(f"{inside} touch /usr/lib/nimad/x", check=False).returncode != 0


def test_the_daemon_itself_still_has_no_network(machine: Machine) -> None:
    theirs = f"/proc/{main_pid(machine)}/net"
    assert machine.run(f"cat {theirs}/dev").stdout.count(":") == 1  # its own loopback
    shown = machine.run(f"cat {theirs}/tcp {theirs}/tcp6 {theirs}/udp {theirs}/udp6").stdout
    assert [line for line in shown.splitlines() if "local_address" not in line] == []


def test_while_the_endpoint_is_away_memories_are_kept(machine: Machine, ask: Ask) -> None:
    machine.run("systemctl stop api.service")
    made = ask("remember 'The lantern hangs beside the zeppelin.'")["id"]
    reply = ask("query zeppelin")
    assert reply["results"][0]["id"] == made and reply["degraded"] == ["embedder"]
    assert "127.0.0.1" in embedder(ask)["trouble"]
    machine.run(START_API)
    wait_until(lambda: ask("status")["blocks"]["backlog"] == 0, lambda: ask("status"))
    wait_until(lambda: ask("query zeppelin")["degraded"] == [], lambda: ask("status"))
    found = ask("query 'The lantern hangs beside the zeppelin' --mode meaning")["results"]
    assert found[0]["id"] == made


def test_without_a_key_it_starts_and_says_what_the_endpoint_says(
    machine: Machine, ask: Ask
) -> None:
    machine.run(f"mv {KEY} {KEY}.away && systemctl restart nimad-embedder.service")
    assert state(machine, "nimad-embedder.service") == "active"
    assert ask("query zeppelin")["degraded"] == ["embedder"]
    assert "401" in embedder(ask)["trouble"]
    machine.run(f"mv {KEY}.away {KEY} && systemctl restart nimad-embedder.service")
    wait_until(lambda: ask("query zeppelin")["degraded"] == [], lambda: ask("status"))


def test_a_wrong_configuration_stops_it_for_good(machine: Machine) -> None:
    machine.run("systemctl stop nimad-embedder.service")
    machine.run(f"cp {CONFIG} {CONFIG}.good && echo 'http.ulr: x' >> {CONFIG}")
    machine.run("systemctl start nimad-embedder.service")
    wait_until(lambda: state(machine, "nimad-embedder.service") == "failed", lambda: "no failure")
    shown = machine.run("systemctl show -P ExecMainStatus nimad-embedder").stdout.strip()
    restarts = machine.run("systemctl show -P NRestarts nimad-embedder").stdout.strip()
    assert (shown, restarts) == ("78", "0"), journal(machine)
    machine.run(f"mv {CONFIG}.good {CONFIG} && systemctl reset-failed")
    machine.run("systemctl restart nimad-embedder.socket")


def test_switching_back_needs_no_endpoint(machine: Machine, ask: Ask) -> None:
    machine.run("systemctl disable --now nimad-embedder.socket nimad-embedder.service 2>&1")
    machine.run(f"systemctl stop api.service; rm {KEY}; mv {CONFIG}.static {CONFIG}")
    machine.run("systemctl reload nimad")
    wait_until(lambda: embedder(ask)["name"] == "static", lambda: embedder(ask))
    assert ask("query zeppelin")["degraded"] == []
    assert ask("doctor")["problems"] == []
