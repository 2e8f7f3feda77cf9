// Texts: what was put into a message and must not be remembered, and how a text is cut.

/** The frame of what this plugin puts before a prompt. */
export const OPEN = "<relevant-memories>";
export const CLOSE = "</relevant-memories>";

const FENCE = "```json[\\s\\S]*?```";
const INJECTED = [
  new RegExp(`${OPEN}[\\s\\S]*?(${CLOSE}|$)\\s*`, "g"),
  /<active_memory_plugin>[\s\S]*?(<\/active_memory_plugin>|$)\s*/g,
  /\[NIMA RECALL[^\]]*\][\s\S]*?\[End recall[^\]]*\]\s*/gi,
  /\[NIMA RECALL[^\]]*\]\s*/gi,
  /🎭\s*AFFECT STATE[^\n]*\n?/g,
  /\[Dynamic affect[^\]]*\]\s*/gi,
  /\[message_id:[^\]]*\]\s*/gi,
  new RegExp(`^[^\\n]{0,80}\\(untrusted[^)\\n]*\\)[^\\n]*\\n?\\s*${FENCE}\\s*`, "gim"),
  /\[Queued messages[^\]]*\]\s*/gi,
  /^---\s*Queued #\d+\s*/gim,
  /Read HEARTBEAT\.md if it exists[^\n]*\n?/gi,
];
/** What OpenClaw, nima-core or this plugin put into a message. */

const MOST_LOOKED_AT = 20_000; // characters of a message

/** A text as its author wrote it, in one form of Unicode.
 *
 * Only its beginning is looked at: a pattern may take the square of the length for a text that was made
 * to be slow, and no more than the beginning is kept anyway.
 */
export function cleanText(text) {
  const whole = cut(String(text ?? ""), MOST_LOOKED_AT);
  let cleaned = (whole.toWellFormed?.() ?? whole).normalize("NFKC");
  for (const pattern of INJECTED) cleaned = cleaned.replace(pattern, "");
  return cleaned.replace(/\n{3,}/g, "\n\n").trim();
}

/** The text of a message's content: a string, or blocks. */
export function textOf(content) {
  if (typeof content === "string") return content;
  return blocksOf(content, "text")
    .map((block) => block.text)
    .join("\n");
}

/** The blocks of one type in a message's content. */
export function blocksOf(content, type) {
  return Array.isArray(content)
    ? content.filter((block) => block?.type === type && block[type])
    : [];
}

/** At most `most` characters, with no half of a pair at the end. */
export function cut(text, most) {
  return text.length <= most ? text : text.slice(0, most).replace(/[\ud800-\udbff]$/, "");
}

/** Whether a time [epoch milliseconds] is one that a calendar of JavaScript has. */
export function isDate(timestamp) {
  return timestamp !== null && !Number.isNaN(new Date(timestamp).getTime());
}
