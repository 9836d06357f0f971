// A source that may not be deleted: erased all the same, and no rescan, touch or restart brings it back. Mounting needs root.

import { test } from "node:test";
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { holding, startAppliance, until } from "./appliance.mjs";

const needles = ["Qorvaxillian", "qorvaxillian", "qorvaxil"];
// Questions do without them: the audit keeps what is asked.
const text = "# Minutes\n\nThe Qorvaxillian ledger is kept in the cellar.\n";
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** lock(dir) makes dir one that nothing can be deleted in, unlock(dir) undoes it. */
async function erased({ lock, unlock }) {
  const dir = mkdtempSync(join(tmpdir(), "carrel-readonly-"));
  chmodSync(dir, 0o755);
  const watch = join(dir, "share");
  const folder = join(watch, "main");
  const file = join(folder, "minutes.md");
  mkdirSync(folder, { recursive: true });
  writeFileSync(file, text);
  writeFileSync(join(folder, "other.md"), "# Tides\n\nThe ferry leaves from pier nine.\n");
  const home = join(dir, "home");
  const config = `http:\n  requests_per_minute: 0\ningest:\n  watch_dir: "${watch}"\n  rescan_s: 5\n`;
  let a;
  lock(folder);
  try {
    a = await startAppliance({ home, config });
    const stays = async (when) => {
      await sleep(6500); // a rescan
      assert.equal((await a.search("ledger in the cellar")).filter((p) => /Qorvax/.test(p.text)).length, 0, when);
      const d = (await a.documents()).find((x) => x.path === "minutes.md");
      assert.ok(d === undefined || d.state === "failed", `${when}: ${JSON.stringify(d)}`);
      assert.deepEqual(holding(home, needles), [], when);
      assert.ok((await a.search("ferry pier")).length > 0, "the other document is still found");
    };
    const doc = (await a.settled({ n: 2 })).find((d) => d.path === "minutes.md");
    assert.ok((await a.search("ledger in the cellar")).length > 0);
    const { id } = await a.post("/api/erasures", { documents: [doc.id] });
    const e = await until("the erasure is done", async () => {
      const x = await a.get(`/api/erasures/${id}`);
      return x.state === "done" && x;
    });
    const c = e.certificate.certificate;
    assert.match(c.documents[0].source, /may not be deleted here; kept out by its hash/);
    assert.equal(c.verification.result, "nothing found");
    assert.ok(existsSync(file), "it could not be deleted");
    const listed = (await a.documents()).find((d) => d.path === "minutes.md");
    assert.match(listed.error, new RegExp(`erasure ${id}.*delete it yourself`));
    await stays("after a rescan");
    unlock(folder);
    utimesSync(file, new Date(), new Date());
    lock(folder);
    await stays("after it was touched");
    await a.stop({ keep: true });
    a = await startAppliance({ home, config: null });
    await stays("after a restart");
    unlock(folder);
    rmSync(file);
    await until("it is listed no more once it was deleted by hand", async () => !(await a.documents()).some((d) => d.path === "minutes.md"));
  } finally {
    await a?.stop({ keep: true });
    unlock(folder);
    rmSync(dir, { recursive: true, force: true });
  }
}

const mountable = process.getuid() === 0 ? false : "needs root to mount a folder read-only";

test("on a read-only mount", { skip: mountable, timeout: 180_000 }, async () => {
  const mounted = new Set();
  await erased({
    lock(folder) {
      execFileSync("mount", ["--bind", folder, folder]);
      mounted.add(folder);
      execFileSync("mount", ["-o", "remount,ro,bind", folder]);
    },
    unlock(folder) {
      if (mounted.delete(folder)) execFileSync("umount", ["-l", folder]);
    },
  });
});

test("in a folder where nothing may be deleted", { timeout: 180_000 }, async () => {
  // as root the services run as another user, who does not own it
  await erased({ lock: (folder) => chmodSync(folder, 0o555), unlock: (folder) => chmodSync(folder, 0o755) });
});
