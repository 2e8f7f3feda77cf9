"""`nimactl web`: shows the memories in a browser on this machine."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
from functools import partial

from nimad.ctl.arguments import Commands, add_command, number, seconds, with_hint
from nimad.ctl.client import Client
from nimad.ctl.screen import Screen
from nimad.errors import DaemonAbsent, NotPermitted, SocketBusy, SocketUnusable
from nimad.signals import heed

PORT = 6462
"""As `nimad.web.address.PORT`, which is imported only when it runs."""


def register(commands: Commands) -> None:
    """Add the command of this file."""
    web = add_command(
        commands,
        "web",
        run_web,
        "show the memories in a browser, on a port of this machine only",
        "Prints an address with a key and serves pages there until Ctrl-C: status, search with"
        " reasons, each memory and what is around it, what comes in, sources, checks. The unit"
        " nimad-web.socket does the same when it is asked: docs/web.md.",
    )
    web.add_argument(
        "--port",
        metavar="N",
        type=number(0, 65_535),
        default=PORT,
        help=f"listen on this port of 127.0.0.1; default {PORT}, 0 takes a free one",
    )
    web.add_argument(
        "--idle",
        metavar="SECONDS",
        type=seconds,
        help="end when nobody has asked for that long",
    )
    web.add_argument(
        "--url",
        action="store_true",
        help="print the address of the unit's pages, and serve none",
    )


def run_web(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl web`."""
    from nimad.client.client import Client as Daemon
    from nimad.web import address, routes
    from nimad.web.guard import Guard
    from nimad.web.server import WebServer

    if args.url:
        return _show_unit(args.port, screen)
    try:
        listener, key, of_unit = address.take_listener(args.port)
    except OSError as error:
        place, hint = f"{address.HOST}:{args.port}", "--port names another port."
        if error.errno == errno.EADDRINUSE:
            hint = f"`nimactl web --url` shows the unit's address; {hint}"
            raise with_hint(SocketBusy(socket=place), hint) from None
        detail = error.strerror or str(error)
        raise with_hint(SocketUnusable(socket=place, detail=detail), hint) from None
    if not of_unit:
        url = address.address_of(listener.getsockname()[1], key)
        screen.answer({"url": url}, url)
        screen.flush()
        screen.note("it lets in whoever has it, until Ctrl-C ends this.")
    guard = Guard(key)
    with listener, Daemon(args.socket, timeout=args.timeout) as daemon:
        heed()
        answer = partial(routes.answer, daemon=daemon, prefix=guard.prefix)
        with contextlib.suppress(KeyboardInterrupt):
            WebServer(listener, guard, answer, args.idle).serve()
    return 0


def _show_unit(port: int, screen: Screen) -> int:
    from nimad.web import address

    try:
        url = address.unit_address(port)
    except PermissionError:
        verb = f"read {address.UNIT_FOLDER / address.FILE}"
        raise NotPermitted(uid=os.geteuid(), verb=verb, group="nimad") from None
    if url is None:
        absent = DaemonAbsent(socket=f"{address.HOST}:{port}", detail="nimad-web.socket is not on")
        hint = "sudo systemctl enable --now nimad-web.socket, or `nimactl web` without --url."
        raise with_hint(absent, hint)
    return screen.answer({"url": url}, url)
