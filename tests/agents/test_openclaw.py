"""The OpenClaw plugin with `node --test` on a real daemon, and its two manifests."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from nimad import __version__
from tests.agents.tools import HERE, ROOT, newest_node, run_json
from tests.process import DaemonProcess
from tests.system.tools import need

PACKAGING = ROOT / "packaging"


def stage(into: Path) -> Path:
    """The folders below /usr/share/nimad as debian/nimad.install makes them."""
    share = into / "usr" / "share" / "nimad"
    for line in (ROOT / "debian" / "nimad.install").read_text().splitlines():
        source, place = line.split()
        if not place.startswith("usr/share/nimad"):
            continue
        for path in sorted(ROOT.glob(source)):
            target = into / place / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, target, dirs_exist_ok=True)
            else:
                shutil.copy(path, target)
    return share


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "openclaw.plugin.json").read_text())
    return found


@pytest.mark.slow
@pytest.mark.agents
@pytest.mark.parametrize("newest", [False, True], ids=["node", "node 24"])
@pytest.mark.parametrize("name", ["plugin", "beside"])
def test_on_a_real_daemon(daemon: DaemonProcess, tmp_path: Path, name: str, newest: bool) -> None:
    """With the Node.js that is here, and the one that OpenClaw asks for."""
    share = stage(tmp_path)
    node = newest_node() if newest else need("node", "nodejs")
    command = [node, "--test", str(HERE / "openclaw" / f"{name}.test.mjs")]
    environment = {
        **os.environ,
        "NIMAD_SOCKET": str(daemon.socket),
        "HOME": str(tmp_path),
        "BESIDE": str(share / "openclaw-beside"),
    }
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    print(ran.stdout)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.slow
@pytest.mark.agents
def test_the_same_question_finds_the_same(daemon: DaemonProcess) -> None:
    """As `nimactl query` does, whose answer is the daemon's."""
    for number in range(12):
        daemon.call("remember", text=f"Maya planted {number} rows of beans in bed {number}")
    question = "How many rows of beans did Maya plant?"
    script = (
        f"const {{default: plugin}} = await import('{PACKAGING}/openclaw/index.js');"
        f"const {{FakeOpenClaw, contextOf}} = await import('{HERE}/openclaw/fake.mjs');"
        "const told = await new FakeOpenClaw(plugin).tool('memory_search',"
        f"{{query: {json.dumps(question)}}}, contextOf('main'));"
        "console.log(JSON.stringify(told.results.map(one => one.id)))"
    )
    command = [need("node", "nodejs"), "--input-type=module", "-e", script]
    found = run_json(command, env={**os.environ, "NIMAD_SOCKET": str(daemon.socket)})
    assert found == [one["id"] for one in daemon.call("query", text=question)["results"]]


def test_the_manifests_agree_with_each_other_and_with_the_package(tmp_path: Path) -> None:
    share = stage(tmp_path)
    owner, beside = (share / name for name in ("openclaw", "openclaw-beside"))
    assert manifest(owner)["kind"] == "memory" and "kind" not in manifest(beside)
    settings, fewer = (manifest(one)["configSchema"]["properties"] for one in (owner, beside))
    # Else OpenClaw keeps memory-core for its dreaming, with tools of the same names, which win.
    assert settings.pop("dreaming")["default"] == {"enabled": False}
    assert settings == fewer
    for folder in (owner, beside):
        told = manifest(folder)
        package = json.loads((folder / "package.json").read_text())
        assert told["id"] == "nimad" and told["version"] == package["version"] == __version__
        assert "dependencies" not in package and package["type"] == "module"
        assert all((folder / path).is_file() for path in package["openclaw"]["extensions"])
        assert all((folder / path / "SKILL.md").is_file() for path in told["skills"])
        assert told["uiHints"].keys() <= told["configSchema"]["properties"].keys()
        for script in folder.glob("*.js"):
            for name in re.findall(r'from "([^"]+)"', script.read_text()):
                assert name.startswith("node:") or (folder / name).is_file()


def test_there_is_one_skill() -> None:
    skills = [*PACKAGING.glob("*/skills/nimad/SKILL.md")]
    assert len(skills) == 2 and len({skill.read_text() for skill in skills}) == 1


def test_every_setting_has_a_default_in_the_code() -> None:
    code = (PACKAGING / "openclaw" / "settings.js").read_text()
    for name in manifest(PACKAGING / "openclaw")["configSchema"]["properties"]:
        assert re.search(rf"\b{name}\b", code) or name in ("database", "dreaming"), name
