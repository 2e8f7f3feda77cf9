"""Calls every tool of `nimactl mcp` through the Python SDK 2 and prints what came, as JSON.

python mcp_client_2.py MODE CALLS COMMAND...
"""

from __future__ import annotations

import asyncio
import json
import sys

import jsonschema
from mcp import Client
from mcp.client.stdio import StdioServerParameters


async def main(mode: str, calls: list[list[object]], command: list[str]) -> None:
    server = StdioServerParameters(command=command[0], args=command[1:])
    async with Client(server, mode=mode) as client:
        tools = (await client.list_tools()).tools
        schemas = {tool.name: tool.output_schema for tool in tools}
        told = []
        for name, arguments in calls:
            result = await client.call_tool(name, arguments)
            if not result.is_error:
                jsonschema.validate(result.structured_content, schemas[name])
                assert json.loads(result.content[0].text) == result.structured_content
            found = result.structured_content if not result.is_error else result.content[0].text
            told.append([bool(result.is_error), found])
        about = {"version": client.protocol_version, "instructions": client.instructions}
        print(json.dumps({"tools": [tool.name for tool in tools], "told": told, **about}))


asyncio.run(main(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3:]))
