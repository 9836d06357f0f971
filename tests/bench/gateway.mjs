#!/usr/bin/env node
// What the door costs: passages search by HTTP beside the RPC behind it, in turns in one run, and the page's files
// beside nginx.
// Usage: gateway.mjs [--chunks N] [--connections N] [--seconds N] [--rounds N]
// nginx is skipped, aloud, where it is not installed (apt-get install nginx-light).

import { execFileSync, spawn, spawnSync } from "node:child_process";
import { chmodSync, closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { binDir, startAppliance, temporaryHome, until } from "../service/appliance.mjs";
import { identities } from "../service/serve_alone.mjs";
import { option, questions, sections } from "./corpus.mjs";

const chunks = option("chunks", 20_000);
const n = option("connections", 32);
const seconds = option("seconds", 5);
const rounds = option("rounds", 3);
const home = temporaryHome("carrel-bench-");
const folder = dirname(home);
const children = [];
process.on("exit", () => children.forEach((c) => c.kill("SIGKILL")));

const list = [...sections(chunks)];
mkdirSync(join(home, "watch/main/bench"), { recursive: true });
for (let i = 0; i < list.length; i += 100) writeFileSync(join(home, "watch/main/bench", `${i}.md`), list.slice(i, i + 100).map((s) => `## ${s.heading}\n\n${s.text}\n`).join("\n"));
writeFileSync(join(folder, "queries"), questions(list, 2000).map((q) => `${q}\n`).join(""));
const config = "log_level: warn\nhttp:\n  requests_per_minute: 0\n";
let a = await startAppliance({ home, config });
const files = Math.ceil(list.length / 100);
await until("everything is indexed", async () => ((await a.get("/api/progress").catch(() => null))?.ready ?? 0) >= files, { timeout: 1_800_000, every: 500 });
await until("the encoder covers every chunk", async () => {
  const m = (await a.get("/v1/models")).data.filter((x) => x.id.startsWith("carrel-lsa-"));
  const p = await a.get("/api/progress").catch(() => null);
  return m.length > 0 && p && !p.doing;
}, { timeout: 1_800_000, every: 500 });
const key = a.key;
await a.stop({ keep: true });

// The same services once more, with identities of our own, so that the load may speak for serve.

const identity = identities();
async function start(peer, ready, args = []) {
  rmSync(join(home, ready), { force: true });
  const c = spawn(join(binDir, `carrel-${peer}`), ["--home", home, "--boot-fd", "3", ...args], { env: { ...process.env, CARREL_PORT: "0" }, stdio: ["ignore", "ignore", "inherit", "pipe"] });
  children.push(c);
  c.stdio[3].end(identity(peer));
  await until(`${peer} is up`, () => existsSync(join(home, ready)), { timeout: 30_000, every: 20 });
}
const web = join(folder, "web");
mkdirSync(join(web, "assets"), { recursive: true });
const sizes = { "1k": 1024, "16k": 16 * 1024, "256k": 256 * 1024, "2m": 2 * 1024 * 1024 };
writeFileSync(join(web, "index.html"), "<!doctype html>");
for (const [name, size] of Object.entries(sizes)) writeFileSync(join(web, "assets", `${name}.png`), Buffer.alloc(size, name));
for (const p of ["vectorstore", "embed", "retrieve"]) await start(p, `run/${p}.sock`);
await start("serve", "run/serve.port", ["--web", web]);
const port = Number(readFileSync(join(home, "run/serve.port"), "utf8"));

const load = (args, fd) => {
  const r = spawnSync(join(binDir, "bench-load"), args, { stdio: ["ignore", "pipe", "inherit", fd ?? "ignore"], encoding: "utf8" });
  if (r.status !== 0) throw new Error(`bench-load ${args[0]} failed`);
  return JSON.parse(r.stdout);
};
const middle = (l) => l.sort((x, y) => x - y)[l.length >> 1];
const queries = join(folder, "queries");
const idFile = join(folder, "identity");
writeFileSync(idFile, identity("serve"), { mode: 0o600 });
const rpc = () => {
  const fd = openSync(idFile, "r");
  const r = load(["rpc", home, String(n), String(seconds), queries], fd);
  closeSync(fd);
  return r;
};
const http = () => load(["http", `127.0.0.1:${port}`, key, String(n), String(seconds), queries]);
const runs = [];
for (let i = 0; i < rounds; i++) {
  const pair = i % 2 ? { http: http(), rpc: rpc() } : { rpc: rpc(), http: http() };
  for (const k of ["rpc", "http"]) console.log(`  round ${i + 1}, ${k.padEnd(4)}: ${pair[k].per_s} a second, p50 ${pair[k].p50} ms, p99 ${pair[k].p99} ms, ${pair[k].failed} failed`);
  runs.push(pair);
}
console.log(`passages search, ${chunks} sections, ${n} at once: RPC over HTTP in requests a second ${middle(runs.map((r) => r.rpc.per_s / r.http.per_s)).toFixed(2)}, HTTP over RPC at p50 ${middle(runs.map((r) => r.http.p50 / r.rpc.p50)).toFixed(2)}, at p99 ${middle(runs.map((r) => r.http.p99 / r.rpc.p99)).toFixed(2)} (middle of ${rounds}; aim: at most 1.3)`);

// ---- files, beside nginx with one worker: serve has one thread
if (spawnSync("nginx", ["-v"]).error) {
  console.log("nginx is not installed: the files are not compared (apt-get install nginx-light)");
} else {
  const free = await new Promise((done) => {
    const t = createServer().listen(0, "127.0.0.1", () => {
      const p = t.address().port;
      t.close(() => done(p));
    });
  });
  chmodSync(folder, 0o755);
  writeFileSync(join(folder, "nginx.conf"), `worker_processes 1; daemon off; pid ${folder}/nginx.pid; error_log stderr warn;
events { worker_connections 1024; }
http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; default_type application/octet-stream; open_file_cache max=100;
  server { listen 127.0.0.1:${free}; root ${web}; } }\n`);
  const c = spawn("nginx", ["-c", join(folder, "nginx.conf"), "-p", folder], { stdio: "inherit" });
  children.push(c);
  await until("nginx is up", () => fetch(`http://127.0.0.1:${free}/index.html`).then((r) => r.ok, () => false), { timeout: 10_000 });
  for (const name of Object.keys(sizes)) {
    const get = (p) => load(["get", `127.0.0.1:${p}`, `/assets/${name}.png`, String(n), String(seconds)]);
    const r = [];
    for (let i = 0; i < rounds; i++) r.push(i % 2 ? [get(free), get(port)].reverse() : [get(port), get(free)]);
    console.log(`a file of ${name}, ${n} connections: serve ${middle(r.map((x) => x[0].per_s))} a second, nginx ${middle(r.map((x) => x[1].per_s))}; nginx over serve ${middle(r.map((x) => x[1].per_s / x[0].per_s)).toFixed(2)} (aim: at most 2)`);
  }
}
for (const c of children) c.kill("SIGTERM");
rmSync(folder, { recursive: true, force: true });
process.exit(0);
