// Whoever erases his conversations has the audit's texts of them erased too, where the settings say so; the chain tells.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { binDir, holding, startAppliance } from "./appliance.mjs";

const ask = (a, key, content, more) => a.request("/v1/chat/completions", { method: "POST", key, body: { model: "carrel", messages: [{ role: "user", content }], ...more } }).then(async (r) => { assert.equal(r.status, 200, await r.clone().text()); return r.json(); });
const verify = (a) => JSON.parse(spawnSync(join(binDir, "carrel"), ["audit", "verify", "--json", "--home", a.home], { encoding: "utf8" }).stdout);
const inPayload = (a, word) => holding(join(a.home, "tenants/main"), [word]).filter((f) => f.includes("payload.db")).length > 0;

for (const policy of ["erase", "keep"]) {
  test(`audit.conversations: ${policy}`, async () => {
    const a = await startAppliance({ config: `http:\n  requests_per_minute: 0\naudit:\n  conversations: ${policy}\n` });
    try {
      a.drop("leave.txt", "Parental leave lasts twelve weeks and is paid in full by the employer.");
      await a.settled({ n: 1 });
      const { key } = await a.post("/api/keys", { name: "other", groups: [] });
      await ask(a, a.key, "How long is parental leave, Kumquat?", { conversation: "new" });
      await ask(a, a.key, "How long is parental leave, Persimmon?"); // kept in no conversation
      await ask(a, key, "How long is parental leave, Tamarind?", { conversation: "new" });
      for (const word of ["Kumquat", "Persimmon", "Tamarind"]) assert.ok(inPayload(a, word), word);
      const r = await a.request("/api/conversations", { method: "DELETE" });
      assert.equal((await r.json()).deleted, 1);
      assert.equal(inPayload(a, "Kumquat"), policy === "keep");
      assert.ok(inPayload(a, "Persimmon") && inPayload(a, "Tamarind"), "only his, and only what was kept");
      const report = verify(a);
      assert.equal(report.verdict, "whole", JSON.stringify(report.findings));
      assert.equal(report.texts_erased, policy === "keep" ? 0 : 2); // what was asked, and what came back
      const { records } = await a.get("/api/audit?limit=1000&type=erase");
      assert.deepEqual(records.map((x) => x.record.why), policy === "keep" ? [] : ["conversations"]);
      // who goes on is recorded again
      await ask(a, a.key, "How long is parental leave, Kumquat?", { conversation: "new" });
      assert.ok(inPayload(a, "Kumquat"));
    } finally {
      await a.stop();
    }
  });
}
