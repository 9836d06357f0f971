// Services that hang while a client works (SIGSTOP, and nothing wakes them): the supervisor hears no heartbeat, kills them and starts
// them again, nobody else, and what the client was told is there, as after any kill.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { binDir, startAppliance, until } from "../service/appliance.mjs";
import { Client, listener } from "./gateway_client.mjs";

const HANG = ["vectorstore", "embed", "serve"];

/** What the supervisor says of each service; its exit code says whether all is well. */
function services(a) {
  let text;
  try {
    text = execFileSync(join(binDir, "carrel"), ["status", "--json", "--home", a.home], { encoding: "utf8" });
  } catch (e) {
    text = e.stdout;
  }
  return new Map(JSON.parse(text).services.map((s) => [s.name, s]));
}

test("services that hang are started again, and nothing that was told is lost", { timeout: 300_000 }, async (t) => {
  const hook = await listener();
  const a = await startAppliance({ config: `http:\n  requests_per_minute: 0\nsupervisor:\n  patience: 10s\nwebhooks:\n  allow_private: ["${hook.url}"]\n` });
  try {
    a.drop("visit.md", "# Visitors\n\nVisitors park their cars behind the solar tower.\n");
    await a.settled({ n: 1 });
    await a.post("/api/webhooks", { url: `${hook.url}/docs`, events: ["document.ingested"] });
    const client = new Client(() => a, await a.post("/api/keys", { name: "customer", role: "reader" }), 17);
    const before = services(a);
    client.begin(3);
    await until("the client is at work", () => client.n > 12 || !client.working, { every: 5 });
    const at = Date.now();
    for (const name of HANG) process.kill(before.get(name).pid, "SIGSTOP");
    await until("they are started again", () => {
      const now = services(a);
      return HANG.every((name) => now.get(name).state === "ready" && now.get(name).hung === 1 && now.get(name).pid !== before.get(name).pid);
    }, { timeout: 120_000, every: 500 });
    await sleep(500); // the client goes on meanwhile
    await client.end();
    await until("all is answered again", async () => {
      const r = await a.request("/v1/chat/completions", { method: "POST", body: { model: "carrel", messages: [{ role: "user", content: "Where do visitors park?" }] } }).catch(() => null);
      return r !== null && /solar tower/.test(await r.text().catch(() => ""));
    }, { every: 200 });
    const now = services(a);
    for (const [name, s] of now) {
      assert.equal(s.hung, HANG.includes(name) ? 1 : 0, `${name}: ${JSON.stringify(s)}`);
      if (HANG.includes(name)) assert.match(s.last_error, /hung: no heartbeat for \d+ s \(it is stopped by a signal\) and was killed/);
    }
    await client.compare(hook.took);
    client.audit();
    await client.books([at, Date.now()]);
    t.diagnostic(`${client.n} turns, ${client.answers.size} answers`);
  } finally {
    await a.stop();
    hook.close();
  }
});
