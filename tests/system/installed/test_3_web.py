"""The units of nimad-web: off, started by the first browser, fenced in, ended when nobody asks."""

from __future__ import annotations

import json
import re

from tests.system.installed.conftest import Ask
from tests.system.installed.machine import Machine

FOLDER = "/run/nimad-web"
BROWSER = """
import http.client, json, re, sys
from urllib.parse import urlencode
address, search = sys.argv[1:]
host, key = re.match("http://([^/]+)/(.*)", address).groups()
def ask(method, path, **headers):
    connection = http.client.HTTPConnection(host)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    return response.status, response.headers, response.read().decode()
found = {"without": ask("GET", "/")[0]}
_, headers, _ = ask("GET", "/" + key)
cookie, prefix = headers["Set-Cookie"].split(";")[0], headers["Location"]
for name, path in {"status": "", "search": "search?" + urlencode({"q": search})}.items():
    found[name], _, found[name + "_text"] = ask("GET", prefix + path, Cookie=cookie)
print(json.dumps(found))
"""


def state(machine: Machine, unit: str) -> str:
    return machine.run(f"systemctl is-active {unit}", check=False).stdout.strip()


def test_the_pages_are_off(machine: Machine) -> None:
    assert state(machine, "nimad-web.socket") == "inactive"
    refused = machine.run("nimactl web --url", user="maya", check=False)
    assert refused.returncode == 69
    assert "systemctl enable --now nimad-web.socket" in refused.stderr


def test_the_first_browser_starts_them(machine: Machine, ask: Ask) -> None:
    ask("remember 'The lantern hangs in the shed.'")
    machine.run("systemctl enable --now nimad-web.socket")
    assert state(machine, "nimad-web.service") == "inactive"
    address = ask("web --url")["url"]
    assert re.fullmatch(r"http://127\.0\.0\.1:6462/\?key=[\w-]{43}", address)
    assert state(machine, "nimad-web.service") == "active"
    shown = machine.run(f"stat --format='%a %U %G' {FOLDER} {FOLDER}/address").stdout.split("\n")
    assert shown[:2] == ["750 nimad-web nimad", "640 nimad-web nimad"]
    command = f"python3 - '{address}' 'where is the lantern?'"
    found = json.loads(machine.run(command, user="maya", stdin=BROWSER).stdout)
    assert (found["without"], found["status"], found["search"]) == (401, 200, 200)
    assert "in the shed" in found["search_text"]


def test_others_do_not_get_the_address(machine: Machine) -> None:
    refused = machine.run("nimactl web --url", user="eve", check=False)
    assert refused.returncode == 77
    assert "usermod -aG nimad" in refused.stderr


def test_it_can_open_nothing_itself(machine: Machine) -> None:
    """No network of its own, no other user, no home, no state directory: as its process sees it."""
    pid = int(machine.run("systemctl show -P MainPID nimad-web.service").stdout)
    network = machine.run(f"nsenter --target {pid} --net cat /proc/self/net/dev").stdout
    assert network.count(":") == 1 and "lo:" in network
    assert (
        machine.run(f"nsenter --target {pid} --net cat /proc/self/net/tcp").stdout.count("\n") == 1
    )
    inside = f"nsenter --target {pid} --mount"
    assert "maya" not in machine.run(f"{inside} ls /home", check=False).stdout
    assert machine.run(f"{inside} ls /var/lib/nimad", check=False).stdout == ""
    held = machine.run(f"cat /proc/{pid}/status").stdout
    assert "CapEff:\t0000000000000000" in held and "NoNewPrivs:\t1" in held


def test_it_ends_when_nobody_asks_and_the_key_stays(machine: Machine, ask: Ask) -> None:
    address = ask("web --url")["url"]
    machine.run("mkdir -p /run/systemd/system/nimad-web.service.d")
    lines = "[Service]\nExecStart=\nExecStart=/usr/bin/nimactl web --idle 1\n"
    machine.run("cat > /run/systemd/system/nimad-web.service.d/soon.conf", stdin=lines)
    machine.run("systemctl daemon-reload && systemctl stop nimad-web.service")
    assert ask("web --url")["url"] == address
    wait = "while systemctl is-active --quiet nimad-web.service; do sleep 0.2; done"
    machine.run(f"timeout 60 sh -c '{wait}'")
    assert machine.run("systemctl is-failed nimad-web.service", check=False).stdout == "inactive\n"
    assert state(machine, "nimad-web.socket") == "active"
    assert ask("web --url")["url"] == address
    machine.run("rm -r /run/systemd/system/nimad-web.service.d && systemctl daemon-reload")
    machine.run("systemctl disable --now nimad-web.socket && systemctl stop nimad-web.service")
