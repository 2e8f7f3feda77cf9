"""Where `nimactl` begins: the commands that agents start by the dozen are run without the parser.

`mcp` and `hook` are begun for each session of an agent, or each prompt.  Their usual command lines
are read here; --help, and whatever is not as it should be, is left to `main`, which knows them too.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

QUICK = {"mcp": "nimad.ctl.mcp_server", "hook": "nimad.ctl.hook"}
"""Commands that need neither parser nor screen → the module whose `run` takes their options."""
EVENTS = frozenset({"session-start", "prompt", "stop"})
VALUES = frozenset({"--socket", "--namespace", "--agent"})
FLAGS = frozenset({"--read-only"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given and given[0] in QUICK and (options := read_plain(given)) is not None:
        code: int = importlib.import_module(QUICK[given[0]]).run(options)
        return code
    from nimad.ctl import main as whole

    return whole.main(given)


def read_plain(words: Sequence[str]) -> dict[str, Any] | None:
    """The options of a command line of the usual form; None where it needs the parser."""
    options: dict[str, Any] = {}
    command, *others = words
    if command == "hook":
        if not others or others[0] not in EVENTS:
            return None
        options["event"] = others.pop(0)
    left = iter(others)
    for word in left:
        name, given, value = word.partition("=")
        if name in VALUES:
            value = value if given else next(left, "")
            if not value or value.startswith("-"):
                return None
            options[name[2:].replace("-", "_")] = value
        elif word in FLAGS and command == "mcp":
            options[word[2:].replace("-", "_")] = True
        else:
            return None
    return options


if __name__ == "__main__":
    sys.exit(main())
