"""Installing without a network on the smallest Debian: it starts, fenced in, and says how it is."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.system.installed.machine import Machine

INSIDE = "/var/tmp/nimad.deb"
EXPOSURE = {"nimad": 0.7, "nimad-embedder": 1.1}
"""Highest scores of `systemd-analyze security`; the network of the second alone costs it .8."""


def test_apt_installs_it_without_a_network(machine: Machine, package: Path) -> None:
    machine.put(package, INSIDE)
    assert machine.run("ls /sys/class/net").stdout.split() == ["lo"]
    start = time.monotonic()
    said = machine.run(f"apt-get install --yes {INSIDE} 2>&1", timeout=300).stdout
    print(f"installed in {time.monotonic() - start:.1f} s")
    assert "Setting up nimad" in said
    assert not re.search(r"(?im)^(error|warning|traceback).*", said), said


def test_it_runs_and_says_how_it_is(machine: Machine) -> None:
    assert machine.run("systemctl is-active nimad.service nimad.socket").stdout.split() == [
        "active",
        "active",
    ]
    shown = machine.run("systemctl status --no-pager nimad").stdout
    assert "active (running)" in shown
    assert re.search(r"Status: \".*\b0 memories\b.*\"", shown), shown


def test_it_starts_with_the_machine(machine: Machine) -> None:
    enabled = machine.run("systemctl is-enabled nimad.service nimad.socket").stdout.split()
    assert enabled == ["enabled", "enabled"]


def test_the_helper_with_the_network_waits_to_be_wanted(machine: Machine) -> None:
    for kind in ("service", "socket"):
        done = machine.run(f"systemctl is-active nimad-embedder.{kind}", check=False)
        assert done.stdout.strip() == "inactive"
    done = machine.run("systemctl is-enabled nimad-embedder.socket", check=False)
    assert done.stdout.strip() == "disabled"


@pytest.mark.parametrize("name", ["nimad", "nimad-embedder"])
def test_systemd_finds_no_mistake_in_the_units(machine: Machine, name: str) -> None:
    # --man=no: this machine has no man(1); the pages themselves are checked below.
    done = machine.run(f"systemd-analyze verify --man=no {name}.service {name}.socket 2>&1")
    assert done.stdout == ""


@pytest.mark.parametrize(("name", "ceiling"), EXPOSURE.items())
def test_its_exposure_is_small(machine: Machine, name: str, ceiling: float) -> None:
    shown = machine.run(f"systemd-analyze security --no-pager {name}.service").stdout
    found = re.search(rf"Overall exposure level for {name}.service: ([0-9.]+)", shown)
    assert found is not None
    print(f"exposure of {name}: {found[1]}")
    assert float(found[1]) <= ceiling, shown


def test_the_memories_are_the_daemon_s_alone(machine: Machine) -> None:
    shown = machine.run("stat --format='%a %U:%G' /var/lib/nimad /var/cache/nimad").stdout
    assert shown.split("\n")[:2] == ["700 nimad:nimad", "700 nimad:nimad"]
    shown = machine.run("stat --format='%a %U:%G' /run/nimad/nimad.sock").stdout
    assert shown.strip() == "660 root:nimad"


def test_its_byte_code_is_made_at_installation(machine: Machine) -> None:
    sources = machine.run("find /usr/lib/nimad -name '*.py' | wc -l").stdout
    compiled = machine.run("find /usr/lib/nimad -name '*.cpython-3*.pyc' | wc -l").stdout
    assert int(compiled) == int(sources) > 200


def test_its_start_reads_the_modules_of_one_file(machine: Machine) -> None:
    opened = machine.run("ls -l /proc/$(systemctl show -P MainPID nimad)/fd").stdout
    assert "/usr/lib/nimad/nimad.modules" in opened, opened
    machine.run("test -r /usr/lib/nimad/nimactl.modules")


def test_the_search_runs_on_compiled_kernels(machine: Machine) -> None:
    status = json.loads(machine.run("nimactl --json status").stdout)
    assert status["blocks"]["kernels"].startswith(("x86-64-", "cortex-"))


def test_the_manuals_are_there(machine: Machine) -> None:
    pages = ["man8/nimad.8.gz", "man8/nimad-embedder.8.gz"]
    for page in [*pages, "man1/nimactl.1.gz", "man5/nimad.yaml.5.gz"]:
        path = machine.root / "usr/share/man" / page
        text = subprocess.run(["gunzip", "--stdout", path], check=True, capture_output=True).stdout
        shown = subprocess.run(
            ["mandoc", "-T", "utf8"], input=text, check=True, capture_output=True
        )
        assert b"nimad" in shown.stdout


def test_the_shell_completes_commands(machine: Machine) -> None:
    script = """
        . /usr/share/bash-completion/completions/nimactl
        COMP_WORDS=(nimactl mig) COMP_CWORD=1
        "$(complete -p nimactl | sed 's/.*-F \\([^ ]*\\).*/\\1/')"
        echo "${COMPREPLY[@]}"
    """
    assert machine.run("bash", stdin=script).stdout.split() == ["migrate"]


def test_the_daemon_brings_no_compiler_along(machine: Machine) -> None:
    pid = machine.run("systemctl show -P MainPID nimad").stdout.strip()
    mapped = machine.run(f"cat /proc/{pid}/maps").stdout
    assert "/usr/lib/nimad/vendor/numpy" in mapped
    assert not re.search(r"numba|llvmlite|kuzu|onnxruntime", mapped)


def test_the_configuration_is_the_owner_s_to_change(machine: Machine) -> None:
    assert "/etc/nimad/nimad.yaml" in machine.run("cat /var/lib/dpkg/info/nimad.conffiles").stdout
    assert machine.run("nimad --check-config").returncode == 0
