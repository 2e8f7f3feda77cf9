"""The command line of `nimad`, which is read when it says something."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

from nimad import __version__

DESCRIPTION = """\
Memory for AI agents, on the device: keeps memories and answers over a Unix socket.
nimactl(1) talks to it.  It stays in the foreground; systemd, or &, runs it behind.
"""

EPILOG = """\
signals:
  TERM, INT   finish the requests under way, then stop; a second one stops at once
  HUP         read the configuration again

exit codes:
  0    stopped as asked
  64   the command line is wrong
  65   the records are damaged
  70   a bug; the log has the details
  73   the state directory or the socket cannot be made
  74   the disk is full
  75   another nimad has the state directory or the socket
  78   the configuration is wrong, or a newer nimad wrote the state
  130, 143   stopped at once, by a second signal

files:
  /etc/nimad/nimad.yaml     the configuration, nimad.yaml(5)
  /var/lib/nimad            the state of the system's nimad
  ~/.local/state/nimad      the state of a user's own
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(64, f"nimad: {message}\nSee `nimad --help`.\n")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = _Parser(
        prog="nimad",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--config", metavar="F", type=Path, help="read this nimad.yaml")
    made.add_argument("--state", metavar="DIR", type=Path, help="keep the memories here")
    made.add_argument("--socket", metavar="PATH", type=Path, help="listen here")
    made.add_argument("--foreground", action="store_true", help="log for a person at a terminal")
    made.add_argument(
        "--check-config", action="store_true", help="check the configuration, no more"
    )
    made.add_argument("--version", action="version", version=f"nimad {__version__}")
    return made
