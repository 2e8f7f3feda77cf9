"""The pages in Chromium: every one in both themes, wide and narrow, with axe; search, forget, roll
back.  `make test-web` installs what it needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.agents.tools import place
from tests.process import DaemonProcess
from tests.system.tools import NIMACTL, need

pytestmark = [pytest.mark.slow, pytest.mark.browser]

ROOT = Path(__file__).resolve().parents[2]
EVIL = '<script>alert(1)</script><img src=x onerror="alert(2)">"><b onfocus=alert(3) autofocus>'


def test_a_walk_through_all_pages(daemon: DaemonProcess, tmp_path: Path) -> None:
    chromium, modules = need("chromium", "chromium"), place("browser")
    store = tmp_path / "graph.sqlite"
    subprocess.run([sys.executable, ROOT / "packaging/make_sample.py", store], check=True)
    nimactl = [*NIMACTL, "--socket", str(daemon.socket)]
    subprocess.run([*nimactl, "migrate", store, "--strategy", "full", "--wait"], check=True)
    daemon.call(
        "remember", text="The kettle is fixed; the new switch is from the shop.", who="Maya"
    )
    daemon.call("remember", text=EVIL, who=EVIL, tags=[EVIL], namespace="garden")
    command = [*nimactl, "--json", "web", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as pages:
        assert pages.stdout
        url = json.loads(pages.stdout.readline())["url"]
        walk = ["node", Path(__file__).with_name("walk.mjs"), modules, chromium, url]
        walk += [tmp_path / "profile", *filter(None, [os.environ.get("NIMAD_SCREENSHOTS")])]
        try:
            ran = subprocess.run(walk, capture_output=True, text=True, timeout=500)
        finally:
            pages.terminate()
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["faults"] == [], "\n".join(told["faults"])
    assert told["pages"] == 64
