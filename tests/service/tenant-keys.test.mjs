// A tenant's key: taken up while running, refused when it is another or gone, and no business of other tenants.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { after, test } from "node:test";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { binDir, startAppliance, temporaryHome, until } from "./appliance.mjs";

const exec = promisify(execFile);
const home = temporaryHome("carrel-keys-");
let a;

async function carrel(...args) {
  return exec(join(binDir, "carrel"), [...args, "--home", home]).then(({ stdout }) => ({ code: 0, text: stdout.trim() }),
    (e) => ({ code: e.code, text: `${e.stdout}${e.stderr}` }));
}
const ask = async (key) => {
  const r = await a.request("/api/search", { key, method: "POST", body: { query: "falcon nests" } });
  const text = await r.text();
  return { status: r.status, text, found: r.status === 200 ? JSON.parse(text).passages.length : 0 };
};

after(async () => {
  await a?.stop();
  rmSync(dirname(home), { recursive: true, force: true });
});

test("a key is taken up, asked for, and dropped", async () => {
  a = await startAppliance({ home });
  assert.equal((await carrel("tenant", "create", "north")).code, 0);
  const north = (await carrel("key", "create", "reader", "--tenant", "north")).text;
  a.drop("note.md", "# Note\n\nThe falcon nests on the roof.");
  await until("main finds it", async () => (await ask(a.key)).found === 1);
  await until("north answers", async () => (await ask(north)).status === 200);

  const made = await carrel("tenant", "key", "main");
  assert.equal(made.code, 0, made.text);
  const file = made.text;
  assert.equal(statSync(file).size, 32);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.notEqual((await carrel("tenant", "key", "main")).code, 0, "a key is never replaced");
  assert.notEqual((await carrel("tenant", "key", "nobody")).code, 0, "a tenant that is not there gets none");
  await until("the store takes it up", async () => JSON.parse((await carrel("verify", "--json")).text).keyed_tenants === 1);
  assert.equal((await ask(a.key)).found, 1);

  // another key: this tenant is refused, the file is named, the others are served
  await a.stop({ keep: true });
  const right = readFileSync(file);
  writeFileSync(file, Buffer.alloc(32, 5), { mode: 0o600 });
  a = await startAppliance({ home });
  const refused = await ask(a.key);
  assert.equal(refused.status, 503, refused.text);
  assert.equal((await ask(north)).status, 200);
  const verify = await carrel("verify");
  assert.notEqual(verify.code, 0);
  assert.ok(verify.text.includes(file), verify.text);
  a.drop("later.md", "# Later\n\nAnother falcon nests in the belfry.");

  // gone: the same; back: served again without a restart, and what waited comes in
  renameSync(file, `${file}.away`);
  assert.equal((await ask(a.key)).status, 503);
  renameSync(`${file}.away`, file);
  writeFileSync(file, right);
  await until("main finds both", async () => (await ask(a.key)).found === 2);

  assert.equal((await carrel("tenant", "keyless", "main")).code, 0);
  await a.stop({ keep: true });
  a = await startAppliance({ home });
  await until("main answers without a key", async () => (await ask(a.key)).found === 2);
  assert.equal(JSON.parse((await carrel("verify", "--json")).text).keyed_tenants, 0);
});
