// Files that are moved in bulk keep their documents, and none is read again. CARREL_FILES=10000: as many files
// (docs/benchmarks.md has the times); here fewer, for the test's time.
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { join } from "node:path";
import { startAppliance, until } from "./appliance.mjs";

const N = Number(process.env.CARREL_FILES ?? 100);
const FOLDERS = 20;
const TIMEOUT = 180_000 + N * 60;
let a;
const ids = new Map(); // a file's name -> its document

const name = (i) => `note-${i}.txt`;
const extractions = async () => Number(/extractions_total\S* (\d+)/.exec(await (await a.request("/metrics")).text())?.[1] ?? NaN);
const progress = () => a.get("/api/progress");

/** Every file is where `place` says, ready, and still the document that it was. */
async function keeps(what, place) {
  const begun = performance.now();
  let list;
  await until(`${what}: all ${N} are ready where they are now`, async () => {
    const p = await progress();
    if (p.ready !== N || p.queued + p.working > 0) return false;
    list = await a.documents();
    const where = new Set(list.filter((d) => d.state === "ready").map((d) => d.path));
    return where.size === N && Array.from({ length: N }, (_, i) => place(i)).every((p) => where.has(p));
  }, { timeout: TIMEOUT, every: 200 });
  const took = performance.now() - begun;
  for (const d of list) assert.equal(d.id, ids.get(d.path.slice(d.path.lastIndexOf("/") + 1)), `${what}: ${d.path} keeps its document`);
  if (process.env.CARREL_FILES) console.log(`${what}: ${(took / 1000).toFixed(1)} s`);
}

before(async () => {
  a = await startAppliance({ config: "http:\n  requests_per_minute: 0\n" });
  mkdirSync(join(a.watch, "in"));
  for (let i = 0; i < N; i++) writeFileSync(join(a.watch, "in", name(i)), `The bell of house ${i} rings ${i % 7} times when the post comes.\n`);
  await until("all are ready", async () => (await progress()).ready === N, { timeout: TIMEOUT, every: 200 });
  for (const d of await a.documents()) ids.set(d.path.slice(d.path.lastIndexOf("/") + 1), d.id);
  assert.equal(ids.size, N);
}, { timeout: TIMEOUT });
after(async () => a?.stop());

test("a folder that is renamed, files that are moved one by one into folders made that moment, and back", { timeout: 4 * TIMEOUT }, async () => {
  const read = await extractions();
  assert.ok(read >= N, `${read} were read`);
  renameSync(join(a.watch, "in"), join(a.watch, "moved"));
  await keeps("a folder renamed", (i) => `moved/${name(i)}`);
  for (let i = 0; i < N; i++) {
    const folder = join(a.watch, `sorted-${i % FOLDERS}`);
    mkdirSync(folder, { recursive: true });
    renameSync(join(a.watch, "moved", name(i)), join(folder, name(i)));
  }
  await keeps("into new folders, one by one", (i) => `sorted-${i % FOLDERS}/${name(i)}`);
  for (let k = 0; k < FOLDERS; k++) {
    for (const f of readdirSync(join(a.watch, `sorted-${k}`))) renameSync(join(a.watch, `sorted-${k}`, f), join(a.watch, "moved", f));
  }
  await keeps("into one folder, one by one", (i) => `moved/${name(i)}`);
  assert.equal(await extractions(), read, "nothing is read again");
});
