"""Writes config/nimad.yaml and the key list of nimad.yaml(5) from nimad.config.KEYS.

    python packaging/make_config.py          writes both
    python packaging/make_config.py --check  exits 1 when either is out of date

The table in nimad/keys.py is the one source, so the shipped file and the manual cannot drift.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

from nimad.config import KEYS, Key

ROOT = Path(__file__).resolve().parent.parent
YAML = ROOT / "config" / "nimad.yaml"
MANUAL = ROOT / "docs" / "man" / "nimad.yaml.5"

YAML_HEAD = """\
# nimad.yaml: the configuration of nimad(8). See nimad.yaml(5).
#
# Every key stands here with its default; take the # away to change one. An unknown key is refused
# by name. `systemctl reload nimad` applies the keys marked "live"; the others need a restart.
"""

MANUAL_HEAD = """\
.\\" Written by packaging/make_config.py from nimad/keys.py: edit there.
.TH NIMAD.YAML 5 "2026-11-21" "nimad 0.1.0" "File formats"
.SH NAME
nimad.yaml \\- configuration of the memory daemon nimad
.SH SYNOPSIS
.I /etc/nimad/nimad.yaml
.SH DESCRIPTION
The file holds keys and values in YAML. A key with a dot is written as a section:
.PP
.in +4n
.EX
graph:
  engine: ladybug
.EE
.in
.PP
Every key has a default, so an empty file is valid. An unknown key, or a value that its key does
not allow, is refused by name and the daemon does not start (exit 78). Keys marked
.I live
are applied by
.BR "systemctl reload nimad" ;
the others by a restart.
.SH KEYS
"""

MANUAL_TAIL = """\
.SH FILES
.TP
.I /etc/nimad/nimad.yaml
read when
.BR nimad (8)
is started without
.B \\-\\-config
.SH SEE ALSO
.BR nimad (8),
.BR nimactl (1)
"""


def shown(value: Any) -> str:
    """A default as it stands in YAML."""
    return str(value) if isinstance(value, dict) else {"": '""', (): "[]"}.get(value, str(value))


def about(key: Key) -> str:
    unit = f" [{key.unit}]" if key.unit else ""
    return f"{key.about}{unit}{' (live)' if key.live else ''}"


def yaml_text() -> str:
    lines = [YAML_HEAD]
    section = ""
    for name, key in KEYS.items():
        head, _, last = name.rpartition(".")
        if head and head != section:
            lines.append(f"{head}:")
        section = head
        indent = "  " if head else ""
        lines += textwrap.wrap(
            about(key), 96, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "
        )
        lines += [f"{indent}#{last or name}: {shown(key.default)}", ""]
    return "\n".join(lines).rstrip() + "\n"


def manual_text() -> str:
    lines = [MANUAL_HEAD.rstrip()]
    for name, key in KEYS.items():
        text = about(key).replace("\\", "\\e").replace("-", "\\-")
        default = shown(key.default).replace("-", "\\-")
        lines += [".TP", f'.BR {name} " (default {default})"'.replace('""', "\\(dq\\(dq")]
        lines += textwrap.wrap(text, 90)
    return "\n".join(lines) + "\n" + MANUAL_TAIL


def main() -> int:
    wanted = {YAML: yaml_text(), MANUAL: manual_text()}
    stale = [
        path
        for path, text in wanted.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is out of date: run python packaging/make_config.py")
        return bool(stale)
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path], encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
