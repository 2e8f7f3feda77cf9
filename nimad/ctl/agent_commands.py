"""The commands for agents: what the parser knows of mcp, which `start` usually runs without it."""

from __future__ import annotations

import argparse

from nimad.ctl.arguments import Commands, add_command
from nimad.ctl.client import Client
from nimad.ctl.screen import Screen


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


def run_mcp(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl mcp`."""
    from nimad.ctl import mcp_server

    given = ("socket", "timeout", "namespace", "agent", "read_only")
    return mcp_server.run({name: getattr(args, name) for name in given})
