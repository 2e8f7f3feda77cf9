// From a transcript to turns: what was said, without what was put into it, in three layers.

import { createHash } from "node:crypto";

import { readAffect } from "./settings.js";
import { blocksOf, cleanText, cut, textOf } from "./text.js";

const NOISE = [
  /HEARTBEAT_OK|NO_REPLY/,
  /^GatewayRestart:/i,
  /Pre-compaction memory flush/i,
  /doctorHint|Run: openclaw doctor/i,
  /^\{[\s\S]*"(kind|stats|tool|sessionKey|deliveryContext)":/,
  /^(\[object Object\]|undefined|null|[.!?]+)$/,
];
/** What is no exchange between a person and an agent. */

const MONOTONOUS = /^(ok|yes|no|sure|got it|thanks|thank you|hygiene check|heartbeat check)$/i;
export const BEGINNING = ""; // stands for the turn before the first one
const MOST_TURNS = 20; // turns of one capture, when the daemon was away meanwhile

const NOBODYS = new Set(["cron", "memory"]);
/** What starts a run that nobody speaks in. */

/** Whether a run is nobody's conversation: a side agent, a schedule, a heartbeat, or incognito. */
export function isExcluded(ctx, settings) {
  const key = ctx.sessionKey ?? "";
  if (/^agent:[^:]+:(dashboard|subagent|internal-session-effects):incognito-/.test(key))
    return true;
  if (NOBODYS.has(ctx.trigger) || /:(cron|active-memory):/.test(key)) return true;
  if (settings.skipHeartbeats && (ctx.trigger === "heartbeat" || /[:-]heartbeat(:|$)/.test(key))) {
    return true;
  }
  if (ctx.inputProvenance?.kind === "internal_system") return true;
  // An agent other than the first has the workspace `workspace-ID`; a side agent borrows another's.
  const owner = /(?:^|\/)workspace-([^/]+)\/?$/.exec(ctx.workspaceDir ?? "")?.[1];
  const aside = key.includes(":subagent:") || (owner !== undefined && owner !== ctx.agentId);
  return settings.skipSubagents && aside;
}

/** The session of a run: its key outlives a reset, which the id does not. */
export function sessionOf(ctx) {
  return ctx.sessionKey ?? ctx.sessionId;
}

/** The last turns of a transcript: [{name, user, contemplation, output, timestamp, envelope}].
 *
 * One more than a capture takes: the one before them may be the last that is known.
 */
export function turnsOf(messages, session) {
  const turns = [];
  for (const raw of lastMessages(messages ?? [], MOST_TURNS + 1)) {
    const message = raw?.message ?? raw;
    if (message?.role === "user") {
      const said = textOf(message.content);
      if (!said.trim()) continue; // a result of a tool, in some transcripts
      const timestamp = Number(message.timestamp ?? raw.timestamp) || undefined;
      turns.push({
        envelope: said,
        user: cleanText(said),
        contemplation: "",
        output: "",
        timestamp,
      });
    } else if (message?.role === "assistant" && turns.length) {
      const turn = turns.at(-1);
      const thought = blocksOf(message.content, "thinking").map((block) => block.thinking);
      turn.contemplation = [turn.contemplation, ...thought].filter(Boolean).join("\n").trim();
      turn.output = cleanText(textOf(message.content)) || turn.output;
    }
  }
  return turns.map((turn) => ({ ...turn, name: nameOf(turn, session) }));
}

/** The messages from the last few of users on: a long session is not cleaned anew after each turn. */
function lastMessages(messages, most) {
  let first = messages.length;
  for (let left = most; first > 0 && left > 0;) {
    first -= 1;
    const message = messages[first]?.message ?? messages[first];
    if (message?.role === "user" && textOf(message.content).trim()) left -= 1;
  }
  return messages.slice(first);
}

/** What tells a turn from all others of its session, wherever it is seen again. */
function nameOf(turn, session) {
  const told = [session, turn.user, turn.timestamp ?? turn.output].join("\0");
  const digest = createHash("sha256").update(told).digest("hex");
  return `turn_${turn.timestamp ?? 0}_${digest.slice(0, turn.timestamp ? 8 : 16)}`;
}

/** The turns after the one named `last` as `capture` takes them: all that are worth keeping. */
export function captured(turns, last, ctx, { settings, ignored, namespace }) {
  const session = sessionOf(ctx);
  const known = turns.findIndex((turn) => turn.name === last);
  const fresh = (known < 0 && last !== BEGINNING ? turns.slice(-1) : turns.slice(known + 1)).slice(
    -MOST_TURNS,
  );
  const conversation = ctx.chatId ?? ctx.channelId ?? ctx.sessionId;
  const affect = readAffect(settings, conversation);
  return fresh
    .filter((turn) => isWorthKeeping(turn, affect, settings, ignored))
    .map((turn) => ({
      namespace,
      session,
      turn: turn.name,
      conversation,
      when: turn.timestamp ?? Date.now(),
      agent: ctx.agentId,
      affect,
      ...layersOf(turn, ctx, settings),
    }));
}

function isWorthKeeping(turn, affect, settings, ignored) {
  const { user, output, contemplation } = turn;
  if (!user || !output) return false; // an answer that did not come, or a message that was all frame
  const all = [user, output, contemplation];
  if (ignored.some((pattern) => all.some((text) => pattern.test(text)))) return false;
  if (settings.filterNoise && NOISE.some((pattern) => pattern.test(user) || pattern.test(output))) {
    return false;
  }
  if (user.length < settings.minExchange && output.length < 4 * settings.minExchange) return false;
  return noveltyOf(turn, affect, settings.novelty) >= settings.minNovelty;
}

/** How new an exchange is, from 0 to 1: what nima-core calls its free energy. */
export function noveltyOf({ user, output, contemplation }, affect, weights) {
  let novelty = 0.5;
  const felt = Object.values(affect ?? {}).filter(Number.isFinite);
  if (felt.length) novelty += (Math.max(...felt) - Math.min(...felt)) * weights.affect;
  if (user.length < 20 && output.length < 50) novelty -= weights.routine;
  if (contemplation.length > 100) novelty += weights.thinking;
  if (MONOTONOUS.test(user.trim())) novelty -= weights.monotonous;
  return Math.min(Math.max(novelty, 0), 1);
}

function layersOf(turn, ctx, settings) {
  const layer = (role, text, who, origin) => ({
    [role]: {
      text: cut(text, settings.maxText),
      summary: summary(text, settings.maxSummary[role]),
      who,
      origin,
    },
  });
  return {
    ...layer("input", turn.user, senderOf(turn.envelope, ctx), originOf(ctx, settings)),
    ...(turn.contemplation
      ? layer("contemplation", cleanText(turn.contemplation), "self", "agent")
      : {}),
    ...layer("output", turn.output, "self", "agent"),
  };
}

/** Who said it: the name that the channel put beside the message, else the id that OpenClaw knows. */
export function senderOf(envelope, ctx) {
  const metadata = /Sender \(untrusted[^)]*\)[^\n]*\n?\s*```json\s*([\s\S]*?)```/i.exec(envelope);
  if (metadata) {
    try {
      const told = JSON.parse(metadata[1]);
      const name = told.name ?? told.label ?? told.username;
      if (name) return String(name).slice(0, 100);
    } catch {
      // a name that breaks the metadata is no name
    }
  }
  const channel =
    /^\[(?:Telegram|Discord|Signal|SMS|Slack|Matrix|WhatsApp|iMessage|Email)\s+(.{1,100}?)\s+id:/i;
  return channel.exec(envelope)?.[1] ?? ctx.senderId ?? "user";
}

/** Where the input comes from, by what OpenClaw says of the session, never by what a text claims. */
export function originOf(ctx, settings) {
  if (ctx.inputProvenance?.kind === "inter_session") return "agent";
  return isGroup(ctx) ? settings.groupOrigin : "owner";
}

/** Whether others than the owner speak and read in a session. */
export function isGroup(ctx) {
  return /:(group|channel|room)(:|$)/.test(ctx.sessionKey ?? "");
}

function summary(text, most) {
  const flat = text.replace(/\s+/g, " ").trim();
  return flat.length <= most ? flat : `${cut(flat, most - 3)}...`;
}
