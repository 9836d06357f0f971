// Encoders beside the published one over a whole appliance: made in the background, compared, promoted, removed,
// while searches go on.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { binDir, startAppliance, until } from "./appliance.mjs";

const config = "http:\n  requests_per_minute: 0\nencoder:\n  first_fit_chunks: 60\n  min_document_frequency: 1\n  dimensions: 16\n";
const things = ["pears", "plums", "figs", "boats", "ropes", "nets", "lamps", "stoves", "chairs", "clocks", "books", "maps"];
const places = ["north shed", "old mill", "harbour wall", "east garden", "long barn"];
const months = ["June", "July", "August", "October"];
const page = (i) => {
  const t = things[i % things.length], p = places[i % places.length], m = months[i % months.length];
  return `# Keeping ${t} at the ${p}\n\nTeam ${i % 9} looks after the ${t} at the ${p} since ${m}.\n\n` +
    `## Counting ${t} in ${m}\n\nA ${t} keeper means the person who counts the ${t} at the ${p} each ${m}. Who pays for lost ${t} at the ${p}? The team that counted them does.\n`;
};

const cli = (a, ...args) => new Promise((done) => {
  execFile(join(binDir, "carrel"), [...args, "--home", a.home], { encoding: "utf8" }, (e, stdout, stderr) => done({ code: e ? e.code : 0, stdout, stderr }));
});
const encoderOf = async () => (await a.post("/api/search", { query: "pears at the mill" })).encoder;
const encoders = async () => (await a.get("/api/encoders")).encoders;
const stateOf = async (name) => (await encoders()).find((e) => e.name === name)?.state;

let a, first;
before(async () => {
  a = await startAppliance({ config });
  for (let i = 0; i < 60; i++) a.drop(`d${i}.md`, page(i));
  await a.settled({ n: 60 });
  first = (await a.fitted(60)).name;
  assert.match(first, /^carrel-lsa/);
  await until("it is searched with", async () => (await encoderOf()) === first);
});
after(() => a?.stop());

/** Searches until the returned function is called; each reply's encoder must be one of `known()`. */
function searching(known) {
  let running = true, n = 0;
  const all = (async () => {
    while (running) {
      const r = await a.post("/api/search", { query: "who counts the figs", mode: n % 2 ? "dense" : "default" });
      assert.ok(r.passages.length > 0, "there is always an answer");
      assert.ok(known().includes(r.encoder), `the encoder is ${r.encoder}`);
      n++;
    }
  })();
  return async () => { running = false; await all; assert.ok(n > 3); };
}

test("a candidate is made beside the published one, gets what comes meanwhile, and leaves again", async () => {
  const stop = searching(() => [first]);
  const r = await cli(a, "encoder", "build", "--dims", "24", "--watch");
  assert.equal(r.code, 0, r.stderr);
  const candidate = (await encoders()).find((e) => e.state === "candidate");
  assert.equal(candidate.dimensions, 24);
  assert.equal(candidate.missing, 0);
  assert.equal(await encoderOf(), first); // nothing was published

  a.drop("late.md", page(7) + "\nA late word about quinces.\n");
  await a.settled({ n: 61 });
  await until("the candidate has the new one too", async () => {
    const e = (await encoders()).find((x) => x.name === candidate.name);
    return e.missing === 0 && e.vectors > candidate.vectors;
  }, { every: 200 });

  const again = await a.post("/api/encoders/build", { dimensions: 24 }); // another, as documents have changed
  assert.equal(again.making, true);
  assert.equal((await a.request("/api/encoders/build", { method: "POST", body: {} })).status, 429); // one at a time
  await until("it is made", async () => { const l = await a.get("/api/encoders"); return !l.making && l.encoders.filter((e) => e.state === "candidate").length === 2; }, { every: 200 });
  for (const e of await encoders()) {
    const gone = await cli(a, "encoder", "remove", e.name);
    assert.equal(gone.code, e.name === first ? 1 : 0, gone.stderr);
    if (e.name === first) assert.match(gone.stderr, /is published/);
  }
  assert.ok([undefined, "retired"].includes(await stateOf(candidate.name)));
  await stop();
  assert.equal((await a.get("/api/encoders")).encoders.filter((e) => e.state === "published").length, 1);
});

test("what cannot be made is said", async () => {
  assert.equal((await a.request("/api/encoders/build", { method: "POST", body: { dimensions: 5 } })).status, 400);
  assert.match((await cli(a, "encoder", "remove", "no-such-one")).stderr, /no such encoder/);
  await a.post("/api/encoders/build", { encoder: "no-such-model" });
  const l = await until("it is told", async () => { const x = await a.get("/api/encoders"); return !x.making && x; }, { every: 200 });
  assert.match(l.last, /no-such-model/);
  await a.post("/api/encoders/build", { dimensions: 20 });
  await a.request("/api/encoders", { method: "DELETE" });
  assert.equal((await a.get("/api/encoders")).making, false);
});

test("two encoders are compared on the tenant's own questions, and one that is not worse is promoted", async () => {
  const known = [first];
  const stop = searching(() => known);
  assert.equal((await cli(a, "encoder", "build", "--dims", "32", "--watch")).code, 0);
  const second = (await encoders()).find((e) => e.state === "candidate").name;
  known.push(second);
  // figures of before are of another state of it
  await until("it is noted as complete", async () => (await a.get("/api/encoders")).last.startsWith(`${second} is complete`));

  const told = JSON.parse((await cli(a, "encoder", "compare", second, "--json")).stdout);
  assert.equal(told.against, first);
  assert.ok(told.default.difference.questions >= 60, `${told.default.difference.questions}`);
  for (const m of ["ndcg_10", "recall_5", "recall_20"]) {
    for (const mode of ["default", "dense"]) {
      const { a: one, b: other, difference } = told[mode];
      assert.ok(Math.abs(difference[m].mean - (other[m].mean - one[m].mean)) < 1e-5);
      assert.ok(difference[m].low <= difference[m].mean && difference[m].mean <= difference[m].high);
    }
  }
  assert.equal((await cli(a, "encoder", "compare", "no-such-one")).code, 4);

  const started = await a.request("/api/encoders", { method: "POST", body: { encoder: second } });
  assert.equal(started.status, 202);
  assert.equal((await started.json()).comparing, true);
  const runs = (await a.get("/api/eval?history=100")).runs.length;
  await until("it is published", async () => (await stateOf(second)) === "published", { every: 200 });
  assert.equal((await a.get("/api/eval?history=100")).runs.length, runs, "the figures there were are taken over");
  assert.equal(await encoderOf(), second);
  const e = (await encoders()).find((x) => x.name === second);
  assert.equal(e.comparison.against, first);
  assert.ok(["same", "better"].includes(e.comparison.verdict));
  assert.ok(e.comparison.questions >= 60 && e.comparison.ndcg_10.low <= e.comparison.ndcg_10.high);
  assert.equal(await stateOf(first), "kept");
  assert.match((await cli(a, "encoder", "list")).stdout, /(no different from|better than) carrel-lsa-\S+: nDCG@10 /);

  assert.equal((await cli(a, "encoder", "rollback")).code, 0); // at once, whatever was measured
  assert.equal(await encoderOf(), first);
  await stop();
});

test("one that is worse is refused with the figures, unless it is forced", async () => {
  assert.equal((await cli(a, "encoder", "build", "--dims", "8", "--watch")).code, 0);
  const poor = (await encoders()).find((e) => e.state === "candidate" && e.dimensions === 8).name;
  const r = await cli(a, "encoder", "promote", poor);
  assert.equal(r.code, 1, r.stdout);
  assert.match(r.stdout, /nDCG@10 +Recall@5 +Recall@20/);
  assert.match(r.stdout, /difference +[+-]\d\.\d{3} \[[+-]\d\.\d{3}, [+-]\d\.\d{3}\]/);
  assert.match(r.stdout, /is not published; --force/);
  assert.match(r.stdout, /worse than carrel-lsa-\S+: nDCG@10 .* by vectors alone nDCG@10 -0\.\d{3} \[-0\.\d{3}, -0\.\d{3}\]/);
  assert.equal(await encoderOf(), first);
  assert.equal(await stateOf(poor), "candidate");
  const again = await a.request("/api/encoders", { method: "POST", body: { encoder: poor } }); // not only on the command line
  assert.equal(again.status, 202);
  await until("it is held back again", async () => (await stateOf(poor)) === "candidate", { every: 200 });
  const forced = await cli(a, "encoder", "promote", poor, "--force");
  assert.equal(forced.code, 0, forced.stderr);
  assert.equal(await encoderOf(), poor);
  assert.match(a.output, /an encoder is to be published.*forced/);
});

test("after a restart what is stored is listed and can be asked for by name", async () => {
  await a.stop({ keep: true });
  a = await startAppliance({ home: a.home, config });
  const stored = (await encoders()).filter((e) => ["published", "kept"].includes(e.state)).map((e) => e.name);
  assert.equal(stored.length, 2);
  const models = (await a.get("/v1/models")).data;
  for (const name of stored) {
    assert.ok(models.some((m) => m.id === name), `${name} in ${models.map((m) => m.id)}`);
    const r = await a.post("/v1/embeddings", { model: name, input: "pears" });
    assert.ok(r.data[0].embedding.length > 0);
  }
  const published = (await encoders()).find((e) => e.state === "published").name;
  assert.equal(models.find((m) => m.id === "carrel-embed").alias_of, published);
});

test("one line again and again gets no fit, is not tried again and again, and no text has the vector of zeros", { timeout: 180_000 }, async () => {
  const b = await startAppliance({ config });
  try {
    b.drop("same.txt", "The falcon is the fastest bird of the whole wide world today.\n".repeat(3000));
    await b.settled({ n: 1 });
    const refused = () => b.output.split("too much alike").length - 1;
    await until("the fit is refused", async () => refused() > 0, { every: 100 });
    await sleep(2500);
    const n = refused();
    await sleep(5000); // a failure that passes would have been tried again twice
    assert.equal(refused(), n);
    const r = await b.post("/v1/embeddings", { model: "carrel-embed", input: ["The falcon is fast.", "Tax law in Bonn"] });
    assert.ok(r.data.every((d) => d.embedding.some((x) => x !== 0)));
  } finally {
    await b.stop();
  }
});
