"""Where `nimactl` begins: the commands that agents start by the dozen are run without the parser.

Their usual command lines are read here; --help, and whatever is not as it should be, is left to
`main`, which knows them too.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

SHARED = {"--socket", "--json", "--timeout"}
"""Options that may stand before the command."""
QUICK = {
    "mcp": ("mcp_server", {"--socket", "--namespace", "--agent", "--read-only"}),
    "hook": ("hook", {"--socket", "--namespace", "--agent"}),
    "query": (
        "quick",
        SHARED | {"--namespace", "--agent", "--who", "--where", "-k"},
    ),
    "remember": ("quick", SHARED | {"--namespace", "--agent", "--who", "--where"}),
    "get": ("quick", SHARED),
}
"""Commands that need no parser → the module whose `run` takes their options, and which it takes."""
EVENTS = frozenset({"session-start", "prompt", "stop"})
FLAGS = frozenset({"--read-only", "--json"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    if (options := read_plain(given)) is not None:
        module = __import__(f"nimad.ctl.{QUICK[options['command']][0]}", fromlist=["run"])
        code: int | None = module.run(options)
        if code is not None:
            return code
    from nimad.ctl import main as whole

    return whole.main(given)


def run() -> None:
    """The process `nimactl`.  Where little was loaded it ends at once: to take the interpreter down
    in order would take half as long as the whole command."""
    code = main()
    if "nimad.ctl.quick" not in sys.modules or "argparse" in sys.modules:
        sys.exit(code)
    import os

    from nimad.closing import let_go

    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            let_go(stream)
    os._exit(code)


def read_plain(given: Sequence[str]) -> dict[str, Any] | None:
    """The options of a command line of the usual form; None where it needs the parser."""
    at = 0
    while at < len(given) and given[at].partition("=")[0] in SHARED:
        at += 1 if "=" in given[at] or given[at] in FLAGS else 2
    if at >= len(given) or given[at] not in QUICK:
        return None
    command, others = given[at], list(given[at + 1 :])
    module, taken = QUICK[command]
    options: dict[str, Any] = {"command": command, "words": []}
    if command == "hook":
        if not others or others[0] not in EVENTS:
            return None
        options["event"] = others.pop(0)
    left, last = iter([*given[:at], *others]), ""
    for word in left:
        name, given_here, value = word.partition("=")
        if not word.startswith("-") and module == "quick":
            if options["words"] and last.startswith("-"):
                return None  # words in two places
            options["words"].append(word)
        elif word in FLAGS & taken:
            options[word[2:].replace("-", "_")] = True
        elif name in taken - FLAGS and not (given_here and name == "-k"):
            value = value if given_here else next(left, "")
            if not value or value.startswith("-"):
                return None
            options[name.lstrip("-")] = value
        else:
            return None
        last = word
    return options


if __name__ == "__main__":
    run()
