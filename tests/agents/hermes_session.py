"""Runs nimad's provider as Hermes Agent does, through its own loader and manager; prints JSON.

python hermes_session.py SOCKET_OF_NO_DAEMON
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from agent.memory_manager import MemoryManager
from plugins.memory import discover_memory_providers, load_memory_provider

HOME = os.environ["HERMES_HOME"]


def session(name: str, **more: Any) -> MemoryManager:
    """A manager with the provider, for one session."""
    manager = MemoryManager()
    provider = load_memory_provider("nimad")
    assert provider is not None, "the provider was not loaded"
    sys.modules[type(provider).__module__].RECALL_SECONDS = 60  # on a busy machine, too
    manager.add_provider(provider)
    manager.initialize_all(name, hermes_home=HOME, platform="cli", **more)
    return manager


def tool(manager: MemoryManager, name: str, **arguments: Any) -> Any:
    return json.loads(manager.handle_tool_call(name, arguments))


def turn(manager: MemoryManager, asked: str, answered: str, thought: str = "") -> None:
    answer = {"role": "assistant", "content": answered, "reasoning": thought}
    messages = [{"role": "user", "content": asked}, answer]
    manager.sync_all(asked, answered, session_id="", messages=messages)
    assert manager.flush_pending(20)


told: dict[str, Any] = {"found": [one for one in discover_memory_providers() if one[0] == "nimad"]}

first = session("one", agent_context="primary", user_id="maya")
told["tools"] = [one["name"] for one in first.get_all_tool_schemas()]
told["prompt"] = first.build_system_prompt()
told["stored"] = tool(first, "memory_store", content="Pilar is allergic to penicillin")
told["wrong"] = tool(first, "memory_search", question="?")
for _ in range(2):
    turn(first, "Is the kettle mended?", "Yes, since Monday.", "She means the one in the kitchen.")
told["own"] = first.prefetch_all("Is the kettle mended?")
first.shutdown_all()

second = session("two", agent_context="primary")
told["recalled"] = second.prefetch_all("What must Pilar not be given?")
told["silent"] = second.prefetch_all("qzxv wklm")
told["again"] = second.prefetch_all("Is the kettle mended?")
told["ids"] = [one["id"] for one in tool(second, "memory_search", query=sys.argv[2])["memories"]]

for context in ("subagent", "cron", "flush"):
    side = session(f"side {context}", agent_context=context)
    turn(side, f"A {context} talks of zebras", "It does indeed.")
    told[context] = [one["name"] for one in side.get_all_tool_schemas()]
    told[f"{context} stores"] = tool(side, "memory_store", content="zebra")
    side.shutdown_all()

coder = session("three", agent_context="primary", agent_identity="coder")
told["coder sees"] = tool(coder, "memory_search", query="What is Pilar allergic to?")["memories"]
turn(coder, "Where are the tests?", "They are in the folder tests.")

provider = load_memory_provider("nimad")
provider.save_config({"socket": sys.argv[1], "namespace": ""}, HOME)
away = session("four", agent_context="primary")
began = time.monotonic()
told["away"] = away.prefetch_all("What must Pilar not be given?")
told["away took"] = time.monotonic() - began
told["away tool"] = tool(away, "memory_search", query="Pilar")
turn(away, "Is it raining?", "A little, since noon.")
print(json.dumps(told))
