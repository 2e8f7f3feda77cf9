"""Starts of several versions in turn: processor time and time of the clock until READY.

    python -m tests.benchmarks.starts [--rounds N] FIRST.deb SECOND.deb ...

Each package is unpacked, its byte-code and the file of its modules are made as its postinst does,
and it is started as its unit does: no options, the configuration of the package, a socket of
systemd's, a store that is there already.  Needs the Python that the packages are for; the store is
empty.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_SETTINGS = "import nimad.config, pathlib; nimad.config.SYSTEM_CONFIG = pathlib.Path({!r})\nfrom "
"""Put before the launcher's last import: the configuration is where the package is unpacked."""


def unpack(package: Path, tree: Path) -> list[str]:
    """The command that starts what is in a package, unpacked into an empty directory."""
    subprocess.run(["dpkg-deb", "-x", package, tree], check=True)
    control = subprocess.run(
        ["dpkg-deb", "--ctrl-tarfile", package], check=True, capture_output=True
    ).stdout
    launcher = tree / "usr/bin/nimad"
    text = launcher.read_text().replace("/usr/lib/nimad", f"{tree}/usr/lib/nimad")
    settings = _SETTINGS.format(f"{tree}/etc/nimad/nimad.yaml")
    launcher.write_text(text.replace("from nimad.daemon", f"{settings}nimad.daemon", 1))
    interpreter, *options = text.splitlines()[0].removeprefix("#!").split()
    plain = {"PYTHONNODEBUGRANGES": "1"} if b"PYTHONNODEBUGRANGES" in control else {}
    compile_all = [interpreter, "-m", "compileall", "-q", tree / "usr/lib/nimad"]
    subprocess.run(compile_all, check=True, env={**os.environ, **plain})
    postinst = subprocess.run(
        ["dpkg-deb", "-I", package, "postinst"], check=True, capture_output=True, text=True
    ).stdout
    if found := re.search(r"^bundle\(\) \{.*?^\}\n", postinst, re.MULTILINE | re.DOTALL):
        calls = re.findall(r"^ *bundle nimad .*\n", postinst, re.MULTILINE)
        script = (found[0] + "".join(calls)).replace("/usr/lib/nimad", f"{tree}/usr/lib/nimad")
        subprocess.run(["/bin/sh", "-ec", script], check=True, env={"PATH": "/usr/bin:/bin"})
    (tree / "state").mkdir(mode=0o700)
    return [interpreter, *options, str(launcher)]


def start(command: list[str], tree: Path) -> tuple[float, float]:
    """Seconds of the processor and of the clock until READY."""
    with (
        tempfile.TemporaryDirectory() as place,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        socket.socket(socket.AF_UNIX) as listener,
    ):
        manager.bind(f"{place}/notify")
        manager.settimeout(120)
        listener.bind(f"{place}/nimad.sock")
        listener.listen()
        given = {"NOTIFY_SOCKET": f"{place}/notify", "STATE_DIRECTORY": f"{tree}/state"}
        given |= {"LISTEN_FDS": "1", "MALLOC_ARENA_MAX": "1", "LANG": "C.UTF-8"}
        begun = time.perf_counter()
        if not (pid := os.fork()):
            os.dup2(os.open(f"{tree}/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
            os.dup2(os.dup(listener.fileno()), 3)
            os.execve(command[0], command, {**given, "LISTEN_PID": str(os.getpid())})
        while b"READY=1" not in manager.recv(1 << 16):
            pass
        spent = time.clock_gettime(~pid << 3 | 2)  # clock_getcpuclockid(3)
        waited = time.perf_counter() - begun
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
    return spent, waited


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("packages", type=Path, nargs="+")
    options = parser.parse_args()
    with contextlib.suppress(PermissionError):  # at READY this one runs at once: the next is not of
        first = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK  # the start
        os.sched_setscheduler(0, first, os.sched_param(1))
    with tempfile.TemporaryDirectory(prefix="nimad-starts-") as folder:
        trees = [Path(folder) / str(number) for number in range(len(options.packages))]
        commands = [unpack(*pair) for pair in zip(options.packages, trees, strict=True)]
        pairs = list(zip(commands, trees, strict=True))
        for pair in pairs:
            start(*pair)
        taken = [[start(*pair) for pair in pairs] for _ in range(options.rounds)]
    print(f"{options.rounds} starts each, load {os.getloadavg()[0]:.0f}; median and least [ms]")
    for number, package in enumerate(options.packages):
        for kind, values in zip(
            ("processor", "clock"), zip(*(r[number] for r in taken), strict=True), strict=True
        ):
            middle, least = (1000 * f(values) for f in (statistics.median, min))
            print(f"{package}: {kind} {middle:.0f} {least:.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
