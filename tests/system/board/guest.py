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
import threading
import time
import zlib
from pathlib import Path
from typing import Any, BinaryIO

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
    """Time of so many questions inside the daemon, and of nimactl and Python as processes [ms]."""
    chance, client, took = random.Random(3), Client(), []
    for _ in range(count):
        about = f"What did Maya say about {chance.choice(WORDS)} and {chance.choice(WORDS)}?"
        took.append(client.call("query", text=about)["took_ms"])
    took.sort()
    return {
        "query_ms_p50": took[count // 2],
        "query_ms_p95": took[count * 95 // 100],
        "nimactl_query_ms": _process("nimactl", "query", "Who mended the gate?"),
        "python_ms": _process("python3", "-ISc", "pass"),
    }


def _process(*command: str) -> float:
    """Median time of five such processes [ms]."""
    took = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        took.append(round((time.perf_counter() - began) * 1000, 1))
    return sorted(took)[2]


class Writer(threading.Thread):
    """One of the programs that keep memories when the power goes, with a connection of its own.

    What was acknowledged is noted on the line that leads outside before anything else happens: A
    id checksum (it is there), T id (it may be there or not), F id (forgotten), E code, C error.
    """

    def __init__(self, seed: int, line: BinaryIO, *, purges: bool) -> None:
        super().__init__()
        self._chance, self._line, self._purges = random.Random(seed), line, purges
        self._mine: list[int] = []
        self._client: Client | None = None

    def run(self) -> None:
        while True:
            try:
                self._client = self._client or Client()
                self._step(self._client)
            except RuntimeError as error:
                self._note(f"E {error}")
                time.sleep(0.2)
            except OSError as error:
                self._client = None
                self._note(f"C {type(error).__name__}")
                time.sleep(0.3)

    def _step(self, client: Client) -> None:
        """Remember one or several, and forget some of them; or purge a hundred."""
        chance = self._chance
        if len(self._mine) > 30:
            chance.shuffle(self._mine)
            count = 100 if self._purges else chance.randrange(1, 25)
            gone, self._mine = self._mine[:count], self._mine[count:]
            self._note(*(f"T {i}" for i in gone))
            client.call("forget", ids=gone, purge=self._purges or chance.random() < 0.3)
            self._note(*(f"F {i}" for i in gone))
        count = 100 if self._purges else chance.choice((1, 1, 1, 5, 20))
        texts = [sentence(chance, chance.randrange(60, 900)) for _ in range(count)]
        if count == 1:
            ids = [client.call("remember", text=texts[0])["id"]]
        else:
            ids = client.call("import", memories=[{"text": text} for text in texts])["ids"]
        sums = (zlib.crc32(text.encode()) for text in texts)
        self._note(*(f"A {i} {crc}" for i, crc in zip(ids, sums, strict=True)))
        self._mine += ids

    def _note(self, *lines: str) -> None:
        self._line.write("".join(f"{line}\n" for line in lines).encode())


def write(seed: int, purgers: int = 0) -> None:
    """Three that remember and forget, and some that purge, until the power goes."""
    with open("/dev/virtio-ports/acks", "wb", buffering=0) as line:  # noqa: PTH123
        writers = [Writer(seed + n, line, purges=n >= 3) for n in range(3 + purgers)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()


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
