// The queue: paused by a person, over a restart too; heavy work kept for hours; what progress tells.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { rmSync } from "node:fs";
import { test } from "node:test";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { binDir, startAppliance, until } from "./appliance.mjs";

const exec = promisify(execFile);
const text = (i) => `# Note ${i}\n\nThe falcon nests in house number ${i}.`;

test("paused: nothing new is read, deletions go on, a restart changes nothing", { timeout: 120_000 }, async () => {
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
    p = JSON.parse(await carrel("queue", "--json"));
    assert.deepEqual([p.paused, p.queued], [true, 1]);
    assert.doesNotMatch(await carrel("queue", "resume"), /paused/);
    await until("b.md is found", async () => (await found())[0] === "b.md");
    await until("nothing is left", async () => JSON.parse(await carrel("queue", "--json")).seconds_left === 0);
    const wrong = await a.request("/api/progress", { key: a.key, method: "POST", body: {} });
    assert.equal(wrong.status, 400);
  } finally {
    await a.stop();
  }
});

test("outside the hours large files wait and small ones do not", { timeout: 120_000 }, async () => {
  const at = (h) => `${String((new Date().getHours() + h) % 24).padStart(2, "0")}:00`;
  const a = await startAppliance({ config: `ingest:\n  backlog_hours: "${at(3)}-${at(4)}"\n  backlog_file_bytes: 1KiB\n` });
  try {
    a.drop("large.md", text(1) + "\n\nAnd so on, at length.".repeat(100));
    a.drop("small.md", text(2));
    const state = async (path) => (await a.documents()).find((d) => d.path === path)?.state;
    await until("the small one is ready", async () => (await state("small.md")) === "ready");
    await sleep(500);
    assert.equal(await state("large.md"), "queued");
    const p = await (await a.request("/api/progress", { key: a.key })).json();
    assert.match(p.doing, new RegExp(`wait for ${at(3)}`));
  } finally {
    await a.stop();
  }
});
