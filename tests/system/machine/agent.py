"""Runs inside the emulated machine: takes commands from a line of its own, answers with JSON.

    agent.py DEVICE

A line comes in: {"command": "...", "user": "root", "timeout": 9}; one goes out: {"code", "out"}.
Standard library only; it is copied into the machine as it is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tty
from pathlib import Path
from typing import Any


def run(asked: dict[str, Any]) -> dict[str, Any]:
    """One shell command as one user, without a terminal."""
    user = asked["user"]
    become = [] if user == "root" else ["runuser", "-u", user, "--"]
    home = "/root" if user == "root" else f"/home/{user}"
    try:
        done = subprocess.run(
            [*become, "sh", "-c", asked["command"]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=asked["timeout"],
            env={**os.environ, "HOME": home, "LANG": "C.UTF-8"},
        )
    except subprocess.TimeoutExpired as error:
        return {"code": -1, "out": f"timed out\n{error.output}"}
    return {"code": done.returncode, "out": done.stdout.decode("utf-8", "replace")}


def main(device: Path) -> None:
    """Answer until the machine ends; the device may come later than this."""
    while not device.exists():
        time.sleep(0.1)
    line = os.open(device, os.O_RDWR | os.O_NOCTTY)
    if os.isatty(line):
        tty.setraw(line)
    os.write(line, b'{"ready": true}\n')
    waiting = b""
    while True:
        came = os.read(line, 4096)
        if not came:  # a port that nobody has opened outside
            time.sleep(0.1)
        waiting += came
        while b"\n" in waiting:
            asked, _, waiting = waiting.partition(b"\n")
            answer = json.dumps(run(json.loads(asked))).encode() + b"\n"
            while answer:
                answer = answer[os.write(line, answer) :]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
