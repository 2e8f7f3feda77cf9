"""nimad as the memory of Hermes Agent: recall before a turn, capture after it, tools for the model.

    ln -s /usr/share/nimad/hermes ~/.hermes/plugins/nimad

Hermes runs this in its own Python.  What is imported of nimad takes the standard library only;
where nimad is not installed there, it is the copy of the Debian package.  Source: `MemoryProvider`
in agent/memory_provider.py of hermes-agent 0.19.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from agent.memory_provider import MemoryProvider

if importlib.util.find_spec("nimad") is None:
    sys.path.append("/usr/lib/nimad")

from nimad.ctl.agent_tools import INSTRUCTIONS, ToolRefused, Tools, told_by
from nimad.ctl.client import Client
from nimad.ctl.injection import TRUSTED, frame, without_frames
from nimad.errors import NimadError, RemoteError

log = logging.getLogger(__name__)

RECALL_SECONDS = 0.3
"""Time limit of recall, which a turn waits for [seconds]."""
CALL_SECONDS = 15.0
"""Time limit of a tool, and of a capture, which no turn waits for [seconds]."""
SHORTEST = 5
"""Length below which a message is no question [characters]."""
MAX_QUERY = 4000
"""Length of a question; the daemon looks at no more [characters]."""
MAX_KEPT = 3000
"""Length of what is kept of a message, a thought or an answer [characters]."""
SHOWN = 5
"""Number of memories before a turn [memories]."""
MAX_PENDING = 100
"""Number of turns that are kept while nimad is away [turns]."""
SETTINGS = "nimad.json"
"""The file below HERMES_HOME with what `hermes memory setup` asked for."""


class NimadProvider(MemoryProvider):  # type: ignore[misc]  # Hermes is not here for the type checker
    """One agent's memory.  The profile `default` shares the namespace that nimactl uses, any other
    has `agent.PROFILE`."""

    def __init__(self) -> None:
        self._session = ""
        self._agent = "hermes"
        self._user = "user"
        self._may_write = False
        self._socket: str | None = None
        self._namespace = "default"
        self._tools = Tools()  # Hermes notes their names before it tells of the session
        self._pending: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """How Hermes calls it: `memory.provider: nimad`."""
        return "nimad"

    def is_available(self) -> bool:
        """Always: a daemon that is away now may be there for the next turn."""
        return True

    def initialize(self, session_id: str, **given: Any) -> None:
        """Take up what Hermes tells of a session.  Side agents, schedules, flushes only read."""
        settings = self._read_settings(given.get("hermes_home"))
        profile = given.get("agent_identity") or "default"
        space = "default" if profile == "default" else f"agent.{profile}"
        self._session = session_id
        self._agent = "hermes" if profile == "default" else profile
        self._user = given.get("user_id") or os.environ.get("USER") or "user"
        self._socket = settings.get("socket")
        self._namespace = settings.get("namespace") or space
        side = given.get("platform") == "cron"
        self._may_write = given.get("agent_context", "primary") == "primary" and not side
        self._tools = Tools(
            namespace=self._namespace, agent=self._agent, read_only=not self._may_write
        )

    def system_prompt_block(self) -> str:
        """What the model is told of its memory."""
        return f"# Memory\n{INSTRUCTIONS}"

    def prefetch(self, query: str, *, session_id: str = "") -> str:
        """The memories that fit a message; "" where none does, or nimad does not answer at once."""
        text = without_frames(query)[:MAX_QUERY]
        if len(text) < SHORTEST:
            return ""
        try:
            asked = {"text": text, "namespace": self._namespace, "origin": TRUSTED}
            found = self._ask("query", RECALL_SECONDS, {**asked, "k": 2 * SHOWN})["results"]
        except NimadError as error:
            log.warning("nimad: no memories for this turn: %s", error)
            return ""
        session = session_id or self._session
        return frame([one for one in found if one["session"] != session][:SHOWN])

    def sync_turn(
        self,
        user_content: str,
        assistant_content: str,
        *,
        session_id: str = "",
        messages: list[dict[str, Any]] | None = None,
    ) -> None:
        """Store a turn, and those that could not be stored before.  Hermes calls this beside the
        conversation; the same turn again adds nothing."""
        asked, answered = without_frames(user_content), without_frames(assistant_content)
        if not self._may_write or not asked or not answered:
            return
        session = session_id or self._session
        named = hashlib.sha256(f"{session}\0{asked}\0{answered}".encode("utf-8", "replace"))
        turn = {
            "session": session,
            "turn": f"turn_{named.hexdigest()[:16]}",
            "when": round(time.time() * 1000),
            "agent": self._agent,
            "namespace": self._namespace,
            "input": {"text": asked[:MAX_KEPT], "who": self._user, "origin": "owner"},
            "output": {"text": answered[:MAX_KEPT], "who": "self", "origin": "agent"},
        }
        if thought := _last_thought(messages or []):
            turn["contemplation"] = {"text": thought[:MAX_KEPT], "who": "self", "origin": "agent"}
        with self._lock:
            self._pending = [*self._pending, turn][-MAX_PENDING:]
            self._send_pending()

    def get_tool_schemas(self) -> list[dict[str, Any]]:
        """The tools in the form of OpenAI's functions; those that write only where it may."""
        return [
            {
                "name": tool["name"],
                "description": tool["description"],
                "parameters": tool["inputSchema"],
            }
            for tool in self._tools.offered
        ]

    def handle_tool_call(self, tool_name: str, args: dict[str, Any], **_: Any) -> str:
        """The result of a tool as JSON, or {"error": what the model can do}."""
        if tool_name not in self._tools:
            return json.dumps({"error": f"there is no tool {tool_name} here"})
        try:
            found = self._tools.call(
                tool_name, args, lambda verb, **more: self._ask(verb, CALL_SECONDS, more)
            )
        except ToolRefused as refused:
            found = {"error": str(refused)}
        except NimadError as error:
            found = {"error": told_by(error)}
        return json.dumps(found, ensure_ascii=False)

    def on_session_switch(self, new_session_id: str, **_: Any) -> None:
        """What is captured from now on belongs to another session."""
        self._session = new_session_id

    def shutdown(self) -> None:
        """Try once more to store what could not be stored."""
        with self._lock:
            self._send_pending()

    def get_config_schema(self) -> list[dict[str, Any]]:
        """What `hermes memory setup` asks for; both may stay empty."""
        return [
            {"key": "namespace", "description": "Namespace (empty: by profile)", "default": ""},
            {"key": "socket", "description": "nimad's socket (empty: the usual)", "default": ""},
        ]

    def save_config(self, values: dict[str, Any], hermes_home: str) -> None:
        """Keep what was asked for."""
        kept = {name: values[name] for name in ("namespace", "socket") if values.get(name)}
        (Path(hermes_home) / SETTINGS).write_text(json.dumps(kept), encoding="utf-8")

    def _read_settings(self, hermes_home: str | None) -> dict[str, Any]:
        try:
            found = json.loads((Path(hermes_home or "") / SETTINGS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _send_pending(self) -> None:
        if not self._pending:
            return
        try:
            self._ask("capture", CALL_SECONDS, {"turns": self._pending})
        except RemoteError as error:  # it would be refused again
            log.warning("nimad: %d turns were refused: %s", len(self._pending), error)
            if error.code == "busy":
                return
        except NimadError as error:
            log.warning("nimad: this turn is captured with the next one: %s", error)
            return
        self._pending = []

    def _ask(self, verb: str, seconds: float, params: dict[str, Any]) -> dict[str, Any]:
        with Client(self._socket, seconds) as client:  # a connection each: threads call at once
            return client.call(verb, **params)


def _last_thought(messages: list[dict[str, Any]]) -> str:
    """The reasoning of the last answer, where the model tells it."""
    for message in reversed(messages):
        if message.get("role") == "user":
            break
        thought = message.get("reasoning") or message.get("reasoning_content")
        if message.get("role") == "assistant" and isinstance(thought, str) and thought.strip():
            return thought.strip()
    return ""


def register(ctx: Any) -> None:
    """Called by Hermes when it loads the plugin."""
    ctx.register_memory_provider(NimadProvider())
