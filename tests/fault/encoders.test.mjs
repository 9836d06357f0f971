// kill -9 of ingest, embed and vectorstore at random moments while another encoder is fitted, filled and promoted, and while
// the tenant goes back again. Every search that is answered meanwhile is answered by one encoder: its vectors-only result is
// that of an undisturbed store under the encoder that it names. Afterwards the store agrees with itself and nothing is lost.
//
// CARREL_FAULT_SEED repeats a run; CARREL_FAULT_ROUNDS (1) makes it longer.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { binDir, startAppliance, until } from "../service/appliance.mjs";

const ROUNDS = Number(process.env.CARREL_FAULT_ROUNDS ?? 1);
const victims = ["ingest", "embed", "vectorstore"];
const config = "http:\n  requests_per_minute: 0\nencoder:\n  first_fit_chunks: 50\n  min_document_frequency: 1\n  dimensions: 16\n  refit_growth_percent: 95\n";
const nouns = "lantern harbour granite meadow copper violin orchard timber saddle marble candle ferry anchor pepper quarry bridge".split(" ");
const queries = ["the violin of the harbour", "copper and granite", "who keeps the ferry", "saddle marble candle", "a bridge of timber"];
const page = (i) => `# Note ${i}\n\n${Array.from({ length: 30 }, (_, k) => nouns[(i * 7 + k * (1 + (i % 5))) % nouns.length]).join(" ")}, number${i}.\n`;

function random(seed) {
  let s = seed >>> 0;
  return (n) => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    return Math.floor((s / 2 ** 32) * n);
  };
}

function murder(a, name) {
  for (const pid of readdirSync("/proc").filter((d) => /^\d+$/.test(d))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
      const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
      if (parent === a.child.pid && readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0")[0].endsWith(`carrel-${name}`)) {
        process.kill(Number(pid), "SIGKILL");
      }
    } catch {
      // it ended meanwhile
    }
  }
}

const cli = (a, ...args) => new Promise((done) => {
  execFile(join(binDir, "carrel"), [...args, "--home", a.home], { encoding: "utf8" }, (e, stdout, stderr) => done({ code: e ? e.code : 0, stdout, stderr }));
});
const told = (r) => r.passages.map((p) => `${p.score.toFixed(4)} ${p.document.path}`).sort();

test("encoders change under kill -9 without a gap or a mixture", { timeout: 600_000 }, async (t) => {
  const seed = Number(process.env.CARREL_FAULT_SEED ?? Date.now() % 2 ** 31);
  t.diagnostic(`CARREL_FAULT_SEED=${seed}`);
  const rnd = random(seed);
  const a = await startAppliance({ config });
  const right = new Map(); // encoder -> what each query finds by vectors alone
  const dense = (q) => a.post("/api/search", { query: q, mode: "dense", top_k: 10 });
  const learn = async () => {
    const all = [];
    let encoder;
    for (const q of queries) {
      const r = await dense(q);
      encoder ??= r.encoder;
      assert.equal(r.encoder, encoder);
      all.push(told(r));
    }
    right.set(encoder, all);
    return encoder;
  };
  let answered = 0, unanswered = 0;
  const check = async () => {
    const i = answered % queries.length;
    const r = await dense(queries[i]).catch(() => null); // a service is down: said, not wrong
    if (!r) return void unanswered++;
    answered++;
    assert.ok(right.has(r.encoder), `an encoder that nobody knows: ${r.encoder}`);
    assert.deepEqual(told(r), right.get(r.encoder)[i], `${queries[i]} by ${r.encoder}`);
  };
  const list = () => a.get("/api/encoders").catch(() => null);
  const complete = (dims) => until(`a complete candidate of ${dims} dimensions`, async () => {
    const l = await list();
    const e = l?.encoders.find((x) => x.state === "candidate" && x.dimensions === dims);
    return e?.missing === 0 && e.name;
  }, { every: 200 });
  const promoted = (name) => until(`${name} published`, async () => {
    const l = await list();
    const e = l?.encoders.find((x) => x.name === name);
    if (e && !["published", "building"].includes(e.state)) await a.request("/api/encoders", { method: "POST", body: { encoder: name, force: true } }).catch(() => null);
    return e?.state === "published";
  }, { every: 100 });
  const verified = async () => {
    const v = await until("an answer of verify", async () => { const r = await cli(a, "verify", "--json"); return r.stdout.startsWith("{") && JSON.parse(r.stdout); }, { every: 300 });
    assert.equal(v.problems, 0, JSON.stringify(v));
  };

  try {
    for (let i = 0; i < 200; i++) a.drop(`n${i}.md`, page(i));
    await a.settled({ n: 200 });
    await until("a fit of all of them", async () => {
      const l = await list();
      const e = l?.encoders.find((x) => x.state === "published");
      return e && e.missing === 0 && e.fitted_on * 1.95 > e.vectors && !l.encoders.some((x) => x.state === "building");
    }, { every: 300 });

    // undisturbed
    const first = await learn();
    await a.post("/api/encoders/build", { dimensions: 24 });
    const second = await complete(24);
    await promoted(second);
    assert.equal(await learn(), second);
    assert.notEqual(first, second);

    for (let round = 0; round < ROUNDS; round++) {
      await promoted(first);
      await until("the other one is gone", async () => {
        const l = await list();
        if (!l) return false;
        if (l.encoders.some((x) => x.name === second && x.state !== "retired")) await a.request(`/api/encoders/${second}`, { method: "DELETE" }).catch(() => null);
        return !l.encoders.some((x) => x.name === second && x.state !== "retired");
      }, { every: 100 });
      let over = false;
      const watching = (async () => { while (!over) await check(); })();
      const killing = (async () => {
        for (let k = 0; k < 6; k++) {
          await sleep(rnd(700));
          murder(a, victims[rnd(victims.length)]);
        }
      })();
      await until("it is wished", async () => (await a.request("/api/encoders/build", { method: "POST", body: { dimensions: 24 } }).catch(() => null))?.ok, { every: 100 });
      assert.equal(await complete(24), second); // the same text gives the same fit
      await promoted(second);
      await killing;
      await promoted(second);
      over = true;
      await watching;
      await until("it answers again", async () => { const n = answered; await check(); return answered > n; }, { every: 100 });
      for (let i = 0; i < queries.length; i++) await check();
      assert.equal((await dense(queries[0])).encoder, second);
      await verified();
    }
    assert.equal((await a.documents()).length, 200);
    t.diagnostic(`${answered} searches answered, ${unanswered} told that a service is down`);
  } finally {
    await a.stop();
  }
});
