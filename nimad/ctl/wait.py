"""Following a migration until it ends, through restarts of the daemon."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from nimad.ctl.arguments import with_hint
from nimad.ctl.client import Client
from nimad.ctl.migration_text import brief, overview, stage_line
from nimad.ctl.screen import Progress, Screen
from nimad.errors import (
    DaemonAbsent,
    Interrupted,
    MigrationFailed,
    MigrationPaused,
    NimadError,
    NoAnswer,
    NotFound,
    RemoteError,
)
from nimad.model import STATES_AT_REST

QUICK, SLOW = 0.1, 1.0
"""Pauses between two looks, at first and later on [seconds]."""
RESTART = 60.0
"""Time a daemon may take to come back [seconds]."""
STEP = 0.1
"""Part of the whole after which a line is printed where there is no terminal."""


def wait(
    client: Client, screen: Screen, names: Sequence[str], left_out: Sequence[dict[str, Any]] = ()
) -> int:
    """Follow sources until each is verified, paused or failed; the exit code says which.
    `left_out` are stores that were not taken over, for the JSON."""
    ended: list[dict[str, Any]] = []
    result: dict[str, Any] = {}
    try:
        with Progress(screen.progress) as progress:
            for name in names:
                result = _follow(client, screen, name, progress)
                ended.append(_source(result, name))
    except KeyboardInterrupt:
        hint = "It goes on in nimad: `nimactl migrate --status --watch` shows it."
        raise with_hint(Interrupted(), hint) from None
    result = {**result, "sources": ended, **({"refused": left_out} if left_out else {})}
    if screen.json:
        screen.result(result)
    else:
        for line in overview(screen, result):
            screen.line(line)
    for source in ended:
        if source["state"] == "paused":
            raise MigrationPaused(name=source["name"])
        if source["state"] not in ("verified", "lazy"):
            detail = source.get("error") or "it was rolled back meanwhile"
            raise MigrationFailed(name=source["name"], detail=detail)
    return 0


def _follow(client: Client, screen: Screen, name: str, progress: Progress) -> dict[str, Any]:
    pause, told = QUICK, ("", -1.0)
    while True:
        result = _look(client, name, lambda text: progress.show(text, now=True))
        source = _source(result, name)
        if source["state"] in STATES_AT_REST:
            return result
        state, fraction, text = stage_line(
            source, idle=result.get("idle", True), because=result.get("because")
        )
        progress.show(text)
        plain = screen.progress is None and not screen.json
        if plain and (state != told[0] or fraction - told[1] >= STEP):
            told = (state, fraction)
            screen.aside(brief(source))
        time.sleep(pause)
        pause = min(pause * 1.2, SLOW)


def watch(client: Client, screen: Screen, name: str | None) -> int:
    """Show the sources anew each second until none is under way; with --json, a document a line."""
    drawn: list[str] = []
    try:
        while True:
            result = _look(client, name, screen.note)
            if screen.json:
                screen.result(result)
            else:
                lines = list(overview(screen, result))
                if lines != drawn:  # without a terminal, below what stands there
                    back = f"\x1b[{len(drawn)}A\x1b[J" if screen.terminal and drawn else ""
                    screen.line(back + "\n".join(lines))
                    drawn = lines
            screen.flush()
            if all(source["state"] in STATES_AT_REST for source in result["sources"]):
                return 0
            time.sleep(SLOW)
    except KeyboardInterrupt:
        raise with_hint(Interrupted(), "The migrations go on in nimad.") from None


def _look(client: Client, name: str | None, tell: Callable[[str], None]) -> dict[str, Any]:
    """The state of the sources; a daemon that is being restarted is waited for."""
    try:
        return client.call("migrate.status", name=name)
    except NimadError as error:
        if not _passing(error):
            raise
    tell("nimad does not answer; waiting for it to come back")
    import tenacity  # here, because it costs more than a whole run without it

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(_passing),
        wait=tenacity.wait_exponential(multiplier=0.1, max=2),
        stop=tenacity.stop_after_delay(RESTART),
        reraise=True,
    )
    return retrying(client.call, "migrate.status", name=name)


def _passing(error: BaseException) -> bool:
    """True for what a restart of the daemon looks like."""
    if isinstance(error, RemoteError):
        return error.code == "busy"
    return isinstance(error, (DaemonAbsent, NoAnswer))


def _source(result: dict[str, Any], name: str) -> dict[str, Any]:
    for source in result["sources"]:
        if source["name"] == name:
            found: dict[str, Any] = source
            return found
    raise NotFound(kind="source", id=name)
