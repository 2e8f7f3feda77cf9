"""The command nimad-sync: the one process of a board that talks to its fleet's hub."""

from __future__ import annotations

import argparse
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from nimad import __version__, config
from nimad.client.connection import Connection
from nimad.config import Config
from nimad.errors import ConfigError, HubUnusable, NimadError
from nimad.hub.session import Hub
from nimad.signals import end_on_term
from nimad.sync.questions import Questions
from nimad.sync.rounds import Rounds

log = logging.getLogger("nimad-sync")

CREDENTIAL = "nimad-sync.pass"
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 600.0
"""Pauses after a failure: the first, doubled up to the longest [seconds]."""
VECTOR_SECONDS = 5.0
"""Time for the vectors in a round: others' memories do not wait for the hub's index [seconds]."""
HUB_FACTOR = 10
"""How much more seldom the hub is asked than the daemon, when it says nothing itself."""

DESCRIPTION = """\
Shares memories with the other boards of a fleet, through the hub that sync.url in nimad.yaml names.
The daemon itself opens no network connection.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(64, f"nimad-sync: {message}\nSee `nimad-sync --help`.\n")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = _Parser(prog="nimad-sync", description=DESCRIPTION)
    made.add_argument("--config", metavar="F", type=Path, help="read this nimad.yaml")
    made.add_argument("--socket", metavar="PATH", help="the daemon's socket")
    made.add_argument("--once", action="store_true", help="one round, then end")
    made.add_argument("--version", action="version", version=f"nimad-sync {__version__}")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the helper; its exit code."""
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    os.umask(0o077)
    end_on_term()
    try:
        settings = config.load(options.config)
        if not settings["sync.url"] or not settings["sync.namespaces"]:
            raise ConfigError(path="sync", detail="needs sync.url and sync.namespaces")
        with Connection(options.socket) as daemon:
            helper = Helper(settings, daemon)
            if options.once:
                helper.round()
            else:
                helper.run(Questions(Path(settings["sync.socket"]), helper.connect))
    except NimadError as error:
        log.error("%s", error.sentences)
        return error.exit
    except KeyboardInterrupt:
        return 130
    return 0


class Helper:
    """Makes rounds, and connects anew after a failure.

    Attributes:
        hub: the connection; None while there is none.
    """

    def __init__(self, settings: Config, daemon: Connection) -> None:
        self._settings, self._daemon = settings, daemon
        self.hub: Hub | None = None
        self._rounds: Rounds | None = None
        self._paced = 0

    def connect(self) -> Hub:
        """A connection to the hub."""
        if not self._settings["sync.metered"] and is_metered():
            raise HubUnusable(detail="the connection is metered, and sync.metered is false")
        return Hub(self._settings["sync.url"], passfile(self._settings["sync.passfile"]))

    def run(self, questions: Questions) -> None:
        """Rounds for ever: when the hub tells of news, when this board has some, now and then."""
        pause = 0.0
        while True:
            try:
                more, pause = self.round(), 0.0
                if self._rounds is not None:
                    questions.uid = self._rounds.state["uid"]
                if more:
                    continue
            except NimadError as error:
                pause = min(max(pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
                log.warning("%s (again in %.0f s)", error.message, pause)
            self._wait(pause)

    def round(self, seconds: float = VECTOR_SECONDS) -> bool:
        """One round, over a connection that is made when there is none; `seconds` for vectors.
        Whether there is more to do at once."""
        try:
            if self.hub is None or self._rounds is None:
                self.hub = self.connect()
                name = self._settings["sync.name"] or socket.gethostname()
                self._rounds = Rounds(self._daemon, self.hub, name, self._pace)
                self._paced = 0
            rounds = self._rounds
            rounds.begin()
            with rounds.each() as attempt:
                with attempt():
                    rounds.push()
                with attempt():
                    rounds.pull()
                rounds.tell()
                return rounds.push_vectors(seconds)
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            detail = f"what it answers is not understood ({type(error).__name__})"
            strange = HubUnusable(detail=detail)
            self._hang_up(strange)
            raise strange from error
        except NimadError as error:
            self._hang_up(error)
            raise

    def _wait(self, pause: float) -> None:
        """Until the hub or this board has news; after a failure for `pause` seconds."""
        if pause or self.hub is None or self._rounds is None:
            time.sleep(pause)
            return
        every = self._settings["sync.seconds"]
        try:
            for _ in range(HUB_FACTOR):
                if self.hub.listen(every) or self._rounds.is_due():
                    return
        except NimadError as error:
            log.warning("%s", error.message)
            self._hang_up(error)

    def _hang_up(self, error: NimadError) -> None:
        if self.hub is not None:
            self.hub.close()
        self.hub = self._rounds = None
        try:
            self._daemon.call("fleet.confirm", told={"state": error.message})
        except NimadError as absent:
            log.warning("%s", absent.message)

    def _pace(self, total: int) -> None:
        """Sleep as long as what was moved since the last call should have taken."""
        limit = self._settings["sync.kilobytes_per_second"]
        if limit:
            time.sleep(max(total - self._paced, 0) / (limit * 1000))
        self._paced = total


def passfile(named: str) -> str:
    """The file with the hub's password: systemd's credential, or the one that is named."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    place = Path(folder) / CREDENTIAL if folder else None
    return str(place) if place is not None and place.exists() else named


def is_metered() -> bool:
    """Whether NetworkManager calls the connection metered, or guesses so; unknown is no."""
    command = ["busctl", "get-property", "org.freedesktop.NetworkManager"]
    command += ["/org/freedesktop/NetworkManager", "org.freedesktop.NetworkManager", "Metered"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return told.stdout.strip() in ("u 1", "u 3")  # NMMetered: yes, guess-yes


if __name__ == "__main__":
    sys.exit(main())
