// Follows OpenClaw's memory files: each bullet and paragraph of MEMORY.md, USER.md and memory/*.md is
// a memory, and goes when it goes there.
//
// An entry is captured as a turn of its own, named by a digest of its text, so that sending it again
// changes nothing.  What is there is noted in a file of digests and ids (no text), so that only a
// difference costs anything and an entry that was deleted can be forgotten.

import { createHash } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { memoryFiles, readMemoryFile } from "./workspace.js";

const MAX_ENTRY = 3000; // characters
const BATCH = 100; // entries of one request

/** The entries of a file: [{text, line, importance, day}].
 *
 * A comment such as `<!-- observed: 2026-05-08 | status: active -->` belongs to the entry below it: what is
 * superseded is left out, and of USER.md, whose rest explains it, only what is active counts.
 */
export function entriesOf(markdown, path = "MEMORY.md") {
  const entries = [];
  let open; // the entry that the next line may belong to
  let mark; // what a comment said of the next entry
  let fenced = false;
  const begin = (text, place) => {
    entries.push((open = { text, line: place + 1, ...mark }));
    mark = undefined;
  };
  for (const [place, raw] of markdown.split("\n").entries()) {
    if (/^\s*(```|~~~)/.test(raw)) fenced = !fenced;
    const bullet = /^\s*(?:[-*+]|\d+[.)])\s+(?:\[[ xX]\]\s+)?(.*)$/.exec(raw);
    const observed = /^\s*<!--\s*observed:\s*([\d-]+|[^|]*?)\s*\|\s*status:\s*(\w+)\s*-->/.exec(
      raw,
    );
    if (observed && !fenced) mark = { day: isDay(observed[1]), status: observed[2] };
    if (!fenced && (!raw.trim() || /^\s*(#{1,6}\s|---+\s*$|<!--)/.test(raw))) open = undefined;
    else if (bullet && !fenced) begin(bullet[1], place);
    else if (open) open.text += `\n${raw.trim()}`;
    else begin(raw.trim(), place);
  }
  const counts =
    path === "USER.md"
      ? (one) => one.status === "active" && one.day
      : (one) => one.status !== "superseded";
  return entries
    .filter(counts)
    .map(finished)
    .filter((entry) => entry.text.length > 2);
}

function finished({ text, line, day }) {
  const marked = /<!--\s*importance:\s*(\d+)\s*-->/.exec(text);
  const importance = marked ? Math.min(Number(marked[1]), 10) / 10 : undefined;
  const cleaned = text.replace(/<!--[\s\S]*?-->/g, "").trim();
  return { text: cleaned.slice(0, MAX_ENTRY), line, importance, day };
}

function isDay(text) {
  return /^\d{4}-\d{2}-\d{2}$/.test(text) ? text : undefined;
}

export class MarkdownFollower {
  #daemon;
  #logger;
  #place;
  #seen = new Map(); // "workspace\0path" → what stat said when it was taken up
  #busy = Promise.resolve();

  /** `place` is the directory of the notes. */
  constructor(daemon, logger, place) {
    this.#daemon = daemon;
    this.#logger = logger;
    this.#place = place;
  }

  /** Take up what has changed in a workspace; one pass at a time, and it never throws. */
  follow(workspace, agentId, namespace) {
    this.#busy = this.#busy
      .then(() => this.#pass(workspace, agentId, namespace))
      .catch((error) => {
        this.#logger.warn?.(`nimad: memory files are taken up later: ${error.message}`);
      });
    return this.#busy;
  }

  async #pass(workspace, agentId, namespace) {
    const files = await memoryFiles(workspace);
    const changed = files.filter(
      ({ path, state }) => this.#seen.get(`${workspace}\0${path}`) !== state,
    );
    const notes = join(this.#place, `markdown-${digestOf(workspace, agentId).slice(0, 16)}.json`);
    const known = await readNotes(notes);
    const gone = Object.keys(known).filter((path) => !files.some((file) => file.path === path));
    if (!changed.length && !gone.length) return;
    for (const { path, state, mtime } of changed) {
      const text = (await readMemoryFile(workspace, path)) ?? "";
      known[path] = await this.#take(path, text, mtime, known[path] ?? {}, { agentId, namespace });
      await writeNotes(notes, known);
      this.#seen.set(`${workspace}\0${path}`, state);
    }
    for (const path of gone) {
      await this.#forget(Object.entries(known[path]));
      delete known[path];
      this.#seen.delete(`${workspace}\0${path}`);
      await writeNotes(notes, known);
    }
  }

  /** Capture what is new in a file, forget what is gone; returns the file's digests → ids. */
  async #take(path, text, mtime, before, { agentId, namespace }) {
    const entries = new Map(
      entriesOf(text, path).map((entry) => [digestOf(path, entry.text), entry]),
    );
    const fresh = [...entries].filter(([digest]) => !(digest in before));
    const ids = {};
    for (let first = 0; first < fresh.length; first += BATCH) {
      const turns = fresh.slice(first, first + BATCH).map(([digest, entry]) => ({
        namespace,
        session: `openclaw:${path}`,
        turn: digest,
        when: noonOf(entry.day ?? dayIn(path)) ?? mtime,
        agent: agentId,
        input: {
          text: entry.text,
          who: "self",
          origin: "agent",
          importance: entry.importance,
          extra: { path: `${path}#${entry.line}` },
        },
      }));
      const { turns: stored } = await this.#daemon.call("capture", { turns });
      for (const turn of stored) ids[turn.turn] = turn.ids.input;
    }
    await this.#forget(Object.entries(before).filter(([digest]) => !entries.has(digest)));
    const kept = Object.entries(before).filter(([digest]) => entries.has(digest));
    return { ...Object.fromEntries(kept), ...ids };
  }

  /** Forget entries, [digest, id] each: what the store, which may be another one now, has as such. */
  async #forget(entries) {
    const ids = [];
    for (const [digest, id] of entries) {
      const found = await this.#daemon.call("get", { id }).catch((error) => {
        if (error.code !== "not_found") throw error;
      });
      if (found?.memory.turn === digest) ids.push(id);
    }
    if (ids.length) await this.#daemon.call("forget", { ids });
  }
}

/** The day in a file's name. */
function dayIn(path) {
  return /(?:^|\/)(\d{4}-\d{2}-\d{2})[^/]*\.md$/.exec(path)?.[1];
}

/** Noon of a day: a note has no time of day. */
function noonOf(day) {
  return day && `${day}T12:00:00`;
}

function digestOf(path, text) {
  return createHash("sha256").update(`${path}\0${text}`).digest("hex").slice(0, 24);
}

async function readNotes(place) {
  try {
    return JSON.parse(await readFile(place, "utf8"));
  } catch {
    return {};
  }
}

async function writeNotes(place, notes) {
  await mkdir(join(place, ".."), { recursive: true, mode: 0o700 });
  await writeFile(`${place}.new`, JSON.stringify(notes), { mode: 0o600 });
  await rename(`${place}.new`, place);
}
