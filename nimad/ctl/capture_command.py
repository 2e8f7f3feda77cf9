"""`nimactl capture`: turns as JSON go in; each is stored whole, completed, or found unchanged."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from nimad.ctl.arguments import Commands, add_command, add_time_zone, open_input, with_hint
from nimad.ctl.client import Client
from nimad.ctl.screen import Screen, json_bytes
from nimad.ctl.terminal_text import one_line
from nimad.errors import BadRecord, InputUnusable, NimadError
from nimad.limits import MAX_NODES, MAX_PAYLOAD, MAX_TURNS, count_nodes, refuse_twice
from nimad.times import name_to_hand_over

CONFLICT = 1
"""Exit code when a turn is stored with another text than was captured."""
MAX_INPUT = 64 << 20
"""Length of the longest input [bytes]."""


def register(commands: Commands) -> None:
    """Add the command of this file."""
    parser = add_command(
        commands,
        "capture",
        run_capture,
        "store turns of a conversation, each whole and never twice",
        "Reads JSON: one turn, a list of them, or one a line. A turn has session, turn (its name"
        " there), and input, contemplation and output, or some of them. The same again changes"
        " nothing; what came later completes the turn. A text that differs from what is stored is"
        " told, not stored, and the exit code is 1.",
    )
    parser.add_argument(
        "file", metavar="FILE", nargs="?", default="-", help="the file; - (default) reads stdin"
    )
    parser.add_argument(
        "--namespace", metavar="NAME", help="for turns that name none; default: default"
    )
    parser.add_argument("--agent", metavar="NAME", help="for turns that name no agent")
    add_time_zone(parser)


def run_capture(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl capture`."""
    name = "stdin" if args.file == "-" else args.file
    given = {"namespace": args.namespace, "agent": args.agent}
    shared = {key: value for key, value in given.items() if value is not None}
    turns = [{**shared, **turn} for turn in _turns(_read(args.file), name)]
    stored: list[dict[str, Any]] = []
    for batch in _batches(turns):
        zone = name_to_hand_over()
        stored += client.call("capture", turns=batch, time_zone=zone)["turns"]
    states = Counter(turn["state"] for turn in stored)
    lines = [_told(turn) for turn in stored]
    screen.answer({"turns": stored}, *(lines or ["there is no turn in it"]))
    return CONFLICT if states["conflict"] else 0


def _told(turn: dict[str, Any]) -> str:
    """`turn 7: stored as 4, 5, 6`."""
    ids = ", ".join(str(number) for number in turn["ids"].values())
    how = f"{turn['state']}: " if turn["state"] == "unchanged" else f"{turn['state']} as "
    if turn["state"] == "conflict":
        how = f"another {' and '.join(turn['conflicts'])} is stored already: "
    gone = turn.get("forgotten")
    lost = f" ({' and '.join(gone)} stays forgotten)" if gone else ""
    return one_line(f"turn {turn['turn']}: {how}{ids}{lost}")


def _read(path: str) -> str:
    """The whole input as text; InputUnusable says why it cannot be had."""
    name = "standard input" if path == "-" else one_line(path)
    try:
        with open_input(path) as file:
            data = file.read(MAX_INPUT + 1)
        if len(data) > MAX_INPUT:
            raise InputUnusable(path=name, detail=f"it is longer than {MAX_INPUT >> 20} MiB")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputUnusable(path=name, detail=f"byte {error.start} is not UTF-8") from None
    except OSError as error:
        raise InputUnusable(path=name, detail=error.strerror) from error


def _turns(text: str, name: str) -> list[dict[str, Any]]:
    """The turns of an input: JSON as a whole, or a turn on each line."""
    try:
        whole = json.loads(text, object_pairs_hook=refuse_twice) if text.strip() else []
        found = whole.get("turns", [whole]) if isinstance(whole, dict) else whole
        where = [f"{name}, turn {number}" for number, _ in enumerate(found, 1)]
    except (ValueError, RecursionError, TypeError):
        found, where = [], []
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                where.append(f"{name}:{number}")
                try:
                    found.append(json.loads(line, object_pairs_hook=refuse_twice))
                except (ValueError, RecursionError) as error:
                    raise _refused(where[-1], f"it is not JSON ({error})") from None
    for turn, place in zip(found, where, strict=True):
        if not isinstance(turn, dict):
            raise _refused(place, "a turn must be a JSON object")
    return list(found)


def _refused(where: str, detail: str) -> NimadError:
    hint = "Nothing was stored. Mend it and run it again: what is there already stays as it is."
    return with_hint(BadRecord(where=one_line(where), detail=detail), hint)


def _batches(turns: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The turns in requests that fit in a frame; one that is too large comes alone."""
    batch: list[dict[str, Any]] = []
    room, values = MAX_PAYLOAD, MAX_NODES
    for turn in turns:
        written = json_bytes(turn)
        size, nodes = len(written) + 1, count_nodes(written) + 1
        if batch and (len(batch) == MAX_TURNS or size > room or nodes > values):
            yield batch
            batch, room, values = [], MAX_PAYLOAD, MAX_NODES
        batch.append(turn)
        room, values = room - size, values - nodes
    if batch:
        yield batch
