"""`nimactl web` as a process: in the foreground, and as systemd starts it; what it takes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

import pytest

from nimad.web import address
from tests.process import DaemonProcess
from tests.system.tools import NIMACTL
from tests.threads import PATIENCE

MAX_PSS = 30_000_000
"""Most memory that the process may take [bytes]."""


def open_pages(url: str) -> str:
    """What a browser shows for an address."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    with browser.open(url, timeout=PATIENCE) as response:
        return str(response.read().decode())


def test_it_serves_until_ctrl_c(daemon: DaemonProcess) -> None:
    command = [*NIMACTL, "--socket", str(daemon.socket), "--json", "web", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout and process.stderr
    url = json.loads(process.stdout.readline())["url"]
    assert "All parts are in service" in open_pages(url)
    port = url.split(":")[2].split("/")[0]
    second = subprocess.run([*NIMACTL, "web", "--port", port], capture_output=True, text=True)
    assert second.returncode == 75 and "--port names another port" in second.stderr
    absent = subprocess.run(
        [*NIMACTL, "web", "--url", "--port", "1"], capture_output=True, text=True
    )
    assert absent.returncode == 69 and "nimad-web.socket" in absent.stderr
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 0
    assert "Traceback" not in process.stderr.read()


@pytest.mark.slow
@pytest.mark.alone
def test_it_is_small_and_ends_when_idle(daemon: DaemonProcess, tmp_path: Path) -> None:
    """As its unit: the port is handed over, the key is left in the runtime directory."""
    for n in range(40):
        daemon.call("remember", text=f"The gauge shows {n} mm. " * 20)
    listener = address.listen(0)
    port = listener.getsockname()[1]
    environment = {**os.environ, "NIMAD_SOCKET": str(daemon.socket)}
    environment["RUNTIME_DIRECTORY"] = str(tmp_path)
    script = f'exec 3<&{listener.fileno()}; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@" web --idle 3'
    process = subprocess.Popen(
        ["bash", "-c", script, "bash", *NIMACTL], env=environment, pass_fds=[listener.fileno()]
    )
    url = address.unit_address(port, tmp_path)
    assert url is not None
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    with browser.open(url, timeout=PATIENCE) as response:
        begin = response.url
    for path in ("", "feed", "search?q=gauge", "timeline", "memory/1", "checks?run=doctor"):
        with browser.open(begin + path, timeout=PATIENCE) as response:
            assert response.status == 200
    pss, maps = 0, Path(f"/proc/{process.pid}/maps").read_text()
    for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            pss = int(line.split()[1]) * 1024
    print(f"PSS {pss / 1e6:.1f} MB")
    assert 0 < pss <= MAX_PSS
    assert "numpy" not in maps and "sqlite" not in maps
    assert process.wait(PATIENCE) == 0
    with socket.create_connection(("127.0.0.1", port)):  # the socket is still there
        pass
    listener.close()
