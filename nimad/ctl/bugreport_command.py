"""The command bugreport: one archive for a maintainer, in which nothing of a memory is.

What goes in is chosen (nimad.ctl.redaction), and shown before it is written.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nimad import __version__, config
from nimad.ctl.arguments import Commands, add_command
from nimad.ctl.client import Client
from nimad.ctl.metrics_command import exposition
from nimad.ctl.output_file import open_output
from nimad.ctl.redaction import HIDDEN, Redaction
from nimad.ctl.screen import Screen
from nimad.ctl.terminal_text import safe
from nimad.errors import NimadError
from nimad.human import size

DECLINED = 1
"""Exit code when the archive was not to be written."""
LINES = 1000
"""Number of lines of the journal that are looked at [lines]."""
UNITS = ("nimad.service", "nimad.socket", "nimad-embedder.service", "nimad-metrics.timer")
UNIT_FIELDS = "Id,LoadState,ActiveState,SubState,Result,NRestarts,ExecMainStatus,MemoryCurrent"
PROGRAM_SECONDS = 20.0
"""Time after which another program is not waited for any longer [seconds]."""
README = """\
What nimad is like on this machine, for its maintainers. Nothing of a memory is in it: no text,
name, tag, namespace, path or question. Of the log and of sentences it has what stands in nimad's
own source; "…" stands for everything else. Look through it before you hand it on.
"""


def register(commands: Commands) -> None:
    """Add the command of this file."""
    report = add_command(
        commands,
        "bugreport",
        run_bugreport,
        "write an archive for a bug report, with nothing of a memory in it",
        "Versions, the configuration, status, doctor, figures, the log and facts about the machine."
        " What is in it is listed before it is written, and on a terminal asked for.",
    )
    report.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        type=Path,
        help="the archive; default nimad-bugreport-DATE.tar.gz here",
    )
    report.add_argument("--print", action="store_true", help="print all of it, and write nothing")
    report.add_argument("--yes", action="store_true", help="do not ask")


def run_bugreport(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl bugreport`."""
    parts = collected(client, Redaction())
    path = args.file or Path(time.strftime("nimad-bugreport-%Y%m%d-%H%M%S.tar.gz"))
    if args.print:
        for name, text in parts.items():
            screen.line(f"--- {name}")
            screen.line(safe(text))
        return 0
    listed = [{"name": name, "bytes": len(text.encode())} for name, text in parts.items()]
    if not screen.json:
        screen.line(README.rstrip())
        screen.line()
        for name, text in parts.items():
            screen.line(f"  {name:<18}{size(len(text.encode())):>10}")
        screen.line()
    if not (args.yes or screen.json) and sys.stdin is not None and sys.stdin.isatty():
        screen.flush()
        print(f"Write it to {path}? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            screen.note("nothing was written.")
            return DECLINED
    with open_output(path) as file:
        file.write(archive(parts))
    result = {"path": str(path), "parts": listed}
    return screen.answer(result, f"wrote {path} ({size(path.stat().st_size)})")


def collected(client: Client, redaction: Redaction) -> dict[str, str]:
    """Name of each part → its text."""
    versions = {
        "nimad": __version__,
        "python": platform.python_version(),
        "libc": " ".join(platform.libc_ver()),
        "kernel": os.uname().release,
        "machine": os.uname().machine,
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        "systemd": _output("systemctl", "--version").partition("\n")[0],
    }
    parts = {"README": README, "versions.json": _json(versions), "system.json": _json(_system())}
    parts["config.json"] = _json(_config(redaction))
    for verb in ("status", "doctor", "migrate.status"):
        parts[f"{verb}.json"] = _json(redaction.value(_asked(client, verb)))
    families = _asked(client, "metrics").get("families")
    parts["metrics.prom"] = exposition(families) if families else "no figures\n"
    parts["units.txt"] = _output("systemctl", "show", f"--property={UNIT_FIELDS}", *UNITS)
    # the last lines of the journal: when, how grave, and what the source has of the sentence
    fields = "--output-fields=MESSAGE,PRIORITY"
    units = ("--unit=nimad", "--user-unit=nimad")
    lines = _output("journalctl", "-o", "json", fields, f"--lines={LINES}", "--no-pager", *units)
    told = []
    for line in lines.splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            entry = json.loads(line)
            at = time.strftime("%F %T", time.gmtime(int(entry["__REALTIME_TIMESTAMP"]) / 1e6))
            told.append(f"{at} <{int(entry['PRIORITY'])}> {redaction.text(str(entry['MESSAGE']))}")
    parts["log.txt"] = "\n".join([*told, ""]) if told else "no line of nimad's can be read\n"
    return parts


def archive(parts: Mapping[str, str]) -> bytes:
    """A tar.gz of them, without the name of a user or a time of a file."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        for name, text in parts.items():
            data = text.encode()
            about = tarfile.TarInfo(f"nimad-bugreport/{name}")
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    return made.getvalue()


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _asked(client: Client, verb: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = client.call(verb)
    except NimadError as error:
        return {"error": {"code": error.code, "message": error.message}}
    return found


def _system() -> dict[str, Any]:
    """Facts about the machine; no name of it, its users or its network."""
    found: dict[str, Any] = {
        "processors": os.cpu_count(),
        "page_bytes": os.sysconf("SC_PAGE_SIZE"),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load": os.getloadavg(),
        "time_zone_hours": -time.timezone / 3600,
    }
    places = {"model": "/proc/device-tree/model", "uptime": "/proc/uptime"}
    places |= {f"pressure_{what}": f"/proc/pressure/{what}" for what in ("cpu", "io", "memory")}
    for name, place in places.items():
        with contextlib.suppress(OSError):
            found[name] = Path(place).read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    wanted = ("/", "/var", "/var/lib", "/var/lib/nimad", "/home")
    found["mounts"] = [
        {"at": fields[1], "type": fields[2], "options": fields[3].split(",")[0]}
        for line in mounts
        if (fields := line.split())[1] in wanted
    ]
    return found


def _config(redaction: Redaction) -> dict[str, Any]:
    """Every key: a number, a choice or yes and no as it is; of a text or a list that it is set."""
    try:
        settings = config.load(None)
    except NimadError as error:
        return {"error": redaction.text(error.message)}
    shown: dict[str, Any] = {}
    for name, key in config.KEYS.items():
        value = settings[name]
        if isinstance(value, (bool, int, float)) or value == key.default:
            shown[name] = value
        else:
            shown[name] = redaction.text(value) if isinstance(value, str) else HIDDEN
    return shown


def _output(*command: str) -> str:
    """What another program prints; nothing where it is not there or fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=PROGRAM_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
