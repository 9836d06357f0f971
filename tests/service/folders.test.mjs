// What a folder says of itself: .carrelignore keeps files out, .carrel.yaml tightens who reads and never widens, both
// take effect while the appliance runs, and what they get wrong is said in `carrel status`.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { join } from "node:path";
import { promisify } from "node:util";
import { binDir, startAppliance, until } from "./appliance.mjs";
import { makeZip } from "./zip.mjs";

const exec = promisify(execFile);
const keys = {};
let a;

const carrel = async (...args) => (await exec(join(binDir, "carrel"), [...args, "--home", a.home])).stdout.trim();
const at = (path) => join(a.home, "watch/main", path);
function say(path, text) {
  writeFileSync(at(`${path}~`), text);
  renameSync(at(`${path}~`), at(path));
}
async function found(who) {
  const r = await a.request("/api/search", { key: keys[who] ?? a.key, method: "POST", body: { query: "falcon nests", top_k: 50 } });
  return (await r.json()).passages.map((p) => p.document.path).sort();
}
async function settlesTo(who, list) {
  let now;
  await until(`${who} finds ${list} (last: ${now})`, async () => JSON.stringify((now = await found(who))) === JSON.stringify(list));
}
const detail = async () => JSON.parse(await carrel("status", "--json"));

before(async () => {
  a = await startAppliance();
  writeFileSync(join(a.home, "access.yaml"), "access:\n  - path: hr/**\n    readers: [hr, board]\n    label: internal\n");
  for (const [name, ...more] of [["none"], ["hr", "--groups", "hr"], ["board", "--groups", "board"]]) {
    keys[name] = await carrel("key", "create", name, ...more);
  }
  mkdirSync(at("hr/pay"), { recursive: true });
  writeFileSync(at("hr/pay/.carrel.yaml"), "readers: [hr]\nlabel: confidential\ntags: [pay]\nlanguage: en\n");
  a.drop("hr/pay/a.md", "# Pay\n\nThe falcon nests in the payroll office.");
  a.drop("hr/b.md", "# Plan\n\nThe falcon nests above the board room.");
  a.drop("open/c.md", "# Note\n\nThe falcon nests on the roof.");
  a.drop("open/d.log.md", "# Log\n\nThe falcon nests in the log.");
  await a.settled({ n: 4 });
});
after(async () => {
  await a?.stop();
});

test("a folder's own file is obeyed from the first moment", { timeout: 180_000 }, async () => {
  await settlesTo("hr", ["hr/b.md", "hr/pay/a.md", "open/c.md", "open/d.log.md"]);
  assert.deepEqual(await found("board"), ["hr/b.md", "open/c.md", "open/d.log.md"]);
  assert.deepEqual(await found("none"), ["open/c.md", "open/d.log.md"]);
  const pay = (await a.documents()).find((d) => d.path === "hr/pay/a.md");
  assert.deepEqual([pay.label, pay.readers, pay.tags], ["confidential", ["hr"], ["pay"]]);
});

test("a line that would widen has no effect and is said", { timeout: 180_000 }, async () => {
  say("hr/.carrel.yaml", "readers: [hr, sales]\nlabel: public\n");
  await until("the mistake is said", async () => JSON.stringify(await detail()).includes("hr/.carrel.yaml: "));
  assert.deepEqual(await found("board"), ["hr/b.md", "open/c.md", "open/d.log.md"]);
  const b = (await a.documents()).find((d) => d.path === "hr/b.md");
  assert.deepEqual([b.label, b.readers], ["internal", ["hr", "board"]]);
  rmSync(at("hr/.carrel.yaml"));
  await until("nothing is said any more", async () => !JSON.stringify(await detail()).includes(".carrel.yaml"));
});

test("a change takes effect, a mistake closes, a link is not read", { timeout: 180_000 }, async () => {
  say("open/.carrel.yaml", "readers: [board]\n");
  await settlesTo("none", []);
  await settlesTo("board", ["hr/b.md", "open/c.md", "open/d.log.md"]);
  say("open/.carrel.yaml", "readers: [board\n");
  await settlesTo("board", ["hr/b.md"]);
  rmSync(at("open/.carrel.yaml"));
  await settlesTo("none", ["open/c.md", "open/d.log.md"]);
  writeFileSync(join(a.home, "elsewhere"), "readers: [nobody]\n");
  symlinkSync(join(a.home, "elsewhere"), at("open/.carrel.yaml"));
  a.drop("open/e.md", "# Late\n\nThe falcon nests late.");
  await settlesTo("none", ["open/c.md", "open/d.log.md", "open/e.md"]);
  rmSync(at("open/.carrel.yaml"));
  const up = await a.request("/api/documents?path=open/.carrel.yaml", { key: a.key, method: "POST", body: "readers: [nobody]" });
  assert.equal(up.status, 400, await up.text());
});

test("a moved folder takes what it says along", { timeout: 180_000 }, async () => {
  renameSync(at("hr/pay"), at("open/pay"));
  await settlesTo("hr", ["hr/b.md", "open/c.md", "open/d.log.md", "open/e.md", "open/pay/a.md"]);
  assert.deepEqual(await found("none"), ["open/c.md", "open/d.log.md", "open/e.md"]);
});

test("what is ignored leaves search, comes back, and is refused as an upload", { timeout: 180_000 }, async () => {
  say("open/.carrelignore", "# no logs\n*.log.md\nsize > 1MiB\n");
  await settlesTo("none", ["open/c.md", "open/e.md"]);
  const up = await a.request("/api/documents?path=open/x.log.md", { key: a.key, method: "POST", body: "# X\n\nfalcon" });
  assert.equal(up.status, 403, await up.text());
  rmSync(at("open/.carrelignore"));
  await settlesTo("none", ["open/c.md", "open/d.log.md", "open/e.md"]);
});

test("an archive of which a folder keeps something out is looked into elsewhere, and when it comes anew", { timeout: 180_000 }, async () => {
  const zip = makeZip([["a.txt", "The heron wades in the mill pond."]]);
  const are = async (list) => {
    const now = async () => (await a.documents()).filter((d) => /^(noisy|calm)\//.test(d.path) && d.state === "ready").map((d) => d.path).sort();
    await until(`${list} are ready`, async () => JSON.stringify(await now()) === JSON.stringify(list)).catch(async (e) => {
      throw new Error(`${e.message}; last: ${await now()}`);
    });
  };
  mkdirSync(at("noisy"));
  writeFileSync(at("noisy/.carrelignore"), "*.txt\n");
  a.drop("noisy/x.zip", zip);
  await are(["noisy/x.zip"]);
  assert.match((await a.documents()).find((d) => d.path === "noisy/x.zip").note, /1 of the files in it was passed over/);
  a.drop("calm/x.zip", zip);
  await are(["calm/x.zip", "calm/x.zip/a.txt", "noisy/x.zip"]);
  rmSync(at("noisy/.carrelignore"));
  await new Promise((r) => setTimeout(r, 1500));
  a.drop("noisy/x.zip", zip);
  await are(["calm/x.zip", "calm/x.zip/a.txt", "noisy/x.zip", "noisy/x.zip/a.txt"]);
  for (const folder of ["noisy", "calm"]) rmSync(at(folder), { recursive: true });
  await are([]);
});

test("a folder's own file closes nothing where there is no access.yaml, over a restart too", { timeout: 180_000 }, async () => {
  let b = await startAppliance();
  try {
    const found = async () => (await b.search("falcon", { top_k: 50 })).map((p) => p.document.path).sort();
    mkdirSync(join(b.home, "watch/main/pay"), { recursive: true });
    writeFileSync(join(b.home, "watch/main/pay/.carrel.yaml"), "label: confidential\n");
    b.drop("pay/a.md", "# Pay\n\nThe falcon is paid.");
    await b.settled({ n: 1 });
    b.drop("open/b.md", "# Open\n\nThe falcon is free.");
    await until("both are found", async () => (await found()).join() === "open/b.md,pay/a.md");
    await b.stop({ keep: true });
    b = await startAppliance({ home: b.home, config: null });
    b.drop("open/c.md", "# More\n\nThe falcon is back.");
    await until("all are found", async () => (await found()).join() === "open/b.md,open/c.md,pay/a.md");
  } finally {
    await b.stop();
  }
});
