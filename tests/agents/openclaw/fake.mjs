// An OpenClaw that only keeps what a plugin registers and calls it, and the daemon for checking.

import { Daemon } from "../../../packaging/openclaw/client.js";

export const daemon = new Daemon(process.env.NIMAD_SOCKET);

export class FakeOpenClaw {
  tools = [];
  hooks = {};
  said = [];

  constructor(plugin, { settings = {}, config, socket = process.env.NIMAD_SOCKET } = {}) {
    const say = (level) => (text) => this.said.push(`${level}: ${text}`);
    this.allowed = {
      plugins: { entries: { nimad: { hooks: { allowConversationAccess: true } } } },
    };
    plugin.register({
      pluginConfig: { socket, recallTimeoutMs: 60_000, ...settings }, // on a busy machine, too
      config: config ?? this.allowed,
      logger: { info: say("info"), warn: say("warn"), error: say("error"), debug() {} },
      registerTool: (factory, options) => this.tools.push({ factory, options }),
      on: (name, handler, options) => (this.hooks[name] = { handler, options }),
      registerMemoryCapability: (capability) => (this.capability = capability),
      registerMemoryCorpusSupplement: (supplement) => (this.supplement = supplement),
    });
  }

  hook(name, event, ctx) {
    return this.hooks[name].handler(event, ctx);
  }

  /** What a tool tells: its details, which are also its text. */
  async tool(name, params, ctx) {
    const tools = this.tools.map(({ factory }) => factory(ctx)).filter(Boolean);
    const { content, details } = await tools
      .find((tool) => tool.name === name)
      .execute("call", params);
    if (content[0].text !== JSON.stringify(details)) throw new Error("text and details differ");
    return details;
  }
}

let clock = Date.UTC(2026, 10, 1, 10);

/** The two messages of a turn as OpenClaw keeps them. */
export function turn(user, output, { thinking, timestamp = (clock += 60_000) } = {}) {
  const blocks = [{ type: "text", text: output }];
  if (thinking) blocks.unshift({ type: "thinking", thinking });
  return [
    { role: "user", content: [{ type: "text", text: user }], timestamp },
    { role: "assistant", content: blocks, timestamp: timestamp + 1000 },
  ];
}

/** All memories of a namespace. */
export async function kept(namespace) {
  return (await daemon.call("export", { namespace, limit: 5000 })).memories;
}

export function contextOf(agentId, session = "main", more = {}) {
  const sessionKey = `agent:${agentId}:${session}`;
  return { agentId, sessionKey, sessionId: "id", trigger: "user", senderId: "maya", ...more };
}
