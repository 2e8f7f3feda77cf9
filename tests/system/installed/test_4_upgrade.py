"""Upgrades keep everything and turn nobody away."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.system.installed.conftest import Ask
from tests.system.installed.machine import Machine
from tests.system.installed.test_2_use import main_pid

NEWER = "9.9"


@pytest.fixture(scope="module")
def newer(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same package under a higher version."""
    tree = tmp_path_factory.mktemp("newer") / "tree"
    subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
    control = tree / "DEBIAN/control"
    lines = control.read_text(encoding="utf-8").splitlines()
    lines = [f"Version: {NEWER}" if line.startswith("Version:") else line for line in lines]
    control.write_text("\n".join(lines) + "\n", encoding="utf-8")
    place = tree.with_suffix(".deb")
    build = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, place]
    subprocess.run(build, check=True, capture_output=True)
    shutil.rmtree(tree)
    return place


@pytest.mark.parametrize("which", ["the same", "a newer"])
def test_an_upgrade_keeps_everything(
    machine: Machine, ask: Ask, package: Path, newer: Path, which: str
) -> None:
    made = ask("remember 'The well was cleaned before the upgrade.'")["id"]
    count = ask("status")["memories"]
    before = main_pid(machine)
    socket = machine.run("stat --format=%i /run/nimad/nimad.sock").stdout
    machine.put(newer if which == "a newer" else package, "/var/tmp/next.deb")
    machine.run("apt-get install --yes --reinstall /var/tmp/next.deb", timeout=300)
    assert main_pid(machine) != before
    assert machine.run("stat --format=%i /run/nimad/nimad.sock").stdout == socket
    assert ask("status")["memories"] == count
    assert ask(f"get {made}")["memory"]["text"] == "The well was cleaned before the upgrade."
    assert ask("doctor")["problems"] == []


def test_the_owner_s_configuration_is_kept(machine: Machine) -> None:
    assert "results: 2" in machine.run("cat /etc/nimad/nimad.yaml").stdout


def test_the_version_is_the_newer_one(machine: Machine) -> None:
    assert machine.run("dpkg-query --show --showformat '${Version}' nimad").stdout == NEWER
