// kill -9 of whatever is part of the gateway, or of all of it, while a client works. What the client was told is done is there
// afterwards, the audit is whole, and each answer is in it once.
//
//   CARREL_FAULT_ROUNDS=20 CARREL_BIN=$PWD/build/asan/bin node --test tests/fault/gateway.test.mjs
//
// CARREL_FAULT_SEED repeats a run.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startAppliance, until } from "../service/appliance.mjs";
import { Client, listener, random } from "./gateway_client.mjs";

const VICTIMS = ["serve", "supervisor", "sign", "vectorstore", "generate", "egress", "retrieve", "ingest", "embed"];
const rounds = Number(process.env.CARREL_FAULT_ROUNDS ?? 4);

/** All processes below one, by name. */
function family(root) {
  const parents = new Map();
  for (const pid of readdirSync("/proc").filter((d) => /^\d+$/.test(d))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
      const name = basename(readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0")[0]);
      parents.set(Number(pid), [Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]), name]);
    } catch {
      // it ended meanwhile
    }
  }
  const below = (pid) => pid === root || (parents.has(pid) && below(parents.get(pid)[0]));
  return [...parents].filter(([pid]) => pid !== root && below(pid)).map(([pid, [, name]]) => [pid, name]);
}

test("kill -9 while a client works: what it was told is there, and each answer is in the audit once", { timeout: 180_000 + rounds * 60_000 }, async (t) => {
  const seed = Number(process.env.CARREL_FAULT_SEED ?? Date.now() % 2 ** 31);
  t.diagnostic(`CARREL_FAULT_SEED=${seed}`);
  const rnd = random(seed);
  const hook = await listener();
  let a = await startAppliance({ config: `http:\n  requests_per_minute: 0\nwebhooks:\n  allow_private: ["${hook.url}"]\n` });
  const kills = [];
  try {
    a.drop("visit.md", "# Visitors\n\nVisitors park their cars behind the solar tower.\n");
    await a.settled({ n: 1 });
    await a.post("/api/webhooks", { url: `${hook.url}/docs`, events: ["document.ingested"] });
    const client = new Client(() => a, await a.post("/api/keys", { name: "customer", role: "reader" }), seed);
    for (let round = 0; round < rounds; round++) {
      const victim = round < VICTIMS.length ? VICTIMS[round] : VICTIMS[rnd(VICTIMS.length)];
      const before = client.n;
      client.begin();
      await until("the client is at work", () => client.n > before + 20 || !client.working, { every: 5 });
      await sleep(rnd(500));
      kills.push(Date.now());
      if (victim === "supervisor") {
        await a.kill();
        a = await startAppliance({ home: a.home, config: null });
      } else {
        const found = family(a.child.pid).filter(([, name]) => name === `carrel-${victim}`);
        assert.ok(found.length > 0, `${victim} runs`);
        for (const [pid] of found) process.kill(pid, "SIGKILL");
      }
      await sleep(500 + rnd(500)); // the client goes on meanwhile
      await client.end();
      await until(`answers again after ${victim}`, async () => {
        const r = await a.request("/v1/chat/completions", { method: "POST", body: { model: "carrel", messages: [{ role: "user", content: "Where do visitors park?" }] } }).catch(() => null);
        return r !== null && (await r.text().then(() => true, () => false)) && r.status === 200;
      });
      await client.compare(hook.took);
      const { opens, interrupted } = client.audit();
      const { requests } = await client.books(kills);
      t.diagnostic(`${round + 1}: ${victim}; ${client.n} turns, ${client.answers.size} answers, ${opens} calls in the audit (${interrupted} interrupted), ${client.documents.size} documents, ${client.jobs.size} jobs, ${requests} of ${client.sent} requests in the books`);
    }
    t.diagnostic(`what the client saw: ${JSON.stringify([...client.errors])}`);
    assert.ok(client.answers.size > 2 * rounds, `${client.answers.size} answers`);
  } finally {
    await a.stop();
    hook.close();
  }
});
