// OpenClaw's memory files: which they are, and how one is read without leaving the workspace.

import { constants } from "node:fs";
import { open, readdir, readlink, realpath, stat } from "node:fs/promises";
import { join, sep } from "node:path";

const FILE = /^(MEMORY|USER)\.md$|^memory\/(?!\.)[^\0]*\.md$/;
const MAX_FILE = 1 << 20; // bytes

/** Whether a path within a workspace is one of OpenClaw's memory files. */
export function isMemoryFile(path) {
  return FILE.test(path) && !path.split("/").includes("..") && !/(^|\/)DREAMS\.md$/.test(path);
}

/** The memory files of a workspace: [{path, mtime, state}]; `state` changes when the file does.
 *
 * Rejects where the workspace cannot be read: nothing is gone then, it is only not there at the moment.
 */
export async function memoryFiles(workspace) {
  await stat(workspace);
  const names = ["MEMORY.md", "USER.md", ...(await filesBelow(workspace, "memory"))];
  const found = [];
  for (const path of names.filter(isMemoryFile).sort()) {
    const about = await stat(join(workspace, path)).catch(absent);
    if (!about?.isFile() || about.size > MAX_FILE) continue;
    found.push({ path, mtime: Math.round(about.mtimeMs), state: `${about.size} ${about.mtimeMs}` });
  }
  return found;
}

/** The text of a memory file; undefined where there is none, or it is no ordinary file inside.
 *
 * A sandboxed agent may write to its workspace, but not read what a link in it would lead to: the file
 * is opened first, and then it is looked at where it lies.
 */
export async function readMemoryFile(workspace, path) {
  if (!isMemoryFile(path)) return undefined;
  const root = await realpath(workspace);
  const flags = constants.O_RDONLY | constants.O_NONBLOCK;
  const file = await open(join(root, path), flags).catch(absent);
  if (!file) return undefined;
  try {
    const place = await readlink(`/proc/self/fd/${file.fd}`);
    const about = await file.stat();
    const inside = place.startsWith(root + sep) && about.isFile() && about.nlink === 1;
    return inside && about.size <= MAX_FILE ? await file.readFile("utf8") : undefined;
  } finally {
    await file.close();
  }
}

/** The files below a directory; no link is followed, for it may lead anywhere, or around. */
async function filesBelow(workspace, directory) {
  const found = [];
  for (const entry of (await readdir(join(workspace, directory), { withFileTypes: true }).catch(
    absent,
  )) ?? []) {
    const path = `${directory}/${entry.name}`;
    if (entry.isDirectory()) found.push(...(await filesBelow(workspace, path)));
    else if (entry.isFile()) found.push(path);
  }
  return found;
}

function absent(error) {
  if (["ENOENT", "ENOTDIR", "ELOOP", "ENXIO"].includes(error.code)) return undefined;
  throw error;
}
