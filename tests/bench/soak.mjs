#!/usr/bin/env node
// A soak: putting, changing, deleting and searching at full speed for a while (default 30 minutes), backups in between;
// memory and open files of every process are sampled, drawn, and must stay flat.
//
//   tests/bench/soak.mjs [minutes] [soak.svg]
//
// Exit code 1 when something grew: the median of the last quarter is compared with that of the second quarter (the first
// is warming up); 12 % and 24 MiB of memory, or 12 open files, are allowed. CARREL_BIN names the binaries.

import { spawnSync } from "node:child_process";
import { readFileSync, readdirSync, rmSync, writeFileSync, mkdtempSync, chmodSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { binDir, startAppliance } from "../service/appliance.mjs";

const minutes = Number(process.argv[2] ?? 30);
const svg = process.argv[3] ?? "soak.svg";
const FILES = 400;
const SEARCHERS = 4;
const services = ["vectorstore", "embed", "retrieve", "generate", "ingest", "serve", "supervisor"];

const words = "lantern harbour granite meadow copper violin orchard timber saddle marble candle ferry anchor pepper quarry beacon kettle ledger mirror needle window garden letter bridge".split(" ");
const word = () => words[Math.floor(Math.random() * words.length)];
const sentence = () => `The ${word()} of the ${word()} carries a ${word()} and ${Math.floor(Math.random() * 9000)} ${word()}s.`;
const content = (i) => `# Sheet ${i} about the ${word()}\n\n${Array.from({ length: 30 }, () => `${sentence()} ${sentence()} ${sentence()}`).join("\n\n")}\n`;

function processes(supervisor) {
  const out = new Map([["supervisor", supervisor]]);
  for (const pid of readdirSync("/proc").filter((d) => /^\d+$/.test(d))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
      if (Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]) !== supervisor) continue;
      const program = readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0")[0];
      const name = services.find((s) => program.endsWith(`carrel-${s}`));
      if (name) out.set(name, Number(pid));
    } catch {
      // it ended meanwhile
    }
  }
  return out;
}

function look(pid) {
  try {
    const rss = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "latin1"))[1]) / 1024;
    return { rss, fds: readdirSync(`/proc/${pid}/fd`).length };
  } catch {
    return null;
  }
}

const median = (list) => [...list].sort((x, y) => x - y)[Math.floor(list.length / 2)] ?? 0;

function draw(samples, path) {
  const w = 1100, h = 320, left = 60, right = 130;
  const last = samples.at(-1).t;
  const colours = ["#c33", "#36c", "#393", "#c80", "#939", "#088", "#555"];
  const panel = (y, key, title) => {
    const top = Math.max(...samples.flatMap((s) => services.map((n) => s[n]?.[key] ?? 0))) * 1.1 || 1;
    const at = (s, v) => `${(left + (s.t / last) * (w - left - right)).toFixed(1)},${(y + h - (v / top) * (h - 30)).toFixed(1)}`;
    return `<text x="${left}" y="${y + 14}">${title}, up to ${top.toFixed(0)}</text><path d="M${left},${y + 20}V${y + h}H${w - right}" fill="none" stroke="#999"/>` +
      services.map((n, i) => {
        const points = samples.filter((s) => s[n]).map((s) => at(s, s[n][key])).join(" ");
        return `<polyline points="${points}" fill="none" stroke="${colours[i]}"/><text x="${w - right + 8}" y="${y + 30 + i * 16}" fill="${colours[i]}">${n} ${samples.at(-1)[n]?.[key].toFixed(0) ?? ""}</text>`;
      }).join("");
  };
  writeFileSync(path, `<svg xmlns="http://www.w3.org/2000/svg" width="${w}" height="${2 * h + 60}" font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>${panel(10, "rss", "resident memory, MiB")}${panel(h + 40, "fds", "open files")}<text x="${left}" y="${2 * h + 56}">${(last / 60).toFixed(1)} minutes</text></svg>\n`);
}

// replaced versions are not kept: a store that keeps them grows, as it should, and growth is what is looked for here
const a = await startAppliance({ config: "http:\n  requests_per_minute: 0\nstore:\n  retain_versions_days: 0\n" });
const target = mkdtempSync(join(tmpdir(), "carrel-soak-"));
chmodSync(target, 0o755);
const counts = { puts: 0, deletes: 0, searches: 0, erasures: 0, backups: 0, errors: 0 };
const samples = [];
const began = Date.now();
const end = began + minutes * 60_000;
const erases = spawnSync(join(binDir, "carrel"), ["erase", "--help"]).status === 0;
let failure = "";

async function writer() {
  const there = new Set();
  while (Date.now() < end) {
    const i = Math.floor(Math.random() * FILES);
    const name = `sheets/sheet-${i}.md`;
    if (there.has(i) && Math.random() < 0.3) {
      rmSync(join(a.watch, name), { force: true });
      there.delete(i);
      counts.deletes++;
    } else {
      a.drop(name, content(i));
      there.add(i);
      counts.puts++;
    }
    // no more than what is taken in: the queue is not what is tried here
    if (counts.puts % 20 === 0) {
      while (Date.now() < end) {
        const p = await a.get("/api/progress").catch(() => ({ queued: 0 }));
        if ((p.queued ?? 0) + (p.working ?? 0) < 40) break;
        await sleep(50);
      }
    }
    await sleep(1);
  }
}

async function searcher() {
  while (Date.now() < end) {
    const r = await a.search(`${word()} ${word()} ${word()}`, { top_k: 8 }).catch(() => null);
    counts.searches++;
    if (r === null) {
      counts.errors++;
      await sleep(50);
    }
  }
}

async function eraser() {
  while (erases && Date.now() < end) {
    await sleep(2000);
    const list = await a.documents().catch(() => []);
    const d = list.filter((x) => x.state === "ready")[Math.floor(Math.random() * list.length)];
    if (d && spawnSync(join(binDir, "carrel"), ["erase", "--document", d.id, "--all-copies", "--yes", "--home", a.home], { timeout: 60_000 }).status === 0) counts.erasures++;
  }
}

async function backups() {
  while (Date.now() < end) {
    await sleep(Math.max(10_000, minutes * 60_000 / 10));
    if (Date.now() < end && spawnSync(join(binDir, "carrel"), ["backup", target, "--home", a.home, "--keep", "2"], { timeout: 120_000 }).status === 0) counts.backups++;
  }
}

async function sampler() {
  const every = Math.max(500, (minutes * 60_000) / 400);
  while (Date.now() < end) {
    const s = { t: (Date.now() - began) / 1000 };
    for (const [name, pid] of processes(a.child.pid)) s[name] = look(pid) ?? undefined;
    samples.push(s);
    if (process.stderr.isTTY) process.stderr.write(`\r${(s.t / 60).toFixed(1)} min  ${JSON.stringify(counts)}  vectorstore ${s.vectorstore?.rss.toFixed(0)} MiB  `);
    await sleep(every);
  }
}

try {
  await Promise.all([writer(), eraser(), backups(), sampler(), ...Array.from({ length: SEARCHERS }, searcher)]);
  draw(samples, svg);
  const quarter = Math.floor(samples.length / 4);
  console.log(JSON.stringify({ minutes, ...counts }));
  for (const n of services) {
    for (const key of ["rss", "fds"]) {
      const of = (from, to) => median(samples.slice(from, to).map((s) => s[n]?.[key]).filter((v) => v !== undefined));
      const before = of(quarter, 2 * quarter);
      const after = of(3 * quarter, samples.length);
      const grew = key === "rss" ? after > before * 1.12 && after > before + 24 : after > before + 12;
      console.log(`${n.padEnd(12)} ${key}  ${before.toFixed(0)} -> ${after.toFixed(0)}${grew ? "  GREW" : ""}`);
      if (grew) failure += `${n} ${key} `;
    }
  }
  const verify = spawnSync(join(binDir, "carrel"), ["verify", "--home", a.home, "--json"], { encoding: "utf8" });
  console.log(`verify: ${verify.stdout.trim()}`);
  if (verify.status !== 0) failure += "verify ";
} finally {
  await a.stop();
  rmSync(target, { recursive: true, force: true });
}
if (failure) {
  console.error(`not flat: ${failure}`);
  process.exit(1);
}
process.exit(0);
