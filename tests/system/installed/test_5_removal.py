"""Removing and purging: the package goes, the memories stay, and the owner is told where."""

from __future__ import annotations

from pathlib import Path

from tests.system.installed.conftest import Ask
from tests.system.installed.machine import Machine

RECORDS = "/var/lib/nimad/records.sqlite"


def test_removal_stops_it_and_leaves_no_code(machine: Machine) -> None:
    said = machine.run("apt-get remove --yes nimad 2>&1").stdout
    assert "can still be activated" not in said
    assert machine.run("systemctl is-active nimad.service", check=False).stdout.strip() != "active"
    assert machine.run("ls /run/nimad/nimad.sock", check=False).returncode != 0
    assert machine.run("ls /usr/lib/nimad", check=False).returncode != 0
    machine.run(f"test -s {RECORDS}")


def test_purge_says_where_the_memories_are_and_leaves_them(machine: Machine) -> None:
    said = machine.run("apt-get purge --yes nimad 2>&1 </dev/null").stdout
    assert "the memories were left in /var/lib/nimad" in said
    assert "rm -r /var/lib/nimad" in said
    machine.run(f"test -s {RECORDS}")
    for gone in ("/etc/nimad", "/var/cache/nimad", "/usr/share/doc/nimad"):
        assert machine.run(f"ls -d {gone}", check=False).returncode != 0, gone


def test_a_new_installation_finds_them_again(machine: Machine, ask: Ask, package: Path) -> None:
    machine.put(package, "/var/tmp/nimad.deb")
    machine.run("apt-get install --yes /var/tmp/nimad.deb", timeout=300)
    assert ask("query 'apple tree' --mode words")["results"]
    assert ask("doctor")["problems"] == []


def test_without_memories_purge_leaves_nothing(machine: Machine) -> None:
    machine.run("systemctl stop nimad.socket nimad.service && rm -r /var/lib/nimad")
    machine.run("mkdir --mode=700 /var/lib/nimad && chown nimad: /var/lib/nimad")
    said = machine.run("apt-get purge --yes nimad 2>&1").stdout
    assert "were left" not in said
    assert machine.run("ls -d /var/lib/nimad", check=False).returncode != 0
