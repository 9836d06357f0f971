#!/usr/bin/env node
// Time from `carrel up` to ready, and memory of all services together when idle. Usage: start.mjs [--runs N] [--json]

import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { startAppliance, temporaryHome } from "../service/appliance.mjs";
import { option, quantile } from "./corpus.mjs";

export function memory(supervisor) {
  const out = {};
  for (const pid of readdirSync("/proc").filter((d) => /^\d+$/.test(d))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
      const ppid = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
      if (ppid !== supervisor && Number(pid) !== supervisor) continue;
      const pss = Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "latin1"))[1]);
      const name = readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0")[0].replace(/.*\//, "");
      out[name] = (out[name] ?? 0) + pss / 1024;
    } catch {
      // ended meanwhile, or a kernel thread
    }
  }
  return out;
}

if (import.meta.url === `file://${process.argv[1]}`) {
  const runs = option("runs", 5);
  const times = [];
  let idle;
  const home = temporaryHome("carrel-bench-");
  for (let i = 0; i <= runs; i++) {
    const t = performance.now();
    const a = await startAppliance({ home });
    if (i > 0) times.push(performance.now() - t); // the first one makes the home
    if (i === runs) {
      a.drop("one.md", "# One\n\nA single page.\n");
      await a.settled({ n: 1 });
      await a.search("single page");
      await sleep(3000);
      idle = memory(a.child.pid);
    }
    await a.stop({ keep: i < runs });
  }
  const total = Object.values(idle).reduce((x, y) => x + y, 0);
  console.log(`ready to serve: median ${quantile(times, 0.5).toFixed(0)} ms, worst ${Math.max(...times).toFixed(0)} ms of ${runs} (aim: 2000 ms)`);
  for (const [name, mb] of Object.entries(idle)) console.log(`  ${name.padEnd(22)} ${mb.toFixed(1).padStart(6)} MiB Pss`);
  console.log(`idle memory: ${total.toFixed(1)} MiB Pss (aim: 150 MiB)`);
  if (option("json", false)) console.log(JSON.stringify({ ready_ms: quantile(times, 0.5), idle_mib: total, services: idle }));
}
