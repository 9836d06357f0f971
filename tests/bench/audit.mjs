#!/usr/bin/env node
// What the audit costs a search: requests a second and waiting times at 32 connections, and how many records one
// fsync serves.
//
//   audit.mjs [--connections 32] [--seconds 10] [--json]
//
// CARREL_BIN names the binaries: run it with a build from before the audit too, and compare.

import { Agent, request } from "node:http";
import { startAppliance } from "../service/appliance.mjs";
import { option, quantile } from "./corpus.mjs";

const connections = option("connections", 32);
const seconds = option("seconds", 10);

async function measure() {
  const a = await startAppliance({ config: "http:\n  requests_per_minute: 0\nencoder:\n  first_fit_chunks: 1000000\n" });
  for (let i = 0; i < 200; i++) a.drop(`n${i}.md`, `# Note ${i}\n\nThe harbour keeps boats in shed ${i} beside the quay, painted every spring by crew ${i % 7}.\n`);
  await a.settled({ n: 200 });
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const url = new URL(a.url);
  const times = [];
  let stop = false, n = 0, failed = 0;
  const one = () =>
    new Promise((done) => {
      const body = JSON.stringify({ query: `boats shed ${n++ % 200}` });
      const t = performance.now();
      const r = request({ agent, host: url.hostname, port: url.port, path: "/api/search", method: "POST", headers: { authorization: `Bearer ${a.key}`, "content-type": "application/json", "content-length": body.length } }, (res) => {
        res.resume();
        res.on("end", () => {
          if (res.statusCode !== 200) failed++;
          times.push(performance.now() - t);
          done();
        });
      });
      r.on("error", () => { failed++; done(); });
      r.end(body);
    });
  const worker = async () => { while (!stop) await one(); };
  const warm = setTimeout(() => (times.length = 0), 1000);
  const all = Promise.all(Array.from({ length: connections }, worker));
  await new Promise((r) => setTimeout(r, 1000 + seconds * 1000));
  stop = true;
  await all;
  clearTimeout(warm);
  const metrics = await (await a.request("/metrics")).text();
  const groups = Number(/^carrel_serve_audit_groups_total (\S+)/m.exec(metrics)?.[1] ?? 0);
  await a.stop();
  times.sort((x, y) => x - y);
  return { requests_a_second: Math.round(times.length / seconds), p50_ms: quantile(times, 0.5), p99_ms: quantile(times, 0.99), failed, requests: n, requests_a_group: groups > 0 ? n / groups : null };
}

const show = (name, m) => console.log(`${name.padEnd(8)} ${String(m.requests_a_second).padStart(6)} requests/s   p50 ${m.p50_ms.toFixed(1)} ms   p99 ${m.p99_ms.toFixed(1)} ms   failed ${m.failed}${m.requests_a_group ? `   requests a group ${m.requests_a_group.toFixed(1)}` : ""}`);
const result = await measure();
if (process.argv.includes("--json")) console.log(JSON.stringify(result));
else show("search", result);
