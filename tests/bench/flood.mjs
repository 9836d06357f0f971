#!/usr/bin/env node
// One tenant floods, another works: hours of load shortened to minutes. The quiet tenant's p99 is measured with and
// without the flood, in turns; memory and descriptors of every service must stay flat, and every chat must lie in the
// audit exactly once.
//
//   tests/bench/flood.mjs [--minutes N] [--flooders N]
//
// The flood: searches over and over, requests broken off in the middle, streams nobody reads, bodies that drip.
// Turns of 20 seconds; the flood is on in three of four. The first turns of each kind only warm up.

import { spawnSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { binDir, startAppliance, until } from "../service/appliance.mjs";
import { option, quantile, questions, sections } from "./corpus.mjs";

const minutes = option("minutes", 10);
const flooders = option("flooders", 16);
const TURN_MS = 20_000;

const list = [...sections(400)];
const asked = questions(list, 400);
const a = await startAppliance({ config: "log_level: warn\nhttp:\n  requests_per_minute: 0\n  max_connections_per_address: 400\n  idle_timeout: 5s\n" });
const port = Number(new URL(a.url).port);
await a.post("/api/tenants", { tenant: "flood" });
const quietKey = a.key;
const floodKey = (await a.post("/api/keys", { name: "flood", tenant: "flood" })).key;
for (let i = 0; i < list.length; i += 50) a.drop(`bench/${i}.md`, list.slice(i, i + 50).map((s) => `## ${s.heading}\n\n${s.text}\n`).join("\n"));
for (let i = 0; i < list.length; i += 50) a.drop(`../flood/${i}.md`, list.slice(i, i + 50).map((s) => `## ${s.heading}\n\n${s.text}\n`).join("\n"));
await a.settled({ n: list.length / 50 });
await until("the other tenant's are there", async () => {
  const r = await a.request("/api/documents", { key: floodKey });
  const d = r.ok ? (await r.json()).documents : [];
  return d.length >= list.length / 50 && d.every((x) => x.state === "ready");
}, { timeout: 300_000 });
await sleep(5000);

function processes() {
  const out = { supervisor: a.child.pid };
  for (const pid of readdirSync("/proc").filter((d) => /^\d+$/.test(d))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
      if (Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]) !== a.child.pid) continue;
      const name = /carrel-([a-z]+)/.exec(readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0")[0])?.[1];
      if (name) out[name] = Number(pid);
    } catch {
      // it ended meanwhile
    }
  }
  return out;
}
const pids = processes();
const look = () => Object.fromEntries(Object.entries(pids).map(([n, pid]) => [n, { rss: Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "latin1"))[1]) / 1024, fds: readdirSync(`/proc/${pid}/fd`).length }]));

const counts = { searches: 0, broken: 0, chats: 0, slow: 0, refused: 0, failed: 0 };
let over = false;
let flooding = false;

function send(key, path, body, { then = () => {}, cutAfter, pause } = {}) {
  return new Promise((done) => {
    const socket = connect(port, "127.0.0.1");
    const text = JSON.stringify(body);
    const bytes = `POST ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer ${key}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`;
    let got = "";
    socket.on("error", () => {});
    socket.on("close", () => done(got));
    socket.on("data", (d) => {
      got += d.toString("latin1");
      then(socket);
    });
    if (pause) {
      socket.pause();
      setTimeout(() => socket.destroy(), pause);
    }
    socket.write(cutAfter ? bytes.slice(0, cutAfter) : bytes);
    if (cutAfter) setTimeout(() => socket.resetAndDestroy(), 1 + Math.random() * 20);
  });
}
const pick = () => asked[Math.floor(Math.random() * asked.length)];
const chat = () => ({ model: "carrel", stream: true, messages: [{ role: "user", content: pick() }] });

async function flooder(i) {
  while (!over) {
    if (!flooding) {
      await sleep(50);
      continue;
    }
    const kind = Math.random();
    if (kind < 0.8) {
      const r = await send(floodKey, "/api/search", { query: pick() });
      counts.searches++;
      if (/^HTTP\/1\.1 (429|503)/.test(r)) counts.refused++;
      else if (!r.startsWith("HTTP/1.1 200")) counts.failed++;
    } else if (kind < 0.88) {
      await send(floodKey, "/api/search", { query: pick() }, { cutAfter: 20 + Math.floor(Math.random() * 250) });
      counts.broken++;
    } else if (kind < 0.94) {
      await send(floodKey, "/v1/chat/completions", chat(), { then: (s) => s.destroy() });
      counts.chats++;
    } else {
      await send(floodKey, "/v1/chat/completions", chat(), { pause: 300 });
      counts.slow++;
    }
  }
}

const ms = { alone: [], flooded: [] };
async function quiet() {
  let n = 0;
  const began = Date.now();
  while (!over) {
    const turn = Math.floor((Date.now() - began) / TURN_MS);
    flooding = turn % 4 !== 0;
    const t = performance.now();
    const r = await a.request("/api/search", { method: "POST", body: { query: asked[n++ % asked.length] }, key: quietKey });
    await r.arrayBuffer();
    if (!r.ok) counts.failed++;
    if (turn >= 2 && (Date.now() - began) % TURN_MS > 1000) ms[flooding ? "flooded" : "alone"].push(performance.now() - t);
    await sleep(20);
  }
}

const samples = [];
const work = [quiet(), ...Array.from({ length: flooders }, (_, i) => flooder(i))];
const end = Date.now() + minutes * 60_000;
while (Date.now() < end) {
  await sleep(2000);
  samples.push(look());
}
over = true;
await Promise.all(work);
await sleep(7000);
const last = look();
const metrics = await (await a.request("/metrics")).text();
const inFlight = /carrel_serve_http_requests_in_flight (\d+)/.exec(metrics)?.[1];

const p = (l, q) => quantile(l, q);
console.log(`the quiet tenant's search: alone p50 ${p(ms.alone, 0.5).toFixed(1)} ms, p99 ${p(ms.alone, 0.99).toFixed(1)} ms (${ms.alone.length}); beside a flood p50 ${p(ms.flooded, 0.5).toFixed(1)} ms, p99 ${p(ms.flooded, 0.99).toFixed(1)} ms (${ms.flooded.length}): p99 ${(p(ms.flooded, 0.99) / p(ms.alone, 0.99)).toFixed(2)} times (aim: at most 1.2)`);
console.log(`the flood: ${JSON.stringify(counts)}; in flight at the end ${inFlight} (this question)`);
const half = (name, key, from, to) => p(samples.slice(Math.floor(samples.length * from), Math.floor(samples.length * to)).map((s) => s[name][key]), 0.5);
let grew = false;
for (const name of Object.keys(pids)) {
  const [r1, r2, f1, f2] = [half(name, "rss", 0.25, 0.5), half(name, "rss", 0.75, 1), half(name, "fds", 0.25, 0.5), half(name, "fds", 0.75, 1)];
  const bad = r2 > r1 * 1.12 + 8 || last[name].fds > f1 + 12;
  grew ||= bad;
  console.log(`  ${name.padEnd(12)} ${r1.toFixed(1)} MiB in the second quarter, ${r2.toFixed(1)} in the last, ${last[name].rss.toFixed(1)} after; descriptors ${f1}, ${f2}, ${last[name].fds}${bad ? "  GREW" : ""}`);
}
// ---- the audit: as many openings as closings, each call once, and the chain whole
const help = spawnSync(join(binDir, "carrel"), ["help"], { encoding: "utf8" });
if (!/\baudit\b/.test(help.stdout ?? "")) console.log("carrel audit is not there: the records are not counted");
else {
  for (const tenant of ["main", "flood"]) {
    const v = spawnSync(join(binDir, "carrel"), ["audit", "verify", "--tenant", tenant, "--home", a.home], { encoding: "utf8" });
    const x = spawnSync(join(binDir, "carrel"), ["audit", "export", "--tenant", tenant, "--home", a.home], { encoding: "utf8", maxBuffer: 1 << 30 });
    const rows = x.stdout.split("\n").filter(Boolean).map((l) => JSON.parse(l));
    const seen = new Map();
    for (const { type, call } of rows.map((r) => r.record ?? r)) if (type === "open" || type === "close") seen.set(`${type} ${call}`, (seen.get(`${type} ${call}`) ?? 0) + 1);
    const twice = [...seen].filter(([, n]) => n !== 1);
    const open = [...seen.keys()].filter((k) => k.startsWith("open ")).filter((k) => !seen.has(k.replace("open", "close")));
    console.log(`audit of ${tenant}: verify ${v.status === 0 ? "good" : `FAILED: ${v.stdout}${v.stderr}`}; ${seen.size} records of calls, ${twice.length} more than once, ${open.length} opened and not closed`);
    grew ||= v.status !== 0 || twice.length > 0 || open.length > 0;
  }
}
await a.stop();
process.exit(grew || inFlight !== "1" ? 1 : 0);
