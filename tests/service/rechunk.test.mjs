// Cutting anew: another size for a collection, from the stored text, while the old chunks are found.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { renameSync } from "node:fs";
import { test } from "node:test";
import { join } from "node:path";
import { promisify } from "node:util";
import { binDir, startAppliance, until } from "./appliance.mjs";

const exec = promisify(execFile);
const base = "http:\n  requests_per_minute: 0\nstore:\n  retain_versions_days: 30\n";
const other = (extra) => `${base}collections:\n  - name: contracts\n    chunk_target_words: 40\n    chunk_max_words: 80\n${extra}`;
const sentence = (i, k) => `Clause ${k} of contract ${i} is about harbour dues and about mooring. `;
const contract = (i) => `# Contract ${i}\n\n${Array.from({ length: 60 }, (_, k) => sentence(i, k)).join("")}\n\n| Ship | Dues |\n| --- | --- |\n${"| Osgood | 12 |\n".repeat(60)}`;

test("a collection's other sizes cut its documents anew, and only them", { timeout: 240_000 }, async () => {
  let a = await startAppliance({ config: base });
  const carrel = async (...args) => (await exec(join(binDir, "carrel"), [...args, "--home", a.home])).stdout;
  const chunks = async () => Object.fromEntries((await a.documents()).map((d) => [d.path, d.chunks]));
  const again = async (config) => {
    await a.stop({ keep: true });
    a = await startAppliance({ home: a.home, config });
    await until("the journal is open", async () => (await a.documents().catch(() => [])).length === 5);
  };
  const whole = async (d) => {
    const t = await a.get(`/api/documents/${d.id}/text`);
    let end = 0;
    for (const c of t.chunks) {
      assert.ok(c.start < c.end && c.end > end);
      assert.equal([...t.text].slice(end, c.start).join("").trim(), "", "nothing between them is left out");
      end = c.end;
    }
    return t;
  };
  try {
    for (let i = 0; i < 4; i++) a.drop(`contracts/c${i}.md`, contract(i));
    a.drop("other/d.md", contract(9));
    await a.settled({ n: 5 });
    const before = await chunks();
    const documents = await a.documents();
    const one = documents.find((d) => d.path === "contracts/c1.md");
    const text = (await whole(one)).text;
    const versions = async () => (await a.get(`/api/documents/${one.id}/versions`)).versions;
    const past = await versions();

    await again(other(""));
    const found = async () => (await a.search("harbour dues of contract 1", { filter: { collections: ["contracts"] } })).length > 0;
    await until("they are cut anew", async () => {
      assert.ok(await found(), "found all the while");
      const now = await chunks();
      return [0, 1, 2, 3].every((i) => now[`contracts/c${i}.md`] > before[`contracts/c${i}.md`]);
    });
    assert.equal((await chunks())["other/d.md"], before["other/d.md"]);
    assert.deepEqual((await a.documents()).map((d) => d.id).sort(), documents.map((d) => d.id).sort());
    const small = await whole(one);
    assert.equal(small.text, text);
    const p = (await a.search("clause 33 of contract 1", { filter: { documents: [one.id] } }))[0];
    assert.equal([...small.text].slice(p.start, p.end).join(""), p.text);
    const rows = await a.search("Osgood ship", { filter: { documents: [one.id] }, top_k: 20, fold: false });
    assert.ok(rows.some((r) => r.context === "Ship | Dues" && !r.text.includes("Ship")), "the header row is said again");
    assert.deepEqual(await versions(), past, "its versions are as they were");
    assert.match(await carrel("doctor"), /verified|agree|ok/i);

    // with an overlap: they begin before the one before ends
    await again(other("    chunk_overlap_words: 20\n"));
    await until("they overlap", async () => {
      const c = (await a.get(`/api/documents/${one.id}/text`)).chunks;
      return c.some((k, i) => i > 0 && k.start < c[i - 1].end);
    });
    const wide = (await a.search("clause 33 of contract 1", { filter: { documents: [one.id] }, widen: 1 }))[0];
    assert.equal([...text].slice(wide.start, wide.end).join(""), wide.text, "widened, nothing is said twice");
    const all = await a.search("harbour dues and mooring of contract 1", { filter: { documents: [one.id] }, widen: 1, top_k: 12, fold: false });
    assert.ok(all.length > 2);
    all.sort((x, y) => x.start - y.start);
    for (const [i, w] of all.entries()) {
      assert.equal([...text].slice(w.start, w.end).join(""), w.text);
      assert.equal(w.hash, createHash("sha256").update(w.text).digest("hex"));
      if (i > 0) assert.ok(w.start >= all[i - 1].end, "nor in two that were found near one another");
    }

    // moved into another collection it is cut as those are
    renameSync(join(a.home, "watch/main/contracts/c0.md"), join(a.home, "watch/main/other/c0.md"));
    await until("it is cut as the others there", async () => (await chunks())["other/c0.md"] === before["contracts/c0.md"]);
    assert.equal((await a.documents()).length, 5);
  } finally {
    await a.stop();
  }
});

test("killed and paused meanwhile, it goes on", { timeout: 240_000 }, async () => {
  let a = await startAppliance({ config: base });
  const n = 30;
  try {
    for (let i = 0; i < n; i++) a.drop(`contracts/c${i}.md`, contract(i));
    const before = Object.fromEntries((await a.settled({ n })).map((d) => [d.path, d.chunks]));
    await a.stop({ keep: true });
    const start = async () => {
      a = await startAppliance({ home: a.home, config: other("") });
      await until("the journal is open", async () => (await a.documents().catch(() => [])).length === n);
    };
    const anew = async () => (await a.documents()).filter((d) => d.chunks > before[d.path]).length;
    await start();
    await until("some are cut anew", async () => (await anew()) > 0, { every: 5 });
    await a.kill();
    await start();
    await a.post("/api/progress", { paused: true });
    const progress = await a.get("/api/progress");
    if (progress.recut_left) assert.match(progress.doing, /cutting|paused/);
    await a.post("/api/progress", { paused: false });
    await until("all are", async () => (await anew()) === n);
    const p = await a.get("/api/progress");
    assert.equal(p.recut_left, undefined);
    assert.equal(p.failed, 0);
    for (let i = 0; i < n; i += 7) assert.equal((await a.search(`clause 3 of contract ${i}`))[0].text.includes("harbour"), true);
  } finally {
    await a.stop();
  }
});
