// Ranking quality through the running services: reads BEIR-layout folders (corpus.jsonl, queries.jsonl, qrels.tsv),
// gives every document to an appliance of its own as a Markdown file, asks its queries by POST /api/search, and
// prints trec-style nDCG@10 (linear gain), Recall@5, Recall@20 and MRR@10 for plain stemmed BM25, vectors alone, full text alone and the default.
//
//   tests/bench/retrieval DIR [--queries 600] [--seed 1] [--reranker FILE.gguf] [--json]
//
// DIR is one set or a folder of sets. A document counts by its best passage; identical documents count as one.
// With a reranker, a model file that is imported first, the default is measured without it and "reranked" with it.
// With --json the last line is {"bm25":{...},"dense":{...},"text":{...},"default":{...}}, for several sets their mean, with "sets".

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { binDir, startAppliance, temporaryHome, until } from "../service/appliance.mjs";

const MODES = ["bm25", "dense", "text", "default"]; // text: the default without vectors
const FIGURES = ["ndcg@10", "recall@5", "recall@20", "mrr@10"];
const DEPTHS = [60, 200]; // passages asked for; more only when they make too few documents
const IN_FLIGHT = 4;

function arguments_() {
  const o = { queries: 600, seed: 1, json: false, reranker: null, dir: null };
  const rest = process.argv.slice(2);
  while (rest.length > 0) {
    const a = rest.shift();
    if (a === "--json") o.json = true;
    else if (a === "--queries" || a === "--seed") o[a.slice(2)] = Number(rest.shift());
    else if (a === "--reranker") o.reranker = rest.shift() ?? "";
    else if (a.startsWith("-") || o.dir !== null) o.bad = true;
    else o.dir = a;
  }
  if (o.bad || o.dir === null || !(o.queries > 0) || !Number.isInteger(o.seed)) {
    console.error("usage: tests/bench/retrieval DIR [--queries N] [--seed N] [--reranker FILE.gguf] [--json]");
    process.exit(2);
  }
  return o;
}

const isSet = (dir) => existsSync(join(dir, "corpus.jsonl"));

function setsIn(dir) {
  if (isSet(dir)) return [dir];
  const found = readdirSync(dir).sort().map((n) => join(dir, n)).filter(isSet);
  if (found.length === 0) {
    console.error(`${dir}: no corpus.jsonl here nor one folder below`);
    process.exit(2);
  }
  return found;
}

const lines = (file) => readFileSync(file, "utf8").split("\n").filter((l) => l !== "");

function readSet(dir) {
  const corpus = lines(join(dir, "corpus.jsonl")).map((l) => JSON.parse(l));
  const queries = lines(join(dir, "queries.jsonl")).map((l) => JSON.parse(l));
  const relevant = new Map();
  for (const line of lines(join(dir, "qrels.tsv"))) {
    const [q, d, grade] = line.split("\t");
    if (!(Number(grade) > 0)) continue;
    if (!relevant.has(q)) relevant.set(q, new Map());
    relevant.get(q).set(d, Number(grade));
  }
  return { corpus, queries: queries.filter((q) => relevant.has(q._id)), relevant };
}

/** The same n of a list for the same seed, in the list's order. */
function sample(list, n, seed) {
  let x = BigInt(seed) * 2862933555777941757n + 3037000493n;
  const keyed = list.map((item, i) => {
    x = (x * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn;
    return { item, i, key: x >> 33n };
  });
  keyed.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : a.i - b.i));
  return keyed.slice(0, n).sort((a, b) => a.i - b.i).map((k) => k.item);
}

/** Markdown that renders as exactly this text: punctuation escaped, no line indented. */
function plain(text) {
  return text.replace(/[!-/:-@[-`{-~]/g, "\\$&").replace(/^[ \t]+/gm, "");
}

/** Writes the corpus; returns which ids stand behind each file name. */
function writeCorpus(corpus, folder) {
  const byText = new Map();
  const ids = new Map();
  let n = 0;
  for (const d of corpus) {
    const title = (d.title ?? "").replace(/\s+/g, " ").trim();
    const text = d.text ?? "";
    if (title === "" && text.trim() === "") continue;
    const body = `${title === "" ? "" : `# ${plain(title)}\n\n`}${plain(text)}\n`;
    if (byText.has(body)) {
      byText.get(body).push(d._id);
      continue;
    }
    const name = `${encodeURIComponent(d._id).slice(0, 120)}-${n}.md`;
    const part = join(folder, `${Math.floor(n++ / 1000)}`);
    mkdirSync(part, { recursive: true });
    writeFileSync(join(part, name), body);
    byText.set(body, [d._id]);
    ids.set(name, byText.get(body));
  }
  return ids;
}

/** Document ids, best first, each once. */
function documentsOf(passages, ids) {
  const ranked = new Set();
  for (const p of passages) {
    for (const id of ids.get(basename(p.document.path)) ?? []) ranked.add(id);
  }
  return [...ranked];
}

function measure(ranked, grades) {
  const gain = (list) => list.slice(0, 10).reduce((s, g, i) => s + g / Math.log2(i + 2), 0);
  const ideal = gain([...grades.values()].sort((a, b) => b - a));
  const first = ranked.slice(0, 10).findIndex((d) => grades.has(d));
  return {
    "ndcg@10": gain(ranked.map((d) => grades.get(d) ?? 0)) / ideal,
    "recall@5": ranked.slice(0, 5).filter((d) => grades.has(d)).length / grades.size,
    "recall@20": ranked.slice(0, 20).filter((d) => grades.has(d)).length / grades.size,
    "mrr@10": first < 0 ? 0 : 1 / (first + 1),
  };
}

async function ask(a, mode, query, ids) {
  let ranked = [];
  for (const top_k of DEPTHS) {
    const { passages, reranker } = await a.post("/api/search", { query, top_k, fold: false,
      mode: mode === "reranked" ? "default" : mode, rerank: mode === "reranked" });
    if (mode === "reranked" && passages.length > 0 && !reranker) throw new Error(`the reranker did not read "${query}"`);
    ranked = documentsOf(passages, ids);
    if (ranked.length >= 20 || passages.length < top_k) break;
  }
  return ranked;
}

async function runMode(a, mode, set, ids) {
  const sums = Object.fromEntries(FIGURES.map((f) => [f, 0]));
  const waiting = [...set.queries];
  await Promise.all(Array.from({ length: IN_FLIGHT }, async () => {
    for (let q = waiting.pop(); q !== undefined; q = waiting.pop()) {
      const m = measure(await ask(a, mode, q.text, ids), set.relevant.get(q._id));
      for (const f of FIGURES) sums[f] += m[f];
    }
  }));
  return Object.fromEntries(FIGURES.map((f) => [f, sums[f] / set.queries.length]));
}

/** Fails as soon as the appliance has ended, rather than wait for what cannot come. */
function whileAlive(a, work) {
  let over = false;
  const ended = a.exited.then(({ code, signal }) => {
    if (!over) throw new Error(`carrel up ended (${signal ?? code})\n${a.output.slice(-4000)}`);
  });
  work.catch(() => {}); // what fails after the end is of no interest
  return Promise.race([work, ended]).finally(() => (over = true));
}

async function runSet(dir, o) {
  const set = readSet(dir);
  set.queries = sample(set.queries, o.queries, o.seed);
  const home = temporaryHome("carrel-retrieval-");
  const ids = writeCorpus(set.corpus, join(home, "watch/main/bench"));
  let config = "http:\n  requests_per_minute: 0\n";
  if (o.reranker !== null) {
    const imported = execFileSync(join(binDir, "carrel"), ["model", "import", o.reranker, "--as", "reranker", "--home", home, "--json"]);
    config += `reranker:\n  model: ${JSON.stringify(JSON.parse(imported).name)}\n  budget: 1m\n`;
  }
  const a = await startAppliance({ home, config });
  try {
    return await whileAlive(a, runQueries(a, dir, set, ids));
  } finally {
    await a.stop({ keep: true }).catch((e) => console.error(e.message));
    rmSync(dirname(home), { recursive: true, force: true });
  }
}

async function runQueries(a, dir, set, ids) {
  const start = performance.now();
  const list = await a.settled({ n: ids.size, timeout: 1_800_000 });
  const failed = list.filter((d) => d.state === "failed");
  for (const d of failed.slice(0, 3)) console.error(`  ${d.path}: ${d.error}`);
  const chunks = list.reduce((s, d) => s + (d.chunks ?? 0), 0);
  // the encoder is fitted from 200 chunks on and again as the collection grows: wait for the last
  let quiet = 0;
  await until("the encoder covers every chunk", async () => {
    const models = (await a.get("/v1/models")).data.filter((m) => m.id.startsWith("carrel-lsa-"));
    const p = await a.get("/api/progress");
    quiet = (models.length > 0 || chunks < 200) && !p.doing ? quiet + 1 : 0;
    return quiet >= 4;
  }, { timeout: 1_800_000, every: 500 });
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.error(`${basename(dir)}: ${ids.size} documents, ${failed.length} failed, ${chunks} chunks, ${seconds} s`);
  const figures = {};
  for (const mode of MODES) figures[mode] = await runMode(a, mode, set, ids);
  return figures;
}

function row(name, figures) {
  const cells = MODES.map((m) => FIGURES.map((f) => figures[m][f].toFixed(3)).join(" "));
  const gain = (f) => {
    const d = figures.default[f] - figures.bm25[f];
    return (d < 0 ? "" : "+") + d.toFixed(4);
  };
  console.log(`${name.padEnd(16)} ${cells.join("   ")}   ${gain("ndcg@10")} ${gain("recall@20")}`);
}

const o = arguments_();
if (o.reranker !== null) MODES.push("reranked");
const all = {};
console.log(`${"".padEnd(16)} ${MODES.map((m) => m.padEnd(23)).join("   ")}   gain of default`);
console.log(`${"set".padEnd(16)} ${MODES.map(() => "nDCG  R@5   R@20  MRR  ").join("   ")}   nDCG@10 R@20`);
for (const dir of setsIn(o.dir)) {
  all[basename(dir)] = await runSet(dir, o);
  row(basename(dir), all[basename(dir)]);
}
const sets = Object.values(all);
const mean = Object.fromEntries(MODES.map((m) => [m, Object.fromEntries(FIGURES.map((f) => [f, sets.reduce((s, x) => s + x[m][f], 0) / sets.length]))]));
if (sets.length > 1) row("mean", mean);
if (o.json) console.log(JSON.stringify(sets.length > 1 ? { ...mean, sets: all } : mean));
