// kill -9 of each service, one after another and all at once, at random moments while 300 files are being
// ingested, changed and deleted. Afterwards every file that should be there is there exactly once, in its last
// version, the indexes agree with the documents, and search finds the token planted in each.
//
// CARREL_FAULT_SEED repeats a run.

import { test } from "node:test";
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { binDir, startAppliance, until } from "../service/appliance.mjs";

const FILES = 300;
const services = ["vectorstore", "embed", "retrieve", "generate", "ingest", "serve"];

function random(seed) {
  let s = seed >>> 0;
  return (n) => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0; // Numerical Recipes' LCG: repeatable is all that is asked
    return Math.floor((s / 2 ** 32) * n);
  };
}

/** Process ids of the running services, by name. */
function pids(supervisor) {
  const out = new Map();
  for (const pid of readdirSync("/proc").filter((d) => /^\d+$/.test(d))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
      const ppid = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
      if (ppid !== supervisor) continue;
      const program = readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0")[0];
      const name = services.find((s) => program.endsWith(`carrel-${s}`));
      if (name) out.set(name, Number(pid));
    } catch {
      // it ended meanwhile
    }
  }
  return out;
}

function murder(a, which) {
  for (const [name, pid] of pids(a.child.pid)) {
    if (which === "all" || which === name) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // it ended meanwhile
      }
    }
  }
}

const words = "lantern harbour granite meadow copper violin orchard timber saddle marble candle ferry anchor pepper quarry".split(" ");
// a token of letters only, so that no analyzer cuts it
const token = (i, version) => `zq${[...`${i}x${version}`].map((c) => (c === "x" ? "y" : "abcdefghij"[Number(c)])).join("")}`;

function content(i, version, rnd) {
  const filler = Array.from({ length: 40 + rnd(200) }, () => words[rnd(words.length)]).join(" ");
  return `# Note ${i}\n\nThis note carries the token ${token(i, version)} and nothing else of worth.\n\n${filler}.\n`;
}

async function quiet(a, expected) {
  let last = [];
  let problem = "";
  return until(
    "every change has arrived",
    async () => {
      const list = await a.documents().catch((e) => void (problem = e.message));
      last = list ?? last;
      return list && list.length === expected.size && list.every((d) => d.state === "ready") && list;
    },
    { timeout: 120_000, every: 250 },
  ).catch((e) => {
    const here = new Map(last.map((d) => [d.path, d]));
    const missing = [...expected.keys()].filter((p) => !here.has(p));
    const more = last.filter((d) => !expected.has(d.path)).map((d) => `${d.path} ${d.state}`);
    const unready = last.filter((d) => d.state !== "ready").map((d) => `${d.path} ${d.state} ${d.error ?? ""}`);
    e.message += `\n${last.length} of ${expected.size} listed; ${problem}\nmissing: ${missing.slice(0, 8)}\ntoo many: ${more.slice(0, 8)}\nnot ready: ${unready.slice(0, 8)}\n${a.output.slice(-3000)}`;
    throw e;
  });
}

test("kill -9 at random moments loses nothing and duplicates nothing", { timeout: 900_000 }, async (t) => {
  const seed = Number(process.env.CARREL_FAULT_SEED ?? Date.now() % 2 ** 31);
  t.diagnostic(`CARREL_FAULT_SEED=${seed}`);
  const rnd = random(seed);
  const a = await startAppliance();
  const expected = new Map(); // path -> [file number, version]
  try {
    let kills = 0;
    const order = [...services, "all", ...services, "all"];
    const put = (i, version) => {
      const path = `${["alpha", "beta", "gamma"][i % 3]}/note-${i}.md`;
      a.drop(path, content(i, version, rnd));
      expected.set(path, [i, version]);
    };
    const steps = [];
    for (let i = 0; i < FILES; i++) steps.push(() => put(i, 1));
    for (let i = 0; i < FILES / 3; i++) {
      const n = rnd(FILES);
      const kind = rnd(4);
      const path = `${["alpha", "beta", "gamma"][n % 3]}/note-${n}.md`;
      steps.push(() => {
        const now = expected.get(path);
        if (!now) return put(n, 1);
        if (kind === 0) {
          rmSync(join(a.watch, path));
          expected.delete(path);
        } else if (kind === 1) {
          const moved = `moved/note-${n}-${steps.length}.md`;
          mkdirSync(join(a.watch, "moved"), { recursive: true });
          renameSync(join(a.watch, path), join(a.watch, moved));
          expected.delete(path);
          expected.set(moved, now);
        } else {
          put(n, now[1] + 1); // changed, and now and then changed back below
          if (kind === 2) {
            put(n, now[1]);
          }
        }
      });
    }
    const killEvery = Math.floor(steps.length / order.length);
    for (const [k, step] of steps.entries()) {
      step();
      if (k % 10 === 0) await sleep(rnd(60));
      if (k % killEvery === killEvery - 1 && kills < order.length) {
        await sleep(rnd(250));
        murder(a, order[kills++]);
      }
    }
    assert.equal(kills, order.length);
    await until("all six services are back", () => pids(a.child.pid).size === services.length);

    const list = await quiet(a, expected);
    assert.deepEqual(list.map((d) => d.path).sort(), [...expected.keys()].sort());
    for (const d of list) assert.ok(d.chunks >= 1, `${d.path} has chunks`);

    const report = execFileSync(join(binDir, "carrel"), ["verify", "--home", a.home, "--json"], { encoding: "utf8" });
    assert.equal(JSON.parse(report).problems, 0, report);

    for (const [path, [i, version]] of expected) {
      const hits = (await a.search(token(i, version), { top_k: 10, mode: "text" })).filter((p) => p.text.includes(token(i, version)));
      assert.ok(hits.some((p) => p.document.path === path), `${token(i, version)} is found in ${path}`);
    }
    // what was replaced or deleted is gone
    for (let i = 0; i < FILES; i++) {
      const alive = [...expected.values()].filter(([n]) => n === i).map(([, v]) => v);
      for (let v = 1; v <= 4; v++) {
        if (alive.includes(v)) continue;
        const hits = await a.search(token(i, v), { mode: "text" });
        assert.ok(hits.every((p) => !p.text.includes(token(i, v))), `${token(i, v)} is gone`);
      }
    }
  } finally {
    await a.stop();
  }
});

test("the plug is pulled: everything ends, and at the next start nothing is lost", { timeout: 300_000 }, async () => {
  const a = await startAppliance();
  let b;
  try {
    for (let i = 0; i < 40; i++) a.drop(`plug-${i}.md`, `# Plug ${i}\n\nThe plug token is ${token(i, 7)}.\n`);
    await sleep(400);
    const before = [...pids(a.child.pid).values()];
    await a.kill();
    await until("no orphan is left", () => before.every((pid) => {
      try {
        return readFileSync(`/proc/${pid}/stat`, "latin1").includes(") Z ");
      } catch {
        return true;
      }
    }));
    a.drop("plug-0.md", `# Plug 0\n\nChanged while it was off: ${token(0, 8)}.\n`);
    rmSync(join(a.watch, "plug-1.md"));
    b = await startAppliance({ home: a.home });
    const list = await until("all is found again", async () => {
      const docs = await b.documents().catch(() => []);
      return docs.length === 39 && docs.every((d) => d.state === "ready") && docs;
    }, { timeout: 120_000 });
    assert.equal(new Set(list.map((d) => d.path)).size, 39);
    const changed = await until("the change is found", async () => {
      const hits = await b.search(token(0, 8), { mode: "text" });
      return hits.length > 0 && hits;
    });
    assert.equal(changed[0].document.path, "plug-0.md");
    assert.ok((await b.search(token(1, 7), { mode: "text" })).every((p) => !p.text.includes(token(1, 7))));
  } finally {
    await b?.stop();
  }
});

test("a file that goes A, B, A between kills ends as A", { timeout: 300_000 }, async () => {
  const a = await startAppliance();
  try {
    const version = (v) => `# Turn\n\nThe state is ${token(500, v)} today.\n`;
    for (const v of [1, 2, 1, 2, 1]) {
      a.drop("turn.md", version(v));
      await sleep(350);
      murder(a, v === 1 ? "ingest" : "vectorstore");
      await sleep(200);
    }
    await until("A is found and B is not", async () => {
      const has = await a.search(token(500, 1), { mode: "text" }).catch(() => []);
      const not = await a.search(token(500, 2), { mode: "text" }).catch(() => [{ text: token(500, 2) }]);
      return has.some((p) => p.text.includes(token(500, 1))) && not.every((p) => !p.text.includes(token(500, 2)));
    });
    const list = await a.documents();
    assert.equal(list.filter((d) => d.path === "turn.md").length, 1);
  } finally {
    await a.stop();
  }
});
