"""The commands for agents: what the parser knows of mcp and hook, which
`start` usually runs without it."""

from __future__ import annotations

import argparse

from nimad.ctl.arguments import Commands, add_command
from nimad.ctl.client import Client
from nimad.ctl.screen import Screen

EVENTS = ("session-start", "prompt", "stop")
SHARED = ("namespace", "agent")


def register(commands: Commands) -> None:
    """Add the commands of this file."""
    mcp = add_command(
        commands,
        "mcp",
        run_mcp,
        "serve an agent over the Model Context Protocol, on standard input and output",
        "An agent starts this itself, once it is told to: docs/agents.md has the line for each.",
    )
    mcp.add_argument(
        "--namespace", metavar="NAME", help="the only namespace that this agent sees and writes"
    )
    mcp.add_argument("--agent", metavar="NAME", help="whose memories those are that it stores")
    mcp.add_argument(
        "--read-only", action="store_true", help="offer no tool that stores or forgets"
    )

    hook = add_command(
        commands,
        "hook",
        run_hook,
        "do what Claude Code's hooks are for: recall for a prompt, capture after a turn",
        "Reads the hook's JSON on standard input and prints what is put into the context, or"
        " nothing. #skip in a prompt leaves its turn alone, #remember stores the prompt. The exit"
        " code is 0 whatever happens, and no agent waits long.",
    )
    hook.add_argument("event", metavar="EVENT", choices=EVENTS, help="session-start, prompt, stop")
    hook.add_argument("--namespace", metavar="NAME", help="the namespace to recall and capture in")
    hook.add_argument(
        "--agent", metavar="NAME", help="whose memories those are; default: claude-code"
    )


def run_hook(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl hook`."""
    from nimad.ctl import hook

    return hook.run({name: getattr(args, name) for name in ("event", "socket", *SHARED)})


def run_mcp(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl mcp`."""
    from nimad.ctl import mcp_server

    given = ("socket", "timeout", "read_only", *SHARED)
    return mcp_server.run({name: getattr(args, name) for name in given})
