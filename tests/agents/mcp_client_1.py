"""Calls every tool of `nimactl mcp` through the Python SDK 1 and prints what came, as JSON.

python mcp_client_1.py CALLS COMMAND...
"""

from __future__ import annotations

import asyncio
import json
import sys

import jsonschema
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


async def main(calls: list[list[object]], command: list[str]) -> None:
    server = StdioServerParameters(command=command[0], args=command[1:])
    async with stdio_client(server) as streams, ClientSession(*streams) as session:
        about = await session.initialize()
        await session.send_ping()
        tools = (await session.list_tools()).tools
        schemas = {tool.name: tool.outputSchema for tool in tools}
        told = []
        for name, arguments in calls:
            result = await session.call_tool(name, arguments)
            if not result.isError:
                jsonschema.validate(result.structuredContent, schemas[name])
                assert json.loads(result.content[0].text) == result.structuredContent
            found = result.structuredContent if not result.isError else result.content[0].text
            told.append([bool(result.isError), found])
        known = {"version": about.protocolVersion, "instructions": about.instructions}
        print(json.dumps({"tools": [tool.name for tool in tools], "told": told, **known}))


asyncio.run(main(json.loads(sys.argv[1]), sys.argv[2:]))
