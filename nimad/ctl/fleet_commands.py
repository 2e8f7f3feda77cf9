"""The commands about a fleet: fleet status, join, leave; and what a purge tells of other boards."""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nimad.ctl.arguments import Commands, add_command, keep_to_actions, with_hint
from nimad.ctl.client import Client
from nimad.ctl.screen import Screen
from nimad.ctl.terminal_text import one_line
from nimad.errors import ConfigError, OutputUnusable, UsageError
from nimad.human import count, span

BEGIN, END = "# nimactl fleet join wrote this:", "# nimactl fleet leave takes it out."
"""What stands around the section that `join` writes."""
CONFIRM_SECONDS = 5.0
"""How long `forget --fleet` waits for the hub and other boards [seconds]."""


def register(commands: Commands) -> None:
    """Add the command of this file."""
    fleet = add_command(
        commands,
        "fleet",
        run_fleet,
        "show the boards that share memories, join them, or leave",
        "join writes the section sync of nimad.yaml, where each SPACE=DIRECTION names a namespace"
        " and what it is shared for, both, push or pull; leave takes it out again. What was"
        " shared stays on all boards. /usr/share/doc/nimad/fleet.md has more.",
    )
    fleet.add_argument(
        "do",
        metavar="ACTION",
        nargs="?",
        choices=("status", "join", "leave"),
        default="status",
        help="status (default), join or leave",
    )
    fleet.add_argument("url", metavar="URL", nargs="?", help="the hub: postgresql://BOARD@HOST/DB")
    fleet.add_argument(
        "spaces", metavar="SPACE=DIRECTION", nargs="*", help="namespaces that are shared"
    )
    fleet.add_argument(
        "--config", metavar="FILE", type=Path, help="with join and leave: this nimad.yaml"
    )


def run_fleet(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl fleet`."""
    if args.do != "status":
        return _configure(args, screen)
    keep_to_actions(args, {"config": "join"})
    told = client.call("status").get("fleet") or {}
    if screen.json:
        return screen.result(told)
    if not told:
        screen.line("This board shares nothing: `nimactl fleet join` or sync in nimad.yaml.")
    for line in lines(told):
        screen.line(line)
    return 0


def lines(told: dict[str, Any]) -> Iterator[str]:
    """What `status` tells of the fleet, a line for each thing."""
    if not told:
        return
    shared = ", ".join(f"{one_line(n)} ({d})" for n, d in told["namespaces"].items())
    heard = f", {span(told['heard_seconds'])} ago" if "heard_seconds" in told else ""
    state = "nimad-sync has not been heard" if told["state"] == "silent" else told["state"]
    yield f"{one_line(state)}{heard}; shares {shared}"
    for name, peer in (told.get("peers") or {}).items():
        lag = f"{count(peer['behind'])} rows behind" if peer["behind"] else "has all"
        yield f"  {one_line(name)}: {lag}, last changed {span(peer['seconds'])} ago"
    for reason, number in (told.get("refused") or {}).items():
        yield f"  refused {count(number)}: {one_line(reason)}"
    for purge in told.get("purges") or []:
        names = ", ".join(map(one_line, purge["pending"]))
        yield f"  memory {purge['key'][1]} of {one_line(purge['namespace'])} still on {names}"


def told_of_purge(client: Client) -> list[str]:
    """Whether other boards have purged what this one has, waited for a little."""
    until, told = time.monotonic() + CONFIRM_SECONDS, client.call("status").get("fleet") or {}
    if not told:
        return ["this board shares nothing"]
    begun = time.monotonic()
    while time.monotonic() < until:
        fresh = told.get("heard_seconds", 1e9) < time.monotonic() - begun
        if fresh and told["state"] == "connected" and not told.get("purges"):
            return ["purged on the hub and all boards"]
        time.sleep(0.2)
        told = client.call("status").get("fleet") or {}
    pending = list(lines({**told, "peers": {}, "refused": {}}))
    return [*(line.strip() for line in pending), "`nimactl fleet` lists boards until they have"]


# --- the configuration ----------------------------------------------------------------------------


def _configure(args: argparse.Namespace, screen: Screen) -> int:
    from nimad import config  # here, because `remember` and `status` use this file, too

    path: Path = args.config or config.SYSTEM_CONFIG
    try:
        text = path.read_text(encoding="utf-8")
        kept = re.sub(rf"\n?{BEGIN}.*?{END}\n", "", text, flags=re.DOTALL)
        if args.do == "leave":
            if args.url is not None:
                raise UsageError(detail="`nimactl fleet leave` takes no URL.")
            _write(path, kept)
            step = "systemctl disable --now nimad-sync; systemctl reload nimad"
            return screen.answer({"config": str(path)}, "left", f"Now: {step}")
        if config.load(path)["sync.namespaces"] and kept == text:
            raise ConfigError(path=path, detail="it has a section sync already")
        if not args.url or not args.spaces:
            raise UsageError(detail="`nimactl fleet join` needs a URL and SPACE=DIRECTION.")
        lines = [BEGIN, "sync:", f"  url: {_quoted(args.url)}", "  namespaces:"]
        for given in args.spaces:
            name, sign, direction = given.rpartition("=")
            if not sign:
                raise UsageError(detail=f"{given[:60]!r} is not SPACE=DIRECTION.")
            lines.append(f"    {_quoted(name)}: {_quoted(direction)}")
        _write(path, kept + "\n".join(["", *lines, END, ""]))
    except OSError as error:
        raise with_hint(
            OutputUnusable(path=path, detail=error.strerror or error), "Try it as root."
        ) from None
    step = "put the hub's password into /etc/credstore/nimad-sync.pass, then"
    step += " systemctl reload nimad; systemctl enable --now nimad-sync"
    return screen.answer({"config": str(path)}, f"joined in {path}", f"Now: {step}")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''").replace("\n", " ") + "'"


def _write(path: Path, text: str) -> None:
    """Replace a configuration, once it is one; its mode and owner stay."""
    import tempfile

    from nimad import config
    from nimad.disk.durable import replacing

    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as draft:
        draft.write(text)
        draft.flush()
        config.load(Path(draft.name))
    before = path.stat()
    with replacing(path) as file:
        file.write(text.encode())
        os.fchmod(file.fileno(), before.st_mode & 0o7777)
        os.fchown(file.fileno(), before.st_uid, before.st_gid)
