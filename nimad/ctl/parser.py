"""The parser of the whole command line; imports the module of a command only when it is named."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from nimad import __version__
from nimad.ctl.arguments import Parser, add_shared

COMMANDS = {
    "query": "query_commands",
    "get": "query_commands",
    "similar": "query_commands",
    "related": "query_commands",
    "graph": "graph_command",
    "remember": "remember_commands",
    "forget": "remember_commands",
    "import": "import_command",
    "export": "export_command",
    "migrate": "migrate_command",
    "status": "service_commands",
    "rebuild": "service_commands",
    "doctor": "service_commands",
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
