// Asks the daemon: one request, one connection, one answer, within a time limit.
//
// A connection over a Unix socket costs a tenth of a millisecond, so none is kept: there is nothing
// to reconnect, nothing that keeps the Gateway alive, and a restart of the daemon is not noticed.

import { createConnection } from "node:net";
import { homedir } from "node:os";

const MAX_REPLY = 2 << 20; // bytes; the daemon's frames have at most 1 MiB

/** What the daemon refused, or why it could not be asked: `code` is stable, `message` tells all. */
export class NimadError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** The sockets to try, as nimactl does: the one that was named, else those a daemon may have made. */
export function candidates(named) {
  const given = named || process.env.NIMAD_SOCKET;
  if (given) return [given.replace(/^~(?=\/)/, homedir())];
  const runtime = process.env.XDG_RUNTIME_DIR || `/run/user/${process.getuid?.() ?? 0}`;
  const state = process.env.XDG_STATE_HOME || `${homedir()}/.local/state`;
  return ["/run/nimad/nimad.sock", `${runtime}/nimad.sock`, `${state}/nimad/nimad.sock`];
}

export class Daemon {
  #paths;

  constructor(named) {
    this.#paths = candidates(named);
  }

  /** The result of a verb; parameters that are undefined are left out.  Rejects with NimadError. */
  async call(method, params, { timeoutMs = 5000, signal } = {}) {
    const frame = `${JSON.stringify({ jsonrpc: "2.0", id: 1, method, params })}\n`;
    const deadline = Date.now() + timeoutMs;
    let refused;
    for (const path of this.#paths) {
      try {
        return await exchange(path, frame, deadline, signal);
      } catch (error) {
        if (!["ENOENT", "ENOTDIR", "ECONNREFUSED", "EACCES"].includes(error.code)) throw error;
        if (!refused || error.code === "EACCES") refused = error;
      }
    }
    if (refused.code === "EACCES") {
      throw new NimadError("not_permitted", "this user may not use nimad: join the group nimad");
    }
    const where = this.#paths.join(" or ");
    throw new NimadError(
      "daemon_absent",
      `no nimad answers on ${where}: sudo systemctl start nimad`,
    );
  }
}

function exchange(path, frame, deadline, signal) {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ path });
    const chunks = [];
    let size = 0;
    const finish = (settle, value) => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      socket.destroy();
      settle(value);
    };
    const abort = () => finish(reject, new NimadError("cancelled", "the call was cancelled"));
    const late = () => finish(reject, new NimadError("timeout", "nimad did not answer in time"));
    const timer = setTimeout(late, Math.max(deadline - Date.now(), 1));
    if (signal?.aborted) return abort();
    signal?.addEventListener("abort", abort, { once: true });
    socket.on("connect", () => socket.write(frame));
    socket.on("error", (error) => finish(reject, error));
    socket.on("close", () =>
      finish(reject, new NimadError("broken", "nimad closed the connection")),
    );
    socket.on("data", (chunk) => {
      chunks.push(chunk);
      size += chunk.length;
      if (size > MAX_REPLY) {
        finish(reject, new NimadError("broken", "the answer is longer than a frame may be"));
      } else if (chunk.includes(10)) {
        try {
          finish(resolve, read(Buffer.concat(chunks).toString()));
        } catch (error) {
          finish(reject, error);
        }
      }
    });
  });
}

function read(text) {
  const { result, error } = JSON.parse(text.slice(0, text.indexOf("\n")));
  if (!error) return result;
  const hint = error.data?.hint ?? "";
  throw new NimadError(error.data?.code ?? "remote", `${error.message} ${hint}`.trim());
}
