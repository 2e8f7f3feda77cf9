"""The command line: what every command shares, and errors that say what to do."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, TypeAlias

from nimad.ctl.client import Client
from nimad.ctl.screen import Screen
from nimad.errors import InputUnusable, NimadError, UsageError

if TYPE_CHECKING:
    from nimad import when

Run = Callable[[argparse.Namespace, Client, Screen], int]
"""What does a command; returns its exit code."""
Commands: TypeAlias = "argparse._SubParsersAction[Parser]"

PATHS = frozenset({"PATH", "FILE", "DIR", "FILE|DIR", "DIRECTORY"})
"""How arguments are shown that are paths."""
DATES = (
    "DATE is a day, a month, a year or a moment (2023-05-08, 8 May 2023, May 2023, 2023,"
    " 2023-05-08T14:30, with +02:00 or Z if it is not in this machine's time zone), an age (30min,"
    " 12h, 7d, 3w, 6mo, 2y, 2 hours ago), now, today, yesterday, last week, Friday, or a"
    " number since 1970. It stands for its first moment; after --as-of for its last."
)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises errors instead of printing them, and takes no abbreviations.
    `names` are the commands it may be given: the nearest is told for one that does not exist."""

    def __init__(self, *, names: Collection[str] = (), **given: Any) -> None:
        super().__init__(
            allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **given
        )
        self._names = names

    def format_help(self) -> str:
        """The help; what stands around the options is wrapped only now, when it is shown."""
        import textwrap

        self.description, self.epilog = (
            "\n".join(textwrap.wrap(text or "", 78)) for text in (self.description, self.epilog)
        )
        return super().format_help()

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        """The value of a word; of an empty one, as a variable that is not set leaves it, a path
        would be the current directory."""
        if not arg_string and action.metavar in PATHS and action.dest != "socket":
            raise argparse.ArgumentError(action, "the path is empty")
        return super()._get_value(action, arg_string)

    def error(self, message: str) -> NoReturn:
        """Raise UsageError, which main turns into one line and exit code 64."""
        detail = message[:1].upper() + message[1:]
        if found := re.match(r"argument COMMAND: invalid choice: '(.{1,60})' \(choose", message):
            from difflib import get_close_matches

            near = get_close_matches(found[1], self._names, n=1, cutoff=0.6)
            detail = f"There is no command {found[1]}"
            detail += f"; did you mean {near[0]}?" if near else "."
        raise with_hint(UsageError(detail=detail), f"See `{self.prog} --help`.")


def with_hint(error: NimadError, hint: str) -> NimadError:
    """The same error with a next step that fits better here."""
    error.__dict__["hint"] = hint.replace("{", "{{").replace("}", "}}")
    return error


def add_command(
    commands: Commands, name: str, run: Run, about: str, more: str = "", end: str = ""
) -> Parser:
    """Add a command: `about` stands in the list of commands, `more` in its own help, too."""
    description = f"{about[:1].upper()}{about[1:]}. {more}".strip()
    parser: Parser = commands.add_parser(name, help=about, description=description, epilog=end)
    parser.set_defaults(run=run)
    add_shared(parser)
    return parser


def add_shared(parser: Parser) -> None:
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


def keep_to_actions(args: argparse.Namespace, options: Mapping[str, str | None]) -> None:
    """Of a command with actions (`args.do`): UsageError where an option is given that goes with
    another action.  `options` names the action of each; None is the command without one."""
    for option, action in options.items():
        if action != args.do and getattr(args, option) not in (None, False):
            name = f"-{option}" if len(option) == 1 else f"--{option.replace('_', '-')}"
            whole = " ".join(filter(None, (args.command, action)))
            raise UsageError(detail=f"{name} means something only with `nimactl {whole}`.")


def add_time_zone(parser: Parser) -> None:
    """The option that names the zone of this command's dates; `main` puts it in force."""
    parser.add_argument(
        "--time-zone",
        metavar="NAME",
        type=time_zone,
        help="the zone of times that name none, such as Europe/Berlin or +02:00; default: this"
        " machine's ($TZ, /etc/localtime)",
    )


def add_filters(parser: Parser) -> None:
    """The options that bound a list of memories by whose they are, and where they come from."""
    from nimad.model import ORIGINS, UNKNOWN

    parser.add_argument("--namespace", metavar="NAME", help="only this namespace")
    parser.add_argument("--agent", metavar="NAME", help="only what belongs to this agent")
    parser.add_argument(
        "--origin",
        metavar="ORIGIN",
        action="append",
        choices=(*ORIGINS, UNKNOWN, "any"),
        help=f"only of this origin: {', '.join(ORIGINS)}, unknown (nobody said) or any; may be"
        " repeated (one of them)",
    )


def scope(args: argparse.Namespace) -> dict[str, Any]:
    """The parameters that the options of `add_filters` give."""
    return {name: getattr(args, name) for name in ("namespace", "agent", "origin")}


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


def time_zone(text: str) -> str:
    """The name of a time zone."""
    from nimad.times import find_zone

    try:
        find_zone(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} {error}") from None
    return text


def memory_id(text: str, what: str = "the id of a memory") -> int:
    """The id of a memory, or of `what`."""
    if not (text.isascii() and text.isdigit() and len(text) < 20 and 1 <= int(text) < 2**63):
        raise argparse.ArgumentTypeError(f"{text[:60]!r} is not {what} (a number from 1)")
    return int(text)


def suggestion_number(text: str) -> int:
    """The number of a suggestion."""
    return memory_id(text, "the number of a suggestion")


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


def open_input(path: str) -> BinaryIO:
    """The file to read, or standard input for "-"; InputUnusable says why not."""
    import sys

    name = "standard input" if path == "-" else shown_path(path)
    if path == "-" and sys.stdin is None:
        raise InputUnusable(path=name, detail="it is closed")
    try:
        return sys.stdin.buffer if path == "-" else open(path, "rb")  # noqa: PTH123
    except (OSError, ValueError) as error:
        detail = getattr(error, "strerror", None) or str(error)
        raise InputUnusable(path=name, detail=detail) from error


def shown_path(path: str) -> str:
    """A path as text that can be sent and shown."""
    return os.fsencode(path).decode("utf-8", "replace")[-300:]


def standard_input() -> str:
    """What stands on standard input, up to 4 MiB; InputUnusable when it is no text."""
    try:
        return open_input("-").read(1 << 22).decode().removesuffix("\n")
    except UnicodeDecodeError as error:
        detail = f"byte {error.start} is not UTF-8"
        raise InputUnusable(path="standard input", detail=detail) from None
    except OSError as error:
        raise InputUnusable(path="standard input", detail=error.strerror) from error


def first_moment(text: str | None, option: str, as_of: str | None = None) -> int | str | None:
    """The first moment that a date or an age names, as nimad reads it; None of None.

    Ages count from the end of what `--as-of` names; default: the clock.
    Raises UsageError, naming the option, for what is no date.
    """
    from nimad.times import portable

    return None if text is None else portable(_span(text, option, as_of).first)


def last_moment(text: str | None, option: str) -> int | str | None:
    """The same, but the last moment: "May 2023" is its end."""
    from nimad.times import portable

    return None if text is None else portable(_span(text, option, None).last)


def _span(text: str, option: str, as_of: str | None) -> when.Span:
    from nimad import when
    from nimad.model import now_ms

    try:
        now = now_ms() if as_of is None else _span(as_of, "--as-of", None).last
        return when.read(text, now)
    except ValueError as error:
        raise UsageError(detail=f"{option} {error}, not {text.strip()[:60]!r}") from None
