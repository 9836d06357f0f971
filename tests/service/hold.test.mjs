// Legal holds over versions: what is held is found as of then until the hold is lifted, whatever the retention.

import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { renameSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { binDir, startAppliance, until } from "./appliance.mjs";

const config = "http:\n  requests_per_minute: 0\ningest:\n  settle_ms: 100\nstore:\n  retain_versions_days: 0\n";
const cli = (a, ...args) => new Promise((done) => {
  execFile(join(binDir, "carrel"), [...args, "--home", a.home], { encoding: "utf8" }, (e, stdout, stderr) => done({ code: e ? e.code : 0, stdout, stderr }));
});

let a;
let then;
before(async () => {
  a = await startAppliance({ config });
});
after(async () => {
  if (a) await a.stop();
});

const texts = async (query, more) => (await a.search(query, more)).map((p) => p.text);
const found = (word) => until(`${word} is found`, async () => (await texts(word)).some((t) => t.includes(word)));
const asOf = async (word) => {
  const r = await a.request("/api/search", { method: "POST", body: { query: word, as_of: then } });
  return r.status === 200 ? (await r.json()).passages.map((p) => p.text) : r.status;
};

test("a held document's earlier version is found as of then, though none is kept otherwise", async () => {
  a.drop("cases/contract.md", "# Contract\n\nThe delivery is due in Zandvoort.\n");
  a.drop("plain/note.md", "# Note\n\nThe meeting is in Purmerend.\n");
  await found("Zandvoort");
  await found("Purmerend");
  const held = await cli(a, "hold", "add", "--path", "cases", "--reason", "case 7", "--json");
  assert.equal(held.code, 0, held.stderr);
  a.hold = JSON.parse(held.stdout).id;
  await sleep(1100); // times are told in whole seconds
  then = new Date().toISOString().replace(/\.\d+Z/, "Z");
  a.drop("cases/contract.md", "# Contract\n\nThe delivery is due in Enkhuizen.\n");
  a.drop("plain/note.md", "# Note\n\nThe meeting is in Medemblik.\n");
  await found("Enkhuizen");
  await found("Medemblik");
  assert.deepEqual((await texts("Zandvoort")).filter((t) => t.includes("Zandvoort")), [], "now it says something else");
  assert.match((await asOf("Zandvoort"))[0], /Zandvoort/);
  await until("what is not held is forgotten", async () => (await asOf("Purmerend")).every((t) => !t.includes("Purmerend")));
  assert.match((await asOf("Zandvoort"))[0], /Zandvoort/);
});

test("who is no administrator is told of no hold", async () => {
  const made = await cli(a, "key", "create", "reader", "--json");
  assert.equal(made.code, 0, made.stderr);
  const key = JSON.parse(made.stdout).key;
  const r = await a.request("/api/search", { method: "POST", body: { query: "Zandvoort", as_of: then }, key });
  assert.equal(r.status, 400);
  assert.match(await r.text(), /retain_versions_days is 0/);
  const id = (await a.documents()).find((d) => d.path === "cases/contract.md").id;
  const versions = async (k) => (await (await a.request(`/api/documents/${id}/versions`, { key: k })).json()).versions;
  assert.equal((await versions(a.key)).length, 2);
  assert.equal((await versions(key)).length, 1);
});

test("an erasure of another document with the same content does not take what is held", async () => {
  a.drop("plain/copy.md", "# Contract\n\nThe delivery is due in Zandvoort.\n");
  await found("Zandvoort");
  const erase = (...more) => cli(a, "erase", "--path", "plain/copy.md", "--yes", ...more, "--json");
  const all = await erase("--all-copies");
  assert.notEqual(all.code, 0);
  assert.match(all.stderr, new RegExp(a.hold));
  const ask = await erase();
  assert.notEqual(ask.code, 0, "what is held is a copy: somebody says that it stays");
  const kept = await erase("--keep-copies");
  assert.equal(kept.code, 0, kept.stderr);
  await until("the copy is gone", async () => !(await texts("Zandvoort")).some((t) => t.includes("Zandvoort")));
  assert.match((await asOf("Zandvoort"))[0], /Zandvoort/);
});

test("a document that was held where it stood before is not erased", async () => {
  renameSync(join(a.watch, "cases/contract.md"), join(a.watch, "plain/contract.md"));
  await until("it has moved", async () => (await a.documents()).some((d) => d.path === "plain/contract.md"));
  const r = await cli(a, "erase", "--path", "plain/contract.md", "--yes");
  assert.notEqual(r.code, 0);
  assert.match(r.stderr, new RegExp(a.hold));
  renameSync(join(a.watch, "plain/contract.md"), join(a.watch, "cases/contract.md"));
  await until("it is back", async () => (await a.documents()).some((d) => d.path === "cases/contract.md"));
});

test("it outlives a kill", async () => {
  await a.kill();
  a = Object.assign(await startAppliance({ home: a.home, config: null }), { hold: a.hold });
  await found("Enkhuizen");
  assert.match((await asOf("Zandvoort"))[0], /Zandvoort/);
});

test("lifted, it is forgotten", async () => {
  assert.equal((await cli(a, "hold", "remove", a.hold)).code, 0);
  await until("as of then is refused", async () => (await asOf("Zandvoort")) === 400);
  const id = (await a.documents()).find((d) => d.path === "cases/contract.md").id;
  a.drop("plain/other.md", "# Other\n\nHousekeeping follows a write.\n");
  await until("the version is gone", async () => (await a.get(`/api/documents/${id}/versions`)).versions.length === 1);
});
