// Keys of users that a version before made, which did not note by whom: said so wherever keys are looked at, until replaced.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { binDir, startAppliance } from "./appliance.mjs";

test("a key whose maker is not known is marked in lists, doctor tells of it, and one that replaces it is not", { timeout: 120_000 }, async () => {
  let a = await startAppliance();
  try {
    const user = await a.post("/api/users", { name: "hedi", role: "reader", groups: ["ward"] });
    const old = await a.post("/api/keys", { name: "old script", owner: user.id });
    await a.post("/api/keys", { name: "nobody's" });
    const home = a.home;
    await a.stop({ keep: true });
    // ends without closing: pages go into the log, and from there into the file by serve, with their checksums
    execFileSync("python3", ["-c", "import os, sqlite3, sys\nd = sqlite3.connect(sys.argv[1])\nd.execute(\"UPDATE keys SET made_by='', made_role='', made_groups=x'' WHERE id=?\", sys.argv[2:])\nd.commit()\nos._exit(0)", join(home, "system/serve.db"), old.id]);
    a = await startAppliance({ home });
    const carrel = (...args) => spawnSync(join(binDir, "carrel"), [...args, "--home", home], { encoding: "utf8" });
    const unknown = async () => (await a.get("/api/keys")).keys.filter((k) => k.maker_unknown).map((k) => k.id);
    assert.deepEqual(await unknown(), [old.id]);
    const list = carrel("key", "list");
    assert.match(list.stdout, new RegExp(`${old.id}.*old script.*\\(maker unknown\\)`));
    assert.equal(list.stdout.match(/maker unknown/g).length, 1);
    assert.match(list.stderr, /^1 made by a version before/m);
    assert.match(carrel("doctor").stdout, /keys +1 keys of users were made by a version before[^]*carrel key create NAME --owner USER/);
    const made = carrel("key", "create", "new script", "--owner", "hedi");
    assert.equal(made.status, 0, made.stderr);
    assert.equal(carrel("key", "revoke", old.id).status, 0);
    assert.deepEqual(await unknown(), []);
    assert.doesNotMatch(carrel("doctor").stdout, /made by a version before/);
    assert.equal((await (await a.request("/api/session", { key: made.stdout.trim() })).json()).role, "reader");
  } finally {
    await a.stop();
  }
});
