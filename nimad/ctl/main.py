"""nimactl: reads the command line, runs one command, and ends with its exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from nimad import times
from nimad.closing import let_go
from nimad.ctl.arguments import with_hint
from nimad.ctl.client import Client
from nimad.ctl.parser import build
from nimad.ctl.screen import Screen
from nimad.errors import Interrupted, NimadError, UsageError

CLOSED_PIPE = 141
"""Exit code when the reader of the output went away: what a shell shows for SIGPIPE."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (the table is in nimactl(1))."""
    given = list(sys.argv[1:] if argv is None else argv)
    screen = Screen("--json" in given)
    try:
        try:
            args = build(given).parse_args(given)
        except SystemExit as done:  # --help and --version
            screen.flush()
            return int(done.code or 0)
        screen.json = args.json
        if args.command is None:
            raise UsageError(detail="nimactl needs a command.")
        if getattr(args, "time_zone", None) is not None:
            times.use_zone(args.time_zone)
        with Client(args.socket, args.timeout) as client:
            code: int = args.run(args, client, screen)
        screen.flush()
        return code
    except BrokenPipeError:  # `| head`
        let_go(sys.stdout)
        return CLOSED_PIPE
    except KeyboardInterrupt:
        return screen.fail(Interrupted())
    except NimadError as error:
        code = screen.fail(error)
        let_go(sys.stdout)
        return code
    except Exception as error:
        if os.environ.get("NIMAD_DEBUG"):
            raise
        bug = NimadError(detail=f"{type(error).__name__} in nimactl: {error}")
        hint = "please report it with what NIMAD_DEBUG=1 in the environment shows."
        return screen.fail(with_hint(bug, f"This is a bug; {hint}"))


if __name__ == "__main__":
    sys.exit(main())
