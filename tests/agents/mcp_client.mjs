// Calls every tool of `nimactl mcp` through a TypeScript SDK and prints what came, as JSON.
//     node mcp_client.mjs FOLDER PACKAGE CALLS COMMAND...
// PACKAGE is @modelcontextprotocol/sdk (1.x) or @modelcontextprotocol/client (2.x), of FOLDER.
import { createRequire } from "node:module";

const [folder, name, calls, command, ...args] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const old = name.endsWith("/sdk");
const { Client } = require(old ? `${name}/client/index.js` : name);
const { StdioClientTransport } = require(old ? `${name}/client/stdio.js` : `${name}/stdio`);

const client = new Client({ name: "nimad-test", version: "1" });
await client.connect(new StdioClientTransport({ command, args }));
const { tools } = await client.listTools(); // it checks results against outputSchema from here on
const told = [];
for (const [tool, given] of JSON.parse(calls)) {
  const result = await client.callTool({ name: tool, arguments: given });
  const [{ text }] = result.content;
  if (!result.isError && text !== JSON.stringify(result.structuredContent)) throw new Error(text);
  told.push([Boolean(result.isError), result.isError ? text : result.structuredContent]);
}
const instructions = client.getInstructions();
console.log(JSON.stringify({ tools: tools.map((tool) => tool.name), told, instructions }));
await client.close();
