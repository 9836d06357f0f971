#!/usr/bin/env node
// From drop to findable, for a one-page file on an idle machine. Usage: fresh.mjs [--runs N] [--json]

import { setTimeout as sleep } from "node:timers/promises";
import { startAppliance } from "../service/appliance.mjs";
import { makePdf } from "../service/pdf.mjs";
import { makeDocx } from "../service/zip.mjs";
import { option, quantile } from "./corpus.mjs";

const runs = option("runs", 10);
const a = await startAppliance();
const letters = (i) => [...String(i)].map((c) => "abcdefghij"[Number(c)]).join("");
const kinds = {
  md: (t) => `# Page\n\nThe word of this page is ${t}.\n`,
  pdf: (t) => makePdf([[`The word of this page is ${t}.`]]),
  docx: (t) => makeDocx([`The word of this page is ${t}.`]),
};
const out = {};
for (const [kind, make] of Object.entries(kinds)) {
  const times = [];
  for (let i = 0; i < runs; i++) {
    await sleep(700);
    const t = `zz${kind}${letters(1000 + i)}`;
    const start = performance.now();
    a.drop(`${kind}-${i}.${kind}`, make(t));
    for (;;) {
      const hits = await a.search(t, { mode: "text" });
      if (hits.some((p) => p.text.includes(t))) break;
      if (performance.now() - start > 20_000) throw new Error(`${kind} ${i} was never found`);
      await sleep(10);
    }
    times.push(performance.now() - start);
  }
  out[kind] = { p50: quantile(times, 0.5), worst: Math.max(...times) };
  console.log(`${kind.padEnd(5)} from drop to findable: median ${out[kind].p50.toFixed(0)} ms, worst ${out[kind].worst.toFixed(0)} ms of ${runs} (aim: 1000 ms after the file is at rest)`);
}
await a.stop();
if (option("json", false)) console.log(JSON.stringify(out));
