// The plugin without the memory slot, as it is installed (BESIDE), on a real daemon.

import assert from "node:assert/strict";
import { test } from "node:test";

import { contextOf, FakeOpenClaw } from "./fake.mjs";

const { default: plugin } = await import(`${process.env.BESIDE}/index.js`);

test("beside memory-core it has tools of other names, and adds a corpus", async () => {
  const openclaw = new FakeOpenClaw(plugin);
  const ctx = contextOf("beside");
  const names = openclaw.tools.map(({ factory, options }) => [factory(ctx).name, options.name]);
  assert.deepEqual(
    names,
    ["search", "get", "store", "forget"].map((name) => [`nimad_${name}`, `nimad_${name}`]),
  );
  assert.equal(openclaw.capability, undefined);
  const text = "Pilar is allergic to penicillin";
  const { id } = await openclaw.tool("nimad_store", { text }, ctx);
  const [found] = await openclaw.supplement.search({ query: "What of Pilar?", agentId: "beside" });
  assert.deepEqual([found.corpus, found.path, found.snippet], ["nimad", `nimad:${id}`, text]);
  assert.equal(
    (await openclaw.supplement.get({ lookup: found.path, agentId: "beside" })).content,
    text,
  );
  assert.deepEqual(
    await openclaw.supplement.search({ query: "What of Pilar?", agentId: "other" }),
    [],
  );
  assert.equal(await openclaw.supplement.get({ lookup: found.path, agentId: "other" }), null);
  assert.deepEqual(await openclaw.supplement.search({ query: "What of Pilar?" }), []);
});
