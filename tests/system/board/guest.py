"""Runs inside the board: uses nimad as agents do, and measures it.  Standard library only.

guest.py VERB [ARGUMENT ...] prints one JSON document.
"""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

SOCKET = "/run/nimad/nimad.sock"
TOLD = """
garden kettle winter river Maya planted radishes behind the old shed and the train was late again so
Pilar walked home along the lake with a borrowed umbrella while Tomas mended the gate
"""
WORDS = TOLD.split()


class Client:
    """One connection."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(120)
        self._socket.connect(SOCKET)
        self._lines = self._socket.makefile("rb")

    def call(self, method: str, **params: Any) -> Any:
        """A result; RuntimeError with the error's code, ConnectionError at the end."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        if not (line := self._lines.readline()):
            raise ConnectionError("nimad has gone")
        reply = json.loads(line)
        if "error" in reply:
            raise RuntimeError(reply["error"]["data"]["code"])
        return reply["result"]


def sentence(chance: random.Random, length: int = 200) -> str:
    """A text of so many characters that no other is like."""
    made = f"{chance.getrandbits(40):010x}"
    while len(made) < length:
        made += " " + chance.choice(WORDS)
    return made[:length]


def memory() -> dict[str, float]:
    """Proportional set size of the daemon, and the most that it was resident [MiB]."""
    pid = subprocess.check_output(["systemctl", "show", "-p", "MainPID", "--value", "nimad"])
    place = f"/proc/{int(pid)}"
    found = {}
    for file, name in (("smaps_rollup", "Pss"), ("status", "VmHWM")):
        with Path(place, file).open() as lines:
            line = next(line for line in lines if line.startswith(f"{name}:"))
        found[name] = round(int(line.split()[1]) / 1024, 1)
    return {"pss_mib": found["Pss"], "peak_rss_mib": found["VmHWM"]}


def disk() -> tuple[int, int]:
    """Bytes written to the card so far, and flushes."""
    os.sync()
    with Path("/proc/diskstats").open() as lines:
        fields = next(line.split() for line in lines if line.split()[2] == "vda")
    return int(fields[9]) * 512, int(fields[18])


def remember(count: int) -> dict[str, float]:
    """What so many memories of 200 characters cost, one after the other."""
    chance, client, took = random.Random(9), Client(), []
    before = disk()
    for _ in range(count):
        began = time.perf_counter()
        client.call("remember", text=sentence(chance), who="Maya")
        took.append(time.perf_counter() - began)
    after = disk()
    return {
        "remember_kib": round((after[0] - before[0]) / count / 1024, 1),
        "remember_flushes": round((after[1] - before[1]) / count, 2),
        "remember_ms_p50": round(sorted(took)[count // 2] * 1000, 1),
    }


def query(count: int) -> dict[str, float]:
    """Time of so many questions inside the daemon [ms]."""
    chance, client, took = random.Random(3), Client(), []
    for _ in range(count):
        about = f"What did Maya say about {chance.choice(WORDS)} and {chance.choice(WORDS)}?"
        took.append(client.call("query", text=about)["took_ms"])
    took.sort()
    return {"query_ms_p50": took[count // 2], "query_ms_p95": took[count * 95 // 100]}


def write(seed: int) -> None:
    """Remember, and forget every fifth, until the power goes; what was acknowledged is noted on the
    line that leads outside before anything else happens."""
    chance = random.Random(seed)
    line = os.open("/dev/virtio-ports/acks", os.O_WRONLY)
    client, mine = None, []

    def note(*words: object) -> None:
        os.write(line, (" ".join(map(str, words)) + "\n").encode())

    while True:
        try:
            client = client or Client()
            if len(mine) >= 5:
                gone = mine.pop(chance.randrange(5))
                note("T", gone)  # from here on it may be there or not
                client.call("forget", ids=[gone], purge=chance.random() < 0.3)
                note("F", gone)
            text = sentence(chance, chance.randrange(60, 900))
            mine.append(client.call("remember", text=text)["id"])
            note("A", mine[-1], zlib.crc32(text.encode()))
        except RuntimeError as error:
            note("E", error)
            time.sleep(0.2)
        except OSError as error:
            client = None
            note("C", type(error).__name__)
            time.sleep(0.3)


def dump() -> dict[int, int]:
    """Each memory's id and the checksum of its text."""
    client, found, after = Client(), {}, 0
    while after is not None:
        page = client.call("export", after=after, limit=2000)
        found.update({m["id"]: zlib.crc32(m["text"].encode()) for m in page["memories"]})
        after = page["next"]
    return found


if __name__ == "__main__":
    verb, *arguments = sys.argv[1:]
    print(json.dumps(globals()[verb](*map(int, arguments))))
