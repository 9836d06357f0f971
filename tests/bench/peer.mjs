#!/usr/bin/env node
// Every figure of the model runtime beside its peers, in one table: node-llama-cpp's engine (llama.cpp) on the same files,
// same threads, in one process turn by turn, and ONNX Runtime's 32-bit products for embeddings.
//
// Usage: peer.mjs FOLDER [NODE_MODULES] [--quick] [--one] [--only TEXT]
// FOLDER: where the models are; those missing are made (random weights in the shapes of Qwen2.5-0.5B, Llama-3.2-1B and
// MiniLM-L6; 9 GB in all). NODE_MODULES: the engine's (tests/peer/install; tests/peer/node_modules unless told), where
// `npm install --no-save --ignore-scripts onnxruntime-node@1.30.0` may put the other peer. --only: the files whose names
// hold TEXT; --one: rows of one thread; --quick: one turn instead of three. Figures by processor time stand beside the
// clock's: other programs change them less.

import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { onnxRate } from "./onnx.mjs";

const args = process.argv.slice(2).filter((a, i, all) => !a.startsWith("--") && all[i - 1] !== "--only");
const quick = process.argv.includes("--quick");
const flags = ["--quick", "--one"].filter((f) => process.argv.includes(f));
const only = process.argv.includes("--only") ? process.argv[process.argv.indexOf("--only") + 1] : "";
const folder = args[0];
if (folder === undefined) {
  console.error("usage: peer.mjs FOLDER [NODE_MODULES] [--quick] [--one] [--only TEXT]");
  process.exit(2);
}
const modules = resolve(args[1] ?? join(import.meta.dirname, "../peer/node_modules"));
const bin = process.env.CARREL_BIN ?? join(import.meta.dirname, "../../build/release/bin");
const program = (name) => join(bin, name);

const shapes = {
  minilm: "architecture=bert layers=6 width=384 feed_forward=1536 heads=12 kv_heads=12 vocabulary=30522 context=512",
  qwen05b: "architecture=qwen2 layers=24 width=896 feed_forward=4864 heads=14 kv_heads=2 vocabulary=151936 context=32768",
  llama1b: "architecture=llama layers=16 width=2048 feed_forward=8192 heads=32 kv_heads=8 vocabulary=128256 context=131072",
};
const types = { minilm: ["Q8_0"], qwen05b: ["Q8_0", "Q4_0", "Q4_K_M"], llama1b: ["Q8_0", "Q4_0", "Q4_K_M"] };

function model(shape, type) {
  const file = join(folder, `${shape}-${type}.gguf`);
  if (existsSync(file)) return file;
  mkdirSync(folder, { recursive: true });
  const whole = join(folder, `${shape}-F16.gguf`);
  if (!existsSync(whole)) {
    execFileSync(program("bench-write-model"), [whole, "type=F16", ...shapes[shape].split(" ")], { stdio: "inherit" });
  }
  execFileSync(program("carrel"), ["model", "quantize", whole, file, type], { stdio: ["ignore", "ignore", "inherit"] });
  return file;
}

// The share of the processors that everything else took since the last call.
let before;
function others() {
  const f = readFileSync("/proc/stat", "utf8").split("\n")[0].trim().split(/\s+/).slice(1, 9).map(Number);
  const total = f.reduce((a, b) => a + b, 0);
  const idle = f[3] + f[4];
  const steal = f[7];
  const last = before ?? { total, idle, steal };
  before = { total, idle, steal };
  return { busy: 1 - (idle - last.idle) / (total - last.total), stolen: (steal - last.steal) / (total - last.total) };
}

async function onnx() {
  const file = model("minilm", "Q8_0");
  for (const tokens of [128, 512]) {
    const rates = [];
    for (let i = 0; i < (quick ? 2 : 4); i++) {
      const peer = await onnxRate(modules, tokens, 1);
      const out = execFileSync(program("carrel"), ["model", "bench", file, "--prompt", String(tokens), "--threads", "1", "--json"]);
      const work = 2 * tokens * 6 * (4 * 384 * 384 + 2 * 384 * 1536);
      const ours = JSON.parse(out);
      rates.push([(ours.texts_per_cpu_s * work) / peer.cpu, ours.texts_per_s * work, peer.wall, ours.texts_per_cpu_s * work, peer.cpu]);
    }
    rates.sort((a, b) => a[0] - b[0]);
    const [ratio, ...r] = rates[rates.length >> 1];
    const [ow, pw, oc, pc] = r.map((x) => (x * 1e-9).toFixed(0));
    console.log(`texts of ${tokens} beside ONNX Runtime's fp32 products, 1 thread: GFLOP/s ${ow} / ${pw}, by processor time ${oc} / ${pc}, ` +
      `ratio ${ratio.toFixed(2)} (aim 1) ${ratio < 1 ? "MISSED" : ""}`);
  }
}

for (const [shape, list] of Object.entries(types)) {
  for (const type of list) {
    if (!`${shape}-${type}`.includes(only)) continue;
    const file = model(shape, type);
    others();
    spawnSync(program("bench-peer"), [modules, file, ...flags], { stdio: "inherit" });
    const o = others();
    console.log(`(processors ${(o.busy * 100).toFixed(0)}% busy meanwhile, ${(o.stolen * 100).toFixed(0)}% taken by the host's other guests)\n`);
  }
}
if ("onnx minilm".includes(only)) {
  try {
    await onnx();
  } catch (e) {
    console.log(`ONNX Runtime is not compared: ${e.message.split("\n")[0]} (npm install --no-save --ignore-scripts onnxruntime-node@1.30.0 in ${resolve(modules, "..")})`);
  }
}
