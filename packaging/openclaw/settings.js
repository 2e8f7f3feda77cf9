// What the user has set, for this plugin or, earlier, for nima-memory.

import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

export const ID = "nimad";
export const OLD_ID = "nima-memory";

const DEFAULTS = {
  socket: undefined, // where nimad listens; undefined: the usual places
  namespace: undefined, // of every agent; {agent} stands for its id
  autoRecall: true,
  autoCapture: true,
  followMarkdown: true,
  recallLimit: 3, // memories before a prompt, at most 7
  recallTimeoutMs: 250, // what a turn may wait for them
  recallUntrusted: false, // whether memories of the origin untrusted are put before a prompt, too
  recallInGroups: false, // whether prompts of groups get memories: all who read there may learn them
  groupOrigin: "untrusted", // origin of what is said in groups and channels
  identityName: "agent", // the name in nima-core's files of affect
  skipSubagents: true,
  skipHeartbeats: true,
  maxText: 3000, // characters
  maxSummary: { input: 80, contemplation: 120, output: 100 }, // characters
  minNovelty: 0.2,
  novelty: { affect: 0.3, thinking: 0.1, routine: 0.2, monotonous: 0.4 },
  filterNoise: true,
  minExchange: 5, // characters
};

/** The settings in force.  `own` is api.pluginConfig, `config` the whole of openclaw.json. */
export function readSettings(own = {}, config = {}) {
  const old = config?.plugins?.entries?.[OLD_ID];
  const given = { ...renamed(old?.config ?? old ?? {}), ...renamed(own ?? {}), ...own };
  const known = Object.entries(given).filter(
    ([name, value]) => name in DEFAULTS && value !== undefined,
  );
  const settings = { ...DEFAULTS, ...Object.fromEntries(known) };
  settings.recallLimit = Math.min(Math.max(settings.recallLimit, 1), 7);
  return settings;
}

/** nima-memory's settings under our names; what is not set there stays undefined. */
function renamed(old) {
  const limits = old.content_limits ?? {};
  const energy = old.free_energy ?? {};
  const noise = old.noise_filtering ?? {};
  const { maxSummary, novelty } = DEFAULTS;
  const made = {
    identityName: old.identity_name,
    skipSubagents: old.skip_subagents,
    skipHeartbeats: old.skip_heartbeats,
    maxText: limits.max_text_length,
    minNovelty: energy.min_threshold,
    filterNoise: noise.filter_system_noise,
    minExchange: noise.min_exchange_length,
  };
  if (old.content_limits) {
    made.maxSummary = {
      input: limits.max_summary_input ?? maxSummary.input,
      contemplation: limits.max_thinking_summary ?? maxSummary.contemplation,
      output: limits.max_output_summary ?? maxSummary.output,
    };
  }
  if (old.free_energy) {
    made.novelty = {
      affect: energy.affect_variance_weight ?? novelty.affect,
      thinking: energy.thinking_boost ?? novelty.thinking,
      routine: energy.routine_penalty ?? novelty.routine,
      monotonous: energy.monotonous_penalty ?? novelty.monotonous,
    };
  }
  return Object.fromEntries(Object.entries(made).filter(([, value]) => value !== undefined));
}

/** The namespace of an agent: OpenClaw's first agent, main, shares what nimactl and a migration use. */
export function namespaceOf(agentId, settings) {
  if (settings.namespace) return settings.namespace.replaceAll("{agent}", agentId);
  return agentId === "main" ? "default" : `agent.${agentId}`;
}

/** What the user must still do for the hooks to run, or undefined. */
export function missingPermission(config) {
  const hooks = config?.plugins?.entries?.[ID]?.hooks;
  if (hooks?.allowConversationAccess !== true) {
    return (
      "nimad neither recalls nor remembers turns: OpenClaw blocks a plugin's conversation hooks until you allow them. " +
      `Run: openclaw config set plugins.entries.${ID}.hooks.allowConversationAccess true`
    );
  }
  if (hooks.allowPromptInjection === false) {
    return (
      "nimad does not recall before a prompt: allowPromptInjection is false. " +
      `Run: openclaw config set plugins.entries.${ID}.hooks.allowPromptInjection true`
    );
  }
  return undefined;
}

/** The globs of ~/.nima/.nimaignore as patterns: what matches one is not captured. */
export function readIgnored(path = join(homedir(), ".nima", ".nimaignore")) {
  let text;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return [];
  }
  const lines = text.split("\n").map((line) => line.trim());
  return lines
    .filter((line) => line && !line.startsWith("#"))
    .map((glob) => {
      const escaped = glob.replace(/[.+^${}()|[\]\\]/g, "\\$&");
      return new RegExp(escaped.replaceAll("*", ".*").replaceAll("?", "."), "i");
    });
}

/** nima-core's affect at the moment, by name; undefined where it keeps none. */
export function readAffect(settings, conversation, home = homedir()) {
  const plain = (name) =>
    String(name)
      .replace(/[^\w-]+/g, "_")
      .slice(0, 64);
  const identity = plain(settings.identityName);
  const places = [join(home, ".nima", "affect", `affect_state_${identity}.json`)];
  if (conversation) {
    const name = `${identity}_${plain(conversation)}.json`;
    places.unshift(join(home, ".nima", "affect", "conversations", name));
  }
  for (const place of places) {
    try {
      const named = JSON.parse(readFileSync(place, "utf8"))?.current?.named;
      if (named && typeof named === "object") return named;
    } catch {
      // not there, or being written
    }
  }
  return undefined;
}
