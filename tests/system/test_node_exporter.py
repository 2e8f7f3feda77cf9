"""Debian's prometheus-node-exporter serves what nimactl metrics wrote for it."""

from __future__ import annotations

import re
import socket
import subprocess
import time
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

from tests.process import DaemonProcess
from tests.system.test_nimactl import Tool
from tests.system.tools import need
from tests.threads import PATIENCE


@pytest.mark.slow
def test_the_exporter_serves_the_file(tmp_path: Path) -> None:
    program = need("prometheus-node-exporter", "prometheus-node-exporter")
    daemon = DaemonProcess(tmp_path, "embedder: hash\n", fork=True).start()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = tmp_path / "node-exporter"
    place.mkdir()
    given = ("--collector.disable-defaults", "--collector.textfile")
    exporter = subprocess.Popen(
        [
            program,
            *given,
            f"--collector.textfile.directory={place}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stderr=subprocess.DEVNULL,
    )
    try:
        tool = Tool(daemon)
        tool.run("remember", "The kettle leaks.")
        tool.run("metrics", "--output", place / "nimad.prom")
        until = time.monotonic() + PATIENCE
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as reply:
                    served = reply.read().decode()
                break
            except OSError:
                assert time.monotonic() < until, "the exporter does not answer"
                time.sleep(0.1)
    finally:
        exporter.kill()
        exporter.wait()
        daemon.finish()
    assert "node_textfile_scrape_error 0" in served
    written, told = (
        Counter(re.findall(r"^nimad_\w+", text, re.MULTILINE))
        for text in ((place / "nimad.prom").read_text(), served)
    )
    assert written == told  # it puts labels in its own order
    assert "nimad_memories 1" in served
