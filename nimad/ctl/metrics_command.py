"""The command metrics: figures of the daemon as text for Prometheus."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nimad.ctl.arguments import Commands, add_command
from nimad.ctl.client import Client
from nimad.ctl.screen import Screen
from nimad.ctl.terminal_text import safe
from nimad.errors import DaemonAbsent, OutputUnusable

DOWN = {
    "name": "nimad_up",
    "type": "gauge",
    "help": "Whether nimad answers.",
    "samples": [["", {}, 0]],
}
"""What is told when it does not."""
ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
"""How characters stand in the value of a label."""


def register(commands: Commands) -> None:
    """Add the command of this file."""
    metrics = add_command(
        commands,
        "metrics",
        run_metrics,
        "print figures of the daemon for Prometheus",
        "In its text format; nothing in them comes from a memory. nimad-metrics.timer, which is off"
        " by default, writes them where prometheus-node-exporter looks for files. When no daemon"
        " answers, nimad_up is 0, and the exit code 69.",
    )
    metrics.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        help="write them to this file, which is replaced as a whole and readable by everybody",
    )


def run_metrics(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl metrics`."""
    code = 0
    try:
        result = client.call("metrics")
    except DaemonAbsent as error:
        code, result = error.exit, {"families": [DOWN]}
        screen.note(error.sentences)
    text = exposition(result["families"])
    if args.output is not None:
        _replace(args.output, text)
    elif screen.json:
        screen.result(result)
    else:
        screen.raw(safe(text).encode())
    return code


def exposition(families: Iterable[dict[str, Any]]) -> str:
    """Families in the text format 0.0.4 of Prometheus
    (https://prometheus.io/docs/instrumenting/exposition_formats/)."""
    lines = []
    for family in families:
        name = family["name"]
        lines += [f"# HELP {name} {family['help']}", f"# TYPE {name} {family['type']}"]
        for end, labels, value in family["samples"]:
            pairs = ",".join(
                f'{label}="{text.translate(ESCAPES)}"' for label, text in labels.items()
            )
            number = int(value) if float(value).is_integer() else value
            lines.append(f"{name}{end}{f'{{{pairs}}}' if pairs else ''} {number!r}")
    return "\n".join([*lines, ""])


def _replace(path: Path, text: str) -> None:
    """Put a text in the place of a file, at once.  Raises OutputUnusable.

    It is not made durable: after a power cut the next one will do, and a card wears by each flush.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with contextlib.suppress(FileNotFoundError):  # what a crash left
            temporary.unlink()
        with os.fdopen(os.open(temporary, flags, 0o644), "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text)
        temporary.rename(path)
    except OSError as error:
        raise OutputUnusable(path=path, detail=error.strerror) from error
