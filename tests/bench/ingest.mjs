#!/usr/bin/env node
// Time to index a folder of documents, against the extractor binary alone, two at a time, on the same files in
// the same run. Usage: ingest.mjs DIR [--runs N] [--json]
//
// Only the five kinds of file are taken. Embedding is counted apart: the encoder is kept from being fitted
// (first_fit_chunks out of reach), so that passages are stored without vectors; a further run with it on says
// what it adds. The watched folder is filled while the appliance is off; the clock runs from ready to settled.

import { spawn } from "node:child_process";
import { copyFileSync, mkdirSync, openSync, closeSync, readdirSync, statSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { extname, join } from "node:path";
import { binDir, startAppliance, temporaryHome, until } from "../service/appliance.mjs";
import { option, quantile } from "./corpus.mjs";

const dir = process.argv[2];
if (!dir || dir.startsWith("--")) {
  console.error("usage: ingest.mjs DIR [--runs N] [--json]");
  process.exit(2);
}
const runs = option("runs", 3);
const formats = { ".txt": "txt", ".md": "md", ".html": "html", ".pdf": "pdf", ".docx": "docx" };

function* walk(d) {
  for (const e of readdirSync(d, { withFileTypes: true })) {
    if (e.name === "expected") continue;
    const p = join(d, e.name);
    if (e.isDirectory()) yield* walk(p);
    else if (e.isFile() && formats[extname(e.name).toLowerCase()]) yield p;
  }
}
// the same content twice would be stored once: every file is made different from the others by its folder only
const files = [...walk(dir)].filter((p) => statSync(p).size > 0);
const seen = new Map();
for (const p of files) seen.set(readFileSync(p).toString("base64"), p);
const distinct = [...seen.values()];

async function bare() {
  const start = performance.now();
  let next = 0;
  const one = () =>
    new Promise((done) => {
      const p = distinct[next++];
      const fd = openSync(p, "r");
      const c = spawn(join(binDir, "carrel-extract"), ["--format", formats[extname(p).toLowerCase()]], { stdio: [fd, "ignore", "ignore"] });
      c.on("exit", () => {
        closeSync(fd);
        done();
      });
    });
  const worker = async () => {
    while (next < distinct.length) await one();
  };
  await Promise.all([worker(), worker()]);
  return performance.now() - start;
}

async function appliance(fit) {
  const home = temporaryHome("carrel-bench-");
  mkdirSync(join(home, "watch/main"), { recursive: true });
  distinct.forEach((p, i) => copyFileSync(p, join(home, "watch/main", `${String(i).padStart(4, "0")}${extname(p).toLowerCase()}`)));
  const a = await startAppliance({ home, config: fit ? "http:\n  requests_per_minute: 0\n" : "http:\n  requests_per_minute: 0\nencoder:\n  first_fit_chunks: 1000000\n" });
  const start = performance.now();
  const list = await until("every file is ready or failed", async () => {
    const p = await a.get("/api/progress").catch(() => null);
    if (!p || p.queued + p.working > 0 || p.ready + p.failed < distinct.length) return null;
    return a.documents();
  }, { timeout: 1_200_000, every: 20 });
  const ms = performance.now() - start;
  if (fit) {
    await until("the fit is published", async () => (await a.get("/v1/models")).data.some((m) => m.id.startsWith("carrel-lsa-")), { timeout: 600_000, every: 50 });
  }
  const withFit = performance.now() - start;
  const chunks = list.reduce((n, d) => n + d.chunks, 0);
  const failed = list.filter((d) => d.state === "failed").length;
  await a.stop();
  return { ms, withFit, chunks, failed };
}

console.log(`${distinct.length} distinct files of the five kinds, ${availableParallelism()} cores`);
const ours = [];
const theirs = [];
let last;
for (let i = 0; i < runs; i++) {
  theirs.push(await bare());
  last = await appliance(false);
  ours.push(last.ms);
  console.log(`run ${i + 1}: extractor alone ${theirs[i].toFixed(0)} ms, indexed ${ours[i].toFixed(0)} ms, ratio ${(ours[i] / theirs[i]).toFixed(2)}`);
}
const full = await appliance(true);
const ratio = quantile(ours.map((x, i) => x / theirs[i]), 0.5);
console.log(`${last.chunks} chunks, ${last.failed} files failed (with a reason)`);
console.log(`ratio: median ${ratio.toFixed(2)} (aim: at most 1.5)`);
console.log(`with the encoder: settled after ${full.ms.toFixed(0)} ms, first fit published and everything embedded after ${full.withFit.toFixed(0)} ms`);
if (option("json", false)) console.log(JSON.stringify({ files: distinct.length, chunks: last.chunks, bare_ms: quantile(theirs, 0.5), indexed_ms: quantile(ours, 0.5), ratio, with_encoder_ms: full.withFit }));
