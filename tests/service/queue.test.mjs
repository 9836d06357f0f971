// The queue: paused by a person, over a restart too; heavy work kept for hours; what progress tells.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { binDir, startAppliance, until } from "./appliance.mjs";

const exec = promisify(execFile);
const text = (i) => `# Note ${i}\n\nThe falcon nests in house number ${i}.`;

test("paused: nothing new is read, deletions go on, a restart changes nothing", { timeout: 180_000 }, async () => {
  let a = await startAppliance();
  const carrel = async (...args) => (await exec(join(binDir, "carrel"), [...args, "--home", a.home])).stdout;
  const found = async () => (await a.post("/api/search", { query: "falcon nests" })).passages.map((p) => p.document.path).sort();
  try {
    a.drop("a.md", text(1));
    await a.settled({ n: 1 });
    assert.match(await carrel("queue", "pause"), /, paused/);
    a.drop("b.md", text(2));
    await until("b.md is known", async () => (await a.documents()).length === 2);
    await sleep(1000);
    assert.equal((await a.documents()).find((d) => d.path === "b.md").state, "queued");
    let p = JSON.parse(await carrel("queue", "--json"));
    assert.deepEqual([p.paused, p.queued, p.ready, p.chunks, p.waiting_bytes], [true, 1, 1, 1, text(2).length]);
    assert.match(p.doing, /paused/);
    rmSync(join(a.home, "watch/main/a.md"));
    await until("a.md has left search", async () => (await found()).length === 0);

    const { home } = a;
    await a.stop({ keep: true });
    a = await startAppliance({ home });
    await until("the journal is open", async () => (await a.documents()).length === 1);
    await sleep(500);
    await until("it waits again", async () => {
      p = JSON.parse(await carrel("queue", "--json"));
      return p.queued === 1;
    });
    assert.equal(p.paused, true);
    assert.doesNotMatch(await carrel("queue", "resume"), /paused/);
    await until("b.md is found", async () => (await found())[0] === "b.md");
    await until("nothing is left", async () => JSON.parse(await carrel("queue", "--json")).seconds_left === 0);
    const wrong = await a.request("/api/progress", { key: a.key, method: "POST", body: {} });
    assert.equal(wrong.status, 400);
  } finally {
    await a.stop();
  }
});

test("outside the hours large files wait and small ones do not", { timeout: 180_000 }, async () => {
  const at = (h) => `${String((new Date().getHours() + h) % 24).padStart(2, "0")}:00`;
  const [from, to] = [at(3), at(4)];
  const a = await startAppliance({ config: `ingest:\n  backlog_hours: "${from}-${to}"\n  backlog_file_bytes: 1KiB\n` });
  try {
    a.drop("large.md", text(1) + "\n\nAnd so on, at length.".repeat(100));
    a.drop("small.md", text(2));
    const state = async (path) => (await a.documents()).find((d) => d.path === path)?.state;
    await until("the small one is ready", async () => (await state("small.md")) === "ready");
    await sleep(500);
    assert.equal(await state("large.md"), "queued");
    const p = await (await a.request("/api/progress", { key: a.key })).json();
    assert.match(p.doing, new RegExp(`wait for ${from}`));
  } finally {
    await a.stop();
  }
});

test("who may read takes effect while reading is paused, for a version that is about to be replaced too", { timeout: 180_000 }, async () => {
  const a = await startAppliance();
  const carrel = async (...args) => (await exec(join(binDir, "carrel"), [...args, "--home", a.home])).stdout.trim();
  try {
    a.drop("a.md", text(1));
    await a.settled({ n: 1 });
    const key = await carrel("key", "create", "none");
    const found = async () =>
      (await (await a.request("/api/search", { key, method: "POST", body: { query: "falcon nests" } })).json()).passages.map((p) => p.document.path);
    assert.deepEqual(await found(), ["a.md"]);
    await carrel("queue", "pause");
    a.drop("a.md", text(1) + " And again.");
    const state = async () => (await a.documents())[0].state;
    await until("the new version waits", async () => (await state()) === "queued");
    writeFileSync(join(a.home, "access.yaml"), "access:\n  - path: '**'\n    readers: [hr]\n");
    await until("nobody else finds the old one", async () => (await found()).length === 0);
    assert.equal(await state(), "queued");
    await carrel("queue", "resume");
    await until("the new version is ready", async () => (await state()) === "ready");
    assert.deepEqual(await found(), []);
  } finally {
    await a.stop();
  }
});

test("rules take effect where the folder is away: fewer at once, more when it is back", { timeout: 180_000 }, async () => {
  const config = "ingest:\n  poll_s: 5\n  rescan_s: 60\n";
  let a = await startAppliance({ config });
  const { home } = a;
  const rules = (yaml) => writeFileSync(join(home, "access.yaml"), yaml);
  try {
    a.drop("a.md", text(1));
    await a.settled({ n: 1 });
    const key = (await exec(join(binDir, "carrel"), ["key", "create", "none", "--home", home])).stdout.trim();
    const found = async () =>
      (await (await a.request("/api/search", { key, method: "POST", body: { query: "falcon nests" } })).json()).passages.map((p) => p.document.path);
    assert.deepEqual(await found(), ["a.md"]);
    await a.stop({ keep: true });
    renameSync(join(home, "watch/main"), join(home, "watch-main-away"));
    rules("access:\n  - path: '**'\n    readers: [hr]\n");
    a = await startAppliance({ home, config });
    await until("it is closed", async () => (await a.documents())[0]?.readers?.[0] === "hr");
    assert.deepEqual(await found(), []);
    rules("access: []\n");
    await sleep(2000);
    assert.deepEqual(await found(), []);
    renameSync(join(home, "watch-main-away"), join(home, "watch/main"));
    await until("it is open again", async () => (await found())[0] === "a.md", { timeout: 150_000 });
  } finally {
    await a.stop();
  }
});
