"""`nimactl hook`: what Claude Code runs when a session begins, for each prompt, after each turn.

It reads the JSON of the hook on standard input.  At the start and for a prompt it prints memories
that fit, or nothing; after a turn it captures the last ones, which is idempotent.  It never keeps
anybody from going on: whatever goes wrong, it says nothing, waits for an answer no longer than
PATIENCE and exits with 0.  Source: https://code.claude.com/docs/en/hooks.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from nimad.ctl.client import Client
from nimad.ctl.injection import TRUSTED, frame, without_frames
from nimad.errors import NimadError
from nimad.human import user_name

JSON = dict[str, Any]
PATIENCE = 0.8
"""Time limit of an answer of the daemon, which is asked at most twice [seconds]."""
SHORTEST = 5
"""Length below which a prompt is no question [characters]."""
MAX_QUERY = 4000
"""Length of a question; the daemon looks at no more [characters]."""
SHOWN = 5
"""Number of memories that are put into a prompt [memories]."""
MAX_KEPT = 3000
"""Length of what is kept of a prompt or an answer [characters]."""
TAIL = 4 << 20
"""Length of the end of a transcript in which the last turns are looked for [bytes]."""
TURNS = 3
"""Number of last turns that are captured: an answer may be written after the hook has read it."""
SKIP, REMEMBER = "#skip", "#remember"
"""Words in a prompt: leave this turn alone; keep this prompt whatever else happens."""
COMMANDS = ("/", "<command-", "<local-command", "<task-notification", "<bash-")
"""Beginnings of what a user has not said to the model."""


def run(options: JSON) -> int:
    """Do what the hook `options["event"]` is for.  Returns the exit code, which is 0."""
    try:
        given = json.load(sys.stdin.buffer)
        with Client(options.get("socket"), PATIENCE) as client:
            shown = EVENTS[options["event"]](Hook(given, options, client))
        if shown:
            sys.stdout.buffer.write(f"{shown}\n".encode("utf-8", "replace"))
            sys.stdout.flush()
    except (NimadError, OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass  # a memory that cannot be had must not stop an agent
    return 0


class Hook:
    """One call: what the agent said of itself, and the daemon."""

    def __init__(self, given: JSON, options: JSON, client: Client) -> None:
        self._given = given
        self._client = client
        self._namespace = options.get("namespace")
        self._agent = options.get("agent") or "claude-code"

    def start_session(self) -> str:
        """What is remembered of the directory that a session begins in."""
        place = str(self._given.get("cwd") or "")
        if self._given.get("source") == "resume" or not PurePath(place).name:
            return ""
        return self._recall(PurePath(place).name, where=place)

    def take_prompt(self) -> str:
        """What fits a prompt; with #remember it is stored as well."""
        said = self._given["prompt"].strip()
        text = _without_words(said)
        if len(text) < SHORTEST or _is_left_alone(said):
            return ""
        found = self._recall(text[:MAX_QUERY])
        if REMEMBER not in said.split():
            return found
        place = self._given.get("cwd")
        stored = self._client.call(
            "remember",
            text=text,
            who=user_name(),
            where=place,
            importance=0.9,
            namespace=self._namespace,
            agent=self._agent,
            origin="owner",
        )
        return f"{found}\nnimad has remembered this prompt as memory {stored['id']}.".strip()

    def capture_turns(self) -> str:
        """Store the last turns of the transcript."""
        turns = list(itertools.islice(_last_turns(self._given["transcript_path"]), TURNS))
        if turns and (answer := self._given.get("last_assistant_message")):
            turns[0]["output"] = answer
        wanted: list[JSON] = []
        for turn in reversed(turns):
            text = _without_words(without_frames(turn["input"]))
            if not text or _is_left_alone(turn["input"]):
                continue
            made = {
                "session": self._given["session_id"],
                "turn": turn["uuid"],
                "when": turn["timestamp"],
                "where": self._given.get("cwd"),
                "namespace": self._namespace,
                "agent": self._agent,
                "input": {"text": text[:MAX_KEPT], "who": user_name(), "origin": "owner"},
            }
            if answer := without_frames(turn["output"]):
                made["output"] = {"text": answer[:MAX_KEPT], "who": "self", "origin": "agent"}
            wanted.append(made)
        if wanted:
            self._client.call("capture", turns=wanted)
        return ""

    def _recall(self, text: str, **more: Any) -> str:
        where = {"namespace": self._namespace, "origin": TRUSTED, **more}
        found = self._client.call("query", None, text=text, k=SHOWN + 5, **where)["results"]
        session = self._given.get("session_id")
        others = [one for one in found if not session or one["session"] != session]
        return frame(others[:SHOWN])


EVENTS = {
    "session-start": Hook.start_session,
    "prompt": Hook.take_prompt,
    "stop": Hook.capture_turns,
}
"""What each hook does; it returns what is printed."""


def _is_left_alone(said: str) -> bool:
    """Whether a prompt is a command, or its author wants it neither looked up nor kept."""
    return said.startswith(COMMANDS) or SKIP in said.split()


def _without_words(said: str) -> str:
    """A prompt without #remember."""
    return re.sub(rf"(?<!\S){REMEMBER}(?!\S)\s*", "", said).strip()


def _last_turns(path: str) -> Iterator[JSON]:
    """The turns at the end of a transcript, the last one first: uuid, timestamp, input, output.

    A line is JSON with `type`, `message.content` (text or blocks), `uuid`, `timestamp`.  What tools
    said, what side agents said and what the program added itself is passed over.
    """
    # what is no ordinary file, a pipe say, might never answer
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return
        file.seek(max(file.seek(0, os.SEEK_END) - TAIL, 0))
        lines = file.read(TAIL).splitlines()
    output: list[str] = []
    for line in reversed(lines):
        if b'"tool_result"' in line or not (b'"user"' in line or b'"assistant"' in line):
            continue
        try:
            entry = json.loads(line)
            if any(entry.get(mark) for mark in ("isSidechain", "isMeta", "isCompactSummary")):
                continue
            said = entry["message"]["content"]
            if isinstance(said, list):  # blocks, of which some are text
                said = "\n".join(one.get("text", "") for one in said if one.get("type") == "text")
            text = said.strip() if isinstance(said, str) else ""
        except (ValueError, AttributeError, TypeError, KeyError, RecursionError):
            continue  # where the tail begins, what is being written, what is no message
        if entry.get("type") == "assistant" and text and not output:
            output.append(text)  # the last text: those before it stand between calls of tools
        elif entry.get("type") == "user" and text and entry.get("uuid"):
            told = {"input": text, "output": "".join(output)}
            yield {"uuid": entry["uuid"], "timestamp": entry.get("timestamp"), **told}
            output.clear()
