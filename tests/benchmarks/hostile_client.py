"""One hostile member of the group against one honest client, attack by attack.

    python -m tests.benchmarks.hostile_client [--seconds 60] [--outsider] [NAME ...]

Both are users of their own (root starts them), so this needs root.  An outsider is no member, where
everyone may read (`read_group: ""`).  For each attack it prints what the honest client waits, with
the attack and without, and what the daemon holds: before, at most, and some seconds afterwards.
The watchdog is played by a socket of ours.

An attack is a function of `Hostile` in ATTACKS; a new one is one more.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import multiprocessing
import os
import random
import shutil
import socket
import string
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nimad.limits import MAX_DOCUMENTS, MAX_RECORD
from tests.client import Client, RemoteFailure
from tests.process import DaemonProcess
from tests.silent_file import can_mount, silent_file

GROUP, GROUP_ID = "users", 100
HOSTILE, HONEST, OUTSIDER = 64001, 64002, 64003
"""Users that need not exist: the kernel tells the daemon their groups."""
MEMORIES = 2000
WATCHDOG_SECONDS = 10
"""WatchdogSec= of the daemon under attack; the unit has 60 [seconds]."""
QUIET_SECONDS = 3.0
"""Time for which the honest client is measured alone [seconds]."""
SLACK = 20 << 20
"""What the daemon may hold more after an attack: caches of what was asked [bytes]."""
REST_SECONDS = 12.0
"""Longest time until memory is given back after an attack [seconds]."""

Attack = Callable[["Hostile"], None]


class Hostile:
    """Sends what it likes until its time is over; errors and closed connections do not stop it."""

    def __init__(self, path: Path, seconds: float) -> None:
        self.path = path
        self.end = time.monotonic() + seconds
        self.rnd = random.Random(7)

    @property
    def going(self) -> bool:
        return time.monotonic() < self.end

    def words(self, count: int) -> str:
        """Words that no memory holds."""
        letters = string.ascii_lowercase
        return " ".join("".join(self.rnd.choices(letters, k=8)).capitalize() for _ in range(count))

    def frame(self, method: str, **params: Any) -> bytes:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return json.dumps(request, ensure_ascii=False).encode() + b"\n"

    def call(self, method: str, **params: Any) -> Any:
        """The result of a request of good manners, None when it was refused."""
        with (
            contextlib.suppress(OSError, AssertionError, RemoteFailure, ValueError),
            contextlib.closing(Client(self.path, 30)) as client,
        ):
            return client.call(method, params)
        return None

    def flood(self, frames: Iterator[bytes], connections: int, *, read: bool = True) -> None:
        """Send frames on many connections, each as fast as it goes; `read` takes the replies."""

        def one() -> None:
            while self.going:
                with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
                    sock.settimeout(0.5)
                    sock.connect(str(self.path))
                    while self.going:
                        frame = memoryview(next(frames))
                        while frame and self.going:
                            with contextlib.suppress(TimeoutError):
                                frame = frame[sock.send(frame) :]
                            if read:
                                with contextlib.suppress(BlockingIOError):
                                    sock.recv(1 << 20, socket.MSG_DONTWAIT)
                time.sleep(0.02)

        threads = [threading.Thread(target=one, daemon=True) for _ in range(connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, self.end + 2 - time.monotonic()))

    def ask(self, texts: Callable[[], str], connections: int = 4, **more: Any) -> None:
        """Flood with queries, each of another text."""

        frames = [self.frame("query", text=texts()[:200_000], **more) for _ in range(6)]
        self.flood(Repeat(*frames), connections)


class Repeat(Iterator[bytes]):
    """The same frames again and again, for many threads."""

    def __init__(self, *frames: bytes) -> None:
        self._frames = frames
        self._place = 0

    def __next__(self) -> bytes:
        self._place += 1
        return self._frames[self._place % len(self._frames)]


def _list_of(part: bytes, size: int = 1_000_000) -> bytes:
    parts = b",".join([part] * (size // (len(part) + 1)))
    return b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":[' + parts + b"]}}\n"


def half_open(it: Hostile) -> None:
    """200 connections with half a frame each, opened again and again."""
    held: list[socket.socket] = []
    while it.going:
        with contextlib.suppress(OSError):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(0.2)
            sock.connect(str(it.path))
            sock.send(b'{"jsonrpc":"2.0","id":1,')
            held.append(sock)
        if len(held) > 200:
            held.pop(0).close()
            time.sleep(0.002)


def half_megabytes(it: Hostile) -> None:
    """Connections with a frame that is whole but for its end."""
    it.flood(Repeat(b'{"a":"' + b"x" * 1_048_000), 64)


def nested_lists(it: Hostile) -> None:
    it.flood(Repeat(_list_of(b"[" * 60 + b"]" * 60)), 60)


def many_values(it: Hostile) -> None:
    it.flood(Repeat(*(_list_of(part) for part in (b"{}", b'{"a":1}', '"ä"'.encode(), b"1e5"))), 16)


def values_just_allowed(it: Hostile) -> None:
    it.flood(Repeat(*(_list_of(b"[" * 60 + b"]" * 60, 38_000), _list_of(b'{"a":1}', 75_000))), 16)


def long_numbers(it: Hostile) -> None:
    it.flood(Repeat(_list_of(b"9" * 4300), _list_of(b"9" * 999)), 16)


def capital_words(it: Hostile) -> None:
    it.ask(lambda: it.words(22_000), mode="meaning", explain=True)


def unknown_words(it: Hostile) -> None:
    it.ask(lambda: it.words(60), connections=8)


def small_words(it: Hostile) -> None:
    it.ask(
        lambda: " ".join(
            "".join(it.rnd.choices(string.ascii_lowercase, k=3)) for _ in range(50_000)
        )
    )


def chinese(it: Hostile) -> None:
    it.ask(lambda: "".join(chr(0x4E00 + it.rnd.randrange(20_000)) for _ in range(199_000)))


def dates(it: Hostile) -> None:
    texts = itertools.cycle(
        [
            "1年1月1日" * 30_000,
            " ".join(f"{n % 9999 + 1} minutes ago" for n in range(9900)),
            " ".join(f"{1900 + n % 200}-{1 + n % 12}-{1 + n % 28}" for n in range(18_000)),
        ]
    )
    it.ask(lambda: next(texts))


def huge_k(it: Hostile) -> None:
    it.ask(lambda: "kettle garden", connections=8, k=1000, context=True, budget=10_000_000)


def unread_replies(it: Hostile) -> None:
    it.flood(Repeat(it.frame("query", text="kettle garden", k=1000)), 60, read=False)


def pings(it: Hostile) -> None:
    it.flood(Repeat(it.frame("ping") * 8), 16)


def connections(it: Hostile) -> None:
    """A thousand connections a second, and nothing sent on them."""
    while it.going:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(0.2)
            sock.connect(str(it.path))
        time.sleep(0.001)


def pauses_while_attaching(it: Hostile) -> None:
    """A sparse file of 1 GiB is taken over, and pauses wait meanwhile."""

    def attach() -> None:
        with tempfile.TemporaryFile() as file:
            file.truncate(1 << 30)
            while it.going:
                with contextlib.suppress(OSError), Client(it.path, 30) as client:
                    client.send_with(
                        [file.fileno()],
                        "migrate.attach",
                        path="/x",
                        kind="nima-sqlite",
                        sha256="0" * 64,
                        size=1 << 30,
                        strategy="full",
                    )
                    client.reply()

    threading.Thread(target=attach, daemon=True).start()
    it.flood(Repeat(it.frame("migrate.pause")), 4)


def silent_descriptor(it: Hostile) -> None:
    """A file of a file system that never answers is taken over, and pauses wait meanwhile."""
    with contextlib.suppress(OSError), (it.path.parent / "silent" / "never").open("rb") as file:
        while it.going:
            with contextlib.suppress(OSError), Client(it.path, 5) as client:
                asked = {"path": "/x", "kind": "nima-sqlite", "sha256": "0" * 64, "size": 1 << 20}
                client.send_with([file.fileno()], "migrate.attach", **asked)
                client.send("migrate.pause")
                client.reply()


def purges(it: Hostile) -> None:
    while it.going:
        made = it.call("remember", text="soon purged")
        if made:
            it.call("forget", ids=[made["id"]], purge=True)


def doctors(it: Hostile) -> None:
    it.flood(Repeat(it.frame("doctor")), 8)


def rebuilds(it: Hostile) -> None:
    it.flood(Repeat(it.frame("rebuild", part="all")), 4)


def audits(it: Hostile) -> None:
    it.flood(Repeat(it.frame("audit", limit=1000)), 4)


def rules(it: Hostile) -> None:
    """Rules that many memories would pass, in dry runs."""
    it.flood(Repeat(it.frame("forget", where="found=never and before=1min", dry_run=True)), 4)


def cyphers(it: Hostile) -> None:
    """Questions whose answer has billions of rows."""
    cypher = "MATCH (a:Memory), (b:Memory), (c:Memory) RETURN count(*)"
    it.flood(Repeat(it.frame("graph", cypher=cypher, seconds=600)), 4)


def large_records(it: Hostile) -> None:
    """Memories that come as files, as large as they may be."""
    with tempfile.TemporaryFile() as file:
        file.write(b'{"text":"kettle","extra":{"a":"' + b"x" * (MAX_RECORD - 100) + b'"}}')
        file.flush()
        size = file.tell()
        while it.going:
            with contextlib.suppress(OSError), Client(it.path, 30) as client:
                client.send_with([file.fileno()], "import", size=size)
                client.send_with([file.fileno()], "import", size=size)
                client.reply()
                client.reply()


def large_imports(it: Hostile) -> None:
    memories = [{"text": "kettle " + "x" * 1900} for _ in range(400)]
    it.flood(Repeat(it.frame("import", memories=memories)), 2)


def documents(it: Hostile) -> None:
    """The same 500 documents again and again, and once others."""
    frames = []
    for number, size in enumerate((12, 100)):
        made = [
            {"namespace": "a.b", "key": f"{number} {n}", "value": {"text": it.words(size)}}
            for n in range(MAX_DOCUMENTS)
        ]
        frames.append(it.frame("documents.put", documents=made))
    it.flood(Repeat(*frames), 4)


def redates(it: Hostile) -> None:
    """All memories that others see get another date, then every second one."""
    every = list(range(1, MEMORIES + 1))
    frames = [it.frame("redate", ids=every, when="2024-05-01")]
    frames += [it.frame("redate", ids=every[::2], when=f"2024-06-{day:02}") for day in range(1, 9)]
    it.flood(Repeat(*frames), 4)


ATTACKS: dict[str, Attack] = {
    attack.__name__: attack
    for attack in (
        half_open,
        half_megabytes,
        nested_lists,
        many_values,
        values_just_allowed,
        long_numbers,
        capital_words,
        unknown_words,
        small_words,
        chinese,
        dates,
        huge_k,
        unread_replies,
        pings,
        connections,
        pauses_while_attaching,
        silent_descriptor,
        purges,
        doctors,
        rebuilds,
        audits,
        rules,
        cyphers,
        large_records,
        large_imports,
        documents,
        redates,
    )
}


@dataclass
class Figures:
    """What one attack did.

    `quiet` and `busy` are p95 of the honest client without and with it, `worst` the longest wait
    [seconds]; `failed` counts its refused requests, `silence` is the longest time without
    WATCHDOG=1 [seconds]; the sizes are resident memory [bytes].
    """

    name: str
    quiet: float
    busy: float
    worst: float
    asked: int
    failed: int
    silence: float
    rest: int
    most: int
    after: int

    def __str__(self) -> str:
        sizes = [size >> 20 for size in (self.rest, self.most, self.after)]
        return (
            f"{self.name:24} {self.quiet * 1000:7.1f} {self.busy * 1000:7.1f}"
            f" {self.worst * 1000:8.1f} {self.asked:6} {self.failed:6} {self.silence:7.1f}"
            f" {sizes[0]:5} {sizes[1]:5} {sizes[2]:5}"
        )


HEADER = (
    f"{'attack':24} {'quiet':>7} {'p95 ms':>7} {'worst':>8} {'asked':>6} {'failed':>6}"
    f" {'silence':>7} {'MB':>5} {'most':>5} {'after':>5}"
)


class Arena:
    """A daemon with two users: `run` lets one attack while the other one asks."""

    def __init__(self, read_group: str = GROUP) -> None:
        self._cleanup = contextlib.ExitStack()
        self._folder = Path(tempfile.mkdtemp(prefix="nimad-arena-"))
        self._folder.chmod(0o711)
        notify = self._folder / "notify.sock"
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(notify))
        self._silence = 0.0
        self._heard = time.monotonic()
        threading.Thread(target=self._listen, daemon=True).start()
        if can_mount():
            place = self._folder / "silent"
            place.mkdir(mode=0o755)
            place.chmod(0o755)
            self._cleanup.enter_context(silent_file(place))
        rights = f'access.read_group: "{read_group}"\naccess.control_group: {GROUP}\n'
        self.daemon = DaemonProcess(
            self._folder,
            rights,
            environment={
                "NOTIFY_SOCKET": str(notify),
                "WATCHDOG_USEC": str(WATCHDOG_SECONDS * 1_000_000),
            },
        ).start()
        rnd = random.Random(3)
        names = ["kettle", "garden", "ladder", "harbour", "violin", "lantern", "orchard", "bridge"]
        for start in range(0, MEMORIES, 500):
            texts = [" ".join(rnd.choices(names, k=12)) for _ in range(500)]
            made = [{"text": f"{text} {start + n}", "who": "Maya"} for n, text in enumerate(texts)]
            self.daemon.call("import", memories=made)
        self._ask(2)
        time.sleep(6)  # until what follows an import is done
        self.measure_quiet()
        self.rest = self.daemon.resident()

    def measure_quiet(self) -> None:
        """How long the honest client waits while nobody else asks."""
        waits, failed, _ = self._ask(QUIET_SECONDS)
        assert not failed, "the honest client is refused although nobody else asks"
        self.quiet = _p95(waits)

    def close(self) -> None:
        self.daemon.finish()
        self._cleanup.close()
        self._notify.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                if b"WATCHDOG=1" in self._notify.recv(4096):
                    self._silence = max(self._silence, time.monotonic() - self._heard)
                    self._heard = time.monotonic()

    def run(self, name: str, seconds: float, uid: int = HOSTILE) -> Figures:
        """Let one attack while the other one asks."""
        self._silence, self._heard = 0.0, time.monotonic()
        groups = [GROUP_ID] if uid == HOSTILE else []
        attack = _process(uid, groups, _attack, name, self.daemon.socket, seconds)
        busy, failed, most = self._ask(seconds)
        silence = max(self._silence, time.monotonic() - self._heard)
        attack.join(10)
        attack.kill()
        attack.join()
        return Figures(
            name,
            self.quiet,
            _p95(busy),
            max(busy, default=seconds),
            len(busy),
            failed,
            silence,
            self.rest,
            most,
            self._resting(),
        )

    def _ask(self, seconds: float) -> tuple[list[float], int, int]:
        """Waits of the honest client, how many requests failed, and the most memory seen."""
        ours, theirs = multiprocessing.Pipe()
        honest = _process(HONEST, [GROUP_ID], _honest, self.daemon.socket, seconds, theirs)
        most = 0
        while not ours.poll(0.05):
            most = max(most, self.daemon.resident())
            assert honest.is_alive() or ours.poll(0.5), "the honest client died"
        waits, failed = ours.recv()
        honest.join()
        return waits, failed, most

    def _resting(self) -> int:
        end = time.monotonic() + REST_SECONDS
        while (now := self.daemon.resident()) > self.rest + SLACK and time.monotonic() < end:
            time.sleep(0.2)
        return now


def _process(uid: int, groups: list[int], work: Callable[..., None], *given: Any) -> Any:
    def run() -> None:
        os.setgroups(groups)
        os.setgid(uid)
        os.setuid(uid)
        work(*given)

    started = multiprocessing.get_context("fork").Process(target=run, daemon=True)
    started.start()
    return started


def _attack(name: str, path: Path, seconds: float) -> None:
    ATTACKS[name](Hostile(path, seconds))


def _honest(path: Path, seconds: float, pipe: Any) -> None:
    """Questions, looks and now and then a new memory, each on one connection or a new one."""
    waits: list[float] = []
    failed = 0
    end = time.monotonic() + seconds
    client = None
    for number in itertools.count():
        if time.monotonic() > end:
            break
        began = time.monotonic()
        try:
            while client is None or number % 40 == 0:
                with contextlib.suppress(BlockingIOError):  # a full queue: as nimactl does
                    client = Client(path, 60)
                    break
                time.sleep(0.05)
            if number % 20 == 0:
                client.call("remember", text=f"honest words {number}")
            elif number % 3 == 0:
                client.call("get", id=1 + number % MEMORIES)
            else:
                client.call("query", text="who mended the kettle in the garden?", k=5)
        except (OSError, AssertionError, RemoteFailure):
            failed += 1
            client = None
        waits.append(time.monotonic() - began)
        time.sleep(0.01)
    pipe.send((waits, failed))


def _p95(waits: list[float]) -> float:
    return sorted(waits)[int(len(waits) * 0.95)] if waits else float("inf")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each attack")
    parser.add_argument("--outsider", action="store_true", help="the hostile one is no member")
    parser.add_argument("names", nargs="*", metavar="NAME", default=list(ATTACKS))
    options = parser.parse_args()
    arena = Arena("" if options.outsider else GROUP)
    uid = OUTSIDER if options.outsider else HOSTILE
    try:
        print(HEADER)
        for name in options.names:
            print(arena.run(name, options.seconds, uid), flush=True)
    finally:
        arena.close()


if __name__ == "__main__":
    main()
