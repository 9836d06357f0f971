#!/usr/bin/env node
// One tenant floods, another works: hours of load shortened to minutes. The quiet tenant's p99 is measured with and
// without the flood, in turns; memory, descriptors and files must stay flat, and every request that was sent must lie in
// the audit exactly once.
//
//   tests/bench/flood.mjs [--minutes N] [--flooders N] [--sections N]
//
// What the flood is, and how it is looked for in the audit: tests/service/flood.mjs. Turns of 20 seconds; the flood is on
// in three of four. Exit code 1 when anything but the times does not hold.

import { option, quantile, questions, sections } from "./corpus.mjs";
import { flood } from "../service/flood.mjs";

const minutes = option("minutes", 10);
const list = [...sections(option("sections", 400))];
const r = await flood({
  seconds: minutes * 60,
  flooders: option("flooders", 16),
  list,
  asked: questions(list, 400),
  say: (counts) => process.stderr.isTTY && process.stderr.write(`\r${JSON.stringify(counts)}`),
});
const p = (name, q) => (r.ms[name].length === 0 ? NaN : quantile(r.ms[name], q));
const line = (name) => `p50 ${p(name, 0.5).toFixed(1)} ms, p99 ${p(name, 0.99).toFixed(1)} ms (${r.ms[name].length})`;
console.log(`the quiet tenant's search: alone ${line("alone")}; beside a flood ${line("flooded")}: p99 ${(p("flooded", 0.99) / p("alone", 0.99)).toFixed(2)} times (aim: at most 1.2)`);
console.log(`sent: ${JSON.stringify(r.counts)}`);
for (const [name, g] of Object.entries(r.grown)) console.log(`  ${name.padEnd(12)} MiB: ${g.rss.map((x) => x.toFixed(1)).join(", ")} (before, second quarter, last, after); descriptors: ${g.fds.join(", ")} (before, at most in the first half, after)`);
for (const t of ["main", "flood"]) {
  const n = r.audit[t];
  console.log(`audit of ${t}: ${n.sent} sent, ${n.answered} answered whole; ${n.opened} opened and ${n.closed} closed (those of the preparation among them), ${n.cancelled} as cancelled; ${n.brokenBefore} broken off before they were read, ${n.refused} refused at the door`);
}
console.log(`serve's log: ${r.audit.logged} calls past the door, ${r.audit.loggedAndRecorded} of them in the audit`);
for (const w of r.wrong) console.error(`WRONG: ${w}`);
process.exit(r.wrong.length > 0 ? 1 : 0);
