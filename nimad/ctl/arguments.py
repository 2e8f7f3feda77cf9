"""The command line: what every command shares, and errors that say what to do."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from nimad import __version__
from nimad.errors import NimadError, UsageError

if TYPE_CHECKING:
    from nimad.ctl.client import Client
    from nimad.ctl.screen import Screen

    Run = Callable[[argparse.Namespace, Client, Screen], int]
    Commands = argparse._SubParsersAction["Parser"]

DESCRIPTION = "Ask and look after the memory daemon nimad."
DATES = (
    "DATE is a day, a month, a year or a moment (2023-05-08, 8 May 2023, May 2023, 2023,"
    " 2023-05-08T14:30, with +02:00 or Z if it is not in this machine's time zone), an age (30min,"
    " 12h, 7d, 3w, 6mo, 2y, 2 hours ago), now, today, yesterday, last week, Friday, or epoch"
    " milliseconds. It stands for its first moment; after --as-of for its last."
)
EPILOG = """\
`nimactl COMMAND --help` tells about one; nimactl(1) has examples, exit codes and files.
"""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises errors instead of printing them, and takes no abbreviations."""

    def __init__(self, **given: Any) -> None:
        super().__init__(
            allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **given
        )

    def error(self, message: str) -> NoReturn:
        """Raise UsageError, which main turns into one line and exit code 64."""
        refused = UsageError(detail=_no_such_command(message) or message[:1].upper() + message[1:])
        raise with_hint(refused, f"See `{self.prog} --help`.")


def _no_such_command(message: str) -> str | None:
    """A mistyped command with the nearest that exists, instead of a list of all."""
    found = re.match(r"argument COMMAND: invalid choice: '(.{1,60})' \(choose from (.*)\)", message)
    if found is None:
        return None
    from difflib import get_close_matches

    near = get_close_matches(found[1], re.findall(r"[\w-]+", found[2]), n=1, cutoff=0.5)
    return f"There is no command {found[1]}" + (f"; did you mean {near[0]}?" if near else ".")


def with_hint(error: NimadError, hint: str) -> NimadError:
    """The same error with a next step that fits better here."""
    error.__dict__["hint"] = hint.replace("{", "{{").replace("}", "}}")
    return error


def build() -> Parser:
    """The parser of every command; `args.run` is the function that does it."""
    from nimad.ctl import admin, ask, exporting, importing, keep, migrate

    parser = Parser(prog="nimactl", description=DESCRIPTION, epilog=EPILOG)
    parser.set_defaults(json=False, socket=None, timeout=None)
    parser.add_argument("--version", action="version", version=f"nimactl {__version__}")
    commands = parser.add_subparsers(
        title="commands", dest="command", metavar="COMMAND", parser_class=Parser
    )
    for group in (ask, keep, importing, exporting, migrate, admin):
        group.register(commands)
    _add_shared(parser)
    return parser


def add_command(
    commands: Commands, name: str, run: Run, about: str, more: str = "", end: str = ""
) -> Parser:
    """Add a command: `about` stands in the list of commands, `more` in its own help, too."""
    description = f"{about[:1].upper()}{about[1:]}. {more}".strip()
    parser = commands.add_parser(
        name, help=about, description=_filled(description), epilog=_filled(end)
    )
    parser.set_defaults(run=run)
    _add_shared(parser)
    return parser


def _add_shared(parser: Parser) -> None:
    """The options that may stand before and after the command."""
    shared = parser.add_argument_group("options of every command")
    shared.add_argument(
        "--json",
        action="store_true",
        default=argparse.SUPPRESS,
        help="print the result as JSON (and an error as JSON on standard error)",
    )
    shared.add_argument(
        "--socket",
        metavar="PATH",
        default=argparse.SUPPRESS,
        help="where nimad listens; default $NIMAD_SOCKET, else /run/nimad/nimad.sock, else the"
        " user's own",
    )
    shared.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=argparse.SUPPRESS,
        help="how long to wait for an answer; default 60, and no limit for what takes long",
    )


def _filled(text: str) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, 78))


# --- kinds of values ------------------------------------------------------------------------------


def seconds(text: str) -> float:
    """A positive number of seconds."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return value


def memory_id(text: str) -> int:
    """The id of a memory."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) < 2**63):
        raise argparse.ArgumentTypeError(f"{text!r} is not the id of a memory (a number from 1)")
    return int(text)


def number(low: int, high: int) -> Callable[[str], int]:
    """A whole number from `low` to `high`."""

    def check(text: str) -> int:
        digits = text.isascii() and text.isdigit() and len(text) < 16
        if not digits or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low} to {high}")
        return int(text)

    return check


def fraction(text: str) -> float:
    """A number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def text_of(words: list[str]) -> str:
    """The words of a text as one, so that quotes may be left out; UsageError when it is blank."""
    text = " ".join(words)
    if not text.strip():
        raise UsageError(detail="the text is empty")
    return text
