"""Writes what nimactl(1) and the bash completion know of commands and errors, from the code.

    python packaging/make_manual.py          writes both
    python packaging/make_manual.py --check  exits 1 when either is out of date

The regions between "BEGIN name" and "END name" are written here; the rest is written by hand.  The
command line is read from nimad.ctl, the errors from nimad.errors, so neither can drift.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from pathlib import Path

from nimad.ctl.main import build
from nimad.errors import NimadError, RemoteError, all_errors

ROOT = Path(__file__).resolve().parent.parent
MANUAL = ROOT / "docs" / "man" / "nimactl.1"
COMPLETION = ROOT / "packaging" / "completion" / "nimactl.bash"
SHARED = ("--help", "--json", "--socket", "--timeout", "--version")
"""Options that every command has: they stand once in the manual."""

EXITS = {
    0: "Done. A query that found nothing relevant is done, too.",
    1: "Not there: no such memory or source; some of the memories to forget did not exist;"
    " *capture* found another text stored; *doctor* or *restore* found problems; the question of"
    " *--rollback* or of *bugreport* was answered with no.",
    64: "The command line is wrong.",
    65: "The data is bad: a file that is damaged or is no legacy store, a line that is no memory, a"
    " migration that failed.",
    66: "An input file does not exist or cannot be read.",
    69: "No daemon answers.",
    70: "A bug.",
    71: "The disk fails, or was made read-only.",
    73: "An output file, a directory or a socket cannot be made.",
    74: "The disk is full.",
    75: "Not now: try again, or go on with a paused migration.",
    76: "The two sides did not understand each other.",
    77: "Not permitted.",
    78: "The configuration is wrong, or the memories were written by a newer nimad.",
    130: "Stopped with Ctrl-C. A migration goes on in the daemon.",
    141: "The reader of the output went away, as in *nimactl export | head*.",
}
"""Every exit code and what it means; what stands between stars is set in bold."""


def commands() -> dict[str, argparse.ArgumentParser]:
    """The parser of each command, in the order of the help."""
    (found,) = (a for a in build()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(found.choices)


def own_actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """A command's arguments and options without those that every command has."""
    return [a for a in parser._actions if not set(a.option_strings) & set(SHARED)]


# --- the manual -----------------------------------------------------------------------------------


def roff(text: str) -> str:
    """Plain text for troff."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "")
    return re.sub(r"^([.'])", r"\\&\1", escaped, flags=re.MULTILINE)


def filled(text: str) -> list[str]:
    """Lines of running text, each starting where troff may read it as text."""
    return roff("\n".join(textwrap.wrap(text, 78))).splitlines()


def value_of(action: argparse.Action) -> str:
    """What an action takes, in italics: `N`, `[NAME]`, `TEXT ...`, one of some names."""
    if action.nargs == 0:
        return ""
    name = action.metavar or "|".join(map(str, action.choices or ())) or action.dest.upper()
    shown = f"\\fI{roff(str(name))}\\fP"
    return {"?": f"[{shown}]", "+": f"{shown} ..."}.get(str(action.nargs), shown)


def heading_of(action: argparse.Action) -> str:
    """How an option or an argument is written."""
    names = ", ".join(f"\\fB{roff(name)}\\fP" for name in action.option_strings)
    return " ".join(part for part in (names, value_of(action)) if part)


def usage_of(name: str, parser: argparse.ArgumentParser) -> str:
    """`nimactl query [options] TEXT ...`."""
    actions = own_actions(parser)
    parts = [f"\\fBnimactl {roff(name)}\\fP"]
    if any(action.option_strings for action in actions):
        parts.append("[\\fIoptions\\fP]")
    parts += [heading_of(action) for action in actions if not action.option_strings]
    return " ".join(parts)


def command_region() -> list[str]:
    lines: list[str] = []
    for name, parser in commands().items():
        description = " ".join((parser.description or "").split())
        lines += [f".SS {name}", usage_of(name, parser), ".PP", *filled(description)]
        for action in own_actions(parser):
            lines += [".TP", heading_of(action), *filled(action.help or "")]
    return lines


def shared_region() -> list[str]:
    lines: list[str] = []
    for action in build()._actions:
        if set(action.option_strings) & set(SHARED):
            lines += [".TP", heading_of(action), *filled(action.help or "")]
    return lines


def message_of(cls: type[NimadError]) -> str:
    """The template of an error with its fields in italics."""
    text = roff(" ".join((cls.__doc__ or "").split()))
    return re.sub(r"\{(\w+)\}", r"\\fI\1\\fP", text)


def exit_region() -> list[str]:
    lines: list[str] = []
    classes = [cls for cls in all_errors() if cls is not RemoteError]
    for code, meaning in EXITS.items():
        shown = [re.sub(r"\*(.+?)\*", r"\\fB\1\\fP", line) for line in filled(meaning)]
        lines += [".TP", f".B {code}", *shown]
        mine = [cls for cls in classes if cls.exit == code]
        if mine:
            lines.append(".RS")
            for cls in mine:
                lines += [".TP", f'.BR {cls.code} " ({roff(str(cls.wire))})"', message_of(cls)]
            lines.append(".RE")
    return lines


# --- the completion -------------------------------------------------------------------------------


def completion_region() -> list[str]:
    shared = " ".join(SHARED)
    lines = [f'  local commands="{" ".join(commands())}"', f'  local options="{shared}"']
    lines.append("  case $command in")
    for name, parser in commands().items():
        own = [option for action in own_actions(parser) for option in action.option_strings]
        if own:
            lines.append(f'    {name}) options="{" ".join(own)} {shared}" ;;')
    return [*lines, "  esac"]


# --- both -----------------------------------------------------------------------------------------

REGIONS = {
    MANUAL: {
        "commands": command_region,
        "shared options": shared_region,
        "exit codes": exit_region,
    },
    COMPLETION: {"words": completion_region},
}


def renewed(path: Path) -> str:
    """The file's text with every region written anew; ValueError when one is missing."""
    text = path.read_text(encoding="utf-8")
    for name, lines in REGIONS[path].items():
        pattern = re.compile(
            rf"(^[^\n]*BEGIN {name}[^\n]*\n).*?(^[^\n]*END {name})", re.DOTALL | re.MULTILINE
        )
        body = "".join(f"{line}\n" for line in lines())
        text, found = pattern.subn(lambda m, body=body: m[1] + body + m[2], text)  # type: ignore[misc]
        if found != 1:
            raise ValueError(f"{path.name} has no region {name}")
    return text


def main() -> int:
    stale = [path for path in REGIONS if path.read_text(encoding="utf-8") != renewed(path)]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is out of date: run python packaging/make_manual.py")
        return bool(stale)
    for path in stale:
        path.write_text(renewed(path), encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
