"""nimactl: reads the command line, runs one command, and ends with its exit code."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from nimad import __version__
from nimad.closing import let_go
from nimad.ctl.arguments import Parser, add_shared, with_hint
from nimad.ctl.client import Client
from nimad.ctl.screen import Screen
from nimad.errors import Interrupted, NimadError, UsageError

CLOSED_PIPE = 141
"""Exit code when the reader of the output went away: what a shell shows for SIGPIPE."""
COMMANDS = {
    "query": "query_commands",
    "get": "query_commands",
    "similar": "query_commands",
    "related": "query_commands",
    "complete": "hypervector_commands",
    "phi": "hypervector_commands",
    "narrative": "reflection_commands",
    "goal": "reflection_commands",
    "person": "reflection_commands",
    "connect": "reflection_commands",
    "step": "reflection_commands",
    "dream": "reflection_commands",
    "graph": "graph_command",
    "remember": "remember_commands",
    "capture": "capture_command",
    "forget": "remember_commands",
    "import": "import_command",
    "export": "export_command",
    "backup": "backup_commands",
    "restore": "backup_commands",
    "migrate": "migrate_command",
    "status": "service_commands",
    "rebuild": "service_commands",
    "doctor": "service_commands",
    "metrics": "metrics_command",
    "bugreport": "bugreport_command",
    "bench": "bench_command",
    "audit": "audit_command",
    "redate": "audit_command",
    "web": "web_command",
    "fleet": "fleet_commands",
    "mcp": "agent_commands",
    "hook": "agent_commands",
}
"""Each command and its module here, in the order of --help."""

DESCRIPTION = "Ask and look after the memory daemon nimad."
EPILOG = """\
`nimactl COMMAND --help` tells about one; nimactl(1) has examples, exit codes and files.
"""


def build(argv: Sequence[str] | None = None) -> Parser:
    """The parser of a command line; `args.run` is the function that does the command.  With `argv`
    only the commands whose word is in it are there, unless it asks for help."""
    parser = Parser(prog="nimactl", description=DESCRIPTION, epilog=EPILOG, names=COMMANDS)
    parser.set_defaults(json=False, socket=None, timeout=None)
    parser.add_argument("--version", action="version", version=f"nimactl {__version__}")
    commands = parser.add_subparsers(
        title="commands", dest="command", metavar="COMMAND", parser_class=Parser
    )
    words = set(argv or ()) & COMMANDS.keys()
    if not words or {"-h", "--help"} & set(argv or ()):
        words = set(COMMANDS)
    for module in dict.fromkeys(COMMANDS[name] for name in COMMANDS if name in words):
        importlib.import_module(f"nimad.ctl.{module}").register(commands)
    add_shared(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (the table is in nimactl(1))."""
    given = with_zone(sys.argv[1:] if argv is None else argv)
    screen = Screen("--json" in given)
    command = ""
    try:
        try:
            args = build(given).parse_args(given)
        except SystemExit as done:  # --help and --version
            screen.flush()
            return int(done.code or 0)
        screen.json = args.json
        command = args.command
        if command is None:
            raise UsageError(detail="nimactl needs a command.")
        if getattr(args, "time_zone", None) is not None:
            from nimad.times import use_zone  # most commands need no dates

            use_zone(args.time_zone)
        with Client(args.socket, args.timeout) as client:
            code: int = args.run(args, client, screen)
        screen.flush()
        return code
    except (Exception, KeyboardInterrupt) as error:
        return tell(error, screen, command)


def with_zone(argv: Sequence[str]) -> list[str]:
    """The arguments, an offset west of Greenwich in one with its option: `-05:00` looks like an
    option to argparse."""
    given = list(argv)
    for at in range(len(given) - 2, -1, -1):
        if given[at] == "--time-zone" and given[at + 1][:1] == "-" and given[at + 1][1:2].isdigit():
            given[at : at + 2] = [f"--time-zone={given[at + 1]}"]
    return given


def tell(error: BaseException, screen: Screen, command: str) -> int:
    """Say how a command failed; the exit code."""
    if isinstance(error, BrokenPipeError):  # `| head`
        let_go(sys.stdout)
        return CLOSED_PIPE
    if isinstance(error, KeyboardInterrupt):
        return screen.fail(Interrupted())
    if isinstance(error, NimadError):
        if command and error.next_step == UsageError.hint:
            with_hint(error, f"See `nimactl {command} --help`.")
        code = screen.fail(error)
        let_go(sys.stdout)
        return code
    if os.environ.get("NIMAD_DEBUG"):
        raise error
    bug = NimadError(detail=f"{type(error).__name__} in nimactl: {error}")
    hint = "please report it with what NIMAD_DEBUG=1 in the environment shows."
    return screen.fail(with_hint(bug, f"This is a bug; {hint}"))


if __name__ == "__main__":
    sys.exit(main())
