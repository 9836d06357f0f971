// Imported models in the whole appliance: an encoder embeds a tenant and is published, a reranker orders, and without
// them everything is as before. The models have random weights: what is tested is who answers, not how well.

import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, rmdirSync, writeFileSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { binDir, startAppliance, temporaryHome, until } from "./appliance.mjs";

const fixture = join(dirname(binDir), "tests/fixture-model");
const home = temporaryHome();
let a;
let files;
let blocked;

function run(args, env = {}) {
  return new Promise((done) => {
    const e = { ...process.env, CARREL_HOME: home, CARREL_PORT: "", CARREL_KEY: "", NO_COLOR: "1", ...env };
    execFile(join(binDir, "carrel"), args, { env: e, maxBuffer: 1 << 24 }, (error, stdout, stderr) =>
      done({ code: error ? error.code : 0, stdout, stderr }));
  });
}

const packed = () => readdirSync(join(home, "models")).filter((f) => f.endsWith(".v1.packed")).map((f) => join(home, "models", f)).sort();

async function encoders() {
  return (await a.get("/api/encoders")).encoders;
}

const config = (reranker) =>
  `http:\n  requests_per_minute: 0\nencoder:\n  model: fixture\nreranker:\n  model: ${reranker}\n  candidates: 8\n  budget: 20s\n`;

before(async () => {
  files = dirname(home);
  mkdirSync(files, { recursive: true });
  execFileSync(fixture, [join(files, "encoder.gguf"), "bert"]);
  execFileSync(fixture, [join(files, "judge.gguf"), "bert", "head"]);
});

after(async () => {
  if (a === undefined) return;
  const end = await a.stop();
  assert.equal(end.code, 0, a.output.slice(-4000));
  assert.doesNotMatch(a.output, /AddressSanitizer|LeakSanitizer|runtime error/, a.output.slice(-6000));
});

test("import checks the role, names the model, and is listed", async () => {
  const wrong = await run(["model", "import", join(files, "judge.gguf"), "--as", "encoder"]);
  assert.equal(wrong.code, 1);
  assert.match(wrong.stderr, /--as reranker/);
  const none = await run(["model", "import", join(files, "judge.gguf")]);
  assert.equal(none.code, 2);
  const e = await run(["model", "import", join(files, "encoder.gguf"), "--as", "encoder", "--json", "--passage-prefix", "w5 "]);
  assert.equal(e.code, 0, e.stderr);
  const made = JSON.parse(e.stdout);
  assert.equal(made.name, "fixture");
  assert.equal(made.candidate, false); // nothing runs yet
  assert.match(made.encoder, /^gguf-[0-9a-f]{16}$/);
  const j = await run(["model", "import", join(files, "judge.gguf"), "--as", "reranker"]);
  assert.equal(j.code, 0, j.stderr);
  assert.match(j.stdout, /reranker\.model: fixture-judge/);
  const list = JSON.parse((await run(["model", "list", "--json"])).stdout).models;
  assert.deepEqual(list.map((m) => [m.name, m.role]), [["fixture", "encoder"], ["fixture-judge", "reranker"]]);
  const again = await run(["model", "import", join(files, "judge.gguf"), "--as", "reranker"]);
  assert.equal(again.code, 0, again.stderr); // the same once more: fine
  const v = await run(["model", "verify"]);
  assert.equal(v.code, 0, v.stderr);
  assert.ok(list.every((m) => m.packed_bytes > 4096));
  assert.equal(packed().length, 2);
  assert.match((await run(["model", "list"])).stdout, /packed \d/);
  const bench = await run(["model", "bench", "fixture", "--prompt", "16", "--json"]);
  assert.equal(bench.code, 0, bench.stderr);
  assert.equal(JSON.parse(bench.stdout).weights, "mapped");
  assert.equal(readdirSync(join(home, "models")).filter((f) => f.endsWith(".gguf")).length, 2);
});

test("damaged packed weights are seen, taken away and made anew by whoever needs them", async () => {
  const [first, second] = packed();
  const at = openSync(first, "r+");
  writeSync(at, "damage", 5000);
  closeSync(at);
  const v = await run(["model", "verify"]);
  assert.equal(v.code, 1);
  assert.match(v.stderr, /packed weights are damaged and were taken away; they are made anew/);
  assert.deepEqual(packed(), [second]);
  // The next test's appliance refuses this one and makes it anew, and cannot write the other.
  writeFileSync(second, "stale");
  blocked = `${first}.making`;
  mkdirSync(blocked);
});

test("what encoder.model names embeds the tenant and is published; nothing is mixed", { timeout: 180_000 }, async () => {
  a = await startAppliance({ home, config: config("fixture-judge") });
  for (let i = 0; i < 30; i++) {
    a.drop(`notes/${i}.md`, `# w${3 + i}\n\nw${100 + i} w${140 + i} w${180 + i} alpha${i} keeps the winter stores.\n`);
  }
  await a.settled({ n: 30 });
  const name = JSON.parse((await run(["model", "list", "--json"])).stdout).models[0].encoder;
  await until("the imported encoder is published", async () =>
    (await encoders()).some((e) => e.name === name && e.state === "published" && e.vectors >= 30), { timeout: 90_000 });
  const dense = await a.post("/api/search", { query: "w105 w145", mode: "dense", top_k: 5 });
  await a.post("/api/search", { query: "winter stores", top_k: 5 }); // the reranker is opened too
  assert.equal((await run(["model", "verify"])).code, 0);
  await until("who cannot write them says so and packs in memory", () => /weights are packed in memory/.test(a.output));
  assert.equal(packed().length, 1);
  rmdirSync(blocked);
  assert.equal(dense.encoder, name);
  assert.equal(dense.passages.length, 5);
  a.drop("notes/late.md", "# Late\n\nw200 w201 omega arrives later.\n");
  await a.settled({ n: 31 });
  await until("the late one has its vector", async () => (await encoders()).find((e) => e.name === name).vectors >= 31);
});

test("the reranker orders, says so, and can be left out", { timeout: 180_000 }, async () => {
  const ask = { query: "winter stores", top_k: 5, fold: false };
  const without = await a.post("/api/search", { ...ask, rerank: false });
  assert.equal(without.reranker, undefined);
  const ranked = await a.post("/api/search", ask);
  assert.equal(ranked.reranker, "fixture-judge");
  assert.equal(ranked.reranked, 8);
  const scores = ranked.passages.map((p) => p.why.rerank_score);
  assert.deepEqual(scores, [...scores].sort((x, y) => y - x));
  assert.ok(ranked.passages.every((p) => p.why.rank_before >= 1 && p.why.rank_before <= 8));
  // the same model reads the same texts for POST /v1/rerank, in more than one call
  const documents = Array.from({ length: 70 }, (_, i) => `w${i} winter stores alpha${i % 7}`);
  const r = await a.post("/v1/rerank", { model: "fixture-judge", query: "winter stores", documents });
  assert.equal(r.model, "fixture-judge");
  assert.deepEqual(r.results.map((x) => x.index).sort((x, y) => x - y), documents.map((_, i) => i));
  const order = r.results.map((x) => x.relevance_score);
  assert.deepEqual(order, [...order].sort((x, y) => y - x));
  assert.ok(order.every((x) => x > 0 && x < 1) && order[0] > order.at(-1));
  const before = without.passages.map((p) => p.document.path);
  for (const p of ranked.passages) {
    const at = before.indexOf(p.document.path);
    if (at >= 0) assert.equal(p.why.rank_before, at + 1);
  }
  const e = await run(["explain", "winter stores"]);
  assert.equal(e.code, 0, e.stderr);
  assert.match(e.stdout, /reranker: score -?\d+\.\d+, before it at place \d/);
  assert.match(e.stdout, /put in order by the reranker fixture-judge/);
});

test("search, answers, their record and the command line name the models with sum and kernels", { timeout: 180_000 }, async () => {
  const list = JSON.parse((await run(["model", "list", "--json"])).stdout).models;
  const line = (name) => new RegExp(`^${name} \\(sha256 ${list.find((m) => m.name === name).sha256.slice(0, 12)}, (scalar|avx2|avx512)\\)$`);
  const found = await a.post("/api/search", { query: "winter stores" });
  assert.match(found.encoder_model, line("fixture"));
  assert.match(found.reranker_model, line("fixture-judge"));
  const answer = await a.post("/v1/chat/completions", { model: "carrel", messages: [{ role: "user", content: "Who keeps the winter stores?" }] });
  const { search } = answer.carrel;
  assert.match(search.encoder, /^gguf-/);
  assert.match(search.encoder_model, line("fixture"));
  assert.match(search.reranker_model, line("fixture-judge"));
  const record = await a.get(`/api/answers/${answer.carrel.answer_id}`);
  assert.deepEqual(record.search, search);
  for (const [args, to] of [[["search", "winter stores"], "stderr"], [["ask", "Who keeps the winter stores?"], "stdout"]]) {
    assert.match((await run(args))[to], /\(found by fixture \(sha256 .*\), put in order by fixture-judge \(sha256 .*\)\)/);
  }
  const without = await a.post("/api/search", { query: "winter stores", mode: "text", rerank: false });
  assert.equal(without.reranker_model, undefined);
});

test("what is longer than a model reads is refused with the counts, or cut where that is asked for", { timeout: 180_000 }, async () => {
  const name = JSON.parse((await run(["model", "list", "--json"])).stdout).models[0].encoder;
  const words = (n) => Array.from({ length: n }, (_, i) => `w${3 + (i % 300)}`).join(" ");
  const embed = (input, more) => a.request("/v1/embeddings", { method: "POST", body: { model: name, input, ...more } });
  const many = [...Array(300).fill("w5 w6"), words(400), "w7"]; // beyond the first call to embed
  const long = await embed(many);
  assert.equal(long.status, 400);
  const { error } = await long.json();
  assert.equal(error.code, "context_length_exceeded");
  assert.match(error.message, /^input\[300\] has 40\d tokens; fixture reads 128 at most/);
  const cut = await (await embed(many, { truncate: true })).json();
  assert.equal(cut.data.length, 302);
  assert.deepEqual(cut.carrel, { truncated: 1 });
  const short = await (await embed("w5 w6")).json();
  assert.equal(short.carrel, undefined);
  const huge = await embed(words(100_000), { truncate: true });
  assert.equal(huge.status, 400);
  assert.match((await huge.json()).error.message, /input\[0\] is longer than 262144 bytes/);
  const builtin = await a.request("/v1/embeddings", { method: "POST", body: { model: "carrel-hash", input: words(40_000) } });
  assert.equal(builtin.status, 200); // counts words, however many
  a.drop("notes/long.md", `# Long\n\n${words(1500)} winter stores.\n`); // passages of more tokens than the judge reads
  await a.settled({ n: 32 });
  const ranked = await a.post("/api/search", { query: `winter stores ${words(150)}`, top_k: 5, fold: false });
  assert.equal(ranked.reranked, 8);
  assert.ok(ranked.passages.every((p) => Number.isFinite(p.why.rerank_score)));
});

test("a model that a setting names stays; import while running makes a candidate", { timeout: 180_000 }, async () => {
  const held = await run(["model", "remove", "fixture"]);
  assert.equal(held.code, 1);
  assert.match(held.stderr, /encoder\.model/);
  const r = await run(["model", "import", join(files, "encoder.gguf"), "--as", "encoder", "--name", "other", "--json"]);
  assert.equal(r.code, 0, r.stderr);
  const other = JSON.parse(r.stdout);
  assert.equal(other.candidate, true, r.stderr);
  await until("the candidate is complete", async () =>
    (await encoders()).some((e) => e.name === other.encoder && e.state === "candidate" && e.missing === 0));
  const dense = await a.post("/api/search", { query: "w105", mode: "dense", top_k: 3 });
  assert.notEqual(dense.encoder, other.encoder);

  const used = await run(["model", "remove", "other"]);
  assert.equal(used.code, 1);
  assert.match(used.stderr, /tenant main has vectors of other/);
  assert.equal((await run(["encoder", "remove", other.encoder])).code, 0);
  const unused = await run(["model", "remove", "other"]);
  assert.equal(unused.code, 0, unused.stderr);
  const forced = await run(["model", "remove", "fixture-judge", "--force", "--json"]);
  assert.deepEqual(JSON.parse(forced.stdout), { removed: "fixture-judge" }, forced.stderr);
});

test("without the reranker the fused order stands, and a note says so", { timeout: 180_000 }, async () => {
  const r = await a.stop({ keep: true });
  assert.equal(r.code, 0);
  a = await startAppliance({ home, config: config("nobody") });
  const found = await until("search finds", async () => {
    const f = await a.post("/api/search", { query: "winter stores", top_k: 3 }).catch(() => null);
    return f !== null && f.passages.length > 0 ? f : null;
  });
  assert.equal(found.passages.length, 3, JSON.stringify(found));
  assert.equal(found.reranker, undefined);
  assert.ok(found.notes.some((n) => /reranker/.test(n) && /nobody/.test(n)), found.notes.join("; "));
  const doctor = (await run(["doctor"])).stdout;
  assert.match(doctor, /models +vectors by fixture \(sha256 [0-9a-f]{12}\)/);
  assert.match(doctor, /models +reranker\.model: [^]*-> bring it in \(`carrel model import FILE --as reranker --name nobody`\)/);
  assert.ok(existsSync(join(home, "models")));
});
