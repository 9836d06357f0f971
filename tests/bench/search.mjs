#!/usr/bin/env node
// Search through HTTP over 100,000 chunks: p50 and p99, beside the bare SQLite FTS5 and FAISS calls made
// in-process in the same run (tests/bench/bare_search.c says which).
// Usage: search.mjs [--chunks N] [--queries N] [--json]

import { execFileSync } from "node:child_process";
import { Agent, request } from "node:http";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { binDir, startAppliance, temporaryHome, until } from "../service/appliance.mjs";
import { option, quantile, questions, sections } from "./corpus.mjs";

const chunks = option("chunks", 100_000);
const nQueries = option("queries", 500);
const perFile = 50;

const list = [...sections(chunks)];
const asked = questions(list, nQueries);
const home = temporaryHome("carrel-bench-");
const folder = dirname(home);
mkdirSync(join(home, "watch/main/bench"), { recursive: true });
for (let i = 0; i < list.length; i += perFile) {
  const text = list.slice(i, i + perFile).map((s) => `## ${s.heading}\n\n${s.text}\n`).join("\n");
  writeFileSync(join(home, "watch/main/bench", `${i / perFile}.md`), `# Volume ${i / perFile}\n\n${text}`);
}
writeFileSync(join(folder, "sections"), list.map((s) => `${s.heading} ${s.text}\n`).join(""));
writeFileSync(join(folder, "queries"), asked.map((q) => `${q}\n`).join(""));

const a = await startAppliance({ home, config: "http:\n  requests_per_minute: 0\n" });
const files = Math.ceil(list.length / perFile);
let start = performance.now();
let shown = 0;
await until("everything is indexed", async () => {
  const p = await a.get("/api/progress").catch(() => null);
  if (p && p.ready - shown >= files / 10) {
    shown = p.ready;
    console.error(`  ${p.ready} of ${files} files after ${((performance.now() - start) / 1000).toFixed(0)} s`);
  }
  return p && p.ready >= files;
}, { timeout: 3_600_000, every: 200 });
const indexed = performance.now() - start;
const n = (await a.documents()).reduce((s, d) => s + d.chunks, 0);
console.log(`${n} chunks indexed in ${(indexed / 1000).toFixed(1)} s (${((1000 * n) / indexed).toFixed(0)} a second, full text)`);
start = performance.now();
await until("the encoder covers every chunk", async () => {
  const m = (await a.get("/v1/models")).data.filter((x) => x.id.startsWith("carrel-lsa-"));
  const p = await a.get("/api/progress").catch(() => null);
  return m.length > 0 && p && !p.doing;
}, { timeout: 3_600_000, every: 500 });
console.log(`encoder fitted and everything embedded ${((performance.now() - start) / 1000).toFixed(1)} s later`);

const agent = new Agent({ keepAlive: true, maxSockets: 1 });
const target = new URL(a.url + "/api/search");
function search(query) {
  const body = JSON.stringify({ query });
  return new Promise((done, fail) => {
    const t = performance.now();
    const r = request(target, { agent, method: "POST", headers: { authorization: `Bearer ${a.key}`, "content-type": "application/json", "content-length": Buffer.byteLength(body) } }, (res) => {
      let text = "";
      res.on("data", (c) => (text += c));
      res.on("end", () => (res.statusCode === 200 ? done({ ms: performance.now() - t, passages: JSON.parse(text).passages }) : fail(new Error(`${res.statusCode} ${text}`))));
    });
    r.on("error", fail);
    r.end(body);
  });
}
for (const q of asked.slice(0, 50)) await search(q);
const ms = [];
let empty = 0;
for (const q of asked) {
  const r = await search(q);
  ms.push(r.ms);
  if (r.passages.length === 0) empty++;
}
await a.stop({ keep: true });
const bare = JSON.parse(execFileSync(join(binDir, "bench-bare-search"), [join(folder, "sections"), join(folder, "queries")], { env: { ...process.env, OPENBLAS_NUM_THREADS: "1", OMP_NUM_THREADS: "1" }, encoding: "utf8" }));
rmSync(folder, { recursive: true, force: true });
const p50 = quantile(ms, 0.5);
const p99 = quantile(ms, 0.99);
console.log(`search through HTTP, ${n} chunks, ${asked.length} questions: p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms (${empty} found nothing)`);
console.log(`bare FTS5 + FAISS flat, all words:  p50 ${bare.all.p50} ms, p99 ${bare.all.p99} ms; ratio at p50 ${(p50 / bare.all.p50).toFixed(2)}`);
console.log(`bare FTS5 + FAISS flat, rare words: p50 ${bare.rare.p50} ms, p99 ${bare.rare.p99} ms; ratio at p50 ${(p50 / bare.rare.p50).toFixed(2)} (aim: at most 1.5)`);
if (option("json", false)) console.log(JSON.stringify({ chunks: n, p50, p99, bare, ratio_all: p50 / bare.all.p50, ratio_rare: p50 / bare.rare.p50 }));
process.exit(0);
