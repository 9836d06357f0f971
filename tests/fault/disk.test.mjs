// A full disk and a read-only mount give a clear error and lose nothing. Mounting needs root.

import { test } from "node:test";
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { appendFileSync, chmodSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { randomBytes } from "node:crypto";
import { binDir, startAppliance, until } from "../service/appliance.mjs";

const skip = process.getuid() === 0 ? false : "needs root to mount a small tmpfs";

function mounted(options, fn) {
  return async () => {
    const dir = mkdtempSync(join(tmpdir(), "carrel-disk-"));
    chmodSync(dir, 0o755);
    execFileSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", dir]);
    try {
      await fn(dir);
    } finally {
      execFileSync("umount", ["-l", dir]);
      rmSync(dir, { recursive: true, force: true });
    }
  };
}

test("a full disk: files wait with a clear reason and are read when there is room", { skip, timeout: 300_000 }, mounted("size=48m,mode=755", async (dir) => {
  const a = await startAppliance({ home: join(dir, "home"), config: "http:\n  requests_per_minute: 0\n" });
  const ballast = join(dir, "ballast");
  try {
    a.drop("first.md", "# First\n\nThe lighthouse keeper is called Osgood.\n");
    await a.settled({ n: 1 });
    // the file lies on the disk before that is full: to move it takes no room
    const text = randomBytes(240_000).toString("hex").replace(/(.{7})/g, "$1 ");
    writeFileSync(join(dir, "second.txt"), `The bell buoy is painted green.\n\n${text}`);
    // leave much less than it takes to store it; what is written meanwhile takes of that too
    await until("the disk is nearly full", () => {
      const free = Number(execFileSync("df", ["--output=avail", "-B1", dir], { encoding: "utf8" }).split("\n")[1]);
      if (free <= 200_000) return true;
      try {
        appendFileSync(ballast, randomBytes(Math.ceil((free - 150_000) / 2)));
      } catch (e) {
        assert.equal(e.code, "ENOSPC");
      }
      return false;
    });
    renameSync(join(dir, "second.txt"), join(a.watch, "second.txt"));
    const state = await until("the second file says why it waits", async () => {
      const d = (await a.documents().catch(() => [])).find((x) => x.path === "second.txt");
      return d && d.error && /disk|space|full/i.test(d.error) && d;
    });
    assert.notEqual(state.state, "ready");
    // what was there is still found, unless no record of it can be written: then that is said, and nothing is shown
    const asked = await a.request("/api/search", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ query: "lighthouse keeper" }) });
    const told = await asked.json();
    if (asked.status === 503) assert.equal(told.error.code, "audit_unavailable");
    else assert.ok(told.passages.some((p) => p.text.includes("Osgood")), JSON.stringify(told));
    rmSync(ballast);
    await until("it is read once there is room", async () => {
      const d = (await a.documents().catch(() => [])).find((x) => x.path === "second.txt");
      return d?.state === "ready";
    }, { timeout: 120_000 });
    const found = await until("searches are answered again", () => a.search("bell buoy painted").catch(() => null));
    assert.ok(found.some((p) => p.text.includes("green")));
    const report = JSON.parse(execFileSync(join(binDir, "carrel"), ["verify", "--home", a.home, "--json"], { encoding: "utf8" }));
    assert.equal(report.problems, 0, JSON.stringify(report));
  } finally {
    await a.stop({ keep: true });
  }
}));

test("a read-only watched folder is read; deleting marks its documents excluded", { skip, timeout: 180_000 }, async () => {
  const dir = mkdtempSync(join(tmpdir(), "carrel-ro-"));
  chmodSync(dir, 0o755);
  const watch = join(dir, "share");
  mkdirSync(join(watch, "main"), { recursive: true });
  writeFileSync(join(watch, "main/fixed.md"), "# Fixed\n\nThe ferry leaves from pier nine.\n");
  execFileSync("mount", ["--bind", watch, watch]);
  execFileSync("mount", ["-o", "remount,ro,bind", watch]);
  let a;
  try {
    a = await startAppliance({ home: join(dir, "home"), config: `http:\n  requests_per_minute: 0\ningest:\n  watch_dir: "${watch}"\n  rescan_s: 5\n` });
    const [doc] = await a.settled({ n: 1 });
    assert.ok((await a.search("ferry pier")).length > 0);
    const r = await a.request(`/api/documents/${doc.id}`, { method: "DELETE" });
    assert.equal(r.status < 300, true, await r.text());
    await until("search no longer finds it", async () => (await a.search("ferry pier")).length === 0);
    await new Promise((done) => setTimeout(done, 6500)); // a rescan must not bring it back
    assert.equal((await a.search("ferry pier")).length, 0);
  } finally {
    await a?.stop({ keep: true });
    execFileSync("umount", ["-l", watch]);
    rmSync(dir, { recursive: true, force: true });
  }
});

test("a data directory that cannot be written is named at start", { skip, timeout: 180_000 }, async () => {
  const dir = mkdtempSync(join(tmpdir(), "carrel-ro-home-"));
  chmodSync(dir, 0o755);
  execFileSync("mount", ["-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", dir]);
  try {
    await assert.rejects(startAppliance({ home: join(dir, "home"), config: null, timeout: 20_000 }), (e) => {
      assert.match(e.message, /home/);
      assert.match(e.message, /read-only|permission|written/i);
      return true;
    });
  } finally {
    execFileSync("umount", ["-l", dir]);
    rmSync(dir, { recursive: true, force: true });
  }
});
