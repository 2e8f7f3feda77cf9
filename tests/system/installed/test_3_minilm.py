"""The package nimad-minilm: installed, switched to by a reload, and taken away again."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.system.installed.conftest import AT_REST, CONFIG, Ask
from tests.system.installed.machine import Machine

INSIDE = "/var/tmp/nimad-minilm.deb"


@pytest.fixture(scope="module")
def minilm() -> Path:
    package = Path(os.environ["NIMAD_DEB"])
    found = package.with_name(package.name.replace("nimad_", "nimad-minilm_"))
    if not found.exists() or found == package:
        pytest.skip(f"there is no {found.name}: `make deb-minilm` makes it")
    return found


def wait_for(ask: Ask, name: str) -> dict[str, object]:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        embedder: dict[str, object] = ask("status")["embedder"]
        if embedder["name"] == name:
            return embedder
        time.sleep(0.5)
    raise AssertionError(f"the embedder is not {name}: {embedder}")


def test_installing_it_and_one_line_switch_to_it(machine: Machine, ask: Ask, minilm: Path) -> None:
    machine.run(f"cp {CONFIG} {CONFIG}.before")
    made = ask("remember 'My brother adopted a grey cat called Moritz.'")["id"]
    machine.put(minilm, INSIDE)
    said = machine.run(f"apt-get install --yes {INSIDE} 2>&1", timeout=300).stdout
    assert "Setting up nimad-minilm" in said
    machine.run(f"cat >> {CONFIG}", stdin=f"embedder: minilm\n{AT_REST}")
    machine.run("systemctl reload nimad")
    embedder = wait_for(ask, "minilm")
    assert embedder["done"] == embedder["total"] and embedder["dims"] == 384
    found = ask("query 'which pet did my sibling get' --mode meaning")["results"]
    assert found[0]["id"] == made
    assert ask("doctor")["problems"] == []


def test_without_it_the_memories_stay_in_reach(machine: Machine, ask: Ask, minilm: Path) -> None:
    machine.run("apt-get purge --yes nimad-minilm 2>&1 && systemctl restart nimad", timeout=300)
    reply = ask("query Moritz")
    assert reply["results"] and reply["degraded"] == ["embedder"]
    said = machine.run("nimactl doctor", user="maya", check=False).stdout
    assert "nimad-minilm" in said, said
    machine.run(f"mv {CONFIG}.before {CONFIG} && systemctl reload nimad")
    wait_for(ask, "static")
    assert ask("query Moritz")["degraded"] == []
    assert ask("doctor")["problems"] == []
