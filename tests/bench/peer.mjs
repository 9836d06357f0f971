#!/usr/bin/env node
// Our speed beside node-llama-cpp's engine on the same GGUF file, turn by turn in one run: medians and ratios.
// Usage: peer.mjs FILE.gguf NODE_MODULES [--prompt N] [--generate N] [--threads N] [--streams N] [--rounds N]
// NODE_MODULES: where `npm install --ignore-scripts node-llama-cpp@3.22.1` put its packages. Processor time counts
// beside the clock's: other programs change it less. An encoder's file measures texts of --prompt tokens.

import { execFileSync } from "node:child_process";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { option, quantile } from "./corpus.mjs";

const [file, modules] = process.argv.slice(2);
if (modules === undefined) {
  console.error("usage: peer.mjs FILE.gguf NODE_MODULES [--prompt N] [--generate N] [--threads N] [--streams N] [--rounds N]");
  process.exit(2);
}
const prompt = option("prompt", 512);
const generate = option("generate", 32);
const threads = option("threads", 1);
const streams = option("streams", 1);
const rounds = option("rounds", 5);
const carrel = join(process.env.CARREL_BIN ?? join(import.meta.dirname, "../../build/release/bin"), "carrel");
const { getLlama, LlamaLogLevel } = await import(pathToFileURL(resolve(modules, "node-llama-cpp/dist/index.js")).href);

function ours() {
  const args = ["model", "bench", file, "--json"];
  for (const [name, n] of Object.entries({ prompt, generate, threads, streams })) args.push(`--${name}`, String(n));
  return JSON.parse(execFileSync(carrel, args, { encoding: "utf8" }));
}

async function timed(n, work) {
  const cpu = process.cpuUsage();
  const start = performance.now();
  await work();
  const used = process.cpuUsage(cpu);
  return { wall: (n / (performance.now() - start)) * 1000, cpu: (n / (used.user + used.system)) * 1e6 };
}

const llama = await getLlama({ gpu: false, build: "never", skipDownload: true, logLevel: LlamaLogLevel.error });
const model = await llama.loadModel({ modelPath: file });
const encoder = model.fileInfo.metadata.general.architecture.includes("bert");
const tokens = (n, from) => Array.from({ length: n }, (_, i) => 1000 + ((from + i * 7919) % 20000));

async function texts() {
  const context = await model.createEmbeddingContext({ contextSize: prompt + 8, batchSize: prompt + 8, threads });
  const one = (i) => context.getEmbeddingFor(tokens(prompt - 2, i));
  await one(0);
  return async () => ({ texts: await timed(8, async () => { for (let i = 0; i < 8; i++) await one(i + 1); }) });
}

async function answers() {
  const context = await model.createContext({ contextSize: prompt + generate + 16, batchSize: prompt, sequences: streams, threads });
  const sequences = Array.from({ length: streams }, () => context.getSequence());
  return async () => {
    for (const s of sequences) await s.clearHistory();
    const out = { prompt: await timed(prompt * streams, async () => {
      for (const [i, s] of sequences.entries()) await s.evaluateWithoutGeneratingNewTokens(tokens(prompt, i));
    }) };
    out.generate = await timed(generate * streams, () => Promise.all(sequences.map(async (s) => {
      let n = 0;
      for await (const _ of s.evaluate([1000], { temperature: 0, yieldEogToken: true })) if (++n === generate) break;
    })));
    return out;
  };
}

const peer = await (encoder ? texts() : answers());
const rows = {};
for (let i = 0; i < rounds; i++) {
  const a = ours();
  const b = await peer();
  for (const [what, theirs] of Object.entries(b)) {
    const name = what === "texts" ? "texts" : `${what}_tokens`;
    const add = (key, x, y) => (rows[key] ??= []).push([x / y, x, y]);
    add(`${what}, clock`, a[`${name}_per_s`], theirs.wall);
    add(`${what}, processor`, a[`${name}_per_cpu_s`], theirs.cpu);
  }
}
for (const [name, list] of Object.entries(rows)) {
  const at = (k) => quantile(list.map((r) => r[k]), 0.5);
  console.log(`${name.padEnd(22)} ours ${at(1).toFixed(1)}/s  peer ${at(2).toFixed(1)}/s  ratio ${at(0).toFixed(2)} (${list.map((r) => r[0].toFixed(2)).join(" ")})`);
}
await llama.dispose();
