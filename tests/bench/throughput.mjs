#!/usr/bin/env node
// How well the cores are used while a mixed folder of 1,000 files is read, and how many pages of PDF a second beside
// bare pdftotext, two at a time, over the same files in the same run.
//
//   throughput.mjs [DIR] [--files N] [--runs N] [--json]
//
// The files are made here: text, Markdown, HTML, CSV, JSON, mail, DOCX and PDF. With DIR the distinct files below it
// come first, and its PDFs are the ones that are compared. Embedding is left out (first_fit_chunks out of reach), and so
// is OCR, which pdftotext does not do either.
// The watched folder is filled while the appliance is off; the clock runs from its start until all is settled.
// Busy: the cores' time that was not idle (/proc/stat). Own: the processor time of the appliance's processes alone;
// on a machine that nobody else uses the two are the same.

import { spawn } from "node:child_process";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { extname, join } from "node:path";
import { startAppliance, temporaryHome, until } from "../service/appliance.mjs";
import { makePdf } from "../service/pdf.mjs";
import { makeDocx } from "../service/zip.mjs";
import { option, quantile } from "./corpus.mjs";

const dir = process.argv[2] && !process.argv[2].startsWith("--") ? process.argv[2] : null;
const wanted = option("files", 1000);
const runs = option("runs", 3);
const cores = availableParallelism();
const HZ = 100; // of /proc/*/stat, on every Linux

// ---- files ----

let state = 12345;
const random = (n) => (state = (state * 1103515245 + 12345) % 2147483648) % n;
const vocabulary = Array.from({ length: 4000 }, (_, i) => "bcdfghklmnprst"[i % 14] + "aeiou"[i % 5] + "lmnrst"[i % 6] + "aeiou"[(i >> 3) % 5] + i.toString(36));
const sentence = () => Array.from({ length: 8 + random(14) }, () => vocabulary[Math.min(random(4000), random(4000))]).join(" ") + ".";
const paragraph = () => Array.from({ length: 3 + random(5) }, sentence).join(" ");
const paragraphs = (n) => Array.from({ length: n }, paragraph);

const makers = {
  txt: () => paragraphs(4 + random(30)).join("\n\n"),
  md: () => paragraphs(3 + random(20)).map((p, i) => (i % 4 ? p : `## ${sentence()}\n\n${p}`)).join("\n\n"),
  html: () => `<html><head><title>${sentence()}</title></head><body><nav>a b c</nav>${paragraphs(4 + random(20)).map((p) => `<p>${p}</p>`).join("\n")}</body></html>`,
  csv: () => "id,name,remark\n" + Array.from({ length: 20 + random(400) }, (_, i) => `${i},${vocabulary[random(4000)]},"${sentence()}"`).join("\n"),
  json: () => JSON.stringify(Array.from({ length: 5 + random(60) }, (_, i) => ({ id: i, title: sentence(), body: paragraph() }))),
  eml: () => `From: A <a@example.org>\r\nTo: B <b@example.org>\r\nSubject: ${sentence()}\r\nDate: Mon, 6 Jan 2025 10:00:00 +0000\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n${paragraphs(2 + random(8)).join("\r\n\r\n")}`,
  docx: () => makeDocx(paragraphs(4 + random(30))),
  pdf: () => makePdf(Array.from({ length: 2 + random(12) }, () => Array.from({ length: 40 }, () => sentence().slice(0, 90)))),
};
const share = ["txt", "md", "html", "csv", "json", "eml", "docx", "pdf", "txt", "eml"];

function* walk(d) {
  for (const e of readdirSync(d, { withFileTypes: true })) {
    if (["expected", "hostile", "ocr", "archive"].includes(e.name)) continue;
    const p = join(d, e.name);
    if (e.isDirectory()) yield* walk(p);
    else if (e.isFile() && statSync(p).size > 0 && !/\.(tsv|md5)$|^MANIFEST/.test(e.name)) yield p;
  }
}
function given() {
  const seen = new Map();
  if (dir) for (const p of walk(dir)) seen.set(readFileSync(p).toString("base64"), p);
  return [...seen.values()].slice(0, wanted);
}
const own = given();
const files = own.map((p, i) => ({ name: `given${i}${extname(p).toLowerCase()}`, from: p }));
for (let i = files.length; i < wanted; i++) files.push({ name: `made${i}.${share[i % share.length]}`, content: makers[share[i % share.length]]() });
const pdfs = dir ? files.filter((f) => f.name.endsWith(".pdf") && f.from) : files.filter((f) => f.name.endsWith(".pdf"));

function fill(home, list) {
  const watch = join(home, "watch/main");
  mkdirSync(watch, { recursive: true });
  for (const f of list) f.from ? copyFileSync(f.from, join(watch, f.name)) : writeFileSync(join(watch, f.name), f.content, f.name.endsWith(".pdf") ? "latin1" : "utf8");
  return watch;
}

// ---- time ----

function machine() {
  const f = readFileSync("/proc/stat", "utf8").split("\n")[0].trim().split(/\s+/).slice(1).map(Number);
  return { idle: f[3] + f[4], all: f.slice(0, 8).reduce((a, b) => a + b, 0) };
}
/** Processor time in ms of the process and all that came from it, those that have ended too. */
function spent(root) {
  const of = new Map();
  for (const e of readdirSync("/proc")) {
    if (!/^\d+$/.test(e)) continue;
    try {
      const t = readFileSync(`/proc/${e}/stat`, "utf8");
      const f = t.slice(t.lastIndexOf(")") + 2).split(" ");
      of.set(Number(e), { parent: Number(f[1]), ticks: Number(f[11]) + Number(f[12]) + Number(f[13]) + Number(f[14]) });
    } catch {} // it has ended meanwhile
  }
  let sum = 0;
  for (const [pid, p] of of) {
    for (let at = pid; at > 1; at = of.get(at)?.parent ?? 0) {
      if (at === root) {
        sum += p.ticks;
        break;
      }
    }
  }
  return (sum * 1000) / HZ;
}

async function indexed(list) {
  const home = temporaryHome("carrel-bench-");
  fill(home, list);
  const a = await startAppliance({ home, config: "http:\n  requests_per_minute: 0\nencoder:\n  first_fit_chunks: 1000000\nocr:\n  enabled: false\n" });
  const before = machine();
  const cpu = spent(a.child.pid);
  const start = performance.now();
  await until(
    "every file is ready or failed",
    async () => {
      const p = await a.get("/api/progress").catch(() => null);
      return p && p.queued + p.working === 0 && p.ready + p.failed >= list.length && p;
    },
    { timeout: 1_200_000, every: 25 },
  );
  const ms = performance.now() - start;
  const after = machine();
  const p = await a.get("/api/progress");
  const own = (spent(a.child.pid) - cpu) / (ms * cores);
  await a.stop();
  return { ms, busy: 1 - (after.idle - before.idle) / (after.all - before.all), own, cpu: own * ms * cores, pages: p.pages, chunks: p.chunks, failed: p.failed };
}

/** pdftotext as a user would call it, as many at a time as there are cores. */
async function bare(folder, names) {
  let next = 0;
  const cpu = spent(process.pid);
  const start = performance.now();
  const worker = async () => {
    while (next < names.length) {
      const name = names[next++];
      await new Promise((done) => spawn("pdftotext", [join(folder, name), "-"], { stdio: "ignore" }).on("exit", done));
    }
  };
  await Promise.all(Array.from({ length: cores }, worker));
  return { ms: performance.now() - start, cpu: spent(process.pid) - cpu };
}

console.log(`${files.length} files (${own.length} given), ${cores} cores; ${pdfs.length} PDFs compared`);
const folder = fill(temporaryHome("carrel-bench-"), pdfs);
const out = [];
for (let i = 0; i < runs; i++) {
  const mixed = await indexed(files);
  const theirs = await bare(folder, pdfs.map((f) => f.name));
  const ours = await indexed(pdfs);
  out.push({ mixed, theirs, ours });
  console.log(
    `run ${i + 1}: mixed ${(mixed.ms / 1000).toFixed(1)} s, ${(files.length / (mixed.ms / 1000)).toFixed(0)} files/s, ${mixed.chunks} chunks, ${mixed.failed} failed, ` +
      `cores busy ${(100 * mixed.busy).toFixed(0)} %, own ${(100 * mixed.own).toFixed(0)} %; ` +
      `PDF ${ours.pages} pages: pdftotext ${((1000 * ours.pages) / theirs.ms).toFixed(0)}/s, indexed ${((1000 * ours.pages) / ours.ms).toFixed(0)}/s (own ${(100 * ours.own).toFixed(0)} %), ratio ${(ours.ms / theirs.ms).toFixed(2)}, by processor time ${(ours.cpu / theirs.cpu).toFixed(2)}`,
  );
}
const median = (f) => quantile(out.map(f), 0.5);
console.log(`median: busy ${(100 * median((r) => r.mixed.busy)).toFixed(0)} % (aim: at least 90), ratio ${median((r) => r.ours.ms / r.theirs.ms).toFixed(2)} (aim: at most 1.25), by processor time ${median((r) => r.ours.cpu / r.theirs.cpu).toFixed(2)}`);
if (option("json", false)) console.log(JSON.stringify(out));
process.exit(0);
